"""Completing monDEQ nodes that lack what only a runtime needs: step size, body, shape of `z`."""

import onnx
from onnx import NodeProto, helper, numpy_helper

from vnn_mondeq.errors import ModelError
from vnn_mondeq.onnx_io.affine_form import Form, constant
from vnn_mondeq.onnx_io.feedback import Feedback, feedback
from vnn_mondeq.onnx_io.function_body import function_body
from vnn_mondeq.onnx_io.node import Node, label
from vnn_mondeq.onnx_io.operator import (
    DEFAULT_TOLERANCE,
    DOMAIN,
    IR_VERSION,
    OPERATORS,
    VERSION,
)
from vnn_mondeq.onnx_io.step_size import choose_alpha, step_limit
from vnn_mondeq.rounding import UNIT32

_SOLVER_ATTRIBUTES = frozenset({"alpha", "tol", "max_iter"})


def is_complete(model: onnx.ModelProto) -> bool:
    """Whether no monDEQ node lacks a solver attribute."""
    return all(
        {attribute.name for attribute in node.attribute} >= _SOLVER_ATTRIBUTES
        for node in model.graph.node
        if node.domain == DOMAIN and node.op_type in OPERATORS
    )


def attach_solver(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` in which every monDEQ node has `alpha`, `tol`, `max_iter` and its
    function body, and `z` a declared shape.

    Attributes that a node has are kept. The weights must be initializers, and the shape of each
    `u` must be inferable or declared.

    **Raises** `ModelError` naming the node otherwise.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    ours = [n for n in result.graph.node if n.domain == DOMAIN and n.op_type in OPERATORS]
    if not ours:
        return result
    present = {(f.domain, f.name) for f in result.functions}
    for name in sorted({node.op_type for node in ours}):
        if (DOMAIN, name) not in present:
            result.functions.append(function_body(name))
    if not any(o.domain == DOMAIN for o in result.opset_import):
        result.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    result.ir_version = max(result.ir_version, IR_VERSION)
    stored = {t.name: t for t in result.graph.initializer}
    for node in ours:
        _complete(result, node, stored)
    return result


def _complete(model: onnx.ModelProto, node: NodeProto, stored: dict[str, onnx.TensorProto]) -> None:
    """Fill in one node, in the order of the graph, so that shapes flow through earlier ones."""
    value = _declared(model, node.input[0])
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    settings = {"tol": given.get("tol", DEFAULT_TOLERANCE)}
    if "alpha" not in given or "max_iter" not in given:
        W = _feedback_of(node, stored, value).W
        settings["alpha"] = given.get("alpha", choose_alpha(W))
        settings["max_iter"] = step_limit(W, settings["alpha"], settings["tol"])
    for name in sorted(settings.keys() - given.keys()):
        node.attribute.append(helper.make_attribute(name, settings[name]))
    known = {v.name for v in (*model.graph.value_info, *model.graph.output)}
    if node.output[0] not in known:
        declared = onnx.ValueInfoProto()
        declared.CopyFrom(value)
        declared.name = node.output[0]
        model.graph.value_info.append(declared)


def _declared(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    """The declared or inferred type of a tensor."""
    for graph in (model.graph, onnx.shape_inference.infer_shapes(model).graph):
        for value in (*graph.value_info, *graph.input):
            if value.name == name and value.type.tensor_type.HasField("shape"):
                return value
    raise ModelError(f"the shape of {name!r} cannot be inferred; declare it in the model")


def _feedback_of(
    node: NodeProto, stored: dict[str, onnx.TensorProto], value: onnx.ValueInfoProto
) -> Feedback:
    dims = value.type.tensor_type.shape.dim
    shape = tuple(dim.dim_value if i else 1 for i, dim in enumerate(dims))
    inputs: list[Form] = [Form(shape, {})]
    for name in node.input[1:]:
        if name not in stored:
            raise ModelError(f"{label(node)}: weight {name!r} must be an initializer of the model")
        inputs.append(constant(numpy_helper.to_array(stored[name])))
    return feedback(Node(node, inputs, UNIT32, 0))
