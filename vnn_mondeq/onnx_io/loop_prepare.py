"""A graph with `Loop` nodes, made ready to be compiled node by node."""

from onnx import GraphProto, NodeProto

from vnn_mondeq.onnx_io.loop_own_body import call_of_inlined_body, producers_of


def with_loops_prepared(graph: GraphProto) -> GraphProto:
    """A copy in which our inlined function bodies are calls of our operators again, and in which
    every other `Loop` node lists the outer tensors that its body reads behind its own inputs, and
    does not name outputs that nothing reads; the graph itself where it has no loop. Nodes that are
    then not needed remain.

    Only for compiling: a runtime gets the file's own graph.
    """
    if not any(node.op_type == "Loop" for node in graph.node):
        return graph
    result = GraphProto()
    result.CopyFrom(graph)
    producers = producers_of(graph.node)
    used = {value.name for value in graph.output}
    used.update(name for node in graph.node for name in (*node.input, *captured_names(node)))
    for node in result.node:
        call = call_of_inlined_body(node, producers)
        if call is not None:
            node.CopyFrom(call)
        elif node.op_type == "Loop":
            node.input.extend(captured_names(node))
            node.output[:] = [name if name in used else "" for name in node.output]
    return result


def captured_names(node: NodeProto) -> list[str]:
    """Outer tensors that the node's subgraphs read, each once, in the order of their use."""
    names: dict[str, None] = {}
    for attribute in node.attribute:
        if attribute.HasField("g"):
            names |= dict.fromkeys(_read_from_outside(attribute.g))
    return list(names)


def _read_from_outside(graph: GraphProto) -> list[str]:
    own = {value.name for value in (*graph.input, *graph.initializer)}
    own |= {name for node in graph.node for name in node.output}
    used = [name for node in graph.node for name in (*node.input, *captured_names(node))]
    used += [value.name for value in graph.output]
    return [name for name in used if name and name not in own]
