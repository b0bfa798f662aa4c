"""The monDEQ operators in numpy, written from docs/operator.md ("Specification") and nothing else:
an implementation by another author, in small. Uses `onnx` to read the file, and no code of the
package."""

import numpy as np
import onnx
from onnx import helper, numpy_helper


class Refused(Exception):
    """Not a valid use of the operator."""


def correlate(K, z):
    """`(K ⊛ z)[o, i, j]` for one row `z [C, H, W]`, by the formula."""
    k, (height, width) = K.shape[2], z.shape[1:]
    r, result = (k - 1) // 2, np.zeros((K.shape[0], height, width))
    for a in range(k):
        for b in range(k):
            i, j = (np.arange(height) + a - r) % height, (np.arange(width) + b - r) % width
            result += np.einsum("oc,chw->ohw", K[:, :, a, b], z[:, i][:, :, j])
    return result


def matrix_of(linear, shape):
    """The matrix of a linear map on tensors of `shape`, by its values at the unit vectors."""
    size = int(np.prod(shape))
    return np.stack([linear(e.reshape(shape)).reshape(-1) for e in np.eye(size)], axis=1)


def feedback(node, weights, shape):
    """`W` and the mask, flattened."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    m, mask = attributes.get("m"), np.ones(shape)
    if node.op_type.startswith("MonDEQConv"):
        *weights, mask = weights
        mask = np.broadcast_to(mask, shape)
        weights = [matrix_of(lambda z, K=K: correlate(K, z), shape) for K in weights]
    if node.op_type in ("MonDEQ", "MonDEQConv"):
        return weights[0], mask.reshape(-1)
    P, Q = weights
    return (1.0 - m) * np.eye(Q.shape[0]) - P.T @ P + Q - Q.T, mask.reshape(-1)


def fixpoint(W, mask, u):
    """`z = mask * ReLU(W z + u)` for one flattened row: forward-backward splitting, `α = m/L²`."""
    kept = np.flatnonzero(mask)
    M = np.eye(len(kept)) - W[np.ix_(kept, kept)]
    m, L = np.linalg.eigvalsh((M + M.T) / 2.0)[0], np.linalg.norm(M, 2)
    if not m > 0.0:
        raise Refused(f"I - W is not strongly monotone: {m}")
    alpha, z, drive = m / L**2, np.zeros(len(kept)), u[kept]
    for _ in range(200_000):
        new = np.maximum(z + alpha * (drive - M @ z), 0.0)
        if np.abs(new - z).max(initial=0.0) <= 1e-16 * new.max(initial=0.0):
            break
        z = new
    result = np.zeros(len(u))
    result[kept] = z
    return result


def evaluate(model: onnx.ModelProto, u: np.ndarray) -> np.ndarray:
    """The result of a model of one node, float64, for a batch `u`."""
    (node,) = model.graph.node
    stored = {t.name: numpy_helper.to_array(t).astype(float) for t in model.graph.initializer}
    W, mask = feedback(node, [stored[name] for name in node.input[1:]], u.shape[1:])
    rows = [fixpoint(W, mask, row.reshape(-1).astype(float)) for row in u]
    return np.stack(rows).reshape(u.shape)
