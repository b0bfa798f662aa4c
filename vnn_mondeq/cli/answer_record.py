"""`verify --record FILE`: how an answer came about, as JSON (docs/bench.md), for `bench`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, final

from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.whole_file import write_whole

if TYPE_CHECKING:
    from vnn_mondeq.result import Result


@final
class EngineClock(AbstractObserver):
    """Passes everything on, and notes when the first engine begins.

    - `at`: on the monotonic clock; `cpu`: CPU seconds of this process until then; or `None`.
    """

    def __init__(self, inner: AbstractObserver):
        self._inner = inner
        self.at: float | None = None
        self.cpu: float | None = None

    def phase(self, name: str) -> None:
        self._inner.phase(name)

    def progress(self, done: float, total: float) -> None:
        self._inner.progress(done, total)

    def event(self, kind: str, **fields: object) -> None:
        if kind == "engine" and self.at is None:
            self.at = time.monotonic()
            self.cpu = round(time.process_time(), 4)
        self._inner.event(kind, **fields)


def write_answer(path: str, result: "Result", clock: EngineClock) -> None:
    """**Raises** `OutputError`."""
    from vnn_mondeq.bench.answer import Answer, encode_answer

    evidence = result.witness or result.certificate
    answer = Answer(
        verdict=result.verdict.value,
        reason=result.reason.name,
        detail=result.detail,
        engine=result.engine,
        margin=None if evidence is None else float(evidence.margin),
        statistics=dict(result.statistics),
        engines_at=clock.at,
        engines_cpu=clock.cpu,
        peak_bytes=_peak_bytes(),
    )
    write_whole(path, encode_answer(answer))


def _peak_bytes() -> int | None:
    """The high-water mark of this program's own memory. `getrusage` will not do: its figure
    includes what the parent held when it started this process."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return next((int(kibibytes) * 1024 for kibibytes in found), None)
