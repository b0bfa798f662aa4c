"""The attack finds what is there, says nothing where nothing is, and obeys its deadline."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from drawn_systems import draw_system, layered_system, load_reference

from vnn_mondeq.attack import ImplicitPgd, Schedule, attack_margins, attack_set_margins
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem, Rows
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection, LqBall
from vnn_mondeq.query.query import Query
from vnn_mondeq.result import NoAnswer, Reason, WitnessCandidate
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.solve import FixpointSolver


def output_rows(system, weights, offset):
    """Rows `weights @ y + offset` of a system."""
    rows = system.output.coefficients.combine(np.atleast_2d(weights).astype(float))
    return Coefficients(rows.on_z, rows.on_x, rows.offset + np.asarray(offset, dtype=float))


def make_problem(system, inputs, rows, cases, error=0.0):
    obligation = Obligation(
        inputs, inputs.widened(), Rows(rows, np.full(rows.offset.shape, error)), cases
    )
    return Problem(system, Query("2.0", (), ()), (obligation,))


def run(problem, schedule=None, seconds=60.0):
    engine = ImplicitPgd(Schedule() if schedule is None else schedule)
    return engine.run(problem, Deadline.after(seconds), NullObserver())


def sampled_minimum(system, weights, lower, upper, per_axis=41):
    """The least value of `weights @ y` on a grid of a low-dimensional box."""
    axes = [np.linspace(low, high, per_axis) for low, high in zip(lower, upper, strict=True)]
    x = np.array(list(itertools.product(*axes)))
    y = system.output(FixpointSolver(system).solve(x).value, x)
    return float((y @ np.atleast_2d(weights).T).max(axis=1).min())


@pytest.mark.parametrize("seed", range(5))
def test_attack_reaches_the_minimum_of_a_grid(seed):
    system = draw_system(np.random.default_rng(seed), inputs=2)
    lower, upper = np.array([-1.0, -0.5]), np.array([0.5, 1.0])
    truth = sampled_minimum(system, [1.0, -1.0, 0.0], lower, upper)
    rows = output_rows(system, [1.0, -1.0, 0.0], [0.0])
    outcome = run(make_problem(system, Box.from_floats(lower, upper), rows, ((0,),), 1e9))
    assert outcome.statistics["best_margin"] <= truth + 1e-3 * (1.0 + abs(truth))


@pytest.mark.parametrize("seed", range(5))
def test_a_case_of_several_rows_needs_all_of_them(seed):
    system = draw_system(np.random.default_rng(seed), inputs=2)
    lower, upper = -np.ones(2), np.ones(2)
    weights = np.array([[1.0, -1.0, 0.0], [0.0, -1.0, 1.0]])
    truth = sampled_minimum(system, weights, lower, upper)
    for shift, expected in ((-truth - 1e-2, WitnessCandidate), (-truth + 1.0, NoAnswer)):
        rows = output_rows(system, weights, [shift, shift])
        outcome = run(make_problem(system, Box.from_floats(lower, upper), rows, ((0, 1),)))
        assert isinstance(outcome.candidate, expected)


def test_witness_is_a_float32_point_of_the_box_that_violates():
    system = draw_system(np.random.default_rng(0), inputs=4)
    box = Box.from_fractions([Fraction(1, 10)] * 4, [Fraction(3, 10)] * 4)
    rows = output_rows(system, [1.0, 0.0, 0.0], [0.0])
    value = attack_free_minimum(system, box, rows)
    rows = Coefficients(rows.on_z, rows.on_x, rows.offset - value - 1e-3)
    outcome = run(make_problem(system, box, rows, ((0,),)))
    x = outcome.candidate.x
    assert np.array_equal(x, x.astype(np.float32).astype(np.float64))
    assert box.contains(x)
    z = FixpointSolver(system).solve(x[None]).value[0]
    assert rows.on_z @ z + rows.on_x @ x + rows.offset < 0.0
    assert outcome.statistics["best_margin"] < 0.0


def attack_free_minimum(system, box, rows):
    """The least value over the corners of a box."""
    corners = np.array(list(itertools.product(*zip(*box.bounds(), strict=True))))
    z = FixpointSolver(system).solve(corners).value
    return float((z @ rows.on_z[0] + corners @ rows.on_x[0] + rows.offset[0]).min())


def test_a_bound_without_a_float32_gives_the_nearest_one():
    system = draw_system(np.random.default_rng(0), inputs=2)
    box = Box.from_fractions([Fraction(1, 10), Fraction(0)], [Fraction(1, 10), Fraction(1)])
    rows = output_rows(system, [0.0, 0.0, 0.0], [-1.0])
    point = run(make_problem(system, box, rows, ((0,),))).candidate.x
    assert point[0] == np.float64(np.float32(0.1))


@pytest.mark.parametrize("q", [1, 2])
def test_balls_are_searched_and_witnesses_lie_in_them(q):
    system = draw_system(np.random.default_rng(2), inputs=3)
    center = (Fraction(1, 3), Fraction(1, 5), Fraction(-1, 7))
    ball = LqBall(q, 3, np.arange(3), center, Fraction(1, 4) ** q)
    weights = [1.0, -1.0, 0.0]
    directions = np.random.default_rng(3).standard_normal((4000, 3))
    directions /= np.linalg.norm(directions, ord=q, axis=1, keepdims=True)
    x = np.array([float(v) for v in center]) + 0.25 * directions
    truth = (system.output(FixpointSolver(system).solve(x).value, x) @ weights).min()
    rows = output_rows(system, weights, [-truth - 1e-3])
    outcome = run(make_problem(system, ball, rows, ((0,),)))
    assert isinstance(outcome.candidate, WitnessCandidate)
    assert ball.contains(outcome.candidate.x)


def test_half_spaces_and_boxes_together_are_respected():
    system = draw_system(np.random.default_rng(4), inputs=2)
    half = HalfSpace(2, {0: Fraction(1), 1: Fraction(1)}, Fraction(-1, 3), strict=True)
    both = Intersection((Box.from_floats(-np.ones(2), np.ones(2)), half))
    rows = output_rows(system, [0.0, 0.0, 0.0], [-1.0])
    assert both.contains(run(make_problem(system, both, rows, ((0,),))).candidate.x)


def test_errors_of_rows_must_be_exceeded_before_the_search_stops():
    system = draw_system(np.random.default_rng(0), inputs=2)
    box = Box.from_floats(-np.ones(2), np.ones(2))
    rows = output_rows(system, [1.0, -1.0, 0.0], [-2.0])
    hasty = run(make_problem(system, box, rows, ((0,),)))
    thorough = run(make_problem(system, box, rows, ((0,),), error=1e3))
    assert hasty.statistics["steps"] < thorough.statistics["steps"]
    assert thorough.statistics["best_margin"] <= hasty.statistics["best_margin"]
    assert isinstance(thorough.candidate, WitnessCandidate)


def test_layers_and_direct_inputs_are_differentiated():
    system = layered_system(np.random.default_rng(1))
    generator = np.random.default_rng(9)
    on_z, on_x = generator.standard_normal((1, 18)), generator.standard_normal((1, 4))
    rows = Coefficients(on_z, on_x, np.zeros(1))
    box = Box.from_floats(-0.05 * np.ones(4), 0.05 * np.ones(4))
    corner = attack_free_minimum(system, box, rows)
    outcome = run(make_problem(system, box, rows, ((0,),), error=1e9))
    assert outcome.statistics["best_margin"] <= corner + 1e-6


def test_the_same_seed_gives_the_same_answer():
    system = draw_system(np.random.default_rng(0), inputs=6)
    box = Box.from_floats(-np.ones(6), np.ones(6))
    problem = make_problem(system, box, output_rows(system, [1.0, 0.0, -1.0], [50.0]), ((0,),))
    values = {run(problem).statistics["best_margin"] for _ in range(2)}
    assert len(values) == 1


def test_a_passed_deadline_ends_the_search():
    system = draw_system(np.random.default_rng(0), inputs=2)
    box = Box.from_floats(-np.ones(2), np.ones(2))
    problem = make_problem(system, box, output_rows(system, [0.0, 0.0, 0.0], [1.0]), ((0,),))
    assert run(problem, seconds=-1.0).candidate.reason is Reason.TIMED_OUT
    # A schedule of hours must stop when the clock says so.
    endless = Schedule(steps=1000, rounds=100_000)
    outcome = run(problem, endless, seconds=0.3)
    assert outcome.candidate.reason is Reason.TIMED_OUT
    assert outcome.statistics["seconds"] <= 2.0


def test_unbounded_inputs_and_empty_lists_of_cases_are_reported():
    system = draw_system(np.random.default_rng(0), inputs=2)
    rows = output_rows(system, [1.0, 0.0, 0.0], [0.0])
    endless = Box.from_floats(np.array([-np.inf, 0.0]), np.ones(2))
    assert run(make_problem(system, endless, rows, ((0,),))).candidate.reason is (
        Reason.UNBOUNDED_INPUT
    )
    box = Box.from_floats(-np.ones(2), np.ones(2))
    assert run(make_problem(system, box, rows, ())).candidate.reason is Reason.NO_COUNTEREXAMPLE
    # A case without rows is violated by every point.
    assert box.contains(run(make_problem(system, box, rows, ((),))).candidate.x)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="restarts"):
        Schedule(restarts=0)


def test_margins_of_ball_and_box_agree_where_the_sets_do():
    system = draw_system(np.random.default_rng(0), inputs=1)
    box = attack_margins(system, np.array([-0.5]), np.array([0.5]), 0)
    ball = attack_set_margins(system, LqBall(2, 1, np.arange(1), (Fraction(0),), Fraction(1, 4)), 0)
    assert np.isinf(box[0])
    assert np.abs(box[1:] - ball[1:]).max() <= 1e-3


EXACT_WORST_MARGINS = {11: 0.4906, 7: 1.8778, 2: 0.6102}
"""Proved by MILP (algorithms.md, section 4): FC87, clipped box of 0.05, image → worst margin."""


def test_reference_margins_of_fc87_are_reached_and_never_undercut(shared_data):
    system, x, data = load_reference(shared_data, "fc87_mnist")
    labels = np.load(shared_data / "mnist_test_first1000.npz")["labels"]
    mean, std = data["mean"][0], data["std"][0]
    solver = FixpointSolver(system)
    for image, exact in EXACT_WORST_MARGINS.items():
        pixels = x[image] * std + mean
        lower = (np.clip(pixels - 0.05, 0.0, 1.0) - mean) / std
        upper = (np.clip(pixels + 0.05, 0.0, 1.0) - mean) / std
        worst = attack_margins(solver, lower, upper, int(labels[image])).min()
        assert exact - 1e-4 <= worst <= exact + 0.02
