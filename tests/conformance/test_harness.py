"""The VNN-COMP contract with its oddities, through a harness of our own (`harness.py`)."""

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conformance.harness import Harness
from conformance.witness import Instance, judge_text
from drawn_weights import dense_weights

from vnn_mondeq.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("install_tool.sh", "prepare_instance.sh", "run_instance.sh")


@pytest.fixture(scope="module")
def tool(tmp_path_factory) -> Path:
    """A checkout with its scripts, in a folder with a blank and a letter outside ASCII."""
    folder = tmp_path_factory.mktemp("a tool ü")
    for script in SCRIPTS:
        shutil.copy(ROOT / script, folder)
    (folder / "vnn_mondeq").symlink_to(ROOT / "vnn_mondeq")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # A wrapper, not a link: a link would lose the environment that the interpreter belongs to.
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return folder


@pytest.fixture
def harness(tool, tmp_path) -> Harness:
    workplace = tmp_path / "harness"
    workplace.mkdir()
    return Harness(tool, workplace, {"PYTHONPATH": ""})


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> Path:
    """`benchmarks/toy é/{1.0,2.0}` with a small model, safe and unsafe queries, partly compressed,
    and for 2.0 a query with a norm network, whose row holds a list."""
    rng = np.random.default_rng(3)
    place = tmp_path_factory.mktemp("benchmarks")
    np.savez(place / "w.npz", **dense_weights(rng, 4, 3, 3))
    np.save(place / "x.npy", np.float32([0.5, 0.25, 0.75]))
    quiet = ("-q", "robustness", str(place / "m.onnx"), "--input", str(place / "x.npy"))
    assert main(["-q", "export", str(place / "w.npz"), str(place / "m.onnx")]) == 0
    for version in ("1.0", "2.0"):
        folder = place / "toy é" / version
        (folder / "onnx").mkdir(parents=True)
        (folder / "vnnlib").mkdir()
        shutil.copy(place / "m.onnx", folder / "onnx")
        rows = []
        for name, eps in (("safe", "0.0001"), ("un safe", "100")):
            query = folder / "vnnlib" / f"{name}.vnnlib"
            assert main([*quiet, "--eps", eps, "--format", version, "-o", str(query)]) == 0
            rows.append(f"onnx/m.onnx,vnnlib/{name}.vnnlib,30")
        compress(folder / "vnnlib" / "safe.vnnlib")
        if version == "2.0":
            compress(folder / "onnx" / "m.onnx")
            query = folder / "vnnlib" / "l1.vnnlib"
            norm = ("--norm", "1", "--norm-network", str(folder / "onnx" / "n.onnx"))
            assert main([*quiet, *norm, "--eps", "0.0001", "-o", str(query)]) == 0
            networks = "[('f', 'onnx/m.onnx'), ('norm','onnx/n.onnx')]"
            rows.append(f'"{networks}",vnnlib/l1.vnnlib,30')
        (folder / "instances.csv").write_text("\n".join(rows) + "\n")
    return place / "toy é"


def compress(path: Path) -> None:
    Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


@pytest.mark.parametrize(
    ("version", "expected"), [("1.0", ["unsat", "sat"]), ("2.0", ["unsat", "sat", "unsat"])]
)
def test_a_whole_category(version, expected, harness, benchmark):
    rows = harness.category(benchmark / version)
    assert [row.verdict for row in rows] == expected
    assert [p.name for p in harness.workplace.iterdir()] == ["out.txt"]
    violated = rows[1]
    model = benchmark / "1.0" / "onnx" / "m.onnx"
    text = f"sat\n{violated.counterexample}"
    assert judge_text(Instance(violated.query.read_text(), {"f": model}), text) == "correct"


@pytest.fixture
def safe(benchmark) -> tuple[str, str]:
    """Arguments of an instance that is decided at once."""
    folder = benchmark / "1.0"
    return str(folder / "onnx" / "m.onnx"), str(folder / "vnnlib" / "safe.vnnlib.gz")


