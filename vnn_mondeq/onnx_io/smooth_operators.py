"""Operators that are not piecewise linear, by relaxation over the box of the query.

t → f(t)        a chord with knots and a bounded remainder (`vnn_mondeq.onnx_io.relaxation`)
x · y           x₀ y + y₀ x - x₀ y₀ + δ,  |δ| <= r_x r_y  for centres x₀, y₀ and radii r
x / y           x · (1/y), where y keeps its sign
softmax         bounds entry by entry; the last one is 1 minus the others, two are a sigmoid
"""

from collections.abc import Callable

import numpy as np

from vnn_mondeq.onnx_io.affine_form import (
    Form,
    concatenate,
    constant,
    negate,
    plus,
    select,
    times,
)
from vnn_mondeq.onnx_io.builder import Builder
from vnn_mondeq.onnx_io.curve import (
    GELU,
    RECIPROCAL,
    SIGMOID,
    SQUARE,
    UNARY,
    Curve,
    elu,
    exponential,
    power,
)
from vnn_mondeq.onnx_io.linear_operators import broadcast, divide, multiply_node
from vnn_mondeq.onnx_io.node import Node
from vnn_mondeq.onnx_io.relaxation import RUNTIME_UNITS, VALUE_ERROR, relaxed, within_hull
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, gamma


def unary(node: Node, builder: Builder) -> Form:
    return relaxed(UNARY[node.proto.op_type], node.form(0), node.proto.output[0], builder)


def _curved(node: Node, builder: Builder, curve: Curve) -> Form:
    return relaxed(curve, node.form(0), node.proto.output[0], builder)


def elu_node(node: Node, builder: Builder) -> Form:
    return _curved(node, builder, elu(float(node.attribute("alpha", 1.0))))


def celu_node(node: Node, builder: Builder) -> Form:
    alpha = float(node.attribute("alpha", 1.0))
    node.require(alpha > 0.0, f"alpha = {alpha} is not positive")
    return _curved(node, builder, elu(alpha, stretch=alpha))


def selu_node(node: Node, builder: Builder) -> Form:
    alpha = float(node.attribute("alpha", float(np.float32(1.67326319217681884765625))))
    gain = float(node.attribute("gamma", float(np.float32(1.05070102214813232421875))))
    return _curved(node, builder, elu(alpha, scale=gain))


def gelu_node(node: Node, builder: Builder) -> Form:
    node.require(node.word("approximate", "none") == "none", "only the exact Gelu is supported")
    return _curved(node, builder, GELU)


def power_node(node: Node, builder: Builder) -> Form:
    """Constant exponents, or a constant positive base."""
    base, exponent = broadcast(node, node.form(0), node.form(1))
    name = node.proto.output[0]
    if exponent.is_stored_constant:
        return _by_value(
            exponent.array(), base, lambda value, part: _power(node, value, part, builder)
        )
    node.require(base.is_stored_constant, "needs a constant exponent or a constant base")
    node.require(bool(np.all(base.array() > 0.0)), "the base is not positive")
    return _by_value(
        base.array(),
        exponent,
        lambda value, part: relaxed(exponential(value), part, f"{name}#{value}", builder),
    )


def _power(node: Node, exponent: float, base: Form, builder: Builder) -> Form:
    if exponent == 1.0:
        return base
    if exponent == 0.0:
        return constant(np.ones(base.shape), base.unit)
    return relaxed(power(exponent), base, f"{node.proto.output[0]}#{exponent}", builder)


def _by_value(values: np.ndarray, form: Form, change: Callable[[float, Form], Form]) -> Form:
    """`change(v, entries)` for the entries of each of the `values`, put back in place."""
    flat, own = form.reshaped((form.size,)), values.reshape(-1)
    groups = [np.flatnonzero(own == value) for value in np.unique(own)]
    parts = [change(float(own[group[0]]), select(flat, group)) for group in groups]
    back = np.argsort(np.concatenate(groups))
    return select(concatenate(parts, 0), back.reshape(form.shape))


def multiply(node: Node, builder: Builder) -> Form:
    left, right = node.form(0), node.form(1)
    if left.is_constant or right.is_constant:
        return multiply_node(node)
    if node.proto.input[0] == node.proto.input[1]:
        return relaxed(SQUARE, left, node.proto.output[0], builder)
    return product(*broadcast(node, left, right), node.proto.output[0], builder)


