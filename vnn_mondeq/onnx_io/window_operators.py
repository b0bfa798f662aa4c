"""Convolution and pooling as sparse matrices, for any number of spatial axes."""

import numpy as np
from scipy.sparse import csr_array

from vnn_mondeq.onnx_io.affine_form import Form, Matrix, add, apply, select
from vnn_mondeq.onnx_io.linear_operators import averaged
from vnn_mondeq.onnx_io.node import Node
from vnn_mondeq.onnx_io.window import Window, sliding_window, transposed_window


def convolution(node: Node) -> Form:
    x, kernel, groups = _operands(node)
    outputs, depth = kernel.shape[:2]
    channels = x.shape[1]
    fits = channels == depth * groups and outputs % groups == 0
    node.require(fits, f"kernel {list(kernel.shape)} does not fit {channels} channels")
    window = sliding_window(node, x.shape[2:], kernel.shape[2:])
    near = window.positions
    o, c, tap, point = np.ix_(*map(np.arange, (outputs, depth, near.shape[0], near.shape[1])))
    plane = int(np.prod(x.shape[2:]))
    column = (o // (outputs // groups) * depth + c) * plane + near[tap, point]
    row = o * near.shape[1] + point
    matrix = _matrix(kernel, row, column, near >= 0, (outputs * near.shape[1], channels * plane))
    return _biased(node, apply(matrix, x, (1, outputs, *window.output), node.unit))


def transposed_convolution(node: Node) -> Form:
    x, kernel, groups = _operands(node)
    channels, each = kernel.shape[:2]
    fits = channels == x.shape[1] and channels % groups == 0
    node.require(fits, f"kernel {list(kernel.shape)} does not fit {x.shape[1]} channels")
    window = transposed_window(node, x.shape[2:], kernel.shape[2:])
    near = window.positions
    plane = int(np.prod(window.output))
    c, o, tap, point = np.ix_(*map(np.arange, (channels, each, near.shape[0], near.shape[1])))
    row = (c // (channels // groups) * each + o) * plane + near[tap, point]
    column = c * near.shape[1] + point
    outputs = each * groups
    shape = (outputs * plane, channels * near.shape[1])
    matrix = _matrix(kernel, row, column, near >= 0, shape)
    return _biased(node, apply(matrix, x, (1, outputs, *window.output), node.unit))


def _operands(node: Node) -> tuple[Form, np.ndarray, int]:
    """Input, kernel array and number of groups."""
    x, kernel = node.form(0), node.stored(1).array()
    fits = len(x.shape) == len(kernel.shape) >= 3
    node.require(fits, f"input {list(x.shape)} and kernel {list(kernel.shape)} do not fit")
    node.require(x.shape[0] == 1, "the batch must be 1 (or symbolic)")
    return x, kernel, int(node.attribute("group", 1))


def _matrix(
    kernel: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    inside: np.ndarray,
    shape: tuple[int, int],
) -> Matrix:
    """The sparse matrix with the kernel's entries; indices over (first, second, tap, point)."""
    flat = kernel.reshape(*kernel.shape[:2], -1, 1)
    full = (*flat.shape[:3], inside.shape[1])
    chosen = np.broadcast_to(inside, full)
    entries, row, column = (np.broadcast_to(a, full)[chosen] for a in (flat, rows, columns))
    return Matrix(csr_array((entries, (row, column)), shape=shape))


def _biased(node: Node, result: Form) -> Form:
    if not node.has(2):
        return result
    bias, outputs = node.form(2), result.shape[1]
    node.require(bias.shape == (outputs,), f"the bias must have {outputs} entries")
    column = np.arange(outputs).reshape(1, -1, *(1,) * (len(result.shape) - 2))
    return add(result, select(bias, np.broadcast_to(column, result.shape)), node.unit)


def pooled(node: Node, x: Form) -> Window:
    """The windows of a pooling node. **Raises** `UnsupportedModelError`."""
    node.require(len(x.shape) >= 3, "needs spatial dimensions")
    kernel = node.attribute("kernel_shape")
    node.require(kernel is not None, "lacks kernel_shape")
    window = sliding_window(node, x.shape[2:], kernel)
    full = bool(np.all((window.positions >= 0).any(axis=0)))
    node.require(full, "a window lies wholly in the padding")
    return window


def average_pool(node: Node) -> Form:
    x = node.form(0)
    include = bool(node.attribute("count_include_pad", 0))
    # Where the last window reaches beyond the padding, runtimes have disagreed on the divisor.
    node.require(not (include and node.attribute("ceil_mode", 0)), "ceil_mode with padding counted")
    window = pooled(node, x)
    near = window.positions
    planes, plane = x.shape[0] * x.shape[1], x.size // (x.shape[0] * x.shape[1])
    inside = near >= 0
    counts = np.full(near.shape[1], near.shape[0]) if include else inside.sum(axis=0)
    place, point = np.nonzero(inside)
    shift = np.arange(planes)[:, None]
    rows = (shift * window.points + point).reshape(-1)
    columns = (shift * plane + near[place, point]).reshape(-1)
    shape = (*x.shape[:2], *window.output)
    return averaged(x, rows, columns, np.tile(counts[point], planes), shape, node.unit)


def global_average_pool(node: Node) -> Form:
    x = node.form(0)
    node.require(len(x.shape) >= 3, "needs spatial dimensions")
    planes = x.shape[0] * x.shape[1]
    plane = x.size // planes
    rows = np.repeat(np.arange(planes), plane)
    shape = (*x.shape[:2], *(1,) * (len(x.shape) - 2))
    return averaged(x, rows, np.arange(x.size), plane, shape, node.unit)
