"""Balls and half-spaces in the semidefinite model: true on the set, and worth something."""

import dataclasses
from fractions import Fraction

import laws
import numpy as np
import pytest
from oracle import LinearOracle, float_fixpoint
from strategies import constraint, half_space_through, input_set, query_of, raw_system
from tolerances import FIXPOINT_FLOAT, ORACLE_RELATIVE

from vnn_mondeq.bounds.check import Rejection
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection, LqBall, Quadratic
from vnn_mondeq.result import CertificateCandidate
from vnn_mondeq.rounding import gamma
from vnn_mondeq.sdp.ascent import AscentSettings
from vnn_mondeq.sdp.beyond_check import beyond_terms
from vnn_mondeq.sdp.certificate import ShorRefutation
from vnn_mondeq.sdp.check import check_shor
from vnn_mondeq.sdp.engine import StrengthenedShor, bound_case
from vnn_mondeq.sdp.phases import scaled_form
from vnn_mondeq.sdp.set_constraints import parts_beyond_boxes, set_constraints
from vnn_mondeq.statement import build_problem

KINDS = ("polytope", "l1", "l2", "l1_and_box", "l2_and_box", "ellipsoid", "axes", "saddle")


def drawn_set(rng, d: int, kind: str):
    """An input set of the named kind; the last three are a box with a quadratic set through it."""
    if kind not in ("ellipsoid", "axes", "saddle"):
        return input_set(rng, d, kind)
    box = input_set(rng, d, "typical")
    middle, half = 0.5 * (box.lower + box.upper), 0.5 * (box.upper - box.lower)
    root = rng.normal(size=(d, d)) / half
    signs = np.where(np.arange(d) == 0, -1.0, 1.0)
    P = {
        "ellipsoid": root.T @ root,
        "axes": np.diag(1.0 / half**2),
        "saddle": root.T @ (signs[:, None] * root),
    }[kind]
    size = {"ellipsoid": 1.0, "axes": 0.6, "saddle": -0.1}[kind]
    quadratic = {
        (i, j): Fraction(P[i, j]) * (1 if i == j else 2)
        for i in range(d)
        for j in range(i, d)
        if P[i, j]
    }
    linear = {i: Fraction(v) for i, v in enumerate(-2.0 * P @ middle)}
    offset = Fraction(float(middle @ P @ middle) - size)
    return Intersection((box, Quadratic(d, quadratic, linear, offset, strict=False)))


