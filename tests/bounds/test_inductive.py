"""The inductive engine: boxes against the exact oracle, the induction's strictness, precision.

That certificates never overstate and that tampering is refused is in tests/soundness.
"""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from oracle import LinearOracle
from strategies import constraint, query_of, raw_system
from tolerances import ORACLE_RELATIVE

from vnn_mondeq.bounds.attempt import Attempt, KeptAttempts
from vnn_mondeq.bounds.certificate import BoxRound, InductiveBoxCertificate
from vnn_mondeq.bounds.check import Rejection, check_inductive_box
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.bounds.inductive import InductiveSettings
from vnn_mondeq.bounds.relaxation import StripRelaxation, project
from vnn_mondeq.bounds.triangle import TriangleEmpty, TriangleProgram
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection
from vnn_mondeq.result import CertificateCandidate, NoAnswer, Reason
from vnn_mondeq.statement import build_problem

KINDS = ("plain", "strongly", "feed_forward", "mixed", "integer", "rotating")


def one_row_problem(raw, box, offset=50.0):
    query = query_of([(box, [constraint({0: 1.0}, offset)])], raw.d, raw.q)
    return build_problem(raw.build(), query, "float64")


def attempt_for(raw, box, **changes):
    problem = one_row_problem(raw, box)
    engine = InductiveBox(**changes)
    return problem, engine.prove(problem.system, problem.obligations[0], Deadline.never())


@pytest.mark.parametrize("kind", KINDS)
def test_inductive_box_contains_the_exact_bounds(kind):
    found = 0
    for seed in range(8):
        rng = np.random.default_rng([71, seed])
        raw = raw_system(rng, kind, 2 + seed % 5, 2, 1)
        box = Box.from_floats(np.array([-0.3, 0.1]), np.array([0.2, 0.4]))
        _, attempt = attempt_for(raw, box)
        if isinstance(attempt, NoAnswer):
            continue
        found += 1
        top_z, top_s = LinearOracle(raw.W, raw.U, raw.b, box.lower, box.upper).neuron_bounds()
        last = attempt.proof.rounds[-1]
        slack = ORACLE_RELATIVE * (1.0 + np.maximum(np.abs(top_z), np.abs(top_s)))
        assert np.all(top_z <= last.upper_z + slack)
        assert np.all(top_s <= last.upper_s + slack)
    assert found >= 5


def test_inductive_box_of_a_point_is_the_fixpoint():
    rng = np.random.default_rng(72)
    raw = raw_system(rng, "strongly", 6, 3, 1)
    x = rng.normal(size=3)
    problem, attempt = attempt_for(raw, Box.from_floats(x, x))
    last = attempt.proof.rounds[-1]
    # No neuron is undecided on a point, and the box is the growth's last air around the fixpoint.
    assert np.all((last.upper_z == 0.0) | (last.upper_s == 0.0))
    certificate = InductiveBoxCertificate((attempt.proof,))
    assert isinstance(check_inductive_box(problem, certificate, Deadline.never()), float)


def claim_of(attempt, **changes) -> InductiveBoxCertificate:
    first = dataclasses.replace(attempt.proof.rounds[0], **changes)
    return InductiveBoxCertificate((dataclasses.replace(attempt.proof, rounds=(first,)),))


def test_check_refuses_a_box_that_is_not_inductive():
    """Boxes that shrink towards the anchor's fixpoint stay consistent there, so that only the
    induction can refuse them; the multipliers are the best ones for each."""
    rng = np.random.default_rng(73)
    raw = raw_system(rng, "plain", 5, 2, 1)
    box = Box.from_floats(np.array([-0.4, -0.1]), np.array([0.3, 0.4]))
    problem, attempt = attempt_for(raw, box)
    assert isinstance(attempt, Attempt)
    system, first = problem.system, attempt.proof.rounds[0]
    top_z, top_s = LinearOracle(raw.W, raw.U, raw.b, box.lower, box.upper).neuron_bounds()
    projection = project(system, problem.obligations[0].proof_inputs)
    for share in (0.9, 0.6, 0.3):
        box_z = np.where(first.upper_z > 0, share * np.maximum(top_z, 0) + 1e-6, 0.0)
        box_s = np.where(first.upper_s > 0, share * np.maximum(top_s, 0) + 1e-6, 0.0)
        bounds = StripRelaxation.of(system, projection, box_z, box_s).neuron_bounds()
        certificate = claim_of(
            attempt, upper_z=box_z, upper_s=box_s, for_z=bounds.for_z, for_s=bounds.for_s
        )
        found = check_inductive_box(problem, certificate, Deadline.never())
        assert isinstance(found, Rejection)


def test_check_refuses_a_first_round_that_is_only_a_consequence_of_a_larger_box():
    """A later round's claim, put first, has no premise but itself."""
    rng = np.random.default_rng(74)
    raw = raw_system(rng, "barely", 6, 2, 1)
    box = Box.from_floats(np.array([-0.2, 0.0]), np.array([0.2, 0.3]))
    problem, attempt = attempt_for(raw, box)
    assert isinstance(attempt, Attempt)
    p = raw.p
    empty = BoxRound(np.zeros(p), np.zeros(p), np.zeros((p, p)), -np.eye(p))
    certificate = InductiveBoxCertificate((dataclasses.replace(attempt.proof, rounds=(empty,)),))
    assert isinstance(check_inductive_box(problem, certificate, Deadline.never()), Rejection)


