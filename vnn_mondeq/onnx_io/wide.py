"""Matrix products of a model in double precision.

In float32 a sum of n products may err by n roundings in the worst case, and a proof about what a
runtime computes must allow for that; in double precision between casts it errs by one rounding.
"""

import onnx
from onnx import NodeProto, TensorProto, helper


def widen_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a float32 model whose `Gemm` nodes compute in float64 between casts.

    Names of tensors stay; weights stay float32 initializers.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes: list[NodeProto] = []
    widened: set[str] = set()
    for node in result.graph.node:
        if node.op_type != "Gemm" or node.domain not in ("", "ai.onnx"):
            nodes.append(node)
            continue
        for position, name in enumerate(node.input):
            if not name:
                continue
            wide = f"{name}_wide"
            if wide not in widened:
                widened.add(wide)
                nodes.append(_cast(name, wide, TensorProto.DOUBLE))
            node.input[position] = wide
        output = node.output[0]
        node.output[0] = f"{output}_double"
        nodes += [node, _cast(f"{output}_double", output, TensorProto.FLOAT)]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del result.graph.node[:]
    result.graph.node.extend(copies)
    return result


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], f"Cast_{target}", to=kind)