def units(lower, upper) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As both sides of the house form them: the half-widths a little too large."""
    center = 0.5 * (lower + upper)
    half = np.maximum(upper - center, center - lower)
    half = np.where(half > 0.0, np.nextafter(half, np.inf), 0.0)
    return center, half, np.flatnonzero(half > 0.0)


def members(rng, inputs, count: int) -> list[np.ndarray]:
    """Points of the set, many near or on its boundary."""
    lower, upper = inputs.bounds()
    wide = 0.5 * (upper - lower)
    points = rng.uniform(lower - wide, upper + wide, size=(count, lower.size))
    moved = inputs.project(points)
    inner = 0.5 * (lower + upper) + (1.0 - 1e-12) * (moved - 0.5 * (lower + upper))
    return [point for point in (*moved, *inner) if inputs.contains(point)]


@pytest.mark.parametrize("kind", KINDS)
def test_terms_of_the_check_are_non_negative_on_the_set(kind):
    """In rationals, up to the rounding that the terms themselves declare."""
    checked = 0
    for seed in range(20):
        rng = np.random.default_rng([85, seed])
        inputs = drawn_set(rng, 3, kind)
        center, half, varying = units(*inputs.bounds())
        for index in range(len(parts_beyond_boxes(inputs))):
            only = np.eye(len(parts_beyond_boxes(inputs)))[index]
            terms = beyond_terms(inputs, (center, half), varying, only)
            assert not isinstance(terms, str)
            unit = gamma(terms.operations) * (
                terms.size_constant + 2.0 * terms.size_line.sum() + terms.size_diagonal.sum()
            )
            cross = np.zeros((3, 3)) if terms.cross is None else terms.cross
            unit += gamma(terms.operations) * np.abs(cross).sum()
            for point in members(rng, inputs, 20):
                checked += 1
                total = Fraction(terms.constant)
                exact = [Fraction(float(point[i])) - Fraction(float(center[i])) for i in varying]
                xi = [v / Fraction(float(half[i])) for v, i in zip(exact, varying, strict=True)]
                for j, v in enumerate(xi):
                    total += Fraction(float(terms.diagonal[j])) * v * v
                    total += 2 * Fraction(float(terms.line[j])) * v
                    total += sum(
                        Fraction(float(c)) * v * w for c, w in zip(cross[j], xi, strict=True)
                    )
                assert total <= Fraction(float(unit))
    assert checked > 100


@pytest.mark.parametrize("kind", KINDS)
def test_terms_of_the_solver_and_of_the_check_agree(kind):
    """Two derivations of one constraint; they differ by rounding only."""
    for seed in range(10):
        rng = np.random.default_rng([86, seed])
        inputs = drawn_set(rng, 4, kind)
        center, half, varying = units(*inputs.bounds())
        found = set_constraints(inputs, center, half, varying)
        scaled = rng.random(found.constant.size)
        terms = beyond_terms(inputs, (center, half), varying, found.multipliers(scaled))
        assert np.allclose(terms.diagonal, scaled @ found.curve)
        assert (terms.cross is None) == (found.cross is None)
        if terms.cross is not None:
            assert np.allclose(terms.cross, np.tensordot(scaled, found.cross, axes=1))
        assert np.allclose(-2.0 * terms.line, scaled @ found.linear)
        assert np.isclose(-terms.constant, scaled @ found.constant)


def test_constraints_that_do_not_cut_into_the_box_are_left_out():
    box = Box.from_floats(np.zeros(3), np.ones(3))
    far = HalfSpace(3, {0: Fraction(1)}, Fraction(-2), strict=False)
    cutting = HalfSpace(3, {0: Fraction(1), 1: Fraction(1)}, Fraction(-1), strict=False)
    wide = LqBall(2, 3, np.arange(3), (Fraction(1, 2),) * 3, Fraction(100))
    point = LqBall(2, 3, np.arange(3), (Fraction(1, 2),) * 3, Fraction(0))
    inputs = Intersection((box, far, Intersection((wide, cutting)), point))
    found = set_constraints(inputs, *units(box.lower, box.upper))
    assert list(found.positions) == [2] and found.count == 4
    assert list(found.multipliers(np.ones(1)) > 0) == [False, False, True, False]


def one_row(raw, inputs, offset: float):
    query = query_of([(inputs, [constraint({0: 1.0}, offset)])], raw.d, raw.q)
    return build_problem(raw.build(), query, "float64")


def semidefinite_bound(raw, inputs, *, as_it_is: bool):
    """The proved lower bound of the output, and the margin of the linear bound; `None` where no
    box was found or no neuron is undecided."""
    problem = one_row(raw, inputs, 0.0)
    (obligation,) = problem.obligations
    attempt = StrengthenedShor().boxes.prove(problem.system, obligation, Deadline.never())
    last = attempt.proof.rounds[-1]
    lower, upper = obligation.proof_inputs.bounds()
    form = scaled_form(problem.system, lower, upper, last.upper_z, last.upper_s)
    if form.e.size == 0:
        return None
    if not as_it_is:
        box = Box.from_floats(lower, upper)
        obligation = dataclasses.replace(obligation, proof_inputs=box)
    rows = obligation.rows
    far = dataclasses.replace(
        rows.coefficients, offset=rows.coefficients.offset - 1e6
    )  # a target out of reach: the path is walked to its end
    obligation = dataclasses.replace(obligation, rows=dataclasses.replace(rows, coefficients=far))
    settings = dataclasses.replace(AscentSettings(), steps=200, gap=1e-5)
    found = bound_case(obligation, form, 0, np.ones(1), settings, Deadline.never())
    _, _, constant = form.row(-raw.G[0], -raw.H[0])
    return raw.g[0] - found.point.bound - constant


def attained_minimum(raw, inputs, rng) -> float:
    points = members(rng, inputs, 300)
    return min(
        float(raw.G[0] @ float_fixpoint(raw.W, raw.U @ x + raw.b) + raw.H[0] @ x + raw.g[0])
        for x in points
    )


@pytest.mark.parametrize("kind", KINDS)
def test_bound_is_below_attained_values_and_above_that_of_the_box(kind):
    better = 0
    for seed in range(6):
        rng = np.random.default_rng([87, seed])
        raw = raw_system(rng, "plain", 5, 3, 1)
        inputs = drawn_set(rng, 3, kind)
        own = semidefinite_bound(raw, inputs, as_it_is=True)
        if own is None:
            continue
        boxed = semidefinite_bound(raw, inputs, as_it_is=False)
        attained = attained_minimum(raw, inputs, rng)
        assert own <= attained + FIXPOINT_FLOAT * (1.0 + abs(attained))
        assert own >= boxed - 1e-2 * (1.0 + abs(boxed))
        better += own > boxed + 1e-3
    assert better > 1


@pytest.fixture(scope="module")
def proved():
    """A problem over a clipped ball whose proof uses the ball's multiplier, and its certificate."""
    for seed in range(40):
        rng = np.random.default_rng([88, seed])
        raw = raw_system(rng, "plain", 6, 3, 1)
        ball = LqBall(2, 3, np.arange(3), (Fraction(1, 4),) * 3, Fraction(9, 16))
        inputs = Intersection((Box.from_floats(np.zeros(3), np.ones(3)), ball))
        bound = semidefinite_bound(raw, inputs, as_it_is=True)
        if bound is None:
            continue
        problem = one_row(raw, inputs, -bound + 1e-3)
        outcome = StrengthenedShor().run(problem, Deadline.never(), NullObserver())
        if not isinstance(outcome.candidate, CertificateCandidate):
            continue
        (refutation,) = outcome.candidate.certificate.proofs[0].refutations
        if isinstance(refutation, ShorRefutation) and refutation.beyond[0] > 0.1:
            return problem, outcome.candidate.certificate
    raise AssertionError("no drawn problem needed its ball")


