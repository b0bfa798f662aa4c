"""Follow the central path of a `ShorDual` until its bound is good enough.

Any iterate is a certificate (weak duality), so the run stops at the first bound below the target.
"""

from dataclasses import dataclass
from typing import Self, final

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.sdp.shor import Evaluation, Multipliers, ShorDual

SLACK = 1.5
"""Points of decrement up to `centred` are near the central path, not on it: the optimum may lie
this many gaps below their bound."""


@final
@dataclass(frozen=True, slots=True)
class AscentSettings:
    """How the path is followed.

    - `tau`: the first path parameter, for an objective of unit norm. Large: the path is entered
      where the bound is already sharp; far from it steps are in logarithms, where that costs no
      more than its beginning.
    - `growth`: factor between path parameters.
    - `far`: Newton decrement from which on steps are in logarithms.
    - `centred`: Newton decrement at which a point counts as central.
    - `reach`: largest change of a logarithm in one step.
    - `gap`: stop once the gap is below this, for an objective of unit norm.
    - `certainty`: how small the gap must be, relative to what the bound misses, before the path is
      left as hopeless; 1 or less. The smaller, the better the last point tells what to branch on.
    - `steps`: limit of Newton steps.
    - `scales`: uniform multipliers tried as starts.
    """

    tau: float = 1500.0
    growth: float = 4.0
    far: float = 10.0
    centred: float = 3.0
    reach: float = 4.0
    gap: float = 1e-3
    certainty: float = 1.0
    steps: int = 80
    scales: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)

    def __post_init__(self) -> None:
        for name in ("tau", "far", "centred", "reach", "gap", "certainty", "steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"AscentSettings.{name} must be positive")
        if not self.growth > 1.0:
            raise ValueError("AscentSettings.growth must exceed 1")

    @classmethod
    def accurate(cls, accuracy: float = 1e-6) -> Self:
        """The bound itself, not whether it is below some target: within `accuracy` of the optimum,
        for an objective of unit norm."""
        return cls(gap=0.5 * accuracy, centred=0.5, steps=1000)


@final
@dataclass(frozen=True, slots=True, eq=False)
class PathPoint:
    """Where a path was left, or where another one is entered: multipliers near the central point of
    the parameter `tau`."""

    multipliers: Multipliers
    tau: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class Ascent:
    """The best point (its bound in plain float64), the last one, and the Newton steps spent."""

    best: Evaluation
    last: PathPoint
    steps: int


def ascend(
    dual: ShorDual,
    target: float,
    settings: AscentSettings,
    deadline: Deadline,
    start: PathPoint | None = None,
) -> Ascent | None:
    """Lower the bound until it is below `target`, or hopeless, or steps or time run out.

    Hopeless: at a central point the optimum lies at most the gap below the bound, so where even
    that misses the target the rest of the path is not walked. Without a target (minus infinity) the
    whole path is.

    **Returns** `None` when no start is feasible in floating point.

    Without a feasible `start` it is the best of a grid of uniform multipliers. Starting from
    another class's solution was measured and is worse: its small multipliers sit at the boundary of
    the new problem, and Newton needs ten times the steps to lift them. From the parent's solution
    in a tree it needs a fifth of them.
    """
    unit = float(np.linalg.norm(dual.on_z) + np.linalg.norm(dual.on_x)) or 1.0
    at, tau = _entered(dual, settings.tau / unit, settings, start)
    if at is None:
        return None
    best = at
    steps = 0
    while steps < settings.steps and best.bound >= target and not deadline.expired:
        steps += 1
        newton = dual.newton(at, tau)
        if newton is None:
            break
        step, decrement = newton
        moved = _step(dual, at, step, decrement, tau, settings)
        at, taken = moved or (at, 0.0)
        best = min(best, at, key=lambda point: point.bound)
        central = decrement < settings.centred and taken > 0.3
        if not central and moved is not None:
            continue
        gap = dual.order / tau
        miss = settings.certainty * (best.bound - target)
        hopeless = central and SLACK * gap <= miss < np.inf
        if hopeless or gap < settings.gap * unit:
            break
        tau *= settings.growth
        at = dual.evaluate(at.multipliers, tau) or at
    return Ascent(best, PathPoint(at.multipliers, tau), steps)


FIRMER = (1.0, 1.01, 1.1)
"""Factors tried on the multipliers of `σ, ρ, ν` of a start, which all make the form more definite:
where a path is left it is almost singular, and rounding may tip it over."""


def _entered(
    dual: ShorDual, tau: float, settings: AscentSettings, start: PathPoint | None
) -> tuple[Evaluation | None, float]:
    for factor in () if start is None else FIRMER:
        at = dual.evaluate(start.multipliers.firmer(factor, dual.e.size), start.tau)
        if at is not None:
            return at, start.tau
    return _best_start(dual, tau, settings), tau


def _best_start(dual: ShorDual, tau: float, settings: AscentSettings) -> Evaluation | None:
    starts = (dual.uniform(a, b) for a in settings.scales for b in settings.scales)
    points = (dual.evaluate(start, tau) for start in starts)
    return min((p for p in points if p is not None), key=lambda p: p.potential, default=None)


def _step(
    dual: ShorDual,
    at: Evaluation,
    step: np.ndarray,
    decrement: float,
    tau: float,
    settings: AscentSettings,
) -> tuple[Evaluation, float] | None:
    """The first halving of the step that does not raise the potential, and its length.

    The step is relative. Far away it is taken as one of the logarithms, where a factor of ten is as
    near as a factor of two; near the path, where the potential is nearly self-concordant in the
    multipliers themselves, as it is, since logarithms converge slowly there.
    """
    if decrement > settings.far:
        length = min(1.0, settings.reach / max(float(np.max(np.abs(step))), 1e-300))
    else:
        # Damped, but no more than positive multipliers need.
        shrinking = max(-float(step.min()), 0.0)
        length = 1.0 if shrinking < 0.9 else max(0.9 / shrinking, 1.0 / (1.0 + decrement))
    for _ in range(25):
        factors = np.exp(length * step) if decrement > settings.far else 1.0 + length * step
        point = dual.evaluate(at.multipliers.times(factors), tau) if factors.min() > 0.0 else None
        if point is not None and point.potential <= at.potential + 1e-11 * abs(at.potential):
            return point, length
        length *= 0.5
    return None
