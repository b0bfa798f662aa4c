"""Piecewise-linear operators, exactly, through ReLU.

    Max(a, b) = a + ReLU(b - a)          Min(a, b) = a - ReLU(a - b)
    Clip(t, l, h) = l + ReLU(t - l) - ReLU(t - h)      for l <= h
    |t| = ReLU(t) + ReLU(-t)             LeakyRelu(t) = αt + ReLU(t) - α ReLU(t)

A runtime evaluates the left sides; maxima, minima and absolute values are exact there, so the sums
on the right count as mathematics (`affine_form.plus`) and only products with slopes are rounded.
"""

from collections.abc import Callable
from functools import reduce

import numpy as np

from vnn_mondeq.onnx_io.affine_form import (
    Form,
    add,
    concatenate,
    constant,
    magnitude,
    multiply,
    negate,
    plus,
    rounded,
    select,
    times,
)
from vnn_mondeq.onnx_io.builder import Builder
from vnn_mondeq.onnx_io.linear_operators import broadcast, reduced_axes
from vnn_mondeq.onnx_io.node import Node
from vnn_mondeq.onnx_io.window_operators import pooled


def relu(node: Node, builder: Builder) -> Form:
    return builder.rectified(node.form(0), node.proto.output[0])


def absolute(node: Node, builder: Builder) -> Form:
    """As two neurons where the sign is open: `2 ReLU(t) - t` needs one, but its interval falls
    below zero, where roots and logarithms have no value."""
    t = node.form(0)
    lower, upper = builder.enclose(t)
    if np.all(lower >= 0.0):
        return t
    if np.all(upper <= 0.0):
        return negate(t)
    name = node.proto.output[0]
    positive = builder.rectified(t, f"{name}#positive")
    return plus(positive, builder.rectified(negate(t), f"{name}#negative"))


def leaky_relu(node: Node, builder: Builder) -> Form:
    t = node.form(0)
    slope = float(node.attribute("alpha", 0.01))
    return _sloped(node, builder, t, np.full(t.size, slope))


def parametric_relu(node: Node, builder: Builder) -> Form:
    t = node.form(0)
    slope = node.stored(1)
    try:
        index = np.broadcast_to(np.arange(slope.size).reshape(slope.shape), t.shape)
    except ValueError:
        node.require(False, f"slope {list(slope.shape)} does not fit {list(t.shape)}")
    return _sloped(node, builder, t, select(slope, index).array().reshape(-1))


def _sloped(node: Node, builder: Builder, t: Form, slope: np.ndarray) -> Form:
    """`slope * t` where `t` is negative; a runtime rounds that product once."""
    positive = builder.rectified(t, f"{node.proto.output[0]}#positive")
    product = times(slope, plus(t, negate(positive)))
    size = magnitude(times(np.abs(slope), t))
    return plus(positive, rounded(product, size, np.ones(t.size, dtype=np.intp), node.unit))


def clip(node: Node, builder: Builder) -> Form:
    t = node.form(0)
    low, high = _limit(node, 1, "min"), _limit(node, 2, "max")
    return _clipped(t, low, high, node, builder)


def _limit(node: Node, position: int, name: str) -> float | None:
    """A bound as an input (opset 11) or as an attribute."""
    if node.has(position):
        return float(node.stored(position).array().reshape(()))
    given = node.attribute(name)
    return None if given is None else float(given)


def _clipped(t: Form, low: float | None, high: float | None, node: Node, builder: Builder) -> Form:
    name = node.proto.output[0]
    node.require(low is None or high is None or low <= high, f"min {low} is above max {high}")
    if low is not None:
        t = _larger(_filled(low, t), t, f"{name}#min", builder)
    if high is not None:
        t = _smaller(_filled(high, t), t, f"{name}#max", builder)
    return t


def _filled(value: float, like: Form) -> Form:
    return constant(np.full(like.shape, value), like.unit)


def hard_sigmoid(node: Node, builder: Builder) -> Form:
    """`max(0, min(1, αt + β))`; two roundings in a runtime."""
    t = node.form(0)
    alpha, beta = float(node.attribute("alpha", 0.2)), float(node.attribute("beta", 0.5))
    line = add(multiply(_filled(alpha, t), t, node.unit), _filled(beta, t), node.unit)
    return _clipped(line, 0.0, 1.0, node, builder)


