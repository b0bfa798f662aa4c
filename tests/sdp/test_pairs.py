"""Products of two neurons: derivatives, order of the bounds, certificates."""

import dataclasses

import laws
import numpy as np
import pytest
from drawn_duals import BOX, CENTRAL_DIFFERENCE, drawn_dual, drawn_multipliers, one_row
from oracle import LinearOracle
from strategies import raw_system
from tolerances import ORACLE_RELATIVE

from vnn_mondeq.bounds.check import Rejection, check_box
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.certificate_file import Subject, certificate_bytes, parse_certificate
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.result import CertificateCandidate, CheckedCertificate, NoAnswer, Reason
from vnn_mondeq.sdp.ascent import AscentSettings
from vnn_mondeq.sdp.certificate import PairRefutation, ShorRefutation
from vnn_mondeq.sdp.check import CaseJudge
from vnn_mondeq.sdp.engine import StrengthenedShor
from vnn_mondeq.sdp.pair_rounds import PairSettings, tighten
from vnn_mondeq.sdp.pairs import Pairs
from vnn_mondeq.sdp.phases import scaled_form
from vnn_mondeq.sdp.shor import Multipliers, ShorDual


def drawn_pairs(seed, k=4, n=5, m=0):
    rng = np.random.default_rng([90, seed])
    left, right = rng.integers(0, 3 * k, size=(2, 7))
    dual = dataclasses.replace(drawn_dual(seed, k, n, m, crossed=m > 0), pairs=Pairs(left, right))
    known = drawn_multipliers(seed, dual)
    prices = 0.02 * np.exp(0.3 * rng.normal(size=7))
    products = np.concatenate([known.products[: 3 * k], prices])
    return dual, Multipliers(known.sigma, products, known.beyond)


