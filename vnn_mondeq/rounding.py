"""Rounding errors of floating-point arithmetic, bounded from above.

Standard model (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., chapters 2-3):
`fl(a op b) = (a op b)(1 + d)`, `|d| <= u`, and for a sum of `n` products evaluated in any order,
with or without fused operations, `|fl(s) - s| <= gamma(n) * sum |a_i b_i|`.
Underflow is not part of that model: every bound here also adds `UNDERFLOW` per operation.

Bounds computed by these functions are themselves computed in floating point. Each is a sum of
non-negative terms, so it is too small by at most a factor `1 - gamma`; the factor `SAFETY` covers
that for up to 10^9 operations.
"""

from fractions import Fraction

import numpy as np

UNIT = 2.0**-53
"""Unit roundoff of float64."""

UNIT32 = 2.0**-24
"""Unit roundoff of float32."""

UNDERFLOW = 2.0**-1000
"""More than all underflow errors of any computation here (each is at most 2**-1074)."""

SAFETY = 1.0 + 1e-6
"""Covers the rounding of the error bounds themselves: (1 + 2**-53) ** (10**9) < 1 + 1e-6."""


def gamma(count: int, unit: float = UNIT) -> float:
    """`n u / (1 - n u)`, rounded up. Raises `ValueError` when `n u >= 1/2`."""
    product = count * unit
    if product >= 0.5:
        raise ValueError(f"no error bound for {count} operations at unit roundoff {unit}")
    return product / (1.0 - product) * SAFETY


def product_error(left_abs: np.ndarray, right_abs: np.ndarray, count: int) -> np.ndarray:
    """Elementwise bound on `|fl(A B) - A B|`, given `|A|` and `|B|` and the inner length `count`.

    `right_abs` may be a vector or a matrix. One further rounding (adding the result to something
    of no larger magnitude bound) is covered by the two extra operations.
    """
    return gamma(count + 2) * (left_abs @ right_abs) * SAFETY + UNDERFLOW


def round_up(value: np.ndarray) -> np.ndarray:
    """The next larger float64."""
    return np.nextafter(value, np.inf)


def round_down(value: np.ndarray) -> np.ndarray:
    """The next smaller float64."""
    return np.nextafter(value, -np.inf)


def fraction_up(value: Fraction) -> float:
    """The smallest float64 that is not below `value`; infinity where there is none."""
    try:
        near = float(value)
    except OverflowError:
        return np.inf if value > 0 else -float(np.finfo(float).max)
    return near if Fraction(near) >= value else float(np.nextafter(near, np.inf))


def fraction_down(value: Fraction) -> float:
    """The largest float64 that is not above `value`."""
    return -fraction_up(-value)


def float32_hull(lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box `[lower, upper]` widened to contain the float32 nearest to each bound.

    A competition scorer compares inputs with the bounds *in float32*, so a point on the float32
    nearest to a bound counts as inside even where it is an ulp outside
    (vnnlib-and-vnncomp.md, section 7). Proofs must cover it.
    """
    with np.errstate(over="ignore"):
        near_lower = lower.astype(np.float32).astype(np.float64)
        near_upper = upper.astype(np.float32).astype(np.float64)
    return np.minimum(lower, near_lower), np.maximum(upper, near_upper)
