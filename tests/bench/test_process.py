"""Processes are measured, killed in time with their children, and never outlive the harness."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vnn_mondeq.bench.process import Running, Stopped, run_process

ROOT = Path(__file__).resolve().parents[2]


def run(script, *arguments, seconds=20.0, memory=None, running=None):
    return run_process(
        (sys.executable, "-c", script, *map(str, arguments)),
        running or Running(),
        environment=os.environ,
        seconds=seconds,
        memory=memory,
    )


def is_alive(pid: int) -> bool:
    """Zombies, which nobody may collect in a container, are dead."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def soon(condition, seconds=5.0) -> bool:
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True


BURN = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint('out'); sys.exit(7)"


def test_what_a_process_leaves_behind():
    done = run(BURN)
    assert (done.exit_code, done.killed, done.stdout) == (7, False, b"out\n")
    assert 0.3 <= done.cpu_seconds < 2.0
    assert done.seconds >= 0.9 * done.cpu_seconds
    assert done.peak_bytes > 2**20


def test_stdin_is_empty_and_the_directory_unchanged():
    done = run("import sys, os; print(repr(sys.stdin.read()), os.getcwd())")
    assert done.stdout.decode().split() == ["''", os.getcwd()]


CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_the_watchdog_kills_children_too():
    done = run(CHILD, seconds=1.0)
    assert done.killed
    assert done.exit_code == -signal.SIGKILL
    assert 1.0 <= done.seconds < 10.0
    assert soon(lambda: not is_alive(int(done.stdout)))


def test_a_process_that_dies_by_itself_is_not_called_killed():
    done = run("import os; os.kill(os.getpid(), 9)")
    assert (done.exit_code, done.killed) == (-9, False)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS counts elsewhere otherwise")
def test_the_memory_limit():
    script = "x = bytearray(300 * 2**20); print(len(x))"
    assert run(script).exit_code == 0
    done = run(script, memory=200 * 2**20)
    assert b"MemoryError" in done.stderr


def test_stopping_kills_what_runs_and_starts_nothing_more():
    running = Running()
    started = time.monotonic()
    threading.Timer(0.5, running.stop).start()
    with pytest.raises(Stopped):
        run("import time; time.sleep(60)", running=running, seconds=None)
    assert time.monotonic() - started < 10.0
    with pytest.raises(Stopped):
        run("print(1)", running=running)


CHILD_OF_HARNESS = """
import os, sys, time
with open(sys.argv[1], "w") as note:
    print(os.getpid(), file=note)
time.sleep(60)
"""

HARNESS = """
import os, sys
from vnn_mondeq.bench.process import Running, run_process
command = (sys.executable, "-c", sys.argv[2], sys.argv[1])
run_process(command, Running(), environment=os.environ, seconds=None, memory=None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_no_process_outlives_a_killed_harness(tmp_path):
    note = tmp_path / "pid"
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(note), CHILD_OF_HARNESS],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert soon(lambda: note.exists() and note.read_text().strip() != "", 20.0)
    pid = int(note.read_text())
    assert is_alive(pid)
    harness.kill()
    harness.wait()
    assert soon(lambda: not is_alive(pid))
