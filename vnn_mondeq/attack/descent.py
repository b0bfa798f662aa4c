"""Batched implicit-gradient descent with warm-started, inexact fixpoints.

Each step advances the fixpoint and the adjoint by a few Peaceman-Rachford steps from where the
last step left them. Both follow the moving input closely, because the input moves less and less;
the caller evaluates the final points accurately.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.attack.objective import Objective
from vnn_mondeq.attack.region import AbstractRegion
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.system.solve import FixpointSolver
from vnn_mondeq.system.splitting import iterate_adjoint, iterate_forward

_STEP_ACCURACY = 0.01
"""How far one descent step reduces the error of the warm-started fixpoint."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """Best points of a descent: `points (N, d)` and their approximate worst rows `(N,)`.

    `initial`: worst rows `(N,)` of the starts.
    """

    initial: np.ndarray
    points: np.ndarray
    margins: np.ndarray
    steps: int


def splitting_steps(solver: FixpointSolver) -> int:
    """Peaceman-Rachford steps for each descent step."""
    rate = max((split.rate for split in solver.splittings), default=0.0)
    if rate <= 1e-3:
        return 2
    return int(np.clip(np.ceil(np.log(_STEP_ACCURACY) / np.log(rate)), 2, 24))


def descend(
    solver: FixpointSolver,
    objective: Objective,
    region: AbstractRegion,
    starts: np.ndarray,
    cases: np.ndarray,
    sizes: np.ndarray,
    smooth: np.ndarray,
    deadline: Deadline,
    stop_early: bool,
) -> Descent:
    """Minimise the worst row of `cases (N,)` from `starts (N, d)` with step `sizes (steps, N)`.

    `smooth (N,)`: see `AbstractRegion.descend`.

    With `stop_early`, returns once some point is a violation beyond its rows' errors. A passed
    deadline ends the descent, keeping what was found.
    """
    inner = splitting_steps(solver)
    slack = objective.slack(cases)
    x = starts
    points, margins = starts.copy(), np.full(starts.shape[0], np.inf)
    w = np.zeros((starts.shape[0], solver.system.neurons))
    adjoint = np.zeros_like(w)
    w = iterate_forward(solver.splittings, w, solver.constants(x), 3 * inner)
    done, initial = 0, margins
    for done, size in enumerate([*sizes, None]):
        if done:
            w = iterate_forward(solver.splittings, w, solver.constants(x), inner)
        values = objective.values(np.maximum(w, 0.0), x, cases)
        worst = values.max(axis=1)
        initial = initial if done else worst
        better = worst < margins
        points[better], margins[better] = x[better], worst[better]
        found = stop_early and bool(np.any((values + slack).max(axis=1) < 0.0))
        if size is None or found or deadline.expired:
            break
        on_z, on_x = objective.costs(values, cases)
        adjoint, multipliers = iterate_adjoint(
            solver.splittings, solver.system.W, adjoint, w > 0.0, on_z, inner if done else 3 * inner
        )
        gradients = multipliers @ solver.system.U
        if on_x is not None:
            gradients += on_x
        x = region.descend(x, gradients, size, smooth)
    return Descent(initial, points, margins, done)
