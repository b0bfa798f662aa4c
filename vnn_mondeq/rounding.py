"""Rounding errors of floating-point arithmetic, bounded from above.

Standard model (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., chapters 2-3):
`fl(a op b) = (a op b)(1 + d)`, `|d| <= u`, and for a sum of `n` products evaluated in any order,
with or without fused operations, `|fl(s) - s| <= gamma(n) * sum |a_i b_i|`.
Underflow is not part of that model: every bound here also adds `UNDERFLOW` per operation.

Bounds computed by these functions are themselves computed in floating point. Each is a sum of
non-negative terms, so it is too small by at most a factor `1 - gamma`; the factor `SAFETY` covers
that for up to 10^9 operations.
"""

import math
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


def are_float64(*arrays: object) -> bool:
    """Whether all are plain float64 arrays, the only ones for which the bounds here hold: integers
    wrap, and sums of narrower floats round with another unit."""
    return all(type(array) is np.ndarray and array.dtype == np.float64 for array in arrays)


def norm_up(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Upper bound on the 2-norm of `values` (along `axis`, or of all entries).

    Entries are divided by the largest magnitude first, so squares can neither underflow to a
    norm that is too small nor overflow. Infinite where an entry is not a finite number.
    """
    magnitude = np.abs(values)
    finite = np.isfinite(magnitude)
    largest = np.where(finite, magnitude, 0.0).max(axis=axis, initial=0.0, keepdims=True)
    # A power of two, and no larger than the largest float: the quotients are exact or tiny.
    _, exponent = np.frexp(largest)
    with np.errstate(under="ignore", over="ignore"):
        scaled = np.ldexp(np.where(finite, magnitude, 0.0), -exponent)
        root = np.sqrt((scaled * scaled).sum(axis=axis, keepdims=True)) * SAFETY
        bound = np.ldexp(root, exponent)
    # Underflow of the result itself, and entries that are not numbers.
    bound = np.where(largest > 0.0, np.maximum(round_up(bound), largest), 0.0)
    bound = np.where(finite.all(axis=axis, keepdims=True), bound, np.inf)
    return np.squeeze(bound, axis=axis) if axis is not None else bound.reshape(())[()]


def round_up(value: np.ndarray) -> np.ndarray:
    """The next larger float64."""
    return np.nextafter(value, np.inf)


def round_down(value: np.ndarray) -> np.ndarray:
    """The next smaller float64."""
    return np.nextafter(value, -np.inf)


def fraction_hull(value: Fraction) -> tuple[float, float]:
    """The largest float64 not above `value` and the smallest not below it."""
    try:
        near = value.numerator / value.denominator
    except OverflowError:
        largest = float(np.finfo(float).max)
        return (largest, math.inf) if value > 0 else (-math.inf, -largest)
    numerator, denominator = near.as_integer_ratio()
    difference = numerator * value.denominator - value.numerator * denominator
    if difference == 0:
        return near, near
    if difference > 0:
        return math.nextafter(near, -math.inf), near
    return near, math.nextafter(near, math.inf)


def fraction_up(value: Fraction) -> float:
    """The smallest float64 that is not below `value`; infinity where there is none."""
    return fraction_hull(value)[1]


def fraction_down(value: Fraction) -> float:
    """The largest float64 that is not above `value`; minus infinity where there is none."""
    return fraction_hull(value)[0]


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
