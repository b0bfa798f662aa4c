"""The step size of forward-backward splitting and how many steps it needs.

Letters: `M = I - W (p, p)`, `m` its modulus of strong monotonicity, `L = ‖M‖₂`,
`q = ‖I - α M‖₂` the contraction factor. For `α = m/L²`, `q <= sqrt(1 - m²/L²) < 1` always
(Winston & Kolter 2020); the best α makes `q` much smaller, 0.55 instead of 0.94 on FC87.
"""

import math

import numpy as np


def contraction_estimate(W: np.ndarray, alpha: float) -> float:
    """`‖I - α(I - W)‖₂`, estimated; not a bound."""
    size = W.shape[0]
    if size == 0:
        return 0.0
    step = (1.0 - alpha) * np.eye(size) + alpha * W
    return math.sqrt(max(float(np.linalg.eigvalsh(step.T @ step)[-1]), 0.0))


def choose_alpha(W: np.ndarray) -> float:
    """The α, a float32 number as ONNX attributes are, that minimises `‖I - α(I - W)‖₂` to a few
    percent.

    The function is convex in α, so a bounded scalar search finds its minimum. For a `W` that is
    not strongly monotone the result is meaningless but harmless: the importer proves the
    contraction factor before it relies on it.
    """
    # Takes 0.2 s to import, and only exporters need it.
    from scipy.optimize import minimize_scalar

    size = W.shape[0]
    if size == 0:
        return 1.0
    M = np.eye(size) - W
    symmetric, gram = M + M.T, M.T @ M
    norm = math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 1e-30))
    identity = np.eye(size)

    def square(alpha: float) -> float:
        return float(np.linalg.eigvalsh(identity - alpha * symmetric + alpha * alpha * gram)[-1])

    best = minimize_scalar(
        square, bounds=(0.0, 2.0 / norm), method="bounded", options={"xatol": 0.002 / norm}
    )
    return float(np.float32(max(best.x, 1e-6 / norm)))


def step_limit(W: np.ndarray, alpha: float, tolerance: float) -> int:
    """Twice the steps after which every start has reached `tolerance`; 10^6 where none suffices."""
    factor = contraction_estimate(W, alpha)
    if not factor < 1.0:
        return 1_000_000
    size = max(W.shape[0], 1)
    steps = math.log(tolerance / (100.0 * math.sqrt(size))) / math.log(max(factor, 1e-3))
    return min(2 * math.ceil(steps) + 20, 1_000_000)
