"""Bounds of pre-activations in a stack of layers, by linear bounds walked backwards.

For coefficients `c` on a block's neurons, `c · z` is bounded by a line in the block's
pre-activations `v`: above by the chord `z <= λ v + μ` where `c > 0`, below by `z >= α v`, `α` 0 or
1, where `c < 0` (Zhang et al., "Efficient neural network robustness certification with general
activation functions", NeurIPS 2018). `v = W_B< z_< + U_B x + b_B` passes the coefficients on to
earlier blocks and to the input. At a block with feedback the walk ends with the interval of its
neurons.

Everything is for the stored system. Rounding is bounded term by term and added at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.rounding import SAFETY, UNDERFLOW, gamma, product_error
from vnn_mondeq.system.implicit import Block, ImplicitSystem

MAX_NEURONS = 1500
"""Larger systems are bounded by intervals alone: the walk costs about the cube."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class KnownBounds:
    """Bounds `(p,)` of the blocks so far: of `v` and of `z`, and the box of inputs `(d,)`."""

    v_low: np.ndarray
    v_high: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def backward_bounds(
    system: ImplicitSystem, blocks: Sequence[Block], block: Block, known: KnownBounds
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds `(k,)` of `W_B< z_< + U_B x + b_B` for a block behind `blocks`."""
    here = slice(block.start, block.stop)
    W, U, b = system.W[here, : block.start], system.U[here], system.b[here]
    on_z, on_x, offset = np.vstack([-W, W]), np.vstack([-U, U]), np.concatenate([-b, b])
    least, most = _upper(system, blocks, known, on_z, on_x, offset).reshape(2, b.size)
    return -least, most


def _upper(
    system: ImplicitSystem,
    blocks: Sequence[Block],
    known: KnownBounds,
    on_z: np.ndarray,
    on_x: np.ndarray,
    offset: np.ndarray,
) -> np.ndarray:
    """Upper bounds on `on_z z + on_x x + offset`; the arrays are used up."""
    x_abs = np.maximum(np.abs(known.lower), np.abs(known.upper))
    z_abs = np.maximum(np.abs(known.low), np.abs(known.high))
    slack = gamma(4) * np.abs(offset) + UNDERFLOW
    for block in reversed(blocks):
        here, before = slice(block.start, block.stop), slice(0, block.start)
        c = on_z[:, here]
        if block.feedback:
            offset = offset + np.maximum(c, 0.0) @ known.high[here]
            offset = offset + np.minimum(c, 0.0) @ known.low[here]
            slack = slack + product_error(np.abs(c), z_abs[here], 2 * c.shape[1] + 4)
            slack = slack + gamma(4) * np.abs(offset)
            continue
        slope, intercept, beneath = relu_lines(known.v_low[here], known.v_high[here])
        above, below = np.maximum(c, 0.0), np.minimum(c, 0.0)
        on_v = above * slope + below * beneath
        W, U, b = system.W[here, before], system.U[here], system.b[here]
        size, count = np.abs(on_v), c.shape[1]
        v_abs = np.maximum(np.abs(known.v_low[here]), np.abs(known.v_high[here]))
        constant = above @ intercept + on_v @ b
        terms = above @ np.abs(intercept) + size @ np.abs(b)
        # Rounding of the slopes' products, of the constants, and of the new coefficients.
        slack = slack + gamma(2 * count + 8) * (terms + np.abs(offset)) + gamma(4) * size @ v_abs
        for A, bound, old in ((W, z_abs[before], on_z[:, before]), (U, x_abs, on_x)):
            fresh = product_error(size, np.abs(A), count) + gamma(4) * np.abs(old)
            slack = slack + fresh @ bound * SAFETY
        offset = offset + constant
        on_z[:, before] += on_v @ W
        on_x = on_x + on_v @ U
    total = offset + np.maximum(on_x, 0.0) @ known.upper + np.minimum(on_x, 0.0) @ known.lower
    rounding = product_error(np.abs(on_x), x_abs, 2 * on_x.shape[1] + 8) + gamma(8) * np.abs(offset)
    return total + (slack + rounding) * SAFETY


def relu_lines(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`ReLU(v) <= slope v + intercept` and `>= beneath v` on `[low, high]`."""
    bent = (low < 0.0) & (high > 0.0)
    width = np.where(bent, high - low, 1.0)
    slope = np.where(bent, high / width, np.where(low >= 0.0, 1.0, 0.0))
    ends = np.maximum(-slope * low, high - slope * high)
    intercept = np.where(bent, ends + gamma(8) * (np.abs(low) + np.abs(high)), 0.0)
    beneath = np.where(bent, np.where(high > -low, 1.0, 0.0), slope)
    return slope, intercept, beneath
