"""Two benchmarks of one list: what was lost, and what became slower by more than noise.

The unit is a pair of an instance and a backend. Its verdict is the one that at least half of its
repeats gave; its time is the least of its repeats, of as many in both benchmarks, because other
load on the machine only ever adds time.

**Noise model.** A run takes `t = w f exp(e) + d`: `w` is the work; `f` a factor common to all runs
of a benchmark (clock, neighbours that share caches and memory); `e` noise of the single run,
symmetric but with heavy tails; `d ≥ 0` a few milliseconds that do not depend on the work. The
estimate is the median over the pairs of `log((t_new + c) / (t_old + c))`: the median takes the
tails of `e`, the constant `c` keeps `d` from dominating short runs. Its interval is a percentile
bootstrap over the pairs. `f` cannot be told from a change of the code by these numbers; the
tolerance is for it, and the ratio of the start-up times, in which both do the same imports, shows
its size. A single instance is called slower where it departs from the median by far more than the
others do (their median absolute deviation).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from statistics import median
from typing import final

from vnn_mondeq.bench.manifest import differences
from vnn_mondeq.bench.records import DECIDED, Results, RunRecord
from vnn_mondeq.bench.summary import Contradiction, contradictions
from vnn_mondeq.errors import InputError
from vnn_mondeq.result import Verdict


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What counts as worse.

    - `measure`: a key of `MEASURES`, the one that is judged.
    - `tolerance`: a median ratio up to `1 + tolerance` is not called slower.
    - `confidence`: of the interval, whose lower end must exceed the tolerance.
    - `alone_ratio`, `alone_spreads`, `alone_seconds`: a single instance is called slower where its
      ratio exceeds the median ratio by that factor and the spread of all ratios so many times
      (1.4826 median absolute deviations, a standard deviation of normal noise), and its time the
      old by so many seconds.
    - `offset_seconds`: the constant `c` of the noise model.
    - `resamples`, `seed`: of the bootstrap.
    """

    measure: str = "engines, CPU"
    tolerance: float = 0.15
    confidence: float = 0.99
    alone_ratio: float = 2.0
    alone_spreads: float = 6.0
    alone_seconds: float = 1.0
    offset_seconds: float = 0.02
    resamples: int = 2000
    seed: int = 0


def _engine_cpu(run: RunRecord) -> float | None:
    if run.startup_cpu_seconds is None:
        return None
    return max(0.0, run.cpu_seconds - run.startup_cpu_seconds)


MEASURES: dict[str, Callable[[RunRecord], float | None]] = {
    "engines, CPU": _engine_cpu,
    "start-up, CPU": lambda run: run.startup_cpu_seconds,
    "whole run, CPU": lambda run: run.cpu_seconds,
    "whole run, wall": lambda run: run.seconds,
}
"""Name → seconds of a run, `None` where it has none."""

LEAST_PAIRS = 5
"""Of fewer pairs no interval is given and no slowdown claimed."""


@final
@dataclass(frozen=True, slots=True)
class Change:
    """A pair whose verdict changed, or whose time did; `old`, `new`: one of its runs each."""

    old: RunRecord
    new: RunRecord


