"""Ranges of monomials over boxes of inputs, in exact rationals."""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import NamedTuple, Self, final

from vnn_mondeq.rounding import UNIT32


@final
class RationalInterval(NamedTuple):
    """All rationals from `lower` to `upper`; `None` is unbounded. Not empty."""

    lower: Fraction | None
    upper: Fraction | None

    @classmethod
    def of(cls, lower: float, upper: float) -> Self:
        """Between two floats, perhaps infinite."""
        return cls(
            Fraction(float(lower)) if math.isfinite(lower) else None,
            Fraction(float(upper)) if math.isfinite(upper) else None,
        )

    @classmethod
    def point(cls, value: Fraction) -> Self:
        return cls(value, value)

    def plus(self, other: "RationalInterval") -> "RationalInterval":
        lower = None if None in (self.lower, other.lower) else self.lower + other.lower
        upper = None if None in (self.upper, other.upper) else self.upper + other.upper
        return RationalInterval(lower, upper)

    def times(self, factor: Fraction) -> "RationalInterval":
        """`factor` times the interval."""
        if factor == 0:
            return RationalInterval(Fraction(0), Fraction(0))
        ends = [None if end is None else factor * end for end in self]
        return RationalInterval(*(ends if factor > 0 else reversed(ends)))

    def product(self, other: "RationalInterval") -> "RationalInterval":
        """The range of a product of two independent numbers."""
        if None in self or None in other:
            return self._unbounded_product(other)
        ends = [a * b for a in self for b in other]
        return RationalInterval(min(ends), max(ends))

    def _unbounded_product(self, other: "RationalInterval") -> "RationalInterval":
        """Without looking for the side that stays bounded, except for signs."""
        zero = RationalInterval(Fraction(0), Fraction(0))
        if zero in (self, other):
            return zero
        signs = self.sign * other.sign
        if signs > 0:
            return RationalInterval(Fraction(0), None)
        return RationalInterval(None, Fraction(0)) if signs < 0 else RationalInterval(None, None)

    @property
    def sign(self) -> int:
        """1 where no number is negative, -1 where none is positive, else 0."""
        if self.lower is not None and self.lower >= 0:
            return 1
        return -1 if self.upper is not None and self.upper <= 0 else 0

    def power(self, exponent: int) -> "RationalInterval":
        """The range of `x ** exponent`, `exponent >= 1`; tight."""
        ends = [None if end is None else end**exponent for end in self]
        if exponent % 2 == 1 or self.sign > 0:
            return RationalInterval(*ends)
        if self.sign < 0:
            return RationalInterval(*reversed(ends))
        return RationalInterval(Fraction(0), None if None in ends else max(ends))


def is_positive_in_float32(
    weights: Iterable[Fraction],
    terms: Iterable[RationalInterval],
    offset: Fraction,
    strict: bool,
) -> bool:
    """Whether `sum of terms + offset` stays above zero, even as a float32 reader computes it.

    Each computed term is `t (1 + θ)` with `|θ| <= γ`, `γ = (T + 10) u / (1 - (T + 10) u)` for `T`
    terms, whatever the order of the sum. Rounding is monotone, so the least computed value is that
    of the least terms; where all of its partial sums are float32 numbers, `γ = 0`.

    - `weights`: of the terms. `strict`: for a constraint `< 0`, zero suffices.
    """
    ends = [term.lower for term in terms]
    if None in ends:
        return False
    ends.append(offset)
    share = Fraction(len(ends) + 10) * Fraction(UNIT32)
    if share >= Fraction(1, 2):
        return False
    share = share / (1 - share)
    if _adds_up_exactly(ends) and all(_adds_up_exactly([weight]) for weight in weights):
        share = Fraction(0)
    least = sum((end - share * abs(end) for end in ends), Fraction(0))
    return least >= 0 if strict else least > 0


def _adds_up_exactly(numbers: list[Fraction]) -> bool:
    """Whether every partial sum, in any order, is a float32 number: a multiple of one power of
    two, and less than 2^24 of them together."""
    unit = max(number.denominator for number in numbers)
    is_power = unit & (unit - 1) == 0 and unit <= 2**100
    return is_power and sum(map(abs, numbers)) * unit <= 2**24