def with_beyond(certificate, beyond):
    proof = certificate.proofs[0]
    refutation = dataclasses.replace(proof.refutations[0], beyond=beyond)
    proof = dataclasses.replace(proof, refutations=(refutation,))
    return dataclasses.replace(certificate, proofs=(proof,))


def refused(problem, certificate) -> bool:
    return isinstance(check_shor(problem, certificate, Deadline.never()), Rejection)


def test_check_confirms_a_proof_that_uses_the_ball(proved):
    problem, certificate = proved
    assert laws.confirm(problem, certificate) is not None


@pytest.mark.parametrize("bad", ([np.nan], [-1.0], [np.inf], [0.0], [], [1.0, 1.0]))
def test_check_refuses_other_multipliers_of_the_ball(proved, bad):
    problem, certificate = proved
    assert refused(problem, with_beyond(certificate, np.array(bad)))


def test_check_refuses_the_certificate_for_a_larger_ball(proved):
    problem, certificate = proved
    (obligation,) = problem.obligations
    box, ball = obligation.proof_inputs.parts
    wider = dataclasses.replace(ball, radius_power=ball.radius_power * 4)
    for inputs in (Intersection((box, wider)), Intersection((box,)), box):
        larger = dataclasses.replace(obligation, proof_inputs=inputs)
        assert refused(dataclasses.replace(problem, obligations=(larger,)), certificate)


@pytest.mark.parametrize("kind", ("ellipsoid", "saddle"))
def test_proofs_by_a_quadratic_are_confirmed_and_hold_for_it_alone(kind):
    for seed in range(20):
        rng = np.random.default_rng([188, seed])
        raw = raw_system(rng, "plain", 6, 3, 1)
        inputs = drawn_set(rng, 3, kind)
        bound = semidefinite_bound(raw, inputs, as_it_is=True)
        if bound is None or bound - semidefinite_bound(raw, inputs, as_it_is=False) < 1e-2:
            continue
        problem = one_row(raw, inputs, -bound + 2e-3)
        outcome = StrengthenedShor().run(problem, Deadline.never(), NullObserver())
        if not isinstance(outcome.candidate, CertificateCandidate):
            continue
        certificate = outcome.candidate.certificate
        (refutation,) = certificate.proofs[0].refutations
        if not isinstance(refutation, ShorRefutation):
            continue
        assert laws.confirm(problem, certificate) is not None
        assert refused(problem, with_beyond(certificate, np.zeros(1)))
        (obligation,) = problem.obligations
        box, quadratic = obligation.proof_inputs.parts
        larger = dataclasses.replace(quadratic, offset=quadratic.offset - 1)
        wider = dataclasses.replace(obligation, proof_inputs=Intersection((box, larger)))
        assert refused(dataclasses.replace(problem, obligations=(wider,)), certificate)
        return
    raise AssertionError("no drawn problem needed its quadratic")


def test_half_spaces_close_what_their_box_leaves_open():
    """A half-space through the box: the exact minimum comes from the oracle's linear programs."""
    proved = 0
    for seed in range(12):
        rng = np.random.default_rng([89, seed])
        raw = raw_system(rng, "plain", 4, 3, 1)
        box = Box.from_floats(np.full(3, -0.5), np.full(3, 0.5))
        half = half_space_through(rng, np.zeros(3))
        inputs = Intersection((box, half))
        normal, _, offset = half.floats()
        exact = LinearOracle(
            raw.W, raw.U, raw.b, box.lower, box.upper, normal[None], np.array([-offset])
        ).minimum(raw.G[0], raw.H[0], raw.g[0])
        bound = semidefinite_bound(raw, inputs, as_it_is=True)
        if bound is None:
            continue
        assert bound <= exact.value + ORACLE_RELATIVE * (1.0 + abs(exact.value))
        gained = bound - semidefinite_bound(raw, inputs, as_it_is=False)
        proved += gained > 1e-2
    assert proved >= 2
