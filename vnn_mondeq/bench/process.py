"""One command in a process of its own: started, watched, killed when its time is over, measured.

POSIX only. The process leads a session of its own, so that Ctrl-C on the terminal does not reach it
and a kill takes its children with it.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

from vnn_mondeq.errors import VnnMondeqError

_LAUNCH = str(Path(__file__).with_name("launch.py"))
_KIBI = 1 if sys.platform == "darwin" else 1024
"""Unit of `ru_maxrss`."""

OUTPUT_BYTES = 2**26
"""More of stdout than a counterexample with four million numbers; the rest is not read."""


class Stopped(VnnMondeqError):
    """The harness is stopping; what this process would have said is void."""


@final
@dataclass(frozen=True, slots=True)
class Finished:
    """What a process left behind.

    - `exit_code`: negative for a signal.
    - `killed`: whether it was ended because `seconds` were over.
    - `started_at`: on the monotonic clock, just before it was started.
    - `seconds`, `cpu_seconds`: wall clock; user and system time with that of collected children.
    - `peak_bytes`: the kernel's `ru_maxrss`, which is at least what the parent held when it forked.
    """

    exit_code: int
    killed: bool
    stdout: bytes
    stderr: bytes
    started_at: float
    seconds: float
    cpu_seconds: float
    peak_bytes: int


@final
class Running:
    """The processes that are running now, so that all can be killed from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leaders: set[int] = set()
        self._stopped = False

    def start(self, command: Sequence[str], **how: object) -> "subprocess.Popen[bytes]":
        """**Raises** `Stopped` after `stop`."""
        with self._lock:  # so that `stop` misses no process that is just being started
            if self._stopped:
                raise Stopped("the benchmark is being stopped")
            process = subprocess.Popen(command, start_new_session=True, **how)
            self._leaders.add(process.pid)
            return process

    def kill(self, leader: int) -> bool:
        """Kill the process group of `leader`. **Returns** whether it was still to be collected."""
        with self._lock:
            if leader not in self._leaders:
                return False
            _kill_group(leader)
            return True

    def collect(self, process: "subprocess.Popen[bytes]"):
        """Wait for the process. **Returns** what `os.wait4` does: exit status and usage.
        **Raises** `Stopped` after `stop`."""
        # The process stays a zombie here, and its number reserved, until it is off the list: no
        # kill can hit a stranger that got the number anew.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            self._leaders.discard(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if self._stopped:
            raise Stopped("the benchmark is being stopped")
        return process.returncode, usage

    def stop(self) -> None:
        """Kill all, and start no more."""
        with self._lock:
            self._stopped = True
            for leader in self._leaders:
                _kill_group(leader)


def _kill_group(leader: int) -> None:
    # A group of which only a zombie is left may be refused, depending on the system.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def run_process(
    command: Sequence[str],
    running: Running,
    *,
    environment: Mapping[str, str],
    seconds: float | None,
    memory: int | None,
) -> Finished:
    """Run a command to its end, or for `seconds`.

    **Raises** `Stopped` when `running` was stopped meanwhile; the process is dead then, too.
    """
    guard = (sys.executable, "-I", "-S", _LAUNCH, str(os.getpid()), str(memory or 0))
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.monotonic()
        process = running.start(
            (*guard, *command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
        killed = threading.Event()
        watchdog = threading.Timer(
            min(seconds or 0.0, threading.TIMEOUT_MAX), _end, (running, process.pid, killed)
        )
        watchdog.daemon = True
        if seconds is not None:
            watchdog.start()
        try:
            exit_code, usage = running.collect(process)
        finally:
            watchdog.cancel()
        ended = time.monotonic()
        return Finished(
            exit_code=exit_code,
            killed=killed.is_set() and exit_code == -signal.SIGKILL,
            stdout=_content(output),
            stderr=_content(errors),
            started_at=started,
            seconds=ended - started,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_bytes=usage.ru_maxrss * _KIBI,
        )


def _end(running: Running, leader: int, killed: threading.Event) -> None:
    killed.set()
    if not running.kill(leader):
        killed.clear()


def _content(stream) -> bytes:
    stream.seek(0)
    return stream.read(OUTPUT_BYTES)
