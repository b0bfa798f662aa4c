"""The Hessian of a `ShorDual`, in blocks, assembled whole."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, final

import numpy as np
from scipy.linalg import cho_solve

from vnn_mondeq.sdp.set_constraints import SetConstraints

if TYPE_CHECKING:
    from vnn_mondeq.sdp.shor import Evaluation, ShorDual


@final
@dataclass(frozen=True, slots=True, eq=False)
class Grams:
    """The inverse quadratic part `F⁻¹` between `ẑ_i` (z), the gradient of `ŝ_i` (a), `ξ_j` (x).

    - `own (n, r)`: `X⁻¹Bᵀ`; `core (r, r)`: the input block of `F⁻¹` is `X⁻¹ + own core ownᵀ`.
    - `zz (k, k)`, `za (k, r)`, `xz (n, k)`, `xa (n, r)`.
    - `low (r, r)`: `aa - Q`, `Q = B X⁻¹ Bᵀ`.

    No differences: nothing cancels where the multipliers of inputs are tiny.
    """

    own: np.ndarray
    core: np.ndarray
    zz: np.ndarray
    za: np.ndarray
    low: np.ndarray
    xz: np.ndarray
    xa: np.ndarray
    Q: np.ndarray

    @classmethod
    def of(cls, dual: "ShorDual", at: "Evaluation") -> Self:
        zz = cho_solve((at.factor, True), np.eye(at.z.size), check_finite=False)
        own, Q = at.inputs.own(), at.inputs.Q
        slope = dual.A - Q @ at.G  # of ŝ against ẑ, with the inputs moving along
        pushed, za = at.G @ zz, zz @ slope.T
        xz = own @ pushed
        return cls(own, pushed @ at.G.T, zz, za, slope @ za, xz, xz @ slope.T - own, Q)


@dataclass(frozen=True, slots=True, eq=False)
class AbstractBlocks(ABC):
    """The Hessian in the multipliers themselves, not their logarithms.

    `z (k,)`, `s (r,)`, `x (n,)`: values at the stationary point. Each block is that of `-log det H`
    plus `τ / 2` times the Gram matrix of the products' gradients there.
    """

    grams: Grams
    z: np.ndarray
    s: np.ndarray
    x: np.ndarray
    tau: float

    @abstractmethod
    def products(self) -> np.ndarray:
        """In the multipliers of products of neurons."""

    @abstractmethod
    def cross(self) -> tuple[np.ndarray, np.ndarray]:
        """Between `σ` and those, `(n, ·)` each: of `-log det H`, and of `τ γ` without its factor
        `x_j`."""

    @abstractmethod
    def curved_by(self, C: np.ndarray) -> np.ndarray:
        """Between the form `ξᵀCξ` and the products, of `-log det H`: `cross` for any matrix."""

    def whole(
        self, coupled: np.ndarray, inverse: np.ndarray, beyond: SetConstraints | None
    ) -> np.ndarray:
        """In all multipliers, in order.

        - `coupled (n, n)`: the input block of `F⁻¹` less `inverse = X⁻¹`.

        The forms of `δ` are combinations of those of `σ`, except for the linear parts, which only
        `τ γ` sees.
        """
        tau, x = self.tau, self.x
        straight = coupled * (coupled + 2.0 * inverse)
        whole = coupled + inverse
        curved, pulled = self.cross()
        across = curved + x[:, None] * pulled
        corner = straight + 2.0 * tau * (x[:, None] * x) * whole
        H = np.block([[corner, across], [across.T, self.products()]])
        if beyond is None or beyond.constant.size == 0:
            return H
        tilt = beyond.curve * x - 0.5 * beyond.linear
        on_inputs, on_products = beyond.curve @ straight, beyond.curve @ curved
        last = on_inputs @ beyond.curve.T
        if beyond.cross is not None:
            tilt = tilt + beyond.cross @ x
            C = beyond.cross + np.array([np.diag(row) for row in beyond.curve])
            changed = whole @ C @ whole - inverse @ C @ inverse
            on_inputs = np.diagonal(changed, axis1=1, axis2=2)
            on_products = np.array([self.curved_by(matrix) for matrix in C])
            last = np.tensordot(changed, C, axes=([1, 2], [1, 2]))
        on_inputs = on_inputs + 2.0 * tau * tilt @ (whole * x)
        rows = np.hstack([on_inputs, on_products + tilt @ pulled])
        last = last + 2.0 * tau * tilt @ whole @ tilt.T
        return np.block([[H, rows.T], [rows, last]])


@final
@dataclass(frozen=True, slots=True, eq=False)
class HessianBlocks(AbstractBlocks):
    """With the families `t, ρ, ν` alone, `2 k + r` in all."""

    def products(self) -> np.ndarray:
        grams, tau, z = self.grams, self.tau, self.z
        k, rows = grams.za.shape
        zz, za, aa = grams.zz, grams.za, grams.low + grams.Q
        own, both, s = za[:, :k], aa[:k, :k], self.s[:k]
        mid_z, mid_s = z - 0.5, self.s - 0.5
        t, rho, nu = slice(0, k), slice(k, 2 * k), slice(2 * k, 2 * k + rows)
        H = np.empty((2 * k + rows, 2 * k + rows))
        H[t, t] = 0.5 * (zz * both + own * own.T) + 0.5 * tau * (
            zz * np.outer(s, s)
            + own * np.outer(s, z)
            + own.T * np.outer(z, s)
            + both * np.outer(z, z)
        )
        H[t, rho] = zz * own.T + tau * (zz * s[:, None] + own.T * z[:, None]) * mid_z
        H[t, nu] = za * aa[:k] + tau * (za * s[:, None] + aa[:k] * z[:, None]) * mid_s
        H[rho, rho] = zz * zz + 2.0 * tau * zz * np.outer(mid_z, mid_z)
        H[rho, nu] = za * za + 2.0 * tau * za * np.outer(mid_z, mid_s)
        H[nu, nu] = grams.low * (aa + grams.Q) + 2.0 * tau * aa * np.outer(mid_s, mid_s)
        for row, column in ((rho, t), (nu, t), (nu, rho)):
            H[row, column] = H[column, row].T
        return H

    def cross(self) -> tuple[np.ndarray, np.ndarray]:
        grams, z, s = self.grams, self.z, self.s
        xz, xa, own, k = grams.xz, grams.xa, grams.own, self.z.size
        curved = [xz * xa[:, :k], xz * xz, (xa - own) * (xa + own)]
        pulled = [0.5 * (xz * s[:k] + xa[:, :k] * z), xz * (z - 0.5), xa * (s - 0.5)]
        return np.hstack(curved), 2.0 * self.tau * np.hstack(pulled)

    def curved_by(self, C: np.ndarray) -> np.ndarray:
        grams, k = self.grams, self.z.size
        xz, xa, own = grams.xz, grams.xa, grams.own
        image = C @ xa
        return np.concatenate(
            [
                (xz * image[:, :k]).sum(axis=0),
                (xz * (C @ xz)).sum(axis=0),
                (xa * image - own * (C @ own)).sum(axis=0),
            ]
        )
