"""Branch and bound on inputs: verdicts against the oracle, certificates, tampering."""

import dataclasses
from fractions import Fraction

import laws
import numpy as np
import pytest
from oracle import LinearOracle, float_fixpoint
from strategies import constraint, input_set, query_of, raw_system

from vnn_mondeq.bounds.certificate import Refutation
from vnn_mondeq.bounds.check import Rejection
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.progress import AbstractObserver, NullObserver
from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection, LqBall
from vnn_mondeq.result import CertificateCandidate, NoAnswer, Reason, Verdict, WitnessCandidate
from vnn_mondeq.search.input_bound import BoundSettings, find_empty
from vnn_mondeq.search.input_certificate import (
    Cut,
    Empty,
    InputSplitCertificate,
    Refuted,
    Region,
    restricted,
)
from vnn_mondeq.search.input_check import check_input_split, is_apart
from vnn_mondeq.search.input_engine import InputBranching
from vnn_mondeq.search.input_split import SplitSettings
from vnn_mondeq.statement import build_problem

BOX = Box.from_floats(np.array([-1.0, -0.75]), np.array([1.0, 1.25]))
GAP = 1e-2
"""Distance of the true threshold, relative to its size, at which the search must decide: far above
the oracle's tolerance and the air left for the check, near enough that cuts are needed."""


def oracle_of(raw, box: Box = BOX) -> LinearOracle:
    return LinearOracle(raw.W, raw.U, raw.b, box.lower, box.upper)


def conjunction(raw, count: int, offset: float, box=BOX):
    """One case of `count` rows, shifted together."""
    rows = [constraint({i: 1.0}, offset) for i in range(count)]
    return build_problem(raw.build(), query_of([(box, rows)], raw.d, raw.q), "float64")


def threshold(raw, count: int, box: Box = BOX) -> float:
    """The least largest row over the box: the case is violated iff `offset <= -threshold`."""
    rows = [(raw.G[i], raw.H[i], raw.g[i]) for i in range(count)]
    return oracle_of(raw, box).least_violation(rows).value


def decide(problem, seconds: float = 30.0, settings: SplitSettings | None = None):
    engine = InputBranching() if settings is None else InputBranching(settings)
    return engine.run(problem, Deadline.after(seconds), NullObserver())


def refused(problem, *trees: Region) -> bool:
    outcome = check_input_split(problem, InputSplitCertificate(trees), Deadline.never())
    return isinstance(outcome, Rejection)


# --- verdicts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ("plain", "rotating", "ill", "feed_forward", "mixed", "integer"))
def test_conjunctions_are_decided_on_both_sides_of_the_threshold(kind):
    """Three rows that no single row refutes everywhere: complete, and never wrong."""
    for seed in range(2):
        raw = raw_system(np.random.default_rng([191, seed]), kind, 3 + 2 * seed, 2, 3)
        least = threshold(raw, 3)
        gap = GAP * (1.0 + abs(least))
        holds = conjunction(raw, 3, -least + gap)
        proof = decide(holds)
        assert isinstance(proof.candidate, CertificateCandidate), (kind, seed, proof)
        assert laws.confirm(holds, proof.candidate.certificate) is not None
        violated = conjunction(raw, 3, -least - gap)
        found = decide(violated)
        assert isinstance(found.candidate, WitnessCandidate), (kind, seed, found)
        values = laws.case_values(raw, violated, laws.exactly(found.candidate.x))
        assert min(values) <= 0


def test_some_conjunction_needs_different_rows_in_different_parts():
    """What the search over phases cannot do: no single row is positive everywhere."""
    for seed in range(12):
        raw = raw_system(np.random.default_rng([193, seed]), "plain", 4, 2, 2)
        oracle = oracle_of(raw)
        rows = [(raw.G[i], raw.H[i], raw.g[i]) for i in range(2)]
        least = oracle.least_violation(rows).value
        if max(oracle.minimum(*row).value for row in rows) > least - 0.1:
            continue
        problem = conjunction(raw, 2, -least + GAP * (1.0 + abs(least)))
        outcome = decide(problem)
        assert isinstance(outcome.candidate, CertificateCandidate)
        leaves = refuted_leaves(outcome.candidate.certificate.trees[0])
        used = {int(np.argmax(leaf.refutations[0].weights)) for leaf in leaves}
        assert used == {0, 1}
        return
    raise AssertionError("no drawn conjunction needs both rows")


