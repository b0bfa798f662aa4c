"""The file must not mean two things: function bodies are ours, or absent, or refused.

A runtime executes the body of a monDEQ node while the importer reads the node as the exact
fixpoint. Both agree (to within `Block.solver_error`) only for the body that this package writes.
"""

from onnx import FunctionProto, ModelProto, helper

from vnn_mondeq.errors import ModelError
from vnn_mondeq.onnx_io.function_body import function_body
from vnn_mondeq.onnx_io.operator import (
    DOMAIN,
    IR_VERSION,
    MAX_OPSET,
    OPERATORS,
    OPSET,
    VERSION,
)


def with_known_bodies(proto: ModelProto) -> ModelProto:
    """A copy in which every monDEQ node has our body and no other function remains.

    Functions of other domains are inlined.

    **Raises** `ModelError` for a body in our domain that this package did not write, and for
    functions that replace a standard operator.
    """
    result = ModelProto()
    result.CopyFrom(proto)
    for function in result.functions:
        _check_function(function)
    if any(function.domain != DOMAIN for function in result.functions):
        result = _inline_foreign(result)
    used = {node.op_type for node in result.graph.node if node.domain == DOMAIN}
    for node in result.graph.node:
        if node.domain == DOMAIN and node.overload:
            raise ModelError(f"node {node.name!r} selects the unknown overload {node.overload!r}")
    del result.functions[:]
    result.functions.extend(function_body(name) for name in sorted(used & OPERATORS.keys()))
    if used and not any(o.domain == DOMAIN for o in result.opset_import):
        result.opset_import.append(helper.make_opsetid(DOMAIN, VERSION))
    if used:
        result.ir_version = max(result.ir_version, IR_VERSION)
    return result


def _check_function(function: FunctionProto) -> None:
    if function.domain in ("", "ai.onnx"):
        raise ModelError(
            f"the file replaces the standard operator {function.name} by its own function; "
            "inline or remove it"
        )
    if function.domain != DOMAIN:
        return
    if function.name not in OPERATORS:
        raise ModelError(f"the function {DOMAIN}.{function.name} is not one of this domain")
    if canonical(function) != canonical(function_body(function.name)):
        raise ModelError(
            f"the body of the function {DOMAIN}.{function.name} is not the one of version "
            f"{VERSION}, so a runtime would compute something else than the fixpoint that is "
            "verified; remove the body (it will be attached anew) or export the model again"
        )


def canonical(function: FunctionProto) -> bytes:
    """A serialisation without documentation and metadata, which carry no meaning.

    The opset counts as ours where the body's operators mean the same in it: none of them has
    changed from opset 18 to `MAX_OPSET` in more than the types that it admits.
    """
    plain = FunctionProto()
    plain.CopyFrom(function)
    plain.ClearField("doc_string")
    del plain.metadata_props[:]
    opsets = [(o.domain, o.version) for o in plain.opset_import]
    if len(opsets) == 1 and opsets[0][0] in ("", "ai.onnx") and OPSET <= opsets[0][1] <= MAX_OPSET:
        plain.opset_import[0].CopyFrom(helper.make_opsetid("", OPSET))
    for node in plain.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    return plain.SerializeToString(deterministic=True)


def _inline_foreign(model: ModelProto) -> ModelProto:
    from onnx import inliner

    ours = [(f.domain, f.name) for f in model.functions if f.domain == DOMAIN]
    try:
        return inliner.inline_selected_functions(model, ours, exclude=True)
    except RuntimeError as error:
        raise ModelError(
            f"the file's functions of other domains cannot be inlined: {error}"
        ) from error
