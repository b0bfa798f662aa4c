"""Lipschitz bounds: above every gradient and difference quotient, near the optimum of the same
semidefinite program, proved by code that refuses what was tampered with."""

import dataclasses
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from drawn_systems import load_reference
from oracle import LinearOracle, float_fixpoint
from strategies import constraint, query_of, raw_system
from tolerances import ORACLE_RELATIVE

from vnn_mondeq.bounds.check import Rejection
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.gate import checkers
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection, LqBall
from vnn_mondeq.result import CertificateCandidate, NoAnswer, Reason
from vnn_mondeq.sdp import lipschitz_row
from vnn_mondeq.sdp.lipschitz import lipschitz_bound, lipschitz_row_bounds
from vnn_mondeq.sdp.lipschitz_certificate import LipschitzCertificate
from vnn_mondeq.sdp.lipschitz_check import (
    enclose_increments,
    proved_row_bound,
    proves_gain,
    slopes_anywhere,
    slopes_from_point,
    slopes_within_box,
)
from vnn_mondeq.sdp.lipschitz_enclosure import Enclosed
from vnn_mondeq.sdp.lipschitz_engine import LipschitzEngine
from vnn_mondeq.sdp.lipschitz_increments import Slopes, increments
from vnn_mondeq.sdp.lipschitz_margin import check_lipschitz
from vnn_mondeq.sdp.lipschitz_region import Region
from vnn_mondeq.statement import build_problem
from vnn_mondeq.system.implicit import dense_system
from vnn_mondeq.system.lipschitz import lipschitz_bound as closed_form

KINDS = ("plain", "barely", "strongly", "feed_forward", "mixed", "integer", "rotating", "ill")
NORMS = (2, np.inf)
DUALITY_GAP = 2e-3
"""How far a structured optimum may be above the one of a general solver, relative: precision of
the path's last stage, not soundness."""


def jacobians(raw):
    """Of every activation pattern, reached or not: all of them satisfy the sector constraints."""
    for pattern in product([0.0, 1.0], repeat=raw.p):
        phases = np.diag(pattern)
        yield raw.G @ np.linalg.solve(np.eye(raw.p) - phases @ raw.W, phases @ raw.U) + raw.H


def operator_norm(matrix, norm):
    if norm == 2:
        return np.linalg.norm(matrix, 2)
    return np.abs(matrix).sum(axis=1).max()


def fixpoint(raw, x):
    return float_fixpoint(raw.W, raw.U @ x + raw.b)


# --- the arithmetic ----------------------------------------------------------------------------


def rational(array):
    return np.vectorize(Fraction)(array)


def within(enclosed, exact):
    off = np.vectorize(lambda m, e: abs(Fraction(m) - e))(enclosed.middle, exact)
    return np.all(off <= rational(enclosed.radius))


def test_enclosures_contain_exact_results():
    rng = np.random.default_rng(301)
    for scale in (1.0, 1e-8, 1e9):
        a, b = rng.normal(size=(3, 4)) * scale, rng.normal(size=(4, 3))
        moved = a + 1e-9 * scale * rng.uniform(-1, 1, size=a.shape)
        left, right = Enclosed(a, np.full(a.shape, 1.01e-9 * scale)), Enclosed.exact(b)
        assert within(left @ right, rational(moved) @ rational(b))
        assert within(left.T + right, rational(moved).T + rational(b))
        assert within(left.T - right, rational(moved).T - rational(b))
        assert within(left * right.T, rational(moved) * rational(b).T)
        positive = np.abs(b) + 0.1
        assert within(Enclosed.reciprocal(positive), 1 / rational(positive))
        square = left @ right
        exact = rational(moved) @ rational(b)
        assert within(square.symmetric_part(), (exact + exact.T) / 2)
        assert Fraction((left @ right).upper_sum()) >= exact.sum()


