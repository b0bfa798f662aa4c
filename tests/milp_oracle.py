"""The truth about systems too large for enumeration: complementarity as a mixed-integer program.

`z, s >= 0`, `s = z - Wz - Ux - b`, and a binary `a_i` for each neuron with `z_i <= Z_i a_i`,
`s_i <= S_i (1 - a_i)` (algorithms.md, section 4). HiGHS solves it through scipy; right up to
`tolerances.ORACLE_RELATIVE`. Uses no code of the product: `Z, S` come from intervals that are
followed through the layers where `W` is nilpotent, and else from the contraction bound
`‖z(x) - z(c)‖₂ <= ‖U(x - c)‖₂ / m`.
"""

from dataclasses import dataclass, field

import numpy as np
from oracle import float_fixpoint
from scipy.optimize import Bounds, LinearConstraint, milp


def upper_bounds(
    W: np.ndarray, U: np.ndarray, b: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Valid `(Z, S)`, each `(p,)`, over the input box."""
    p, center, half = W.shape[0], 0.5 * (lower + upper), 0.5 * (upper - lower)
    low, high = np.zeros(p), np.full(p, np.inf)
    middle, spread = U @ center + b, np.abs(U) @ half
    positive, negative = np.maximum(W, 0.0), np.minimum(W, 0.0)
    if np.any(np.linalg.matrix_power((W != 0.0).astype(float), max(p, 1))):
        M = np.eye(p) - W
        modulus = np.linalg.eigvalsh(0.5 * (M + M.T))[0]
        reach = np.linalg.norm(U * half, 2) * np.sqrt(half.size) / modulus
        z = float_fixpoint(W, middle)
        low, high = np.maximum(z - reach, 0.0), np.maximum(z + reach, 0.0)
    for _ in range(p + 1):
        finite = np.where(np.isfinite(high), high, 0.0)
        unknown = (W != 0.0) @ ~np.isfinite(high)
        top = middle + spread + positive @ finite + negative @ low
        low = np.maximum(low, middle - spread + positive @ low + negative @ finite * ~unknown)
        low = np.where(unknown, 0.0, low)
        high = np.minimum(high, np.where(unknown, np.inf, np.maximum(top, 0.0)))
    bottom = middle - spread + positive @ low + negative @ high
    return high, np.maximum(-bottom, 0.0)


@dataclass
class MixedIntegerOracle:
    """Minima over `{(x, z(x)) : lower <= x <= upper}`. Variables `x (d)`, `z (p)`, `s (p)`, `a`."""

    W: np.ndarray
    U: np.ndarray
    b: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    box: tuple[np.ndarray, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        above, below = upper_bounds(self.W, self.U, self.b, self.lower, self.upper)
        # A little air: the bounds are floats, and slack bounds make no answer wrong.
        self.box = (1.001 * above + 1e-6, 1.001 * below + 1e-6)

    def minimum(self, on_z: np.ndarray, on_x: np.ndarray, offset: float) -> float:
        """The least value of `on_z z + on_x x + offset`."""
        p, d = self.U.shape
        eye, none = np.eye(p), np.zeros((p, p))
        Z, S = (np.diag(side) for side in self.box)
        equation = np.hstack([self.U, self.W - eye, eye, none])
        is_active = np.hstack([np.zeros((p, d)), eye, none, -Z])
        is_inactive = np.hstack([np.zeros((p, d)), none, eye, S])
        found = milp(
            np.concatenate([on_x, on_z, np.zeros(2 * p)]),
            constraints=[
                LinearConstraint(equation, -self.b, -self.b),
                LinearConstraint(is_active, -np.inf, 0.0),
                LinearConstraint(is_inactive, -np.inf, self.box[1]),
            ],
            bounds=Bounds(
                np.concatenate([self.lower, np.zeros(3 * p)]),
                np.concatenate([self.upper, *self.box, np.ones(p)]),
            ),
            integrality=np.concatenate([np.zeros(d + 2 * p), np.ones(p)]),
            options={"mip_rel_gap": 0.0},
        )
        if found.status != 0:
            raise AssertionError(f"the oracle failed: {found.message}")
        return float(found.fun) + offset
