"""Our function bodies after inlining: recognised node by node, and read as the operators again.

Tools that cannot handle model-local functions inline them (`onnx.inliner`). A tensor of such a
graph is taken for the result of one of our operators when the expression that defines it is the
body's expression: the same operators, attributes and constants in the same places, with tensors of
the graph in place of the operator's inputs, and numbers in place of its attributes. Names and the
order of nodes do not matter, so the graph means exactly what the operator's body means.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, helper, numpy_helper

from vnn_mondeq.onnx_io.function_body import function_body
from vnn_mondeq.onnx_io.operator import DOMAIN, OPERATORS

_Producers = Mapping[str, tuple[NodeProto, int] | None]
"""Tensor → the node that computes it, and as which of its outputs; `None` for a body's inputs."""


def call_of_inlined_body(node: NodeProto, producers: _Producers) -> NodeProto | None:
    """The operator's node that has the same meaning as `node`, whose last operation it is."""
    for name, spec in OPERATORS.items():
        body = function_body(name)
        if (node.op_type, node.domain) != (body.node[-1].op_type, body.node[-1].domain):
            continue
        match = _Match(set(spec.inputs), [producers_of(body.node)], [producers])
        if not match.tensor(body.output[0], node.output[0]):
            continue
        inputs = [match.bound.get(given, "") for given in spec.inputs]
        needed = {*spec.attributes, *spec.solver_attributes}
        if all(inputs) and match.settings.keys() == needed:
            return helper.make_node(
                name, inputs, [node.output[0]], node.name, domain=DOMAIN, **match.settings
            )
    return None


def producers_of(nodes: Iterable[NodeProto]) -> dict[str, tuple[NodeProto, int]]:
    """Tensor name → the node that computes it, and as which of its outputs."""
    return {name: (node, i) for node in nodes for i, name in enumerate(node.output) if name}


@final
@dataclass(slots=True)
class _Match:
    """An attempt to find one expression in a graph.

    - `free`: names of the pattern that stand for any tensor.
    - `pattern`, `graph`: producers, of the innermost graph last; inner graphs read outer tensors.
    - `bound`: the pattern's tensors so far → those of the graph.
    - `settings`: the values found for the pattern's open attributes.
    """

    free: set[str]
    pattern: list[_Producers]
    graph: list[_Producers]
    bound: dict[str, str] = field(default_factory=dict)
    settings: dict[str, float | int] = field(default_factory=dict)

    def tensor(self, wanted: str, found: str) -> bool:
        if not wanted or not found:
            return wanted == found
        if wanted in self.bound:
            return self.bound[wanted] == found
        if wanted in self.free:
            self.bound[wanted] = found
            return not any(found in inner for inner in self.graph[1:])
        ours, theirs = _lookup(self.pattern, wanted), _lookup(self.graph, found)
        if ours is None or theirs is None or ours[1] != theirs[1]:
            return False
        if not self._node(ours[0], theirs[0]):
            return False
        for name, other in zip(ours[0].output, theirs[0].output, strict=False):
            self.bound[name] = other
        return True

    def _node(self, ours: NodeProto, theirs: NodeProto) -> bool:
        domains = {"" if n.domain == "ai.onnx" else n.domain for n in (ours, theirs)}
        if ours.op_type != theirs.op_type or domains != {""}:
            return False
        if len(ours.input) != len(theirs.input) or len(ours.attribute) != len(theirs.attribute):
            return False
        if not all(self.tensor(a, b) for a, b in zip(ours.input, theirs.input, strict=True)):
            return False
        others = {a.name: a for a in theirs.attribute}
        return all(a.name in others and self._same(a, others[a.name]) for a in ours.attribute)

    def _same(self, ours: AttributeProto, theirs: AttributeProto) -> bool:
        if ours.type != theirs.type or theirs.ref_attr_name:
            return False
        if ours.type == AttributeProto.GRAPH:
            return self._subgraph(ours.g, theirs.g)
        value = helper.get_attribute_value(theirs)
        if ours.ref_attr_name:
            return self.settings.setdefault(ours.ref_attr_name, value) == value
        wanted = helper.get_attribute_value(ours)
        if ours.type == AttributeProto.TENSOR:
            left, right = numpy_helper.to_array(wanted), numpy_helper.to_array(value)
            return left.dtype == right.dtype and np.array_equal(left, right)
        return wanted == value

    def _subgraph(self, ours: GraphProto, theirs: GraphProto) -> bool:
        sizes = [(len(g.input), len(g.output)) for g in (ours, theirs)]
        if sizes[0] != sizes[1] or theirs.initializer or theirs.sparse_initializer:
            return False
        scopes = [producers_of(g.node) | {v.name: None for v in g.input} for g in (ours, theirs)]
        # A tensor of the body that has an outer one's name hides it: equal names, two tensors.
        if not scopes[1].keys().isdisjoint(self.bound.values()):
            return False
        self.bound |= {a.name: b.name for a, b in zip(ours.input, theirs.input, strict=True)}
        self.pattern.append(scopes[0])
        self.graph.append(scopes[1])
        outputs = zip(ours.output, theirs.output, strict=True)
        same = all(self.tensor(a.name, b.name) for a, b in outputs)
        self.pattern.pop(), self.graph.pop()
        return same


def _lookup(scopes: list[_Producers], name: str) -> tuple[NodeProto, int] | None:
    return next((scope[name] for scope in reversed(scopes) if name in scope), None)