# --- global bounds -----------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_exceed_all_gradients(kind, norm):
    for seed in range(3):
        rng = np.random.default_rng([302, seed])
        raw = raw_system(rng, kind, 5, 3, 2)
        system = raw.build()
        bound = lipschitz_bound(system, norm)
        rows = lipschitz_row_bounds(system, norm)
        largest = max(operator_norm(J, norm) for J in jacobians(raw))
        assert bound.value >= largest
        for row, found in enumerate(rows):
            dual = 2 if norm == 2 else 1
            assert found.value >= max(np.linalg.norm(J[row], dual) for J in jacobians(raw))
        if norm == 2:
            assert bound.value <= closed_form(system) * (1.0 + DUALITY_GAP)
            # The whole is at least each row, and at most all rows together.
            values = np.array([found.value for found in rows])
            assert values.max() <= bound.value * (1.0 + DUALITY_GAP)
            assert bound.value <= np.linalg.norm(values) * (1.0 + DUALITY_GAP)


def test_without_neurons_the_bound_is_the_norm_of_the_direct_map():
    rng = np.random.default_rng(303)
    H = rng.normal(size=(3, 4))
    empty = np.zeros((0, 0)), np.zeros((0, 4)), np.zeros(0), np.zeros((3, 0)), np.zeros(3)
    system = dense_system(*empty, H)
    for norm in NORMS:
        value = lipschitz_bound(system, norm).value
        assert operator_norm(H, norm) <= value <= operator_norm(H, norm) * (1.0 + DUALITY_GAP)


def test_output_that_does_not_depend_on_the_input():
    raw = raw_system(np.random.default_rng(304), "plain", 4, 3, 2)
    raw = dataclasses.replace(raw, G=np.zeros((2, 4)), H=np.zeros((2, 3)))
    for norm in NORMS:
        assert 0.0 <= lipschitz_bound(raw.build(), norm).value <= 1e-5


def test_differences_of_outputs_are_tighter_than_their_sum():
    raw = raw_system(np.random.default_rng(305), "plain", 6, 3, 3)
    system = raw.build()
    difference = np.array([[1.0, -1.0, 0.0]])
    for norm in NORMS:
        (pair,) = lipschitz_row_bounds(system, norm, difference)
        single = lipschitz_row_bounds(system, norm)
        assert pair.value <= (single[0].value + single[1].value) * (1.0 + DUALITY_GAP)
        dual = 2 if norm == 2 else 1
        assert pair.value >= max(np.linalg.norm((difference @ J)[0], dual) for J in jacobians(raw))


def test_other_norms_are_refused():
    with pytest.raises(ValueError, match="norms 2 and infinity"):
        lipschitz_bound(raw_system(np.random.default_rng(0)).build(), 1)


def test_a_passed_deadline_makes_bounds_larger_not_wrong():
    raw = raw_system(np.random.default_rng(306), "plain", 5, 3, 2)
    for norm in NORMS:
        hurried = lipschitz_bound(raw.build(), norm, deadline=Deadline.after(-1.0)).value
        assert hurried >= max(operator_norm(J, norm) for J in jacobians(raw))
        assert hurried >= lipschitz_bound(raw.build(), norm).value


# --- against a general solver ------------------------------------------------------------------


def general_row_optimum(cp, raw, c, d, norm):
    """The same dual, in cvxpy, with the inputs not eliminated."""
    p, n = raw.p, raw.d
    sector = cp.Variable(p, nonneg=True)
    sigma = cp.Variable(nonneg=True) * np.ones(n) if norm == 2 else cp.Variable(n, nonneg=True)
    total = sigma[0] if norm == 2 else cp.sum(sigma)
    gamma = cp.Variable()
    weighted = cp.diag(sector) @ (np.eye(p) - raw.W)
    beside = -0.5 * cp.diag(sector) @ raw.U
    linear = -0.5 * np.concatenate([c, d])[None, :]
    P = cp.bmat([[0.5 * (weighted + weighted.T), beside], [beside.T, cp.diag(sigma)]])
    corner = cp.reshape(gamma - total, (1, 1), order="C")
    whole = cp.bmat([[corner, linear], [linear.T, P]])
    problem = cp.Problem(cp.Minimize(gamma), [0.5 * (whole + whole.T) >> 0])
    return problem.solve(solver="CLARABEL")


