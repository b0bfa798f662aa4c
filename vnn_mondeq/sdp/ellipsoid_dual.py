"""The minimum-volume ellipsoid as a function of the multipliers alone.

Letters: `ξ (n,)` inputs, `ẑ (k,)`, `ŝ = Aẑ - Bξ - e` (`phases.py`), outputs `y = Cẑ + Dξ + c`, `q`
of them, `E = [D, C]`. Chen, Lasserre, Magron, Pauwels (NeurIPS 2021), section 3.3, ask for

    max log det P   s.t.   1 - ‖P y + p‖² - Σ_i θ_i g_i(ξ, ẑ)  non-negative as a quadratic,  θ >= 0

where `g_i >= 0` on every fixpoint. For fixed `θ` the best `P` and `p` have a closed form. Write
`-Σ θ_i g_i = [1; w]ᵀ [·, fᵀ; f, X] [1; w]`, `w = (ξ, ẑ)`, with `X` positive definite. Then every
fixpoint lies in the ellipsoid `(w - w₀)ᵀ X (w - w₀) <= γ`, where `w₀ = -X⁻¹f` and
`γ = max_w Σ θ_i g_i(w)`, and the smallest ellipsoid that contains its image under `y` is that image
itself:

    (y - y₀)ᵀ Y⁻¹ (y - y₀) <= γ,    Y = E X⁻¹ Eᵀ,    y₀ = y(w₀)
    log det P = -½ (q log γ + log det Y)

so `P` (55 unknowns for ten classes) and `p` drop out, and the semidefinite constraint with them.
`log det P` does not change when `θ` is scaled, and minimising `γ + log det Y / q` finds the scale
with `γ = 1`; this function is convex in `θ` (`Y⁻¹` is a Schur complement of `X`, matrix-concave).

**The potential** is `τ (γ + log det Y / q) - log det H - Σ log u`, `H` the Schur complement of the
input block in `X`, `u` the multipliers of neurons (`shor.py` says why inputs need no barrier); the
step is Newton's in logarithms. All derivatives are products of Gram matrices of `X⁻¹` and of
`Π = X⁻¹Eᵀ Y⁻¹ E X⁻¹`:  `∂_i log det Y = -tr(X_i Π)`, `∂_ij log det Y = tr(X_i (2 X⁻¹ - Π) X_j Π)`.
"""

import dataclasses
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from vnn_mondeq.sdp.ellipsoid_form import OutputForm, gather
from vnn_mondeq.sdp.ellipsoid_inputs import AbstractInputBlock, input_block, solve_lower
from vnn_mondeq.sdp.ellipsoid_products import QUADRATIC_SIGN, Family, Products


@final
@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """Everything at one choice of multipliers.

    - `inputs (groups,)`, `free (r,)`: the multipliers.
    - `level`: `γ`. `log_det`: `log det P`, larger is a smaller ellipsoid. `potential`: at some `τ`.
    - `z`, `x`: the centre `w₀`. `shape (q, q)`: `Y`, `root` its Cholesky factor.
    - `on_x`, `on_z`: `X⁻¹Eᵀ`, `(n, q)` and `(k, q)`.
    """

    inputs: np.ndarray
    free: np.ndarray
    level: float
    log_det: float
    potential: float
    z: np.ndarray
    x: np.ndarray
    shape: np.ndarray
    root: np.ndarray
    on_x: np.ndarray
    on_z: np.ndarray
    sigma: np.ndarray
    block: AbstractInputBlock
    G: np.ndarray
    factor: np.ndarray


WELL_INSIDE = 0.9
"""Largest relative change of a multiplier for which its own Newton step is taken."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Relative changes `(groups + r,)` of all multipliers, and the Newton decrement.

    - `logarithmic`: the changes are those of logarithms.
    """

    change: np.ndarray
    decrement: float
    logarithmic: bool

    def factors(self, length: float) -> np.ndarray:
        """What `length` times the step multiplies the multipliers by."""
        return np.exp(length * self.change) if self.logarithmic else 1.0 + length * self.change


