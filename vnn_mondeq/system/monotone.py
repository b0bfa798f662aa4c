"""Proof, from the weights alone, that the fixpoint exists and is unique.

Letters: `W (p, p)` feedback, `M = I - W`, `m` its modulus of strong monotonicity
(`M + Mᵀ ⪰ 2 m I`), `L` its spectral norm. Winston & Kolter 2020, theorem 1: `m > 0` suffices.

Positive definiteness is decided by `vnn_mondeq.definite`.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.definite import eigenvalue_lower_bound
from vnn_mondeq.errors import NotMonotoneError
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, gamma, norm_up, round_up

LARGEST_ENTRY = 2.0**400
"""Larger feedback weights are refused: squares and sums of smaller ones cannot overflow."""


@final
@dataclass(frozen=True, slots=True)
class MonotonicityProof:
    """`modulus`: proved lower bound on `m` (> 0). `norm`: proved upper bound on `L`."""

    modulus: float
    norm: float


def prove_strong_monotonicity(W: np.ndarray, radius: np.ndarray | None = None) -> MonotonicityProof:
    """Prove `I - W` strongly monotone for every matrix within `radius` of `W`, elementwise.

    **Raises** `NotMonotoneError` when there is no proof; that does not show the contrary.
    """
    p = W.shape[0]
    if p == 0:
        return MonotonicityProof(modulus=1.0, norm=1.0)
    spread = np.zeros_like(W) if radius is None else radius
    if not np.all(np.isfinite(W)):
        raise NotMonotoneError("the feedback matrix W has entries that are not finite numbers")
    # Comparisons with NaN are false, so this refuses NaN as well.
    if not np.all(np.abs(W) <= LARGEST_ENTRY):
        raise NotMonotoneError(
            f"the feedback matrix W has an entry of magnitude {np.abs(W).max():.3g}; this tool "
            f"bounds rounding errors only up to {LARGEST_ENTRY:.3g}"
        )
    if not np.all((spread >= 0.0) & (spread <= LARGEST_ENTRY)):
        raise NotMonotoneError("the rounding errors of the feedback matrix W are not bounded")
    M = np.eye(p) - W
    # Rounding of I - W and of the symmetric part: two operations of relative error u each.
    entry = (4.0 * UNIT * (np.abs(W) + np.eye(p)) + spread) * SAFETY + UNDERFLOW
    spread_norm = float(np.sqrt(entry.sum(axis=0).max() * entry.sum(axis=1).max())) * SAFETY
    symmetric_error = 0.5 * float((entry + entry.T).sum(axis=1).max()) * SAFETY
    modulus = eigenvalue_lower_bound(0.5 * (M + M.T), symmetric_error)
    if not modulus > 0.0:
        smallest = float(np.linalg.eigvalsh(0.5 * (M + M.T))[0])
        if smallest > 0.0:
            raise NotMonotoneError(
                "cannot prove that I - W is strongly monotone, so the fixpoint may not be unique: "
                f"the smallest eigenvalue of its symmetric part is about {smallest:.6g}, but may "
                f"be {symmetric_error:.3g} less, as far as W is known here (rounding, and where a "
                "plain loop ends). Train with a larger m, or let the loops run longer"
            )
        raise NotMonotoneError(
            "cannot prove that I - W is strongly monotone, so the fixpoint may not be unique: "
            f"the smallest eigenvalue of its symmetric part is about {smallest:.6g}, and it must "
            "be positive. Train with the parametrisation W = (1-m)I - PᵀP + Q - Qᵀ, m > 0"
        )
    return MonotonicityProof(modulus=modulus, norm=spectral_norm_upper_bound(M) + spread_norm)


def spectral_norm_upper_bound(matrix: np.ndarray) -> float:
    """A proved upper bound on `‖matrix‖₂`, usually within a relative 1e-6 of it."""
    rows, columns = matrix.shape
    if rows == 0 or columns == 0:
        return 0.0
    frobenius = float(norm_up(matrix))
    if not np.isfinite(frobenius):
        return frobenius
    if columns > rows:
        matrix = matrix.T
        rows, columns = columns, rows
    # Scaling by a power of two is exact and keeps the squares from over- and underflowing.
    exponent = int(np.frexp(frobenius)[1])
    with np.errstate(under="ignore"):
        matrix = np.ldexp(matrix, -exponent)
    gram = matrix.T @ matrix
    magnitude = np.abs(matrix)
    # ‖fl(AᵀA) - AᵀA‖₂ <= γ_n ‖|A|ᵀ|A|‖₂ <= γ_n * (largest row sum of |A|ᵀ|A|)
    error = gamma(rows + 2) * float((magnitude.T @ magnitude.sum(axis=1)).max()) * SAFETY
    error = (error + gamma(2) * float(np.abs(gram).sum(axis=1).max()) + UNDERFLOW) * SAFETY
    largest = -eigenvalue_lower_bound(-0.5 * (gram + gram.T), error)
    if not (np.isfinite(largest) and largest > 0.0):
        return frobenius
    with np.errstate(over="ignore", under="ignore"):
        norm = float(round_up(np.ldexp(np.sqrt(largest) * SAFETY, exponent)))
    return min(frobenius, norm)
