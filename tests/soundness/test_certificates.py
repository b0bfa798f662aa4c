"""Statements and certificates against the exact oracle; tampered certificates are refused."""

import dataclasses
from fractions import Fraction

import laws
import numpy as np
import pytest
from laws import confirm
from strategies import constraint, query_of, raw_system

from vnn_mondeq.bounds.certificate import InductiveBoxCertificate
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.craft.engine import Craft
from vnn_mondeq.craft.settings import ABLATIONS, CraftSettings
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.gate import NothingToRefute
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection
from vnn_mondeq.statement import build_problem


def test_rows_and_errors_cover_the_query():
    laws.law_rows_and_errors_cover_the_query()


@pytest.mark.parametrize("engine", [InductiveBox(), Craft()], ids=lambda engine: engine.name)
def test_certificates_never_overstate(engine):
    laws.law_certificates_never_overstate(engine)


@pytest.mark.parametrize("name", sorted(ABLATIONS))
def test_certificates_of_every_ablation_never_overstate(name):
    quick = CraftSettings(max_steps=60, tighten_steps=20, consolidate_tightening=8)
    engine = Craft(quick.ablation(name))
    # Boxes alone prove nothing on these instances; the others must.
    least = int(name != "no-zonotope")
    laws.law_certificates_never_overstate(engine, count=24, at_least=least)


def test_certificates_of_the_printed_algorithm_never_overstate():
    engine = Craft(dataclasses.replace(CraftSettings.paper(), max_steps=150, tighten_steps=60))
    laws.law_certificates_never_overstate(engine, count=24, at_least=1)


def test_inductive_margin_is_at_most_the_exact_one():
    """For one single-row case the margin is a bound on the row: compare it exactly."""
    proved = 0
    for seed in range(24):
        rng = np.random.default_rng([41, seed])
        raw = raw_system(rng, "plain", 1 + seed % 5, 2, 1)
        box = Box.from_floats(np.float32([-0.25, 0.125]).astype(float), np.array([0.25, 0.5]))
        query = query_of([(box, [constraint({0: 1.0}, 8.0)])], 2, 1)
        problem = build_problem(raw.build(), query, "float32")
        outcome = InductiveBox().run(problem, Deadline.after(10.0), NullObserver())
        margin = laws.checked_margin(problem, outcome)
        if margin is None:
            continue
        proved += 1
        (point,) = laws.closest_points(raw, box, problem)
        assert Fraction(margin) <= min(laws.case_values(raw, problem, laws.exactly(point)))
    assert proved >= 15


# --- tampering ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proved():
    """A problem with two input sets and three cases, and a certificate that is confirmed."""
    rng = np.random.default_rng(42)
    raw = raw_system(rng, "plain", 5, 2, 2)
    first = Box.from_floats(np.array([-0.25, 0.0]), np.array([0.25, 0.5]))
    second = Box.from_floats(np.array([0.5, 0.0]), np.array([0.75, 0.25]))
    values = [float(v) for v in laws.exact_outputs(raw, laws.exactly(np.array([0.0, 0.25])))]
    reach = 3.0
    cases = [
        (first, [constraint({0: 1.0}, reach - values[0])]),
        (first, [constraint({0: 1.0}, 9.0), constraint({1: -1.0}, reach + values[1])]),
        (second, [constraint({1: 1.0}, reach + 2.0 - values[1])]),
    ]
    problem = build_problem(raw.build(), query_of(cases, 2, 2), "float32")
    outcome = InductiveBox().run(problem, Deadline.after(10.0), NullObserver())
    certificate = outcome.candidate.certificate
    assert confirm(problem, certificate) is not None
    return raw, problem, certificate


def with_proof(certificate: InductiveBoxCertificate, index: int = 0, **changes):
    proofs = list(certificate.proofs)
    proofs[index] = dataclasses.replace(proofs[index], **changes)
    return InductiveBoxCertificate(tuple(proofs))


def with_round(certificate: InductiveBoxCertificate, index: int = 0, **changes):
    rounds = list(certificate.proofs[0].rounds)
    rounds[index] = dataclasses.replace(rounds[index], **changes)
    return with_proof(certificate, rounds=tuple(rounds))


def with_refutation(certificate: InductiveBoxCertificate, **changes):
    refutations = list(certificate.proofs[0].refutations)
    refutations[0] = dataclasses.replace(refutations[0], **changes)
    return with_proof(certificate, refutations=tuple(refutations))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["upper_z", "upper_s", "for_z", "for_s"])
def test_certificate_with_a_round_that_is_not_finite_is_refused(proved, field, bad):
    _, problem, certificate = proved
    array = getattr(certificate.proofs[0].rounds[0], field).copy()
    array.flat[0] = bad
    assert confirm(problem, with_round(certificate, **{field: array})) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0, 0.0])
