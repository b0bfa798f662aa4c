"""The same records from a Dask cluster: of two workers on this machine, and by address."""

from types import SimpleNamespace

import pytest

distributed = pytest.importorskip("distributed", reason="the extra 'dask' is not installed")

from vnn_mondeq.bench import dask_scheduler  # noqa: E402
from vnn_mondeq.bench.records import Ending, read_results  # noqa: E402
from vnn_mondeq.cli import exit_code  # noqa: E402
from vnn_mondeq.cli.main import main  # noqa: E402


def test_a_local_cluster_of_two_workers(digits, tmp_path):
    folder = tmp_path / "results"
    command = ["bench", str(digits), "-o", str(folder), "--scheduler", "dask://local?workers=2"]
    assert main(command) == exit_code.OK
    results = read_results(folder)
    assert results.manifest.settings.scheduler == "dask"
    assert sorted(run.verdict.value for run in results.runs) == ["sat", "unsat"]
    assert main(command) == exit_code.OK
    assert read_results(folder).runs == results.runs


@pytest.fixture(scope="module")
def address():
    """A scheduler and a worker inside this process, so that tests can change what they run."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp"
    ) as cluster:
        yield f"dask://{cluster.scheduler_address.removeprefix('tcp://')}"


def run(digits, folder, address) -> int:
    """So little time that no run is decided."""
    options = ["--scheduler", address, "--timeout", "0.01"]
    return main(["bench", str(digits), "-o", str(folder), *options])


def test_a_cluster_by_its_address(digits, tmp_path, address):
    assert run(digits, tmp_path / "results", address) == exit_code.OK
    assert read_results(tmp_path / "results").complete


def test_a_worker_with_another_version_ends_the_benchmark(
    digits, tmp_path, address, monkeypatch, capsys
):
    answers = iter(["driver", "worker", "worker"])
    monkeypatch.setattr(dask_scheduler, "source_sha256", lambda: next(answers))
    assert run(digits, tmp_path / "results", address) == exit_code.BAD_INPUT
    assert "another version" in capsys.readouterr().err
    assert read_results(tmp_path / "results").runs == ()


def test_a_run_that_kills_its_workers_is_a_crash(digits, tmp_path, address, monkeypatch):
    def deadly(task, source):
        raise distributed.KilledWorker("task", SimpleNamespace(address="tcp://gone"), 3)

    monkeypatch.setattr(dask_scheduler, "_execute_here", deadly)
    assert run(digits, tmp_path / "results", address) == exit_code.REFUSED
    runs = read_results(tmp_path / "results").runs
    assert [run.ending for run in runs] == [Ending.CRASHED] * 2
    assert "tcp://gone" in runs[0].error


def test_no_scheduler_at_the_address(digits, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dask_scheduler, "_CONNECT_SECONDS", 1)
    assert run(digits, tmp_path / "results", "dask://127.0.0.1:9") == exit_code.BAD_INPUT
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