def refuted_leaves(tree: Region) -> list[Refuted]:
    if isinstance(tree.end, Cut):
        return refuted_leaves(tree.end.below) + refuted_leaves(tree.end.above)
    return [tree.end] if isinstance(tree.end, Refuted) else []


def test_every_drawn_query_is_decided_as_the_oracle_does():
    """Several cases, several rows, strict ones, rows on inputs: all decided, none wrong."""
    solve = laws.solve_with(InputBranching())
    verdicts = []
    for seed in range(200, 250):
        raw, inputs, problem = laws.drawn_instance(seed)
        result = solve(raw, problem)
        laws.demand_verdict(raw, inputs, problem, result)
        verdicts.append(result.verdict)
    assert set(verdicts) == {Verdict.SAT, Verdict.UNSAT}


def test_certificates_never_overstate():
    laws.law_certificates_never_overstate(InputBranching())


def test_semidefinite_leaves_are_confirmed():
    """With and without semidefinite bounds the verdicts agree; some leaf uses them."""
    kinds = set()
    for seed in range(4):
        raw = raw_system(np.random.default_rng([194, seed]), "plain", 5, 2, 1)
        least = threshold(raw, 1)
        problem = conjunction(raw, 1, -least + GAP * (1.0 + abs(least)))
        for below in (0, 5):
            settings = SplitSettings(bound=BoundSettings(semidefinite_below=below))
            outcome = decide(problem, settings=settings)
            assert isinstance(outcome.candidate, CertificateCandidate)
            certificate = outcome.candidate.certificate
            assert laws.confirm(problem, certificate) is not None
            leaves = refuted_leaves(certificate.trees[0])
            kinds |= {(below, type(r).__name__) for leaf in leaves for r in leaf.refutations}
    assert (5, "ShorRefutation") in kinds and (0, "ShorRefutation") not in kinds


@pytest.mark.parametrize("kind", ("polytope", "l2", "l1_and_box"))
def test_other_sets_are_cut_through_their_box(kind):
    """Proofs on sets inside a box are true on points of the set, and use its shape: a threshold
    that the whole bounding box would violate is proved on the set."""
    beyond_box = 0
    for seed in range(5):
        rng = np.random.default_rng([195, seed])
        raw = raw_system(rng, "plain", 4, 2, 2)
        inputs = input_set(rng, 2, kind)
        lower, upper = inputs.bounds()
        box = Box.from_floats(lower, upper)
        on_box = threshold(raw, 1, box)
        points = [x for x in rng.uniform(lower, upper, size=(3000, 2)) if inputs.contains(x)]
        if not points:
            continue
        z = [float_fixpoint(raw.W, raw.U @ x + raw.b) for x in points[:300]]
        values = [raw.G[0] @ z_ + raw.H[0] @ x + raw.g[0] for z_, x in zip(z, points, strict=False)]
        offset = -min(values) + 0.03 * (1.0 + abs(min(values)))
        problem = conjunction(raw, 1, offset, inputs)
        outcome = decide(problem, seconds=5.0)
        if isinstance(outcome.candidate, WitnessCandidate):
            continue  # the sampled minimum is not the true one
        assert isinstance(outcome.candidate, CertificateCandidate), outcome
        certificate = outcome.candidate.certificate
        assert laws.confirm(problem, certificate) is not None
        assert min(values) + offset > 0
        beyond_box += on_box + offset < 0
    assert beyond_box >= 1


def test_parts_outside_a_ball_are_proved_empty():
    """A ring of the box that only the ball excludes: its corners end as empty leaves."""
    raw = raw_system(np.random.default_rng(202), "plain", 2, 2, 1)
    raw = dataclasses.replace(raw, G=np.zeros((1, 2)), H=np.array([[0.0, 0.0]]), g=np.ones(1))
    inputs = Intersection(
        (BOX, LqBall(2, 2, np.arange(2), (Fraction(1), Fraction(1)), Fraction(1, 4)))
    )
    apart = Region(None, Empty(1, np.array([-1.0, -1.0])))
    problem = conjunction(raw, 1, 0.0, inputs)
    lower, upper = inputs.widened().bounds()
    whole = decide(problem).candidate.certificate.trees[0]
    assert isinstance(whole.end, Refuted)
    assert refused(problem, apart)
    # The lower left corner of the ball's box lies outside the ball.
    edge = float(lower[0] + 0.05)
    inner = Cut(1, float(lower[1] + 0.05), apart, whole)
    tree = Region(None, Cut(0, edge, Region(None, inner), whole))
    assert not refused(problem, tree) and tree.leaves() == 3
    wrong = dataclasses.replace(inner, value=float(upper[1] - 0.05))
    assert refused(problem, Region(None, Cut(0, edge, Region(None, wrong), whole)))


