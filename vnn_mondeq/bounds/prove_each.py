"""The run of an engine that proves one obligation after the other, up to the first failure."""

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import (
    AbstractCertificate,
    CertificateCandidate,
    NoAnswer,
    Outcome,
    Reason,
)
from vnn_mondeq.system.implicit import ImplicitSystem

Proof = TypeVar("Proof")


def prove_each(
    problem: Problem,
    prove_one: Callable[[ImplicitSystem, Obligation, Deadline], tuple[Proof, float] | NoAnswer],
    certify: Callable[[tuple[Proof, ...]], AbstractCertificate],
    deadline: Deadline,
    observer: AbstractObserver,
    while_late: str,
) -> Outcome:
    """Prove every obligation, or say why one is left open.

    - `prove_one`: a proof and its smallest margin (not positive: it misses), or no answer; it may
      raise `DeadlineExceeded`.
    - `while_late`: what the engine does, for the reason of a time-out.

    Statistics: `seconds`, and `margin`, the least of those seen.
    """
    began = time.perf_counter()
    proofs: list[Proof] = []
    worst = np.inf

    def ended(candidate: CertificateCandidate | NoAnswer) -> Outcome:
        return Outcome(candidate, {"seconds": time.perf_counter() - began, "margin": worst})

    try:
        for obligation in problem.obligations:
            deadline.check()
            found = prove_one(problem.system, obligation, deadline)
            if isinstance(found, NoAnswer):
                return ended(found)
            proof, margin = found
            proofs.append(proof)
            worst = min(worst, margin)
            observer.progress(len(proofs), len(problem.obligations))
            if not worst > 0.0:
                detail = f"a case misses its proof by {-worst:.4g}"
                return ended(NoAnswer(Reason.BOUND_TOO_LOOSE, detail))
    except DeadlineExceeded:
        return ended(NoAnswer(Reason.TIMED_OUT, while_late))
    return ended(CertificateCandidate(certify(tuple(proofs))))
