"""Branch and bound: verdicts against the oracle, certificates, tampering."""

import dataclasses
from fractions import Fraction

import laws
import numpy as np
import pytest
from oracle import LinearOracle
from strategies import constraint, query_of, raw_system
from tolerances import ORACLE_RELATIVE

from vnn_mondeq.bounds.check import Rejection
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection
from vnn_mondeq.result import CertificateCandidate, Reason, WitnessCandidate
from vnn_mondeq.search.certificate import Node, Split, TreeCertificate, Vacant
from vnn_mondeq.search.check import check_tree
from vnn_mondeq.search.engine import PhaseBranching
from vnn_mondeq.statement import build_problem

BOX = Box.from_floats(np.array([-1.0, -0.75]), np.array([1.0, 1.25]))
SMALLEST_MARGIN = 1e-3
"""Distance of the true minimum from zero at which the search must decide: above the air that
bounds leave for the check (1e-6 relative) and the oracle's own tolerance."""


def one_row(raw, offset: float):
    query = query_of([(BOX, [constraint({0: 1.0}, offset)])], raw.d, raw.q)
    return build_problem(raw.build(), query, "float64")


def exact_minimum(raw) -> float:
    oracle = LinearOracle(raw.W, raw.U, raw.b, BOX.lower, BOX.upper)
    return oracle.minimum(raw.G[0], raw.H[0], raw.g[0]).value


@pytest.mark.parametrize("kind", ("plain", "strongly", "feed_forward", "mixed", "integer"))
def test_search_decides_every_one_row_case(kind):
    """Both sides of the exact minimum, by little: complete, and never wrong."""
    decided = 0
    for seed in range(5):
        rng = np.random.default_rng([91, seed])
        raw = raw_system(rng, kind, 3 + seed, 2, 1)
        truth = exact_minimum(raw)
        gap = SMALLEST_MARGIN * (1.0 + abs(truth)) + ORACLE_RELATIVE * (1.0 + abs(truth))
        boxes = InductiveBox(exact_within=0.0)
        problem = one_row(raw, -truth + gap)
        attempt = boxes.prove(problem.system, problem.obligations[0], Deadline.never())
        if not hasattr(attempt, "proof"):
            continue
        proof = PhaseBranching().run(problem, Deadline.after(20.0), NullObserver())
        assert isinstance(proof.candidate, CertificateCandidate), (kind, seed, proof)
        assert laws.confirm(problem, proof.candidate.certificate) is not None
        broken = PhaseBranching().run(
            one_row(raw, -truth - gap), Deadline.after(20.0), NullObserver()
        )
        assert isinstance(broken.candidate, WitnessCandidate), (kind, seed, broken)
        decided += 1
    assert decided >= 3


def test_tree_certificates_never_overstate():
    laws.law_certificates_never_overstate(PhaseBranching())


@pytest.fixture(scope="module")
def split():
    """A problem that needs a split, and its certificate."""
    for seed in range(60):
        rng = np.random.default_rng([92, seed])
        raw = raw_system(rng, "plain", 6, 2, 1)
        truth = exact_minimum(raw)
        problem = one_row(raw, -truth + 2e-3 * (1.0 + abs(truth)))
        outcome = PhaseBranching().run(problem, Deadline.after(20.0), NullObserver())
        if not isinstance(outcome.candidate, CertificateCandidate):
            continue
        certificate = outcome.candidate.certificate
        if isinstance(certificate.proofs[0].trees[0].closing, Split):
            return problem, certificate
    raise AssertionError("no drawn problem needed a split")


def with_tree(certificate: TreeCertificate, tree: Node) -> TreeCertificate:
    return TreeCertificate((dataclasses.replace(certificate.proofs[0], trees=(tree,)),))


def refused(problem, certificate) -> bool:
    return isinstance(check_tree(problem, certificate, Deadline.never()), Rejection)


def test_check_confirms_a_split(split):
    problem, certificate = split
    assert check_tree(problem, certificate, Deadline.never()) > 0.0
    assert certificate.proofs[0].trees[0].leaves() >= 2