def test_points_and_flat_boxes():
    """No input varies, or one of two: zero widths are never cut."""
    for seed in range(4):
        rng = np.random.default_rng([196, seed])
        raw = raw_system(rng, "plain", 5, 2, 2)
        for upper in (np.array([0.25, 0.5]), np.array([0.25, 1.5])):
            box = Box.from_floats(np.array([0.25, 0.5]), upper)
            least = threshold(raw, 2, box)
            gap = GAP * (1.0 + abs(least))
            holds = conjunction(raw, 2, -least + gap, box)
            proof = decide(holds)
            assert isinstance(proof.candidate, CertificateCandidate)
            assert laws.confirm(holds, proof.candidate.certificate) is not None
            found = decide(conjunction(raw, 2, -least - gap, box))
            assert isinstance(found.candidate, WitnessCandidate)


def test_systems_without_neurons():
    raw = raw_system(np.random.default_rng(197), "plain", 0, 2, 2)
    raw = dataclasses.replace(raw, H=np.array([[1.0, 0.5], [-1.0, 0.5]]))
    least = threshold(raw, 2)
    holds = conjunction(raw, 2, -least + 0.01)
    proof = decide(holds)
    assert isinstance(proof.candidate, CertificateCandidate)
    assert laws.confirm(holds, proof.candidate.certificate) is not None


def test_a_case_on_the_threshold_is_left_open():
    """`y <= least` holds at one point only, with equality: neither proof nor strict witness."""
    raw = raw_system(np.random.default_rng(198), "integer", 2, 2, 1)
    raw = dataclasses.replace(raw, G=np.zeros((1, 2)), H=np.array([[1.0, 1.0]]), g=np.zeros(1))
    outcome = decide(conjunction(raw, 1, 1.75))
    assert isinstance(outcome.candidate, NoAnswer)
    assert outcome.candidate.reason is Reason.ROUNDING


def test_limits():
    raw = raw_system(np.random.default_rng([191, 2]), "rotating", 7, 2, 3)
    least = threshold(raw, 3)
    problem = conjunction(raw, 3, -least + 1e-3 * (1.0 + abs(least)))
    late = decide(problem, seconds=0.0)
    assert late.candidate.reason is Reason.TIMED_OUT
    few = decide(problem, settings=SplitSettings(boxes=3))
    assert few.candidate.reason is Reason.BOUND_TOO_LOOSE
    assert "limit of 3 sub-boxes" in few.candidate.detail
    small = decide(problem, settings=SplitSettings(memory=100))
    assert "MiB" in small.candidate.detail
    wide = raw_system(np.random.default_rng(199), "plain", 3, 13, 1)
    box = Box.from_floats(np.zeros(13), np.ones(13))
    many = decide(conjunction(wide, 1, 0.0, box))
    assert many.candidate.reason is Reason.NO_ENGINE


def test_progress_never_falls_and_ends_at_the_total():
    class Recorder(AbstractObserver):
        seen: list[float] = []  # noqa: RUF012

        def phase(self, name: str) -> None:
            self.seen.clear()

        def progress(self, done: float, total: float) -> None:
            self.seen.append(done / total)

        def event(self, kind: str, **fields: object) -> None:
            pass

    raw = raw_system(np.random.default_rng([191, 4]), "rotating", 7, 2, 3)
    least = threshold(raw, 3)
    problem = conjunction(raw, 3, -least + 1e-3 * (1.0 + abs(least)))
    recorder = Recorder()
    outcome = InputBranching().run(problem, Deadline.after(30.0), recorder)
    assert recorder.seen == sorted(recorder.seen) and recorder.seen[-1] == 1.0
    assert outcome.statistics["certified"] == 1.0


