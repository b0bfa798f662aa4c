"""The records of a benchmark: what they hold, how they are read and written.

A folder of results holds `manifest.json` (`vnn_mondeq.bench.manifest`) and `runs.jsonl`, one
`RunRecord` a line in the order in which the runs ended. docs/bench.md specifies the format.

Keys that a reader does not know are ignored and new keys have defaults, so that records of older
and newer versions stay readable; `FORMAT` changes only when the meaning of a key does.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path, PurePath
from typing import final

import msgspec

from vnn_mondeq.bench.manifest import Manifest, read_manifest
from vnn_mondeq.errors import InputError
from vnn_mondeq.result import Verdict

RUNS_FILE = "runs.jsonl"


class Ending(Enum):
    """How the process of a run ended. Only the first three say something about the instance."""

    ANSWERED = "answered"
    """It printed one of the four verdicts and exited with 0."""
    KILLED = "killed"
    """The watchdog ended it some seconds after its time limit; counts as `timed-out`."""
    OUT_OF_MEMORY = "out-of-memory"
    """It failed for want of memory; counts as `unknown`."""
    REFUSED = "refused"
    """It exited with 2: a model, a query or an option that cannot be used."""
    CRASHED = "crashed"
    """Anything else: a signal, a defect, or an answer that cannot be read."""


@final
@dataclass(frozen=True, slots=True)
class HashedFile:
    """A file as the instance list names it, and the SHA-256 of its bytes (of the packed bytes where
    it is a `.gz`). `name`: of the network it is for; empty for queries and nameless networks."""

    path: str
    sha256: str
    name: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run: one instance, one backend, one repeat.

    What was run:

    - `instance`: its identifier, unique within an instance list (`instances.identifier`).
    - `networks`, `query`: the files.
    - `backend`, `repeat` (from 0): with `instance` the key of a run.
    - `timeout`: seconds; `memory`: bytes of address space; `None` for no limit.
    - `threads`: of linear algebra.
    - `expected`: the verdict that the list expects, where it expects one.

    What came out:

    - `ending`, `verdict`: no verdict after `REFUSED` and `CRASHED`.
    - `reason`: name of a `vnn_mondeq.result.Reason`, `NONE` after `sat` and `unsat`; `detail`: its
      free text. `engine`: which one answered, empty where none did. `margin`: proved, or of the
      counterexample; in output units.
    - `exit_code`: negative for a signal, as in `subprocess`. `error`: the end of stderr, after
      anything but an answer. `attempts`: how often it was started; more than 1 after crashes, whose
      last message is then in `error`.

    What it took (of the last attempt):

    - `seconds`: wall clock, from starting the process to having collected it.
    - `cpu_seconds`: of all threads, user and system.
    - `startup_seconds`, `startup_cpu_seconds`: the parts of both before the engines began:
      interpreter, imports, reading the files. `None` where the process did not come so far as to
      say, and where no engine was needed.
    - `peak_bytes`: resident memory at its highest. Where the process could not report it, an
      upper bound: the kernel's figure, which includes the harness at the moment of the start.
    - `statistics`: of the engines, as `vnn_mondeq.result.Result` has them.

    Where and when: `host`, `cpu` (its model), `began` (UTC, ISO 8601), `manifest` (identifier of
    the manifest under which it ran).
    """

    instance: str
    networks: tuple[HashedFile, ...]
    query: HashedFile
    backend: str
    repeat: int = 0
    timeout: float | None = None
    memory: int | None = None
    threads: int = 1
    expected: Verdict | None = None

    ending: Ending
    verdict: Verdict | None = None
    reason: str = "NONE"
    detail: str = ""
    engine: str = ""
    margin: float | None = None
    exit_code: int
    error: str = ""
    attempts: int = 1

    seconds: float
    cpu_seconds: float
    startup_seconds: float | None = None
    startup_cpu_seconds: float | None = None
    peak_bytes: int
    statistics: Mapping[str, float] = field(default_factory=dict)

    host: str = ""
    cpu: str = ""
    began: str = ""
    manifest: str = ""

    @property
    def key(self) -> "RunKey":
        return RunKey(self.instance, self.backend, self.repeat)

    @property
    def model(self) -> str:
        """File name of the first network without suffixes: `mnist_fc40`."""
        return stem(self.networks[0].path)

    @property
    def decided(self) -> bool:
        """Whether the verdict is `sat` or `unsat`."""
        return self.verdict in DECIDED

    @property
    def late(self) -> bool:
        """Whether the answer came after the time limit; VNN-COMP counts it as `timed-out`."""
        return self.timeout is not None and self.seconds > self.timeout


DECIDED = frozenset({Verdict.SAT, Verdict.UNSAT})
"""The verdicts that can be wrong."""


@final
@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """What makes a run one of its kind within a folder of results."""

    instance: str
    backend: str
    repeat: int


@final
@dataclass(frozen=True, slots=True)
class Results:
    """A folder of results. `runs` are in the order in which they ended, their keys distinct."""

    manifest: Manifest
    runs: tuple[RunRecord, ...]

    @property
    def complete(self) -> bool:
        return len(self.runs) == self.manifest.runs


def stem(path: str) -> str:
    """`onnx/net.onnx.gz` → `net`."""
    name = PurePath(path).name
    for suffix in (".gz", ".onnx", ".vnnlib"):
        name = name.removesuffix(suffix)
    return name


def encode_run(run: RunRecord) -> bytes:
    """One line of `runs.jsonl`, with its line end. Numbers that are not finite become `null`."""
    return msgspec.json.encode(run) + b"\n"


def decode_run(line: bytes, place: str) -> RunRecord:
    """**Raises** `InputError` that starts with `place` and names the key that is wrong."""
    try:
        return msgspec.json.decode(line, type=RunRecord)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InputError(f"{place}: not a record of a run: {error}") from error


def decode_runs(data: bytes, name: str) -> tuple[RunRecord, ...]:
    """All whole lines of a `runs.jsonl`. A last line without its end is what a killed run leaves;
    it is no record and is passed over.

    **Raises** `InputError` for a line that is no record, or two records of one run.
    """
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    runs = tuple(decode_run(line, f"{name}, line {n}") for n, line in enumerate(lines, start=1))
    twice = [key for key, count in Counter(run.key for run in runs).items() if count > 1]
    if twice:
        raise InputError(
            f"{name}: {twice[0].instance} with backend {twice[0].backend} is recorded twice; the "
            "file was written by hand or by two runs at once; begin in a new folder"
        )
    return runs


def read_results(folder: str | Path) -> Results:
    """Read a folder that `vnn-mondeq bench` has written, finished or not.

    **Raises** `InputError` where it is none, or a file of it is damaged.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    path = folder / RUNS_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""  # killed between the manifest and the first run
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return Results(manifest, decode_runs(data, str(path)))
