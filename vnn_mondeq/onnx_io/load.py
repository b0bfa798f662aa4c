"""Reading an ONNX file as one implicit system."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
import onnx

from vnn_mondeq.errors import MismatchError, ModelError, UnsupportedModelError
from vnn_mondeq.onnx_io.affine_form import INPUT, Form, constant, select, source_form
from vnn_mondeq.onnx_io.assemble import assemble
from vnn_mondeq.onnx_io.attach import attach_solver, is_complete
from vnn_mondeq.onnx_io.builder import Builder
from vnn_mondeq.onnx_io.enclosure import Interval
from vnn_mondeq.onnx_io.function_check import with_known_bodies
from vnn_mondeq.onnx_io.hidden import (
    ShowingReplay,
    check_names,
    hidden_forms,
    hidden_key,
    with_shown,
)
from vnn_mondeq.onnx_io.loop_prepare import with_loops_prepared
from vnn_mondeq.onnx_io.node import Node, Range, Value, from_array, label
from vnn_mondeq.onnx_io.operator import DOMAIN, MAX_OPSET, MIN_OPSET, VERSION
from vnn_mondeq.onnx_io.operator_table import TABLE, compile_node
from vnn_mondeq.onnx_io.read import read_proto
from vnn_mondeq.onnx_io.replay import Replay
from vnn_mondeq.onnx_io.step_operators import ranged
from vnn_mondeq.rounding import UNIT, UNIT32
from vnn_mondeq.system.implicit import ImplicitSystem

_ELEMENT_TYPES = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.DOUBLE: "float64"}
_DISCRETE_TYPES = {
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.BOOL: "bool",
}
_UNITS = {"float32": UNIT32, "float64": UNIT}


@final
@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model file and the system that it means.

    - `model_bytes`: the serialised model for a runtime, function bodies attached.
    - `element_type`: `"float32"` or `"float64"`, of all inputs and outputs that are floats.
    - `output_types`: output name → element type; others than `element_type` are integers or
      booleans, which the system holds as the numbers that they are.
    - `operators`: operator names in the file, sorted, each once.
    - `hidden`: ONNX name → shape of the hidden tensors that were asked for; they follow the outputs
      in `system`.
    - `shown_bytes`: the model with them among its outputs, where there are any.
    """

    path: Path
    system: ImplicitSystem
    model_bytes: bytes
    element_type: str
    output_types: Mapping[str, str]
    operators: tuple[str, ...]
    hidden: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    shown_bytes: bytes = b""

    @property
    def inputs(self) -> Mapping[str, tuple[int, ...]]:
        """Input name → shape, symbolic batch sizes as 1."""
        return self.system.inputs

    @property
    def outputs(self) -> Mapping[str, tuple[int, ...]]:
        inside = {hidden_key(name) for name in self.hidden}
        return {k: shape for k, shape in self.system.outputs.items() if k not in inside}

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.element_type)

    def hidden_output(self, name: str) -> str:
        """What a hidden tensor is called among the outputs of `system` and of a session."""
        return hidden_key(name)

    def open_runtime(self) -> Replay | ShowingReplay:
        """A session that computes what `system` does. **Raises** `ModelError`."""
        if not self.hidden:
            return Replay(self.model_bytes)
        return ShowingReplay(self.model_bytes, self.shown_bytes, tuple(self.hidden))

    def on_box(self, lower: np.ndarray, upper: np.ndarray, *, knots: bool = True) -> "LoadedModel":
        """The model for inputs in the box `[lower (d,), upper (d,)]` only.

        A model with operators that are not piecewise linear is compiled again: `system` then has
        auxiliary inputs whose bounds hold on this box alone, and `self.system` has infinite ones.
        Any other model is returned as it is.

        - `knots`: how curves are relaxed, see `vnn_mondeq.onnx_io.relaxation`.

        **Raises** `UnsupportedModelError` where an operator needs tighter bounds.
        """
        if not self.system.auxiliary_size:
            return self
        try:
            proto = onnx.load_model_from_string(self.model_bytes)
            box, hidden = (lower, upper), tuple(self.hidden)
            return compile_model(proto, self.path, box, hidden, knots=knots)
        except ModelError as error:
            raise type(error)(f"{self.path}: {error}") from error