# --- certificates ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def split():
    """A problem that needs cuts, and its tree."""
    for seed in range(20):
        raw = raw_system(np.random.default_rng([192, seed]), "plain", 6, 2, 2)
        least = threshold(raw, 2)
        problem = conjunction(raw, 2, -least + 2e-3 * (1.0 + abs(least)))
        outcome = decide(problem)
        assert isinstance(outcome.candidate, CertificateCandidate)
        tree = outcome.candidate.certificate.trees[0]
        if isinstance(tree.end, Cut) and tree.leaves() >= 6:
            return problem, tree
    raise AssertionError("no drawn problem needed cuts")


def with_root(tree: Region, **changes) -> Region:
    return Region(tree.box, dataclasses.replace(tree.end, **changes))


def edited(tree: Region, change) -> Region:
    """The tree with `change` applied to its first refuted leaf."""
    if isinstance(tree.end, Cut):
        return with_root(tree, below=edited(tree.end.below, change))
    return change(tree)


def test_check_confirms_the_tree(split):
    problem, tree = split
    margin = check_input_split(problem, InputSplitCertificate((tree,)), Deadline.never())
    assert margin > 0.0
    assert str(tree.leaves()) in InputSplitCertificate((tree,)).summary()


def test_check_refuses_a_dropped_side_and_swapped_sides(split):
    problem, tree = split
    assert refused(problem, tree.end.below)
    assert refused(problem, tree.end.above)
    assert refused(problem, with_root(tree, below=tree.end.above, above=tree.end.below))
    assert refused(problem, with_root(tree, below=tree.end.above))
    assert refused(problem)
    assert refused(problem, tree, tree)


@pytest.mark.parametrize("value", (np.nan, np.inf, -np.inf, 5.0, -5.0, np.zeros(2), "0"))
def test_check_refuses_cuts_outside_their_region(split, value):
    problem, tree = split
    assert refused(problem, with_root(tree, value=value))
    for side in BOX.lower[tree.end.coordinate], BOX.upper[tree.end.coordinate]:
        assert refused(problem, with_root(tree, value=float(side)))


def test_check_refuses_cuts_elsewhere(split):
    """Moved or along another input: the leaves' proofs do not fit their regions any more."""
    problem, tree = split
    lower, upper = (side[tree.end.coordinate] for side in (BOX.lower, BOX.upper))
    moved = [with_root(tree, value=float(lower + t * (upper - lower))) for t in (0.02, 0.98)]
    assert all(refused(problem, bad) for bad in moved)
    assert refused(problem, with_root(tree, coordinate=1 - tree.end.coordinate))
    for coordinate in (-1, 2, True, np.array([0, 1])):
        assert refused(problem, with_root(tree, coordinate=coordinate))


def test_check_refuses_a_leaf_in_place_of_its_parent(split):
    """A leaf's own box does not hold on a larger region."""
    problem, tree = split
    while isinstance(tree.end, Cut):
        tree = tree.end.below
    assert tree.box is not None
    assert refused(problem, tree)


def test_check_refuses_changed_boxes(split):
    problem, tree = split

    def scaled(factor: float):
        def change(leaf: Region) -> Region:
            bounds = tuple((factor * z, factor * s) for z, s in leaf.box.bounds)
            return Region(dataclasses.replace(leaf.box, bounds=bounds), leaf.end)

        return change

    for factor in (0.3, np.nan, -1.0):
        assert refused(problem, edited(tree, scaled(factor)))

    def unbounded(leaf: Region) -> Region:
        bounds = tuple((np.full_like(z, np.inf), s) for z, s in leaf.box.bounds)
        return Region(dataclasses.replace(leaf.box, bounds=bounds), leaf.end)

    def drop(leaf: Region) -> Region:
        return Region(dataclasses.replace(leaf.box, bounds=()), leaf.end)

    def crop(leaf: Region) -> Region:
        bounds = tuple((z[:-1], s[:-1]) for z, s in leaf.box.bounds)
        return Region(dataclasses.replace(leaf.box, bounds=bounds), leaf.end)

    def far(leaf: Region) -> Region:
        return Region(dataclasses.replace(leaf.box, anchor=leaf.box.anchor + 50.0), leaf.end)

    def lost(leaf: Region) -> Region:
        return Region(dataclasses.replace(leaf.box, anchor=leaf.box.anchor[:1]), leaf.end)

    for change in (unbounded, drop, crop, far, lost):
        assert refused(problem, edited(tree, change))


