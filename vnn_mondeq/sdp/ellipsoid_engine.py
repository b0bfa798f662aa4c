"""Certifies queries from outer ellipsoids: one for each input set, whatever the number of rows."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import AbstractEngine, CertificateCandidate, NoAnswer, Outcome, Reason
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
        began = time.perf_counter()
        observer.phase("outer ellipsoids")
        proofs: list[EllipsoidProof] = []
        rows: list[RowsByOutputs] = []
        worst = np.inf
        try:
            for obligation in problem.obligations:
                deadline.check()
                proposal = propose(problem.system, obligation.proof_inputs, self.settings, deadline)
                if isinstance(proposal, NoAnswer):
                    return Outcome(proposal, _statistics(began, worst))
                proofs.append(proposal.proof)
                rows.append(RowsByOutputs(_on_outputs(problem.system, obligation)))
                confirmed = confirm(problem.system, obligation.proof_inputs, proposal.proof)
                if isinstance(confirmed, Rejection):
                    answer = NoAnswer(Reason.CERTIFICATE_REJECTED, confirmed.reason)
                    return Outcome(answer, _statistics(began, worst))
                margins = row_margins(problem.system, obligation, confirmed, rows[-1].on_outputs)
                for case in obligation.cases:
                    worst = min(worst, max((margins[row] for row in case), default=-np.inf))
                observer.progress(len(proofs), len(problem.obligations))
                if not worst > 0.0:
                    detail = f"a case misses its proof by {-worst:.4g}"
                    answer = NoAnswer(Reason.BOUND_TOO_LOOSE, detail)
                    return Outcome(answer, _statistics(began, worst))
        except DeadlineExceeded:
            answer = NoAnswer(Reason.TIMED_OUT, "while looking for an ellipsoid")
            return Outcome(answer, _statistics(began, worst))
        certificate = EllipsoidCertificate(tuple(proofs), tuple(rows))
        return Outcome(CertificateCandidate(certificate), _statistics(began, worst))


def _on_outputs(system: ImplicitSystem, obligation: Obligation) -> np.ndarray:
    """`(n, q)`: the outputs' combination nearest to each row, in neurons and inputs together."""
    rows, out = obligation.rows.coefficients, system.output.coefficients
    outputs = np.hstack([out.on_z, out.on_x])
    wanted = np.hstack([rows.on_z, rows.on_x])
    if not outputs.size or not wanted.size:
        return np.zeros((len(wanted), len(outputs)))
    return np.linalg.lstsq(outputs.T, wanted.T, rcond=None)[0].T


def _statistics(began: float, margin: float) -> Mapping[str, float]:
    return {"seconds": time.perf_counter() - began, "margin": float(margin)}
