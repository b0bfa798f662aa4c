"""The strengthened Shor relaxation: derivatives, order of the bounds, certificates."""

import dataclasses
import itertools

import laws
import numpy as np
import pytest
from drawn_duals import BOX, CENTRAL_DIFFERENCE, drawn_dual, drawn_multipliers, one_row
from oracle import LinearOracle
from strategies import raw_system
from tolerances import ORACLE_RELATIVE

from vnn_mondeq.bounds.check import Rejection
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.result import CertificateCandidate, Reason
from vnn_mondeq.sdp import many_inputs
from vnn_mondeq.sdp.ascent import AscentSettings, ascend
from vnn_mondeq.sdp.certificate import ShorCertificate, ShorRefutation
from vnn_mondeq.sdp.check import check_shor
from vnn_mondeq.sdp.engine import StrengthenedShor
from vnn_mondeq.sdp.phases import scaled_form
from vnn_mondeq.sdp.shor import Multipliers, ShorDual


@pytest.mark.parametrize("m, crossed", ((0, False), (2, False), (2, True)))
@pytest.mark.parametrize("seed", range(4))
def test_gradient_matches_differences_of_the_potential(seed, m, crossed):
    dual, tau = drawn_dual(seed, m=m, crossed=crossed), 3.0
    at = dual.evaluate(drawn_multipliers(seed, dual), tau)
    gradient, _ = dual.derivatives(at, tau)
    for direction in np.eye(gradient.size):
        up, down = (
            dual.evaluate(at.multipliers.times(np.exp(h * direction)), tau).potential
            for h in (CENTRAL_DIFFERENCE, -CENTRAL_DIFFERENCE)
        )
        slope = (up - down) / (2 * CENTRAL_DIFFERENCE)
        assert slope == pytest.approx(gradient @ direction, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("m, crossed", ((0, False), (2, False), (2, True)))
@pytest.mark.parametrize("seed", range(4))
def test_hessian_matches_differences_of_the_gradient(seed, m, crossed):
    dual, tau = drawn_dual(seed, m=m, crossed=crossed), 3.0
    at = dual.evaluate(drawn_multipliers(seed, dual), tau)
    gradient, model = dual.derivatives(at, tau)
    exact = np.empty_like(model)
    for column, direction in enumerate(np.eye(gradient.size)):
        up, down = (
            dual.derivatives(dual.evaluate(at.multipliers.times(np.exp(h * direction)), tau), tau)[
                0
            ]
            for h in (CENTRAL_DIFFERENCE, -CENTRAL_DIFFERENCE)
        )
        exact[:, column] = (up - down) / (2 * CENTRAL_DIFFERENCE)
    # The model replaces the logarithms' share of the diagonal, the gradient, by its positive part.
    expected = exact + np.diag(np.maximum(gradient, 0.0) - gradient)
    assert np.allclose(model, expected, rtol=1e-4, atol=1e-4)
    assert np.linalg.eigvalsh(model)[0] > 0.0


@pytest.mark.parametrize("k, n", [(4, 5), (40, 784)])
def test_multipliers_of_any_size_give_no_bound_below_the_lagrangian_at_zero(k, n):
    """Tiny multipliers of inputs make the form nearly singular; what rounding leaves of it then
    looks like a bound far too good, which the check would refuse."""
    judged = 0
    for seed, inputs, products in itertools.product(range(2), range(-9, 1, 3), range(-2, 5, 2)):
        dual = drawn_dual(seed, k, n)
        at = dual.evaluate(dual.uniform(10.0**inputs, 10.0**products), 1000.0)
        if at is None:
            continue
        s = -dual.e
        value = 10.0**inputs * n + 10.0**products * float((s * (1.0 - s)).sum())
        assert at.bound >= value - 1e-9 * abs(value)
        judged += 1
    assert judged >= 5


def test_evaluation_outside_the_feasible_set_is_none():
    dual = drawn_dual(0)
    k, n = dual.B.shape
    crossed = np.concatenate([np.full(k, 100.0), np.full(2 * k, 1e-3)])  # t² > 4 ρ ν
    assert dual.evaluate(Multipliers(np.ones(n), crossed), 1.0) is None


@pytest.mark.parametrize("kind", ("plain", "strongly", "feed_forward", "mixed", "rotating"))
def test_bound_lies_between_the_exact_value_and_the_strips(kind):
    """Attained minimum >= semidefinite bound >= strip bound, as lower bounds of the row."""
    tighter = 0
    for seed in range(6):
        rng = np.random.default_rng([83, seed])
        raw = raw_system(rng, kind, 5, 2, 1)
        problem = one_row(raw, 0.0)
        attempt = InductiveBox(exact_within=0.0).prove(
            problem.system, problem.obligations[0], Deadline.never()
        )
        last = attempt.proof.rounds[-1]
        form = scaled_form(problem.system, BOX.lower, BOX.upper, last.upper_z, last.upper_s)
        if form.e.size == 0:
            continue
        on_z, on_x, constant = form.row(-raw.G[0], -raw.H[0])
        found = ascend(
            ShorDual(form.A, form.B, form.e, on_z, on_x),
            -np.inf,
            AscentSettings(),
            Deadline.never(),
        )
        proved = -(found.best.bound + constant) + raw.g[0]
        exact = LinearOracle(raw.W, raw.U, raw.b, BOX.lower, BOX.upper).minimum(
            raw.G[0], raw.H[0], raw.g[0]
        )
        slack = ORACLE_RELATIVE * (1.0 + abs(exact.value))
        assert proved <= exact.value + slack
        strips = attempt.margins[0]
        assert proved >= strips - 1e-2 * (1.0 + abs(strips))  # the path ends a small gap away
        tighter += proved > strips + 1e-3
    assert kind == "feed_forward" or tighter > 0


def test_shor_certificates_never_overstate():
    laws.law_certificates_never_overstate(StrengthenedShor())


@pytest.fixture(scope="module")
def proved():
    """A problem whose one case needs semidefinite multipliers, and its certificate."""
    for seed in range(40):
        rng = np.random.default_rng([84, seed])
        raw = raw_system(rng, "plain", 6, 2, 1)
        engine = StrengthenedShor()
        loose = one_row(raw, 0.0)
        strips = engine.boxes.prove(loose.system, loose.obligations[0], Deadline.never()).margins[0]
        exact = LinearOracle(raw.W, raw.U, raw.b, BOX.lower, BOX.upper).minimum(
            raw.G[0], raw.H[0], raw.g[0]
        )
        if exact.value - strips < 0.2:
            continue
        problem = one_row(raw, -(0.15 * strips + 0.85 * exact.value) + 0.1)
        outcome = engine.run(problem, Deadline.never(), NullObserver())
        if isinstance(outcome.candidate, CertificateCandidate) and isinstance(
            outcome.candidate.certificate.proofs[0].refutations[0], ShorRefutation
        ):
            return problem, outcome.candidate.certificate
    raise AssertionError("no drawn problem needed semidefinite multipliers")


def tampered(certificate: ShorCertificate, **changes) -> ShorCertificate:
    proof = certificate.proofs[0]
    refutation = dataclasses.replace(proof.refutations[0], **changes)
    return ShorCertificate((dataclasses.replace(proof, refutations=(refutation,)),))


def refused(problem, certificate) -> bool:
    return isinstance(check_shor(problem, certificate, Deadline.never()), Rejection)


def test_check_confirms_what_the_engine_proved(proved):
    problem, certificate = proved
    assert check_shor(problem, certificate, Deadline.never()) > 0.0
    assert laws.confirm(problem, certificate) is not None
    assert "1 cases refuted by semidefinite" in certificate.summary()


@pytest.mark.parametrize("field", ["sigma", "products", "scale_z", "scale_s"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_check_refuses_bad_numbers(proved, field, bad):
    problem, certificate = proved
    array = getattr(certificate.proofs[0].refutations[0], field).copy()
    array[0] = bad
    assert refused(problem, tampered(certificate, **{field: array}))


def test_check_refuses_units_below_the_proved_bounds(proved):
    problem, certificate = proved
    refutation = certificate.proofs[0].refutations[0]
    assert refused(problem, tampered(certificate, scale_z=0.5 * refutation.scale_z))
    assert refused(problem, tampered(certificate, scale_s=0.5 * refutation.scale_s))


def test_check_refuses_multipliers_of_another_size_and_indefinite_forms(proved):
    problem, certificate = proved
    refutation = certificate.proofs[0].refutations[0]
    assert refused(problem, tampered(certificate, sigma=refutation.sigma[:-1]))
    k = refutation.scale_z.size
    products = refutation.products.copy()
    products[:k] *= 1e3
    assert refused(problem, tampered(certificate, products=products))
    assert refused(problem, tampered(certificate, products=np.zeros(3 * k)))


def test_check_refuses_a_smaller_box_and_fewer_proofs(proved):
    problem, certificate = proved
    proof = certificate.proofs[0]
    last = proof.box.rounds[-1]
    smaller = dataclasses.replace(last, upper_z=0.5 * last.upper_z, upper_s=0.5 * last.upper_s)
    box = dataclasses.replace(proof.box, rounds=(*proof.box.rounds[:-1], smaller))
    assert refused(problem, ShorCertificate((dataclasses.replace(proof, box=box),)))
    assert refused(problem, ShorCertificate(()))


def test_check_refuses_the_certificate_for_a_larger_input_set(proved):
    problem, certificate = proved
    (obligation,) = problem.obligations
    wide = Box.from_floats(2.0 * BOX.lower, 2.0 * BOX.upper)
    larger = dataclasses.replace(obligation, inputs=wide, proof_inputs=wide)
    assert refused(dataclasses.replace(problem, obligations=(larger,)), certificate)


def test_engine_and_check_keep_the_deadline(proved):
    problem, certificate = proved
    late = StrengthenedShor().run(problem, Deadline.after(0.0), NullObserver())
    assert late.candidate.reason is Reason.TIMED_OUT
    with pytest.raises(DeadlineExceeded):
        check_shor(problem, certificate, Deadline.after(0.0))


def test_settings_refuse_values_without_meaning():
    with pytest.raises(ValueError, match="growth"):
        AscentSettings(growth=1.0)
    with pytest.raises(ValueError, match="tau"):
        AscentSettings(tau=0.0)


@pytest.mark.parametrize("m", (0, 2))
@pytest.mark.parametrize("seed", range(4))
def test_conjugate_gradients_find_the_dense_newton_step(seed, m):
    """More inputs than neurons, as it is used; both solve one system."""
    few = drawn_dual(seed, k=4, n=40, m=m)
    many = dataclasses.replace(few, many=1)
    for tau in (3.0, 300.0):
        dense, at = (d.evaluate(drawn_multipliers(seed, few), tau) for d in (few, many))
        assert at.bound == pytest.approx(dense.bound, rel=1e-12)
        assert at.potential == pytest.approx(dense.potential, rel=1e-10)
        gradient, hessian = few.derivatives(dense, tau)
        again = many.derivatives(at, tau)
        assert np.allclose(again[0], gradient) and np.allclose(again[1], hessian)
        system = many_inputs.NewtonSystem.of(many, at, tau)
        rng = np.random.default_rng([83, seed])
        assert np.allclose(system.gradient, gradient)
        for direction in rng.normal(size=(5, gradient.size)):
            assert np.allclose(system.times(direction), hessian @ direction)
        step, decrement = many_inputs.many_inputs_step(many, at, tau)
        exact = -np.linalg.solve(hessian, gradient)
        assert np.linalg.norm(step - exact) <= 0.05 * np.linalg.norm(exact)
        assert decrement == pytest.approx(np.sqrt(-gradient @ exact), rel=1e-3)
