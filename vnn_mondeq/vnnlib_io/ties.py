"""Inputs that a query ties by `==`: they share one number.

(declare-network f (declare-input X  float32 [1,784]) …)
(declare-network g (declare-input XG float32 [1,784]) …)
(assert (== XG[0,0] X[0,0])) …

Only ties that hold in every case count: at top level or inside `and`. Ties inside `or` stay
constraints of their cases.
"""

from collections.abc import Iterator

from vnn_mondeq.vnnlib_io.scope import Scope
from vnn_mondeq.vnnlib_io.syntax import (
    Assertion,
    Comparison,
    Condition,
    Reference,
    Relation,
    Script,
)


def number_tied_inputs(script: Script, scope: Scope) -> list[int] | None:
    """For each input, its number when tied ones are counted once; `None` where none is tied.

    **Raises** `QueryError` for an index outside of a tied tensor's shape.
    """
    leader = list(range(scope.input_count))

    def find(slot: int) -> int:
        while leader[slot] != slot:
            leader[slot] = leader[leader[slot]]
            slot = leader[slot]
        return slot

    for left, right in _ties(script, scope):
        one, other = sorted((find(left), find(right)))
        leader[other] = one
    numbers: list[int] = []
    count = 0
    for slot in range(scope.input_count):
        first = find(slot)
        numbers.append(count if first == slot else numbers[first])
        count += first == slot
    return None if count == scope.input_count else numbers


def _ties(script: Script, scope: Scope) -> Iterator[tuple[int, int]]:
    """The slots of both sides of each tie."""
    for assertion in script.assertions:
        if not isinstance(assertion, Assertion):
            continue
        for comparison in _conjuncts(assertion.condition):
            left, right = comparison.left, comparison.right
            if (
                comparison.relation is Relation.EQUAL
                and isinstance(left, Reference)
                and isinstance(right, Reference)
            ):
                slots = [
                    scope.slot(scope.symbol(side.name, side.at), side.index, side.at)
                    for side in (left, right)
                ]
                if max(slots) < scope.input_count:
                    yield slots[0], slots[1]


def _conjuncts(condition: Condition) -> list[Comparison]:
    """The comparisons that must hold whatever is chosen in disjunctions."""
    found = []
    pending = [condition]
    while pending:
        item = pending.pop()
        if isinstance(item, Comparison):
            found.append(item)
        elif item.is_and or len(item.operands) == 1:
            pending.extend(item.operands)
    return found
