"""The strip relaxation of a whole fixpoint, and the multipliers it gives.

Under a box `(Z, S)` every neuron satisfies `S_i z_i + Z_i s_i = Z_i S_i t_i`, `t_i in [0, 1]`: the
narrowest strip of lines parallel to the long side of the triangle `z_i/Z_i + s_i/S_i <= 1` (for one
step of any splitting it is the DeepZ transformer of Singh et al. 2018, whatever the step size).
With `s = Mz - Ux - b` the whole fixpoint is linear in `(x, t)`:

    z = K (Z ∘ (Ux + b) + Z ∘ S ∘ t),      K = (diag(S) + diag(Z) M)⁻¹

which is the limit of infinitely many abstract forward-backward steps with those strips, in one
linear solve. `K` exists because `M` is strongly monotone. A bound of `c·z` under this relaxation is
the dual bound (`check.py`) at `y = Z ∘ Kᵀc`, and that one is never worse.

Nothing here is rigorous: the results are multipliers, which `check.py` evaluates on its own.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet, Box
from vnn_mondeq.system.implicit import ImplicitSystem


class AbstractProjection(ABC):
    """Fast float support function of an input set in the directions `on_x + Y U`."""

    @abstractmethod
    def __call__(self, multipliers: np.ndarray, on_x: np.ndarray | None = None) -> np.ndarray:
        """`multipliers (n, p)`, `on_x (n, d)` or none → `(n,)`."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class BoxProjection(AbstractProjection):
    """For boxes: only inputs of positive width cost anything.

    - `center`: `(d,)`; `radius`: `(d,)`; `varying`: positions with a positive radius.
    - `projected_center`: `U @ center`; `scaled`: `U[:, varying] * radius[varying]`.
    """

    center: np.ndarray
    radius: np.ndarray
    varying: np.ndarray
    projected_center: np.ndarray
    scaled: np.ndarray

    @classmethod
    def of(cls, system: ImplicitSystem, box: Box) -> "BoxProjection":
        center = 0.5 * (box.lower + box.upper)
        radius = np.maximum(box.upper - center, center - box.lower)
        varying = np.flatnonzero(radius > 0.0)
        scaled = system.U[:, varying] * radius[varying]
        return cls(center, radius, varying, system.U @ center, scaled)

    def __call__(self, multipliers: np.ndarray, on_x: np.ndarray | None = None) -> np.ndarray:
        spread = multipliers @ self.scaled
        value = multipliers @ self.projected_center
        if on_x is not None:
            spread = spread + on_x[:, self.varying] * self.radius[self.varying]
            value = value + on_x @ self.center
        return value + np.abs(spread).sum(axis=1)


@final
@dataclass(frozen=True, slots=True, eq=False)
class SetProjection(AbstractProjection):
    """For any other set, through its own support function."""

    system: ImplicitSystem
    inputs: AbstractInputSet

    def __call__(self, multipliers: np.ndarray, on_x: np.ndarray | None = None) -> np.ndarray:
        direction = multipliers @ self.system.U
        return self.inputs.support(direction if on_x is None else direction + on_x)


def project(system: ImplicitSystem, inputs: AbstractInputSet) -> AbstractProjection:
    """The projection for a set."""
    if isinstance(inputs, Box):
        return BoxProjection.of(system, inputs)
    return SetProjection(system, inputs)


@final
@dataclass(frozen=True, slots=True, eq=False)
class NeuronBounds:
    """`upper_z`, `upper_s` `(p,)`: bounds on the own branches (negative: the branch is empty);
    `for_z`, `for_s` `(p, p)`: the multipliers that give them."""

    upper_z: np.ndarray
    upper_s: np.ndarray
    for_z: np.ndarray
    for_s: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class StripRelaxation:
    """The relaxation for one system, input set and box.

    `inverse` is `K` of the module docstring, with rows of neurons whose box is a point (both bounds
    zero) replaced by `z_i = 0`.
    """

    system: ImplicitSystem
    projection: AbstractProjection
    box_z: np.ndarray
    box_s: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(
        cls,
        system: ImplicitSystem,
        projection: AbstractProjection,
        box_z: np.ndarray,
        box_s: np.ndarray,
    ) -> "StripRelaxation":
        """**Raises** `numpy.linalg.LinAlgError` when the matrix is singular in floating point."""
        slack = np.where((box_z == 0.0) & (box_s == 0.0), 1.0, box_s)
        matrix = -box_z[:, None] * system.W
        matrix[np.diag_indices_from(matrix)] += slack + box_z
        return cls(system, projection, box_z, box_s, np.linalg.inv(matrix))

    def neuron_bounds(self) -> NeuronBounds:
        """Bounds of every `z_k` on `s_k = 0` and every `s_k` on `z_k = 0`.

        Fixing the branch of neuron `k` replaces row `k` of `K⁻¹` by `M_k` (or by `e_k`): a rank-one
        change, so all `2 p` solves share one inverse (Sherman-Morrison).
        """
        K = self.inverse
        MK = K - self.system.W @ K
        own, branch = np.diag(K).copy(), np.diag(MK).copy()
        both = self.box_z * self.box_s

        rows_z = K - (own / branch)[:, None] * MK
        rows_z[np.diag_indices_from(rows_z)] = own / branch
        for_z = rows_z * self.box_z
        np.fill_diagonal(for_z, own / branch)
        gain = np.maximum(rows_z, 0.0) * both
        np.fill_diagonal(gain, 0.0)
        upper_z = for_z @ self.system.b + self.projection(for_z) + gain.sum(axis=1)

        rows_s = MK - (branch / own)[:, None] * K
        for_s = rows_s * self.box_z
        np.fill_diagonal(for_s, -1.0)
        gain = np.maximum(rows_s, 0.0) * both
        np.fill_diagonal(gain, 0.0)
        upper_s = for_s @ self.system.b + self.projection(for_s) + gain.sum(axis=1)
        return NeuronBounds(upper_z, upper_s, for_z, for_s)

    def row_multipliers(self, on_z: np.ndarray) -> np.ndarray:
        """The multipliers `y` of the upper bounds of `on_z (n, p)`: `(n, p)`."""
        return (on_z @ self.inverse) * self.box_z

    def row_bounds(self, on_z: np.ndarray, on_x: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Dual upper bounds `(n,)` of `on_z·z + on_x·x` at any multipliers (plain float64)."""
        box = (self.box_z, self.box_s)
        return dual_bounds(self.system, self.projection, box, on_z, on_x, multipliers)


def dual_bounds(
    system: ImplicitSystem,
    projection: AbstractProjection,
    box: tuple[np.ndarray, np.ndarray],
    on_z: np.ndarray,
    on_x: np.ndarray,
    multipliers: np.ndarray,
) -> np.ndarray:
    """Dual upper bounds `(n,)` of `on_z·z + on_x·x` under the box `(Z, S)` (plain float64).

    `on_z (n, p)`, `on_x (n, d)`, any `multipliers (n, p)`.
    """
    reduced = on_z - multipliers + multipliers @ system.W
    vertices = np.maximum(reduced * box[0], multipliers * box[1])
    return (
        np.maximum(vertices, 0.0).sum(axis=1)
        + multipliers @ system.b
        + projection(multipliers, on_x)
    )
