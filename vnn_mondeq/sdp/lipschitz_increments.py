"""The network between two inputs, as a system with sector-bounded neurons.

Letters: `δz, δv, δx` differences of fixpoint, pre-activation and input between two points;
`W, U` of the system; `p` neurons.

    δv = W δz + U δx,        δy = C δz + D δx

The secant of ReLU has a slope in `[lower_i, upper_i]`: `[0, 1]` in general, 0 (1) for a neuron that
is inactive (active) at both points, and something between where more is known (`Slopes.from_box`).
With `width = upper - lower` put `δz = lower ∘ δv + width ∘ w`: then `w_i (δv_i - w_i) >= 0`, and
with `T = (I - W diag(lower))⁻¹`

    δv = T (W diag(width) w + U δx),

the *loop transformation* of robust control. Neurons of width zero drop out; what is left of them
is in `T` (for active neurons, the Schur complement of `I - W`). `T` exists: `(I - WΛ)v = r` with
`Λ` in [0, 1] and `z = Λv` gives `m ‖z‖² <= zᵀ(I - W)z <= zᵀr`, so `‖v‖ <= (1 + ‖W‖/m) ‖r‖`.

Plain float64 here; `lipschitz_check.py` forms its own data, with error bounds.
"""

from dataclasses import dataclass
from typing import Self, final

import numpy as np

from vnn_mondeq.system.implicit import ImplicitSystem


@final
@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """Bounds on the secant slopes of all neurons, `lower, upper (p,)`, and the neurons `kept (k,)`
    whose slope is not fixed."""

    lower: np.ndarray
    upper: np.ndarray
    kept: np.ndarray

    @classmethod
    def anywhere(cls, neurons: int) -> Self:
        return cls(np.zeros(neurons), np.ones(neurons), np.arange(neurons))

    @classmethod
    def within_box(cls, box_z: np.ndarray, box_s: np.ndarray) -> Self:
        """Between any two inputs of a set on which `z <= box_z` and `s <= box_s`."""
        off, on = box_z == 0.0, (box_s == 0.0) & (box_z > 0.0)
        return cls(np.where(on, 1.0, 0.0), np.where(off, 0.0, 1.0), np.flatnonzero(~(off | on)))

    @classmethod
    def from_point(cls, box_z: np.ndarray, box_s: np.ndarray, v: np.ndarray) -> Self:
        """Between the input where the pre-activation is `v` and any input of the set.

        From `v > 0`, a secant that ends at `v' < 0` has the slope `v / (v - v')`, and `-v' <=
        box_s`; from `v < 0`, one that ends at `v' > 0` has `v' / (v' - v)`, and `v' <= box_z`.
        The starting input need not be in the set, so its own phase counts as well.
        """
        off, on = (box_z == 0.0) & (v < 0.0), (box_s == 0.0) & (v > 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            least = np.where(v > 0.0, v / (v + box_s), 0.0)
            most = np.where(v < 0.0, box_z / (box_z - v), 1.0)
        return cls(least, most, np.flatnonzero(~(off | on)))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Increments:
    """`δv = w - M w + U δx` on the kept neurons, `δy = C w + D δx`, `w_i (δv_i - w_i) >= 0`.

    `M (k, k)`, `U (k, d)`, `C (n, k)`, `D (n, d)`; so `δv - w = U δx - M w`.
    """

    M: np.ndarray
    U: np.ndarray
    C: np.ndarray
    D: np.ndarray

    def on_inputs(self, positions: np.ndarray, radii: np.ndarray) -> "Increments":
        """In the unit `radii` of the inputs at `positions`; the others stand still."""
        return Increments(
            self.M, self.U[:, positions] * radii, self.C, self.D[:, positions] * radii
        )


def increments(
    system: ImplicitSystem, on_z: np.ndarray, on_x: np.ndarray, slopes: Slopes
) -> Increments:
    """The increments of `y = on_z z + on_x x`, shapes `(n, p)` and `(n, d)`."""
    lower, kept = slopes.lower, slopes.kept
    width = (slopes.upper - lower)[kept]
    from_w, from_x = system.W[:, kept] * width, system.U
    if lower.any():
        inverse = np.linalg.inv(np.eye(lower.size) - system.W * lower)
        from_w, from_x = inverse @ from_w, inverse @ from_x
    held = on_z * lower
    return Increments(
        np.eye(kept.size) - from_w[kept],
        from_x[kept],
        held @ from_w + on_z[:, kept] * width,
        held @ from_x + on_x,
    )
