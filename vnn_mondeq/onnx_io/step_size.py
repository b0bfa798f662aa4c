"""The step size of forward-backward splitting and how many steps it needs.

Letters: `M = I - W (p, p)`, `m` its modulus of strong monotonicity, `L = ‖M‖₂`,
`q = ‖I - α M‖₂` the contraction factor. For `α = m/L²`, `q <= sqrt(1 - m²/L²) < 1` always
(Winston & Kolter 2020); the best α makes `q` much smaller, 0.55 instead of 0.94 on FC87.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.optimize import minimize_scalar


@final
@dataclass(frozen=True, slots=True)
class StepSize:
    """`alpha`: a float32 number, as ONNX attributes are. `max_iter`: steps that reach `tol`
    from any start with a wide margin."""

    alpha: float
    max_iter: int


def contraction_estimate(M: np.ndarray, alpha: float) -> float:
    """`‖I - α M‖₂`, estimated; not a bound."""
    return float(np.linalg.norm(np.eye(M.shape[0]) - alpha * M, 2))


def choose_step_size(W: np.ndarray, tolerance: float) -> StepSize:
    """The α that minimises `‖I - α(I - W)‖₂`, to a few percent.

    The function is convex in α, so a bounded scalar search finds its minimum. Works for any
    strongly monotone `W`; for others the result is meaningless but harmless (the importer
    proves the contraction factor before it relies on it).
    """
    size = W.shape[0]
    if size == 0:
        return StepSize(1.0, 10)
    M = np.eye(size) - W
    symmetric = M + M.T
    gram = M.T @ M
    norm = math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 1e-30))
    identity = np.eye(size)

    def square(alpha: float) -> float:
        return float(np.linalg.eigvalsh(identity - alpha * symmetric + alpha * alpha * gram)[-1])

    best = minimize_scalar(
        square, bounds=(0.0, 2.0 / norm), method="bounded", options={"xatol": 0.01 / norm}
    )
    alpha = float(np.float32(best.x))
    factor = math.sqrt(max(square(alpha), 0.0))
    if not alpha > 0.0 or not factor < 1.0:
        return StepSize(float(np.float32(1.0 / norm**2)), 1_000_000)
    steps = math.log(tolerance / (100.0 * math.sqrt(size))) / math.log(max(factor, 1e-3))
    return StepSize(alpha, 2 * math.ceil(steps) + 20)