@final
@dataclass(frozen=True, slots=True, eq=False)
class EllipsoidDual:
    """The function of the module's docstring."""

    form: OutputForm
    products: Products

    def evaluate(self, inputs: np.ndarray, free: np.ndarray, tau: float) -> Point | None:
        """`None` where `X` is not positive definite (in floating point)."""
        try:
            return self._evaluate(inputs, free, tau)
        except np.linalg.LinAlgError:
            return None

    def _evaluate(self, inputs: np.ndarray, free: np.ndarray, tau: float) -> Point | None:
        """**Raises** `LinAlgError`."""
        form = self.form
        A, B, e, C, D = form.A, form.B, form.e, form.C, form.D
        sigma = inputs[form.owner]
        terms = gather(self.products, self.products.multipliers(free), e)
        block = input_block(sigma, terms.nu, B)
        G = 0.5 * terms.T.T + terms.nu[:, None] * A
        weighted = terms.T @ A
        H = 0.5 * (weighted + weighted.T) + np.diag(terms.rho) + A.T @ (terms.nu[:, None] * A)
        H -= G.T @ block.Q @ G
        factor = np.linalg.cholesky(0.5 * (H + H.T))

        linear_z = 0.5 * (-terms.T @ e - terms.rho - terms.mu - A.T @ terms.pull)
        z = solve_lower(factor, linear_z + 0.5 * (G.T @ (block.Q @ terms.pull)))
        x = block.pulled @ (0.5 * terms.pull + G @ z)
        level = 0.5 * float(terms.pull @ (B @ x)) + float(linear_z @ z)
        level += float(inputs.sum()) - terms.constant

        direct = block.solve(D.T)
        on_z = solve_lower(factor, C.T + G.T @ (B @ direct))
        on_x = direct + block.pulled @ (G @ on_z)
        shape = D @ on_x + C @ on_z
        shape = 0.5 * (shape + shape.T)
        root = np.linalg.cholesky(shape)
        q, log_shape = form.c.size, 2.0 * float(np.log(np.diag(root)).sum())
        if not (level > 0.0 and np.isfinite(level) and np.isfinite(log_shape)):
            return None
        log_small = 2.0 * float(np.log(np.diag(factor)).sum())
        potential = tau * (level + log_shape / q) - log_small - float(np.log(free).sum())
        log_det = -0.5 * (q * float(np.log(level)) + log_shape)
        center, images = (-z, -x), (shape, root, on_x, on_z)
        return Point(
            inputs, free, level, log_det, potential, *center, *images, sigma, block, G, factor
        )

    def ellipsoid(self, at: Point) -> tuple[np.ndarray, np.ndarray]:
        """`P (q, q)` symmetric positive definite, `p (q,)`: outputs have `‖P y + p‖₂ <= 1`."""
        values, vectors = np.linalg.eigh(at.shape)
        P = (vectors / np.sqrt(values * at.level)) @ vectors.T
        P = 0.5 * (P + P.T)
        center = self.form.C @ at.z + self.form.D @ at.x + self.form.c
        return P, -P @ center

    def newton(self, at: Point, tau: float) -> Step | None:
        """Newton's step in the multipliers where that stays well inside, else in logarithms.

        `None` where neither can be computed. The potential is convex in the multipliers, so their
        own step is the exact one and converges where the path is central; far from there it would
        leave the positive orthant, and the damped logarithmic one goes further.
        """
        gradient, hessian, bend = Derivatives.at(self, at, tau).in_logarithms()
        step = _newton_step(gradient, hessian)
        if step is not None and np.max(np.abs(step.change), initial=0.0) <= WELL_INSIDE:
            return step
        hessian[np.diag_indices_from(hessian)] += bend
        damped = _newton_step(gradient, hessian)
        return None if damped is None else dataclasses.replace(damped, logarithmic=True)


