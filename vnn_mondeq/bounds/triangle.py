"""The exact triangle relaxation as a linear program, for the rows that the strips just miss.

    max c·z + e·x   s.t.   s = Mz - Ux - b,  z >= 0, s >= 0, z_i/Z_i + s_i/S_i <= 1, lo <= x <= hi

Its optimal multipliers `y` of the equation give the best dual bound (algorithms.md, section 4). The
library solves it (HiGHS through scipy); whatever it returns is only a hint, evaluated elsewhere.
"""

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.system.implicit import ImplicitSystem


def triangle_multipliers(
    system: ImplicitSystem,
    bounds: tuple[np.ndarray, np.ndarray],
    box: tuple[np.ndarray, np.ndarray],
    on_z: np.ndarray,
    on_x: np.ndarray,
    deadline: Deadline,
) -> np.ndarray | None:
    """Multipliers `(p,)` near the optimum for one objective `on_z·z + on_x·x`, or `None`.

    - `bounds`: a finite box that contains the inputs; other sets are relaxed to it.
    - `box`: `(Z, S)`.
    """
    from scipy.optimize import linprog

    p = system.neurons
    if p == 0:
        return np.zeros(0)  # nothing to multiply, and HiGHS refuses a program without variables
    (lower, upper), (box_z, box_s) = bounds, box
    center, radius = 0.5 * (lower + upper), 0.5 * (upper - lower)
    varying = np.flatnonzero(radius > 0.0)
    spread = system.U[:, varying] * radius[varying]
    offset = system.U @ center + system.b
    M = np.eye(p) - system.W
    # Variables z (p), s (p), ξ in [-1, 1]: s - M z + spread ξ = -offset.
    equation = np.hstack([-M, np.eye(p), spread])
    loose = (box_z > 0.0) & (box_s > 0.0)
    count = int(loose.sum())
    triangle = np.zeros((count, equation.shape[1]))
    triangle[np.arange(count), np.flatnonzero(loose)] = 1.0 / box_z[loose]
    triangle[np.arange(count), p + np.flatnonzero(loose)] = 1.0 / box_s[loose]
    cost = -np.concatenate([on_z, np.zeros(p), on_x[varying] * radius[varying]])
    limits = [(0.0, z) for z in box_z] + [(0.0, s) for s in box_s] + [(-1.0, 1.0)] * len(varying)
    if deadline.expired:
        return None
    answer = linprog(
        cost,
        A_ub=triangle if count else None,
        b_ub=np.ones(count) if count else None,
        A_eq=equation,
        b_eq=-offset,
        bounds=limits,
        method="highs",
        options={"time_limit": max(0.1, min(deadline.remaining(), 1e6))},
    )
    marginals = getattr(answer, "eqlin", None)
    if not answer.success or marginals is None:
        return None
    multipliers = np.asarray(marginals.marginals, dtype=np.float64)
    # HiGHS reports d(minimum)/d(right-hand side); the dual vector of the maximum has this sign.
    return multipliers if np.all(np.isfinite(multipliers)) else None
