"""Tighten a bound that misses by little with the products of pairs that it violates most.

Rounds: at the end of the path the moments of the relaxation tell which products are negative
there; the worst of them enter with small multipliers, and the path is walked again from a little
before its end.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.sdp.ascent import Ascent, AscentSettings, PathPoint, ascend
from vnn_mondeq.sdp.pairs import worst_pairs
from vnn_mondeq.sdp.shor import Multipliers, ShorDual


@final
@dataclass(frozen=True, slots=True)
class PairSettings:
    """How products of pairs are added.

    - `count`: how many in a round; `rounds`: how many rounds.
    - `back`: the factor by which a round starts before the end of the last path.
    - `ascent`: each round's path. Of smaller `certainty` than where one bound decides: the point
      where it is left chooses the next products.
    """

    count: int = 400
    rounds: int = 4
    back: float = 16.0
    ascent: AscentSettings = field(default_factory=lambda: AscentSettings(certainty=0.2, steps=150))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Tightened:
    """The dual with its pairs, and where its path was left."""

    dual: ShorDual
    found: Ascent


def tighten(
    dual: ShorDual, target: float, settings: PairSettings, deadline: Deadline
) -> Tightened | None:
    """Walk the path, then rounds with more and more pairs, until the bound is below `target`.

    **Returns** the best round; `None` where no start is feasible.
    """
    found = ascend(dual, target, settings.ascent, deadline)
    if found is None:
        return None
    best = Tightened(dual, found)
    last = best
    for _ in range(settings.rounds):
        if best.found.best.bound < target or deadline.expired:
            break
        following = _round(last, target, settings, deadline)
        if following is None:
            break
        last = following
        if last.found.best.bound < best.found.best.bound:
            best = last
    return best


def _round(
    last: Tightened, target: float, settings: PairSettings, deadline: Deadline
) -> Tightened | None:
    dual, end = last.dual, last.found.last
    at = dual.evaluate(end.multipliers, end.tau)
    if at is None:
        return None
    pairs = worst_pairs(dual, at, end.tau, settings.count)
    added = pairs.count - (0 if dual.pairs is None else dual.pairs.count)
    if added == 0:
        return None
    dual = dataclasses.replace(dual, pairs=pairs)
    start = _start(dual, end.multipliers, added, end.tau / settings.back)
    if start is None:
        return None
    found = ascend(dual, target, settings.ascent, deadline, start)
    return None if found is None else Tightened(dual, found)


def _start(dual: ShorDual, known: Multipliers, added: int, tau: float) -> PathPoint | None:
    """The largest of ever smaller multipliers of the new products that is feasible."""
    for price in 0.25 ** np.arange(20) / tau:
        products = np.concatenate([known.products, np.full(added, price)])
        multipliers = Multipliers(known.sigma, products, known.beyond)
        if dual.evaluate(multipliers, tau) is not None:
            return PathPoint(multipliers, tau)
    return None
