"""Convolution and pooling as sparse matrices. Two spatial dimensions."""

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.sparse import csr_array

from vnn_mondeq.onnx_io.affine_form import Form, Matrix, add, apply, select
from vnn_mondeq.onnx_io.linear_operators import averaged
from vnn_mondeq.onnx_io.node import Node


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """Where a sliding window looks, for one image plane.

    - `output`: `(height, width)` of the result.
    - `positions`: `(k_h, k_w, out_h, out_w)` flattened input positions, -1 in the padding.
    """

    output: tuple[int, int]
    positions: np.ndarray


def _window(node: Node, image: tuple[int, ...], kernel: tuple[int, ...]) -> _Window:
    strides = [int(n) for n in node.attribute("strides", [1, 1])]
    dilations = [int(n) for n in node.attribute("dilations", [1, 1])]
    pads = _pads(node, image, kernel, strides, dilations)
    rows, columns = (
        _axis(image[i], kernel[i], strides[i], dilations[i], pads[i], pads[i + 2]) for i in (0, 1)
    )
    node.require(rows.shape[1] > 0 and columns.shape[1] > 0, "the window is larger than the image")
    row, column = rows[:, None, :, None], columns[None, :, None, :]
    inside = (row >= 0) & (column >= 0)
    return _Window((rows.shape[1], columns.shape[1]), np.where(inside, row * image[1] + column, -1))


def _axis(size: int, reach: int, stride: int, dilation: int, before: int, after: int) -> np.ndarray:
    """`(reach, out)` input coordinates along one axis, -1 in the padding."""
    count = (size + before + after - dilation * (reach - 1) - 1) // stride + 1
    place = np.arange(max(count, 0)) * stride - before + np.arange(reach)[:, None] * dilation
    return np.where((place >= 0) & (place < size), place, -1)


def _pads(
    node: Node,
    image: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: list[int],
    dilations: list[int],
) -> list[int]:
    mode = node.word("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = [int(n) for n in node.attribute("pads", [0, 0, 0, 0])]
        node.require(len(pads) == 4 and min(pads) >= 0, f"pads {pads} are not supported")
        return pads
    if mode == "VALID":
        return [0, 0, 0, 0]
    node.require(mode in ("SAME_UPPER", "SAME_LOWER"), f"auto_pad {mode} is not supported")
    before, after = [], []
    for i in (0, 1):
        count = -(-image[i] // strides[i])
        total = max((count - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 - image[i], 0)
        small = total // 2
        before.append(small if mode == "SAME_UPPER" else total - small)
        after.append(total - before[-1])
    return before + after


def convolution(node: Node) -> Form:
    x, weights = node.form(0), node.stored(1)
    node.require(len(x.shape) == 4 and len(weights.shape) == 4, "only 2-D convolution is supported")
    node.require(x.shape[0] == 1, "the batch must be 1 (or symbolic)")
    kernel, groups = weights.array(), int(node.attribute("group", 1))
    outputs, depth = kernel.shape[:2]
    channels, height, width = x.shape[1:]
    fits = channels == depth * groups and outputs % groups == 0
    node.require(fits, f"kernel {list(kernel.shape)} does not fit {channels} channels")
    window = _window(node, (height, width), kernel.shape[2:])
    plane, points = height * width, window.output[0] * window.output[1]
    o, c, a, b, point = np.ix_(
        np.arange(outputs),
        np.arange(depth),
        *(np.arange(n) for n in kernel.shape[2:]),
        np.arange(points),
    )
    near = window.positions.reshape(*kernel.shape[2:], points)[a, b, point]
    column = (o // (outputs // groups) * depth + c) * plane + near
    row = np.broadcast_to(o * points + point, column.shape)
    entries = np.broadcast_to(kernel[..., None], column.shape)
    inside = np.broadcast_to(near >= 0, column.shape)
    matrix = csr_array(
        (entries[inside], (row[inside], column[inside])),
        shape=(outputs * points, channels * plane),
    )
    shape = (1, outputs, *window.output)
    result = apply(Matrix(matrix), x, shape, node.unit)
    if not node.has(2):
        return result
    bias = node.form(2)
    node.require(bias.shape == (outputs,), f"the bias must have {outputs} entries")
    index = np.broadcast_to(np.arange(outputs).reshape(1, -1, 1, 1), shape)
    return add(result, select(bias, index), node.unit)


def average_pool(node: Node) -> Form:
    x = node.form(0)
    node.require(len(x.shape) == 4, "only 2-D pooling is supported")
    node.require(not node.attribute("ceil_mode", 0), "ceil_mode is not supported")
    kernel = tuple(int(n) for n in node.attribute("kernel_shape"))
    window = _window(node, x.shape[2:], kernel)
    points = window.output[0] * window.output[1]
    near = window.positions.reshape(-1, points)
    planes, plane = x.shape[0] * x.shape[1], x.shape[2] * x.shape[3]
    inside = near >= 0
    counts = inside.sum(axis=0) if not node.attribute("count_include_pad", 0) else near.shape[0]
    place, point = np.nonzero(inside)
    shift = np.arange(planes)[:, None]
    rows = (shift * points + point).reshape(-1)
    columns = (shift * plane + near[place, point]).reshape(-1)
    each = np.broadcast_to(np.asarray(counts), (points,))[point]
    node.require(bool(np.all(each > 0)), "a window lies wholly in the padding")
    shape = (*x.shape[:2], *window.output)
    return averaged(x, rows, columns, np.tile(each, planes), shape, node.unit)


def global_average_pool(node: Node) -> Form:
    x = node.form(0)
    node.require(len(x.shape) >= 3, "needs spatial dimensions")
    planes = x.shape[0] * x.shape[1]
    plane = x.size // planes
    rows = np.repeat(np.arange(planes), plane)
    shape = (*x.shape[:2], *(1,) * (len(x.shape) - 2))
    return averaged(x, rows, np.arange(x.size), plane, shape, node.unit)
