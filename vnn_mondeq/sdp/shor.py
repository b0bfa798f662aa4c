"""The strengthened Shor relaxation of a row, as a function of its multipliers.

Letters: `ξ (n,)` inputs in [-1, 1], `ẑ (k,)`, `ŝ = Aẑ - Bξ - e`, both in [0, 1] with `ẑ_i ŝ_i = 0`
(`phases.py`); objective `c·ẑ + w·ξ`. Multipliers, all positive: `σ (n,)`, `t, ρ, ν (k,)` for

    σ_j (1 - ξ_j²),    -t_i ẑ_i ŝ_i,    ρ_i ẑ_i (1 - ẑ_i),    ν_i ŝ_i (1 - ŝ_i)

(algorithms.md, section 5: four families that imply the linear constraints and the triangle), and
`δ (m,)` for what the input set says beyond its box, `a_l + b_l·ξ - Σ_j C_lj ξ_j² >= 0`
(`set_constraints.py`). `ŝ` may have further rows, without a `ẑ` of their own: `r >= k` in all,
`ν (r,)`; `q = 2 k + r + m` multipliers beside `σ`. The bound is the least `γ` for which
`γ - c·ẑ - w·ξ - (those)` is a non-negative quadratic in `(ξ, ẑ)`. With `T, R, N` the diagonals of
`t, ρ, ν`, `D` that of `σ + Cᵀδ`, `G = T/2 + N A`:

    X   = D + BᵀNB,   Q = B X⁻¹ Bᵀ                         (`input_block.py`)
    H   = sym(TA) + R + AᵀNA - GᵀQG                        (k, k), positive definite
    γ   = - least value of the quadratic without γ, at (ẑ, ξ): F (ξ, ẑ) = q,  F = [X, -BᵀG; ·, ·]

**The potential** of `ascent.py` is `τ γ - log det H - Σ log (t, ρ, ν) - ω Σ log (σ, δ)`:
a barrier for the small matrix only. The input block needs none, since `X` is positive definite
wherever `σ, ν` are positive; a small `ω` only keeps `σ` of inputs that do not matter from running
to zero. The gap at parameter `τ` is then about `(4 k + ω (n + m)) / τ` instead of the
`(2 n + 4 k) / τ` of a textbook barrier.

**The step** is Newton's, relative to the multipliers. Derivatives are elementwise products of Gram
matrices of the inverse quadratic part (every constraint is a form of rank two).
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from vnn_mondeq.sdp.hessian import AbstractBlocks, Grams, HessianBlocks
from vnn_mondeq.sdp.input_block import AbstractInputBlock, FewInputs, ManyInputs
from vnn_mondeq.sdp.many_inputs import many_inputs_step
from vnn_mondeq.sdp.pairs import PairBlocks, Pairs, ProductForm
from vnn_mondeq.sdp.set_constraints import MANY_INPUTS, SetConstraints

INPUT_BARRIER = 0.01
"""`ω` of the module docstring."""

CORRECTIONS = 4
"""Solutions of the stationary equations, each for what the last one left."""

NEGLIGIBLE = 1e-11
"""Error of a bound that is let pass, relative to the sum of the inputs' multipliers."""

