"""What multipliers of an input set's balls and half-spaces add to the form of `check.py`.

Over `x = m + h ∘ ξ`, floats `m, h` taken as exact, the set implies in exact arithmetic

- for a ball: `R² - Σ (g_j + h_j ξ_j)² >= 0`, where `g = fl(m - c)` and `R` is the radius plus the
  2-norm of all that `g` misses of `m - c`;
- for a half-space `a·x + o <= 0`: `e·|x| - o - f·(m + h ∘ ξ) >= 0`, `f` the nearest floats of `a`,
  `e` bounds on their error, `o` rounded down;
- for a quadratic `xᵀPx + q·x + r <= 0`: `|x|ᵀE|x| + e·|x| - r - (xᵀP'x + q'·x) >= 0`, `P', q'` the
  nearest floats, `E, e` bounds on their errors, `r` rounded down, `|x| <= |m| + h`.

Shares no arithmetic with `set_constraints.py`.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet, HalfSpace, LqBall, Quadratic
from vnn_mondeq.rounding import UNDERFLOW, UNIT, norm_up
from vnn_mondeq.sdp.set_constraints import parts_beyond_boxes


@final
@dataclass(frozen=True, slots=True, eq=False)
class BeyondTerms:
    """`Σ diagonal_j ξ_j² + ξᵀ cross ξ + 2 line·ξ + constant`, to be added to the form; `cross`, off
    the diagonal, only where there is any.

    Each number is a sum of at most `operations` products of three floats at most; `size_line (n,)`,
    `size_diagonal (n,)` and `size_constant` are the sums of their magnitudes (`cross` is its own).
    """

    diagonal: np.ndarray
    line: np.ndarray
    constant: float
    size_diagonal: np.ndarray
    size_line: np.ndarray
    size_constant: float
    operations: int
    cross: np.ndarray | None = None


def beyond_terms(
    inputs: AbstractInputSet,
    units: tuple[np.ndarray, np.ndarray],
    varying: np.ndarray,
    multipliers: np.ndarray,
) -> BeyondTerms | str:
    """The terms for a proof set, or what is wrong with the multipliers.

    - `units`: `m` and `h`, `(d,)` each, `h = 0` except at `varying`.
    - `multipliers`: one for each part that is no box.
    """
    parts = parts_beyond_boxes(inputs)
    if multipliers.shape != (len(parts),):
        return f"there are {multipliers.shape} multipliers for {len(parts)} parts of the input set"
    d = units[0].size
    diagonal, size_diagonal, line, size_line = np.zeros((4, d))
    constant = size_constant = 0.0
    cross: np.ndarray | None = None
    for part, multiplier in zip(parts, multipliers, strict=True):
        if multiplier == 0.0:
            continue
        match part:
            case LqBall():
                own = _ball(part, units)
            case HalfSpace():
                own = _half_space(part, units)
            case Quadratic():
                own = _quadratic(part, units)
            case _:
                return "a multiplier belongs to a part of the input set that has no form"
        diagonal += multiplier * own.diagonal
        size_diagonal += multiplier * own.size_diagonal
        line += multiplier * own.line
        size_line += multiplier * own.size_line
        constant += multiplier * own.constant
        size_constant += multiplier * own.size_constant
        if own.cross is not None:
            scaled = multiplier * own.cross
            cross = scaled if cross is None else cross + scaled
    total = size_diagonal + size_line if cross is None else size_diagonal + size_line + cross
    if not (np.all(np.isfinite(total)) and np.isfinite(size_constant)):
        return "a multiplier belongs to a part without finite numbers"
    return BeyondTerms(
        diagonal[varying],
        line[varying],
        constant,
        size_diagonal[varying],
        size_line[varying],
        size_constant,
        2 * d + 2 * len(parts) + 8,
        None if cross is None else cross[np.ix_(varying, varying)],
    )


def _ball(ball: LqBall, units: tuple[np.ndarray, np.ndarray]) -> BeyondTerms:
    """Minus the ball's form. An L1 ball is contained in the L2 ball of its radius."""
    center, half = units
    k = ball.coordinates
    near, error = ball.center_floats()
    shift = center[k] - near
    missing = error + 2.0 * UNIT * np.abs(shift) + UNDERFLOW
    radius = float(np.nextafter(ball.radius + norm_up(missing), np.inf))
    diagonal, line = np.zeros(center.size), np.zeros(center.size)
    diagonal[k] = half[k] * half[k]
    line[k] = shift * half[k]
    square, beyond = float(shift @ shift), radius * radius
    sizes = diagonal, np.abs(line), square + beyond
    return BeyondTerms(diagonal, line, square - beyond, *sizes, 0)


def _half_space(half_space: HalfSpace, units: tuple[np.ndarray, np.ndarray]) -> BeyondTerms:
    center, half = units
    normal, error, offset = half_space.floats()
    line = 0.5 * normal * half
    away = float(error @ (np.abs(center) + half))
    size = abs(offset) + float(np.abs(normal) @ np.abs(center)) + away
    constant = offset + float(normal @ center) - away
    none = np.zeros(center.size)
    return BeyondTerms(none, line, constant, none, np.abs(line), size, 0)


def _quadratic(quadratic: Quadratic, units: tuple[np.ndarray, np.ndarray]) -> BeyondTerms:
    """Convex or not. `cross` is a full matrix where the quadratic has mixed terms."""
    center, half = units
    floats, k = quadratic.floats(), quadratic.coordinates
    middle, width = center[k], half[k]
    reach = np.abs(middle) + width
    magnitude = abs(floats.matrix) @ np.abs(middle)
    diagonal, line, size_line = np.zeros((3, center.size))
    diagonal[k] = width * floats.matrix.diagonal() * width
    line[k] = (floats.matrix @ middle + 0.5 * floats.linear) * width
    size_line[k] = (magnitude + 0.5 * np.abs(floats.linear)) * width
    away = float(reach @ (floats.matrix_error @ reach + floats.linear_error))
    constant = floats.offset + float(middle @ (floats.matrix @ middle + floats.linear)) - away
    size = abs(floats.offset) + float(np.abs(middle) @ (magnitude + np.abs(floats.linear))) + away
    mixed = floats.matrix.toarray()
    np.fill_diagonal(mixed, 0.0)
    cross = None
    if np.any(mixed):
        cross = np.zeros((center.size, center.size))
        cross[np.ix_(k, k)] = width[:, None] * mixed * width
    return BeyondTerms(diagonal, line, constant, np.abs(diagonal), size_line, size, 0, cross)
