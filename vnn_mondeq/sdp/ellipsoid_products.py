"""Which products of constraints the ellipsoid model uses, as index arrays.

In scaled variables (`phases.py`): `ẑ_i >= 0`, `ŝ_i >= 0`, `ẑ_i ŝ_i = 0`, and, where upper bounds
are used as units, `ẑ_i <= 1`, `ŝ_i <= 1`. A product is a function that is non-negative on every
fixpoint; its *left* and *right* factors are linear parts that come from `ẑ_i` or from `ŝ_j`.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Self, final

import numpy as np


class Family(IntEnum):
    """The non-negative functions; `i`, `j` are neurons."""

    COMPLEMENTARITY = 0
    """`-ẑ_i ŝ_i` (zero: either sign of its multiplier is valid, but positive ones suffice)."""
    Z_CAP = 1
    """`ẑ_i (1 - ẑ_i)`"""
    S_CAP = 2
    """`ŝ_i (1 - ŝ_i)`"""
    CROSS = 3
    """`ẑ_i ŝ_j`, `i != j`; two of them make the pairwise slope restriction (see `with_slopes`)."""
    Z_SIGN = 4
    """`ẑ_i`"""
    S_SIGN = 5
    """`ŝ_i`"""


QUADRATIC_SIGN = np.array([1.0, 1.0, 1.0, -1.0, 0.0, 0.0])
"""By family: the sign of `left · right` in the quadratic part of *minus* the function."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Products:
    """`m` functions that share `r <= m` free multipliers.

    - `family`, `i`, `j` `(m,)`: `j == i` except for `CROSS`.
    - `owner (m,)`, `weight (m,)`: function number `f` has the multiplier `weight[f] u[owner[f]]`.
    """

    family: np.ndarray
    i: np.ndarray
    j: np.ndarray
    owner: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, families: tuple[Family, ...], neurons: int) -> Self:
        """Each family for each neuron, one multiplier each."""
        each = np.arange(neurons)
        family = np.repeat(np.array(families, dtype=np.intp), neurons)
        index = np.tile(each, len(families))
        return cls(family, index, index, np.arange(family.size), np.ones(family.size))

    @property
    def free(self) -> int:
        """`r`."""
        return int(self.owner.max(initial=-1)) + 1

    def multipliers(self, free: np.ndarray) -> np.ndarray:
        """One multiplier for each function."""
        return self.weight * free[self.owner]

    def with_cross(self, pairs: np.ndarray) -> "Products":
        """Also `ẑ_i ŝ_j` for the ordered `pairs (c, 2)`."""
        count = len(pairs)
        return self._and(pairs, self.free + np.arange(count), np.ones(count))

    def with_slopes(
        self, pairs: np.ndarray, scale_z: np.ndarray, scale_s: np.ndarray
    ) -> "Products":
        """Also the pairwise slope restriction for the unordered `pairs (c, 2)`.

        `(z_j - z_i)(v_j - v_i) - (z_j - z_i)² >= 0` with `v = z - s` is `z_i s_j + z_j s_i >= 0`
        wherever `z_i s_i = z_j s_j = 0` (M6 in Chen et al. 2021, appendix A.3): the sum of two
        cross products, which are non-negative one by one.
        """
        i, j = pairs.T
        weights = np.vstack([scale_z[i] * scale_s[j], scale_z[j] * scale_s[i]])
        weights = (weights / weights.max(axis=0)).reshape(-1)
        owner = self.free + np.tile(np.arange(len(pairs)), 2)
        return self._and(np.vstack([pairs, pairs[:, ::-1]]), owner, weights)

    def _and(self, pairs: np.ndarray, owner: np.ndarray, weight: np.ndarray) -> "Products":
        family = np.full(len(pairs), int(Family.CROSS))
        return Products(
            np.concatenate([self.family, family]),
            np.concatenate([self.i, pairs[:, 0]]),
            np.concatenate([self.j, pairs[:, 1]]),
            np.concatenate([self.owner, owner]),
            np.concatenate([self.weight, weight]),
        )
