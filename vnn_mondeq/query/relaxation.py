"""Linear bounds of polynomial constraints on boxes (McCormick), in exact rationals.

For factors `f, g` with ranges of midpoints `f_m, g_m` and radii `f_r, g_r`,

    f g = f_m g + g_m f - f_m g_m + (f - f_m)(g - g_m),   |(f - f_m)(g - g_m)| <= f_r g_r,

and the last product is not negative where `f = g`. The bound is the mean of McCormick's two
planes (Math. Programming 10, 1976); longer products are taken factor by factor.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import final

from vnn_mondeq.query.interval import RationalInterval
from vnn_mondeq.query.query import LinearConstraint, Monomial, PolynomialConstraint

Factor = tuple[bool, int]
"""Whether it is an output, and its position."""

Ranges = Callable[[Factor], RationalInterval]


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Affine:
    """A quantity as `Σ slope · factor + remainder`, and its own range."""

    slopes: Mapping[Factor, Fraction]
    remainder: RationalInterval
    range: RationalInterval


def range_of(constraint: PolynomialConstraint, ranges: Ranges) -> RationalInterval:
    """The range of the left-hand side by intervals, monomial by monomial."""
    total = RationalInterval.point(constraint.offset)
    for monomial, weight in constraint.terms.items():
        total = total.plus(_monomial_range(monomial, ranges).times(weight))
    return total


def linear_lower_bound(constraint: PolynomialConstraint, ranges: Ranges) -> LinearConstraint | None:
    """A linear constraint that every point of the box satisfies that satisfies this one.

    A constant one where intervals show that no point does. `None` where a factor is unbounded.
    """
    least = range_of(constraint, ranges).lower
    if least is None:
        return None
    if least > 0:
        return LinearConstraint({}, {}, least, constraint.strict)
    offset = constraint.offset
    slopes: dict[Factor, Fraction] = {}
    for monomial, weight in constraint.terms.items():
        if any(None in ranges(factor) for factor in _factors(monomial)):
            return None
        affine = _product(monomial, ranges)
        offset += affine.remainder.times(weight).lower
        for factor, slope in affine.slopes.items():
            slopes[factor] = slopes.get(factor, Fraction(0)) + weight * slope
    return LinearConstraint(
        {i: c for (is_output, i), c in slopes.items() if not is_output},
        {i: c for (is_output, i), c in slopes.items() if is_output},
        offset,
        constraint.strict,
    )


def _factors(monomial: Monomial) -> list[Factor]:
    inputs, outputs = monomial
    return [*((False, i) for i in inputs), *((True, i) for i in outputs)]


def _monomial_range(monomial: Monomial, ranges: Ranges) -> RationalInterval:
    factors = _factors(monomial)
    total = RationalInterval.point(Fraction(1))
    for factor in dict.fromkeys(factors):
        total = total.product(ranges(factor).power(factors.count(factor)))
    return total


def _product(monomial: Monomial, ranges: Ranges) -> _Affine:
    first, *rest = _factors(monomial)
    nothing = RationalInterval.point(Fraction(0))
    total = _Affine({first: Fraction(1)}, nothing, ranges(first))
    so_far = [first]
    for factor in rest:
        other = ranges(factor)
        f, f_radius = _middle_and_radius(total.range)
        g, g_radius = _middle_and_radius(other)
        slopes = {key: g * slope for key, slope in total.slopes.items()}
        slopes[factor] = slopes.get(factor, Fraction(0)) + f
        spread = f_radius * g_radius
        is_square = so_far == [factor]
        last = RationalInterval(Fraction(0) if is_square else -spread, spread)
        remainder = total.remainder.times(g).plus(last).plus(RationalInterval.point(-f * g))
        so_far.append(factor)
        total = _Affine(slopes, remainder, _range_of_factors(so_far, ranges))
    return total


def _range_of_factors(factors: list[Factor], ranges: Ranges) -> RationalInterval:
    inputs = tuple(i for is_output, i in factors if not is_output)
    return _monomial_range((inputs, tuple(i for is_output, i in factors if is_output)), ranges)


def _middle_and_radius(interval: RationalInterval) -> tuple[Fraction, Fraction]:
    return (interval.lower + interval.upper) / 2, (interval.upper - interval.lower) / 2
