"""What all tests share: reproducible hypothesis, strict numpy, quiet BLAS, reference data."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# Must be set before numpy loads its BLAS: the suite shares two cores, and results of threaded
# reductions differ from run to run.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# A shell starts what it puts into the background with interrupts ignored, and children inherit
# that: tests which interrupt a process would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# `oracle`, `strategies` and `tolerances` are modules of the suite, not of a test package.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from places import ROOT, shared_folder  # noqa: E402

settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
# `HYPOTHESIS_PROFILE=wide pytest` draws anew, and more, on every run.
settings.register_profile(
    "wide",
    parent=settings.get_profile("suite"),
    max_examples=300,
    derandomize=False,
    print_blob=True,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

SEED = int(os.environ.get("VNN_MONDEQ_SEED", "20260101"))


def pytest_report_header(config: pytest.Config) -> str:
    return (
        f"vnn-mondeq: seed {SEED} (VNN_MONDEQ_SEED), hypothesis profile "
        f"{os.environ.get('HYPOTHESIS_PROFILE', 'suite')}, data in {shared_folder()}"
    )


@pytest.fixture
def strict_numpy():
    """A NaN that appears is an error; code that means it says so with `np.errstate`."""
    with np.errstate(invalid="raise", divide="raise"):
        yield


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator of its own for each test; the seed is in the header and in the report."""
    seed = [SEED, *request.node.nodeid.encode()]
    request.node.user_properties.append(("seed", SEED))
    return np.random.default_rng(seed)


@pytest.fixture
def here(monkeypatch, capsys) -> Callable[..., subprocess.CompletedProcess]:
    """Runs `vnn-mondeq ARGUMENTS...` in the folder `cwd` and in this process, where starting one
    (and loading torch or matplotlib in it) would take all the time."""
    from vnn_mondeq.cli.main import main

    def run(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess:
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as stopped:  # argparse, for wrong usage
            code = stopped.code
        return subprocess.CompletedProcess(arguments, code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of reference weights and images; skips where it is not there."""
    folder = shared_folder() / "data"
    if not folder.is_dir():
        pytest.skip(f"reference data not found: {folder} is missing (set VNN_MONDEQ_SHARED)")
    return folder
