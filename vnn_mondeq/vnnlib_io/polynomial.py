"""Exact polynomials, and terms read as such.

A polynomial is a `dict` from monomial to non-zero rational coefficient; a monomial is the sorted
tuple of its slots: `()` for the constant, `(3,)`, `(3, 3)`.
"""

from fractions import Fraction

from vnn_mondeq.vnnlib_io.number import read_number
from vnn_mondeq.vnnlib_io.scope import Scope
from vnn_mondeq.vnnlib_io.syntax import Number, Operation, Reference, Term

Monomial = tuple[int, ...]
Polynomial = dict[Monomial, Fraction]

MAX_DEGREE = 16
"""Products of more variables are refused."""
MAX_MONOMIALS = 1_000_000
"""A product of two sums of 1,000 terms; larger ones are refused rather than expanded."""


def read_difference(left: Term, right: Term, scope: Scope, at: int) -> Polynomial:
    """`left - right`, expanded.

    **Raises** `QueryError` for undeclared names, wrong indices, mixed element types, constants
    outside the type, and products beyond `MAX_DEGREE` or `MAX_MONOMIALS`.
    """
    types: dict[str, int] = {}
    constants: list[tuple[Fraction, int]] = []
    value = _evaluate(left, scope, types, constants)
    _add(value, _evaluate(right, scope, types, constants), Fraction(-1))
    if len(types) > 1:
        raise scope.source.error(
            f"the comparison mixes the element types {' and '.join(sorted(types))}", at
        )
    for type_name in types:
        for number, place in constants:
            scope.check_constant(number, type_name, place)
    return value


def _evaluate(
    term: Term, scope: Scope, types: dict[str, int], constants: list[tuple[Fraction, int]]
) -> Polynomial:
    """The term as a polynomial; notes the element types and the constants it meets.

    Iterative: `pending` holds terms to be read and, after their operands, operations to be done.
    """
    pending: list[tuple[Term, bool]] = [(term, False)]
    values: list[Polynomial] = []
    while pending:
        item, ready = pending.pop()
        if isinstance(item, Number):
            number = read_number(item.lexeme, scope.source, item.at)
            constants.append((number, item.at))
            values.append({(): number} if number else {})
        elif isinstance(item, Reference):
            symbol = scope.symbol(item.name, item.at)
            types.setdefault(symbol.type_name, item.at)
            values.append({(scope.slot(symbol, item.index, item.at),): Fraction(1)})
        elif ready:
            count = len(item.operands)
            operands = values[-count:]
            del values[-count:]
            values.append(_apply(item, operands, scope))
        else:
            pending.append((item, True))
            pending.extend((operand, False) for operand in reversed(item.operands))
    return values[0]


def _apply(operation: Operation, operands: list[Polynomial], scope: Scope) -> Polynomial:
    """Carry out one operation. The operands are used up: no other term holds them."""
    first, *rest = operands
    if operation.operator == "*":
        for factor in rest:
            first = _multiply(first, factor, operation, scope)
        return first
    if operation.operator == "-":
        if not rest:
            return {monomial: -coefficient for monomial, coefficient in first.items()}
        sign = Fraction(-1)
    else:
        sign = Fraction(1)
        # Into the largest, so that a deep sum of sums costs no more than a flat one.
        largest = max(range(len(operands)), key=lambda i: len(operands[i]))
        first = operands.pop(largest)
        rest = operands
    for summand in rest:
        _add(first, summand, sign)
    return first


def _add(total: Polynomial, summand: Polynomial, factor: Fraction) -> None:
    """`total += factor * summand`, in place."""
    for monomial, coefficient in summand.items():
        value = total.get(monomial, 0) + factor * coefficient
        if value:
            total[monomial] = value
        else:
            total.pop(monomial, None)


def _multiply(
    left: Polynomial, right: Polynomial, operation: Operation, scope: Scope
) -> Polynomial:
    if len(left) * len(right) > MAX_MONOMIALS:
        raise scope.source.error(
            f"this product expands to more than {MAX_MONOMIALS} terms, which is not supported",
            operation.at,
        )
    product: Polynomial = {}
    for a, coefficient in left.items():
        for b, other in right.items():
            monomial = tuple(sorted(a + b))
            if len(monomial) > MAX_DEGREE:
                raise scope.source.error(
                    f"a product of more than {MAX_DEGREE} variables is not supported",
                    operation.at,
                )
            _add(product, {monomial: coefficient * other}, Fraction(1))
    return product
