"""Certificates forged on purpose, for queries that are truly violated: none may be confirmed.

An engine proves a query; the query is then shifted until some input violates it, by exact
rationals, and the certificate is changed at random in whatever way makes the check's own margin
rise. Any confirmation would be a false `unsat`.
"""

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from fractions import Fraction

import laws
import numpy as np
import pytest
from numpy.linalg import LinAlgError
from strategies import query_of, raw_system

from vnn_mondeq.bounds.certificate import (
    BoxRound,
    InductiveBoxCertificate,
    ObligationProof,
    Refutation,
)
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.craft.engine import Craft
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.gate import Gate, Rejection
from vnn_mondeq.problem import Problem
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.query.query import LinearConstraint
from vnn_mondeq.result import AbstractCertificate, CertificateCandidate, CheckedCertificate
from vnn_mondeq.sdp.ellipsoid_engine import EllipsoidEngine
from vnn_mondeq.sdp.engine import StrengthenedShor
from vnn_mondeq.sdp.lipschitz_engine import LipschitzEngine
from vnn_mondeq.search.certificate import Node, Split, TreeCertificate, TreeProof
from vnn_mondeq.search.engine import PhaseBranching
from vnn_mondeq.search.input_engine import InputBranching
from vnn_mondeq.statement import build_problem
from vnn_mondeq.system.implicit import dense_system

ENGINES = {
    "boxes": InductiveBox(),
    "craft": Craft(),
    "shor": StrengthenedShor(),
    "search": PhaseBranching(),
    "lipschitz": LipschitzEngine(),
    "ellipsoid": EllipsoidEngine(),
    "split": InputBranching(),
}
KINDS = ("plain", "integer", "feed_forward", "strongly", "mixed")

PROVED_BY = (1e-3, 0.1, 1.0, 5.0, 30.0)
"""Margins, relative to `1 + |minimum|`, tried until the engine proves the query."""

VIOLATED_BY = (Fraction(0), Fraction(1, 10**14), Fraction(1, 10**9), Fraction(1, 10**3))
"""The same for the shifted queries; with zero the violation is an equality of `<=`."""

SPECIAL = (0.0, -0.0, 5e-324, -5e-324, 1e-300, 1e300, -1e300, 1.7e308, np.inf, -np.inf, np.nan)

TRIALS = 160
"""Forgeries for each engine and seed; a second and a half on two cores."""


# --- queries with a known answer ---------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Target:
    """A system, a box, and an input at which output 0 has exactly the value `least`."""

    raw: object
    box: Box
    least: Fraction

    def problem(self, slack: Fraction) -> Problem:
        """`y_0 - least + slack <= 0`: violated at the input unless `slack > 0`."""
        row = LinearConstraint({}, {0: Fraction(1)}, slack - self.least, False)
        query = query_of([(self.box, [row])], self.raw.d, self.raw.q)
        return build_problem(self.raw.build(), query, "float64")

    def scaled(self, relative: Fraction) -> Fraction:
        return relative * (1 + abs(self.least))


def drawn_target(seed: int) -> Target:
    rng = np.random.default_rng([151, seed])
    raw = raw_system(rng, KINDS[seed % len(KINDS)], 2 + seed % 4, 2, 1)
    middle = np.round(4.0 * rng.normal(size=2)) / 8.0
    box = Box.from_floats(middle - 0.25, middle + 0.5)
    lowest = laws.oracle_of(raw, box).minimum(raw.G[0], raw.H[0], raw.g[0])
    return Target(raw, box, laws.exact_outputs(raw, laws.exactly(lowest.x))[0])


def genuine(engine, target: Target) -> tuple[Problem, AbstractCertificate] | None:
    """The tightest query of `PROVED_BY` that the engine proves, and its certificate."""
    for relative in PROVED_BY:
        problem = target.problem(target.scaled(Fraction(relative)))
        candidate = engine.run(problem, Deadline.after(5.0), NullObserver()).candidate
        if not isinstance(candidate, CertificateCandidate):
            continue
        if isinstance(judged(problem, candidate.certificate), CheckedCertificate):
            return problem, candidate.certificate
    return None


