"""Input sets of polynomial cases cut into pieces, on which their linear bounds are near them.

The rows that stand for a polynomial (`vnn_mondeq.statement`) err by the product of the widths of
its factors. A box of few inputs is therefore bisected, widest piece first, until intervals alone
refute every case on the pieces or there are `MAX_PIECES`. The pieces cover the box, so the query
stays what it was: more cases, each with its own input set.
"""

import dataclasses
import heapq
import itertools

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet, Box, Intersection
from vnn_mondeq.query.query import Case, PolynomialConstraint, Query
from vnn_mondeq.statement import certainly_empty, implied_rows, runtime_unit
from vnn_mondeq.system.implicit import ImplicitSystem

MAX_PIECES = 64
MAX_VARYING = 6
"""Cutting more inputs than that changes little with so few pieces."""

MAX_NEURONS = 500
"""The ranges of each piece cost some products with `W`."""


def in_pieces(system: ImplicitSystem, query: Query, element_type: str) -> Query:
    """The query with the cases that have polynomial constraints cut into pieces."""
    if system.neurons > MAX_NEURONS:
        return query
    unit = runtime_unit(query, element_type)
    groups: dict[int, list[Case]] = {}
    for case in query.cases:
        groups.setdefault(id(case.inputs), []).append(case)
    cases: list[Case] = []
    for group in groups.values():
        pieces = [group[0].inputs]
        if any(isinstance(row, PolynomialConstraint) for case in group for row in case.checked):
            pieces = _pieces(system, group, unit)
        cases.extend(dataclasses.replace(case, inputs=piece) for piece in pieces for case in group)
    return dataclasses.replace(query, cases=tuple(cases))


def _pieces(
    system: ImplicitSystem, cases: list[Case], unit: float | None
) -> list[AbstractInputSet]:
    whole = cases[0].inputs
    lower, upper = whole.bounds()
    width = upper - lower
    varying = np.flatnonzero(width > 0.0)
    if not np.all(np.isfinite(width)) or not 0 < varying.size <= MAX_VARYING:
        return [whole]
    order = itertools.count()
    done: list[AbstractInputSet] = []
    open_pieces = [(-1.0, next(order), whole)]
    while open_pieces and len(done) + len(open_pieces) < MAX_PIECES:
        _, _, piece = heapq.heappop(open_pieces)
        if _is_refuted(system, piece, cases, unit):
            done.append(piece)
            continue
        low, high = piece.bounds()
        share = (high - low)[varying] / width[varying]
        axis = int(varying[np.argmax(share)])
        for half in _halves(piece, axis, float(0.5 * low[axis] + 0.5 * high[axis])):
            low, high = half.bounds()
            size = float(((high - low)[varying] / width[varying]).max())
            heapq.heappush(open_pieces, (-size, next(order), half))
    return [*done, *(piece for _, _, piece in open_pieces)]


def _is_refuted(
    system: ImplicitSystem, piece: AbstractInputSet, cases: list[Case], unit: float | None
) -> bool:
    """Whether the piece is empty or intervals refute every case on it."""
    if certainly_empty(piece):
        return True
    rows = implied_rows(system, piece, cases, unit)
    return all(any(not row.x and not row.y for row in own) for own in rows)


def _halves(
    inputs: AbstractInputSet, axis: int, middle: float
) -> tuple[AbstractInputSet, AbstractInputSet]:
    """The parts of a set at most and at least `middle` at `axis`."""
    parts = inputs.parts if isinstance(inputs, Intersection) else (inputs,)
    low, high = Box.everything(inputs.dimension), Box.everything(inputs.dimension)
    below, above = low.upper.copy(), high.lower.copy()
    below[axis] = above[axis] = middle
    boxes = (Box.from_floats(low.lower, below), Box.from_floats(above, high.upper))
    place = next((k for k, part in enumerate(parts) if isinstance(part, Box)), None)
    halves = []
    for box in boxes:
        if place is None:
            halves.append(Intersection((box, *parts)))
            continue
        mine = (*parts[:place], parts[place].met(box), *parts[place + 1 :])
        halves.append(mine[0] if len(mine) == 1 else Intersection(mine))
    return halves[0], halves[1]
