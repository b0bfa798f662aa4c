"""Products of two neurons in the strengthened Shor relaxation of `shor.py`.

For every neuron `ẑ`, `ŝ` and `1 - ẑ - ŝ` are non-negative (`ẑ ŝ = 0`, both at most 1), so the
product of two of them that belong to different neurons is: nine families
for each pair of neurons (the reformulation-linearisation of Sherali and Adams 1990, first level).
There are too many to have all; `worst_pairs` chooses those that a relaxation violates most.

*Atoms*: `ẑ_i` is number `i`, `ŝ_i` number `k + i`, `1 - ẑ_i - ŝ_i` number `2 k + i`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, final

import numpy as np

from vnn_mondeq.sdp.hessian import AbstractBlocks, Grams

if TYPE_CHECKING:
    from vnn_mondeq.sdp.shor import Evaluation, ShorDual


@final
@dataclass(frozen=True, slots=True, eq=False)
class ProductForm:
    """`ẑᵀR ẑ + 2 ŝᵀT ẑ + ŝᵀN ŝ + on_z·ẑ + on_s·ŝ + constant`: minus all products of neurons, with
    their multipliers. `R (k, k)`, `T (r, k)`, `N (r, r)`; `R`, `N` symmetric."""

    R: np.ndarray
    T: np.ndarray
    N: np.ndarray
    on_z: np.ndarray
    on_s: np.ndarray
    constant: float

    @classmethod
    def of(cls, t: np.ndarray, rho: np.ndarray, nu: np.ndarray) -> Self:
        """Of the families `t (k,)`, `ρ (k,)`, `ν (r,)`."""
        T = np.zeros((nu.size, t.size))
        T[np.diag_indices(t.size)] = 0.5 * t
        return cls(np.diag(rho), T, np.diag(nu), -rho, -nu, 0.0)

    def value(self, z: np.ndarray, s: np.ndarray) -> float:
        """At one point."""
        square = z @ (self.R @ z) + 2.0 * (s @ (self.T @ z)) + s @ (self.N @ s)
        return float(square + self.on_z @ z + self.on_s @ s) + self.constant


@final
@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """`left (P,)`, `right (P,)`: the atoms of each product."""

    left: np.ndarray
    right: np.ndarray

    @property
    def count(self) -> int:
        """`P`."""
        return self.left.size

    def subtracted(self, form: ProductForm, prices: np.ndarray) -> ProductForm:
        """The form less `prices (P,)` times the products."""
        k = form.on_z.size
        W = np.zeros((3 * k, 3 * k))
        np.add.at(W, (self.left, self.right), -0.5 * prices)
        W = W + W.T
        W = W.reshape(3, k, 3, k)
        zz, zs, zr = W[0, :, 0], W[0, :, 1], W[0, :, 2]
        ss, sr, rr = W[1, :, 1], W[1, :, 2], W[2, :, 2]
        R, T, N = form.R.copy(), form.T.copy(), form.N.copy()
        R += zz - zr - zr.T + rr
        N[:k, :k] += ss - sr - sr.T + rr
        T[:k] += zs.T - zr.T - sr + rr
        on_z = form.on_z + 2.0 * (zr - rr).sum(axis=1)
        on_s = form.on_s.copy()
        on_s[:k] += 2.0 * (sr - rr).sum(axis=1)
        return ProductForm(R, T, N, on_z, on_s, form.constant + float(rr.sum()))

    def gradient(self, grams: Grams, at: "Evaluation", tau: float) -> np.ndarray:
        """`(P,)`: minus the gradient of the potential less its logarithms."""
        atoms = _Atoms.of(grams, at)
        whole, removed = atoms.between(self.left, self.right, diagonal=True)
        return -(whole - removed + tau * atoms.value[self.left] * atoms.value[self.right])


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Atoms:
    """The `3 k` atoms and, after them, `1 - ẑ` and `1 - ŝ` (`2 k`), at an evaluation.

    - `gram (5 k, 5 k)`: between their gradients, of `F⁻¹`; `removed`: the same of `X⁻¹` alone.
    - `cross (n, 5 k)`, `cross_removed`: between them and the inputs. `value (5 k,)`.
    """

    gram: np.ndarray
    removed: np.ndarray
    cross: np.ndarray
    cross_removed: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, grams: Grams, at: "Evaluation") -> Self:
        k = at.z.size
        s, za, Q = at.s[:k], grams.za[:, :k], grams.Q[:k, :k]
        whole = np.block([[grams.zz, za], [za.T, grams.low[:k, :k] + Q]])
        inputs = np.zeros((2 * k, 2 * k))
        inputs[k:, k:] = Q
        cross = np.hstack([grams.xz, grams.xa[:, :k]])
        alone = np.hstack([np.zeros_like(grams.xz), -grams.own[:, :k]])
        value = np.concatenate([at.z, s, 1.0 - at.z - s, 1.0 - at.z, 1.0 - s])
        grown = (_spread(_spread(matrix).T) for matrix in (whole, inputs))
        return cls(*grown, _spread(cross), _spread(alone), value)

    def between(
        self, left: np.ndarray, right: np.ndarray, *, diagonal: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        where = (left, right) if diagonal else np.ix_(left, right)
        return self.gram[where], self.removed[where]


def _spread(columns: np.ndarray) -> np.ndarray:
    """Columns for `ẑ`, `ŝ` → columns for all atoms."""
    z, s = np.split(columns, 2, axis=1)
    return np.hstack([z, s, -z - s, -z, -s])


@final
@dataclass(frozen=True, slots=True, eq=False)
class PairBlocks(AbstractBlocks):
    """The Hessian with pairs: every product is `sign` times `left` times `right`, atoms of
    `_Atoms`; in order `t, ρ, ν`, pairs."""

    atoms: _Atoms
    left: np.ndarray
    right: np.ndarray
    sign: np.ndarray

    @classmethod
    def of(cls, dual: "ShorDual", grams: Grams, at: "Evaluation", tau: float) -> Self:
        i, k, pairs = np.arange(at.z.size), at.z.size, dual.pairs
        left = np.concatenate([i, i, k + i, pairs.left])
        right = np.concatenate([k + i, 3 * k + i, 4 * k + i, pairs.right])
        sign = np.ones(left.size)
        sign[:k] = -1.0
        return cls(grams, at.z, at.s, at.x, tau, _Atoms.of(grams, at), left, right, sign)

    def products(self) -> np.ndarray:
        atoms, left, right = self.atoms, self.left, self.right
        ll, own_ll = atoms.between(left, left)
        rr, own_rr = atoms.between(right, right)
        lr, own_lr = atoms.between(left, right)
        a, b = atoms.value[left], atoms.value[right]
        H = 0.5 * (ll * rr + lr * lr.T - own_ll * own_rr - own_lr * own_lr.T)
        pulled = b[:, None] * (ll * b + lr * a) + a[:, None] * (lr.T * b + rr * a)
        return (H + 0.5 * self.tau * pulled) * self.sign * self.sign[:, None]

    def cross(self) -> tuple[np.ndarray, np.ndarray]:
        atoms, left, right = self.atoms, self.left, self.right
        whole, alone = atoms.cross, atoms.cross_removed
        curved = whole[:, left] * whole[:, right] - alone[:, left] * alone[:, right]
        a, b = atoms.value[left], atoms.value[right]
        pulled = whole[:, left] * b + whole[:, right] * a
        return -self.sign * curved, -self.tau * self.sign * pulled

    def curved_by(self, C: np.ndarray) -> np.ndarray:
        atoms, left, right = self.atoms, self.left, self.right
        whole, alone = atoms.cross, atoms.cross_removed
        curved = whole[:, left] * (C @ whole)[:, right] - alone[:, left] * (C @ alone)[:, right]
        return -self.sign * curved.sum(axis=0)


def worst_pairs(dual: "ShorDual", at: "Evaluation", tau: float, count: int) -> Pairs:
    """The `count` products, not yet in the dual, that its relaxation violates most.

    - `at`: a central point of the parameter `tau`: there the moments of the relaxation are the
      stationary point's plus the inverse form divided by `tau`.
    """
    k = at.z.size
    atoms = _Atoms.of(Grams.of(dual, at), at)
    value = atoms.value[: 3 * k]
    moments = np.outer(value, value) + (atoms.gram - atoms.removed)[: 3 * k, : 3 * k] / tau
    neuron = np.arange(3 * k) % k
    moments[neuron[:, None] >= neuron] = np.inf
    if dual.pairs is not None:
        moments[dual.pairs.left, dual.pairs.right] = np.inf
    order = np.argsort(moments, axis=None)[:count]
    left, right = np.unravel_index(order[moments.ravel()[order] < 0.0], moments.shape)
    if dual.pairs is not None:
        left = np.concatenate([dual.pairs.left, left])
        right = np.concatenate([dual.pairs.right, right])
    return Pairs(left, right)
