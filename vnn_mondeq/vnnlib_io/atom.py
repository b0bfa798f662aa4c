"""Comparisons sorted into the kinds of constraint that a query may hold.

Atoms are hashable values: equal atoms mean the same constraint, so cases can share sets.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import final

from vnn_mondeq.vnnlib_io.polynomial import Monomial, Polynomial, read_difference
from vnn_mondeq.vnnlib_io.scope import Scope
from vnn_mondeq.vnnlib_io.syntax import Comparison, Relation


@final
@dataclass(frozen=True, slots=True)
class InputBound:
    """`x[position] <= value` (`is_upper`) or `>= value`; without equality when `strict`."""

    position: int
    value: Fraction
    is_upper: bool
    strict: bool


@final
@dataclass(frozen=True, slots=True)
class LinearAtom:
    """`sum of coefficient * slot + offset <= 0` (`< 0` when `strict`); slots sorted."""

    terms: tuple[tuple[int, Fraction], ...]
    offset: Fraction
    strict: bool


@final
@dataclass(frozen=True, slots=True)
class BallAtom:
    """`sum of (x[coordinate] - center)^2 <= square` (`<` when `strict`), `square >= 0`."""

    coordinates: tuple[int, ...]
    center: tuple[Fraction, ...]
    square: Fraction
    strict: bool


@final
@dataclass(frozen=True, slots=True)
class QuadraticAtom:
    """`sum of coefficient * (product of one or two inputs) + offset <= 0` (`< 0` when `strict`).

    - `terms`: monomials (sorted tuples of input positions) and coefficients, sorted.
    """

    terms: tuple[tuple[Monomial, Fraction], ...]
    offset: Fraction
    strict: bool


@final
@dataclass(frozen=True, slots=True)
class PolynomialAtom:
    """Any other `sum of coefficient * monomial + offset <= 0` (`< 0` when `strict`); sorted."""

    terms: tuple[tuple[Monomial, Fraction], ...]
    offset: Fraction
    strict: bool


Atom = InputBound | LinearAtom | BallAtom | QuadraticAtom | PolynomialAtom

Disjunction = tuple[tuple[Atom, ...], ...]
"""Alternatives, each a conjunction. `()` is false, `((),)` is true."""

TRUE: Disjunction = ((),)
FALSE: Disjunction = ()

# What a relation says about p = left - right: alternatives, each a conjunction of
# (sign, strict) for `sign * p <= 0` or `< 0`.
_MEANING: dict[Relation, tuple[tuple[tuple[int, bool], ...], ...]] = {
    Relation.LESS: (((1, True),),),
    Relation.LESS_EQUAL: (((1, False),),),
    Relation.GREATER: (((-1, True),),),
    Relation.GREATER_EQUAL: (((-1, False),),),
    Relation.EQUAL: (((1, False), (-1, False)),),
    Relation.NOT_EQUAL: (((1, True),), ((-1, True),)),
}


def read_comparison(comparison: Comparison, scope: Scope) -> Disjunction:
    """The comparison as atoms; constant ones are decided exactly and vanish.

    **Raises** `QueryError` for what no atom can say.
    """
    difference = read_difference(comparison.left, comparison.right, scope, comparison.at)
    alternatives = []
    for conjunction in _MEANING[comparison.relation]:
        atoms: list[Atom] = []
        for sign, strict in conjunction:
            signed = difference if sign > 0 else {m: -c for m, c in difference.items()}
            atom = _classify(signed, strict, scope)
            if atom is False:
                break
            if atom is not True:
                atoms.append(atom)
        else:
            alternatives.append(tuple(atoms))
    return tuple(alternatives)


def _classify(polynomial: Polynomial, strict: bool, scope: Scope) -> Atom | bool:
    """The atom for `polynomial <= 0` (`< 0`), or whether it holds at every point."""
    offset = polynomial.get((), Fraction(0))
    variables = {monomial: c for monomial, c in polynomial.items() if monomial}
    if not variables:
        return offset < 0 or (offset == 0 and not strict)
    if any(len(monomial) > 1 for monomial in variables):
        return _polynomial(variables, offset, strict, scope)
    terms = tuple(sorted((slot, c) for (slot,), c in variables.items()))
    if len(terms) == 1 and terms[0][0] < scope.input_count:
        position, coefficient = terms[0]
        return InputBound(position, -offset / coefficient, coefficient > 0, strict)
    return LinearAtom(terms, offset, strict)


def _polynomial(
    variables: Polynomial, offset: Fraction, strict: bool, scope: Scope
) -> BallAtom | QuadraticAtom | PolynomialAtom | bool:
    is_of_inputs = all(max(monomial) < scope.input_count for monomial in variables)
    if not is_of_inputs or any(len(monomial) > 2 for monomial in variables):
        return PolynomialAtom(tuple(sorted(variables.items())), offset, strict)
    ball = _ball(variables, offset, strict)
    if ball is not None:
        return ball
    return QuadraticAtom(tuple(sorted(variables.items())), offset, strict)


def _ball(variables: Polynomial, offset: Fraction, strict: bool) -> BallAtom | bool | None:
    """Complete the square: `w |x|^2 + b.x + c <= 0` is a ball of centre `-b / 2w`.

    `None` where it is no ball, `False` where no point satisfies it.
    """
    squares = {m[0]: c for m, c in variables.items() if len(m) == 2 and m[0] == m[1]}
    linear = {m[0]: c for m, c in variables.items() if len(m) == 1}
    weights = set(squares.values())
    is_ball = (
        len(squares) + len(linear) == len(variables)  # no x_i * x_j
        and len(weights) == 1
        and linear.keys() <= squares.keys()
    )
    weight = next(iter(weights), Fraction(0))
    if not is_ball or weight <= 0:
        return None
    coordinates = tuple(sorted(squares))
    center = tuple(-linear.get(i, Fraction(0)) / (2 * weight) for i in coordinates)
    square = sum((c * c for c in center), Fraction(0)) - offset / weight
    if square < 0 or (square == 0 and strict):
        return False
    return BallAtom(coordinates, center, square, strict)
