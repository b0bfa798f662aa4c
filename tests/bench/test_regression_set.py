"""The committed regression benchmark is whole, true to its files, and its commands run."""

import re
from pathlib import Path

import pytest
from bench_values import run_documented

from vnn_mondeq.bench.compare import Judgement, compare
from vnn_mondeq.bench.instances import read_instances
from vnn_mondeq.bench.records import read_results
from vnn_mondeq.bench.summary import contradictions, failures
from vnn_mondeq.cli import exit_code

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "regression"
MOST_CPU_SECONDS = 300.0


@pytest.fixture(scope="module")
def results():
    return read_results(FOLDER / "results")


def test_the_results_are_of_these_files(results):
    listed = read_instances(FOLDER / "instances.csv")
    assert results.complete
    assert listed.digest() == results.manifest.instances_sha256


def test_all_is_decided_rightly_and_quickly(results):
    assert contradictions(("", results.runs)) == []
    assert failures(results.runs) == []
    for run in results.runs:
        assert run.expected is not None
        assert run.decided or run.backend != "auto"
    assert sum(run.cpu_seconds for run in results.runs) < MOST_CPU_SECONDS


def test_it_is_not_worse_than_itself(results):
    assert not compare(results, results, Judgement()).worse


def test_the_documented_commands(tmp_path):
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for name in ("specs", "onnx_models"):
        (tmp_path / name).symlink_to(ROOT / name)
    here = tmp_path / "benchmarks" / "regression"
    here.mkdir(parents=True)
    for name in ("vnnlib", "results"):
        (here / name).symlink_to(FOLDER / name)
    # The others take two minutes.
    rows = (FOLDER / "instances.csv").read_text().splitlines(keepends=True)[:1]
    (here / "instances.csv").write_text("".join(rows))
    done = [run_documented(line, tmp_path) for line in block.splitlines()]
    # The second command finds that the other instances are missing.
    assert [process.returncode for process in done] == [exit_code.OK, exit_code.REFUSED]
    assert "missing in NEW: 96" in done[-1].stdout
