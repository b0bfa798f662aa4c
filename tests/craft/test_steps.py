"""The abstract steps contain the exact ones, computed in rationals; input symbols, bounds."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import demand_members, dot, exact_support, exactly, members, times
from oracle import exact_fixpoint, solve_rational
from strategies import SET_KINDS, input_set, raw_system, seeds

from vnn_mondeq.craft.check import check_craft
from vnn_mondeq.craft.contain import Containment, plan_attempts
from vnn_mondeq.craft.engine import Craft
from vnn_mondeq.craft.inputs import enclose, enclose_box
from vnn_mondeq.craft.operators import (
    ForwardBackward,
    PeacemanRachford,
    SplittingMatrices,
    constants_of,
)
from vnn_mondeq.craft.settings import Components, CraftSettings, Splitting, State
from vnn_mondeq.craft.slopes import FixpointRelaxation
from vnn_mondeq.craft.tighten import FixpointBounds, View
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem, Rows
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.query.query import Query
from vnn_mondeq.result import CertificateCandidate
from vnn_mondeq.sets.mixed_zonotope import MixedZonotope
from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.monotone import prove_strong_monotonicity
from vnn_mondeq.system.solve import FixpointSolver

KINDS = ("plain", "rotating", "mixed", "feed_forward", "ill", "barely")


def exact_constants(raw, x):
    """`q = Ux + b` at a rational input."""
    return [v + b for v, b in zip(times(raw.U, x), exactly(raw.b), strict=True)]


def exact_reflection(raw, alpha: float, t, q):
    """`2 (I + αM)⁻¹ (t + αq) - t`."""
    a, p = Fraction(alpha), raw.p
    W = [exactly(row) for row in raw.W]
    matrix = [[Fraction(int(i == j)) * (1 + a) - a * W[i][j] for j in range(p)] for i in range(p)]
    w = solve_rational(matrix, [ti + a * qi for ti, qi in zip(t, q, strict=True)])
    return [2 * wi - ti for wi, ti in zip(w, t, strict=True)]


def exact_forward(raw, alpha: float, z, q):
    """`z - α(Mz - q)`."""
    a = Fraction(alpha)
    Wz = times(raw.W, z)
    return [zi - a * (zi - wi - qi) for zi, wi, qi in zip(z, Wz, q, strict=True)]


def drawn_setting(seed: int, kind: str):
    rng = np.random.default_rng(seed)
    raw = raw_system(rng, kind, p=int(rng.integers(1, 6)), d=3, q=2)
    lower = rng.normal(size=3)
    upper = lower + np.abs(rng.normal(size=3)) * (rng.random(3) < 0.8)
    system = raw.build()
    symbols = enclose_box(lower, upper)
    points = [exactly(v) for v in (lower, upper, np.where(rng.random(3) < 0.5, lower, upper))]
    return rng, raw, system, constants_of(system, symbols), points


@given(seeds, st.sampled_from(KINDS), st.sampled_from((0.01, 0.3, 5.0)), st.booleans())
@settings(max_examples=30)
def test_peaceman_rachford_contains_exact_steps(seed, kind, alpha, joint):
    rng, raw, system, constants, inputs = drawn_setting(seed, kind)
    n = 2 * raw.p if joint else raw.p
    state = MixedZonotope(
        rng.normal(size=n), rng.normal(size=(n, 3)), np.abs(rng.normal(size=n)) * 0.1
    )
    operator = PeacemanRachford(SplittingMatrices(system, alpha), constants)
    image = operator.advance(state)
    points = []
    for x, member in zip(inputs, members(state, rng, 3), strict=True):
        t = member
        if joint:
            z, u = member[: raw.p], member[raw.p :]
            t = [2 * a - b for a, b in zip(z, u, strict=True)]
        points.append(exact_reflection(raw, alpha, t, exact_constants(raw, x)))
    demand_members(image, points, rng)


@given(seeds, st.sampled_from(KINDS), st.sampled_from((0.01, 0.3, 5.0)))
@settings(max_examples=30)
def test_forward_backward_contains_exact_steps(seed, kind, alpha):
    rng, raw, system, constants, inputs = drawn_setting(seed, kind)
    state = MixedZonotope(
        rng.normal(size=raw.p), rng.normal(size=(raw.p, 2)), np.abs(rng.normal(size=raw.p)) * 0.1
    )
    image = ForwardBackward(system, alpha, constants).advance(state)
    points = [
        exact_forward(raw, alpha, z, exact_constants(raw, x))
        for x, z in zip(inputs, members(state, rng, 3), strict=True)
    ]
    demand_members(image, points, rng)


@given(seeds, st.sampled_from(SET_KINDS))
@settings(max_examples=40)
def test_input_symbols_contain_the_image_of_every_kind_of_set(seed, kind):
    rng = np.random.default_rng(seed)
    d, n = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    inputs = input_set(rng, d, kind)
    maps = rng.normal(size=(n, d))
    symbols = enclose(inputs, maps)
    image = symbols.image(maps, np.ones(n))
    near = inputs.project(rng.normal(size=(30, d)) * 2.0)
    points = [x for x in near if inputs.contains(x)][:6]
    exact = [[v + 1 for v in times(maps, exactly(x))] for x in points]
    demand_members(image, exact, rng)
    assert image.shared == image.generators.shape[1]


def test_a_ball_gets_its_own_directions_where_they_are_tighter(rng):
    ball = input_set(rng, 40, "l2")
    maps = rng.normal(size=(2, 40))
    tilted = enclose(ball, maps)
    assert tilted.row_space is not None
    boxed = enclose_box(*ball.bounds())
    narrow = tilted.image(maps, np.zeros(2)).spread
    wide = boxed.image(maps, np.zeros(2)).spread
    assert np.all(narrow < 0.5 * wide)


PHASES = {
    "reflected": CraftSettings(),
    "joint": CraftSettings(state=State.JOINT),
    "apart": CraftSettings(state=State.JOINT, joint_consolidation=False),
    "forward-backward": CraftSettings(contain_with=Splitting.FB, max_steps=500),
    "box": CraftSettings(components=Components.ONLY_BOX),
    "no box": CraftSettings(components=Components.ONLY_ZONOTOPE),
}


@pytest.mark.parametrize("name", sorted(PHASES))
@pytest.mark.parametrize("seed", range(4))
def test_contained_and_tightened_sets_hold_all_fixpoints(name, seed):
    """Exact fixpoints at corners and inner points are in every set that follows containment."""
    settings_ = PHASES[name]
    rng = np.random.default_rng([5, seed])
    raw = raw_system(rng, ("plain", "mixed", "strongly", "plain")[seed], p=4, d=2, q=2)
    lower = rng.normal(size=2) * 0.3
    upper = lower + 0.2
    system, symbols = raw.build(), enclose_box(lower, upper)
    constants = constants_of(system, symbols)
    center = FixpointSolver(system).solve(symbols.center[None]).value[0]
    contained = None
    for attempt in plan_attempts(system, settings_):
        phase = Containment(system, symbols, constants, attempt)
        contained = phase.run(center, Deadline.never())
        if contained is not None:
            break
    if contained is None:
        assert name in ("box", "apart", "forward-backward"), "nothing was contained"
        return
    corners = [exactly(np.where([i & 1, i & 2], upper, lower)) for i in range(4)]
    inputs = [*corners, exactly(lower + rng.random(2) * (upper - lower))]
    fixpoints = [exact_fixpoint(raw.W, raw.U, raw.b, x) for x in inputs]
    slacks = [
        [
            zi - wi - qi
            for zi, wi, qi in zip(z, times(raw.W, z), exact_constants(raw, x), strict=True)
        ]
        for z, x in zip(fixpoints, inputs, strict=True)
    ]
    for intersect in (True, False):
        alpha, bounds = contained.iteration.alpha, FixpointBounds.unknown(raw.p)
        view = View.of(contained.preactivation, alpha, bounds, intersect)
        for _ in range(6):
            demand_members(view.neurons, fixpoints, rng)
            states = [
                [zi - Fraction(alpha) * si for zi, si in zip(z, s, strict=True)]
                for z, s in zip(fixpoints, slacks, strict=True)
            ]
            demand_members(view.image, states, rng)
            for z, s in zip(fixpoints, slacks, strict=True):
                assert all(a <= Fraction(b) for a, b in zip(z, view.bounds.upper, strict=True))
                assert all(a <= Fraction(b) for a, b in zip(s, view.bounds.slack, strict=True))
            alpha = 0.3 * 2 * system.proof.modulus / system.proof.norm**2
            image = ForwardBackward(system, alpha, constants).advance(view.neurons)
            view = View.of(image, alpha, view.bounds, intersect)


@given(seeds)
@settings(max_examples=15)
def test_relaxation_bounds_hold_for_any_multipliers_and_gradients_match(seed):
    rng = np.random.default_rng(seed)
    raw = raw_system(rng, "plain", p=5, d=3, q=2)
    lower, upper = -np.ones(3) * 0.2, np.ones(3) * 0.3
    system = raw.build()
    symbols = enclose_box(lower, upper)
    corners = np.array([np.where([i & 1, i & 2, i & 4], upper, lower) for i in range(8)])
    z = FixpointSolver(system).solve(corners).value
    s = z - z @ system.W.T - corners @ system.U.T - system.b
    # Loose but valid: norm bounds from the corners are not; so take a multiple of what is seen.
    relaxation = FixpointRelaxation(system, symbols, 20.0 * z.max(0) + 20.0, 20.0 * s.max(0) + 50.0)
    rows = Coefficients(raw.G, raw.H, raw.g)
    values = z @ raw.G.T + corners @ raw.H.T + raw.g
    y, value = relaxation.start(rows)
    better, improved = relaxation.ascend(y, value, rows, np.full(2, np.inf), 50, Deadline.never())
    wild = rng.normal(size=y.shape) * 3.0
    for multipliers in (y, better, wild):
        bound, gradient = relaxation.evaluate(multipliers, rows)
        assert np.all(bound <= values.min(axis=0) + 1e-9)
    assert np.all(improved >= value)
    step = 1e-6 * rng.normal(size=y.shape)
    ahead = relaxation.evaluate(wild + step, rows)[0] - relaxation.evaluate(wild, rows)[0]
    assert ahead == pytest.approx((gradient * step).sum(axis=1), rel=1e-2, abs=1e-5)


def test_an_unbounded_set_has_no_symbols():
    box = Box.from_floats(np.array([0.0, -np.inf]), np.array([1.0, 0.0]))
    assert enclose(box, np.eye(2)) is None


def test_reach_of_the_drawn_image_is_attained_up_to_rounding(rng):
    """Precision: a linear image of a box is exact up to 1e-5."""
    lower, upper = -np.ones(3), 2.0 * np.ones(3)
    matrix = rng.normal(size=(2, 3))
    image = enclose_box(lower, upper).image(matrix, np.zeros(2))
    for row, (axis, value) in enumerate(zip(np.eye(2), matrix, strict=True)):
        best = dot(exactly(value), exactly(np.where(value > 0, upper, lower)))
        reach = exact_support(image, exactly(axis))
        assert best <= reach <= best + Fraction(1, 10**5) * (1 + abs(best)), row


def _perturbed(raw, radius: float, rng: np.random.Generator):
    """A system of which only the stored coefficients and elementwise radii are known, and one
    exact system within the radii."""
    spread = Coefficients(radius * np.abs(raw.W), radius * np.abs(raw.U), radius * np.abs(raw.b))
    stored = Coefficients(raw.W, raw.U, raw.b)
    plain = raw.build()
    system = dataclasses.replace(
        plain,
        preactivation=AffineMap(stored, spread),
        proof=prove_strong_monotonicity(raw.W, spread.on_z),
    )
    exact = dataclasses.replace(
        raw,
        W=raw.W + 0.99 * rng.choice([-1.0, 1.0], raw.W.shape) * spread.on_z,
        U=raw.U + 0.99 * rng.choice([-1.0, 1.0], raw.U.shape) * spread.on_x,
        b=raw.b + 0.99 * rng.choice([-1.0, 1.0], raw.b.shape) * spread.offset,
    )
    return system, exact


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("slopes", [True, False])
def test_certificates_cover_every_system_within_the_radius(seed, slopes):
    """On a point input the bound is tight but for the radius, so leaving it out would show."""
    rng = np.random.default_rng([8, seed])
    raw = raw_system(rng, "plain", p=5, d=2, q=1)
    system, exact = _perturbed(raw, 1e-2, rng)
    x = rng.normal(size=2)
    z = exact_fixpoint(exact.W, exact.U, exact.b, exactly(x))
    stored_z = exact_fixpoint(raw.W, raw.U, raw.b, exactly(x))
    # The row's sign is such that the stored system looks better than the exact one.
    row = raw.G.copy()
    if dot(exactly(row[0]), stored_z) < dot(exactly(row[0]), z):
        row = -row
    value, at_stored = dot(exactly(row[0]), z), dot(exactly(row[0]), stored_z)
    # A true statement about the stored system that is false for the exact one.
    for offset in (float(-(value + at_stored) / 2), float(-value) + 0.5):
        rows = Coefficients(row, np.zeros((1, 2)), np.array([offset]))
        box = Box.from_floats(x, x)
        obligation = Obligation(box, box, Rows(rows, np.zeros(1)), ((0,),))
        problem = Problem(system, Query("2.0", (), ()), (obligation,))
        outcome = Craft(CraftSettings(slopes=slopes)).run(problem, Deadline.never(), NullObserver())
        if isinstance(outcome.candidate, CertificateCandidate):
            margin = check_craft(problem, outcome.candidate.certificate, Deadline.never())
            assert not isinstance(margin, float) or margin <= value + Fraction(offset)
        else:
            assert offset != float(-value) + 0.5, "the radius costs more than it should"
