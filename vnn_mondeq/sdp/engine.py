"""The robustness model as an engine: inductive box, then semidefinite bounds where that misses."""

import dataclasses
import time
from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy.optimize import linprog

from vnn_mondeq.bounds.attempt import Attempt
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import AbstractEngine, CertificateCandidate, NoAnswer, Outcome, Reason
from vnn_mondeq.sdp.ascent import Ascent, AscentSettings, PathPoint, ascend
from vnn_mondeq.sdp.certificate import (
    AnyRefutation,
    PairRefutation,
    ShorCertificate,
    ShorProof,
    ShorRefutation,
)
from vnn_mondeq.sdp.pair_rounds import PairSettings, tighten
from vnn_mondeq.sdp.phases import ScaledForm, scaled_form
from vnn_mondeq.sdp.set_constraints import SetConstraints, set_constraints
from vnn_mondeq.sdp.shor import Evaluation, ShorDual
from vnn_mondeq.system.implicit import ImplicitSystem

AIR = 1e-6
"""Bounds must pass the target by this much, relative to `1 + |row|`, so that the check's rounding
allowance fits in."""


@final
@dataclass(frozen=True, slots=True)
class StrengthenedShor(AbstractEngine):
    """Proves by the strengthened Shor relaxation (algorithms.md, section 5).

    - `boxes`: finds the upper bounds that strengthen the relaxation, and settles the easy cases.
    - `ascent`: how the multipliers are found.
    - `pairs`: products of pairs of neurons, for a case that misses by at most `near` times what
      the linear bound misses; `None`: without. They take minutes on hundreds of neurons.

    Of an input set that is no box, its bounding box, balls, half-spaces and quadratics are used.
    Incomplete.
    """

    boxes: InductiveBox = field(default_factory=lambda: InductiveBox(exact_within=0.0))
    ascent: AscentSettings = field(default_factory=AscentSettings)
    pairs: PairSettings | None = None
    near: float = 0.1

    @property
    def name(self) -> str:
        return "sdp" if self.pairs is None else "pairs"

    def run(self, problem: Problem, deadline: Deadline, observer: AbstractObserver) -> Outcome:
        began = time.perf_counter()
        observer.phase("semidefinite bounds")
        proofs: list[ShorProof] = []
        steps = 0
        try:
            for obligation in problem.obligations:
                deadline.check()
                attempt = self.boxes.prove(problem.system, obligation, deadline)
                if isinstance(attempt, NoAnswer):
                    return Outcome(attempt, _statistics(began, steps, -np.inf))
                proof = self._strengthen(problem.system, obligation, attempt, deadline)
                steps += proof.steps
                if proof.open_margin is not None:
                    detail = f"a case misses its proof by {-proof.open_margin:.4g}"
                    answer = NoAnswer(Reason.BOUND_TOO_LOOSE, detail)
                    return Outcome(answer, _statistics(began, steps, proof.open_margin))
                proofs.append(ShorProof(attempt.proof, proof.refutations))
                observer.progress(len(proofs), len(problem.obligations))
        except DeadlineExceeded:
            answer = NoAnswer(Reason.TIMED_OUT, "while solving semidefinite bounds")
            return Outcome(answer, _statistics(began, steps, -np.inf))
        certificate = ShorCertificate(tuple(proofs))
        return Outcome(CertificateCandidate(certificate), _statistics(began, steps, 0.0))

    def _strengthen(
        self, system: ImplicitSystem, obligation: Obligation, attempt: Attempt, deadline: Deadline
    ) -> "_Strengthened":
        """Semidefinite refutations of the cases that the box leaves open, hardest first."""
        refutations: list[AnyRefutation] = list(attempt.proof.refutations)
        order = np.argsort(attempt.margins)
        open_cases = [int(c) for c in order if not attempt.margins[c] > 0.0]
        if not open_cases:
            return _Strengthened(tuple(refutations), 0, None)
        if len(refutations) < len(obligation.cases) or not attempt.proof.rounds:
            return _Strengthened((), 0, float(attempt.margins[open_cases[0]]))
        last = attempt.proof.rounds[-1]
        lower, upper = obligation.proof_inputs.bounds()
        form = scaled_form(system, lower, upper, last.upper_z, last.upper_s)
        if form.e.size == 0:
            # No undecided neuron: the row is affine in the inputs, and its bound already exact.
            return _Strengthened((), 0, float(attempt.margins[open_cases[0]]))
        steps = 0
        for case in open_cases:
            deadline.check()
            weights = refutations[case].weights
            found = bound_case(obligation, form, case, weights, self.ascent, deadline)
            if found is None:
                return _Strengthened((), steps, float(attempt.margins[case]))
            steps += found.steps
            if self.pairs is not None and self.near * attempt.margins[case] <= found.margin <= 0.0:
                weights = found.refutation.weights
                closer = tighten_case(obligation, form, case, weights, self.pairs, deadline)
                found = found if closer is None else closer
                steps += found.steps
            if not found.margin > 0.0:
                return _Strengthened((), steps, found.margin)
            refutations[case] = found.refutation
        return _Strengthened(tuple(refutations), steps, None)