def test_certificate_with_bad_weights_is_refused(proved, bad):
    _, problem, certificate = proved
    weights = np.full_like(certificate.proofs[0].refutations[0].weights, bad)
    assert confirm(problem, with_refutation(certificate, weights=weights)) is None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_certificate_with_bad_multipliers_or_anchor_is_refused(proved, bad):
    _, problem, certificate = proved
    multipliers = certificate.proofs[0].refutations[0].multipliers.copy()
    multipliers[0] = bad
    assert confirm(problem, with_refutation(certificate, multipliers=multipliers)) is None
    assert confirm(problem, with_proof(certificate, anchor=np.full(2, bad))) is None


def test_certificate_that_drops_or_repeats_parts_is_refused(proved):
    _, problem, certificate = proved
    proofs = certificate.proofs
    refutations = proofs[0].refutations
    assert confirm(problem, InductiveBoxCertificate(proofs[:1])) is None
    assert confirm(problem, InductiveBoxCertificate(())) is None
    assert confirm(problem, InductiveBoxCertificate((*proofs, proofs[0]))) is None
    assert confirm(problem, with_proof(certificate, refutations=refutations[:1])) is None
    assert confirm(problem, with_proof(certificate, refutations=())) is None
    assert confirm(problem, with_proof(certificate, rounds=())) is None
    assert confirm(problem, NothingToRefute()) is None


def test_problem_that_drops_a_case_or_an_obligation_is_refused(proved):
    _, problem, certificate = proved
    fewer = dataclasses.replace(problem, obligations=problem.obligations[:1])
    assert confirm(fewer, InductiveBoxCertificate(certificate.proofs[:1])) is None
    first = problem.obligations[0]
    shorter = dataclasses.replace(first, cases=first.cases[:1])
    thinner = dataclasses.replace(problem, obligations=(shorter, problem.obligations[1]))
    changed = with_proof(certificate, refutations=certificate.proofs[0].refutations[:1])
    assert confirm(thinner, changed) is None


def test_certificate_of_shrunk_boxes_is_refused_below_the_exact_values(proved):
    """A box smaller than a value that is really attained must never pass."""
    raw, problem, certificate = proved
    oracle = laws.oracle_of(raw, problem.obligations[0].proof_inputs)
    top_z, top_s = oracle.neuron_bounds()
    for index in range(len(certificate.proofs[0].rounds)):
        for field, top in (("upper_z", top_z), ("upper_s", top_s)):
            for k in np.flatnonzero(top > 1e-3):
                bounds = getattr(certificate.proofs[0].rounds[index], field).copy()
                assert bounds[k] >= top[k] * (1 - 1e-6)
                bounds[k] = 0.99 * top[k]
                assert confirm(problem, with_round(certificate, index, **{field: bounds})) is None


def test_certificate_with_another_order_of_proofs_is_refused_or_true(proved):
    _, problem, certificate = proved
    swapped = InductiveBoxCertificate(certificate.proofs[::-1])
    assert confirm(problem, swapped) is None


def test_certificate_for_a_larger_input_set_is_refused_where_false():
    """The same certificate, the input set enlarged until the query is violated."""
    rng = np.random.default_rng(43)
    raw = raw_system(rng, "plain", 4, 2, 1)
    small = Box.from_floats(np.full(2, -0.125), np.full(2, 0.125))
    wide = Box.from_floats(np.full(2, -64.0), np.full(2, 64.0))
    value = float(laws.exact_outputs(raw, laws.exactly(np.zeros(2)))[0])
    row = constraint({0: 1.0}, 1.0 - value)
    problem = build_problem(raw.build(), query_of([(small, [row])], 2, 1), "float32")
    certificate = (
        InductiveBox().run(problem, Deadline.after(10.0), NullObserver()).candidate.certificate
    )
    assert confirm(problem, certificate) is not None
    enlarged = build_problem(raw.build(), query_of([(wide, [row])], 2, 1), "float32")
    (point,) = laws.closest_points(raw, wide, enlarged)
    assert min(laws.case_values(raw, enlarged, laws.exactly(point))) < 0
    assert confirm(enlarged, certificate) is None


def test_random_tampering_is_refused_or_the_statement_is_true():
    """Certificates of other systems, and with signs and sizes changed, against false statements:
    no statement here is true, so none may be confirmed."""
    sources = []
    for seed in range(6):
        raw = raw_system(np.random.default_rng([44, seed]), "plain", 4, 2, 1)
        box = Box.from_floats(np.full(2, -0.5), np.full(2, 0.5))
        loose = build_problem(
            raw.build(), query_of([(box, [constraint({0: 1.0}, 50.0)])], 2, 1), "float32"
        )
        outcome = InductiveBox().run(loose, Deadline.after(10.0), NullObserver())
        certificate = getattr(outcome.candidate, "certificate", None)
        # The least value of the row over the box, less a little: false by that little.
        (point,) = laws.closest_points(raw, box, loose)
        least = laws.exact_outputs(raw, laws.exactly(point))[0]
        row = constraint({0: 1.0}, float(-least) - 1e-6)
        false = build_problem(raw.build(), query_of([(box, [row])], 2, 1), "float32")
        assert min(laws.case_values(raw, false, laws.exactly(point))) < 0
        sources.append((false, certificate))
    rng = np.random.default_rng(45)
    certificates = [c for _, c in sources if c is not None]
    assert len(certificates) >= 4
    for false, _ in sources:
        for certificate in certificates:
            assert confirm(false, certificate) is None
            for _ in range(8):
                assert confirm(false, scrambled(certificate, rng)) is None


