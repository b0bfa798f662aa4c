"""The L2 gain of the whole output: one semidefinite bound for all rows together.

Letters as in `lipschitz_row.py`; `μ (k,)` positive, `Μ` its diagonal, `g` the gain. Then
`‖δy‖ <= g ‖δx‖` for all increments if

    F(μ, g) = [2 sym(ΜM), Cᵀ, -ΜU; C, g I, D; -UᵀΜ, Dᵀ, g I]  ⪰  0

(eliminate the second block: `g²‖δx‖² - ‖Cw + Dδx‖² + 2 g Σ μ_i w_i (w_i - δv_i)` is non-negative).
It is the LBEN condition of Revay, Wang and Manchester (2020), linear in `(μ, g)`, and read as an
analysis of a given network. `U` and `D` matter only through their common row space, so `F` has at
most `2 (k + rows)` rows. For given `μ` the least `g` is an eigenvalue:
`λ_max(BᵀS⁻¹B - [0, D; Dᵀ, 0])`, `S = 2 sym(ΜM)`, `B = [Cᵀ, -ΜU]`.

Nothing here is rigorous: `lipschitz_check.py` proves a gain from the multipliers.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.sdp.lipschitz_increments import Increments
from vnn_mondeq.sdp.lipschitz_row import PathSettings


@final
@dataclass(frozen=True, slots=True, eq=False)
class GainPath:
    """`mu (k,)` and the gain that it gives."""

    mu: np.ndarray
    gain: float
    steps: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Gain:
    """The matrix inequality; `U (k, r)`, `D (n, r)` compressed to their row space."""

    M: np.ndarray
    U: np.ndarray
    C: np.ndarray
    D: np.ndarray

    @property
    def direct(self) -> np.ndarray:
        n, r = self.D.shape
        return np.block([[np.zeros((n, n)), self.D], [self.D.T, np.zeros((r, r))]])

    def matrix(self, mu: np.ndarray, gain: float) -> np.ndarray:
        weighted = mu[:, None] * self.M
        beside = np.hstack([self.C.T, -mu[:, None] * self.U])
        lower = self.direct + gain * np.eye(beside.shape[1])
        return np.block([[weighted + weighted.T, beside], [beside.T, lower]])

    def least(self, mu: np.ndarray) -> float:
        """The least gain for `mu`; infinite where `2 sym(ΜM)` is not positive definite."""
        weighted = mu[:, None] * self.M
        beside = np.hstack([self.C.T, -mu[:, None] * self.U])
        try:
            factor = cho_factor(weighted + weighted.T, check_finite=False)
        except np.linalg.LinAlgError:
            return np.inf
        inner = beside.T @ cho_solve(factor, beside, check_finite=False) - self.direct
        if inner.shape[0] == 0:
            return 0.0
        return max(float(np.linalg.eigvalsh(0.5 * (inner + inner.T))[-1]), 0.0)

    def newton(self, mu: np.ndarray, gain: float, tau: float) -> tuple[np.ndarray, float] | None:
        """Step of `(μ, g)` relative to `μ` and absolute in `g`, for `τ g - log det F`."""
        k = mu.size
        inverse = np.linalg.inv(self.matrix(mu, gain))
        inverse = 0.5 * (inverse + inverse.T)
        # dF/dμ_i = e_i a_iᵀ + a_i e_iᵀ
        rows = np.hstack([self.M, np.zeros((k, self.C.shape[0])), -self.U])
        applied = rows @ inverse
        on_e, on_a = applied[:, :k], applied @ rows.T
        lower = inverse[k:, k:]
        gradient = np.concatenate([-2.0 * np.diag(on_e), [tau - np.trace(lower)]])
        hessian = np.empty((k + 1, k + 1))
        hessian[:k, :k] = 2.0 * (on_e * on_e.T + inverse[:k, :k] * on_a)
        hessian[:k, k] = hessian[k, :k] = 2.0 * (inverse[:k, k:] * applied[:, k:]).sum(axis=1)
        hessian[k, k] = (lower * lower).sum()
        scale = np.concatenate([mu, [1.0]])
        gradient *= scale
        hessian *= np.outer(scale, scale)
        try:
            step = -cho_solve(cho_factor(hessian, check_finite=False), gradient)
        except np.linalg.LinAlgError:
            return None
        decrease = -float(gradient @ step)
        return (step, float(np.sqrt(max(decrease, 0.0)))) if np.isfinite(decrease) else None

    def potential(self, mu: np.ndarray, gain: float, tau: float) -> float:
        if not (np.all(mu > 0.0) and gain > 0.0):
            return np.inf
        try:
            root = np.linalg.cholesky(self.matrix(mu, gain))
        except np.linalg.LinAlgError:
            return np.inf
        return tau * gain - 2.0 * float(np.log(np.diag(root)).sum())


def minimise_gain(
    increments: Increments, settings: PathSettings, deadline: Deadline
) -> GainPath | None:
    """The least gain found; `None` without a feasible start. Past the deadline, what it has."""
    U, D = _compressed(increments.U, increments.D)
    problem = _Gain(increments.M, U, increments.C, D)
    k = increments.M.shape[0]
    starts = [np.full(k, 2.0**power) for power in range(-30, 31)]
    best = min(starts, key=problem.least)
    least = problem.least(best)
    if not np.isfinite(least):
        return None
    if least == 0.0:
        return GainPath(best, 0.0, 0)
    mu, gain, stage = best, 2.0 * least, settings.start
    tau = stage / gain
    value, steps = problem.potential(mu, gain, tau), 0
    while steps < settings.steps and not deadline.expired:
        found = problem.newton(mu, gain, tau)
        if found is None:
            break
        moved = _line_search(problem, mu, gain, tau, value, found[0])
        if moved is None:
            break
        (mu, gain, value, length), steps = moved, steps + 1
        current = problem.least(mu)
        if current < least:
            best, least = mu, current
        if found[1] < settings.near and length > 0.5:
            if stage >= settings.stop:
                break
            stage *= settings.factor
            tau = stage / gain
            value = problem.potential(mu, gain, tau)
    return GainPath(best, least, steps)


def _compressed(U: np.ndarray, D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    k, n = U.shape
    if n <= k + D.shape[0]:
        return U, D
    both = np.linalg.qr(np.vstack([U, D]).T, mode="r").T
    return both[:k], both[k:]


def _line_search(
    problem: _Gain, mu: np.ndarray, gain: float, tau: float, value: float, step: np.ndarray
) -> tuple[np.ndarray, float, float, float] | None:
    length = min(1.0, 0.95 / max(1e-9, float(np.max(-step[:-1], initial=0.0))))
    for _ in range(40):
        moved, further = mu * (1.0 + length * step[:-1]), gain + length * float(step[-1])
        reached = problem.potential(moved, further, tau)
        if reached <= value + 1e-9 * abs(value):
            return moved, further, reached, length
        length *= 0.5
    return None
