"""The affine halves of one abstract step, prepared once for each step size.

Letters: `p` neurons, `M = I - W`, `m` its proved modulus, `q = Ux + b`, `α` step size,
`V = (I + αM)⁻¹`, `T = 2V - I`.

**Peaceman-Rachford.** With `t = 2z - u`, CRAFT's step (equation 4) reads `u' = 2V(t + αq) - t =
T t + 2αV q`, `z' = ReLU(u')`, `t' = 2z' - u' = |u'|`. At the fixpoint `u = z - αs`, `t = z + αs`.

*Rigor.* `T` is computed, call it `T̂`, and stands for the exact `V̂ = (T̂ + I)/2`. With
`R = I - V̂(I + αM)`, `V = V̂ + RV`, so `u' = T̂ t + (T̂ + I) α q + 2 R w`, `w = V(t + αq)`, and
`‖w‖₂ <= ‖t + αq‖₂ / (1 + αm)` because `M` is strongly monotone.

**Forward-backward.** `v = (I - αM) z + αq`, `z' = ReLU(v)` (equation 3). At the fixpoint
`v = z - αs` as well, for every `α > 0`.
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.craft.inputs import InputSymbols
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, gamma
from vnn_mondeq.sets.mixed_zonotope import MixedZonotope
from vnn_mondeq.system.implicit import ImplicitSystem


@final
@dataclass(frozen=True, slots=True, eq=False)
class SplittingMatrices:
    """`T̂` of a system at a step size, and how far it is from the exact one.

    - `residual`: `(p,)`, upper bounds on `2 ‖R_i‖₂ / (1 + αm)`, row by row.
    """

    system: ImplicitSystem
    alpha: float
    reflect: np.ndarray = field(init=False, repr=False)
    residual: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.alpha > 0.0:
            raise ValueError(f"a step size must be positive, not {self.alpha}")
        W, alpha = self.system.W, self.alpha
        p = W.shape[0]
        identity = np.eye(p)
        resolved = identity + alpha * (identity - W)
        reflect = 2.0 * np.linalg.inv(resolved) - identity
        radius = self.system.preactivation.radius
        spread = 4.0 * UNIT * (identity + alpha * (identity + np.abs(W)))
        if radius is not None:
            spread = spread + alpha * radius.on_z
        half = 0.5 * (np.abs(reflect) + identity)
        defect = np.abs(identity - 0.5 * (reflect + identity) @ resolved)
        defect = defect + gamma(p + 8) * (half @ np.abs(resolved) + identity)
        defect = (defect + half @ spread) * SAFETY + UNDERFLOW
        rows = np.sqrt((defect * defect).sum(axis=1)) * SAFETY
        object.__setattr__(self, "reflect", reflect)
        object.__setattr__(
            self, "residual", 2.0 * rows / (1.0 + alpha * self.system.proof.modulus) * SAFETY
        )


@final
@dataclass(frozen=True, slots=True, eq=False)
class PeacemanRachford:
    """`t -> u' = T t + 2αV q` on sets, for one input set.

    `drive` contains `(T̂ + I) α q`, `constants` contains `q`.
    """

    matrices: SplittingMatrices
    constants: MixedZonotope
    drive: MixedZonotope = field(init=False, repr=False)

    def __post_init__(self) -> None:
        reflect, alpha = self.matrices.reflect, self.matrices.alpha
        p = reflect.shape[0]
        gain = alpha * (reflect + np.eye(p))
        drive = self.constants.affine(
            gain, np.zeros(p), matrix_error=4.0 * UNIT * np.abs(gain), keep_as_box=np.inf
        )
        object.__setattr__(self, "drive", drive)

    @property
    def alpha(self) -> float:
        return self.matrices.alpha

    def advance(self, state: MixedZonotope) -> MixedZonotope:
        """Contains `u'` for all states: `t` (p dimensions) or `[z, u]` (2p, with `t = 2z - u`)."""
        reflect = self.matrices.reflect
        p = reflect.shape[0]
        size = state.magnitude()
        if state.dimension == 2 * p:
            matrix = np.concatenate([2.0 * reflect, -reflect], axis=1)
            size = (2.0 * size[:p] + size[p:]) * SAFETY
        else:
            matrix = reflect
        size = (size + self.alpha * self.constants.magnitude()) * SAFETY
        norm = float(np.sqrt(size @ size)) * SAFETY
        image = state.affine(matrix, np.zeros(p), plus=self.drive)
        return image.enlarged(self.matrices.residual * norm)


@final
@dataclass(frozen=True, slots=True, eq=False)
class ForwardBackward:
    """`z -> v = (I - αM) z + αq` on sets, for one input set."""

    system: ImplicitSystem
    alpha: float
    constants: MixedZonotope
    matrix: np.ndarray = field(init=False, repr=False)
    matrix_error: np.ndarray = field(init=False, repr=False)
    drive: MixedZonotope = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.alpha > 0.0:
            raise ValueError(f"a step size must be positive, not {self.alpha}")
        W, alpha = self.system.W, self.alpha
        identity = np.eye(W.shape[0])
        error = 4.0 * UNIT * (identity + alpha * (identity + np.abs(W)))
        radius = self.system.preactivation.radius
        if radius is not None:
            error = error + alpha * radius.on_z
        object.__setattr__(self, "matrix", identity - alpha * (identity - W))
        object.__setattr__(self, "matrix_error", error * SAFETY)
        scale = np.full(W.shape[0], alpha)
        object.__setattr__(
            self, "drive", self.constants.scale_shift(scale, np.zeros_like(scale), 0.0 * scale)
        )

    def advance(self, state: MixedZonotope) -> MixedZonotope:
        """Contains `v` for all `z` of the state."""
        zero = np.zeros(self.matrix.shape[0])
        return state.affine(self.matrix, zero, matrix_error=self.matrix_error, plus=self.drive)


def constants_of(system: ImplicitSystem, symbols: InputSymbols) -> MixedZonotope:
    """A set that contains `q = Ux + b` for all inputs and all systems within the radius."""
    radius = system.preactivation.radius
    spread = None if radius is None else radius.on_x
    image = symbols.image(system.U, system.b, spread)
    return image if radius is None else image.enlarged(radius.offset)
