"""What is on the disk after any kill: each record whole or absent, none twice, none foreign."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench_values import run_record

from vnn_mondeq.bench.journal import LOCK_FILE, open_journal
from vnn_mondeq.bench.manifest import MANIFEST_FILE, read_manifest
from vnn_mondeq.bench.records import RUNS_FILE, read_results
from vnn_mondeq.errors import InputError, OutputError

ROOT = Path(__file__).resolve().parents[2]


def records(manifest, count=3):
    return [run_record(f"i{n}", manifest=manifest.identifier) for n in range(count)]


def fill(folder, manifest, runs):
    with open_journal(folder, manifest) as journal:
        return [journal.append(run) for run in runs]


def test_records_are_appended_once(tmp_path, manifest):
    first, second, third = records(manifest)
    folder = tmp_path / "new" / "results"
    assert fill(folder, manifest, [first, second, second]) == [True, True, False]
    with open_journal(folder, manifest) as journal:
        assert journal.recorded == (first, second)
        assert journal.has(second.key)
        assert not journal.has(third.key)
        assert not journal.append(first)
        assert journal.append(third)
    assert read_results(folder).runs == (first, second, third)


def test_wherever_a_kill_cuts_the_file_the_next_run_mends_it(tmp_path, manifest):
    runs = records(manifest, 2)
    fill(tmp_path, manifest, runs)
    path = tmp_path / RUNS_FILE
    whole = path.read_bytes()
    end_of_first = whole.index(b"\n") + 1
    for cut in (0, 1, end_of_first - 1, end_of_first, end_of_first + 1, len(whole) - 1):
        path.write_bytes(whole[:cut])
        kept = 0 if cut < end_of_first else 1
        assert fill(tmp_path, manifest, runs) == [n >= kept for n in range(2)]
        assert path.read_bytes() == whole


def test_what_a_kill_leaves_of_the_manifest_is_cleared(tmp_path, manifest):
    (tmp_path / f".{MANIFEST_FILE}.abc").write_text('{"created": "20')
    fill(tmp_path, manifest, [])
    assert sorted(os.listdir(tmp_path)) == sorted([LOCK_FILE, MANIFEST_FILE, RUNS_FILE])


def test_another_manifest_is_refused_with_what_differs(tmp_path, manifest):
    fill(tmp_path, manifest, records(manifest))
    before = (tmp_path / RUNS_FILE).read_bytes()
    settings = dataclasses.replace(manifest.settings, timeout=3.0)
    with pytest.raises(InputError, match=r"settings\.timeout: None, now 3\.0(.|\n)*new folder"):
        fill(tmp_path, dataclasses.replace(manifest, settings=settings), [])
    assert (tmp_path / RUNS_FILE).read_bytes() == before
    assert read_manifest(tmp_path) == manifest


def test_on_a_cluster_the_machine_of_the_driver_may_change(tmp_path, manifest):
    remote = dataclasses.replace(manifest.settings, scheduler="dask")
    manifest = dataclasses.replace(manifest, settings=remote)
    fill(tmp_path, manifest, records(manifest))
    machine = dataclasses.replace(manifest.machine, cores=64)
    fill(tmp_path, dataclasses.replace(manifest, machine=machine), [])


def test_while_nothing_is_recorded_options_may_change(tmp_path, manifest):
    """A first call may have failed because of what the second one has changed."""
    fill(tmp_path, manifest, [])
    settings = dataclasses.replace(manifest.settings, timeout=3.0)
    changed = dataclasses.replace(manifest, settings=settings)
    fill(tmp_path, changed, records(changed))
    assert read_manifest(tmp_path) == changed


def test_a_kill_before_the_manifest_is_no_matter(tmp_path, manifest):
    (tmp_path / RUNS_FILE).touch()
    fill(tmp_path, manifest, records(manifest))
    assert len(read_results(tmp_path).runs) == 3


def test_records_of_another_manifest_are_refused(tmp_path, manifest):
    fill(tmp_path, manifest, [*records(manifest), run_record("foreign", manifest="abc")])
    with pytest.raises(InputError, match="foreign belongs to another manifest"):
        fill(tmp_path, manifest, [])


def test_a_resumed_run_keeps_the_first_manifest(tmp_path, manifest):
    fill(tmp_path, manifest, records(manifest))
    with open_journal(tmp_path, dataclasses.replace(manifest, created="later")) as journal:
        assert journal.manifest == manifest


def test_runs_without_a_manifest_are_refused(tmp_path, manifest):
    fill(tmp_path, manifest, records(manifest))
    (tmp_path / MANIFEST_FILE).unlink()
    with pytest.raises(InputError, match="no manifest"):
        fill(tmp_path, manifest, [])


def test_a_second_writer_is_kept_out(tmp_path, manifest):
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from vnn_mondeq.bench.journal import _Lock\n"
        "with _Lock.of(Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match=f"another benchmark .*process {other.pid}"):
            fill(tmp_path, manifest, [])
    finally:
        other.kill()
        other.communicate()
    assert fill(tmp_path, manifest, []) == [], "the lock ends with its holder"


def test_a_folder_that_cannot_be_made(tmp_path, manifest):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        fill(tmp_path / "file", manifest, [])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_an_error_that_names_the_file(tmp_path, manifest):
    with open_journal(tmp_path, manifest) as journal:
        os.dup2(os.open("/dev/full", os.O_WRONLY), journal._file)
        with pytest.raises(OutputError, match=f"{RUNS_FILE}: cannot be written: No space left"):
            journal.append(records(manifest)[0])
        assert not journal.has(records(manifest)[0].key)