def judged(problem: Problem, certificate: AbstractCertificate) -> CheckedCertificate | Rejection:
    gate = Gate(problem, "float64", lambda: None)
    with np.errstate(all="ignore"):
        return gate.confirm_certificate(certificate, Deadline.after(2.0))


def height(problem: Problem, certificate: AbstractCertificate) -> float | None:
    """The margin that the check names; infinite for a confirmation, `None` for a bad form.

    A certificate that no engine and no file could hold may also end in an error: it is not
    confirmed either.
    """
    refused = (LinAlgError, TypeError, ValueError, IndexError, AttributeError, DeadlineExceeded)
    with contextlib.suppress(*refused):
        found = judged(problem, certificate)
        if isinstance(found, CheckedCertificate):
            return np.inf
        named = re.search(r"(?:margin is |not refuted \()(-?[\d.]+(?:e[-+]?\d+)?)", found.detail)
        return float(named[1]) if named else None
    return None


# --- forgeries ---------------------------------------------------------------------------------


def places(value: object, path: tuple = ()) -> Iterator[tuple[tuple, object]]:
    """Every array, number and tuple of a certificate, with the way to it."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from places(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, tuple):
        yield path, value
        for index, item in enumerate(value):
            yield from places(item, (*path, index))
    elif isinstance(value, np.ndarray | int | float):
        yield path, value


def replaced(value: object, path: tuple, new: object) -> object:
    if not path:
        return new
    step, *rest = path
    if isinstance(step, str):
        inner = replaced(getattr(value, step), tuple(rest), new)
        return dataclasses.replace(value, **{step: inner})
    inner = replaced(value[step], tuple(rest), new)
    return (*value[:step], inner, *value[step + 1 :])


def forged(value: object, rng: np.random.Generator, donors: list[object]) -> object:
    """Another value for a place of a certificate."""
    if isinstance(value, tuple):
        turns = (value[:-1], value[1:], value + value[-1:], value[::-1], value + value, ())
        return turns[int(rng.integers(len(turns)))]
    if isinstance(value, np.ndarray) and value.size:
        return forged_array(value, rng, donors)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return [value - 1, value + 1, 0, -1, True, 0.5, 200][int(rng.integers(7))]
    if isinstance(value, float):
        options = (value * 10.0 ** rng.integers(-9, 10), -value, *SPECIAL)
        return options[int(rng.integers(len(options)))]
    return value


def forged_array(array: np.ndarray, rng: np.random.Generator, donors: list[object]) -> np.ndarray:
    new = array.copy()
    exponent = rng.uniform(-14, 1)
    match int(rng.integers(11)):
        case 0:
            new = new * 10.0 ** rng.integers(-12, 13)
        case 1:
            new = new * (1.0 - 10.0**exponent)
        case 2 | 3 | 4:
            noise = rng.normal(size=new.shape) * (rng.random(new.shape) < 0.4)
            new = new + 10.0**exponent * noise * (1.0 + np.abs(new))
        case 5:
            new = new.astype(np.float64)
            new.flat[int(rng.integers(new.size))] = SPECIAL[int(rng.integers(len(SPECIAL)))]
        case 6:
            new = rng.permutation(new.reshape(-1)).reshape(new.shape)
        case 7:
            new = new * (rng.random(new.shape) < 0.7)
        case 8:
            kinds = (np.float32, np.complex128, object, np.int64)
            new = new.astype(kinds[int(rng.integers(len(kinds)))])
        case 9:
            alike = [d for d in donors if isinstance(d, np.ndarray) and d.shape == new.shape]
            new = alike[int(rng.integers(len(alike)))] if alike else -new
        case _:
            new = np.concatenate([new, new]) if rng.random() < 0.5 else new[:-1]
    return new


def climb(
    problem: Problem,
    start: AbstractCertificate,
    rng: np.random.Generator,
    donors: list[object],
    trials: int,
) -> float:
    """The highest margin that forgeries reach; infinite as soon as one is confirmed."""
    best, at = start, height(problem, start)
    at = -np.inf if at is None else at
    with np.errstate(all="ignore"):
        for _ in range(trials):
            trial = best
            for _ in range(int(rng.integers(1, 4))):
                found = list(places(trial))
                path, value = found[int(rng.integers(len(found)))]
                trial = replaced(trial, path, forged(value, rng, donors))
            reached = height(problem, trial)
            if reached is not None and reached >= at:
                best, at = trial, reached
            if at == np.inf:
                return at
    return at


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("name", ENGINES)
def test_no_forgery_confirms_a_violated_query(name):
    attacked = 0
    others: list[object] = []
    for seed in range(4):
        target = drawn_target(seed)
        proved = genuine(ENGINES[name], target)
        if proved is None:
            continue
        own = [value for _, value in places(proved[1])]
        rng = np.random.default_rng([152, seed])
        for relative in VIOLATED_BY:
            violated = target.problem(-target.scaled(relative))
            assert violated.obligations[0].rows.error.size == 1
            reached = climb(violated, proved[1], rng, own + others, TRIALS // len(VIOLATED_BY))
            assert reached < np.inf, (name, seed, relative)
            attacked += 1
        others += own
    assert attacked >= 8


# --- forgeries by design -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def violated_problem():
    """A violated query with a split tree's parts at hand: `(problem, box proof, refutation)`."""
    target = drawn_target(0)
    _, certificate = genuine(ENGINES["boxes"], target)
    proof = certificate.proofs[0]
    return target.problem(-target.scaled(Fraction(1, 10**6))), proof, proof.refutations[0]