def general_gain(cp, raw):
    mu, gain, p = cp.Variable(raw.p, nonneg=True), cp.Variable(), raw.p
    weighted = cp.diag(mu) @ (np.eye(p) - raw.W)
    right = -cp.diag(mu) @ raw.U
    whole = cp.bmat(
        [
            [weighted + weighted.T, raw.G.T, right],
            [raw.G, gain * np.eye(raw.q), raw.H],
            [right.T, raw.H.T, gain * np.eye(raw.d)],
        ]
    )
    problem = cp.Problem(cp.Minimize(gain), [0.5 * (whole + whole.T) >> 0])
    return problem.solve(solver="CLARABEL")


@pytest.mark.parametrize("norm", NORMS)
def test_bounds_are_the_optimum_of_the_semidefinite_program(norm):
    cp = pytest.importorskip("cvxpy", reason="the general solver is the extra 'sdp'")
    for seed, kind in enumerate(("plain", "rotating", "mixed")):
        raw = raw_system(np.random.default_rng([307, seed]), kind, 5, 4, 2)
        system = raw.build()
        for row, found in enumerate(lipschitz_row_bounds(system, norm)):
            best = general_row_optimum(cp, raw, raw.G[row], raw.H[row], norm)
            assert best * (1 - 1e-5) <= found.value <= best * (1 + DUALITY_GAP)
        if norm == 2:
            best = general_gain(cp, raw)
            assert best * (1 - 1e-5) <= lipschitz_bound(system, 2).value <= best * (1 + 2e-3)


def test_coarse_steps_reach_nearly_the_same_bound(monkeypatch):
    raw = raw_system(np.random.default_rng(308), "plain", 6, 12, 1)
    fine = lipschitz_bound(raw.build(), np.inf).value
    monkeypatch.setattr(lipschitz_row, "DENSE_LIMIT", 0)
    coarse = lipschitz_bound(raw.build(), np.inf).value
    assert coarse != fine, "the limit no longer selects the coarse steps"
    assert max(operator_norm(J, np.inf) for J in jacobians(raw)) <= coarse <= 1.03 * fine


# --- slopes and local bounds -------------------------------------------------------------------


def proved_box(raw, box):
    query = query_of([(box, [constraint({0: 1.0}, 0.0)])], raw.d, raw.q)
    problem = build_problem(raw.build(), query, "float64")
    attempt = InductiveBox(exact_within=0.0).prove(
        problem.system, problem.obligations[0], Deadline.never()
    )
    if isinstance(attempt, NoAnswer):
        return None
    last = attempt.proof.rounds[-1]
    return last.upper_z, last.upper_s


def test_secants_keep_to_their_slopes_and_increments():
    """On real pairs of inputs: slopes, the loop transformation, and both of its forms."""
    pairs = narrowed = 0
    for seed in range(12):
        rng = np.random.default_rng([308, seed])
        decided = 1 if seed % 4 == 0 else 0
        kind = ("plain", "strongly", "mixed")[seed % 3]
        raw = raw_system(rng, kind, 6, 3, 2, decided, decided)
        system = raw.build()
        x0 = rng.normal(size=3)
        box = Box.from_floats(x0 - 0.3, x0 + 0.3)
        bounds = proved_box(raw, box)
        if bounds is None:
            continue
        z0 = fixpoint(raw, x0)
        v0 = raw.W @ z0 + raw.U @ x0 + raw.b
        slopes = Slopes.from_point(*bounds, v0)
        proved = slopes_from_point(*bounds, v0 - 1e-9, v0 + 1e-9)
        assert np.array_equal(slopes.kept, proved.kept)
        assert np.all(proved.lower <= slopes.lower + 1e-12)
        assert np.all(proved.upper >= slopes.upper - 1e-12)
        narrowed += int(np.sum(slopes.lower[slopes.kept] > 0.0))
        region = Region.around(box)
        moving = increments(system, raw.G, raw.H, slopes).on_inputs(region.positions, region.radii)
        checked = enclose_increments(
            system, Enclosed.exact(raw.G), Enclosed.exact(raw.H), proved, region
        )
        for one, other in zip(dataclasses.astuple(moving), _arrays(checked), strict=True):
            # The proved slopes are rounded outwards by a relative 1e-6.
            assert np.allclose(one, other, rtol=1e-4, atol=1e-4)
        for _ in range(20):
            x = x0 + rng.uniform(-0.3, 0.3, size=3)
            z = fixpoint(raw, x)
            dz, dv = z - z0, raw.W @ z + raw.U @ x + raw.b - v0
            assert np.all((dz - slopes.lower * dv) * (slopes.upper * dv - dz) >= -1e-9)
            kept, dx = slopes.kept, (x - x0) / region.radii
            width = (slopes.upper - slopes.lower)[kept]
            w = (dz - slopes.lower * dv)[kept] / width
            assert np.allclose(moving.U @ dx - moving.M @ w, dv[kept] - w, atol=1e-7)
            y = raw.G @ dz + raw.H @ (x - x0)
            assert np.allclose(moving.C @ w + moving.D @ dx, y, atol=1e-7)
            pairs += 1
    assert pairs >= 100 and narrowed >= 10


