"""Outer ellipsoids: derivatives, optimality, containment, what the check refuses, the engine."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from drawn_systems import load_reference
from hypothesis import given
from hypothesis import strategies as st
from strategies import box_bounds, constraint, input_set, query_of, raw_system, robustness_query

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.gate import Gate
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box, LqBall
from vnn_mondeq.reach import SearchSettings, attained_outputs
from vnn_mondeq.result import CertificateCandidate, CheckedCertificate, NoAnswer, Reason
from vnn_mondeq.sdp.ellipsoid import EllipsoidSettings, Model, outer_ellipsoid, propose
from vnn_mondeq.sdp.ellipsoid_certificate import OuterEllipsoid
from vnn_mondeq.sdp.ellipsoid_check import Rejection, check_ellipsoid
from vnn_mondeq.sdp.ellipsoid_dual import Derivatives, EllipsoidDual
from vnn_mondeq.sdp.ellipsoid_engine import EllipsoidEngine
from vnn_mondeq.sdp.ellipsoid_form import OutputForm
from vnn_mondeq.sdp.ellipsoid_path import Pairs, PathSettings
from vnn_mondeq.sdp.ellipsoid_products import Family, Products
from vnn_mondeq.sdp.ellipsoid_rows import check_ellipsoid_certificate
from vnn_mondeq.statement import build_problem
from vnn_mondeq.system.implicit import dense_system
from vnn_mondeq.system.solve import FixpointSolver

NEVER = Deadline.never()
DIFFERENCE = 1e-5
"""Step of central differences in logarithms; errors are then about 1e-8."""

SETTINGS = {
    "strengthened": EllipsoidSettings(path=PathSettings(gap=1e-3)),
    "plain": EllipsoidSettings(model=Model.PLAIN, path=PathSettings(gap=1e-3)),
    "cross": EllipsoidSettings(path=PathSettings(pairs=Pairs.CROSS, pair_count=10)),
    "slopes": EllipsoidSettings(path=PathSettings(pairs=Pairs.SLOPES, pair_count=10)),
    "plain slopes": EllipsoidSettings(
        model=Model.PLAIN, path=PathSettings(pairs=Pairs.SLOPES, pair_count=10)
    ),
}


def drawn(seed, kind="plain", p=5, d=4, q=2, **more):
    rng = np.random.default_rng([91, seed])
    return raw_system(rng, kind, p, d, q, **more).build(), rng


def outputs_of(system, points):
    return system.output(FixpointSolver(system).solve(points).value, points)


def points_of(inputs, rng, count=60):
    """Random points of a set, corners among them where it is a box."""
    lower, upper = inputs.bounds()
    inside = rng.uniform(lower, upper, (count, lower.size))
    inside[::2] = np.where(rng.random((len(inside[::2]), lower.size)) < 0.5, lower, upper)
    inside = inputs.project(inside)
    return inside[[inputs.contains(point) for point in inside]]


def extreme_outputs(system, inputs, pair=(0, 1)):
    search = SearchSettings(samples=4, directions=16, starts=2, steps=30)
    return attained_outputs(system, inputs, pair, search).sought


# --- the function of the multipliers -----------------------------------------------------------


def drawn_dual(seed, owner):
    rng = np.random.default_rng([92, seed])
    k, n, q = 4, 6, 3
    skew = rng.normal(size=(k, k))
    form = OutputForm(
        np.eye(k) + 0.3 * (skew - skew.T),
        0.4 * rng.normal(size=(k, n)),
        0.3 * rng.normal(size=k),
        rng.normal(size=(q, k)),
        0.3 * rng.normal(size=(q, n)),
        rng.normal(size=q),
        np.array(owner),
        *rng.uniform(1.0, 2.0, (2, k)),
    )
    families = tuple(family for family in Family if family != Family.CROSS)
    products = Products.of(families, k).with_cross(np.array([[0, 1], [2, 3]]))
    slopes = products.with_slopes(np.array([[1, 2], [0, 3]]), form.unit_z, form.unit_s)
    dual = EllipsoidDual(form, slopes)
    inputs = 3.0 * np.exp(0.3 * rng.normal(size=form.groups))
    free = np.exp(0.3 * rng.normal(size=dual.products.free))
    free[-4:] *= 0.05  # pair products make the form less definite
    return dual, np.log(np.concatenate([inputs, free]))


@pytest.mark.parametrize("owner", [[0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 1, 2]])
@pytest.mark.parametrize("seed", range(3))
def test_derivatives_match_differences(owner, seed):
    dual, at = drawn_dual(seed, owner)
    groups, tau = dual.form.groups, 7.0

    def point(logarithms):
        values = np.exp(logarithms)
        return dual.evaluate(values[:groups], values[groups:], tau)

    def gradient(logarithms):
        return Derivatives.at(dual, point(logarithms), tau).in_logarithms()[0]

    slope, hessian, _ = Derivatives.at(dual, point(at), tau).in_logarithms()
    for number, step in enumerate(DIFFERENCE * np.eye(at.size)):
        up, down = point(at + step).potential, point(at - step).potential
        assert (up - down) / (2 * DIFFERENCE) == pytest.approx(slope[number], rel=1e-5, abs=1e-6)
        bend = (gradient(at + step) - gradient(at - step)) / (2 * DIFFERENCE)
        # Of relative changes; logarithms bring the gradient to the diagonal.
        exact = hessian[number] + slope[number] * (step > 0.0)
        assert bend == pytest.approx(exact, rel=1e-4, abs=1e-5)


def test_the_end_of_the_path_is_no_worse_than_what_is_around_it():
    system, rng = drawn(1, p=6)
    box = Box.from_floats(np.full(4, -0.4), np.full(4, 0.5))
    end = propose(system, box, SETTINGS["strengthened"], NEVER).end
    best = end.point.log_det
    seen = []
    for size in (0.01, 0.1, 0.5):
        for _ in range(40):
            inputs, free = (
                values * np.exp(size * rng.normal(size=values.size))
                for values in (end.point.inputs, end.point.free)
            )
            other = end.dual.evaluate(inputs, free, 1.0)
            if other is not None:
                seen.append(other.log_det)
    assert len(seen) > 60
    assert max(seen) <= best + SETTINGS["strengthened"].path.gap
    assert min(seen) < best - 0.01, "perturbations too small to tell anything"


def test_a_linear_map_of_a_box_or_ball_has_the_known_ellipsoid():
    rng = np.random.default_rng(93)
    H = rng.normal(size=(3, 3))
    none = np.zeros
    system = dense_system(none((0, 0)), none((0, 3)), none(0), none((3, 0)), none(3), H)
    half = np.array([0.5, 0.25, 2.0])
    box = outer_ellipsoid(
        system, Box.from_floats(1.0 - half, 1.0 + half), SETTINGS["strengthened"], NEVER
    )
    # The ball of radius √3 around the unit cube, mapped.
    known = -np.linalg.slogdet(H * half)[1] - 1.5 * math.log(3.0)
    assert known - 1e-3 <= box.log_det <= known
    corners = 1.0 + half * np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
    distances = box.distance(corners @ H.T)
    assert np.all(distances <= 1.0)
    assert np.min(distances) > 0.99, "the corners of a cube touch its smallest ellipsoid"

    unit = LqBall(2, 3, np.arange(3), (Fraction(1),) * 3, Fraction(1, 4))
    ball = outer_ellipsoid(system, unit, SETTINGS["strengthened"], NEVER)
    known = -np.linalg.slogdet(0.5 * H)[1]
    assert known - 1e-3 <= ball.log_det <= known


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("shape", ["box", "ball"])
def test_the_optimum_is_that_of_the_reference_statement(seed, shape):
    pytest.importorskip("cvxpy", reason="the reference statements need the extra 'sdp'")
    from vnn_mondeq.sdp.reference import UpperBounds, ellipsoid

    system, _ = drawn(seed)
    inputs = Box.from_floats(np.full(4, -0.5), np.full(4, 0.5))
    if shape == "ball":
        inputs = LqBall(2, 4, np.arange(4), (Fraction(0),) * 4, Fraction(1, 4))
    for model in Model:
        settings = EllipsoidSettings(model=model, path=PathSettings(gap=1e-4))
        proposal = propose(system, inputs, settings, NEVER)
        last = proposal.proof.box.rounds[-1]
        bounds = UpperBounds(last.upper_z, last.upper_s) if model is Model.STRENGTHENED else None
        exact = ellipsoid(system, inputs, bounds=bounds, pairs=False).value
        # Decided neurons are eliminated here, which is a little stronger than their products.
        assert -1e-3 <= proposal.end.point.log_det - exact <= 1e-3


# --- containment -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", ["plain", "strongly", "mixed", "integer"])
def test_contains_sampled_corner_and_attacked_outputs(name, kind):
    found = 0
    for seed in range(4):
        system, rng = drawn(seed, kind, p=5 + seed % 2, dead=seed % 2, active=seed % 3)
        lower, upper = box_bounds(rng, 4)
        box = Box.from_floats(lower, upper)
        ellipsoid = outer_ellipsoid(system, box, SETTINGS[name], NEVER)
        if isinstance(ellipsoid, NoAnswer):
            continue
        found += 1
        assert np.all(ellipsoid.distance(outputs_of(system, points_of(box, rng))) <= 1.0)
        reached = ellipsoid.distance(extreme_outputs(system, box))
        assert np.all(reached <= 1.0)
        assert np.max(reached) > 0.2, "so large an ellipsoid would hide mistakes"
    assert found >= 3


@given(
    st.integers(0, 10**6),
    st.sampled_from(["l1", "l2", "l2_and_box", "polytope", "flat", "uneven", "clipped"]),
)
def test_contains_outputs_of_every_kind_of_set(seed, kind):
    system, rng = drawn(seed, d=3)
    inputs = input_set(rng, 3, kind)
    ellipsoid = outer_ellipsoid(system, inputs, SETTINGS["strengthened"], NEVER)
    if isinstance(ellipsoid, NoAnswer):
        assert ellipsoid.reason in (Reason.NOT_CONTAINED, Reason.NO_ENGINE)
        return
    points = points_of(inputs, rng)
    if len(points):
        outputs = outputs_of(system, points)
        assert np.all(ellipsoid.distance(outputs) <= 1.0)
        assert np.all(np.abs(outputs) <= ellipsoid.reach)
        directions = rng.normal(size=(5, 2))
        assert np.all((outputs @ directions.T).max(axis=0) <= ellipsoid.support(directions))


def test_upper_bounds_and_pairs_only_help():
    gains = {name: [] for name in SETTINGS}
    for seed in range(5):
        system, _ = drawn(seed, p=6)
        box = Box.from_floats(np.full(4, -0.5), np.full(4, 0.5))
        for name, settings in SETTINGS.items():
            path = dataclasses.replace(settings.path, gap=1e-3)
            settings = dataclasses.replace(settings, path=path)
            proposal = propose(system, box, settings, NEVER)
            gains[name].append(proposal.end.point.log_det)
    gains = {name: np.array(values) for name, values in gains.items()}
    allowed = 2e-3  # each search stops within 1e-3 of its optimum
    assert np.all(gains["strengthened"] >= gains["plain"] - allowed)
    assert np.all(gains["cross"] >= gains["slopes"] - allowed)
    assert np.all(gains["slopes"] >= gains["strengthened"] - allowed)
    assert np.all(gains["plain slopes"] >= gains["plain"] - allowed)
    assert np.max(gains["strengthened"] - gains["plain"]) > 0.1
    assert np.max(gains["cross"] - gains["strengthened"]) > 0.01


@given(st.integers(0, 10**6))
def test_slope_restriction_is_the_sum_of_two_cross_products(seed):
    system, rng = drawn(seed)
    x = rng.normal(size=(1, 4))
    z = FixpointSolver(system).solve(x).value[0]
    v = system.W @ z + system.U @ x[0] + system.b
    s = z - v
    dz, dv = z[:, None] - z, v[:, None] - v
    cross = np.outer(z, s)
    slope = dz * dv - dz * dz
    size = 1.0 + np.max(np.abs(cross))
    assert slope == pytest.approx(cross + cross.T - np.diag(2 * np.diag(cross)), abs=1e-9 * size)
    assert np.min(slope) >= -1e-9 * size


# --- what has no ellipsoid ---------------------------------------------------------------------


def test_flat_outputs_are_refused_with_their_reason():
    raw = raw_system(np.random.default_rng(94), "plain", 4, 3, 2)
    box = Box.from_floats(np.full(3, -0.5), np.full(3, 0.5))
    constant = raw.build()
    flat = {
        "a constant": (
            np.vstack([raw.G[:1], 0 * raw.G[:1]]),
            np.vstack([raw.H[:1], 0 * raw.H[:1]]),
        ),
        "dependent": (np.vstack([raw.G[:1], 2 * raw.G[:1]]), np.vstack([raw.H[:1], 2 * raw.H[:1]])),
    }
    for G, H in flat.values():
        system = dense_system(raw.W, raw.U, raw.b, G, raw.g, H)
        answer = outer_ellipsoid(system, box, EllipsoidSettings(), NEVER)
        assert isinstance(answer, NoAnswer)
        assert "no volume" in answer.detail
        thick = outer_ellipsoid(system, box, EllipsoidSettings(thickness=0.01), NEVER)
        points = points_of(box, np.random.default_rng(99))
        assert np.all(thick.distance(outputs_of(system, points)) <= 1.0)
        assert np.all(thick.distance(extreme_outputs(system, box)) <= 1.0)
    point = Box.from_floats(np.zeros(3), np.zeros(3))
    answer = outer_ellipsoid(constant, point, EllipsoidSettings(), NEVER)
    assert isinstance(answer, NoAnswer)
    assert "no volume" in answer.detail
    thick = outer_ellipsoid(constant, point, EllipsoidSettings(thickness=1e-3), NEVER)
    assert np.all(thick.distance(outputs_of(constant, np.zeros((1, 3)))) <= 1.0)
    # No wider than the thickness asks for, in units of the outputs (here of order one).
    assert np.max(thick.support(np.eye(2)) + thick.support(-np.eye(2))) < 0.02


@given(st.integers(0, 10**6), st.sampled_from(["flat", "point", "tiny", "l2", "clipped"]))
def test_with_a_thickness_nearly_every_set_has_its_ellipsoid(seed, kind):
    system, rng = drawn(seed, p=4, d=3, q=4)
    inputs = input_set(rng, 3, kind)
    found = outer_ellipsoid(system, inputs, EllipsoidSettings(thickness=1e-3), NEVER)
    if isinstance(found, NoAnswer):
        assert found.reason is Reason.NOT_CONTAINED
        return
    points = points_of(inputs, rng)
    if len(points):
        assert np.all(found.distance(outputs_of(system, points)) <= 1.0)


def test_the_deadline_is_kept():
    system, _ = drawn(0)
    box = Box.from_floats(np.full(4, -0.5), np.full(4, 0.5))
    with pytest.raises(DeadlineExceeded):
        outer_ellipsoid(system, box, EllipsoidSettings(), Deadline.after(0.0))


def test_settings_refuse_values_without_meaning():
    with pytest.raises(ValueError, match="growth"):
        PathSettings(growth=1.0)
    with pytest.raises(ValueError, match="thickness"):
        EllipsoidSettings(thickness=-1.0)
    with pytest.raises(ValueError, match="gap"):
        PathSettings(gap=0.0)


# --- the check ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proved():
    """A system, a box, and a proof whose check succeeds, with active and undecided neurons."""
    for seed in range(20):
        system, _ = drawn(seed, p=7)
        box = Box.from_floats(np.full(4, -0.3), np.full(4, 0.2))
        proposal = propose(system, box, SETTINGS["cross"], NEVER)
        if isinstance(proposal, NoAnswer):
            continue
        last = proposal.proof.box.rounds[-1]
        if proposal.proof.kept.size >= 2 and np.any(last.upper_s == 0.0):
            assert isinstance(check_ellipsoid(system, box, proposal.proof), OuterEllipsoid)
            return system, box, proposal.proof
    pytest.fail("no drawn system has active and undecided neurons")


def test_a_smaller_ellipsoid_than_the_proved_one_is_refused(proved):
    system, box, proof = proved
    for factor in (1.001, 1.1, 3.0):
        smaller = dataclasses.replace(proof, Q=factor * proof.Q, b=factor * proof.b)
        assert isinstance(check_ellipsoid(system, box, smaller), Rejection)
    moved = dataclasses.replace(proof, b=proof.b + 0.05)
    assert isinstance(check_ellipsoid(system, box, moved), Rejection)


def test_a_larger_input_set_is_refused(proved):
    system, box, proof = proved
    larger = Box.from_floats(1.02 * box.lower, 1.02 * box.upper)
    assert isinstance(check_ellipsoid(system, larger, proof), Rejection)


def tampered(proof):
    """Name → a proof that must be refused."""
    last = proof.box.rounds[-1]
    half = dataclasses.replace(last, upper_z=0.5 * last.upper_z, upper_s=0.5 * last.upper_s)
    shorter = dataclasses.replace(proof.box, rounds=(half,))
    caps = proof.family == Family.Z_CAP
    cross = proof.family == Family.CROSS
    nan = proof.value.copy()
    nan[0] = np.nan
    unit_z = proof.unit_z.copy()
    unit_z[proof.kept] *= 0.9
    changes = {
        "a shrunk box": {"box": shorter},
        "no box": {"box": dataclasses.replace(proof.box, rounds=())},
        "a negative cap": {"value": np.where(caps, -proof.value, proof.value)},
        "a negative cross product": {"value": np.where(cross, -1.0, proof.value)},
        "a multiplier that is no number": {"value": nan},
        "units below the bounds": {"unit_z": unit_z},
        "a unit of zero": {"unit_s": 0.0 * proof.unit_s},
        "no multipliers of neurons": {"value": 0.0 * proof.value},
        "no multipliers of inputs": {"on_inputs": 0.0 * proof.on_inputs},
        "negative multipliers of inputs": {"on_inputs": -proof.on_inputs},
        "a ball where there is none": {"on_ball": 1.0},
        "a kept neuron dropped": {"kept": proof.kept[1:]},
        "a neuron kept twice": {"kept": np.repeat(proof.kept[:1], proof.kept.size)},
        "a neuron that does not exist": {"kept": proof.kept + 100},
        "an unknown family": {"family": proof.family + 6},
        "one family of two neurons": {
            "right": np.where(caps, np.roll(proof.right, 1), proof.right),
            "left": np.where(caps, proof.kept[0], proof.left),
        },
        "a wrong shape": {"Q": proof.Q[:1]},
        "an infinite centre": {"b": np.full_like(proof.b, np.inf)},
    }
    return {name: dataclasses.replace(proof, **change) for name, change in changes.items()}


def test_tampered_proofs_are_refused(proved):
    system, box, proof = proved
    for name, changed in tampered(proof).items():
        assert isinstance(check_ellipsoid(system, box, changed), Rejection), name


@pytest.mark.parametrize("size", [1e-4, 1e-3, 0.03])
def test_whatever_the_multipliers_what_is_confirmed_is_true(proved, size):
    system, box, proof = proved
    rng = np.random.default_rng(100)
    outputs = np.vstack([outputs_of(system, points_of(box, rng)), extreme_outputs(system, box)])
    confirmed = 0
    for _ in range(60):
        larger = 1.0 + size * rng.choice([0.0, 3.0, 30.0])

        def shaken(values):
            return values * np.exp(size * rng.normal(size=values.shape))

        changed = dataclasses.replace(
            proof,
            value=shaken(proof.value),
            on_inputs=shaken(proof.on_inputs),
            unit_z=proof.unit_z * np.exp(size * rng.random(proof.unit_z.size)),
            unit_s=proof.unit_s * np.exp(size * rng.random(proof.unit_s.size)),
            Q=proof.Q / larger,
            b=proof.b / larger,
        )
        found = check_ellipsoid(system, box, changed)
        if isinstance(found, OuterEllipsoid):
            confirmed += 1
            assert np.all(found.distance(outputs) <= 1.0)
    assert 5 <= confirmed <= 55, "nothing is tested where all or none are confirmed"


def test_a_widened_ellipsoid_contains_what_is_near(proved):
    system, box, proof = proved
    rng = np.random.default_rng(95)
    found = check_ellipsoid(system, box, proof)
    error = np.array([0.1, 0.3])
    outputs = outputs_of(system, points_of(box, rng))
    near = outputs + error * rng.choice([-1.0, 1.0], outputs.shape)
    assert np.all(found.widened(error).distance(near) <= 1.0)
    assert found.widened(error).log_det < found.log_det
    shadow = found.shadow(0, 1)
    assert found.distance(shadow) == pytest.approx(np.ones(len(shadow)), abs=1e-9)


def test_a_singular_ellipsoid_bounds_nothing():
    flat = OuterEllipsoid(np.diag([1.0, 0.0]), np.zeros(2), np.ones(2))
    assert np.all(flat.support(np.eye(2)) >= 1.0)


# --- the engine --------------------------------------------------------------------------------


def robust_problem(seed, radius):
    system, rng = drawn(seed, "strongly", p=6, q=3)
    x = rng.uniform(-0.5, 0.5, 4)
    box = Box.from_floats(x - radius, x + radius)
    label = int(np.argmax(outputs_of(system, x[None])[0]))
    return build_problem(system, robustness_query(box, label, 4, 3), "float64")


def worst_sampled_row(problem, rng):
    (obligation,) = problem.obligations
    points = points_of(obligation.inputs, rng, 400)
    rows = obligation.rows.coefficients
    z = FixpointSolver(problem.system).solve(points).value
    return float(np.min(z @ rows.on_z.T + points @ rows.on_x.T + rows.offset))


def test_the_engine_certifies_through_the_gate_and_never_overstates():
    rng, certified = np.random.default_rng(96), 0
    for seed in range(12):
        problem = robust_problem(seed, 0.02 if seed % 2 else 0.2)
        outcome = EllipsoidEngine().run(problem, NEVER, NullObserver())
        if not isinstance(outcome.candidate, CertificateCandidate):
            continue
        certified += 1
        gate = Gate(problem, "float64", lambda: None)
        checked = gate.confirm_certificate(outcome.candidate.certificate, NEVER)
        assert isinstance(checked, CheckedCertificate)
        assert checked.margin <= worst_sampled_row(problem, rng)
        assert checked.margin == pytest.approx(outcome.statistics["margin"])
    assert certified >= 5


def test_rows_with_inputs_and_errors_are_respected():
    system, _ = drawn(4, p=6, q=3)
    box = Box.from_floats(np.full(4, -0.3), np.full(4, 0.3))
    for x_part in (None, {0: 3.0}):
        query = query_of([(box, [constraint({0: 1.0}, 9.0, x_part)])], 4, 3)
        problem = build_problem(system, query, "float64")
        outcome = EllipsoidEngine().run(problem, NEVER, NullObserver())
        certificate = outcome.candidate.certificate
        margin = check_ellipsoid_certificate(problem, certificate, NEVER)
        assert 0.0 < margin <= worst_sampled_row(problem, np.random.default_rng(97))
        (obligation,) = problem.obligations
        for error, holds in ((0.5 * margin, True), (1.01 * margin, False)):
            rows = dataclasses.replace(obligation.rows, error=obligation.rows.error + error)
            harder = dataclasses.replace(
                problem, obligations=(dataclasses.replace(obligation, rows=rows),)
            )
            found = check_ellipsoid_certificate(harder, certificate, NEVER)
            assert isinstance(found, float) is holds


def test_tampered_certificates_are_refused():
    problem = robust_problem(1, 0.02)
    certificate = EllipsoidEngine().run(problem, NEVER, NullObserver()).candidate.certificate
    (proof,), (rows,) = certificate.proofs, certificate.rows
    nothing = dataclasses.replace(rows, on_outputs=0.0 * rows.on_outputs)
    turned = dataclasses.replace(rows, on_outputs=-rows.on_outputs)
    missing = dataclasses.replace(rows, on_outputs=rows.on_outputs[:1])
    smaller = dataclasses.replace(proof, Q=3.0 * proof.Q, b=3.0 * proof.b)
    for change in (
        {"rows": (missing,)},
        {"proofs": (smaller,)},
        {"proofs": ()},
        {"rows": (rows, rows)},
    ):
        changed = dataclasses.replace(certificate, **change)
        assert isinstance(check_ellipsoid_certificate(problem, changed, NEVER), Rejection)
    # Hints that help nothing are no fault: the box may still prove the rows.
    for hints in (nothing, turned):
        changed = dataclasses.replace(certificate, rows=(hints,))
        margin = check_ellipsoid_certificate(problem, changed, NEVER)
        if isinstance(margin, float):
            assert margin <= worst_sampled_row(problem, np.random.default_rng(98))


def test_the_engine_says_why_it_proves_nothing():
    late = EllipsoidEngine().run(robust_problem(0, 0.02), Deadline.after(0.0), NullObserver())
    assert late.candidate.reason is Reason.TIMED_OUT
    system, _ = drawn(4, p=6, q=3)
    box = Box.from_floats(np.full(4, -0.3), np.full(4, 0.3))
    query = query_of([(box, [constraint({0: 1.0}, -50.0)])], 4, 3)
    problem = build_problem(system, query, "float64")
    loose = EllipsoidEngine().run(problem, NEVER, NullObserver())
    assert loose.candidate.reason is Reason.BOUND_TOO_LOOSE


# --- reference data ----------------------------------------------------------------------------


def test_ours_lies_below_the_published_ellipsoid_and_both_contain_the_attack(shared_data):
    system, x, data = load_reference(shared_data, "fc87_mnist")
    stored = np.load(shared_data / "semimondeq_ellipsoids.npz")
    half = 0.01 / data["std"][0]
    for image in (0, 8):
        box = Box.from_floats(x[image] - half, x[image] + half)
        ours = outer_ellipsoid(system, box, EllipsoidSettings(), NEVER)
        published = OuterEllipsoid(
            stored["Q_linf_0.01"][image], stored["b_linf_0.01"][image], np.zeros(10)
        )
        assert ours.log_det > published.log_det + 3.0
        attacked = extreme_outputs(system, box, (7, 3))
        assert np.all(ours.distance(attacked) <= 1.0)
        assert np.all(published.distance(attacked) <= 1.0)