def test_triangle_multipliers_are_never_worse_than_the_strip():
    gains = []
    for seed in range(6):
        rng = np.random.default_rng([75, seed])
        raw = raw_system(rng, "plain", 6, 3, 1)
        box = Box.from_floats(np.full(3, -0.5), np.full(3, 0.5))
        problem, attempt = attempt_for(raw, box)
        if isinstance(attempt, NoAnswer):
            continue
        last, system = attempt.proof.rounds[-1], problem.system
        claims = (last.upper_z, last.upper_s)
        projection = project(system, problem.obligations[0].proof_inputs)
        strip = StripRelaxation.of(system, projection, *claims)
        on_z, on_x = -raw.G[0], -raw.H[0]
        plain = strip.row_multipliers(on_z[None])[0]
        program = TriangleProgram(system, box.bounds(), claims)
        exact = program.maximise(on_z, on_x, Deadline.never()).multipliers
        both = strip.row_bounds(
            np.array([on_z, on_z]), np.array([on_x, on_x]), np.array([plain, exact])
        )
        gains.append(both[0] - both[1])
    assert len(gains) >= 4
    assert min(gains) >= -1e-7  # HiGHS stops within its own tolerance of the optimum
    assert max(gains) > 1e-3


def test_triangle_program_proves_that_it_is_empty():
    rng = np.random.default_rng([75, 100])
    raw = raw_system(rng, "plain", 4, 2, 1)
    box = Box.from_floats(np.zeros(2), np.full(2, 0.1))
    nothing = (np.zeros(4), np.zeros(4))  # z = s = 0 contradicts the equation
    program = TriangleProgram(raw.build(), box.bounds(), nothing)
    found = program.maximise(np.ones(4), np.zeros(2), Deadline.never())
    assert isinstance(found, TriangleEmpty)
    y = found.multipliers
    support = np.maximum(raw.U.T @ y, 0.0).sum() * 0.1
    assert y @ raw.b + support < 0.0  # the dual bound of the zero objective


def test_engine_proves_on_intersections():
    rng = np.random.default_rng(76)
    raw = raw_system(rng, "strongly", 5, 3, 1)
    box = Box.from_floats(np.full(3, -0.5), np.full(3, 0.5))
    problem = one_row_problem(raw, Intersection((box, Box.from_floats(np.zeros(3), np.ones(3)))))
    outcome = InductiveBox().run(problem, Deadline.never(), NullObserver())
    assert isinstance(outcome.candidate, CertificateCandidate)


def test_engine_says_why_it_proves_nothing():
    rng = np.random.default_rng(77)
    raw = raw_system(rng, "plain", 5, 2, 1)
    box = Box.from_floats(np.full(2, -0.5), np.full(2, 0.5))
    loose = InductiveBox().run(one_row_problem(raw, box, -50.0), Deadline.never(), NullObserver())
    assert loose.candidate.reason is Reason.BOUND_TOO_LOOSE
    late = InductiveBox().run(one_row_problem(raw, box), Deadline.after(0.0), NullObserver())
    assert late.candidate.reason is Reason.TIMED_OUT


def test_settings_refuse_values_without_meaning():
    with pytest.raises(ValueError, match="growth"):
        InductiveSettings(growth=0.0)
    with pytest.raises(ValueError, match="shrinking"):
        InductiveSettings(shrinking=-1)


def test_check_keeps_the_deadline():
    rng = np.random.default_rng(78)
    raw = raw_system(rng, "plain", 4, 2, 1)
    problem, attempt = attempt_for(raw, Box.from_floats(np.zeros(2), np.full(2, 0.1)))
    with pytest.raises(DeadlineExceeded):
        check_inductive_box(problem, claim_of(attempt), Deadline.after(0.0))


def test_attempts_are_kept_by_obligation_unless_time_ended_them():
    rng = np.random.default_rng(79)
    box = Box.from_floats(np.array([-0.2, 0.0]), np.array([0.2, 0.3]))
    problems = [one_row_problem(raw_system(rng, "plain", 4, 2, 1), box) for _ in range(2)]
    engine = InductiveBox(kept=KeptAttempts())

    def prove(problem, deadline):
        return engine.prove(problem.system, problem.obligations[0], deadline)

    with pytest.raises(DeadlineExceeded):
        prove(problems[0], Deadline.after(-1.0))
    first, second = (prove(problem, Deadline.never()) for problem in problems)
    assert first is not second
    assert prove(problems[0], Deadline.never()) is first
    assert prove(problems[1], Deadline.never()) is second


def test_triangle_program_keeps_to_half_spaces():
    raw = raw_system(np.random.default_rng(80), "plain", 4, 2, 1)
    box = Box.from_floats(np.full(2, -0.5), np.full(2, 0.5))
    side = HalfSpace(2, {0: Fraction(1), 1: Fraction(2)}, Fraction(1, 4), strict=False)
    problem, attempt = attempt_for(raw, box)
    last = attempt.proof.rounds[-1]
    claims, on_x = (last.upper_z, last.upper_s), np.array([1.0, 2.0])
    whole = TriangleProgram.over(problem.system, box, claims)
    half = TriangleProgram.over(problem.system, Intersection((box, side)), claims)
    for program, most in ((whole, 1.5), (half, -0.25)):
        found = program.maximise(np.zeros(4), on_x, Deadline.never())
        assert float(on_x @ found.x) == pytest.approx(most)