def _arrays(checked):
    return (part.middle for part in (checked.M, checked.U, checked.C, checked.D))


@pytest.mark.parametrize("norm", NORMS)
def test_local_bounds_exceed_difference_quotients_and_fall_below_the_global(norm):
    smaller = 0
    for seed in range(6):
        rng = np.random.default_rng([309, seed])
        raw = raw_system(rng, ("plain", "strongly")[seed % 2], 6, 3, 2, 1, 1)
        system = raw.build()
        x0 = rng.normal(size=3)
        box = Box.from_floats(x0 - 0.1, x0 + 0.1)
        local = lipschitz_bound(system, norm, box=box).value
        everywhere = lipschitz_bound(system, norm).value
        assert local <= everywhere * (1.0 + DUALITY_GAP)
        smaller += local < 0.99 * everywhere
        points = x0 + rng.uniform(-0.1, 0.1, size=(40, 3))
        values = np.array([raw.G @ fixpoint(raw, x) + raw.H @ x for x in points])
        for i in range(40):
            for j in range(i):
                rise = np.linalg.norm(values[i] - values[j], norm)
                assert rise <= local * np.linalg.norm(points[i] - points[j], norm) + 1e-8
    assert smaller >= 4


def test_slopes_of_decided_neurons_are_exact():
    upper_z, upper_s = np.array([0.0, 2.0, 1.0, 0.0]), np.array([3.0, 0.0, 1.0, 0.0])
    for slopes in (slopes_within_box(upper_z, upper_s), Slopes.within_box(upper_z, upper_s)):
        assert slopes.lower.tolist() == [0.0, 1.0, 0.0, 0.0]
        assert slopes.upper.tolist() == [0.0, 1.0, 1.0, 0.0]
        assert slopes.kept.tolist() == [2]


def test_phases_of_a_centre_outside_the_set_count():
    """Off (on) everywhere in the set, but not at the starting input: the slope is not fixed."""
    upper_z, upper_s = np.array([0.0, 2.0, 0.0, 2.0]), np.array([3.0, 0.0, 3.0, 0.0])
    v = np.array([1.0, -1.0, -1.0, 1.0])
    for slopes in (
        Slopes.from_point(upper_z, upper_s, v),
        slopes_from_point(upper_z, upper_s, v - 1e-12, v + 1e-12),
    ):
        assert slopes.kept.tolist() == [0, 1]
        assert np.allclose(slopes.lower, [0.25, 0.0, 0.0, 1.0], atol=1e-5)
        assert np.allclose(slopes.upper, [1.0, 2.0 / 3.0, 0.0, 1.0], atol=1e-5)
    straddling = slopes_from_point(upper_z, upper_s, np.full(4, -1.0), np.full(4, 1.0))
    assert straddling.kept.size == 4
    assert not straddling.lower.any() and straddling.upper.all()


