"""How far a function body's result may lie from the exact fixpoint.

Letters: `z*` the fixpoint for the input that the body was given, `z_k` its k-th iterate in double
precision, `q >= ‖I - αM‖₂`, `e_k = ‖z_k - z*‖₂`, `B` the elementwise magnitude of all terms of a
step, `ε = γ(n)` its rounding.

One step computes `ReLU(S z + α u)` with an elementwise error of at most
`ε (B|z| + α|u|)`, where the exact or the computed value is positive (else both give zero). Where
`u_i < 0` this forces `α|u_i| <= (B|z|)_i` (up to a factor `1 + 2ε`), where `u_i > 0` the fixpoint's
`u <= M z*` gives `α u_i <= (B z*)_i`. With `c = ε‖B‖₂`:

    e_k <= (q + 3c) e_{k-1} + 4c ‖z*‖₂        and e_0 <= q ‖z*‖₂ + 4c ‖z*‖₂ (one step from zero)

A row stops when `|z_k - z_{k-1}|_∞ <= t max(1, max z_k)`, or after `K` steps. With `q' = q + 3c`:

    stopped:   e_k (1 - q') <= q' sqrt(p) t (1 + ‖z*‖₂ + e_k) + 4c ‖z*‖₂
    exhausted: e_K <= (q'^K + 4c / (1 - q')) ‖z*‖₂

so `e <= absolute + relative ‖z*‖₂` in either case.
"""

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.onnx_io.feedback import Feedback, step_matrix
from vnn_mondeq.onnx_io.node import Node
from vnn_mondeq.rounding import SAFETY, gamma
from vnn_mondeq.system.monotone import spectral_norm_upper_bound


@final
@dataclass(frozen=True, slots=True)
class SolverBound:
    """`‖z - z*‖₂ <= absolute + relative ‖z*‖₂` before the cast to the model's type."""

    absolute: float
    relative: float
    contraction: float


def solver_bound(node: Node, feedback: Feedback) -> SolverBound:
    """The bound for the body with this node's attributes.

    **Raises** `UnsupportedModelError` naming the node when the iteration is not proved to be a
    contraction.
    """
    alpha, tolerance = node.attribute("alpha"), node.attribute("tol")
    limit = node.attribute("max_iter")
    given = isinstance(alpha, float) and isinstance(tolerance, float) and isinstance(limit, int)
    node.require(given, "needs the attributes alpha, tol (floats) and max_iter (integer)")
    node.require(alpha > 0.0 and tolerance > 0.0 and limit >= 1, "attributes must be positive")
    size = feedback.W.shape[0]
    if size == 0:
        return SolverBound(0.0, 0.0, 0.0)
    step, error = step_matrix(feedback.W, feedback.radius, alpha)
    spread = math.sqrt(error.sum(axis=0).max() * error.sum(axis=1).max())
    q = (spectral_norm_upper_bound(step) + spread) * SAFETY
    magnitude = (1.0 + alpha) * np.eye(size) + alpha * feedback.terms
    norm = math.sqrt(magnitude.sum(axis=0).max() * magnitude.sum(axis=1).max())
    c = gamma(feedback.operations + 8) * norm * SAFETY
    rate = (q + 3.0 * c) * SAFETY
    node.require(
        rate < 1.0,
        f"alpha = {alpha:.6g} is not proved to make the attached iteration converge (factor "
        f"{rate:.6g}); export the model again",
    )
    gap = (1.0 - rate) / SAFETY
    stop = rate * math.sqrt(size) * tolerance / gap * SAFETY
    noise = 4.0 * c / gap * SAFETY
    node.require(stop < 0.5, f"tol = {tolerance:.3g} is too large to mean anything")
    stopped = (stop + noise) / (1.0 - stop) * SAFETY
    exhausted = (rate ** min(limit, 10**9) * SAFETY + noise) * SAFETY
    return SolverBound(stop / (1.0 - stop) * SAFETY, max(stopped, exhausted), rate)
