"""Operators that move entries without arithmetic: each is exact, in every runtime.

Such an operator is a function of numpy arrays; applied to the array of positions it gives the
selection for a form, applied to an integer tensor the result itself.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from vnn_mondeq.onnx_io.affine_form import Form, add, concatenate, constant, plus, select
from vnn_mondeq.onnx_io.node import Node, Range, Value, from_array
from vnn_mondeq.rounding import UNIT, UNIT32


def _rearrange(value: Value, change: Callable[[np.ndarray], np.ndarray]) -> Value:
    if isinstance(value, Form):
        return select(value, change(np.arange(value.size).reshape(value.shape)))
    if isinstance(value, Range):
        return Range(np.asarray(change(value.lower)), np.asarray(change(value.upper)))
    return np.asarray(change(value))


def _shape(value: Value) -> tuple[int, ...]:
    return tuple(value.shape)


def constant_node(node: Node) -> Value:
    attributes = node.attributes()
    node.require(len(attributes) == 1, "must have exactly one attribute")
    ((name, value),) = attributes.items()
    arrays = {
        "value": lambda: numpy_helper.to_array(value),
        "value_float": lambda: np.array(value, dtype=np.float32),
        "value_floats": lambda: np.array(value, dtype=np.float32),
        "value_int": lambda: np.array(value, dtype=np.int64),
        "value_ints": lambda: np.array(value, dtype=np.int64),
    }
    node.require(name in arrays, f"attribute {name} is not supported")
    return from_array(arrays[name](), node.label)


def identity(node: Node) -> Value:
    value = node.inputs[0]
    node.require(value is not None, "lacks its input")
    return value


def dropout(node: Node) -> Value:
    training = node.has(2) and bool(np.any(node.integers(2)))
    node.require(not training, "training mode is not supported; export the model for inference")
    return identity(node)


def cast(node: Node) -> Value:
    target = int(node.attribute("to"))
    value = identity(node)
    if isinstance(value, Form):
        allowed = target in (TensorProto.FLOAT, TensorProto.DOUBLE)
        node.require(allowed, "only casts between float32 and float64 are supported")
        if target == TensorProto.DOUBLE:
            return dataclasses.replace(value, unit=UNIT)
        return value if value.unit == UNIT32 else _rounded(value, node.unit)
    dtype = helper.tensor_dtype_to_np_dtype(target)
    if np.dtype(dtype).kind in "iub":
        return value.astype(dtype)
    return from_array(value.astype(dtype), node.label)


def _rounded(value: Form, unit: float) -> Form:
    """The tensor rounded to float32: one rounding of each entry, as in adding zero."""
    return add(value, constant(np.zeros(value.shape, dtype=np.float32)), unit)


def shape(node: Node) -> Value:
    start, end = int(node.attribute("start", 0)), node.attribute("end")
    dims = _shape(identity(node))
    return np.array(dims[start : None if end is None else int(end)], dtype=np.int64)


def flatten(node: Node) -> Value:
    value = identity(node)
    dims = _shape(value)
    axis = int(node.attribute("axis", 1))
    axis = axis + len(dims) if axis < 0 else axis
    lead = int(np.prod(dims[:axis], dtype=np.int64))
    return _rearrange(value, lambda a: a.reshape(lead, -1))


def reshape(node: Node) -> Value:
    value = identity(node)
    target = [int(n) for n in node.integers(1).reshape(-1)]
    if not node.attribute("allowzero", 0):
        dims = _shape(value)
        fits = all(n != 0 or i < len(dims) for i, n in enumerate(target))
        node.require(fits, f"shape {target} copies a dimension that does not exist")
        target = [dims[i] if n == 0 else n for i, n in enumerate(target)]
    size = int(np.prod(_shape(value), dtype=np.int64))
    known = int(np.prod([n for n in target if n != -1], dtype=np.int64))
    fits = target.count(-1) <= 1 and known > 0 and size % known == 0
    node.require(
        fits and (-1 in target or known == size),
        f"{list(_shape(value))} cannot be reshaped to {target} (the batch counts as 1)",
    )
    return _rearrange(value, lambda a: a.reshape(target))


def expand(node: Node) -> Value:
    value = identity(node)
    target = np.broadcast_shapes(_shape(value), tuple(int(n) for n in node.integers(1)))
    return _rearrange(value, lambda a: np.broadcast_to(a, target))


def resize(node: Node) -> Value:
    """`Resize` and `Upsample` to the nearest entry by whole factors: there, all the standard's
    coordinate and rounding rules listed here give entry `i // factor`."""
    value = node.form(0)
    rank = len(value.shape)
    rule = (node.word("coordinate_transformation_mode", "half_pixel"),
            node.word("nearest_mode", "round_prefer_floor"))  # fmt: skip
    agree = node.proto.op_type == "Upsample" or rule in _NEAREST_RULES
    node.require(node.word("mode", "nearest") == "nearest" and agree, "only mode nearest, "
                 "half_pixel with round_prefer_floor or asymmetric with floor")  # fmt: skip
    plain = node.attribute("axes") is None and not node.attribute("antialias", 0)
    plain &= node.word("keep_aspect_ratio_policy", "stretch") == "stretch"
    node.require(plain, "axes, antialias and aspect ratios are not supported")
    place = {1: 1, 2: 1}.get(len(node.inputs), 2)
    if node.has(3):
        wanted = node.integers(3).reshape(-1) / np.array(value.shape)
    elif node.has(place):
        wanted = node.stored(place).array().reshape(-1)
    else:
        wanted = np.array(node.attribute("scales", []))
    whole = len(wanted) == rank and bool(np.all((wanted >= 1) & (wanted == np.floor(wanted))))
    node.require(whole, f"factors {wanted.tolist()} are not whole numbers")
    index = np.arange(value.size).reshape(value.shape)
    for axis, factor in enumerate(wanted.astype(int)):
        index = np.repeat(index, factor, axis=axis)
    return select(value, index)


_NEAREST_RULES = (("half_pixel", "round_prefer_floor"), ("asymmetric", "floor"))


def transpose(node: Node) -> Value:
    value = identity(node)
    order = node.attribute("perm", list(range(len(_shape(value))))[::-1])
    return _rearrange(value, lambda a: a.transpose(order))


def _list(node: Node, position: int, name: str) -> np.ndarray | None:
    """Integers as an input, as newer opsets have them, or as an attribute."""
    if node.has(position):
        return node.integers(position).reshape(-1)
    given = node.attribute(name)
    return None if given is None else np.array(given, dtype=np.int64)


def _axes(node: Node, position: int) -> list[int]:
    axes = _list(node, position, "axes")
    return [] if axes is None else [int(n) for n in axes]


def squeeze(node: Node) -> Value:
    axes = tuple(_axes(node, 1))
    return _rearrange(identity(node), lambda a: np.squeeze(a, axis=axes or None))


def unsqueeze(node: Node) -> Value:
    return _rearrange(identity(node), lambda a: np.expand_dims(a, tuple(_axes(node, 1))))


def slice_(node: Node) -> Value:
    starts, ends = (_list(node, i, name) for i, name in ((1, "starts"), (2, "ends")))
    node.require(starts is not None and ends is not None, "lacks starts or ends")
    axes, steps = _list(node, 3, "axes"), _list(node, 4, "steps")
    axes = np.arange(len(starts)) if axes is None else axes
    steps = np.ones(len(starts), dtype=np.int64) if steps is None else steps
    value = identity(node)
    parts = [slice(None)] * len(_shape(value))
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = _shape(value)[axis]
        parts[axis] = _slice(int(start), int(end), int(step), size)
    return _rearrange(value, lambda a: a[tuple(parts)])


def _slice(start: int, end: int, step: int, size: int) -> slice:
    """ONNX's clamping (Slice-13) as a Python slice."""
    start = start + size if start < 0 else start
    end = end + size if end < 0 else end
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    end = min(max(end, -1), size - 1)
    return slice(min(max(start, 0), size - 1), None if end == -1 else end, step)