def test_engine_on_a_ball_whose_centre_is_outside_its_box():
    proved = 0
    for seed in range(6):
        raw = raw_system(np.random.default_rng([315, seed]), "plain", 5, 2, 1)
        ball = ball_of([1.0, 0.0], Fraction(9, 4), size=2)
        box = Box.from_floats(np.array([-1.0, -0.3]), np.array([-0.3, 0.3]))
        oracle = LinearOracle(raw.W, raw.U, raw.b, *box.bounds())
        least = oracle.minimum(raw.G[0], raw.H[0], raw.g[0]).value
        for room in (0.1, 3.0, 20.0):
            rows = [constraint({0: 1.0}, room - least)]
            query = query_of([(Intersection((box, ball)), rows)], 2, 1)
            problem = build_problem(raw.build(), query, "float64")
            candidate = run_engine(problem)
            if isinstance(candidate, CertificateCandidate):
                margin = check_lipschitz(problem, candidate.certificate, Deadline.never())
                # The set is smaller than the box, so its least value is no smaller.
                samples = np.random.default_rng(316).uniform(*box.bounds(), size=(300, 2))
                inside = [x for x in samples if ball.contains(x)]
                values = [raw.G[0] @ fixpoint(raw, x) + raw.H[0] @ x + raw.g[0] for x in inside]
                assert isinstance(margin, float)
                assert margin <= min(values) + room - least + ORACLE_RELATIVE
                proved += 1
    assert proved >= 6


# --- regions -----------------------------------------------------------------------------------


def ball_of(center, radius, size=4, coordinates=None, q=2):
    positions = np.arange(size) if coordinates is None else np.array(coordinates)
    return LqBall(q, size, positions, tuple(Fraction(float(c)) for c in center), Fraction(radius))


REGION_SETS = {
    "box": Box.from_floats(np.array([-1.0, 0.0, 2.0, 1.0]), np.array([1.0, 0.5, 2.0, 3.0])),
    "ball": ball_of([0.1, 0.2, 0.3, 0.4], Fraction(1, 9)),
    "l1": ball_of([0.0, 1.0, 0.0, 0.0], Fraction(1, 2), q=1),
    "ball in box": Intersection(
        (
            Box.from_floats(np.full(4, -1.0), np.full(4, 1.0)),
            ball_of([0.3, 0.4], Fraction(1, 4), coordinates=[1, 3]),
        )
    ),
    "box in ball": Intersection(
        (Box.from_floats(np.full(4, -0.1), np.full(4, 0.1)), ball_of([0.0] * 4, Fraction(100)))
    ),
}


@pytest.mark.parametrize("name", REGION_SETS)
def test_regions_contain_their_sets(name):
    inputs, rng = REGION_SETS[name], np.random.default_rng(310)
    region = Region.around(inputs)
    still = np.setdiff1d(np.arange(4), region.positions)
    assert np.all(region.radii > 0.0)
    inside = 0
    lower, upper = inputs.bounds()
    for x in rng.uniform(lower, upper, size=(400, 4)):
        if not inputs.contains(x):
            continue
        inside += 1
        assert np.array_equal(x[still], region.center[still])
        share = ((x - region.center)[region.positions] / region.radii) ** 2
        assert np.all(np.bincount(region.groups, share, region.count) <= 1.0)
    assert inside >= 5
    sizes = {"box": 3, "ball": 1, "l1": 1, "ball in box": 3, "box in ball": 4}
    assert region.count == sizes[name]


def test_unbounded_sets_have_no_region():
    half = HalfSpace(2, {0: Fraction(1)}, Fraction(0), False)
    assert Region.around(half) is None


# --- the check ---------------------------------------------------------------------------------


def checked_system(seed=311):
    raw = raw_system(np.random.default_rng(seed), "plain", 5, 3, 2)
    region = Region.unit_ball(3, 2)
    enclosed = enclose_increments(
        raw.build(), Enclosed.exact(raw.G), Enclosed.exact(raw.H), slopes_anywhere(5), region
    )
    return raw, region, enclosed


