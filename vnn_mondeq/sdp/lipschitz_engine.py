"""Cases refuted by a margin at the centre that is larger than how far the row can move.

The Lipschitz bound is local: over the obligation's own region (half-widths of its box, or the
radius of its ball), with the secant slopes that an inductive box allows from the centre.
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import ObligationProof
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.bounds.prove_each import prove_each
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import AbstractEngine, NoAnswer, Outcome, Reason
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
        observer.phase("Lipschitz bounds")
        late = "while bounding Lipschitz constants"
        return prove_each(problem, self._prove, LipschitzCertificate, deadline, observer, late)

    def _prove(
        self, system: ImplicitSystem, obligation: Obligation, deadline: Deadline
    ) -> tuple[LipschitzProof, float] | NoAnswer:
        """A proof and its smallest margin. **Raises** `DeadlineExceeded`."""
        region = Region.around(obligation.proof_inputs)
        if region is None:
            return NoAnswer(Reason.UNBOUNDED_INPUT)
        z = FixpointSolver(system).solve(region.center[None, :], deadline=deadline).value[0]
        box, slopes = self._slopes(system, obligation, region, z, deadline)
        rows = obligation.rows.coefficients
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
        return LipschitzProof(box, complete), worst

    def _slopes(
        self,
        system: ImplicitSystem,
        obligation: Obligation,
        region: Region,
        z: np.ndarray,
        deadline: Deadline,
    ) -> tuple[ObligationProof | None, Slopes]:
        attempt = self.boxes.prove(system, obligation, deadline)
        if isinstance(attempt, NoAnswer) or not attempt.proof.rounds:
            return None, Slopes.anywhere(system.neurons)
        last = attempt.proof.rounds[-1]
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
class _Refuted:
    refutation: LipschitzRefutation | None
    margin: float
