"""Integer and boolean tensors: constants, folded by numpy with the meaning of the standard."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from onnx import numpy_helper

from vnn_mondeq.onnx_io.node import Node, Value, from_array


def _divided(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Integer division of ONNX (C): truncated, where numpy's rounds down."""
    quotient = np.abs(left) // np.abs(right)
    return np.where((left < 0) != (right < 0), -quotient, quotient).astype(left.dtype)


FOLDED: Mapping[str, Callable[..., np.ndarray]] = MappingProxyType(
    {
        "Abs": np.abs,
        "Add": np.add,
        "And": np.logical_and,
        "Div": _divided,
        "Equal": np.equal,
        "Greater": np.greater,
        "GreaterOrEqual": np.greater_equal,
        "Less": np.less,
        "LessOrEqual": np.less_equal,
        "Max": lambda *many: np.maximum.reduce(np.broadcast_arrays(*many)),
        "Min": lambda *many: np.minimum.reduce(np.broadcast_arrays(*many)),
        "Mul": np.multiply,
        "Neg": np.negative,
        "Not": np.logical_not,
        "Or": np.logical_or,
        "Sub": np.subtract,
        "Where": np.where,
        "Xor": np.logical_xor,
    }
)
"""Operator → its result for integer and boolean constants. Two of them are float operators too."""


def foldable(node: Node) -> bool:
    """Whether all inputs are integer or boolean constants and the operator is in `FOLDED`."""
    known = all(isinstance(value, np.ndarray) for value in node.inputs)
    return node.proto.op_type in FOLDED and known and len(node.inputs) > 0


def fold(node: Node) -> np.ndarray:
    result = np.asarray(FOLDED[node.proto.op_type](*node.inputs))
    node.require(result.dtype.kind in "iub", "does not give integers or booleans")
    return result


def constant_of_shape(node: Node) -> Value:
    sizes = [int(n) for n in node.integers(0).reshape(-1)]
    node.require(min(sizes, default=0) >= 0, f"the shape {sizes} is negative")
    stored = node.attribute("value")
    fill = np.zeros(1, np.float32) if stored is None else numpy_helper.to_array(stored)
    return from_array(np.full(sizes, fill.reshape(-1)[0], dtype=fill.dtype), node.label)


def range_(node: Node) -> np.ndarray:
    start, limit, step = (int(node.integers(i).reshape(())) for i in range(3))
    node.require(step != 0, "the step is zero")
    return np.arange(start, limit, step, dtype=node.integers(0).dtype)
