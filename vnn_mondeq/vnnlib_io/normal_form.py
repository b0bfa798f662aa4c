"""Conditions in disjunctive normal form, with a cap on the number of alternatives."""

import itertools
import math
from collections.abc import Iterable

from vnn_mondeq.errors import QueryError
from vnn_mondeq.vnnlib_io.atom import FALSE, TRUE, Atom, Disjunction, read_comparison
from vnn_mondeq.vnnlib_io.scope import Scope
from vnn_mondeq.vnnlib_io.syntax import Comparison, Condition, Connective

MAX_CASES = 4096
"""Default cap on the cases of a query: each is a verification problem of its own."""


def read_condition(condition: Condition, scope: Scope, at: int, max_cases: int) -> Disjunction:
    """The condition as alternatives of conjunctions.

    Constant comparisons are decided on the way, and so are connectives they decide. Equal atoms
    of a conjunction and equal alternatives are merged.

    **Arguments:**

    - `at`: where the assertion starts, for messages.

    **Raises** `QueryError` as `read_comparison`, and beyond `max_cases` alternatives.
    """
    pending: list[tuple[Condition, bool]] = [(condition, False)]
    values: list[Disjunction] = []
    while pending:
        item, ready = pending.pop()
        if isinstance(item, Comparison):
            values.append(read_comparison(item, scope))
        elif ready:
            count = len(item.operands)
            operands = values[-count:]
            del values[-count:]
            values.append(_connect(item, operands, scope, at, max_cases))
        else:
            pending.append((item, True))
            pending.extend((operand, False) for operand in reversed(item.operands))
    return values[0]


def _connect(
    connective: Connective,
    operands: list[Disjunction],
    scope: Scope,
    at: int,
    max_cases: int,
) -> Disjunction:
    if len(operands) == 1:
        return operands[0]
    if connective.is_and:
        if FALSE in operands:
            return FALSE
        count = math.prod(map(len, operands))
    else:
        if any(() in operand for operand in operands):
            return TRUE
        count = sum(map(len, operands))
    if count > max_cases:
        raise too_many_cases(count, scope, at, max_cases)
    if connective.is_and:
        return tuple(dict.fromkeys(cross_product(operands)))
    return tuple(dict.fromkeys(itertools.chain.from_iterable(operands)))


def cross_product(disjunctions: Iterable[Disjunction]) -> Iterable[tuple[Atom, ...]]:
    """One conjunction for each way of choosing an alternative from every disjunction."""
    for choice in itertools.product(*disjunctions):
        yield tuple(dict.fromkeys(itertools.chain.from_iterable(choice)))


def too_many_cases(count: int, scope: Scope, at: int, max_cases: int) -> QueryError:
    """The error for a query whose normal form has `count` cases with the assertion at `at`."""
    return scope.source.error(
        f"with this assertion the query has {count} cases in disjunctive normal form, more than "
        f"the {max_cases} supported; split it into several queries",
        at,
    )
