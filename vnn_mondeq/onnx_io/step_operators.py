"""Comparisons, casts to integers, choices and steps: functions with jumps, by their bounds.

A tensor of integers or booleans that depends on the input is a `Range`. Where the bounds of its
entries meet, it is an ordinary constant; elsewhere what is made of it is known by bounds only.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from onnx import TensorProto, helper

from vnn_mondeq.onnx_io.affine_form import Form, concatenate, select
from vnn_mondeq.onnx_io.builder import Builder
from vnn_mondeq.onnx_io.linear_operators import broadcast
from vnn_mondeq.onnx_io.node import Node, Range, Value
from vnn_mondeq.onnx_io.shape_operators import cast as cast_floats
from vnn_mondeq.rounding import UNIT, UNIT32

_LARGEST_INTEGER = 2.0**31
"""Casts of larger numbers may overflow."""

Interval = tuple[np.ndarray, np.ndarray]


def settled(lower: np.ndarray, upper: np.ndarray) -> Value:
    """The tensor with these bounds: a constant where they meet everywhere."""
    return lower if np.array_equal(lower, upper) else Range(lower, upper)


def _bounds(value: Value, builder: Builder) -> Interval:
    if isinstance(value, Form):
        return tuple(bound.reshape(value.shape) for bound in builder.enclose(value))
    if isinstance(value, Range):
        return value.lower, value.upper
    return value, value


def _equal(a: Interval, b: Interval) -> Interval:
    always = (a[0] == a[1]) & (b[0] == b[1]) & (a[0] == b[0])
    return always, (a[0] <= b[1]) & (b[0] <= a[1])


COMPARISONS: Mapping[str, Callable[[Interval, Interval], Interval]] = MappingProxyType(
    {
        "Equal": _equal,
        "Greater": lambda a, b: (a[0] > b[1], a[1] > b[0]),
        "GreaterOrEqual": lambda a, b: (a[0] >= b[1], a[1] >= b[0]),
        "Less": lambda a, b: (a[1] < b[0], a[0] < b[1]),
        "LessOrEqual": lambda a, b: (a[1] <= b[0], a[0] <= b[1]),
    }
)
"""Operator → whether it certainly holds, and whether it may."""


def compare(node: Node, builder: Builder) -> Value:
    left, right = (_bounds(node.value(i), builder) for i in (0, 1))
    return settled(*COMPARISONS[node.proto.op_type](left, right))


def _xor(a: Interval, b: Interval) -> Interval:
    known = (a[0] == a[1]) & (b[0] == b[1])
    value = np.logical_xor(a[0], b[0])
    return known & value, ~known | value


LOGIC: Mapping[str, Callable[[Interval, Interval], Interval]] = MappingProxyType(
    {
        "And": lambda a, b: (a[0] & b[0], a[1] & b[1]),
        "Or": lambda a, b: (a[0] | b[0], a[1] | b[1]),
        "Xor": _xor,
    }
)
"""Connective → whether it certainly holds, and whether it may."""


def connect(node: Node, builder: Builder) -> Value:
    left, right = (_bounds(node.value(i), builder) for i in (0, 1))
    return settled(*LOGIC[node.proto.op_type](left, right))


def negation(node: Node, builder: Builder) -> Value:
    lower, upper = _bounds(node.value(0), builder)
    return settled(~upper, ~lower)


def cast(node: Node, builder: Builder) -> Value:
    """Between floats as `shape_operators.cast`; to booleans (`t != 0`), to integers (towards zero),
    and back."""
    value, target = node.value(0), int(node.attribute("to"))
    if isinstance(value, Range):
        return _cast_range(node, value, target, builder)
    floats = (TensorProto.FLOAT, TensorProto.DOUBLE)
    if not isinstance(value, Form) or target in floats:
        return cast_floats(node)
    lower, upper = _bounds(value, builder)
    if target == TensorProto.BOOL:
        certain = (lower > 0.0) | (upper < 0.0)
        return settled(certain, ~((lower == 0.0) & (upper == 0.0)))
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(target))
    node.require(dtype.kind == "i" and dtype.itemsize >= 4, f"a cast to {dtype} is not supported")
    lower = np.where(lower > -_LARGEST_INTEGER, np.trunc(lower), -np.inf)
    upper = np.where(upper < _LARGEST_INTEGER, np.trunc(upper), np.inf)
    known = bool(np.all(lower == upper))
    return lower.astype(dtype) if known else Range(lower, upper)


def _cast_range(node: Node, value: Range, target: int, builder: Builder) -> Value:
    if target in (TensorProto.FLOAT, TensorProto.DOUBLE):
        unit = UNIT32 if target == TensorProto.FLOAT else UNIT
        return ranged(value, unit, builder)
    node.require(target in (TensorProto.INT32, TensorProto.INT64), "this cast is not supported")
    return Range(value.lower.astype(np.float64), value.upper.astype(np.float64))


def ranged(value: Range, unit: float, builder: Builder) -> Form:
    """The numbers of a `Range` as a float tensor."""
    lower, upper = (bound.astype(np.float64).reshape(-1) for bound in (value.lower, value.upper))
    like = Form(value.shape, {}, unit=unit)
    return builder.within(lower, upper, like)


def where(node: Node, builder: Builder) -> Value:
    """The chosen entries; the hull of both where the choice is open."""
    lower, upper = _bounds(node.value(0), builder)
    node.require(lower.dtype == bool, "the condition must be boolean")
    options = [node.form(1), node.form(2)]
    shape = np.broadcast_shapes(lower.shape, *(form.shape for form in options))
    left, right = broadcast(node, *options, Form(shape, {}))[:2]
    certain, possible = (np.broadcast_to(b, shape).reshape(-1) for b in (lower, upper))
    (low_a, high_a), (low_b, high_b) = builder.enclose(left), builder.enclose(right)
    open_ = np.flatnonzero(certain != possible)
    low, high = np.minimum(low_a, low_b)[open_], np.maximum(high_a, high_b)[open_]
    both = builder.within(low, high, Form((open_.size,), {}, unit=max(left.unit, right.unit)))
    flat = [form.reshaped((form.size,)) for form in (left, right)]
    own = np.arange(left.size)
    index = np.where(certain, own, own + left.size)
    index[open_] = 2 * left.size + np.arange(open_.size)
    return select(concatenate([*flat, both], 0), index.reshape(shape))


ARITHMETIC: Mapping[str, Callable[..., Interval]] = MappingProxyType(
    {
        "Add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
        "Neg": lambda a: (-a[1], -a[0]),
        "Sub": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    }
)
"""What integers that depend on the input may enter besides casts and comparisons."""


def computable(node: Node) -> bool:
    """Whether `compute` is the node's function: its inputs are integers, not all constant."""
    integers = all(isinstance(value, np.ndarray | Range) for value in node.inputs)
    return node.proto.op_type in ARITHMETIC and integers and len(node.inputs) > 0


def compute(node: Node, builder: Builder) -> Value:
    operands = [_bounds(value, builder) for value in node.inputs]
    floats = [(low.astype(np.float64), high.astype(np.float64)) for low, high in operands]
    lower, upper = ARITHMETIC[node.proto.op_type](*floats)
    lower = np.where(lower > -_LARGEST_INTEGER, lower, -np.inf)
    return Range(lower, np.where(upper < _LARGEST_INTEGER, upper, np.inf))


STEPS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {"Ceil": np.ceil, "Floor": np.floor, "Round": np.rint, "Sign": np.sign}
)
"""Non-decreasing steps, exact in every runtime."""


def step(node: Node, builder: Builder) -> Form:
    form = node.form(0)
    change = STEPS[node.proto.op_type]
    lower, upper = (change(bound) for bound in builder.enclose(form))
    return builder.within(lower, upper, form)