def _larger(a: Form, b: Form, name: str, builder: Builder) -> Form:
    return plus(a, builder.rectified(plus(b, negate(a)), name))


def _smaller(a: Form, b: Form, name: str, builder: Builder) -> Form:
    return plus(a, negate(builder.rectified(plus(a, negate(b)), name)))


def _fold(choose: Callable[[Form, Form, str, Builder], Form], node: Node, builder: Builder) -> Form:
    forms = broadcast(node, *(node.form(i) for i in range(len(node.inputs))))
    # A constant as the base keeps its entries free of the others' rounding.
    forms = sorted(forms, key=lambda form: not form.is_constant)
    count = iter(range(len(forms)))
    name = node.proto.output[0]
    return reduce(lambda a, b: choose(a, b, f"{name}#{next(count)}", builder), forms)


def maximum(node: Node, builder: Builder) -> Form:
    return _fold(_larger, node, builder)


def minimum(node: Node, builder: Builder) -> Form:
    return _fold(_smaller, node, builder)


def max_pool(node: Node, builder: Builder) -> Form:
    node.require(len(node.proto.output) == 1, "the output of indices is not supported")
    x = node.form(0)
    window = pooled(node, x)
    planes, plane = x.shape[0] * x.shape[1], x.size // (x.shape[0] * x.shape[1])
    near = window.positions[:, None, :]
    index = np.where(near >= 0, near + plane * np.arange(planes)[:, None], -1)
    shape = (*x.shape[:2], *window.output)
    return _tournament(x, index.reshape(len(near), -1), node, builder).reshaped(shape)


def global_max_pool(node: Node, builder: Builder) -> Form:
    x = node.form(0)
    node.require(len(x.shape) >= 3, "needs spatial dimensions")
    index = np.arange(x.size).reshape(x.shape[0] * x.shape[1], -1).T
    shape = (*x.shape[:2], *(1,) * (len(x.shape) - 2))
    return _tournament(x, index, node, builder).reshaped(shape)


def reduce_max(node: Node, builder: Builder) -> Form:
    return _reduced(node.form(0), node, builder)


def reduce_min(node: Node, builder: Builder) -> Form:
    return negate(_reduced(negate(node.form(0)), node, builder))


def _reduced(x: Form, node: Node, builder: Builder) -> Form:
    axes, shape = reduced_axes(node, x.shape, axes_are_input=node.opset >= 18)
    if not axes:
        return x
    others = [i for i in range(len(x.shape)) if i not in axes]
    places = np.arange(x.size).reshape(x.shape).transpose([*axes, *others])
    count = int(np.prod([x.shape[i] for i in axes], dtype=np.int64))
    return _tournament(x, places.reshape(count, -1), node, builder).reshaped(shape)


def _tournament(x: Form, index: np.ndarray, node: Node, builder: Builder) -> Form:
    """The largest of `x[index[:, j]]` for each `j`; entries -1 do not take part. One neuron each
    comparison."""
    flat = x.reshaped((x.size,))
    rounds = [(select(flat, row), row >= 0) for row in index]
    level = 0
    while len(rounds) > 1:
        pairs = zip(rounds[0::2], rounds[1::2], strict=False)
        won = [
            _match(*left, *right, f"{node.proto.output[0]}#{level}.{k}", builder)
            for k, (left, right) in enumerate(pairs)
        ]
        rounds = won + rounds[len(won) * 2 :]
        level += 1
    return rounds[0][0]


def _match(
    left: Form,
    in_left: np.ndarray,
    right: Form,
    in_right: np.ndarray,
    name: str,
    builder: Builder,
) -> tuple[Form, np.ndarray]:
    """Elementwise maximum of entries that may be missing, and which are there."""
    count, own = left.size, np.arange(left.size)
    base = select(concatenate([left, right], 0), np.where(in_left, own, own + count))
    both = np.flatnonzero(in_left & in_right)
    if both.size:
        gain = plus(select(right, both), negate(select(left, both)))
        place = np.full(count, -1)
        place[both] = np.arange(both.size)
        base = plus(base, select(builder.rectified(gain, name), place))
    return base, in_left | in_right
