"""One run: the command for it, its process, and what its end means.

A `Task` is plain data, so that another machine can execute it; the files must lie under the same
paths there.
"""

import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from vnn_mondeq.bench.answer import Answer, decode_answer
from vnn_mondeq.bench.environment import cpu_model
from vnn_mondeq.bench.instances import Instance, find_file
from vnn_mondeq.bench.process import Finished, Running, run_process
from vnn_mondeq.bench.records import Ending, RunKey, RunRecord
from vnn_mondeq.result import Reason, Verdict

_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])
_REFUSED_EXIT = 2
_SIGKILL = 9
_OUT_OF_MEMORY_SIGNS = (
    b"MemoryError",
    b"bad_alloc",
    b"bad allocation",
    b"Cannot allocate memory",
    b"failed to map segment",  # a shared library that no longer fits
    b"Memory allocation still failed",  # OpenBLAS
    b"blas_thread_init: pthread_create failed",
)
"""What programs say on stderr when the address space is used up."""

_ERROR_CHARACTERS = 2000
"""The end of stderr that a record keeps."""

_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A run that is to be done. `folder`: that the instance's paths are relative to; the other
    fields are those of `Settings` and `RunRecord`."""

    instance: Instance
    folder: Path
    backend: str
    repeat: int
    timeout: float
    grace: float
    memory: int | None
    threads: int
    retries: int
    manifest: str

    @property
    def key(self) -> RunKey:
        return RunKey(self.instance.identifier, self.backend, self.repeat)


def execute(task: Task, running: Running) -> RunRecord:
    """Do the run; again, at most `retries` times, while it crashes.

    **Raises** `Stopped` when `running` is stopped meanwhile, `InputError` when a file of the
    instance has disappeared, `OSError` when no process can be started or no temporary file written.
    """
    crashes: list[str] = []
    while True:
        record = _once(task, running)
        if record.ending is not Ending.CRASHED or len(crashes) >= task.retries:
            break
        crashes.append(record.error)
    if crashes:
        record = replace(
            record, attempts=1 + len(crashes), error=record.error or f"first crashed: {crashes[-1]}"
        )
    return record


def command_of(task: Task, answer: Path) -> tuple[str, ...]:
    """What a user would type, with absolute paths; `answer` is the file for `--record`."""
    networks = (
        argument
        for network in task.instance.networks
        for argument in ("--network", _named(network.name, find_file(task.folder, network.path)))
    )
    return (
        *(sys.executable, "-P", "-m", "vnn_mondeq", "verify"),
        str(find_file(task.folder, task.instance.query.path)),
        *networks,
        *("--timeout", repr(task.timeout)),
        *("--backend", task.backend),
        *("--threads", str(task.threads)),
        *("--record", str(answer)),
    )


def _named(name: str, path: Path) -> str:
    return f"{name}={path}" if name else str(path)


def _environment(threads: int) -> Mapping[str, str]:
    """The child imports the package that this process runs, wherever it was started."""
    path = os.pathsep.join(filter(None, (_PACKAGE_PARENT, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}


def _once(task: Task, running: Running) -> RunRecord:
    began = datetime.now(UTC).isoformat(timespec="milliseconds")
    with tempfile.TemporaryDirectory(prefix="vnn-mondeq-bench-") as folder:
        path = Path(folder) / "answer.json"
        finished = run_process(
            command_of(task, path),
            running,
            environment=_environment(task.threads),
            seconds=task.timeout + task.grace,
            memory=task.memory,
        )
        answer = decode_answer(path.read_bytes()) if path.exists() else None
    return judge(task, finished, answer, began)


def judge(task: Task, finished: Finished, answer: Answer | None, began: str) -> RunRecord:
    """The record of a process that has ended."""
    verdict = _printed(finished)
    ending = _ending(finished, verdict)
    record = RunRecord(
        **_asked(task),
        ending=ending,
        verdict=_COUNTS_AS.get(ending, verdict if ending is Ending.ANSWERED else None),
        reason=_REASONS.get(ending, Reason.NONE).name,
        exit_code=finished.exit_code,
        seconds=round(finished.seconds, 4),
        cpu_seconds=round(finished.cpu_seconds, 4),
        peak_bytes=finished.peak_bytes,
        began=began,
        **_here(),
    )
    if ending is not Ending.ANSWERED:
        return replace(record, error=_tail(finished.stderr))
    if answer is None:
        # The watcher thread of `verify` has answered in its place.
        late = verdict is Verdict.TIMED_OUT
        return replace(record, reason=Reason.TIMED_OUT.name) if late else record
    return _with_answer(record, answer, finished.started_at)


def died_with_worker(task: Task, message: str) -> RunRecord:
    """The record of a run whose worker, process and all, disappeared again and again."""
    return RunRecord(
        **_asked(task),
        ending=Ending.CRASHED,
        exit_code=-_SIGKILL,
        error=message[-_ERROR_CHARACTERS:],
        seconds=0.0,
        cpu_seconds=0.0,
        peak_bytes=0,
    )


def _asked(task: Task) -> dict[str, Any]:
    """What a record repeats of its task."""
    return {
        "instance": task.instance.identifier,
        "networks": task.instance.networks,
        "query": task.instance.query,
        "backend": task.backend,
        "repeat": task.repeat,
        "timeout": task.timeout,
        "memory": task.memory,
        "threads": task.threads,
        "expected": task.instance.expected,
        "manifest": task.manifest,
    }


def _here() -> dict[str, str]:
    return {"host": socket.gethostname(), "cpu": cpu_model()}


def _with_answer(record: RunRecord, answer: Answer, started_at: float) -> RunRecord:
    startup = None if answer.engines_at is None else round(answer.engines_at - started_at, 4)
    return replace(
        record,
        reason=answer.reason,
        detail=answer.detail,
        engine=answer.engine,
        margin=answer.margin,
        startup_seconds=startup,
        startup_cpu_seconds=answer.engines_cpu,
        peak_bytes=record.peak_bytes if answer.peak_bytes is None else answer.peak_bytes,
        statistics=dict(answer.statistics),
    )


_COUNTS_AS = {Ending.KILLED: Verdict.TIMED_OUT, Ending.OUT_OF_MEMORY: Verdict.UNKNOWN}
_REASONS = {Ending.KILLED: Reason.TIMED_OUT, Ending.OUT_OF_MEMORY: Reason.OUT_OF_MEMORY}


def _printed(finished: Finished) -> Verdict | None:
    first = finished.stdout.partition(b"\n")[0].decode("ascii", "replace").strip()
    return _VERDICTS.get(first)


_VERDICTS = {verdict.value: verdict for verdict in Verdict}


def _ending(finished: Finished, verdict: Verdict | None) -> Ending:
    if finished.killed:
        return Ending.KILLED
    if finished.exit_code == 0 and verdict is not None:
        return Ending.ANSWERED
    if any(sign in finished.stderr for sign in _OUT_OF_MEMORY_SIGNS):
        return Ending.OUT_OF_MEMORY
    if finished.exit_code == _REFUSED_EXIT:
        return Ending.REFUSED
    return Ending.CRASHED


def _tail(stderr: bytes) -> str:
    return stderr.decode("utf-8", "replace").strip()[-_ERROR_CHARACTERS:]