def load(path: str | Path, hidden: Sequence[str] = ()) -> LoadedModel:
    """Read `path` (`.onnx`, perhaps compressed as `.gz`).

    - `hidden`: ONNX names of tensors inside the graph, each once, to be compiled as well.

    **Raises** `ModelError` and its subclasses, with the path in the message: a file that is
    missing, damaged or not ONNX; operators, types or shapes outside of the supported set (all of
    them at once); function bodies that we did not write; a layer without a proof of monotonicity.
    `MismatchError` for a hidden tensor that is not there.
    """
    place = Path(path)
    proto = read_proto(place)
    try:
        return compile_model(proto, place, hidden=hidden)
    except (ModelError, MismatchError) as error:
        raise type(error)(f"{place}: {error}") from error


def compile_model(
    proto: onnx.ModelProto,
    path: Path = Path("<memory>"),
    box: Interval | None = None,
    hidden: Sequence[str] = (),
    *,
    knots: bool = True,
) -> LoadedModel:
    """The meaning of a checked model in memory; `path` is only recorded.

    - `box`: bounds `(d,)` of the flattened inputs; none by default (see `LoadedModel.on_box`).
    - `knots`: see there.

    **Raises** as `load` does, without the path in the message.
    """
    opset = _check_opsets(proto)
    proto = with_known_bodies(proto)
    if not is_complete(proto):
        proto = attach_solver(proto)
    check_names(proto.graph, hidden)
    nodes = _live_nodes(with_loops_prepared(proto.graph), hidden)
    _check_operators(proto, nodes)
    inputs, element_type = _input_shapes(proto.graph)
    unit = _UNITS[element_type]
    builder = Builder(_everything(inputs) if box is None else box, unit, knots)
    values = _initial_values(proto.graph, inputs, unit)
    _evaluate(nodes, values, builder, unit, opset)
    outputs = _outputs(proto.graph, values, builder)
    inside = hidden_forms(values, hidden)
    everything = outputs | {hidden_key(name): form for name, form in inside.items()}
    return LoadedModel(
        path=path,
        system=assemble(builder, everything, inputs),
        model_bytes=proto.SerializeToString(deterministic=True),
        element_type=element_type,
        output_types=_output_types(proto.graph, element_type),
        operators=tuple(sorted({node.op_type for node in proto.graph.node})),
        hidden={name: form.shape for name, form in inside.items()},
        shown_bytes=with_shown(proto, inside) if inside else b"",
    )


def _everything(inputs: Mapping[str, tuple[int, ...]]) -> Interval:
    size = sum(int(np.prod(shape, dtype=np.int64)) for shape in inputs.values())
    return np.full(size, -np.inf), np.full(size, np.inf)


def _domain(node: onnx.NodeProto) -> str:
    return "" if node.domain == "ai.onnx" else node.domain


def _check_opsets(proto: onnx.ModelProto) -> int:
    imports = {("" if o.domain == "ai.onnx" else o.domain, o.version) for o in proto.opset_import}
    versions = dict(imports)
    if len(versions) != len(imports):
        raise UnsupportedModelError("the model imports a domain in two versions")
    opset = versions.get("", 0)
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise UnsupportedModelError(
            f"opset {opset} is not supported; convert the model to opset {MIN_OPSET}..{MAX_OPSET}"
        )
    if versions.get(DOMAIN, VERSION) != VERSION:
        raise UnsupportedModelError(
            f"version {versions[DOMAIN]} of the domain {DOMAIN} is unknown; this release knows "
            f"version {VERSION}"
        )
    return opset