def is_confirmed(problem: Problem, certificate: AbstractCertificate) -> bool:
    return height(problem, certificate) == np.inf


def test_box_around_the_anchors_fixpoint_alone_is_refused(violated_problem):
    """At the anchor a tiny box is true, and there the query holds; on the set it does not."""
    problem, proof, refutation = violated_problem
    first = proof.rounds[0]
    p = problem.system.neurons
    x = problem.obligations[0].inputs.bounds()[1]
    z = np.array([float(v) for v in _fixpoint(problem, x)])
    s = z - (problem.system.W @ z + problem.system.U @ x + problem.system.b)
    for width in (0.0, 5e-324, 1e-15, 1e-9, 1e-3):
        for multipliers in (first.for_z, np.zeros((p, p)), 1e300 * np.eye(p), -first.for_z):
            upper_z = np.maximum(np.where(z > 1e-12, z, 0.0) * (1.0 + width), 0.0)
            upper_s = np.maximum(np.where(s > 1e-12, s, 0.0) * (1.0 + width), 0.0)
            claim = BoxRound(upper_z, upper_s, multipliers, first.for_s)
            forgery = InductiveBoxCertificate((ObligationProof(x, (claim,), (refutation,)),))
            assert not is_confirmed(problem, forgery)


def _fixpoint(problem: Problem, x: np.ndarray) -> list[Fraction]:
    from oracle import exact_fixpoint

    system = problem.system
    return exact_fixpoint(system.W, system.U, system.b, laws.exactly(x))


@pytest.mark.parametrize(
    "weights",
    [[1.7e308], [5e-324], [0.0], [-1.0], [np.nan], [np.inf], [1e308, 1e308], []],
)
def test_weights_at_the_ends_of_the_range_prove_nothing(violated_problem, weights):
    problem, proof, refutation = violated_problem
    p = problem.system.neurons
    for multipliers in (refutation.multipliers, np.zeros(p), np.full(p, 1.7e308)):
        forgery = Refutation(np.array(weights), multipliers)
        changed = dataclasses.replace(proof, refutations=(forgery,))
        assert not is_confirmed(problem, InductiveBoxCertificate((changed,)))


@pytest.mark.parametrize("neuron", [True, np.True_, -1, np.array([0, 1]), slice(None), 0.5])
def test_split_on_what_is_no_neuron_does_not_decide_many(neuron):
    """`upper_z[True] = 0` sets the whole box to zero, in one child `z` and in the other `s`.

    `y = 0.6 - ReLU(x) - ReLU(-x)` is positive where all neurons have one phase and negative at 1.
    """
    eye, ones = np.eye(2), np.ones(2)
    system = dense_system(
        np.zeros((2, 2)), np.array([[1.0], [-1.0]]), np.zeros(2), -np.ones((1, 2)), np.array([0.6])
    )
    box = Box.from_floats(-np.ones(1), np.ones(1))
    row = LinearConstraint({}, {0: Fraction(1)}, Fraction(0), False)
    problem = build_problem(system, query_of([(box, [row])], 1, 1), "float64")
    claim = BoxRound(1.125 * ones, 1.125 * ones, eye, -eye)
    proof = ObligationProof(np.zeros(1), (claim,), ())
    leaves = [Node((), Refutation(np.ones(1), y)) for y in (np.zeros(2), ones)]
    assert not is_confirmed(
        problem, TreeCertificate((TreeProof(proof, (Node((), Split(neuron, *leaves)),)),))
    )


