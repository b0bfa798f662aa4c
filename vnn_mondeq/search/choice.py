"""Which neuron to split: strong branching with a few Newton steps for each child.

The price of a neuron's violated complementarity says which ones may matter, not how much the bound
gains; that is tried. A child's path starts where the parent's was left, and three Newton steps show
what it will reach; the chosen children go on from there.
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.sdp.ascent import AscentSettings
from vnn_mondeq.sdp.engine import CaseBound
from vnn_mondeq.sdp.phases import ScaledForm
from vnn_mondeq.search.node import CaseNodes, PhaseBox
from vnn_mondeq.search.warm_start import Place

LEAST_GAIN = 1e-6


@final
@dataclass(frozen=True, slots=True)
class ChoiceSettings:
    """- `candidates`: neurons that are tried, those with the highest price first.
    - `ascent`: how the children's bounds are estimated.
    """

    candidates: int = 6
    ascent: AscentSettings = field(default_factory=lambda: AscentSettings(steps=3))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """One side of a split: its box, an estimate of its margin, and where its path starts."""

    box: PhaseBox
    margin: float
    start: Place | None


@final
@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The neuron to split, and both sides."""

    neuron: int
    inactive: Child
    active: Child

    def score(self, margin: float) -> float:
        """The product of both gains over the parent's margin; what exceeds a proof is worth
        nothing."""
        gains = [min(child.margin, 0.0) - margin for child in (self.inactive, self.active)]
        return max(min(gains), LEAST_GAIN) * max(max(gains), LEAST_GAIN)


def widest(box: PhaseBox, free: np.ndarray, margin: float) -> Choice:
    """The neuron of the largest triangle among `free (f,)`; for nodes without a bound."""
    neuron = int(free[np.argmax((box.upper_z * box.upper_s)[free])])
    inactive, active = (
        Child(box.decided(neuron, is_active=side), margin, None) for side in (False, True)
    )
    return Choice(neuron, inactive, active)


def choose(
    nodes: CaseNodes,
    box: PhaseBox,
    form: ScaledForm,
    found: CaseBound,
    settings: ChoiceSettings,
    deadline: Deadline,
) -> Choice:
    """The best of the tried neurons; no more are tried once both sides of one are proved.

    `found` is the bound under `box`, with data `form`; at least one undecided neuron is not fixed.
    **Raises** `DeadlineExceeded`.
    """
    start = Place.of(form, found.last)
    best: Choice | None = None
    for neuron in _by_price(form, found, box.fixed)[: settings.candidates]:
        sides = []
        for is_active in (False, True):
            deadline.check()
            part = box.decided(neuron, is_active=is_active)
            sides.append(_estimated(nodes, part, start, found.margin, settings, deadline))
        choice = Choice(neuron, *sides)
        if best is None or choice.score(found.margin) > best.score(found.margin):
            best = choice
        if min(child.margin for child in sides) > 0.0:
            break
    return best


def _estimated(
    nodes: CaseNodes,
    part: PhaseBox,
    start: Place,
    margin: float,
    settings: ChoiceSettings,
    deadline: Deadline,
) -> Child:
    """A side after a few steps; it is at least as good as its parent."""
    form = nodes.form(part)
    found = nodes.semidefinite(form, start, settings.ascent, deadline)
    if found is None:
        return Child(part, margin, start)
    return Child(part, max(found.margin, margin), Place.of(form, found.last))


def _by_price(form: ScaledForm, found: CaseBound, fixed: frozenset[int]) -> list[int]:
    """The free neurons, the one first whose complementarity the relaxation violates at the highest
    price: at the stationary point `ẑ_i ŝ_i` should vanish; its multiplier `t_i` is the price."""
    point, undecided = found.point, form.elimination.undecided
    t = point.multipliers.products[: undecided.size]
    violation = np.clip(point.z, 0.0, 1.0) * np.clip(point.s, 0.0, 1.0)
    order = np.argsort(-(t + 1e-6) * violation, kind="stable")
    return [int(neuron) for neuron in undecided[order] if int(neuron) not in fixed]