def _live_nodes(graph: onnx.GraphProto, hidden: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes on which an output or hidden tensor depends, in the file's (topological) order."""
    needed = {output.name for output in graph.output} | set(hidden)
    live = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(name for name in node.input if name)
            live.append(node)
    return live[::-1]


def _check_operators(proto: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    unknown = [label(node) for node in nodes if (_domain(node), node.op_type) not in TABLE]
    if proto.graph.sparse_initializer:
        unknown.append("sparse initializers")
    if unknown:
        raise UnsupportedModelError("unsupported operators: " + "; ".join(unknown))


def _input_shapes(graph: onnx.GraphProto) -> tuple[dict[str, tuple[int, ...]], str]:
    """Name → shape of the inputs that are not initializers, and their common element type."""
    stored = {tensor.name for tensor in graph.initializer}
    declared = [value for value in graph.input if value.name not in stored]
    if not declared:
        raise UnsupportedModelError("the model has no input")
    shapes = {value.name: _shape(value) for value in declared}
    kinds = {value.type.tensor_type.elem_type for value in declared}
    if len(kinds) != 1 or not kinds <= _ELEMENT_TYPES.keys():
        names = ", ".join(onnx.TensorProto.DataType.Name(kind) for kind in sorted(kinds))
        raise UnsupportedModelError(f"inputs must be all float32 or all float64, not {names}")
    return shapes, _ELEMENT_TYPES[kinds.pop()]


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """The shape, with a symbolic first dimension read as 1."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise UnsupportedModelError(f"input {value.name!r} has no declared tensor shape")
    dims = []
    for axis, dim in enumerate(tensor.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value > 0:
            dims.append(int(dim.dim_value))
        elif axis == 0:
            dims.append(1)
        else:
            raise UnsupportedModelError(
                f"input {value.name!r} has a symbolic dimension {axis}; only the first (the batch) "
                "may be symbolic"
            )
    return tuple(dims)


def _initial_values(
    graph: onnx.GraphProto, inputs: Mapping[str, tuple[int, ...]], unit: float
) -> dict[str, Value]:
    total = sum(int(np.prod(shape, dtype=np.int64)) for shape in inputs.values())
    x = source_form(INPUT, total, np.arange(total), (total,), unit)
    values: dict[str, Value] = {
        tensor.name: from_array(onnx.numpy_helper.to_array(tensor), f"weight {tensor.name!r}")
        for tensor in graph.initializer
    }
    start = 0
    for name, shape in inputs.items():
        size = int(np.prod(shape, dtype=np.int64))
        values[name] = select(x, np.arange(start, start + size).reshape(shape))
        start += size
    return values


def _evaluate(
    nodes: list[onnx.NodeProto],
    values: dict[str, Value],
    builder: Builder,
    unit: float,
    opset: int,
) -> None:
    """Fill `values` node by node.

    **Raises** `UnsupportedModelError` listing every node that could not be compiled; nodes that
    only depend on such a node are not listed.
    """
    problems: list[str] = []
    for proto in nodes:
        if any(name and name not in values for name in proto.input):
            continue
        inputs = [values[name] if name else None for name in proto.input]
        node = Node(proto, inputs, unit, opset)
        try:
            results = compile_node(node, builder, _domain(proto))
        except UnsupportedModelError as error:
            problems.append(str(error))
            continue
        except (ValueError, IndexError, TypeError) as error:
            # From numpy, where shapes or attributes do not fit each other.
            problems.append(f"{node.label}: is malformed: {error}")
            continue
        values.update(zip(proto.output, results, strict=False))
    if problems:
        raise UnsupportedModelError("unsupported: " + "; ".join(problems))


def _outputs(
    graph: onnx.GraphProto, values: Mapping[str, Value], builder: Builder
) -> dict[str, Form]:
    """The outputs as float tensors; integers and booleans as the numbers that they are."""
    forms = {}
    for output in graph.output:
        value = values.get(output.name)
        if isinstance(value, np.ndarray):
            exact = bool(np.all(np.abs(value.astype(np.float64)) <= 2.0**53))
            value = constant(value.astype(np.float64), builder.unit) if exact else None
        if isinstance(value, Range):
            value = ranged(value, builder.unit, builder)
        if value is None:
            raise UnsupportedModelError(f"output {output.name!r} is not a tensor of numbers")
        forms[output.name] = value
    return forms


def _output_types(graph: onnx.GraphProto, element_type: str) -> dict[str, str]:
    """Output name → element type in ONNX lower case.

    **Raises** `UnsupportedModelError` for floats of another type than the inputs have.
    """
    types = {}
    for output in graph.output:
        kind = output.type.tensor_type.elem_type
        name = _ELEMENT_TYPES.get(kind) or _DISCRETE_TYPES.get(kind)
        if name is None or (kind in _ELEMENT_TYPES and name != element_type):
            raise UnsupportedModelError(
                f"output {output.name!r} must be a {element_type} tensor, as the inputs are"
            )
        types[output.name] = name
    return types