def test_check_proves_nothing_from_bad_multipliers():
    raw, region, enclosed = checked_system()
    found = lipschitz_row_bounds(raw.build(), 2)[0]
    sigma, sector = found.multipliers.sigma, found.multipliers.sector
    proved = proved_row_bound(enclosed, 0, region, sigma, sector)
    assert proved == pytest.approx(found.value, rel=1e-12)
    negative, not_a_number = sector.copy(), sector.copy()
    negative[0], not_a_number[0] = -negative[0], np.nan
    for bad_sigma, bad_sector in (
        (sigma, negative),
        (sigma, not_a_number),
        (sigma, sector[:-1]),
        (-sigma, sector),
        (0.0 * sigma, sector),
        (sigma * 1e-4, sector),  # the quadratic is not positive definite any more
        (sigma, sector * 1e8),
    ):
        assert proved_row_bound(enclosed, 0, region, bad_sigma, bad_sector) == np.inf
    # Other positive multipliers prove other, larger bounds.
    assert proved < proved_row_bound(enclosed, 0, region, 2.0 * sigma, sector) < np.inf


def test_check_refuses_gains_below_a_gradient():
    raw, _, enclosed = checked_system()
    found = lipschitz_bound(raw.build(), 2)
    largest = max(np.linalg.norm(J, 2) for J in jacobians(raw))
    assert proves_gain(enclosed, found.value, found.mu)
    assert proves_gain(enclosed, 2.0 * found.value, found.mu)
    for scale in (0.5, 1.0, 2.0):
        assert not proves_gain(enclosed, 0.999 * largest, scale * found.mu)
    for bad in (-found.mu, found.mu[:-1], np.full_like(found.mu, np.nan)):
        assert not proves_gain(enclosed, found.value, bad)
    for bad in (np.inf, np.nan, -1.0, 0.0):
        assert not proves_gain(enclosed, bad, found.mu)


# --- the engine --------------------------------------------------------------------------------


def robust_problem(seed, kind="plain", inputs=None, share=0.6):
    """`y_0 >= bound` refuted with some room: the offset is below the exact minimum."""
    rng = np.random.default_rng([312, seed])
    raw = raw_system(rng, kind, 5, 3, 2)
    box = Box.from_floats(np.full(3, -0.2), np.full(3, 0.3))
    least = LinearOracle(raw.W, raw.U, raw.b, *box.bounds()).minimum(raw.G[0], raw.H[0], raw.g[0])
    center = raw.G[0] @ fixpoint(raw, np.full(3, 0.05)) + raw.H[0] @ np.full(3, 0.05) + raw.g[0]
    offset = -(least.value - (1.0 + share) * abs(center - least.value) - 0.01)
    rows = [constraint({0: 1.0}, offset)]
    problem = build_problem(raw.build(), query_of([(inputs or box, rows)], raw.d, raw.q), "float64")
    return raw, problem, least.value + offset


def run_engine(problem, deadline=None):
    return LipschitzEngine().run(problem, deadline or Deadline.never(), NullObserver()).candidate


@pytest.mark.parametrize("kind", ("plain", "strongly", "mixed", "feed_forward"))
def test_engine_proves_and_never_overstates(kind):
    proved = 0
    for seed in range(4):
        _, problem, true_margin = robust_problem(seed, kind)
        candidate = run_engine(problem)
        if not isinstance(candidate, CertificateCandidate):
            assert candidate.reason is Reason.BOUND_TOO_LOOSE
            continue
        checker = checkers()[type(candidate.certificate)]
        margin = checker(problem, candidate.certificate, Deadline.never())
        assert isinstance(margin, float)
        assert 0.0 < margin <= true_margin + ORACLE_RELATIVE * (1.0 + true_margin)
        proved += 1
    assert proved >= 2


def test_engine_does_not_prove_what_is_false():
    for seed in range(4):
        _, problem, true_margin = robust_problem(seed, share=-1.02)
        assert true_margin <= 0.02
        if true_margin <= 0.0:
            assert isinstance(run_engine(problem), NoAnswer)


