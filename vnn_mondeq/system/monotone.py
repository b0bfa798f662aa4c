"""Proof, from the weights alone, that the fixpoint exists and is unique.

Letters: `W (p, p)` feedback, `M = I - W`, `m` its modulus of strong monotonicity
(`M + Mᵀ ⪰ 2 m I`), `L` its spectral norm. Winston & Kolter 2020, theorem 1: `m > 0` suffices.

Positive definiteness is decided by a floating-point Cholesky factorisation and its error bound:
if it runs to completion on `A` then `A + E ⪰ 0` with `‖E‖₂ <= γ/(1-γ) tr(A)`
(Demmel 1989; Higham, theorem 10.3; Rump, "Verification of positive definiteness", BIT 2006).
"""

from dataclasses import dataclass
from typing import final

import numpy as np

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


def cholesky_defect(matrix: np.ndarray) -> float | None:
    """A number `e >= 0` with `λ_min(matrix) >= -e`, or `None` if the factorisation fails.

    `matrix` is symmetric float64 and taken as exact.
    """
    n = matrix.shape[0]
    try:
        factor = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    # Some libraries run to completion on entries that are not numbers.
    if not np.all(np.isfinite(factor)):
        return None
    growth = gamma(2 * n + 8)  # twice the textbook count, for blocked and fused variants
    trace = float(np.sum(np.diag(matrix))) * SAFETY
    return growth / (1.0 - growth) * trace * SAFETY + n * n * UNDERFLOW


def eigenvalue_lower_bound(symmetric: np.ndarray, error: float) -> float:
    """A proved lower bound on the smallest eigenvalue of any matrix within `error` (2-norm)
    of `symmetric`; `-inf` if the attempt fails."""
    if symmetric.shape[0] == 0:
        return np.inf
    if not np.all(np.isfinite(symmetric)):
        return -np.inf
    estimate = float(np.linalg.eigvalsh(symmetric)[0])
    scale = float(np.max(np.abs(np.diag(symmetric)))) + abs(estimate)
    for slack in (1e-12, 1e-10, 1e-8, 1e-6):
        shift = estimate - slack * scale
        shifted = symmetric - shift * np.eye(symmetric.shape[0])
        defect = cholesky_defect(shifted)
        if defect is not None:
            shifting = 2.0 * UNIT * (scale + abs(shift))
            return shift - (defect + shifting + error) * SAFETY
    return -np.inf


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