@final
@dataclass(frozen=True, slots=True)
class Ratio:
    """New time by old: the median over `pairs` pairs, and its interval; NaN for too few pairs."""

    measure: str
    pairs: int
    median: float
    lower: float
    upper: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """- `lost`, `gained`: decided in one only. `slower`: single instances.
    - `missing`: pairs of the old benchmark that the new one lacks. `altered`: pairs that cannot be
      compared: their files or threads differ, or a verdict came or went under other limits.
    - `contradictions`: between and within the two, and with what is expected.
    - `ratios`: one for each measure, over the pairs that both have decided.
    - `timed`: whether times were judged; they are not where the machines differ.
    - `differences`: of the manifests.
    """

    lost: tuple[Change, ...] = ()
    gained: tuple[Change, ...] = ()
    slower: tuple[Change, ...] = ()
    missing: tuple[RunRecord, ...] = ()
    altered: tuple[Change, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    slow_measure: Ratio | None = None
    timed: bool = True
    differences: tuple[str, ...] = field(default=())

    @property
    def worse(self) -> bool:
        """Something was lost, cannot be compared, or became slower by more than noise."""
        return bool(self.lost or self.missing or self.altered or self.slower or self.slow_measure)


def compare(old: Results, new: Results, judgement: Judgement) -> Comparison:
    """Compare two benchmarks; either may be incomplete.

    **Raises** `InputError` where they have no instance and backend in common.
    """
    before, now = _pairs(old.runs), _pairs(new.runs)
    changes = {key: Change(before[key][0], now[key][0]) for key in before if key in now}
    if not changes:
        raise InputError("the two benchmarks have no instance with the same backend in common")
    kinds = {key: _kind(before[key], now[key]) for key in changes}
    both = [_Timed(before[key], now[key]) for key in changes if kinds[key] is _Kind.BOTH]
    timed = old.manifest.machine == new.manifest.machine
    ratios = tuple(_ratio(measure, both, judgement) for measure in MEASURES)
    judged = next(ratio for ratio in ratios if ratio.measure == judgement.measure)
    is_slow = timed and judged.lower > 1.0 + judgement.tolerance

    def of_kind(kind: _Kind) -> tuple[Change, ...]:
        return tuple(change for key, change in changes.items() if kinds[key] is kind)

    return Comparison(
        lost=of_kind(_Kind.LOST),
        gained=of_kind(_Kind.GAINED),
        slower=tuple(_slower_alone(both, judgement)) if timed else (),
        missing=tuple(before[key][0] for key in before if key not in now),
        altered=of_kind(_Kind.ALTERED),
        contradictions=tuple(contradictions(("old", old.runs), ("new", new.runs))),
        ratios=ratios,
        slow_measure=judged if is_slow else None,
        timed=timed,
        differences=tuple(differences(old.manifest, new.manifest)),
    )


class _Kind(Enum):
    """What became of a pair."""

    BOTH = "decided in both"
    NEITHER = "decided in neither"
    LOST = "decided in the old one only"
    GAINED = "decided in the new one only"
    ALTERED = "not comparable"


def _kind(old: list[RunRecord], new: list[RunRecord]) -> _Kind:
    if _files(old[0]) != _files(new[0]):
        return _Kind.ALTERED
    was, has = _verdict(old) is not None, _verdict(new) is not None
    if was == has:
        return _Kind.BOTH if was else _Kind.NEITHER
    if _limits(old[0]) != _limits(new[0]):
        return _Kind.ALTERED
    return _Kind.LOST if was else _Kind.GAINED


def _pairs(runs: Sequence[RunRecord]) -> dict[tuple[str, str], list[RunRecord]]:
    """(instance, backend) → its repeats, in order."""
    grouped: dict[tuple[str, str], list[RunRecord]] = {}
    for run in sorted(runs, key=lambda run: run.key):
        grouped.setdefault((run.instance, run.backend), []).append(run)
    return grouped


def _files(run: RunRecord) -> tuple[object, ...]:
    """What must be equal for two runs to be comparable; paths may differ."""
    files = tuple((file.name, file.sha256) for file in run.networks)
    return files, run.query.sha256, run.threads


def _limits(run: RunRecord) -> tuple[float | None, int | None]:
    return run.timeout, run.memory


def _verdict(repeats: list[RunRecord]) -> Verdict | None:
    """The decided verdict of at least half of the repeats, or none."""
    for verdict in DECIDED:
        if 2 * sum(run.verdict is verdict for run in repeats) >= len(repeats):
            return verdict
    return None


@final
@dataclass(frozen=True, slots=True)
class _Timed:
    """The repeats of one pair in both benchmarks."""

    old: list[RunRecord]
    new: list[RunRecord]

    def seconds(self, measure: str) -> tuple[float, float] | None:
        """The least of as many repeats in both, `None` where one has no time."""
        count = min(len(self.old), len(self.new))
        taken = [
            [MEASURES[measure](run) for run in repeats[:count]] for repeats in (self.old, self.new)
        ]
        if any(value is None for values in taken for value in values):
            return None
        return min(taken[0]), min(taken[1])


def _ratio(measure: str, both: list[_Timed], judgement: Judgement) -> Ratio:
    logs = [
        _log_ratio(seconds, judgement)
        for pair in both
        if (seconds := pair.seconds(measure)) is not None
    ]
    if len(logs) < LEAST_PAIRS:
        return Ratio(measure, len(logs), math.nan, math.nan, math.nan)
    import numpy as np
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.asarray(logs),),
        np.median,
        n_resamples=judgement.resamples,
        confidence_level=judgement.confidence,
        method="percentile",
        rng=np.random.default_rng(judgement.seed),
    ).confidence_interval
    middle, low, high = np.exp([np.median(logs), found.low, found.high])
    return Ratio(measure, len(logs), float(middle), float(low), float(high))


def _log_ratio(seconds: tuple[float, float], judgement: Judgement) -> float:
    old, new = seconds
    return math.log((new + judgement.offset_seconds) / (old + judgement.offset_seconds))


def _slower_alone(both: list[_Timed], judgement: Judgement) -> list[Change]:
    """Single instances that became slower than the others did."""
    timed = [(pair, s) for pair in both if (s := pair.seconds(judgement.measure)) is not None]
    logs = [_log_ratio(seconds, judgement) for _, seconds in timed]
    if len(logs) < LEAST_PAIRS:
        return []
    usual = median(logs)
    spread = _NORMAL * median(abs(value - usual) for value in logs)
    limit = max(0.0, usual) + max(math.log(judgement.alone_ratio), judgement.alone_spreads * spread)
    return [
        Change(pair.old[0], pair.new[0])
        for (pair, (old, new)), value in zip(timed, logs, strict=True)
        if value > limit and new - old > judgement.alone_seconds
    ]


_NORMAL = 1.4826
"""Standard deviation by median absolute deviation of a normal distribution."""