def bound_case(
    obligation: Obligation,
    form: ScaledForm,
    case: int,
    weights: np.ndarray,
    settings: AscentSettings,
    deadline: Deadline,
    start: PathPoint | None = None,
) -> "CaseBound | None":
    """The semidefinite bound of a case; `None` if no start is feasible.

    - `weights`: of the case's rows, non-negative, the first to try. Where they do not suffice,
      others follow (`ROW_GAMES`).
    - `start`: where to enter the path of those first weights.
    """
    model = _CaseModel.of(obligation, form, case)
    best = model.bound(weights, settings, deadline, start)
    if best is None or weights.size == 1:
        return best
    steps, values = best.steps, [model.values(best.point)]
    for _ in range(ROW_GAMES):
        following = _best_reply(np.array(values))
        if best.margin > 0.0 or following is None or deadline.expired:
            break
        found = model.bound(following, settings, deadline)
        if found is None:
            break
        steps += found.steps
        values.append(model.values(found.point))
        best = max(best, found, key=lambda bound: bound.margin)
    return dataclasses.replace(best, steps=steps)


def tighten_case(
    obligation: Obligation,
    form: ScaledForm,
    case: int,
    weights: np.ndarray,
    settings: PairSettings,
    deadline: Deadline,
) -> "CaseBound | None":
    """The bound of a combination of a case's rows with products of pairs; `None` if no start is
    feasible."""
    model = _CaseModel.of(obligation, form, case)
    dual, target = model.dual(weights)
    tightened = tighten(dual, target, settings, deadline)
    if tightened is None:
        return None
    found = tightened.found
    plain = model.refuted(weights, target, found)
    pairs = tightened.dual.pairs
    if pairs is None:
        return plain
    products, count = plain.refutation.products, pairs.count
    whole = PairRefutation(
        dataclasses.replace(plain.refutation, products=products[:-count].copy()),
        pairs.left,
        pairs.right,
        products[-count:].copy(),
    )
    return dataclasses.replace(plain, refutation=whole)


ROW_GAMES = 12
"""Weights tried for a case of several rows. The bound is convex in the weights, and its slope there
is what the rows are worth at the stationary point: cutting planes (Kelley 1960)."""


def _best_reply(values: np.ndarray) -> np.ndarray | None:
    """Weights that make the largest of the planes `values (rounds, rows)` least; `None` where even
    that is not negative, so that no weights can succeed."""
    rounds, rows = values.shape
    cost = np.concatenate([np.zeros(rows), [1.0]])
    answer = linprog(
        cost,
        A_ub=np.hstack([values, -np.ones((rounds, 1))]),
        b_ub=np.zeros(rounds),
        A_eq=np.concatenate([np.ones(rows), [0.0]])[None],
        b_eq=[1.0],
        bounds=[(0.0, None)] * rows + [(None, None)],
    )
    if answer.status != 0 or answer.fun >= 0.0:
        return None
    weights = np.maximum(answer.x[:rows], 0.0)
    return weights / weights.sum()


@final
@dataclass(frozen=True, slots=True, eq=False)
class _CaseModel:
    """The relaxation of a case, for any combination of its rows: `on_z (r, k)`, `on_x (r, n)` and
    `constant (r,)` of minus the rows, their errors added."""

    form: ScaledForm
    beyond: SetConstraints
    on_z: np.ndarray
    on_x: np.ndarray
    constant: np.ndarray

    @classmethod
    def of(cls, obligation: Obligation, form: ScaledForm, case: int) -> "_CaseModel":
        rows = np.array(obligation.cases[case], dtype=int)
        chosen = obligation.rows.coefficients.take(rows)
        forms = [form.row(-z, -x) for z, x in zip(chosen.on_z, chosen.on_x, strict=True)]
        on_z, on_x, constant = (np.array(part) for part in zip(*forms, strict=True))
        beyond = set_constraints(obligation.proof_inputs, form.center, form.half, form.varying)
        constant = constant - chosen.offset + obligation.rows.error[rows]
        return cls(form, beyond, on_z, on_x, constant)

    def values(self, point: Evaluation) -> np.ndarray:
        """Minus the rows `(r,)` at a stationary point."""
        return self.on_z @ point.z + self.on_x @ point.x + self.constant

    def bound(
        self,
        weights: np.ndarray,
        settings: AscentSettings,
        deadline: Deadline,
        start: PathPoint | None = None,
    ) -> "CaseBound | None":
        dual, target = self.dual(weights)
        found = ascend(dual, target, settings, deadline, start)
        return None if found is None else self.refuted(weights, target, found)

    def dual(self, weights: np.ndarray) -> tuple[ShorDual, float]:
        """The relaxation of a combination of the rows, and the bound that refutes the case."""
        form, constant = self.form, float(weights @ self.constant)
        objective = weights @ self.on_z, weights @ self.on_x
        dual = ShorDual(form.A, form.B, form.e, *objective, self.beyond)
        return dual, -constant - AIR * (1.0 + abs(constant))

    def refuted(self, weights: np.ndarray, target: float, found: Ascent) -> "CaseBound":
        """What was found, with the multipliers of the set's own constraints."""
        form, multipliers = self.form, found.best.multipliers
        refutation = ShorRefutation(
            weights,
            multipliers.sigma,
            multipliers.products,
            self.beyond.multipliers(multipliers.beyond),
            form.scale_z,
            form.scale_s,
        )
        return CaseBound(refutation, target - found.best.bound, found.best, found.last, found.steps)


@final
@dataclass(frozen=True, slots=True, eq=False)
class CaseBound:
    """`margin > 0`: the refutation holds, in plain float64. `point`: where the bound is attained in
    the relaxation; `last`: where the path was left; `steps`: Newton steps spent."""

    refutation: ShorRefutation | PairRefutation
    margin: float
    point: Evaluation
    last: PathPoint
    steps: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Strengthened:
    """Refutations of all cases, or the margin by which the first open case misses."""

    refutations: tuple[AnyRefutation, ...]
    steps: int
    open_margin: float | None


def _statistics(began: float, steps: int, margin: float) -> dict[str, float]:
    return {"seconds": time.perf_counter() - began, "steps": float(steps), "margin": margin}
