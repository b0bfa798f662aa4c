"""What multipliers of an input set's balls and half-spaces add to the form of `check.py`.

Over `x = m + h ∘ ξ`, floats `m, h` taken as exact, the set implies in exact arithmetic

- for a ball: `R² - Σ (g_j + h_j ξ_j)² >= 0`, where `g = fl(m - c)` and `R` is the radius plus the
  2-norm of all that `g` misses of `m - c`;
- for a half-space `a·x + o <= 0`: `e·|x| - o - f·(m + h ∘ ξ) >= 0`, `f` the nearest floats of `a`,
  `e` bounds on their error, `o` rounded down.

Shares no arithmetic with `set_constraints.py`.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet, HalfSpace, LqBall
from vnn_mondeq.rounding import UNDERFLOW, UNIT, norm_up
from vnn_mondeq.sdp.set_constraints import parts_beyond_boxes


@final
@dataclass(frozen=True, slots=True, eq=False)
class BeyondTerms:
    """`Σ diagonal_j ξ_j² + 2 line·ξ + constant`, to be added to the form.

    Each number is a sum of at most `d + m + 4` products of three floats at most; `size_line (n,)`
    and `size_constant` are the sums of their magnitudes (`diagonal` is its own).
    """

    diagonal: np.ndarray
    line: np.ndarray
    constant: float
    size_line: np.ndarray
    size_constant: float
    operations: int


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
    diagonal, line, size_line = np.zeros(d), np.zeros(d), np.zeros(d)
    constant = size_constant = 0.0
    for part, multiplier in zip(parts, multipliers, strict=True):
        if multiplier == 0.0:
            continue
        match part:
            case LqBall():
                own = _ball(part, units)
            case HalfSpace():
                own = _half_space(part, units)
            case _:
                return "a multiplier belongs to a part that is no ball and no half-space"
        diagonal += multiplier * own.diagonal
        line += multiplier * own.line
        size_line += multiplier * np.abs(own.line)
        constant += multiplier * own.constant
        size_constant += multiplier * own.size_constant
    if not (np.all(np.isfinite(diagonal + line)) and np.isfinite(constant + size_constant)):
        return "a multiplier belongs to a part without finite numbers"
    return BeyondTerms(
        diagonal[varying],
        line[varying],
        constant,
        size_line[varying],
        size_constant,
        d + len(parts) + 4,
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
    return BeyondTerms(diagonal, line, square - beyond, np.abs(line), square + beyond, 0)


def _half_space(half_space: HalfSpace, units: tuple[np.ndarray, np.ndarray]) -> BeyondTerms:
    center, half = units
    normal, error, offset = half_space.floats()
    line = 0.5 * normal * half
    away = float(error @ (np.abs(center) + half))
    size = abs(offset) + float(np.abs(normal) @ np.abs(center)) + away
    constant = offset + float(normal @ center) - away
    return BeyondTerms(np.zeros(center.size), line, constant, np.abs(line), size, 0)
