"""What a checker answers when it does not confirm, and the loop that all checkers share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.system.implicit import ImplicitSystem

Proof = TypeVar("Proof")


@final
@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a certificate was not confirmed."""

    reason: str


def smallest_margin(
    problem: Problem,
    proofs: Sequence[Proof],
    check_one: Callable[[ImplicitSystem, Obligation, Proof, Deadline], float | Rejection],
    deadline: Deadline,
) -> float | Rejection:
    """Check one proof for each obligation, in order; the least margin, or the first rejection.

    For every checker of certificates that hold one proof for each obligation. `check_one` returns
    a positive margin or a rejection. **Raises** `DeadlineExceeded`.
    """
    if len(proofs) != len(problem.obligations):
        return Rejection(f"{len(proofs)} proofs for {len(problem.obligations)} obligations")
    smallest = np.inf
    for position, (obligation, proof) in enumerate(zip(problem.obligations, proofs, strict=True)):
        deadline.check()
        margin = check_one(problem.system, obligation, proof, deadline)
        if isinstance(margin, Rejection):
            return Rejection(f"input set {position}: {margin.reason}")
        smallest = min(smallest, margin)
    return float(smallest)
