"""The same records from a Dask cluster of two workers on this machine."""

import pytest

distributed = pytest.importorskip("distributed", reason="the extra 'dask' is not installed")


from vnn_mondeq.bench.records import read_results  # noqa: E402
from vnn_mondeq.cli import exit_code  # noqa: E402
from vnn_mondeq.cli.main import main  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_a_local_cluster_of_two_workers(digits, tmp_path, capsys):
    folder = tmp_path / "results"
    command = ["bench", str(digits), "-o", str(folder), "--scheduler", "dask://local?workers=2"]
    assert main(command) == exit_code.OK
    results = read_results(folder)
    assert results.manifest.settings.scheduler == "dask"
    assert sorted(run.verdict.value for run in results.runs) == ["sat", "unsat"]
    before = results.runs
    assert main(command) == exit_code.OK
    assert read_results(folder).runs == before
