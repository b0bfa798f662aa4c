"""Records are read back as they were written; what is no record is named, not guessed."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from bench_values import run_record

from vnn_mondeq.bench.manifest import (
    MANIFEST_FILE,
    Manifest,
    differences,
    read_manifest,
    write_manifest,
)
from vnn_mondeq.bench.records import (
    RUNS_FILE,
    Ending,
    RunRecord,
    decode_run,
    decode_runs,
    encode_run,
    read_results,
    stem,
)
from vnn_mondeq.errors import InputError
from vnn_mondeq.result import Verdict

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "bench.md"

RUNS = (
    run_record("a", Verdict.SAT, margin=0.25),
    run_record("b", None, ending=Ending.CRASHED, exit_code=-11, error='he said "ß"\n', attempts=2),
    run_record("c", Verdict.TIMED_OUT, ending=Ending.KILLED, timeout=0.5, startup_seconds=None),
)


def test_a_folder_is_read_back(tmp_path, manifest):
    write_manifest(tmp_path, manifest)
    assert read_results(tmp_path).runs == ()
    (tmp_path / RUNS_FILE).write_bytes(b"".join(map(encode_run, RUNS)))
    results = read_results(tmp_path)
    assert results.manifest == manifest
    assert results.runs == RUNS
    assert results.complete
    assert [run.late for run in RUNS] == [False, False, True]
    assert [run.decided for run in RUNS] == [True, False, False]


def test_a_torn_last_line_is_passed_over_wherever_it_was_cut():
    whole = encode_run(RUNS[0]) + encode_run(RUNS[1])
    for cut in range(len(encode_run(RUNS[0])), len(whole)):
        assert decode_runs(whole[:cut], "runs") == RUNS[:1]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("verdict", "holds", "holds"),
        ("seconds", "fast", "seconds"),
        ("networks", "net.onnx", "networks"),
        ("instance", None, "instance"),
    ],
)
def test_what_is_no_record_is_named(key, value, message):
    fields = {**json.loads(encode_run(RUNS[0])), key: value}
    with pytest.raises(InputError, match=f"runs, line 2.*{message}"):
        decode_runs(encode_run(RUNS[1]) + json.dumps(fields).encode() + b"\n", "runs")


def test_a_run_recorded_twice_is_an_error():
    with pytest.raises(InputError, match="recorded twice"):
        decode_runs(encode_run(RUNS[0]) * 2, "runs")


def test_keys_of_later_versions_are_ignored():
    line = encode_run(RUNS[0]).replace(b"{", b'{"temperature": 37,', 1)
    assert decode_run(line, "line") == RUNS[0]


def test_only_what_changes_a_result_separates_two_manifests(manifest):
    same = dataclasses.replace(manifest, created="later", instances="elsewhere.csv")
    assert differences(manifest, same) == []
    settings = dataclasses.replace(manifest.settings, timeout=3.0)
    software = dataclasses.replace(manifest.software, packages={"numpy": "3"})
    changed = dataclasses.replace(manifest, settings=settings, software=software)
    assert differences(manifest, changed) == [
        "settings.timeout: None, now 3.0",
        "software.packages.numpy: 2, now 3",
    ]
    assert manifest.identifier != changed.identifier


def test_folders_that_hold_no_results(tmp_path, manifest):
    with pytest.raises(InputError, match=r"manifest.json.*folder of results"):
        read_results(tmp_path)
    write_manifest(tmp_path, dataclasses.replace(manifest, format=99))
    with pytest.raises(InputError, match="format 99"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST_FILE).write_text("[]")
    with pytest.raises(InputError, match="not a manifest"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("path", "name"), [("a/b/net.onnx.gz", "net"), ("q_0.02.vnnlib", "q_0.02"), ("x", "x")]
)
def test_stems(path, name):
    assert stem(path) == name


def test_the_document_names_every_key():
    named = set(re.findall(r"`(\w+)`", DOCUMENT.read_text(encoding="utf-8")))
    keys = {field.name for kind in (RunRecord, Manifest) for field in dataclasses.fields(kind)}
    assert keys - named == set()
