"""The feedback matrix `W` that a monDEQ node's weights define, and the rounding of computing it.

Letters: `p` kept neurons, `W (p, p)`.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.sparse import csr_array

from vnn_mondeq.onnx_io.affine_form import Form
from vnn_mondeq.onnx_io.circular import circular_matrix
from vnn_mondeq.onnx_io.node import Node
from vnn_mondeq.onnx_io.operator import OPERATORS
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, gamma


@final
@dataclass(frozen=True, slots=True, eq=False)
class Feedback:
    """`W` as stored, and what is known about it.

    - `radius`: elementwise bound on the distance to the exact matrix; `None` when exact.
    - `terms`: elementwise bound on the sum of absolute values of everything that is added up
      to an entry of `W`.
    - `operations`: more than the number of roundings on any path by which a runtime computes
      one entry of `W z` from the weights and `z`.
    - `kept`: positions of the kept neurons in the flattened tensor.
    """

    W: np.ndarray
    radius: np.ndarray | None
    terms: np.ndarray
    operations: int
    kept: np.ndarray


def feedback(node: Node) -> Feedback:
    """The feedback of a monDEQ node.

    **Raises** `UnsupportedModelError` naming the node when shapes do not fit or weights are not
    constants of the file.
    """
    spec = OPERATORS[node.proto.op_type]
    signature = len(node.inputs) == len(spec.inputs) and len(node.proto.output) == 1
    node.require(signature, f"needs the inputs {', '.join(spec.inputs)} and one output")
    unknown = node.attributes().keys() - {*spec.attributes, *spec.solver_attributes}
    node.require(not unknown, f"has unknown attributes {', '.join(sorted(unknown))}")
    shape = node.form(0).shape
    rank = 4 if spec.convolutional else 2
    node.require(
        len(shape) == rank and shape[0] == 1,
        f"u must be {'[N, C, H, W]' if spec.convolutional else '[N, p]'} with N symbolic or 1, "
        f"not {list(shape)}",
    )
    if spec.convolutional:
        return _convolutional(node, shape[1:], "m" in spec.attributes)
    return _dense(node, shape[1], "m" in spec.attributes)


def _dense(node: Node, size: int, factored: bool) -> Feedback:
    kept = np.arange(size)
    if not factored:
        W = node.stored(1)
        node.require(W.shape == (size, size), f"W must be [{size}, {size}], not {list(W.shape)}")
        return Feedback(W.array(), None, np.abs(W.array()), size + 8, kept)
    P, Q = node.stored(1), node.stored(2)
    node.require(
        len(P.shape) == 2 and P.shape[1] == size and Q.shape == (size, size),
        f"P must be [k, {size}] and Q [{size}, {size}], not {list(P.shape)}, {list(Q.shape)}",
    )
    return _factored(P.array(), Q.array(), _modulus(node), kept, P.shape[0] + size + 16)


def _modulus(node: Node) -> float:
    m = node.attribute("m")
    node.require(isinstance(m, float) and bool(np.isfinite(m)), "needs a finite attribute m")
    return float(m)


def _factored(
    P: np.ndarray, Q: np.ndarray, m: float, kept: np.ndarray, operations: int
) -> Feedback:
    """`W = (1-m) I - PᵀP + Q - Qᵀ`, restricted to the kept neurons."""
    columns, square = P[:, kept], Q[np.ix_(kept, kept)]
    size = kept.size
    W = (1.0 - m) * np.eye(size) - _gram(columns) + (square - square.T)
    size_of_Q = np.abs(square)
    terms = _gram(np.abs(columns)) + size_of_Q + size_of_Q.T + (1.0 + abs(m)) * np.eye(size)
    terms = terms * SAFETY
    # k products and sums, and at most four more roundings on every term.
    radius = gamma(P.shape[0] + 6) * terms * SAFETY + UNDERFLOW
    return Feedback(W, radius, terms, operations, kept)


def _gram(columns: np.ndarray) -> np.ndarray:
    """`AᵀA`; through a sparse product where `A` is mostly zero, as a convolution's matrix is."""
    if np.count_nonzero(columns) > 0.2 * columns.size:
        return columns.T @ columns
    sparse = csr_array(columns)
    return (sparse.T @ sparse).toarray()


def _convolutional(node: Node, shape: tuple[int, ...], factored: bool) -> Feedback:
    channels, height, width = shape
    mask = _mask(node, 3 if factored else 2, shape)
    kept = np.flatnonzero(mask)
    kernels = [node.stored(i) for i in ((1, 2) if factored else (1,))]
    reach = kernels[0].shape[2:]
    for kernel in kernels:
        node.require(
            kernel.shape == (channels, channels, *reach)
            and len(reach) == 2
            and reach[0] == reach[1]
            and reach[0] % 2 == 1
            and reach[0] <= min(height, width),
            f"kernels must be [{channels}, {channels}, k, k], k odd and no larger than the image "
            f"({height} x {width}), not {list(kernel.shape)}",
        )
    taps = channels * reach[0] * reach[1]
    matrices = [circular_matrix(kernel.array(), shape) for kernel in kernels]
    if factored:
        return _factored(*matrices, _modulus(node), kept, 2 * taps + 24)
    W = matrices[0][np.ix_(kept, kept)]
    return Feedback(W, None, np.abs(W), taps + 12, kept)


def _mask(node: Node, position: int, shape: tuple[int, ...]) -> np.ndarray:
    """The mask as booleans of shape `shape`; it must hold zeros and ones only."""
    form: Form = node.stored(position)
    channels, height, width = shape
    node.require(
        form.shape in ((channels, height, width), (1, height, width)),
        f"mask must be {list(shape)} or {[1, height, width]}, not {list(form.shape)}",
    )
    mask = form.array()
    node.require(bool(np.all((mask == 0.0) | (mask == 1.0))), "mask must hold only 0 and 1")
    return np.broadcast_to(mask == 1.0, shape).reshape(-1)


def step_matrix(
    W: np.ndarray, radius: np.ndarray | None, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """`I - α(I - W)` in float64 and an elementwise bound on its error."""
    identity = np.eye(W.shape[0])
    step = (1.0 - alpha) * identity + alpha * W
    error = 4.0 * UNIT * ((1.0 + abs(alpha)) * identity + abs(alpha) * np.abs(W))
    if radius is not None:
        error = error + abs(alpha) * radius
    return step, error * SAFETY + UNDERFLOW
