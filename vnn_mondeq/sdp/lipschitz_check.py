"""Lipschitz bounds proved from multipliers, with every rounding error bounded.

Nothing that the search computed is used but the multipliers, and any positive multipliers give a
valid bound or none. The formulas are those of `lipschitz_increments.py`, `lipschitz_row.py` and
`lipschitz_joint.py`; here they are evaluated anew, on the system's own arrays and without the
compression of inputs, in midpoint-radius arithmetic. Positive definiteness is decided by a
Cholesky factorisation and its error bound (`vnn_mondeq.system.monotone`).
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.definite import eigenvalue_lower_bound
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, norm_up, round_up
from vnn_mondeq.sdp.lipschitz_enclosure import (
    Enclosed,
    equilibrating,
    stacked,
    symmetric_norm,
)
from vnn_mondeq.sdp.lipschitz_region import Region
from vnn_mondeq.system.implicit import ImplicitSystem


@final
@dataclass(frozen=True, slots=True, eq=False)
class EnclosedSlopes:
    """Proved bounds on secant slopes `lower, upper (p,)` in [0, 1], and the neurons `kept` whose
    slope is not fixed. Where the bounds are equal the slope is exactly 0 or 1."""

    lower: np.ndarray
    upper: np.ndarray
    kept: np.ndarray


def slopes_anywhere(neurons: int) -> EnclosedSlopes:
    """Any two inputs."""
    return EnclosedSlopes(np.zeros(neurons), np.ones(neurons), np.arange(neurons))


def slopes_within_box(upper_z: np.ndarray, upper_s: np.ndarray) -> EnclosedSlopes:
    """Two inputs of a set on which `z <= upper_z`, `s <= upper_s` is proved."""
    off = upper_z == 0.0
    on = (upper_s == 0.0) & ~off
    return EnclosedSlopes(
        on.astype(np.float64), (~off).astype(np.float64), np.flatnonzero(~(off | on))
    )


def slopes_from_point(
    upper_z: np.ndarray, upper_s: np.ndarray, low: np.ndarray, high: np.ndarray
) -> EnclosedSlopes:
    """From an input whose pre-activation lies in `[low, high]` to any input of such a set.

    The slope is at least `v / (v + upper_s)` from `v > 0`, at most `upper_z / (upper_z - v)` from
    `v < 0` (`lipschitz_increments.py`); both are monotone in `v`. The input itself need not be in
    the set: a neuron's slope is fixed only where its phase is proved there too.
    """
    p = upper_z.shape[0]
    lower, upper = np.zeros(p), np.ones(p)
    positive, negative = low > 0.0, high < 0.0
    v = low[positive]
    lower[positive] = np.clip(v / (v + upper_s[positive]) / SAFETY, 0.0, 1.0)
    v = -high[negative]
    upper[negative] = np.clip(upper_z[negative] / (upper_z[negative] + v) * SAFETY, 0.0, 1.0)
    on, off = positive & (upper_s == 0.0), negative & (upper_z == 0.0)
    lower[on], upper[off] = 1.0, 0.0
    return EnclosedSlopes(lower, upper, np.flatnonzero(~(off | on)))


@final
@dataclass(frozen=True, slots=True, eq=False)
class EnclosedIncrements:
    """`w_i (δv_i - w_i) >= 0`, `δv - w = U δx - M w`, `δy = C w + D δx`, every array enclosed.

    The inputs are those of a region, in units of its radii.
    """

    M: Enclosed
    U: Enclosed
    C: Enclosed
    D: Enclosed


def enclose_increments(
    system: ImplicitSystem,
    on_z: Enclosed,
    on_x: Enclosed,
    slopes: EnclosedSlopes,
    region: Region,
) -> EnclosedIncrements:
    """The increments of the rows `on_z z + on_x x`, shapes `(n, p)` and `(n, d)`.

    The inverse `T` of the loop transformation is not needed: an approximate product `T R` has a
    residual `Q`, and is off by `T Q`, whose columns are at most `1 + ‖W‖/m` times those of `Q`.
    """
    kept, lower = slopes.kept, Enclosed.exact(slopes.lower)
    radii = Enclosed.exact(region.radii)
    width = (Enclosed.exact(slopes.upper) - lower)[kept]
    W = Enclosed.exact(system.W)
    from_w = W[:, kept] * width
    from_x = Enclosed.exact(system.U)[:, region.positions] * radii
    if slopes.lower.any():
        right = stacked([[from_w, from_x]])
        operator = Enclosed.exact(np.eye(system.neurons)) - W * lower
        near = Enclosed.exact(np.linalg.solve(operator.middle, right.middle))
        residual = operator @ near - right
        m, L = system.proof.modulus, system.proof.norm
        off = (1.0 + (1.0 + L) / m) * norm_up(residual.magnitude, axis=0) * SAFETY + UNDERFLOW
        solved = Enclosed(near.middle, np.broadcast_to(off, near.middle.shape))
        from_w, from_x = solved[:, : kept.size], solved[:, kept.size :]
    held = on_z * lower
    moved = on_x[:, region.positions] * radii
    return EnclosedIncrements(
        Enclosed.exact(np.eye(kept.size)) - from_w[kept],
        from_x[kept],
        held @ from_w + on_z[:, kept] * width,
        held @ from_x + moved,
    )


def proved_row_bound(
    increments: EnclosedIncrements,
    row: int,
    region: Region,
    sigma: np.ndarray,
    sector: np.ndarray,
) -> float:
    """An upper bound on `|C w + D δx|` of one row over the region, or infinity.

    - `sigma`: one for each group of the region; `sector`: one for each kept neuron.
    """
    k = increments.M.middle.shape[0]
    if sigma.shape != (region.count,) or sector.shape != (k,):
        return np.inf
    if not (_positive(sigma) and _positive(sector)):
        return np.inf
    weights = Enclosed.exact(sector[:, None])
    inverse = Enclosed.reciprocal(sigma)[region.groups]
    spread = increments.U * inverse
    half = Enclosed.exact(np.full((1, 1), 0.5))
    weighted = weights * increments.M
    reached = weights * (spread @ increments.U.T) * weights.T
    H = weighted.symmetric_part() - half * half * reached.symmetric_part()
    d = increments.D[row][:, None]
    h = increments.C[row][:, None] + half * weights * (spread @ d)
    from_inputs = (d * inverse[:, None]).T @ d
    balance = equilibrating(np.diag(H.middle))
    H = H.scaled_exactly(balance, balance)
    h = h.scaled_exactly(balance, np.ones(1))
    from_neurons = _quadratic_form_of_inverse(H, h)
    total = from_inputs.upper_sum() * 0.25 + 0.25 * from_neurons
    total += Enclosed.exact(sigma).upper_sum()
    return float(round_up(total * SAFETY)) if np.isfinite(total) else np.inf


def _positive(multipliers: np.ndarray) -> bool:
    return bool(np.all(np.isfinite(multipliers)) and np.all(multipliers > 0.0))


def _quadratic_form_of_inverse(H: Enclosed, h: Enclosed) -> float:
    """An upper bound on `hᵀH⁻¹h`, infinite where `H ≻ 0` is not proved.

    `hᵀH⁻¹h = 2 hᵀy - yᵀHy + rᵀH⁻¹r` with `r = h - Hy`, for every `y`.
    """
    least = eigenvalue_lower_bound(H.middle, symmetric_norm(H.radius))
    if not least > 0.0:
        return np.inf
    y = Enclosed.exact(np.linalg.solve(H.middle, h.middle))
    image = H @ y
    rest = float(norm_up((h - image).magnitude))
    doubled = h + h - image
    return (y.T @ doubled).upper_sum() + rest * rest / least * SAFETY + UNDERFLOW


def proves_gain(increments: EnclosedIncrements, gain: float, mu: np.ndarray) -> bool:
    """Whether `‖C w + D δx‖₂ <= gain ‖δx‖₂` is proved for all increments (all inputs as one
    group of radius 1).

    The inputs are eliminated: `[2 sym(ΜM), Cᵀ; C, g I] - E K Eᵀ / g ⪰ 0`, `K = [U; D][U; D]ᵀ`,
    `E` the diagonal of `-μ` and ones.
    """
    k, n = increments.M.middle.shape[0], increments.C.middle.shape[0]
    if mu.shape != (k,) or not _positive(mu) or not (np.isfinite(gain) and gain > 0.0):
        return False
    weights = Enclosed.exact(np.concatenate([-mu, np.ones(n)])[:, None])
    inputs = weights * stacked([[increments.U], [increments.D]])
    reached = inputs @ inputs.T * Enclosed.reciprocal(np.full((1, 1), gain))
    weighted = Enclosed.exact(2.0 * mu[:, None]) * increments.M
    C = increments.C
    outputs = Enclosed.exact(gain * np.eye(n))
    matrix = stacked([[weighted.symmetric_part(), C.T], [C, outputs]])
    matrix = matrix - reached.symmetric_part()
    balance = equilibrating(np.diag(matrix.middle))
    matrix = matrix.scaled_exactly(balance, balance)
    return eigenvalue_lower_bound(matrix.middle, symmetric_norm(matrix.radius)) >= 0.0
