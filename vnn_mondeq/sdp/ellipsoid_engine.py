"""Certifies queries from outer ellipsoids: one for each input set, whatever the number of rows."""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.bounds.prove_each import prove_each
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import AbstractEngine, NoAnswer, Outcome, Reason
from vnn_mondeq.sdp.ellipsoid import EllipsoidSettings, propose
from vnn_mondeq.sdp.ellipsoid_certificate import (
    EllipsoidCertificate,
    EllipsoidProof,
    RowsByOutputs,
)
from vnn_mondeq.sdp.ellipsoid_check import Rejection, confirm
from vnn_mondeq.sdp.ellipsoid_rows import row_margins
from vnn_mondeq.system.implicit import ImplicitSystem


@final
@dataclass(frozen=True, slots=True)
class EllipsoidEngine(AbstractEngine):
    """One semidefinite program for each input set (the robustness model needs one for each row).

    Incomplete, and weaker than the robustness model: one ellipsoid has to serve all rows. Rows that
    are no functions of the outputs (and the inputs) are bounded by the box alone.
    """

    settings: EllipsoidSettings = field(default_factory=lambda: EllipsoidSettings(thickness=1e-3))

    @property
    def name(self) -> str:
        return "ellipsoid"

    def run(self, problem: Problem, deadline: Deadline, observer: AbstractObserver) -> Outcome:
        observer.phase("outer ellipsoids")
        late = "while looking for an ellipsoid"
        return prove_each(problem, self._prove, _certificate, deadline, observer, late)

    def _prove(
        self, system: ImplicitSystem, obligation: Obligation, deadline: Deadline
    ) -> tuple[tuple[EllipsoidProof, RowsByOutputs], float] | NoAnswer:
        """An ellipsoid, its rows, and the smallest margin. **Raises** `DeadlineExceeded`."""
        proposal = propose(system, obligation.proof_inputs, self.settings, deadline)
        if isinstance(proposal, NoAnswer):
            return proposal
        rows = RowsByOutputs(_on_outputs(system, obligation))
        confirmed = confirm(system, obligation.proof_inputs, proposal.proof)
        if isinstance(confirmed, Rejection):
            return NoAnswer(Reason.CERTIFICATE_REJECTED, confirmed.reason)
        margins = row_margins(system, obligation, confirmed, rows.on_outputs)
        worst = np.inf
        for case in obligation.cases:
            worst = min(worst, max((margins[row] for row in case), default=-np.inf))
        return (proposal.proof, rows), float(worst)


def _certificate(parts: tuple[tuple[EllipsoidProof, RowsByOutputs], ...]) -> EllipsoidCertificate:
    return EllipsoidCertificate(tuple(p for p, _ in parts), tuple(rows for _, rows in parts))


def _on_outputs(system: ImplicitSystem, obligation: Obligation) -> np.ndarray:
    """`(n, q)`: the outputs' combination nearest to each row, in neurons and inputs together."""
    rows, out = obligation.rows.coefficients, system.output.coefficients
    outputs = np.hstack([out.on_z, out.on_x])
    wanted = np.hstack([rows.on_z, rows.on_x])
    if not outputs.size or not wanted.size:
        return np.zeros((len(wanted), len(outputs)))
    return np.linalg.lstsq(outputs.T, wanted.T, rcond=None)[0].T
