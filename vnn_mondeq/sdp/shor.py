"""The strengthened Shor relaxation of a row, as a function of its multipliers.

Letters: `ξ (n,)` inputs in [-1, 1], `ẑ (k,)`, `ŝ = Aẑ - Bξ - e`, both in [0, 1] with `ẑ_i ŝ_i = 0`
(`phases.py`); objective `c·ẑ + w·ξ`. Multipliers, all positive: `σ (n,)`, `t, ρ, ν (k,)` for

    σ_j (1 - ξ_j²),    -t_i ẑ_i ŝ_i,    ρ_i ẑ_i (1 - ẑ_i),    ν_i ŝ_i (1 - ŝ_i)

(algorithms.md, section 5: four families that imply the linear constraints and the triangle), and
`δ (m,)` for what the input set says beyond its box, `a_l + b_l·ξ - Σ_j C_lj ξ_j² >= 0`
(`set_constraints.py`). The bound is the least `γ` for which `γ - c·ẑ - w·ξ - (those)` is a
non-negative quadratic in `(ξ, ẑ)`.
With `T, R, N` the diagonals of `t, ρ, ν`, `D` that of `σ + Cᵀδ`, `G = T/2 + N A`:

    X   = D + BᵀNB,   K = B D⁻¹ Bᵀ,   J = N^½ (I + N^½ K N^½)⁻¹ N^½,   Q = K (I - J K) = B X⁻¹ Bᵀ
    H   = sym(TA) + R + AᵀNA - GᵀQG                        (k, k), positive definite
    γ   = qᵀ F⁻¹ q + Σσ + δ·a - Σ ν (e² + e),  q linear part, F quadratic part [X, -BᵀG; ·, ·]

**The potential** of `ascent.py` is `τ γ - log det H - Σ log (t, ρ, ν) - ω Σ log (σ, δ)`:
a barrier for the small matrix only. The input block needs none, since `X` is positive definite
wherever `σ, ν` are positive; a small `ω` only keeps `σ` of inputs that do not matter from running
to zero, where the formulas above lose their digits. The gap at parameter `τ` is then about
`(4 k + ω (n + m)) / τ` instead of the `(2 n + 4 k) / τ` of a textbook barrier.

**The step** is Newton's in the logarithms of all multipliers, where a factor of ten is one step and
not a walk along the boundary. Derivatives are elementwise products of Gram matrices of the inverse
quadratic part (every constraint is a form of rank two).
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from vnn_mondeq.sdp.hessian import HessianBlocks
from vnn_mondeq.sdp.many_inputs import many_inputs_step
from vnn_mondeq.sdp.set_constraints import SetConstraints

INPUT_BARRIER = 0.01
"""`ω` of the module docstring."""

MANY_INPUTS = 100
MANY_PER_NEURON = 8
"""From these on (both) the Newton system is solved by conjugate gradients (`many_inputs.py`). With
784 inputs they are faster for 29 undecided neurons, as fast for 86, and three times slower for 143,
where many iterations are needed."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Multipliers:
    """`sigma (n,)`; `products (3 k,)` = `t, ρ, ν` one after another; `beyond (m,)` = `δ`; all
    positive."""

    sigma: np.ndarray
    products: np.ndarray
    beyond: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def moved(self, step: np.ndarray) -> "Multipliers":
        """Multiplied by the exponential of `step (n + 3 k + m,)`."""
        factors = np.exp(step)
        first = self.sigma.size
        second = first + self.products.size
        return Multipliers(
            self.sigma * factors[:first],
            self.products * factors[first:second],
            self.beyond * factors[second:],
        )

    def flat(self) -> np.ndarray:
        """All in one `(n + 3 k + m,)`."""
        return np.concatenate([self.sigma, self.products, self.beyond])


