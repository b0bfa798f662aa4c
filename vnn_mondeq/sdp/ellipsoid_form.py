"""The data of the ellipsoid model in scaled variables, and sums of its products as matrices."""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.sdp.ellipsoid_products import QUADRATIC_SIGN, Family, Products


@final
@dataclass(frozen=True, slots=True, eq=False)
class OutputForm:
    """`ŝ = Aẑ - Bξ - e` and `y = Cẑ + Dξ + c` over a set of scaled inputs.

    - `owner (n,)`: input number `j` has the multiplier `u[owner[j]]` in `-Σ u_o (1 - Σ_j ξ_j²)`,
      the inner sum over the inputs of one owner. One owner each: a box; one for several: a ball.
    - `unit_z`, `unit_s` `(k,)`: `ẑ = z / unit_z`, `ŝ = s / unit_s`.
    """

    A: np.ndarray
    B: np.ndarray
    e: np.ndarray
    C: np.ndarray
    D: np.ndarray
    c: np.ndarray
    owner: np.ndarray
    unit_z: np.ndarray
    unit_s: np.ndarray

    @property
    def groups(self) -> int:
        """Number of multipliers of the input set."""
        return int(self.owner.max(initial=-1)) + 1


@final
@dataclass(frozen=True, slots=True, eq=False)
class Matrices:
    """What the multipliers of the products add up to; see `EllipsoidDual.evaluate`."""

    T: np.ndarray
    rho: np.ndarray
    nu: np.ndarray
    mu: np.ndarray
    pull: np.ndarray
    constant: float


def gather(products: Products, values: np.ndarray, e: np.ndarray) -> Matrices:
    """Matrices of the quadratic `-Σ values · g` for `values (m,)`."""
    k = e.size
    i, j, family = products.i, products.j, products.family
    T = np.zeros((k, k))
    crossing = (family == Family.COMPLEMENTARITY) | (family == Family.CROSS)
    signed = values * QUADRATIC_SIGN[family]
    np.add.at(T, (i[crossing], j[crossing]), signed[crossing])

    def total(kind: Family) -> np.ndarray:
        chosen = family == kind
        return np.bincount(i[chosen], values[chosen], minlength=k)

    nu, sign_s = total(Family.S_CAP), total(Family.S_SIGN)
    pull = nu * (1.0 + 2.0 * e) + sign_s
    constant = float(nu @ (e * e + e) + sign_s @ e)
    return Matrices(T, total(Family.Z_CAP), nu, total(Family.Z_SIGN), pull, constant)
