"""Cases refuted by a margin at the centre that is larger than how far the row can move.

The Lipschitz bound is local: over the obligation's own region (half-widths of its box, or the
radius of its ball), with the secant slopes that an inductive box allows from the centre.
"""

import time
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import ObligationProof
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import AbstractEngine, CertificateCandidate, NoAnswer, Outcome, Reason
from vnn_mondeq.sdp.lipschitz_certificate import (
    LipschitzCertificate,
    LipschitzProof,
    LipschitzRefutation,
)
from vnn_mondeq.sdp.lipschitz_increments import Increments, Slopes, increments
from vnn_mondeq.sdp.lipschitz_region import Region
from vnn_mondeq.sdp.lipschitz_row import PathSettings, RowMultipliers, minimise_row
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolver

AIR = 1e-5
"""Bounds must pass their target by this much, relative to `1 + |target|`: room for the check."""


@final
@dataclass(frozen=True, slots=True)
class LipschitzEngine(AbstractEngine):
    """Proves by local Lipschitz bounds; of L2 and L∞ sets alike. Incomplete; refutes nothing.

    - `boxes`: finds the bounds that narrow the slopes; without success all slopes are in [0, 1].
    - `path`: how the multipliers are found.
    """

    boxes: InductiveBox = field(default_factory=lambda: InductiveBox(exact_within=0.0))
    path: PathSettings = field(default_factory=PathSettings)

    @property
    def name(self) -> str:
        return "lipschitz"

    def run(self, problem: Problem, deadline: Deadline, observer: AbstractObserver) -> Outcome:
        began = time.perf_counter()
        observer.phase("Lipschitz bounds")
        proofs: list[LipschitzProof] = []
        worst = np.inf
        try:
            for obligation in problem.obligations:
                deadline.check()
                found = self._prove(problem.system, obligation, deadline)
                if isinstance(found, NoAnswer):
                    return Outcome(found, _statistics(began, worst))
                worst = min(worst, found.margin)
                if not worst > 0.0:
                    detail = f"a case misses its proof by {-worst:.4g}"
                    answer = NoAnswer(Reason.BOUND_TOO_LOOSE, detail)
                    return Outcome(answer, _statistics(began, worst))
                proofs.append(found.proof)
                observer.progress(len(proofs), len(problem.obligations))
        except DeadlineExceeded:
            answer = NoAnswer(Reason.TIMED_OUT, "while bounding Lipschitz constants")
            return Outcome(answer, _statistics(began, worst))
        certificate = LipschitzCertificate(tuple(proofs))
        return Outcome(CertificateCandidate(certificate), _statistics(began, worst))

    def _prove(
        self, system: ImplicitSystem, obligation: Obligation, deadline: Deadline
    ) -> "_Attempt | NoAnswer":
        """**Raises** `DeadlineExceeded`."""
        region = Region.around(obligation.proof_inputs)
        if region is None:
            return NoAnswer(Reason.UNBOUNDED_INPUT)
        box, slopes = self._slopes(system, obligation, region, deadline)
        rows = obligation.rows.coefficients
        z = FixpointSolver(system).solve(region.center[None, :], deadline=deadline).value[0]
        targets = rows.on_z @ z + rows.on_x @ region.center + rows.offset - obligation.rows.error
        moving = increments(system, rows.on_z, rows.on_x, slopes).on_inputs(
            region.positions, region.radii
        )
        refutations: list[LipschitzRefutation | None] = [None] * len(obligation.cases)
        worst = np.inf
        best = [max((targets[row] for row in case), default=-np.inf) for case in obligation.cases]
        previous: RowMultipliers | None = None
        for index in np.argsort(best):  # the case that is hardest to refute comes first
            found = self._refute(
                moving, region, obligation.cases[index], targets, previous, deadline
            )
            worst = min(worst, found.margin)
            if not worst > 0.0:
                break
            previous = RowMultipliers(found.refutation.sigma, found.refutation.sector)
            refutations[index] = found.refutation
        complete = tuple(refutation for refutation in refutations if refutation is not None)
        return _Attempt(LipschitzProof(box, complete), worst)

    def _slopes(
        self, system: ImplicitSystem, obligation: Obligation, region: Region, deadline: Deadline
    ) -> tuple[ObligationProof | None, Slopes]:
        attempt = self.boxes.prove(system, obligation, deadline)
        if isinstance(attempt, NoAnswer) or not attempt.proof.rounds:
            return None, Slopes.anywhere(system.neurons)
        last = attempt.proof.rounds[-1]
        z = FixpointSolver(system).solve(region.center[None, :], deadline=deadline).value[0]
        v = system.W @ z + system.U @ region.center + system.b
        return attempt.proof, Slopes.from_point(last.upper_z, last.upper_s, v)

    def _refute(
        self,
        moving: Increments,
        region: Region,
        case: tuple[int, ...],
        targets: np.ndarray,
        previous: RowMultipliers | None,
        deadline: Deadline,
    ) -> "_Refuted":
        """The first row of the case that cannot move as far as its target, the best of them
        first. One row that moves in no way to zero suffices."""
        best = _Refuted(None, -np.inf)
        for row in sorted(case, key=lambda r: -targets[r]):
            if not targets[row] > 0.0:
                best = max(best, _Refuted(None, float(targets[row])), key=lambda f: f.margin)
                break
            target = targets[row] - AIR * (1.0 + targets[row])
            path = minimise_row(
                moving,
                row,
                region.groups,
                region.count,
                self.path,
                deadline,
                target=target,
                start=previous,
            )
            deadline.check()
            if path is None:
                continue
            refutation = LipschitzRefutation(row, path.multipliers.sigma, path.multipliers.sector)
            best = max(
                best, _Refuted(refutation, float(target - path.bound)), key=lambda f: f.margin
            )
            if best.margin > 0.0:
                break
        return best


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    """A proof, complete where `margin` is positive."""

    proof: LipschitzProof
    margin: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Refuted:
    refutation: LipschitzRefutation | None
    margin: float


def _statistics(began: float, margin: float) -> dict[str, float]:
    return {"seconds": time.perf_counter() - began, "margin": margin}
