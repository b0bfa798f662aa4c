"""The norm gadget: a small network of standard operators that computes `‖x - center‖_q`.

VNN-LIB 2.0 has no Lq balls; a query can tie a second network to the input of the first and bound
its output (docs/vnnlib.md). These are the graphs that such a network may consist of:

    Flatten(x, axis=0)  →  [Gather(·, coordinates, axis=1)]  →  Sub(·, center)
        q = 1:  Abs → ReduceSum        q = 2:  ReduceL2        q = inf:  Abs → ReduceMax

each reduction over axis 1. Everything else is refused.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vnn_mondeq.errors import ModelError
from vnn_mondeq.onnx_io.operator import IR_VERSION, OPSET
from vnn_mondeq.onnx_io.read import read_proto
from vnn_mondeq.query.norm import NormNetwork

_REDUCTIONS = {1: ("Abs", "ReduceSum"), 2: ("ReduceL2",), math.inf: ("Abs", "ReduceMax")}

_REFUSAL = (
    "is not a norm network as docs/vnnlib.md describes it: {reason}; write it with "
    "vnn_mondeq.onnx_io.norm_network.export_norm_network"
)


def export_norm_network(
    q: float,
    center: np.ndarray,
    shape: tuple[int, ...],
    *,
    coordinates: np.ndarray | None = None,
    dtype: np.dtype | type = np.float32,
) -> onnx.ModelProto:
    """The network `x -> ‖x[coordinates] - center‖_q`, output shape `[1, 1]`.

    **Arguments:**

    - `q`: 1, 2 or `math.inf`.
    - `center`: one number for each coordinate, rounded to `dtype`: the file defines the ball.
    - `shape`: of the input `x`, batch included, all fixed.
    - `coordinates`: positions in the flattened input; all of them by default.

    **Raises** `ModelError` for another q, a centre that does not fit or is not finite.
    """
    size = int(np.prod(shape, dtype=np.int64))
    middle = np.asarray(center).astype(dtype).reshape(1, -1)
    count = size if coordinates is None else len(coordinates)
    if q not in _REDUCTIONS:
        raise ModelError(f"a norm network has q = 1, 2 or infinity, not {q}")
    if middle.size != count or not np.all(np.isfinite(middle)):
        raise ModelError(f"the centre needs {count} finite entries and has {middle.size}")
    weights = {"center": middle, "axes": np.array([1], dtype=np.int64)}
    nodes = [helper.make_node("Flatten", ["x"], ["flat"], axis=0)]
    chosen = "flat"
    if coordinates is not None:
        weights["coordinates"] = np.asarray(coordinates, dtype=np.int64)
        nodes.append(helper.make_node("Gather", ["flat", "coordinates"], ["chosen"], axis=1))
        chosen = "chosen"
    nodes.append(helper.make_node("Sub", [chosen, "center"], ["difference"]))
    last = "difference"
    if len(_REDUCTIONS[q]) == 2:
        nodes.append(helper.make_node("Abs", ["difference"], ["size"]))
        last = "size"
    nodes.append(helper.make_node(_REDUCTIONS[q][-1], [last, "axes"], ["norm"], keepdims=1))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "norm",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [helper.make_tensor_value_info("norm", kind, [1, 1])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="vnn_mondeq",
    )


def is_norm_network(path: str | Path) -> bool:
    """Whether the operators in a file are those of a norm network, in their order.

    **Raises** `ModelError` where the file cannot be read.
    """
    kinds = [node.op_type for node in read_proto(Path(path)).graph.node]
    if kinds[1:2] == ["Gather"]:
        del kinds[1]
    return kinds[:2] == ["Flatten", "Sub"] and tuple(kinds[2:]) in _REDUCTIONS.values()


def load_norm_network(path: str | Path) -> NormNetwork:
    """What the norm network in a file computes, its centre read exactly.

    **Raises** `ModelError` unless the graph is one of those in the module's docstring.
    """
    place = Path(path)
    proto = read_proto(place)

    def require(holds: bool, reason: str) -> None:
        if not holds:
            raise ModelError(f"{place}: " + _REFUSAL.format(reason=reason))

    opsets = {o.domain or "ai.onnx": o.version for o in proto.opset_import}
    require(
        opsets.keys() == {"ai.onnx"} and opsets["ai.onnx"] >= 18 and not proto.functions,
        "it must use standard operators of opset 18 or later only",
    )
    return _recognise(proto.graph, require)


def _recognise(graph: onnx.GraphProto, require: Callable[[bool, str], None]) -> NormNetwork:
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    require(len(inputs) == 1 and len(graph.output) == 1, "it needs one input and one output")
    nodes = list(graph.node)
    kinds = [node.op_type for node in nodes]
    gathers = kinds[1:2] == ["Gather"]
    tail = tuple(kinds[3 if gathers else 2 :])
    head = ["Flatten", "Gather", "Sub"] if gathers else ["Flatten", "Sub"]
    found = [q for q, names in _REDUCTIONS.items() if names == tail]
    require(kinds[: len(head)] == head and len(found) == 1, f"its operators are {kinds}")

    previous = inputs[0].name
    for node in nodes:
        require(node.domain in ("", "ai.onnx"), "it has operators of another domain")
        require(bool(node.input) and node.input[0] == previous, "its nodes are not one chain")
        require(len(node.output) == 1, "its nodes are not one chain")
        previous = node.output[0]
    require(graph.output[0].name == previous, "its output is not that of the last node")
    attributes = [{a.name: helper.get_attribute_value(a) for a in n.attribute} for n in nodes]
    require(attributes[0] == {"axis": 0}, "Flatten must have axis 0")
    expected = [{}] * (len(nodes) - 1 - len(head)) + [{"keepdims": 1}]
    require(attributes[len(head) :] == expected, "the reduction must only have keepdims = 1")
    axes = stored.get(nodes[-1].input[1]) if len(nodes[-1].input) == 2 else None
    require(axes is not None and axes.tolist() == [1], "it must reduce over axis 1")
    return _norm(graph, nodes, stored, found[0], gathers, attributes, require)


def _norm(
    graph: onnx.GraphProto,
    nodes: list[onnx.NodeProto],
    stored: dict[str, np.ndarray],
    q: float,
    gathers: bool,
    attributes: list[dict[str, object]],
    require: Callable[[bool, str], None],
) -> NormNetwork:
    names = {value.name for value in graph.input} - stored.keys()
    (value,) = [value for value in graph.input if value.name in names]
    tensor = value.type.tensor_type
    dims = [dim.dim_value for dim in tensor.shape.dim]
    require(all(n > 0 for n in dims), "its input must have a fixed shape")
    require(tensor.elem_type in (TensorProto.FLOAT, TensorProto.DOUBLE), "its input is not float")
    size = int(np.prod(dims, dtype=np.int64))
    coordinates = np.arange(size)
    if gathers:
        index = stored.get(nodes[1].input[1])
        require(attributes[1] == {"axis": 1} and index is not None, "Gather must have axis 1")
        require(
            index.ndim == 1 and bool(np.all((index >= 0) & (index < size))),
            "Gather's indices must lie within the input",
        )
        require(len(np.unique(index)) == len(index), "Gather lists a coordinate twice")
        coordinates = index
    subtract = nodes[2 if gathers else 1]
    middle = stored.get(subtract.input[1]) if not attributes[2 if gathers else 1] else None
    require(middle is not None and middle.dtype.kind == "f", "Sub must subtract a constant")
    require(
        middle.shape == (1, coordinates.size) and bool(np.all(np.isfinite(middle))),
        f"the centre must be [1, {coordinates.size}] finite numbers",
    )
    center = tuple(Fraction(float(number)) for number in middle.reshape(-1))
    return NormNetwork(q=q, center=center, coordinates=np.asarray(coordinates, dtype=np.int64))