def test_deep_trees_of_the_same_split_prove_nothing(violated_problem):
    problem, proof, refutation = violated_problem
    tree = Node((), refutation)
    for depth in range(400):
        tree = Node((), Split(depth % problem.system.neurons, Node((), refutation), tree))
    assert not is_confirmed(problem, TreeCertificate((TreeProof(proof, (tree,)),)))


@pytest.mark.parametrize("step", [0.5, 1e-9, True, -1, 10**9])
def test_craft_claims_that_no_step_reads_prove_nothing(step):
    """Two cases, one of them violated: its claim must not be skipped."""
    target = drawn_target(0)
    problem, certificate = genuine(ENGINES["craft"], target)
    row = problem.query.cases[0].constraints[0]
    violated = dataclasses.replace(row, offset=-target.least)
    query = query_of([(target.box, [row]), (target.box, [violated])], target.raw.d, target.raw.q)
    both = build_problem(target.raw.build(), query, "float64")
    (trace,) = certificate.traces
    claim = dataclasses.replace(trace.claims[0], case=1, row=1, step=step, multipliers=None)
    forgery = dataclasses.replace(trace, claims=(trace.claims[0], claim))
    assert not is_confirmed(both, dataclasses.replace(certificate, traces=(forgery,)))


# --- scales at which squares underflow ---------------------------------------------------------


@pytest.mark.parametrize("factor", [1e-160, 1e-200, 1e-290])
def test_constraints_in_tiny_units_keep_the_model_error(factor):
    """The same constraint in other units has the same error, in those units."""
    target = drawn_target(0)
    system = target.raw.build()
    radius = dataclasses.replace(
        system.preactivation, radius=_like(system.preactivation.coefficients, 1e-9)
    )
    inexact = dataclasses.replace(system, preactivation=radius)
    errors = []
    for unit in (1.0, factor):
        row = LinearConstraint({}, {0: Fraction(unit)}, Fraction(0), False)
        query = query_of([(target.box, [row])], target.raw.d, target.raw.q)
        errors.append(build_problem(inexact, query, "float64").obligations[0].rows.error[0] / unit)
    assert errors[1] >= errors[0] * (1.0 - 1e-9)


def _like(coefficients, value: float):
    parts = (coefficients.on_z, coefficients.on_x, coefficients.offset)
    return type(coefficients)(*(np.full(part.shape, value) for part in parts))


@pytest.mark.parametrize("scale", [1e-160, 1e-250, 1e-300])
def test_tiny_systems_are_not_proved_past_their_rounding(scale):
    """Inputs and offsets of size `scale`: equality is attained, so nothing may be proved."""
    for seed in range(6):
        target = drawn_target(seed)
        raw = dataclasses.replace(target.raw, b=target.raw.b * scale, g=target.raw.g * scale)
        lower, upper = (side * scale for side in target.box.bounds())
        box = Box.from_floats(lower, upper)
        corner = np.where(np.arange(2) == seed % 2, lower, upper)
        value = laws.exact_outputs(raw, laws.exactly(corner))[0]
        row = LinearConstraint({}, {0: Fraction(1)}, -value, False)
        problem = build_problem(raw.build(), query_of([(box, [row])], 2, 1), "float64")
        for engine in (ENGINES["boxes"], ENGINES["craft"], ENGINES["lipschitz"]):
            with np.errstate(all="ignore"):
                outcome = engine.run(problem, Deadline.after(2.0), NullObserver())
            if isinstance(outcome.candidate, CertificateCandidate):
                assert not is_confirmed(problem, outcome.candidate.certificate)