@pytest.mark.parametrize("m", (0, 2))
@pytest.mark.parametrize("seed", range(3))
def test_derivatives_match_differences(seed, m):
    dual, multipliers = drawn_pairs(seed, m=m)
    tau, h = 3.0, CENTRAL_DIFFERENCE
    at = dual.evaluate(multipliers, tau)
    gradient, model = dual.derivatives(at, tau)
    exact = np.empty_like(model)
    for column, direction in enumerate(np.eye(gradient.size)):
        moved = [at.multipliers.times(np.exp(step * direction)) for step in (h, -h)]
        up, down = (dual.evaluate(one, tau) for one in moved)
        assert (up.potential - down.potential) / (2 * h) == pytest.approx(
            gradient[column], rel=1e-5, abs=1e-5
        )
        slopes = [dual.derivatives(point, tau)[0] for point in (up, down)]
        exact[:, column] = (slopes[0] - slopes[1]) / (2 * h)
    expected = exact + np.diag(np.maximum(gradient, 0.0) - gradient)
    assert np.allclose(model, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_many_inputs_give_the_same_step(seed):
    few, multipliers = drawn_pairs(seed, n=40)
    many = dataclasses.replace(few, many=1)
    dense, at = (dual.evaluate(multipliers, 30.0) for dual in (few, many))
    assert at.bound == pytest.approx(dense.bound, rel=1e-12)
    gradient, hessian = few.derivatives(dense, 30.0)
    step, _ = many.newton(at, 30.0)
    exact = -np.linalg.solve(hessian, gradient)
    assert np.linalg.norm(step - exact) <= 0.05 * np.linalg.norm(exact)


SETTINGS = PairSettings(count=30, rounds=3, ascent=AscentSettings.accurate(1e-4))


def tightened(seed, settings=SETTINGS):
    """A drawn problem, its box proof, its form, the offset of the objective, and the bound."""
    raw = raw_system(np.random.default_rng([91, seed]), "plain", 6, 2, 1)
    problem = one_row(raw, 0.0)
    attempt = InductiveBox(exact_within=0.0).prove(
        problem.system, problem.obligations[0], Deadline.never()
    )
    last = attempt.proof.rounds[-1]
    form = scaled_form(problem.system, BOX.lower, BOX.upper, last.upper_z, last.upper_s)
    on_z, on_x, constant = form.row(-raw.G[0], -raw.H[0])
    dual = ShorDual(form.A, form.B, form.e, on_z, on_x)
    found = tighten(dual, -np.inf, settings, Deadline.after(20.0))
    return raw, problem, attempt, form, constant - raw.g[0], found


def test_bound_lies_between_the_exact_value_and_that_without_pairs():
    gained = []
    for seed in range(3):
        raw, *_, offset, found = tightened(seed)
        plain = tightened(seed, dataclasses.replace(SETTINGS, rounds=0))[-1]
        proved = -(found.found.best.bound + offset)
        exact = LinearOracle(raw.W, raw.U, raw.b, BOX.lower, BOX.upper).minimum(
            raw.G[0], raw.H[0], raw.g[0]
        )
        assert proved <= exact.value + ORACLE_RELATIVE * (1.0 + abs(exact.value))
        gained.append(plain.found.best.bound - found.found.best.bound)
    assert min(gained) >= 0.0 and max(gained) > 0.01


def raised(obligation, by: float):
    """With a larger offset of its row."""
    rows = obligation.rows
    moved = dataclasses.replace(rows.coefficients, offset=rows.coefficients.offset + by)
    return dataclasses.replace(obligation, rows=dataclasses.replace(rows, coefficients=moved))


@pytest.fixture(scope="module")
def proved():
    """A judge, the refutation by pairs of a row that the bound without them does not refute, and
    the problem that the row was drawn from."""
    for seed in range(10):
        _, problem, attempt, form, offset, found = tightened(seed)
        plain = tightened(seed, dataclasses.replace(SETTINGS, rounds=0))[-1]
        best, other = found.found.best, plain.found.best
        if found.dual.pairs is None or other.bound - best.bound < 0.01:
            continue
        (obligation,) = problem.obligations
        obligation = raised(obligation, best.bound + offset + 1e-4)  # the row is now just refuted
        judge = CaseJudge(
            problem.system, obligation, check_box(problem.system, obligation, attempt.proof)
        )
        products = best.multipliers.products
        count = found.dual.pairs.count
        shor = ShorRefutation(
            np.ones(1), best.multipliers.sigma, products[:-count], np.zeros(0), form.scale_z,
            form.scale_s,
        )  # fmt: skip
        pairs = found.dual.pairs
        refutation = PairRefutation(shor, pairs.left, pairs.right, products[-count:])
        return judge, refutation, problem
    raise AssertionError("no drawn problem needed pairs")


def margin(judge, refutation):
    return judge.margin(judge.obligation.cases[0], refutation)


def test_check_confirms_a_refutation_by_pairs_and_no_more_than_that(proved):
    judge, refutation, _ = proved
    found = margin(judge, refutation)
    assert not isinstance(found, Rejection) and 0.0 < found < 2e-4
    assert isinstance(margin(judge, refutation.plain), Rejection)


@pytest.mark.parametrize("bad", (np.nan, np.inf, -1.0))
def test_check_refuses_bad_multipliers_of_pairs(proved, bad):
    judge, refutation, _ = proved
    prices = refutation.prices.copy()
    prices[0] = bad
    assert isinstance(margin(judge, dataclasses.replace(refutation, prices=prices)), Rejection)


def test_check_refuses_products_that_are_none(proved):
    judge, refutation, _ = proved
    k = refutation.plain.scale_z.size
    for left in (
        np.full_like(refutation.left, 3 * k),
        np.full_like(refutation.left, -1),
        refutation.left[1:],
        refutation.left.astype(float),
        refutation.right,  # squares: true products, other than those that the multipliers fit
    ):
        changed = dataclasses.replace(refutation, left=left)
        assert isinstance(margin(judge, changed), Rejection)


def test_engine_proves_by_pairs_what_it_does_not_without_them(proved):
    judge, _, problem = proved
    obligation = raised(judge.obligation, 4e-3)  # without pairs 6e-3 are missing at least
    problem = dataclasses.replace(problem, obligations=(obligation,))
    settings = dataclasses.replace(SETTINGS, ascent=AscentSettings(certainty=0.1, steps=200))
    with_pairs = StrengthenedShor(pairs=settings, near=1.0)
    refused = StrengthenedShor().run(problem, Deadline.after(20.0), NullObserver()).candidate
    assert isinstance(refused, NoAnswer) and refused.reason is Reason.BOUND_TOO_LOOSE
    found = with_pairs.run(problem, Deadline.after(20.0), NullObserver()).candidate
    assert isinstance(found, CertificateCandidate)
    (refutation,) = found.certificate.proofs[0].refutations
    assert isinstance(refutation, PairRefutation)
    margin = laws.confirm(problem, found.certificate)
    assert margin is not None
    checked = CheckedCertificate(found.certificate, margin, "pairs")
    stored = certificate_bytes(checked, Subject("0" * 64, {"f": "a" * 64}))
    again = parse_certificate(stored).certificate
    assert laws.confirm(problem, again) == margin
    far = StrengthenedShor(pairs=settings, near=1e-9)
    missed = far.run(problem, Deadline.after(20.0), NullObserver()).candidate
    assert isinstance(missed, NoAnswer)


def test_laws_hold_with_pairs():
    laws.law_certificates_never_overstate(StrengthenedShor(pairs=SETTINGS, near=1.0))
