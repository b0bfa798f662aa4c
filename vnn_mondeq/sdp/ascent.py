"""Follow the central path of a `ShorDual` until its bound is good enough.

Any iterate is a certificate (weak duality), so the run stops at the first bound below the target.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.sdp.shor import INPUT_BARRIER, Evaluation, Multipliers, ShorDual

SLACK = 1.5
"""Points of decrement up to `centred` are near the central path, not on it: the optimum may lie
this many gaps below their bound."""


@final
@dataclass(frozen=True, slots=True)
class AscentSettings:
    """How the path is followed.

    - `tau`: the first path parameter, for an objective of unit norm. Large: the path is entered
      where the bound is already sharp; in logarithms that costs no more steps than its beginning.
    - `growth`: factor between path parameters.
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
    centred: float = 3.0
    reach: float = 4.0
    gap: float = 1e-3
    certainty: float = 1.0
    steps: int = 80
    scales: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)

    def __post_init__(self) -> None:
        for name in ("tau", "centred", "reach", "gap", "certainty", "steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"AscentSettings.{name} must be positive")
        if not self.growth > 1.0:
            raise ValueError("AscentSettings.growth must exceed 1")


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
    weight = 4 * dual.e.size + INPUT_BARRIER * (dual.on_x.size + dual.count)
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
        length = min(1.0, settings.reach / max(float(np.max(np.abs(step))), 1e-300))
        moved = _backtrack(dual, at, step, length, tau)
        at, taken = moved or (at, 0.0)
        best = min(best, at, key=lambda point: point.bound)
        central = decrement < settings.centred and taken > 0.3
        if not central and moved is not None:
            continue
        gap = weight / tau
        miss = settings.certainty * (best.bound - target)
        hopeless = central and SLACK * gap <= miss < np.inf
        if hopeless or gap < settings.gap * unit:
            break
        tau *= settings.growth
        at = dual.evaluate(at.multipliers, tau) or at
    return Ascent(best, PathPoint(at.multipliers, tau), steps)


def _entered(
    dual: ShorDual, tau: float, settings: AscentSettings, start: PathPoint | None
) -> tuple[Evaluation | None, float]:
    at = None if start is None else dual.evaluate(start.multipliers, start.tau)
    return (_best_start(dual, tau, settings), tau) if at is None else (at, start.tau)


def _best_start(dual: ShorDual, tau: float, settings: AscentSettings) -> Evaluation | None:
    starts = (dual.uniform(a, b) for a in settings.scales for b in settings.scales)
    points = (dual.evaluate(start, tau) for start in starts)
    return min((p for p in points if p is not None), key=lambda p: p.potential, default=None)


def _backtrack(
    dual: ShorDual, at: Evaluation, step: np.ndarray, length: float, tau: float
) -> tuple[Evaluation, float] | None:
    """The first halving of the step that does not raise the potential."""
    for _ in range(25):
        point = dual.evaluate(at.multipliers.moved(length * step), tau)
        if point is not None and point.potential <= at.potential + 1e-9 * abs(at.potential):
            return point, length
        length *= 0.5
    return None