def test_check_refuses_changed_refutations(split):
    problem, tree = split

    def with_refutations(*refutations):
        return lambda leaf: Region(leaf.box, Refuted(refutations))

    assert refused(problem, edited(tree, with_refutations()))
    assert refused(problem, edited(tree, lambda leaf: Region(None, leaf.end)))
    assert refused(problem, edited(tree, lambda leaf: Region(leaf.box, Empty(0, np.ones(2)))))

    def zeroed(leaf: Region) -> Region:
        (own,) = leaf.end.refutations
        other = Refutation(own.weights, np.full(problem.system.neurons, np.nan))
        return Region(leaf.box, Refuted((other,)))

    def unweighted(leaf: Region) -> Region:
        (own,) = leaf.end.refutations
        return Region(leaf.box, Refuted((dataclasses.replace(own, weights=0.0 * own.weights),)))

    assert refused(problem, edited(tree, zeroed))
    assert refused(problem, edited(tree, unweighted))


def test_check_refuses_another_problem(split):
    """The same tree for a larger box, or for a lower threshold."""
    problem, tree = split
    (obligation,) = problem.obligations
    wider = Box.from_floats(BOX.lower - 1.0, BOX.upper + 1.0)
    other = dataclasses.replace(obligation, proof_inputs=wider)
    assert refused(dataclasses.replace(problem, obligations=(other,)), tree)
    rows = dataclasses.replace(obligation.rows, error=obligation.rows.error + 10.0)
    other = dataclasses.replace(obligation, rows=rows)
    assert refused(dataclasses.replace(problem, obligations=(other,)), tree)


def test_check_keeps_the_deadline(split):
    problem, tree = split
    with pytest.raises(DeadlineExceeded):
        check_input_split(problem, InputSplitCertificate((tree,)), Deadline.after(0.0))


def test_emptiness_is_proved_only_where_it_is_true():
    """Boxes against balls and half-spaces; a common point settles the truth exactly."""
    apart = 0
    for seed in range(120):
        rng = np.random.default_rng([200, seed])
        center = tuple(Fraction(int(v), 8) for v in rng.integers(-8, 9, size=2))
        radius = Fraction(int(rng.integers(1, 9)), 8)
        part = (
            LqBall(1, 2, np.arange(2), center, radius),
            LqBall(2, 2, np.arange(2), center, radius**2),
            HalfSpace(2, {0: Fraction(1), 1: Fraction(-2)}, center[0], bool(seed % 2)),
        )[seed % 3]
        lower = rng.integers(-8, 8, size=2) / 8
        box = Box.from_floats(lower, lower + rng.integers(0, 8, size=2) / 8)
        inputs = Intersection((box, part))
        grid = np.stack(
            np.meshgrid(*(np.linspace(box.lower[i], box.upper[i], 9) for i in range(2))), -1
        ).reshape(-1, 2)
        claim = find_empty(inputs)
        if claim is not None:
            apart += 1
            assert not any(inputs.contains(x) for x in grid)
        for forged in (Empty(1, rng.normal(size=2)), Empty(1, np.full(2, np.nan))):
            assert not (is_apart(inputs, forged) and any(inputs.contains(x) for x in grid))
        assert not is_apart(inputs, Empty(0, np.ones(2)))
        assert not is_apart(inputs, Empty(2, np.ones(2)))
        assert not is_apart(box, Empty(1, np.ones(2)))
    assert apart >= 20


def test_restricted_keeps_what_is_not_a_box():
    ball = LqBall(2, 2, np.arange(2), (Fraction(0), Fraction(0)), Fraction(1))
    lower, upper = np.array([-0.5, 0.0]), np.array([0.0, 0.5])
    assert isinstance(restricted(BOX, lower, upper), Box)
    inside = restricted(Intersection((BOX, ball)), lower, upper)
    assert [type(part) for part in inside.parts] == [Box, LqBall]
    for x in np.random.default_rng(201).uniform(-1, 1, size=(300, 2)):
        within = bool(np.all((x >= lower) & (x <= upper)))
        assert inside.contains(x) == (within and ball.contains(x))