def scrambled(certificate: InductiveBoxCertificate, rng: np.random.Generator):
    """One array of the first proof changed: a sign, a factor, or noise."""
    proof = certificate.proofs[0]
    rounds = list(proof.rounds)
    index = int(rng.integers(len(rounds)))
    field = str(rng.choice(["upper_z", "upper_s", "for_z", "for_s"]))
    array = getattr(rounds[index], field)
    change = int(rng.integers(4))
    changed = [
        lambda: array * rng.choice([0.0, 0.5, 0.9, 1.1, 2.0]),
        lambda: np.abs(array + rng.normal(size=array.shape) * 0.1),
        lambda: array * (rng.random(array.shape) < 0.8),
        lambda: np.where(rng.random(array.shape) < 0.2, -array, array),
    ][change]()
    if field.startswith("upper"):
        changed = np.abs(changed)
    rounds[index] = dataclasses.replace(rounds[index], **{field: changed})
    return InductiveBoxCertificate((dataclasses.replace(proof, rounds=tuple(rounds)),))


# --- what has no rows, and what is empty ---------------------------------------------------------


def test_case_without_constraints_is_never_refuted():
    raw = raw_system(np.random.default_rng(46), "plain", 3, 2, 1)
    box = Box.from_floats(np.zeros(2), np.ones(2))
    problem = build_problem(raw.build(), query_of([(box, [])], 2, 1), "float32")
    assert len(problem.obligations) == 1
    outcome = InductiveBox().run(problem, Deadline.after(5.0), NullObserver())
    assert laws.checked_margin(problem, outcome) is None
    assert confirm(problem, NothingToRefute()) is None
    assert confirm(problem, InductiveBoxCertificate(())) is None


def test_thin_box_that_only_a_float32_reader_sees_is_still_an_obligation():
    """`[0.1, 0.1]`: no float32 lies in it, but a scorer accepts the float32 nearest to 0.1."""
    raw = raw_system(np.random.default_rng(47), "plain", 3, 1, 1)
    tenth = Fraction(1, 10)
    box = Box.from_fractions([tenth], [tenth])
    crossed = Box.from_fractions([tenth + Fraction(1, 10**9)], [tenth])
    for inputs in (box, crossed):
        query = query_of([(inputs, [constraint({0: 1.0}, 1.0)])], 1, 1)
        assert len(build_problem(raw.build(), query, "float32").obligations) == 1


def test_certainly_empty_set_needs_no_engine_and_nothing_else_does():
    raw = raw_system(np.random.default_rng(48), "plain", 3, 1, 1)
    empty = Box.from_floats(np.array([1.0]), np.array([0.0]))
    box = Box.from_floats(np.array([0.0]), np.array([1.0]))
    # Empty, but by no part alone: must stay an obligation.
    low = HalfSpace(1, {0: Fraction(1)}, Fraction(-1, 4), False)
    high = HalfSpace(1, {0: Fraction(-1)}, Fraction(3, 4), False)
    cut = Intersection((box, low, high))
    row = [constraint({0: 1.0}, 1.0)]
    system = raw.build()
    problem = build_problem(system, query_of([(empty, row)], 1, 1), "float32")
    assert problem.obligations == () and confirm(problem, NothingToRefute()) == np.inf
    both = build_problem(system, query_of([(empty, row), (box, row), (cut, row)], 1, 1), "float32")
    assert len(both.obligations) == 2 and confirm(both, NothingToRefute()) is None


def test_unbounded_input_is_never_certified():
    raw = raw_system(np.random.default_rng(49), "plain", 3, 2, 1)
    half = Box.from_fractions([Fraction(0), None], [Fraction(1), Fraction(1)])
    query = query_of([(half, [constraint({0: 1.0}, 100.0)])], 2, 1)
    problem = build_problem(raw.build(), query, "float32")
    outcome = InductiveBox().run(problem, Deadline.after(5.0), NullObserver())
    assert laws.checked_margin(problem, outcome) is None


@pytest.mark.parametrize("p", [0, 1])
def test_tie_is_not_certified(p):
    """The least value of the row is exactly zero: a violation of `<= 0`, and no margin."""
    raw = raw_system(np.random.default_rng(50), "integer", p, 1, 1)
    raw = dataclasses.replace(raw, G=np.zeros((1, p)), H=np.array([[1.0]]), g=np.array([-0.5]))
    box = Box.from_floats(np.array([0.5]), np.array([1.0]))
    for strict in (False, True):
        query = query_of([(box, [constraint({0: 1.0}, 0.0, strict=strict)])], 1, 1)
        problem = build_problem(raw.build(), query, "float32")
        outcome = InductiveBox().run(problem, Deadline.after(5.0), NullObserver())
        assert laws.checked_margin(problem, outcome) is None
