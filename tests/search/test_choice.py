"""Where a child's semidefinite path starts, and which neuron is split."""

import dataclasses

import numpy as np
import pytest
from strategies import constraint, query_of, raw_system

from vnn_mondeq.bounds.attempt import Attempt
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.sdp.ascent import AscentSettings
from vnn_mondeq.search.choice import ChoiceSettings, choose
from vnn_mondeq.search.node import CaseNodes, PhaseBox
from vnn_mondeq.search.warm_start import Place
from vnn_mondeq.statement import build_problem

BOX = Box.from_floats(np.array([-1.0, -0.75]), np.array([1.0, 1.25]))
WHOLE_PATH = AscentSettings(certainty=1e-3, gap=1e-4)
NEVER = Deadline.never()


@pytest.fixture(scope="module", params=(101, 103, 104))
def root(request):
    """The root of a tree that the relaxation leaves open, its data, its bound."""
    for draw in range(40):
        rng = np.random.default_rng([request.param, draw])
        raw = raw_system(rng, "plain", 7, 2, 1)
        query = query_of([(BOX, [constraint({0: 1.0}, 0.0)])], raw.d, raw.q)
        problem = build_problem(raw.build(), query, "float64")
        obligation = problem.obligations[0]
        attempt = InductiveBox(exact_within=0.0).prove(problem.system, obligation, NEVER)
        if not isinstance(attempt, Attempt):
            continue
        last = attempt.proof.rounds[-1]
        box = PhaseBox(last.upper_z, last.upper_s, frozenset())
        nodes = CaseNodes.of(problem.system, obligation, attempt.proof.anchor, 0, np.ones(1))
        form = nodes.form(box)
        if form.e.size < 3:
            continue
        found = nodes.semidefinite(form, None, WHOLE_PATH, NEVER)
        if found.margin < 0.0:
            return nodes, box, form, found
    raise AssertionError("no drawn root is open")


def test_a_child_starts_with_its_parents_bound(root):
    """Rescaled multipliers are feasible under every smaller box, and prove no less there."""
    nodes, box, form, found = root
    start, one_step = Place.of(form, found.last), dataclasses.replace(WHOLE_PATH, steps=1)
    parent = nodes.semidefinite(form, start, one_step, NEVER).margin
    for neuron in map(int, form.elimination.undecided):
        upper_z, upper_s = box.upper_z.copy(), box.upper_s.copy()
        upper_z[neuron] *= 0.5
        upper_s[neuron] *= 0.8
        smaller = nodes.form(PhaseBox(upper_z, upper_s, frozenset()))
        inside = nodes.semidefinite(smaller, start, one_step, NEVER)
        cold = nodes.semidefinite(smaller, None, one_step, NEVER)
        assert inside.margin >= parent - 1e-2 * (1.0 + abs(parent))
        assert inside.margin > cold.margin


def test_a_start_leaves_out_what_the_box_has_decided_and_refuses_a_larger_one(root):
    nodes, box, form, found = root
    start = Place.of(form, found.last)
    neuron = int(form.elimination.undecided[0])
    upper_s = box.upper_s.copy()
    upper_s[neuron] = 0.0
    fewer = nodes.form(PhaseBox(box.upper_z, upper_s, frozenset()))
    entered = start.entered(fewer)
    assert entered.multipliers.products.size == 3 * (form.e.size - 1)
    assert Place.of(fewer, entered).entered(form) is None


def test_the_choice_gains_at_least_what_the_highest_price_gains(root):
    nodes, box, form, found = root
    several = choose(nodes, box, form, found, ChoiceSettings(candidates=5), NEVER)
    single = choose(nodes, box, form, found, ChoiceSettings(candidates=1), NEVER)
    assert several.score(found.margin) >= single.score(found.margin)
    for choice in (several, single):
        for child in (choice.inactive, choice.active):
            assert child.margin >= found.margin
            assert choice.neuron in child.box.fixed
    again = choose(nodes, box, form, found, ChoiceSettings(candidates=5), NEVER)
    assert again.neuron == several.neuron


def test_the_choice_passes_over_neurons_that_are_fixed_and_keeps_its_deadline(root):
    nodes, box, form, found = root
    first = choose(nodes, box, form, found, ChoiceSettings(candidates=1), NEVER)
    without = dataclasses.replace(box, fixed=frozenset({first.neuron}))
    second = choose(nodes, without, form, found, ChoiceSettings(candidates=1), NEVER)
    assert second.neuron != first.neuron
    with pytest.raises(DeadlineExceeded):
        choose(nodes, box, form, found, ChoiceSettings(), Deadline.after(-1.0))
