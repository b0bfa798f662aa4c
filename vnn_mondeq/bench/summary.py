"""What a benchmark says as a whole: counts per backend, failures, and verdicts that cannot both be
true."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import final

from vnn_mondeq.bench.records import DECIDED, Ending, RunRecord
from vnn_mondeq.result import Verdict

EXPECTATION = "the expected verdict"


@final
@dataclass(frozen=True, slots=True)
class BackendSummary:
    """Of all runs of one backend.

    - `counts`: verdict → number of runs; `failed`: refused or crashed, without a verdict.
    - `median_seconds`: of the runs that were decided, `None` where none was; `cpu_seconds`: of all.
    - `late`: decided, but after their time limit.
    """

    backend: str
    counts: Counter[Verdict]
    failed: int
    late: int
    median_seconds: float | None
    cpu_seconds: float


@final
@dataclass(frozen=True, slots=True)
class Contradiction:
    """One instance that is `sat` to some and `unsat` to others. `says`: who says it → what."""

    instance: str
    says: tuple[tuple[str, Verdict], ...]


def summarise(runs: Iterable[RunRecord]) -> list[BackendSummary]:
    """One summary for each backend, in the order of their first record."""
    grouped: dict[str, list[RunRecord]] = {}
    for run in runs:
        grouped.setdefault(run.backend, []).append(run)
    return [_summary(backend, its) for backend, its in grouped.items()]


def _summary(backend: str, runs: list[RunRecord]) -> BackendSummary:
    decided = [run for run in runs if run.decided]
    return BackendSummary(
        backend=backend,
        counts=Counter(run.verdict for run in runs if run.verdict is not None),
        failed=len(failures(runs)),
        late=sum(run.late for run in decided),
        median_seconds=median(run.seconds for run in decided) if decided else None,
        cpu_seconds=sum(run.cpu_seconds for run in runs),
    )


def failures(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Runs that say nothing about their instance."""
    return [run for run in runs if run.ending in (Ending.REFUSED, Ending.CRASHED)]


def contradictions(*sources: tuple[str, Iterable[RunRecord]]) -> list[Contradiction]:
    """Instances about which two verdicts, of runs or of the expectation, cannot both be true.

    Instances are the same when their files are, whatever they are called.

    **Arguments:** pairs of a name (may be empty) and runs; the name is put before the backend's.
    """
    claims: dict[tuple[object, ...], dict[tuple[str, Verdict], None]] = {}
    names: dict[tuple[object, ...], str] = {}
    for name, runs in sources:
        for run in runs:
            key = (*((file.name, file.sha256) for file in run.networks), run.query.sha256)
            names.setdefault(key, run.instance)
            said = claims.setdefault(key, {})
            if run.expected in DECIDED:
                said[EXPECTATION, run.expected] = None
            if run.decided:
                who = f"{name} {run.backend}".strip()
                who = who if run.repeat == 0 else f"{who} (repeat {run.repeat})"
                said[who, run.verdict] = None
    return [
        Contradiction(names[key], tuple(said))
        for key, said in claims.items()
        if len({verdict for _, verdict in said}) > 1
    ]
