"""The robustness model as an engine: inductive box, then semidefinite bounds where that misses."""

import time
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import Refutation
from vnn_mondeq.bounds.engine import Attempt, InductiveBox
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import AbstractEngine, CertificateCandidate, NoAnswer, Outcome, Reason
from vnn_mondeq.sdp.ascent import AscentSettings, ascend
from vnn_mondeq.sdp.certificate import ShorCertificate, ShorProof, ShorRefutation
from vnn_mondeq.sdp.phases import ScaledForm, scaled_form
from vnn_mondeq.sdp.set_constraints import set_constraints
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

    Of an input set that is no box, its bounding box, balls and half-spaces are used. Incomplete.
    """

    boxes: InductiveBox = field(default_factory=lambda: InductiveBox(exact_within=0.0))
    ascent: AscentSettings = field(default_factory=AscentSettings)

    @property
    def name(self) -> str:
        return "sdp"

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
        refutations: list[Refutation | ShorRefutation] = list(attempt.proof.refutations)
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
) -> "CaseBound | None":
    """The semidefinite bound of one case's combined row; `None` if no start is feasible.

    - `weights`: of the case's rows, non-negative.
    """
    rows = np.array(obligation.cases[case], dtype=int)
    combined = obligation.rows.coefficients.take(rows).combine(weights[None, :])
    on_z, on_x, constant = form.row(-combined.on_z[0], -combined.on_x[0])
    constant += float(-combined.offset[0] + weights @ obligation.rows.error[rows])
    beyond = set_constraints(obligation.proof_inputs, form.center, form.half, form.varying)
    dual = ShorDual(form.A, form.B, form.e, on_z, on_x, beyond)
    target = -constant - AIR * (1.0 + abs(constant))
    found = ascend(dual, target, settings, deadline)
    if found is None:
        return None
    multipliers = found.best.multipliers
    refutation = ShorRefutation(
        weights,
        multipliers.sigma,
        multipliers.products,
        beyond.multipliers(multipliers.beyond),
        form.scale_z,
        form.scale_s,
    )
    return CaseBound(refutation, target - found.best.bound, found.best, found.steps)


@final
@dataclass(frozen=True, slots=True, eq=False)
class CaseBound:
    """`margin > 0`: the refutation holds, in plain float64. `point`: where the bound is attained in
    the relaxation; `steps`: Newton steps spent."""

    refutation: ShorRefutation
    margin: float
    point: Evaluation
    steps: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Strengthened:
    """Refutations of all cases, or the margin by which the first open case misses."""

    refutations: tuple[Refutation | ShorRefutation, ...]
    steps: int
    open_margin: float | None


def _statistics(began: float, steps: int, margin: float) -> dict[str, float]:
    return {"seconds": time.perf_counter() - began, "steps": float(steps), "margin": margin}
