"""Ranges of a system's outputs over a box of inputs, by intervals; no certificate is needed.

Block by block: an ordinary layer's neurons are between 0 and the largest pre-activation. In an
equilibrium layer, `m ‖z‖₂ <= ‖max(q, 0)‖₂` for the constants `q` that reach it (budget.py, step 1;
a diagonal block of `I - W` has no smaller modulus than the whole); what follows are a few rounds of
`z <= ReLU(Wz + q)`. Loose for equilibrium layers: polynomial constraints need some range, and
engines refute what they can with the rows made from it.
"""

import numpy as np

from vnn_mondeq.query.support import box_support
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, norm_up
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem

_ROUNDS = 20


def output_range(
    system: ImplicitSystem, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds `(q,)` on the outputs of the stored arrays for inputs in `[lower (d,), upper (d,)]`,
    rounding included; infinite where an input is."""
    z_upper = _neuron_bounds(system, lower, upper)
    box = np.concatenate([np.zeros_like(z_upper), lower]), np.concatenate([z_upper, upper])
    c = system.output.coefficients
    negated = Coefficients(-c.on_z, -c.on_x, -c.offset)
    return -_largest(negated, *box), _largest(c, *box)


def _neuron_bounds(system: ImplicitSystem, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    z_upper = np.zeros(system.neurons)
    for block in system.blocks:
        own = np.arange(block.start, block.stop)
        rows = system.preactivation.coefficients.take(own)
        if block.feedback:
            without = rows.on_z.copy()
            without[:, own] = 0.0
            fed = Coefficients(without, rows.on_x, rows.offset)
            drive = np.maximum(_upper(fed, z_upper, lower, upper), 0.0)
            z_upper[own] = float(norm_up(drive)) / system.proof.modulus * SAFETY
            for _ in range(_ROUNDS):
                image = np.maximum(_upper(rows, z_upper, lower, upper), 0.0)
                z_upper[own] = np.minimum(z_upper[own], image)
        else:
            z_upper[own] = np.maximum(_upper(rows, z_upper, lower, upper), 0.0)
    return z_upper


def _upper(
    rows: Coefficients, z_upper: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    low, high = np.concatenate([np.zeros_like(z_upper), lower]), np.concatenate([z_upper, upper])
    return _largest(rows, low, high)


def _largest(rows: Coefficients, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    value = box_support(np.hstack([rows.on_z, rows.on_x]), low, high)
    with np.errstate(invalid="ignore"):
        rounding = 2.0 * UNIT * (np.abs(value) + np.abs(rows.offset)) + UNDERFLOW
        return value + rows.offset + rounding