@final
@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Everything at one point. `bound`: `γ`; `potential`: see the module docstring.

    `diagonal (n,)`: of `D`. `z`, `x`, `s`: the stationary point of the quadratic, in `ẑ`, `ξ`, `ŝ`.
    """

    multipliers: Multipliers
    bound: float
    potential: float
    diagonal: np.ndarray
    z: np.ndarray
    x: np.ndarray
    s: np.ndarray
    K: np.ndarray
    J: np.ndarray
    G: np.ndarray
    Q: np.ndarray
    factor: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class ShorDual:
    """The dual function; `A (k, k)`, `B (k, n)`, `e (k,)`, objective `on_z (k,)`, `on_x (n,)`.

    - `beyond`: constraints of the input set beyond its box.
    """

    A: np.ndarray
    B: np.ndarray
    e: np.ndarray
    on_z: np.ndarray
    on_x: np.ndarray
    beyond: SetConstraints | None = None

    @property
    def count(self) -> int:
        """`m`."""
        return 0 if self.beyond is None else self.beyond.constant.size

    def uniform(self, sigma: float, products: float) -> Multipliers:
        """All equal. Strictly feasible: `ρẑ² + tẑŝ + νŝ²` is positive where `t² < 4ρν`."""
        k, n = self.B.shape
        return Multipliers(np.full(n, sigma), np.full(3 * k, products), np.full(self.count, sigma))

    def _inputs(self, multipliers: Multipliers) -> tuple[np.ndarray, np.ndarray, float]:
        """The diagonal of `D`, the linear objective and the constant that the inputs' multipliers
        make."""
        sigma, delta = multipliers.sigma, multipliers.beyond
        constant = float(sigma.sum())
        if delta.size == 0:
            return sigma, self.on_x, constant
        beyond = self.beyond
        constant += float(delta @ beyond.constant)
        return sigma + delta @ beyond.curve, self.on_x + delta @ beyond.linear, constant

    def evaluate(self, multipliers: Multipliers, tau: float) -> Evaluation | None:
        """`None` where the quadratic part is not positive definite."""
        A, B, e = self.A, self.B, self.e
        k = e.size
        diagonal, on_x, constant = self._inputs(multipliers)
        t, rho, nu = multipliers.products.reshape(3, k)
        scaled = B / diagonal
        K = scaled @ B.T
        root = np.sqrt(nu)
        try:
            inner = np.linalg.cholesky(np.eye(k) + root[:, None] * K * root)
            J = root[:, None] * cho_solve((inner, True), np.diag(root), check_finite=False)
            inside = np.eye(k) - J @ K
            G = np.diag(0.5 * t) + nu[:, None] * A
            Q = K @ inside
            weighted = t[:, None] * A
            H = 0.5 * (weighted + weighted.T) + np.diag(rho) + A.T @ (nu[:, None] * A)
            H -= G.T @ Q @ G
            factor = np.linalg.cholesky(0.5 * (H + H.T))
        except np.linalg.LinAlgError:
            return None
        linear_z = 0.5 * (-self.on_z - t * e - rho - A.T @ (nu + 2.0 * nu * e))
        pull = nu + 2.0 * nu * e  # the linear part of the inputs is (Bᵀ pull - w) / 2
        along = 0.5 * (J @ (scaled @ on_x) + inside @ pull)
        projected = -0.5 * (scaled @ on_x) + K @ along
        z = cho_solve((factor, True), linear_z + G.T @ projected, check_finite=False)
        along = along + inside @ (G @ z)
        x = (B.T @ along - 0.5 * on_x) / diagonal
        bound = 0.5 * float(pull @ (B @ x) - on_x @ x) + float(linear_z @ z)
        bound += constant - float(nu @ (e * e + e))
        if not np.isfinite(bound):
            return None
        log_det = 2.0 * float(np.log(np.diag(factor)).sum())
        potential = tau * bound - log_det - float(np.log(multipliers.products).sum())
        potential -= INPUT_BARRIER * float(np.log(multipliers.sigma).sum())
        potential -= INPUT_BARRIER * float(np.log(multipliers.beyond).sum())
        s = B @ x - A @ z - e
        return Evaluation(multipliers, bound, potential, diagonal, -z, -x, s, K, J, G, Q, factor)

    def derivatives(self, at: Evaluation, tau: float) -> tuple[np.ndarray, np.ndarray]:
        """Gradient `(n + 3 k + m,)` and a positive definite model of the Hessian, in logarithms.

        The model is the exact Hessian except for the terms `max(0, gradient)` on the diagonal,
        which the change to logarithms brings with either sign.
        """
        A, B = self.A, self.B
        k, n = B.shape
        L = B.T / at.diagonal[:, None]
        zz = cho_solve((at.factor, True), np.eye(k), check_finite=False)
        inside = np.eye(k) - at.J @ at.K
        E = inside @ at.G
        EI = E @ zz
        EIE = EI @ E.T
        low = EIE - at.J
        xz = L @ EI
        za = zz @ A.T - xz.T @ B.T
        xa = xz @ A.T - L - L @ (low @ at.K)
        aa = A @ za - B @ xa
        own = L @ inside  # X⁻¹Bᵀ, to take log det X out again
        z, x, s = at.z, at.x, at.s
        coupled = (L @ EIE) @ L.T
        inverse = -(L @ at.J) @ L.T
        inverse[np.diag_indices(n)] += 1.0 / at.diagonal

        spread = np.diag(coupled) + tau * x * x
        gradient = self.gradient(spread, np.diag(za), np.diag(zz), np.diag(aa), at, tau)
        scale = at.multipliers.flat()
        barrier = np.full(scale.size, INPUT_BARRIER)
        barrier[n : n + 3 * k] = 1.0
        gradient -= barrier / scale
        blocks = HessianBlocks(zz, za, aa, xz, xa, own, coupled, inverse, at.Q, z, s, x, tau)
        hessian = blocks.assemble()
        if self.count:
            hessian = blocks.bordered(hessian, self.beyond)
        gradient = gradient * scale
        hessian *= scale[:, None]
        hessian *= scale
        hessian[np.diag_indices(scale.size)] += barrier + np.maximum(gradient, 0.0)
        return gradient, hessian

    def gradient(
        self,
        spread: np.ndarray,
        za: np.ndarray,
        zz: np.ndarray,
        aa: np.ndarray,
        at: Evaluation,
        tau: float,
    ) -> np.ndarray:
        """The gradient `(n + 3 k + m,)` of the potential less its logarithms, in the multipliers.

        - `spread (n,)`: the diagonal of the neurons' part of the inverse, plus `τ ξ²`.
        - `za`, `zz`, `aa (k,)`: the diagonals of those Gram matrices (`HessianBlocks`).
        """
        x, z, s = at.x, at.z, at.s
        parts = [
            spread - tau,
            za + tau * z * s,
            zz + tau * (z * z - z),
            aa - np.diag(at.Q) + tau * (s * s - s),
        ]
        if self.count:
            beyond = self.beyond
            parts.append(beyond.curve @ spread - tau * (beyond.linear @ x + beyond.constant))
        return -np.concatenate(parts)

    def newton(self, at: Evaluation, tau: float) -> tuple[np.ndarray, float] | None:
        """The Newton step `(n + 3 k + m,)` in logarithms and its decrement; `None` if it fails."""
        if self.on_x.size >= max(MANY_INPUTS, MANY_PER_NEURON * self.e.size):
            step = many_inputs_step(self, at, tau, INPUT_BARRIER)
            if step is not None:
                return step
        gradient, hessian = self.derivatives(at, tau)
        try:
            factor = cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            return None
        step = -cho_solve(factor, gradient, check_finite=False)
        decrease = -float(gradient @ step)
        if not np.isfinite(decrease):
            return None
        return step, float(np.sqrt(max(decrease, 0.0)))
