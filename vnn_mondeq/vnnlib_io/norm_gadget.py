"""The norm gadget: how a query states an Lq ball by a second network (docs/vnnlib.md).

(declare-network f    (declare-input X  float32 [1,784]) (declare-output Y float32 [1,10]))
(declare-network norm (declare-input XN float32 [1,784]) (declare-output N float32 []))
(assert (== XN[0,0] X[0,0])) ...             every element tied to the same element
(assert (<= N 0.5))                          ‖X - center‖_q <= 0.5
"""

import itertools
import math
from collections import defaultdict

from vnn_mondeq.errors import QueryError
from vnn_mondeq.vnnlib_io.source import Source
from vnn_mondeq.vnnlib_io.syntax import (
    Assertion,
    Comparison,
    Condition,
    Declaration,
    Network,
    Reference,
    Relation,
    Script,
)

Ties = dict[tuple[str, str], set[tuple[int, ...]]]
"""`(name, other name)` → the indices at which a top-level `==` ties the two."""


def find_ties(script: Script, source: Source) -> dict[str, str]:
    """For each network after the first: its input variable → the model input it is tied to.

    **Raises** `QueryError` where a further network is not a norm gadget: queries about several
    networks are not supported.
    """
    model, *others = script.networks
    if not others:
        return {}
    ties = _collect_ties(script)
    inputs = [item for item in model.declarations if item.kind == "input"]
    return dict(_tie_of(network, inputs, ties, source) for network in others)


def _collect_ties(script: Script) -> Ties:
    ties: Ties = defaultdict(set)
    for assertion in script.assertions:
        if isinstance(assertion, Assertion):
            for comparison in _conjuncts(assertion.condition):
                left, right = comparison.left, comparison.right
                if (
                    comparison.relation is Relation.EQUAL
                    and isinstance(left, Reference)
                    and isinstance(right, Reference)
                    and left.index == right.index
                ):
                    index = left.index or ()
                    ties[left.name, right.name].add(index)
                    ties[right.name, left.name].add(index)
    return ties


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


def _tie_of(
    network: Network, inputs: list[Declaration], ties: Ties, source: Source
) -> tuple[str, str]:
    """`(norm input, model input)` of one gadget."""
    kinds = [item.kind for item in network.declarations]
    if network.twin is not None or kinds != ["input", "output"]:
        raise _several_networks(network, source)
    own, output = network.declarations
    if math.prod(output.shape) != 1:
        raise _several_networks(network, source)
    for candidate in inputs:
        tied = ties.get((own.name, candidate.name))
        if tied and candidate.shape == own.shape:
            for index in itertools.product(*map(range, own.shape)):
                if index not in tied:
                    place = f"[{','.join(map(str, index))}]" if index else ""
                    raise source.error(
                        f"norm network `{network.name}`: `{own.name}{place}` is not tied; add "
                        f"(assert (== {own.name}{place} {candidate.name}{place}))",
                        own.at,
                    )
            return own.name, candidate.name
    raise _several_networks(network, source)


def _several_networks(network: Network, source: Source) -> QueryError:
    return source.error(
        f"network `{network.name}` makes this a query about several networks, which is not "
        "supported. The exception is a norm network: one input of the shape of the model's "
        "(the model is declared first), every element tied to it by a top-level "
        "(assert (== XN[i] X[i])), and one scalar output bounded from above by a constant",
        network.at,
    )
