"""Positive definiteness, decided by a floating-point Cholesky factorisation and its error bound.

If the factorisation runs to completion on `A` then `A + E ⪰ 0` with `‖E‖₂ <= γ/(1-γ) tr(A)`
(Demmel 1989; Higham, theorem 10.3; Rump, "Verification of positive definiteness", BIT 2006).
"""

import numpy as np

from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, gamma


def cholesky_defect(matrix: np.ndarray) -> float | None:
    """A number `e >= 0` with `λ_min(matrix) >= -e`, or `None` if the factorisation fails.

    `matrix` is symmetric float64 and taken as exact.
    """
    try:
        factor = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    # Some libraries run to completion on entries that are not numbers.
    return completed_defect(np.diag(matrix)) if np.all(np.isfinite(factor)) else None


def completed_defect(diagonal: np.ndarray) -> float:
    """The same number, for a matrix with this diagonal whose factorisation has run to completion,
    in any order of the elimination and of the sums."""
    n = diagonal.size
    growth = gamma(2 * n + 8)  # twice the textbook count, for blocked and fused variants
    trace = float(np.sum(diagonal)) * SAFETY
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