def gather(node: Node) -> Value:
    index, axis = node.integers(1), int(node.attribute("axis", 0))
    value = identity(node)
    size = _shape(value)[axis]
    node.require(
        bool(np.all((index >= -size) & (index < size))), f"an index lies outside of 0..{size - 1}"
    )
    return _rearrange(value, lambda a: np.take(a, index, axis=axis))


def concat(node: Node) -> Value:
    axis = int(node.attribute("axis"))
    values = [value for value in node.inputs if value is not None]
    if all(isinstance(value, Form) for value in values):
        return concatenate(values, axis)
    constants = all(isinstance(v, np.ndarray) for v in values)
    node.require(constants, "joins integers that are not constants")
    return np.concatenate(values, axis=axis)


def split(node: Node) -> tuple[Value, ...]:
    axis = int(node.attribute("axis", 0))
    value = identity(node)
    size = _shape(value)[axis]
    given = _list(node, 1, "split")
    if given is not None:
        sizes = [int(n) for n in given]
    else:
        count = int(node.attribute("num_outputs", len(node.proto.output)))
        each = -(-size // count)
        sizes = [each] * (count - 1) + [size - each * (count - 1)]
    node.require(sum(sizes) == size and min(sizes) >= 0, f"sizes {sizes} do not add up to {size}")
    ends = np.cumsum(sizes)
    return tuple(
        _rearrange(value, lambda a, s=end - n, e=end: np.take(a, np.arange(s, e), axis=axis))
        for n, end in zip(sizes, ends, strict=True)
    )


_PAD_MODES = {"wrap": "wrap", "edge": "edge", "reflect": "reflect"}


def pad(node: Node) -> Value:
    value = node.form(0)
    amounts = _list(node, 1, "pads")
    node.require(amounts is not None, "lacks pads")
    rank = len(value.shape)
    axes = [int(a) % rank for a in node.integers(3)] if node.has(3) else list(range(rank))
    node.require(bool(np.all(amounts >= 0)), "negative padding is not supported")
    widths = [(0, 0)] * rank
    for place, axis in enumerate(axes):
        widths[axis] = (int(amounts[place]), int(amounts[place + len(axes)]))
    mode = node.word("mode", "constant")
    index = np.arange(value.size).reshape(value.shape)
    if mode == "constant":
        fill = float(node.attribute("value", 0.0))
        if node.has(2):
            fill = float(node.stored(2).array().reshape(()))
        padded = np.pad(index, widths, constant_values=-1)
        if fill == 0.0:
            return select(value, padded)
        border = constant(np.where(padded < 0, fill, 0.0), value.unit)
        return plus(select(value, padded), border)
    node.require(mode in _PAD_MODES, f"mode {mode} is not supported")
    fits = all(max(w) <= n - (mode == "reflect") for w, n in zip(widths, value.shape, strict=True))
    node.require(fits, f"pads more than the size of the tensor, {list(value.shape)}")
    return select(value, np.pad(index, widths, mode=_PAD_MODES[mode]))