def test_check_refuses_one_child_in_place_of_the_split(split):
    """Dropping a child leaves its fixpoints unproved, unless the other's proof covers them too."""
    problem, certificate = split
    tree = certificate.proofs[0].trees[0]
    swapped = Split(tree.closing.neuron, tree.closing.active, tree.closing.inactive)
    assert refused(problem, with_tree(certificate, Node(tree.rounds, swapped)))
    for child in (tree.closing.inactive, tree.closing.active):
        assert refused(problem, with_tree(certificate, child))


def test_check_refuses_splits_on_no_neuron_and_false_vacancy(split):
    problem, certificate = split
    tree = certificate.proofs[0].trees[0]
    p = problem.system.neurons
    for neuron in (-1, p):
        bad = Split(neuron, tree.closing.inactive, tree.closing.active)
        assert refused(problem, with_tree(certificate, Node(tree.rounds, bad)))
    box = certificate.proofs[0].box.rounds[-1]
    for neuron in range(-1, p + 1):
        assert refused(problem, with_tree(certificate, Node((box,), Vacant(neuron))))
        assert refused(problem, with_tree(certificate, Node((), Vacant(neuron))))


def test_check_refuses_missing_trees_and_a_smaller_root_box(split):
    problem, certificate = split
    proof = certificate.proofs[0]
    assert refused(problem, TreeCertificate((dataclasses.replace(proof, trees=()),)))
    assert refused(problem, TreeCertificate(()))
    last = proof.box.rounds[-1]
    smaller = dataclasses.replace(last, upper_z=0.5 * last.upper_z, upper_s=0.5 * last.upper_s)
    box = dataclasses.replace(proof.box, rounds=(*proof.box.rounds[:-1], smaller))
    assert refused(problem, TreeCertificate((dataclasses.replace(proof, box=box),)))


def test_check_refuses_a_child_round_that_claims_too_much(split):
    problem, certificate = split
    tree = certificate.proofs[0].trees[0]
    child = tree.closing.inactive
    claim = child.rounds[-1]
    lower = dataclasses.replace(claim, upper_z=0.3 * claim.upper_z, upper_s=0.3 * claim.upper_s)
    forged = Node((*child.rounds[:-1], lower), child.closing)
    bad = Split(tree.closing.neuron, forged, tree.closing.active)
    assert refused(problem, with_tree(certificate, Node(tree.rounds, bad)))


def test_engine_and_check_keep_the_deadline(split):
    problem, certificate = split
    late = PhaseBranching().run(problem, Deadline.after(0.0), NullObserver())
    assert late.candidate.reason is Reason.TIMED_OUT
    with pytest.raises(DeadlineExceeded):
        check_tree(problem, certificate, Deadline.after(0.0))


@pytest.mark.parametrize("kind", ("plain", "feed_forward", "mixed"))
def test_search_decides_one_row_over_a_box_and_a_half_space(kind):
    """Both sides of the exact minimum, by little, as over a box."""
    side = HalfSpace(2, {0: Fraction(1), 1: Fraction(3, 2)}, Fraction(-1, 5), strict=False)
    for seed in range(3):
        raw = raw_system(np.random.default_rng([93, seed]), kind, 4 + seed, 2, 1)
        A, c = np.array([[1.0, 1.5]]), np.array([0.2])
        oracle = LinearOracle(raw.W, raw.U, raw.b, BOX.lower, BOX.upper, A, c)
        truth = oracle.minimum(raw.G[0], raw.H[0], raw.g[0]).value
        gap = 10.0 * SMALLEST_MARGIN * (1.0 + abs(truth))
        for offset, expected in ((gap, CertificateCandidate), (-gap, WitnessCandidate)):
            row = constraint({0: 1.0}, offset - truth)
            query = query_of([(Intersection((BOX, side)), [row])], raw.d, raw.q)
            problem = build_problem(raw.build(), query, "float64")
            outcome = PhaseBranching().run(problem, Deadline.after(20.0), NullObserver())
            assert isinstance(outcome.candidate, expected), (kind, seed, offset, outcome)
            if expected is CertificateCandidate:
                assert laws.confirm(problem, outcome.candidate.certificate) is not None
