"""Where the sliding windows of convolution and pooling look: positions, for any number of axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.onnx_io.node import Node


@final
@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Where a sliding window looks, for one image plane.

    - `output`: spatial shape of the result.
    - `positions`: `(taps, points)`: for each entry of the kernel and of the result, both
      row-major, the flattened input position; -1 in the padding.
    """

    output: tuple[int, ...]
    positions: np.ndarray

    @property
    def points(self) -> int:
        return self.positions.shape[1]


@final
@dataclass(frozen=True, slots=True)
class _Geometry:
    """Attributes of a window, one entry for each axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    def reach(self, axis: int) -> int:
        return self.dilations[axis] * (self.kernel[axis] - 1) + 1


def sliding_window(node: Node, image: tuple[int, ...], kernel: Sequence[int]) -> Window:
    """The windows of a convolution or pooling node over `image`.

    **Raises** `UnsupportedModelError` for attributes that do not fit.
    """
    g = _geometry(node, image, tuple(int(n) for n in kernel))
    ceil = bool(node.attribute("ceil_mode", 0))
    axes = [_axis(image[i], g, i, ceil) for i in range(len(image))]
    node.require(all(a.shape[1] > 0 for a in axes), "the window is larger than the image")
    return Window(tuple(a.shape[1] for a in axes), _joined(axes, image))


def transposed_window(node: Node, image: tuple[int, ...], kernel: Sequence[int]) -> Window:
    """The same for a transposed convolution, whose *input* is `image`: `positions (taps, image)`
    are positions in the result to which an entry of the input contributes."""
    g = _geometry(node, image, tuple(int(n) for n in kernel))
    node.require(node.attribute("output_shape") is None, "output_shape is not supported")
    rank = len(image)
    extra = [int(n) for n in node.attribute("output_padding", [0] * rank)]
    sizes = tuple(
        g.strides[i] * (image[i] - 1) + extra[i] + g.reach(i) - g.before[i] - g.after[i]
        for i in range(rank)
    )
    node.require(len(extra) == rank and min(sizes) > 0, f"the result would be {list(sizes)}")
    axes = []
    for i in range(rank):
        tap = np.arange(g.kernel[i])[:, None] * g.dilations[i]
        place = np.arange(image[i]) * g.strides[i] - g.before[i] + tap
        axes.append(np.where((place >= 0) & (place < sizes[i]), place, -1))
    return Window(sizes, _joined(axes, sizes))


def _geometry(node: Node, image: tuple[int, ...], kernel: tuple[int, ...]) -> _Geometry:
    rank = len(image)

    def numbers(name: str) -> tuple[int, ...]:
        return tuple(int(n) for n in node.attribute(name, [1] * rank))

    strides, dilations = numbers("strides"), numbers("dilations")
    fits = len(kernel) == len(strides) == len(dilations) == rank
    node.require(fits and min(*strides, *dilations, *kernel, 1) > 0, "attributes do not fit")
    given = node.attribute("kernel_shape")
    agree = given is None or tuple(int(n) for n in given) == kernel
    node.require(agree, "kernel_shape is not that of the kernel")
    bare = _Geometry(kernel, strides, dilations, (0,) * rank, (0,) * rank)
    before, after = _pads(node, image, bare)
    return _Geometry(kernel, strides, dilations, before, after)


def _pads(
    node: Node, image: tuple[int, ...], g: _Geometry
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rank = len(image)
    mode = node.word("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        pads = [int(n) for n in node.attribute("pads", [0] * (2 * rank))]
        fits = len(pads) == 2 * rank and min(pads, default=0) >= 0
        node.require(fits, f"pads {pads} are not supported")
        return tuple(pads[:rank]), tuple(pads[rank:])
    if mode == "VALID":
        return (0,) * rank, (0,) * rank
    # For a transposed convolution the standard's formula is another one.
    same = mode in ("SAME_UPPER", "SAME_LOWER") and node.proto.op_type != "ConvTranspose"
    node.require(same, f"auto_pad {mode} is not supported")
    before, after = [], []
    for i in range(rank):
        count = -(-image[i] // g.strides[i])
        total = max((count - 1) * g.strides[i] + g.reach(i) - image[i], 0)
        small = total // 2
        before.append(small if mode == "SAME_UPPER" else total - small)
        after.append(total - before[-1])
    return tuple(before), tuple(after)


def _axis(size: int, g: _Geometry, axis: int, ceil: bool) -> np.ndarray:
    """`(kernel, out)` input coordinates along one axis, -1 in the padding."""
    stride, before = g.strides[axis], g.before[axis]
    free = size + before + g.after[axis] - g.reach(axis)
    count = (-(-free // stride) if ceil else free // stride) + 1
    if ceil and (count - 1) * stride >= size + before:
        count -= 1  # a window may not start in the padding behind the image
    tap = np.arange(g.kernel[axis])[:, None] * g.dilations[axis]
    place = np.arange(max(count, 0)) * stride - before + tap
    return np.where((place >= 0) & (place < size), place, -1)


def _joined(axes: list[np.ndarray], image: tuple[int, ...]) -> np.ndarray:
    """Flattened positions `(taps, points)` from coordinates `(kernel, out)` along each axis."""
    rank = len(axes)
    taps, points = ([a.shape[i] for a in axes] for i in (0, 1))
    flat = np.zeros((*taps, *points), dtype=np.int64)
    inside = np.ones(flat.shape, dtype=bool)
    for i, coordinates in enumerate(axes):
        shape = [1] * (2 * rank)
        shape[i], shape[rank + i] = coordinates.shape
        place = coordinates.reshape(shape)
        flat = flat * image[i] + place
        inside &= place >= 0
    count = int(np.prod(taps, dtype=np.int64))
    return np.where(inside, flat, -1).reshape(count, -1)
