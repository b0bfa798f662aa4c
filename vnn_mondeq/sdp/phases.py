"""The fixpoint under a box, with decided neurons eliminated and everything scaled to the unit box.

Letters: `z, s` fixpoint and slack, `(Z, S)` a proved box (`z <= Z, s <= S`), `M = I - W`,
`x = center + half ∘ ξ`, `ξ in [-1, 1]ⁿ` over the inputs of positive width. Three kinds of neurons:

- inactive (`Z_i = 0`): `z_i = 0`; the neuron drops out.
- active (`S_i = 0`): `s_i = 0`, so `M_aa z_a = U_a x + b_a - M_au z_u` eliminates it
  (`M_aa` is strongly monotone, hence regular).
- undecided (`k` of them): kept, scaled: `ẑ = z / Z`, `ŝ = s / S`, both in [0, 1], `ẑ_i ŝ_i = 0`.

What remains is `ŝ = A ẑ - B ξ - e`, and a row `c·z + w·x + o` becomes `c̃·ẑ + w̃·ξ + õ`.

Plain float64: `check.py` forms its own data, with error bounds.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.system.implicit import ImplicitSystem


@final
@dataclass(frozen=True, slots=True, eq=False)
class Elimination:
    """How active neurons depend on the rest: `z_a = from_inputs ξ + constant - from_undecided z_u`.

    `active`, `undecided`: positions; shapes `(a, n)`, `(a,)`, `(a, k)`.
    """

    active: np.ndarray
    undecided: np.ndarray
    from_inputs: np.ndarray
    constant: np.ndarray
    from_undecided: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class ScaledForm:
    """`ŝ = A ẑ - B ξ - e` for one input set.

    - `A (k, k)`, `B (k, n)`, `e (k,)`.
    - `scale_z`, `scale_s` `(k,)`: the upper bounds used as units, at or above the proved ones.
    - `center`, `half` `(d,)`, `varying`: positions of the `n` inputs of positive width.
    """

    A: np.ndarray
    B: np.ndarray
    e: np.ndarray
    scale_z: np.ndarray
    scale_s: np.ndarray
    center: np.ndarray
    half: np.ndarray
    varying: np.ndarray
    elimination: Elimination

    def row(self, on_z: np.ndarray, on_x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """`(on_ẑ (k,), on_ξ (n,), constant)` of the row `on_z·z + on_x·x`."""
        out = self.elimination
        active = on_z[out.active]
        on_scaled = (on_z[out.undecided] - active @ out.from_undecided) * self.scale_z
        on_inputs = on_x[self.varying] * self.half[self.varying] + active @ out.from_inputs
        return on_scaled, on_inputs, float(active @ out.constant + on_x @ self.center)


UNIT_FLOOR = 1e-3
"""Units of undecided neurons are at least this part of the largest one: a hair-thin triangle would
make the scaled data huge, and a larger upper bound is as true as a smaller one."""


def scaled_form(
    system: ImplicitSystem,
    lower: np.ndarray,
    upper: np.ndarray,
    box_z: np.ndarray,
    box_s: np.ndarray,
) -> ScaledForm:
    """The reduced, scaled form over the input box `[lower, upper]` under the box `(Z, S)`."""
    center = 0.5 * (lower + upper)
    half = np.maximum(upper - center, center - lower)
    varying = np.flatnonzero(half > 0.0)
    active = np.flatnonzero((box_s <= 0.0) & (box_z > 0.0))
    undecided = np.flatnonzero((box_s > 0.0) & (box_z > 0.0))
    M = np.eye(system.neurons) - system.W
    spread = system.U[:, varying] * half[varying]
    offset = system.U @ center + system.b
    block = M[np.ix_(active, active)]
    right = np.hstack([spread[active], offset[active, None], M[np.ix_(active, undecided)]])
    solved = np.linalg.solve(block, right) if active.size else right
    count = varying.size
    elimination = Elimination(
        active, undecided, solved[:, :count], solved[:, count], solved[:, count + 1 :]
    )
    through = M[np.ix_(undecided, active)]
    scale_z = np.maximum(box_z[undecided], UNIT_FLOOR * np.max(box_z, initial=0.0))
    scale_s = np.maximum(box_s[undecided], UNIT_FLOOR * np.max(box_s, initial=0.0))
    on_z = M[np.ix_(undecided, undecided)] - through @ elimination.from_undecided
    on_inputs = spread[undecided] - through @ elimination.from_inputs
    constant = offset[undecided] - through @ elimination.constant
    return ScaledForm(
        A=on_z * scale_z / scale_s[:, None],
        B=on_inputs / scale_s[:, None],
        e=constant / scale_s,
        scale_z=scale_z,
        scale_s=scale_s,
        center=center,
        half=half,
        varying=varying,
        elimination=elimination,
    )