MANY_PER_NEURON = 8
"""From these on (both) the Newton system is solved by conjugate gradients (`many_inputs.py`). With
784 inputs they are faster for 29 undecided neurons, as fast for 86, and three times slower for 143,
where many iterations are needed."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Multipliers:
    """`sigma (n,)`; `products (2 k + r,)` = `t, ρ, ν` one after another; `beyond (m,)` = `δ`; all
    positive."""

    sigma: np.ndarray
    products: np.ndarray
    beyond: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def times(self, factors: np.ndarray) -> "Multipliers":
        """Multiplied by `factors (n + q,)`, positive."""
        first = self.sigma.size
        second = first + self.products.size
        return Multipliers(
            self.sigma * factors[:first],
            self.products * factors[first:second],
            self.beyond * factors[second:],
        )

    def firmer(self, factor: float, neurons: int) -> "Multipliers":
        """All but the `neurons` multipliers of complementarity times a factor."""
        products = self.products * factor
        products[:neurons] = self.products[:neurons]
        return Multipliers(self.sigma * factor, products, self.beyond * factor)

    def flat(self) -> np.ndarray:
        """All in one `(n + q,)`."""
        return np.concatenate([self.sigma, self.products, self.beyond])


@final
@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Everything at one point. `bound`: `γ`; `potential`: see the module docstring.

    `z`, `x`, `s`: the stationary point of the quadratic, in `ẑ`, `ξ`, `ŝ`. `inputs`: `X`. `factor`:
    Cholesky factor of `H`.
    """

    multipliers: Multipliers
    bound: float
    potential: float
    z: np.ndarray
    x: np.ndarray
    s: np.ndarray
    inputs: AbstractInputBlock
    G: np.ndarray
    factor: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class ShorDual:
    """The dual function; `A (r, k)`, `B (r, n)`, `e (r,)`, objective `on_z (k,)`, `on_x (n,)`.

    - `beyond`: constraints of the input set beyond its box.
    - `pairs`: products of two neurons; not with further rows of `ŝ`.
    - `many`: from this number of inputs on their block is held by Woodbury's formula.
    """

    A: np.ndarray
    B: np.ndarray
    e: np.ndarray
    on_z: np.ndarray
    on_x: np.ndarray
    beyond: SetConstraints | None = None
    pairs: Pairs | None = None
    many: int = MANY_INPUTS

    @property
    def count(self) -> int:
        """`m`."""
        return 0 if self.beyond is None else self.beyond.constant.size

    @property
    def products(self) -> int:
        """The number of multipliers `t, ρ, ν`, and of pairs."""
        pairs = 0 if self.pairs is None else self.pairs.count
        return 2 * self.on_z.size + self.e.size + pairs

    @property
    def is_many(self) -> bool:
        """Whether the inputs' block is held by Woodbury's formula."""
        return self.on_x.size >= self.many and (self.beyond is None or self.beyond.cross is None)

    def uniform(self, sigma: float, products: float) -> Multipliers:
        """All equal. Strictly feasible: `ρẑ² + tẑŝ + νŝ²` is positive where `t² < 4ρν`."""
        given = np.full(self.on_x.size, sigma), np.full(self.products, products)
        return Multipliers(*given, np.full(self.count, sigma))

    def _inputs(self, multipliers: Multipliers) -> tuple[np.ndarray, np.ndarray, float]:
        """`D`, as its diagonal where that is all, the linear objective and the constant that the
        inputs' multipliers make."""
        sigma, delta = multipliers.sigma, multipliers.beyond
        constant = float(sigma.sum())
        if delta.size == 0:
            return sigma, self.on_x, constant
        beyond = self.beyond
        constant += float(delta @ beyond.constant)
        D, on_x = sigma + delta @ beyond.curve, self.on_x + delta @ beyond.linear
        if beyond.cross is not None:
            D = np.diag(D) + np.tensordot(delta, beyond.cross, axes=1)
        return D, on_x, constant

    def evaluate(self, multipliers: Multipliers, tau: float) -> Evaluation | None:
        """`None` where the quadratic part is not positive definite, or so nearly not that its
        stationary point cannot be found in floating point."""
        D, on_x, constant = self._inputs(multipliers)
        form, A = self._form(multipliers), self.A
        try:
            inputs = self._block(D, form.N)
            G = form.T + form.N @ A
            H = form.R + form.T.T @ A + A.T @ G - G.T @ inputs.Q @ G
            factor = np.linalg.cholesky(0.5 * (H + H.T))
        except np.linalg.LinAlgError:
            return None
        tolerance = NEGLIGIBLE * float(multipliers.sigma.sum())
        point = self._stationary(form, D, on_x, inputs, G, factor, tolerance)
        if point is None:
            return None
        z, x, s = point
        bound = float(on_x @ x - x @ _times(D, x)) + float(self.on_z @ z) + constant
        bound -= form.value(z, s)
        log_det = 2.0 * float(np.log(np.diag(factor)).sum())
        potential = tau * bound - log_det - float(self.barrier() @ np.log(multipliers.flat()))
        return Evaluation(multipliers, bound, potential, z, x, s, inputs, G, factor)

    def _form(self, multipliers: Multipliers) -> ProductForm:
        k, families = self.on_z.size, 2 * self.on_z.size + self.e.size
        form = ProductForm.of(*np.split(multipliers.products[:families], (k, 2 * k)))
        if self.pairs is None:
            return form
        return self.pairs.subtracted(form, multipliers.products[families:])

    def _block(self, D: np.ndarray, N: np.ndarray) -> AbstractInputBlock:
        if self.is_many:
            return ManyInputs.of(D, self.B, N)
        return FewInputs.of(D if D.ndim == 2 else np.diag(D), self.B, N)

    def _stationary(
        self,
        form: ProductForm,
        D: np.ndarray,
        on_x: np.ndarray,
        inputs: AbstractInputBlock,
        G: np.ndarray,
        factor: np.ndarray,
        tolerance: float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Where the quadratic is least, `(ẑ, ξ, ŝ)`; `None` if rounding hides it.

        Corrected by its residual: the value there lies below the least one by what the next
        correction would gain, and a bound that is too small would be refused by the check.
        """
        A, B = self.A, self.B
        z, x, s = np.zeros(self.on_z.size), np.zeros(on_x.size), -self.e
        for _ in range(CORRECTIONS):
            # Minus half the gradient of the quadratic, and the step that takes it to zero.
            price = -(form.N @ s) - form.T @ z - 0.5 * form.on_s
            right_x = 0.5 * on_x - _times(D, x) - B.T @ price
            right_z = 0.5 * (self.on_z - form.on_z) - form.R @ z - s @ form.T + A.T @ price
            right_z += G.T @ inputs.pull(right_x)
            step_z = cho_solve((factor, True), right_z, check_finite=False)
            z = z + step_z
            x = x + inputs.solve(right_x) + inputs.push(G @ step_z)
            s = A @ z - B @ x - self.e
            gain = float(right_z @ step_z + right_x @ inputs.solve(right_x))
            # Positive but for rounding: a negative one says that the factors are worth nothing.
            if abs(gain) <= tolerance:
                return z, x, s
        return None

    def blocks(self, grams: Grams, at: Evaluation, tau: float) -> AbstractBlocks:
        """The Hessian in blocks."""
        if self.pairs is None:
            return HessianBlocks(grams, at.z, at.s, at.x, tau)
        return PairBlocks.of(self, grams, at, tau)

    def derivatives(self, at: Evaluation, tau: float) -> tuple[np.ndarray, np.ndarray]:
        """Gradient `(n + q,)` and a positive definite model of the Hessian, in logarithms.

        The model is the exact Hessian except for the terms `max(0, gradient)` on the diagonal,
        which the change to logarithms brings with either sign.
        """
        grams = Grams.of(self, at)
        x = at.x
        coupled, inverse = (grams.own @ grams.core) @ grams.own.T, at.inputs.inverse()
        gradient = self.gradient(np.diag(coupled) + tau * x * x, grams, at, tau)
        if self.beyond is not None and self.beyond.cross is not None:
            moments = coupled + tau * np.outer(x, x)
            gradient[-self.count :] -= np.tensordot(self.beyond.cross, moments, axes=2)
        scale = at.multipliers.flat()
        barrier = self.barrier()
        gradient -= barrier / scale
        hessian = self.blocks(grams, at, tau).whole(coupled, inverse, self.beyond)
        gradient = gradient * scale
        hessian *= scale[:, None]
        hessian *= scale
        hessian[np.diag_indices(scale.size)] += barrier + np.maximum(gradient, 0.0)
        return gradient, hessian

    def barrier(self) -> np.ndarray:
        """The weight of each multiplier's logarithm in the potential."""
        weights = np.full(self.on_x.size + self.products + self.count, INPUT_BARRIER)
        weights[self.on_x.size : self.on_x.size + self.products] = 1.0
        return weights

    @property
    def order(self) -> float:
        """On the central path the bound lies at most this, divided by `τ`, above the optimum."""
        return self.on_z.size + self.products + INPUT_BARRIER * (self.on_x.size + self.count)

    def gradient(
        self,
        spread: np.ndarray,
        grams: Grams,
        at: Evaluation,
        tau: float,
    ) -> np.ndarray:
        """The gradient `(n + q,)` of the potential less its logarithms, in the multipliers.

        - `spread (n,)`: the diagonal of the neurons' part of the inverse, plus `τ ξ²`.
        """
        x, z, s = at.x, at.z, at.s
        parts = [
            spread - tau,
            np.diag(grams.za) + tau * z * s[: z.size],
            np.diag(grams.zz) + tau * (z * z - z),
            np.diag(grams.low) + tau * (s * s - s),
        ]
        parts += [] if self.pairs is None else [self.pairs.gradient(grams, at, tau)]
        if self.count:
            beyond = self.beyond
            parts.append(beyond.curve @ spread - tau * (beyond.linear @ x + beyond.constant))
        return -np.concatenate(parts)

    def newton(self, at: Evaluation, tau: float) -> tuple[np.ndarray, float] | None:
        """The Newton step `(n + q,)` in logarithms and its decrement; `None` if it fails."""
        if self.is_many and self.on_x.size >= MANY_PER_NEURON * self.on_z.size:
            step = many_inputs_step(self, at, tau)
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


def _times(D: np.ndarray, x: np.ndarray) -> np.ndarray:
    return D * x if D.ndim == 1 else D @ x