def test_engine_uses_balls_as_they_are():
    """A radius at which the ball's own box is too large for the proof."""
    raw = raw_system(np.random.default_rng(313), "strongly", 6, 8, 2)
    center = np.zeros(8)
    value = raw.G[0] @ fixpoint(raw, center) + raw.g[0]
    local = lipschitz_row_bounds(raw.build(), 2, np.array([[1.0, 0.0]]))[0].value
    radius = 0.5
    offset = -(value - 1.1 * radius * local)
    rows = [constraint({0: 1.0}, offset)]
    ball = ball_of(center, Fraction(radius) ** 2, size=8)
    certified = {}
    for name, inputs in (("ball", ball), ("box", Box.from_floats(*ball.bounds()))):
        problem = build_problem(raw.build(), query_of([(inputs, rows)], 8, 2), "float64")
        certified[name] = isinstance(run_engine(problem), CertificateCandidate)
    assert certified == {"ball": True, "box": False}


def test_engine_reports_the_deadline():
    _, problem, _ = robust_problem(0)
    answer = run_engine(problem, Deadline.after(-1.0))
    assert isinstance(answer, NoAnswer) and answer.reason is Reason.TIMED_OUT


def tampered(certificate, **changes):
    (proof,) = certificate.proofs
    return LipschitzCertificate((dataclasses.replace(proof, **changes),))


def test_tampered_certificates_are_refused():
    raw, problem, _ = next(
        found
        for seed in range(9)
        if isinstance(run_engine((found := robust_problem(seed))[1]), CertificateCandidate)
    )
    certificate = run_engine(problem).certificate
    (proof,) = certificate.proofs
    (refutation,) = proof.refutations

    def verdict(changed, of=problem):
        return check_lipschitz(of, changed, Deadline.never())

    assert isinstance(verdict(certificate), float)
    others = [
        {"sigma": -refutation.sigma},
        {"sigma": refutation.sigma[:-1]},
        {"sigma": refutation.sigma * 1e6},
        {"sector": refutation.sector * 1e9},
        {"sector": np.full_like(refutation.sector, np.nan)},
        {"row": 1},
    ]
    for changes in others:
        broken = dataclasses.replace(refutation, **changes)
        assert isinstance(verdict(tampered(certificate, refutations=(broken,))), Rejection)
    assert isinstance(verdict(tampered(certificate, refutations=())), Rejection)
    assert isinstance(verdict(LipschitzCertificate(())), Rejection)
    if proof.box is not None:
        first = proof.box.rounds[0]
        smaller = dataclasses.replace(
            first, upper_z=0.5 * first.upper_z, upper_s=0.5 * first.upper_s
        )
        box = dataclasses.replace(proof.box, rounds=(smaller,))
        assert isinstance(verdict(tampered(certificate, box=box)), Rejection)
    # The same certificate does not carry over to a larger set of inputs.
    wide = Box.from_floats(np.full(3, -3.0), np.full(3, 3.0))
    query = query_of([(wide, list(problem.query.cases[0].constraints))], raw.d, raw.q)
    larger = build_problem(raw.build(), query, "float64")
    assert isinstance(verdict(certificate, larger), Rejection)


def test_case_without_rows_is_never_refuted():
    raw = raw_system(np.random.default_rng(314), "plain", 4, 3, 2)
    box = Box.from_floats(np.zeros(3), np.ones(3))
    problem = build_problem(raw.build(), query_of([(box, [])], 3, 2), "float64")
    assert isinstance(run_engine(problem), NoAnswer)


# --- the paper's network -----------------------------------------------------------------------


def test_constants_of_the_reference_network(shared_data):
    """Published: 4.67 and 108.84. 3.313 and 51.7 are attained by gradients at real inputs."""
    system, _, _ = load_reference(shared_data, "fc87_mnist")
    assert 3.313 <= lipschitz_bound(system, 2).value <= 3.69
    (row,) = lipschitz_row_bounds(system, np.inf, np.eye(10)[2:3])
    assert 51.6 <= row.value <= 53.0
