"""A plain `Loop` that iterates towards a monDEQ fixpoint, as an equilibrium layer.

Other exporters write the solver of an equilibrium layer into the graph. Such a loop is read as the
block `z = ReLU(S z + v)` that its body defines, and its result as that fixpoint plus an error which
`loop_bound.py` bounds. The error counts for every query, also about real numbers: the meaning of
the file is the finite loop, not the fixpoint. A loop for which no bound is proved is refused.

The node's inputs are those of `Loop`, followed by the outer tensors that the body reads
(`loop_prepare.py`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from onnx import GraphProto, numpy_helper
from scipy.sparse import csr_array

from vnn_mondeq.errors import NotMonotoneError
from vnn_mondeq.onnx_io.affine_form import UNITY, Form, constant, multiply, source_form
from vnn_mondeq.onnx_io.builder import Builder, Draft
from vnn_mondeq.onnx_io.feedback import Feedback
from vnn_mondeq.onnx_io.loop_bound import LoopDistance, loop_distance
from vnn_mondeq.onnx_io.loop_prepare import captured_names
from vnn_mondeq.onnx_io.loop_step import RECTIFIERS, BodyReader, LoopStep, needed_nodes
from vnn_mondeq.onnx_io.loop_stop import BodyNames, Counter, StopReader, StopRule
from vnn_mondeq.onnx_io.node import Node, Value
from vnn_mondeq.onnx_io.shape_operators import constant_node
from vnn_mondeq.rounding import SAFETY, UNIT
from vnn_mondeq.system.monotone import prove_strong_monotonicity


def compile_loop(node: Node, builder: Builder) -> tuple[Value, ...]:
    """The outputs of the loop: the state, what the body does not change, and `None` for those that
    nothing reads.

    **Raises** `UnsupportedModelError` naming the node for a loop that is not understood or not
    proved to come near a fixpoint, `NotMonotoneError` where the fixpoint is not unique.
    """
    loop = _Loop.of(node)
    source = len(builder.drafts)
    start = node.form(2 + loop.state)
    reader = BodyReader(node, loop.body, dict(loop.values), source)
    step = reader.read(loop.old, loop.new, start.shape, start.unit)
    _require_zero_where_masked(node, step, start)
    rule = _stop_rule(loop, reader.values, start.shape)
    distance = loop_distance(node, step, rule, start.reshaped((start.size,)))
    draft = _draft(node, loop, step)
    builder.drafts.append(draft)
    result = _result(draft, distance, start, source)
    outputs = [loop.values.get(name) for name in loop.inputs]
    outputs[loop.state] = result
    for name, value in zip(node.proto.output, outputs, strict=False):
        node.require(
            value is not None or not name,
            f"the loop's result {name!r} is used, which is neither its state nor unchanged",
        )
    return tuple(outputs)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Loop:
    """A loop taken apart.

    - `inputs`, `results`: the body's carried inputs, and its outputs for them.
    - `state`: which of them is the state.
    - `values`: outer tensors, and carried tensors that the body does not change.
    - `counters`: carried integers that grow by a constant.
    """

    node: Node
    body: GraphProto
    inputs: tuple[str, ...]
    results: tuple[str, ...]
    state: int
    values: dict[str, Value]
    counters: dict[str, Counter]

    @property
    def old(self) -> str:
        return self.inputs[self.state]

    @property
    def new(self) -> str:
        return self.results[self.state]

    @classmethod
    def of(cls, node: Node) -> "_Loop":
        body = node.attribute("body")
        inputs = tuple(value.name for value in body.input[2:])
        results = tuple(value.name for value in body.output[1 : 1 + len(inputs)])
        carried = node.inputs[2 : 2 + len(inputs)]
        node.require(
            len(body.output) == 1 + len(inputs), "a loop with scan outputs is not supported"
        )
        outer = captured_names(node.proto)
        rest = node.inputs[2 + len(inputs) :]
        values = dict(zip(outer, rest, strict=True))
        values |= _unchanged(body, inputs, results, carried)
        counters = {body.input[0].name: Counter(0, 1)}
        for name, result, value in zip(inputs, results, carried, strict=True):
            stride = _stride(body, name, result, values)
            if isinstance(value, np.ndarray) and value.size == 1 and stride is not None:
                counters[name] = Counter(int(value.reshape(())), stride)
        state = _state(node, body, inputs, results, values)
        return cls(node, body, inputs, results, state, values, counters)


def _unchanged(
    body: GraphProto,
    inputs: Sequence[str],
    results: Sequence[str],
    carried: Sequence[Value | None],
) -> dict[str, Value]:
    """Carried tensors that go through the body as they are, or by `Identity` alone."""
    producers = {name: n for n in body.node for name in n.output}
    found = {}
    for name, result, value in zip(inputs, results, carried, strict=True):
        while result in producers and producers[result].op_type == "Identity":
            result = producers[result].input[0]
        if result == name and value is not None:
            found[name] = value
    return found


def _stride(body: GraphProto, name: str, result: str, values: dict[str, Value]) -> int | None:
    """By how much a carried integer grows, where that is a constant."""
    nodes = needed_nodes(body, [result])
    adds = [n for n in nodes if n.op_type == "Add" and result in n.output and name in n.input]
    if len(adds) != 1:
        return None
    (other,) = [i for i in adds[0].input if i != name] or [name]
    constants = {t.name: t for t in body.initializer}
    value = values.get(other)
    if other in constants:
        value = numpy_helper.to_array(constants[other])
    for inner in nodes:
        if other in inner.output and inner.op_type == "Constant":
            value = constant_node(Node(inner, [], UNIT, 0))
    whole = isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "iu"
    return int(value.reshape(())) if whole else None


def _state(
    node: Node,
    body: GraphProto,
    inputs: Sequence[str],
    results: Sequence[str],
    values: Mapping[str, Value],
) -> int:
    """The one carried tensor that the next iteration reads and that goes through a ReLU."""
    found = []
    for k, (name, result) in enumerate(zip(inputs, results, strict=True)):
        nodes = needed_nodes(body, [result])
        reads = {i for n in nodes for i in n.input}
        if name not in values and name in reads and any(n.op_type in RECTIFIERS for n in nodes):
            found.append(k)
    node.require(
        len(found) == 1,
        f"the loop carries {len(found)} tensors through a ReLU; understood is one state, "
        "z' = ReLU(S z + v)",
    )
    return found[0]


def _stop_rule(loop: _Loop, values: dict[str, Value], shape: tuple[int, ...]) -> StopRule:
    node, body = loop.node, loop.body
    limit = node.inputs[0]
    if limit is not None:
        node.require(
            isinstance(limit, np.ndarray) and limit.size == 1 and int(limit.reshape(())) >= 1,
            "the loop's trip count must be a positive constant",
        )
        limit = int(limit.reshape(()))
    first = node.inputs[1]
    always = first is None or (isinstance(first, np.ndarray) and bool(np.all(first)))
    node.require(always, "the loop's first condition must be a constant that is true")
    producers = {name: n for n in body.node for name in n.output}
    for proto in body.node:
        if proto.op_type == "Constant" and proto.output[0] not in values:
            values[proto.output[0]] = constant_node(Node(proto, [], node.unit, node.opset))
    names = BodyNames(
        producers, values, loop.counters, body.input[1].name, loop.old, loop.new, shape
    )
    return StopReader(node, names).rule(body.output[0].name, limit)


def _require_zero_where_masked(node: Node, step: LoopStep, start: Form) -> None:
    """A masked neuron that starts elsewhere than at zero would enter the first step."""
    masked = np.flatnonzero(step.push == 0.0)
    parts = (start.value, start.radius, start.runtime)
    clean = all(
        csr_array(m)[masked].count_nonzero() == 0 for terms in parts for m in terms.values()
    )
    node.require(clean, "the loop must start at zero where its mask is zero")


def _draft(node: Node, loop: _Loop, step: LoopStep) -> Draft:
    """The block `z = c ReLU(S z + v) = ReLU(c S z + c v)`."""
    kept = np.flatnonzero(step.push)
    argument = step.argument
    if np.any(step.keep):
        argument = _damped(argument, step, kept, node.unit)
    W = argument.value.get(step.source, csr_array((kept.size, kept.size))).toarray()
    spread = argument.radius.get(step.source)
    radius = None if spread is None else spread.toarray()
    own = Feedback(W, radius, np.abs(W), 0, kept)
    try:
        proof = prove_strong_monotonicity(W, radius)
    except NotMonotoneError as error:
        raise NotMonotoneError(f"{node.label}: {error}") from error
    name = node.proto.output[loop.state]
    return Draft(name, _without(argument, step.source), step.push.size, kept, own, proof, 0.0, True)


def _damped(argument: Form, step: LoopStep, kept: np.ndarray, unit: float) -> Form:
    """`c (S z + v)`, `c = d / (1 - a)`."""
    keep, push = step.keep[kept], step.push[kept]
    factor = push / (1.0 - keep)
    largest = (push + step.push_error[kept]) / (1.0 - keep - step.keep_error[kept])
    # The quotient is off by as much in the other direction, up to the square of that.
    error = 2.0 * (largest - factor) + factor * (8.0 * UNIT * SAFETY)
    radius = {UNITY: csr_array(error.reshape(-1, 1))}
    return multiply(dataclasses.replace(constant(factor), radius=radius), argument, unit)


def _without(form: Form, source: int) -> Form:
    """The part that the loop does not change. Its runtime errors recur in every step, and are part
    of the result's instead."""
    value = {s: m for s, m in form.value.items() if s != source}
    radius = {s: m for s, m in form.radius.items() if s != source}
    return dataclasses.replace(form, value=value, radius=radius, runtime={})


def _result(draft: Draft, distance: LoopDistance, start: Form, source: int) -> Form:
    """The loop's output: the block's neurons, each within the distance."""
    count, kept = draft.kept.size, draft.kept
    form = source_form(source, count, kept, start.shape, start.unit)
    column = np.zeros((draft.size, 1))
    column[kept] = 1.0

    def spread(state: float, other: Mapping[int, np.ndarray]) -> dict[int, csr_array]:
        terms = {s: csr_array(column @ w) for s, w in other.items() if np.any(w)}
        if state > 0.0:
            terms[source] = csr_array(column @ np.full((1, count), state))
        return terms

    return dataclasses.replace(
        form,
        radius=spread(distance.stop_state, distance.stop_other),
        runtime=spread(distance.noise_state, distance.noise_other),
    )
