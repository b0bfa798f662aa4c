"""How far the result of a `Loop` may lie from the fixpoint of its body.

Letters: `F(z) = a z + d ReLU(S z + v)` one step in exact arithmetic, `z*` its fixpoint,
`c = d/(1-a)` with `z* = c ReLU(S z* + v)`, `e_k = ‖z_k - z*‖₂`, `u` the unit of runtime weights,
`R` those of `S z + v` and `T` those of the closing `a z + d r`, each split by source: `R_z`, `R_o`
(everything that does not change in the loop), `T_z`, `T_r`, `T_o`. Norms of weights are bounds on
2-norms.

    ‖F(z) - F(z')‖ <= q₀ ‖z - z'‖,             q₀ = max a + max d ‖S‖
    computed stage: r^ = ReLU(S z + v + η),    ‖η‖ <= u (R_z (‖z*‖ + e) + R_o)
    computed step: within  max d ‖η‖ + u (T_z (‖z*‖ + e) + T_r ‖r^‖ + T_o)  of F(z), where
    ‖r^‖ <= ‖z*‖ / min c + ‖S‖ e + ‖η‖

so `e_{k+1} <= q e_k + n ‖z*‖ + N_o`, where `q = q₀ + (max d + u T_r) u R_z + u (T_z + T_r ‖S‖)`. A
loop of `K` steps in all, started at `z₀`, gives

    exhausted:  e <= q^K (‖z*‖ + ‖z₀‖) + (n ‖z*‖ + N_o) / (1 - q)

and one that stops at `‖z_{k+s} - z_k‖ <= D + ρ ‖z_{k+s}‖` with `s` steps an iteration, `Q = q^s`,

    stopped:    e (1 - Q (1 + ρ)) <= Q (D + ρ ‖z*‖) + (n ‖z*‖ + N_o) (1 - Q) / (1 - q)

In exact arithmetic the same holds with `n = N_o = 0`. What is due to stopping is therefore kept
apart from what is due to rounding: a query about real numbers meets the first as well.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.sparse import csr_array

from vnn_mondeq.onnx_io.affine_form import UNITY, Form, Terms
from vnn_mondeq.onnx_io.loop_step import LoopStep
from vnn_mondeq.onnx_io.loop_stop import StopRule
from vnn_mondeq.onnx_io.node import Node
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, gamma
from vnn_mondeq.system.monotone import spectral_norm_upper_bound

_TINY = 2.0**-62
"""Below this a float32 square may underflow, and a norm may be computed too small."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class LoopDistance:
    """`‖z - z*‖₂ <= stop + u · noise`, each `state · ‖z*‖₂ + Σ_s other[s] · |variables of s|`.

    `other`: one row of weights `(1, n_s)` for each source. `rate`: the factor `q`.
    """

    rate: float
    stop_state: float
    stop_other: Mapping[int, np.ndarray]
    noise_state: float
    noise_other: Mapping[int, np.ndarray]


def loop_distance(node: Node, step: LoopStep, rule: StopRule, start: Form) -> LoopDistance:
    """The distance for a loop of `step`s from the tensor `start` until `rule` ends it.

    **Raises** `UnsupportedModelError` naming the node where the step is not proved to contract.
    """
    u, S = node.unit, step.argument.value.get(step.source)
    size = step.argument.size
    norm_S = 0.0 if S is None else spectral_norm_upper_bound(S.toarray())
    norm_S = (norm_S + _norm(step.argument.radius.get(step.source))) * SAFETY
    d = float((step.push + step.push_error).max(initial=0.0)) * SAFETY
    a = float((step.keep + step.keep_error).max(initial=0.0)) * SAFETY
    R_z = _norm(step.argument.runtime.get(step.source))
    T_z, T_r = (_norm(step.closing.runtime.get(step.source + i)) for i in (0, 1))
    carried = (d + u * T_r) * SAFETY
    kept = step.push > 0.0
    quotients = (step.push - step.push_error)[kept] / (1.0 - (step.keep - step.keep_error)[kept])
    least = float(quotients.min(initial=1.0)) / SAFETY
    q = (a + d * norm_S + carried * u * R_z + u * (T_z + T_r * norm_S)) * SAFETY
    node.require(
        q < 1.0,
        f"the loop is not proved to converge: a step changes distances by a factor up to {q:.6g}, "
        "which must be below 1. Use a smaller step size, or export the layer with the operators of "
        "ai.vnn_mondeq (docs/your-network.md)",
    )
    gap = (1.0 - q) / SAFETY
    noise = {s: carried * w for s, w in _columns(step.argument.runtime, step.source).items()}
    noise = _plus(noise, _columns(step.closing.runtime, step.source, step.source + 1))
    state_noise = (carried * R_z + T_z + T_r / least) * SAFETY
    total, stop_state, stop_other = 1.0 / gap, 0.0, {}
    if rule.steps is not None:
        left = q ** min(rule.steps * step.count, 10**9) * SAFETY
        stop_state += left
        sizes = _plus(_columns(start.value), _columns(start.radius))
        stop_other = _plus(stop_other, {s: left * w for s, w in sizes.items()})
        drift = {s: u * w for s, w in _columns(start.runtime).items()}
        stop_other = _plus(stop_other, {s: left * w for s, w in drift.items()})
    for change in rule.changes:
        Q = q**step.count * SAFETY
        measured = 1.0 + 4.0 * gamma(size + 8, max(step.argument.unit, step.closing.unit))
        relative = change.relative * measured
        free = (1.0 - Q * (1.0 + relative)) / SAFETY
        node.require(free > 0.0, "the loop's relative tolerance is too large to mean anything")
        absolute = change.absolute * measured + math.sqrt(size) * _TINY
        stop_other = _plus(stop_other, {UNITY: np.array([[Q * absolute / free * SAFETY]])})
        stop_state += Q * relative / free * SAFETY
        total = max(total, (1.0 - Q / SAFETY) / gap / free * SAFETY)
    return LoopDistance(
        q,
        stop_state * SAFETY,
        {s: w * SAFETY for s, w in stop_other.items()},
        state_noise * total * SAFETY,
        {s: w * (total * SAFETY) for s, w in noise.items()},
    )


def _norm(matrix: csr_array | None) -> float:
    """An upper bound on the 2-norm of a matrix of non-negative entries."""
    if matrix is None or matrix.nnz == 0:
        return 0.0
    size = abs(matrix)
    columns, rows = (float(size.sum(axis=axis).max()) for axis in (0, 1))
    # Roots first: a product of tiny sums would underflow.
    return math.sqrt(columns) * math.sqrt(rows) * SAFETY + UNDERFLOW


def _columns(terms: Terms, *without: int) -> dict[int, np.ndarray]:
    """Source → 2-norms `(1, n)` of the columns, for all other sources."""
    found = {}
    for source, matrix in terms.items():
        largest = float(abs(matrix).max()) if matrix.nnz else 0.0
        if source in without or largest == 0.0:
            continue
        # Relative to the largest entry; squares below 2^-1000 of it may underflow.
        squares = (abs(matrix) / largest).power(2).sum(axis=0)
        lost = math.sqrt(matrix.shape[0]) * 2.0**-500
        norms = (np.sqrt(squares) + lost) * (largest * SAFETY) + UNDERFLOW
        found[source] = norms.reshape(1, -1)
    return found


def _plus(left: dict[int, np.ndarray], right: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    return {s: left.get(s, 0.0) + right.get(s, 0.0) for s in left.keys() | right.keys()}