@pytest.fixture
def endless(benchmark, tmp_path) -> tuple[str, str]:
    """Arguments of an instance that does not end: the query is a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe.vnnlib")
    return str(benchmark / "1.0" / "onnx" / "m.onnx"), str(tmp_path / "pipe.vnnlib")


def test_bad_instances_do_not_stop_a_category(harness, benchmark, safe, tmp_path):
    (tmp_path / "empty").write_text("")
    for networks, query in (
        (safe[0], str(tmp_path / "missing.vnnlib")),
        (safe[0], str(tmp_path / "empty")),
        (str(tmp_path / "empty"), safe[1]),
        ("[('f',", safe[1]),
    ):
        row = harness.instance("toy", networks, Path(query), "20")
        assert row.verdict == "unknown"


LATE_SECONDS = 3.0
"""So much later than its limit may an answer come on a machine with other work."""


def test_an_instance_without_end_is_a_timeout_within_its_limit(harness, endless):
    started = time.monotonic()
    row = harness.instance("toy", endless[0], Path(endless[1]), "2")
    assert (row.verdict, row.counterexample) == ("timeout", "")
    assert time.monotonic() - started < 2.0 + LATE_SECONDS


ENVIRONMENTS = {
    "ASCII only": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "a locale that is not there": {"LC_ALL": "tr_TR.UTF-8", "LANG": "xx"},
    "no home and no folder for temporary files": {"HOME": "/proc/x", "TMPDIR": "/proc/x"},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_unusual_environments(name, harness, benchmark):
    unusual = Harness(harness.tool, harness.workplace, ENVIRONMENTS[name])
    model = str(benchmark / "1.0" / "onnx" / "m.onnx")
    query = benchmark / "1.0" / "vnnlib" / "un safe.vnnlib"
    assert unusual.instance("toy", model, query, "30").verdict == "sat"
    done = unusual.script("run_instance.sh", "toy", model, "missing é", "out.txt", "30")
    assert done.returncode == 0
    assert "missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_current_folder_that_cannot_be_written_to(tool, safe, tmp_path):
    results = tmp_path / "a folder" / "out.txt"
    command = [tool / "run_instance.sh", "v1", "toy", *safe, results, "30"]
    done = subprocess.run(command, cwd="/proc", capture_output=True, text=True, timeout=60)
    assert (done.returncode, results.read_text()) == (0, "unsat\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed, tool, safe, tmp_path):
    line = f'"$@" {closed}'
    command = ["bash", "-c", line, "bash", tool / "run_instance.sh", "v1", "toy", *safe, "r", "30"]
    done = subprocess.run(command, cwd=tmp_path, timeout=60)
    assert (done.returncode, (tmp_path / "r").read_text()) == (0, "unsat\n")


# --- killing -----------------------------------------------------------------------------------


def processes_with(word: str) -> list[int]:
    """Processes, apart from this one, that were started with `word` in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in arguments:
                found.append(int(entry.name))
    return found


def verifiers_of(word: str) -> list[int]:
    """Those of them that are the interpreter, and no shell that is about to become it."""
    return [pid for pid in processes_with(word) if is_verifier(pid)]


def is_verifier(pid: int) -> bool:
    try:
        return b"\0-m\0vnn_mondeq\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def wait_until(condition, seconds: float = 20.0) -> bool:
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


KILLS = {
    "the script, TERM": (os.kill, signal.SIGTERM),
    "the script, KILL": (os.kill, signal.SIGKILL),
    "the script, INT": (os.kill, signal.SIGINT),
    "its process group, TERM": (os.killpg, signal.SIGTERM),
    "its process group, KILL": (os.killpg, signal.SIGKILL),
}


@pytest.mark.parametrize("kind", KILLS)
def test_a_kill_leaves_no_process_and_no_half_result(kind, tool, endless, tmp_path):
    kill, number = KILLS[kind]
    workplace = tmp_path / "harness"
    workplace.mkdir()
    (workplace / "out.txt").write_text("no_result_in_file\n")
    command = [tool / "run_instance.sh", "v1", "toy", *endless, "out.txt", "100"]
    script = subprocess.Popen(command, cwd=workplace, start_new_session=True)
    try:
        assert wait_until(lambda: verifiers_of(endless[1]))
        time.sleep(0.3)
        kill(script.pid, number)
        assert script.wait(timeout=10) != 0
        assert wait_until(lambda: not processes_with(endless[1]), 5.0)
    finally:
        for left in processes_with(endless[1]):
            os.kill(left, signal.SIGKILL)
        script.wait()
    assert (workplace / "out.txt").read_text() == "no_result_in_file\n"
    assert [p.name for p in workplace.iterdir()] == ["out.txt"]


def test_a_killed_verifier_is_unknown(tool, endless, tmp_path):
    """The system kills it for its memory, say, and the script lives."""
    command = [tool / "run_instance.sh", "v1", "toy", *endless, "out.txt", "100"]
    script = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: verifiers_of(endless[1]))
        (verifier,) = verifiers_of(endless[1])
        os.kill(verifier, signal.SIGKILL)
        assert script.wait(timeout=10) == 0
    finally:
        script.kill()
        script.wait()
    assert (tmp_path / "out.txt").read_text() == "unknown\n"