def _newton_step(gradient: np.ndarray, hessian: np.ndarray) -> Step | None:
    try:
        factor = cho_factor(hessian, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    change = -cho_solve(factor, gradient, check_finite=False)
    decrease = -float(gradient @ change)
    if not np.isfinite(decrease):
        return None
    return Step(change, float(np.sqrt(max(decrease, 0.0))), logarithmic=False)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Derivatives:
    """Gram matrices of `X⁻¹` in the directions that constraints use, and what follows from them.

    Directions: `ξ_j` (n of them), then `ẑ_i` and the gradients of `ŝ_i` (`2 k`, "neuron" below).

    - `inner (2k, 2k)`, `mixed (n, 2k)`, `outer (n, n)`: `X⁻¹`.
    - `own_inner`, `own_mixed`, `own_outer`: the same for the inverse of the input block alone.
    - `image_neuron (2k, q)`, `image_input (n, q)`: factors of `Π`.
    """

    dual: EllipsoidDual
    point: Point
    tau: float
    inner: np.ndarray
    mixed: np.ndarray
    outer: np.ndarray
    own_inner: np.ndarray
    own_mixed: np.ndarray
    own_outer: np.ndarray
    image_neuron: np.ndarray
    image_input: np.ndarray

    @classmethod
    def at(cls, dual: EllipsoidDual, at: Point, tau: float) -> "Derivatives":
        A, B = dual.form.A, dual.form.B
        k, n = B.shape
        pulled, Q = at.block.pulled, at.block.Q
        zz = solve_lower(at.factor, np.eye(k))
        along = pulled @ at.G
        through = zz @ (at.G.T @ Q)
        xz = along @ zz
        za = zz @ A.T - through
        xa = xz @ A.T - pulled - along @ through
        aa = A @ za - through.T @ A.T + Q + (Q @ at.G) @ through
        none = np.zeros((k, k))
        image_a = A @ at.on_z - B @ at.on_x
        images = np.vstack([at.on_x, at.on_z, image_a])
        images = solve_triangular(at.root, images.T, lower=True, check_finite=False).T
        return cls(
            dual,
            at,
            tau,
            inner=np.block([[zz, za], [za.T, 0.5 * (aa + aa.T)]]),
            mixed=np.hstack([xz, xa]),
            outer=xz @ along.T,
            own_inner=np.block([[none, none], [none, Q]]),
            own_mixed=np.hstack([np.zeros((n, k)), pulled]),
            own_outer=at.block.inverse(),
            image_neuron=images[n:],
            image_input=images[:n],
        )

    def factors(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions among the neuron directions of left and right factors, and signs `(m,)`."""
        products, k = self.dual.products, self.dual.form.e.size
        of_s = (products.family == Family.S_CAP) | (products.family == Family.S_SIGN)
        of_z = (products.family == Family.Z_CAP) | (products.family == Family.Z_SIGN)
        left = np.where(of_s, k + products.i, products.i)
        right = np.where(of_z, products.j, k + products.j)
        return left, right, QUADRATIC_SIGN[products.family]

    def slopes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """At the centre: values of the functions, and their gradients' weights on left, right."""
        form, products, at = self.dual.form, self.dual.products, self.point
        z, s = at.z, form.A @ at.z - form.B @ at.x - form.e
        zi, si, zj, sj = z[products.i], s[products.i], z[products.j], s[products.j]
        one, zero = np.ones(zi.size), np.zeros(zi.size)
        by_family = (
            (-zi * si, -si, -zi),
            (zi - zi * zi, 0.5 - zi, 0.5 - zi),
            (si - si * si, 0.5 - si, 0.5 - si),
            (zi * sj, sj, zi),
            (zj, one, zero),
            (si, one, zero),
        )
        chosen = [products.family == family for family in Family]
        value, on_left, on_right = (
            np.select(chosen, [entry[part] for entry in by_family], 0.0) for part in range(3)
        )
        return value, on_left, on_right

    def prices(self) -> np.ndarray:
        """`(k, k)`: derivative of the potential over `τ` by a multiplier of `ẑ_i ŝ_j` not in use.

        Negative entries are products that the relaxation violates.
        """
        form, at, k = self.dual.form, self.point, self.dual.form.e.size
        s = form.A @ at.z - form.B @ at.x - form.e
        share = 1.0 / form.c.size
        image = self.image_neuron @ self.image_neuron.T
        moment = share * image + (self.inner - self.own_inner) / self.tau
        return np.outer(at.z, s) + moment[:k, k:]

    def gradient(self) -> np.ndarray:
        """`(n + m,)`, before multipliers are shared and without the logarithms."""
        weight = self.tau / self.dual.form.c.size
        left, right, sign = self.factors()
        value, _, _ = self.slopes()
        on_inputs = -self.tau * self.point.x**2
        on_inputs -= weight * (self.image_input**2).sum(axis=1) + np.diag(self.outer)
        image = np.einsum("iq,iq->i", self.image_neuron[left], self.image_neuron[right])
        barrier = (self.inner - self.own_inner)[left, right]
        return np.concatenate([on_inputs, self.tau * value - sign * (weight * image + barrier)])

    def hessian(self) -> np.ndarray:
        """`(n + m, n + m)`, likewise; exact."""
        tau, x = self.tau, self.point.x
        weight = tau / self.dual.form.c.size
        n = x.size
        left, right, sign = self.factors()
        _, on_left, on_right = self.slopes()
        full = np.empty((n + left.size, n + left.size))

        image = self.image_input @ self.image_input.T
        outer = self.outer + self.own_outer
        block = self.outer * (outer + self.own_outer)
        block += weight * image * (2.0 * outer - image)
        block += 2.0 * tau * np.outer(x, x) * outer
        full[:n, :n] = block

        mixed_image = self.mixed - self.image_input @ self.image_neuron.T
        parts = ((1.0 + weight, self.mixed), (-weight, mixed_image), (-1.0, self.own_mixed))
        side = sum(factor * (gram[:, left] * gram[:, right]) for factor, gram in parts) * sign
        side -= tau * x[:, None] * (self.mixed[:, left] * on_left + self.mixed[:, right] * on_right)
        full[:n, n:] = side
        full[n:, :n] = side.T

        inner_image = self.inner - self.image_neuron @ self.image_neuron.T
        parts = ((1.0 + weight, self.inner), (-weight, inner_image), (-1.0, self.own_inner))
        block = sum(0.5 * factor * _paired(gram, left, right) for factor, gram in parts)
        block *= np.outer(sign, sign)
        slope = (self.inner[:, left] * on_left + self.inner[:, right] * on_right).T
        block += 0.5 * tau * (slope[:, left] * on_left + slope[:, right] * on_right)
        full[n:, n:] = block
        return full

    def in_logarithms(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gradient, Hessian and `bend` for *relative* changes of the multipliers.

        The Hessian is that in the multipliers themselves, so positive definite. In their logarithms
        it has the gradient on its diagonal as well; `bend` is the positive part of that.
        """
        point, products, form = self.point, self.dual.products, self.dual.form
        groups = form.groups
        scale = np.concatenate([point.sigma, products.multipliers(point.free)])
        owner = np.concatenate([form.owner, groups + products.owner])
        gradient, hessian = self.gradient() * scale, self.hessian()
        hessian *= scale[:, None]
        hessian *= scale
        gradient = np.bincount(owner, gradient, minlength=groups + products.free)
        # The constant of a group counts once, however many inputs share it.
        gradient[:groups] += self.tau * point.inputs
        if owner.size > gradient.size:
            hessian = _summed(hessian, owner, gradient.size)
        barrier = np.concatenate([np.zeros(groups), np.ones(products.free)])
        gradient -= barrier
        floor = np.concatenate([1e-9 * self.tau * point.inputs, np.zeros(products.free)])
        hessian[np.diag_indices(gradient.size)] += barrier + floor
        return gradient, hessian, np.maximum(gradient, 0.0)


def _paired(gram: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """`g(l_f, l_h) g(r_f, r_h) + g(l_f, r_h) g(r_f, l_h)` for all pairs of products `f, h`."""
    by_left, by_right = gram[left], gram[right]
    return by_left[:, left] * by_right[:, right] + by_left[:, right] * by_right[:, left]


def _summed(matrix: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """Rows and columns of one owner added up."""
    from scipy.sparse import csr_matrix

    ones = csr_matrix((np.ones(owner.size), (owner, np.arange(owner.size))), (count, owner.size))
    return np.ascontiguousarray(ones @ (ones @ matrix).T)