def product(x: Form, y: Form, name: str, builder: Builder) -> Form:
    """`x y` of two tensors of one shape."""
    (low_x, high_x), (low_y, high_y) = builder.enclose(x), builder.enclose(y)
    with np.errstate(invalid="ignore", over="ignore"):
        x0, y0 = (_centre(a, b) for a, b in ((low_x, high_x), (low_y, high_y)))
        rx, ry = np.maximum(high_x - x0, x0 - low_x), np.maximum(high_y - y0, y0 - low_y)
        size = (np.abs(x0) + rx) * (np.abs(y0) + ry)
        unit = max(x.unit, y.unit)
        slip = (2.0 * unit + gamma(16)) * size * SAFETY + 2.0**-120
        error = rx * ry * SAFETY + slip
        error = np.where(np.isnan(error), np.inf, error)
        corners = [low_x * low_y, low_x * high_y, high_x * low_y, high_x * high_y]
        low, high = np.minimum.reduce(corners) - slip, np.maximum.reduce(corners) + slip
    linear = plus(times(x0, y), times(y0, x))
    shift = constant(-(x0 * y0).reshape(x.shape), unit)
    whole = plus(plus(linear, shift), builder.noise(error, x))
    return within_hull(whole, error, low, high, name, builder)


def _centre(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    middle = 0.5 * low + 0.5 * high
    return np.where(np.isfinite(middle), middle, 0.0)


def divide_node(node: Node, builder: Builder) -> Form:
    if node.form(1).is_stored_constant:
        return divide(node)
    left, right = broadcast(node, node.form(0), node.form(1))
    return product(left, _reciprocal(node, right, builder), node.proto.output[0], builder)


def reciprocal(node: Node, builder: Builder) -> Form:
    return _reciprocal(node, node.form(0), builder)


def _reciprocal(node: Node, form: Form, builder: Builder) -> Form:
    _, upper = builder.enclose(form)
    name = node.proto.output[0]
    return _by_value(
        np.where(upper < 0.0, -1.0, 1.0),
        form,
        lambda sign, part: relaxed(RECIPROCAL[sign], part, f"{name}#{sign}", builder),
    )


def softmax(node: Node, builder: Builder) -> Form:
    x = node.form(0)
    older = node.opset < 13
    axis = int(node.attribute("axis", 1 if older else -1)) % max(len(x.shape), 1)
    places = np.arange(x.size).reshape(x.shape)
    if older:
        # There, all axes from this one on form a row.
        rows = places.reshape(-1, int(np.prod(x.shape[axis:])))
    else:
        rows = np.moveaxis(places, axis, -1).reshape(-1, x.shape[axis])
    columns = _softmax_columns(x.reshaped((x.size,)), rows, node.proto.output[0], builder)
    stacked = concatenate([column.reshaped((column.size, 1)) for column in columns], 1)
    back = np.empty(x.size, dtype=np.intp)
    back[rows.reshape(-1)] = np.arange(x.size)
    return select(stacked, back.reshape(x.shape))


def _softmax_columns(x: Form, rows: np.ndarray, name: str, builder: Builder) -> list[Form]:
    """The entries of all rows `(n, k)`, column by column; the last is 1 minus the others.

    A runtime's row sums to 1 up to its rounding, which is added to every entry's own.
    """
    count = rows.shape[1]
    if count == 1:
        return [constant(np.ones(rows.shape[0]), x.unit)]
    if count == 2:
        gap = plus(select(x, rows[:, 0]), negate(select(x, rows[:, 1])))
        columns = [relaxed(SIGMOID, gap, name, builder)]
    else:
        lower, upper = _softmax_bounds(x, rows, builder)
        like = select(x, rows[:, 0])
        columns = [builder.within(lower[:, j], upper[:, j], like) for j in range(count - 1)]
    rest = constant(np.ones(rows.shape[0]), x.unit)
    for column in columns:
        rest = plus(rest, negate(column))
    slip = np.full(rows.shape[0], count * 2.0 * RUNTIME_UNITS * x.unit * SAFETY)
    return [*columns, plus(rest, builder.noise(slip, rest))]


def _softmax_bounds(x: Form, rows: np.ndarray, builder: Builder) -> tuple[np.ndarray, np.ndarray]:
    """`1 / Σ_j exp(x_j - x_i)` with the differences at their bounds: they keep what is common."""
    n, count = rows.shape
    lower, upper = np.zeros((n, count)), np.zeros((n, count))
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(count):
            least, most = np.zeros(n), np.zeros(n)
            for j in range(count):
                gap = plus(select(x, rows[:, j]), negate(select(x, rows[:, i])))
                low, high = (0.0, 0.0) if i == j else builder.enclose(gap)
                least, most = least + np.exp(low), most + np.exp(high)
            lower[:, i], upper[:, i] = 1.0 / most, 1.0 / least
    error = count * 4.0 * (VALUE_ERROR + RUNTIME_UNITS * x.unit) + UNDERFLOW
    lower = np.where(np.isnan(lower), 0.0, lower)
    upper = np.where(np.isnan(upper), 1.0, upper)
    return np.maximum(lower - error, -error), np.minimum(upper + error, 1.0 + error)
