"""When a `Loop` stops: after how many steps, or at how small a change.

The condition that the body computes is a conjunction of reasons to go on. Understood are

- a comparison of a counter (the loop's own, or a carried integer that grows by a constant) with a
  constant, and
- `change > tol`, where `change` is `max |z' - z|`, `‖z' - z‖₂` or `‖z' - z‖₁`, perhaps divided by
  `max |z|` or `‖z‖₂` (of `z` or `z'`, perhaps plus a constant), and maxima of that over the batch.

Anything else is refused: the loop could stop anywhere. So is a measure of more than one number, of
which a runtime would look at the first.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

import numpy as np
from onnx import NodeProto, TensorProto

from vnn_mondeq.onnx_io import shape_operators as moves
from vnn_mondeq.onnx_io.affine_form import Form
from vnn_mondeq.onnx_io.linear_operators import reduced_axes
from vnn_mondeq.onnx_io.node import Node, Value


@final
@dataclass(frozen=True, slots=True)
class Change:
    """A loop that stops here has `‖z' - z‖₂ <= absolute + relative ‖z'‖₂`, before the rounding of
    measuring it."""

    absolute: float
    relative: float


@final
@dataclass(frozen=True, slots=True)
class StopRule:
    """`steps`: iterations after which a counter ends the loop, if one does; `changes`: every
    tolerance that may end it earlier."""

    steps: int | None
    changes: tuple[Change, ...]


@final
@dataclass(frozen=True, slots=True)
class Counter:
    """An integer that is `start + stride * t` in iteration `t = 0, 1, …`."""

    start: int
    stride: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class BodyNames:
    """What the condition may refer to.

    - `producers`: tensor → node of the body.
    - `values`: tensors from outside, constants of the body, and what its state depends on.
    - `counters`: integer tensors that count, by name; the loop's own among them.
    - `condition`: the body's condition input; `old`, `new`: the state before and after the step.
    - `shape`: of the state.
    """

    producers: Mapping[str, NodeProto]
    values: Mapping[str, Value]
    counters: Mapping[str, Counter]
    condition: str
    old: str
    new: str
    shape: tuple[int, ...]


_SAME: Mapping[str, Callable[[Node], Value]] = MappingProxyType(
    {
        "Identity": moves.identity,
        "Squeeze": moves.squeeze,
        "Unsqueeze": moves.unsqueeze,
        "Reshape": moves.reshape,
        "Flatten": moves.flatten,
    }
)
"""Operators that only change the shape of what the condition compares: entries stay in their
row-major order. (A `Cast` may round.)"""

_REDUCTIONS = ("ReduceMax", "ReduceL1", "ReduceL2")
_COUNTING = (TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT, TensorProto.DOUBLE)
_MOST_COUNTED = 2**20
"""Counters start below this, so that all types of `_COUNTING` hold them exactly."""

_FLIPPED = {"Less": "Greater", "LessOrEqual": "GreaterOrEqual"}
_FLIPPED |= {b: a for a, b in _FLIPPED.items()}
_NEGATED = {"Less": "GreaterOrEqual", "LessOrEqual": "Greater"}
_NEGATED |= {b: a for a, b in _NEGATED.items()}


@final
@dataclass(frozen=True, slots=True, eq=False)
class StopReader:
    """Reads the condition of the `Loop` node `node`; refusals name it."""

    node: Node
    names: BodyNames

    def rule(self, condition: str, limit: int | None) -> StopRule:
        """The rule of the body's output `condition` with the trip count `limit`.

        **Raises** `UnsupportedModelError` for a condition that is not understood, or none that
        ever ends the loop.
        """
        counts: list[int] = [] if limit is None else [limit]
        changes: list[Change] = []
        for part, negated in self._conjuncts(condition, False):
            settled = True if part == self.names.condition else self._truth(part)
            if settled is not None:
                self._require(settled != negated, "has a condition that is always false")
                continue
            producer = self._source(part)
            known = producer is not None and producer.op_type in _FLIPPED
            self._require(known, f"stops by {part!r}, which is neither a count nor a tolerance")
            operator = _NEGATED[producer.op_type] if negated else producer.op_type
            self._comparison(operator, *producer.input, counts, changes)
        self._require(bool(counts or changes), "has no limit of steps and no tolerance")
        return StopRule(min(counts) if counts else None, tuple(changes))

    def _require(self, holds: bool, what: str) -> None:
        self.node.require(holds, f"the loop {what}, so how near it comes to a fixpoint is unknown")

    def _source(self, name: str) -> NodeProto | None:
        """The node behind a tensor, through operators that only rearrange."""
        node = self.names.producers.get(name)
        while node is not None and node.op_type in _SAME:
            node = self.names.producers.get(node.input[0])
        return node

    def _root(self, name: str) -> str:
        """The tensor itself behind operators that only rearrange."""
        node = self.names.producers.get(name)
        while node is not None and node.op_type in _SAME:
            name = node.input[0]
            node = self.names.producers.get(name)
        return name

    def _constant(self, name: str) -> float | None:
        """The number behind a tensor of one entry."""
        value = self.names.values.get(self._root(name))
        if isinstance(value, Form):
            value = value.array() if value.is_stored_constant else None
        single = isinstance(value, np.ndarray) and value.size == 1
        return float(value.reshape(())) if single else None

    def _truth(self, name: str) -> bool | None:
        """The value of a constant condition. (A cast of another constant may have rounded it.)"""
        value = self.names.values.get(name)
        single = isinstance(value, np.ndarray) and value.size == 1 and value.dtype == bool
        return bool(value.reshape(())) if single else None

    def _conjuncts(self, name: str, negated: bool) -> list[tuple[str, bool]]:
        root = self._root(name)
        node = self.names.producers.get(root)
        if node is not None and node.op_type in ("Not", "Cast"):
            return self._conjuncts(node.input[0], negated != (node.op_type == "Not"))
        if node is not None and node.op_type == ("Or" if negated else "And"):
            return [pair for i in node.input for pair in self._conjuncts(i, negated)]
        return [(root, negated)]

    def _comparison(
        self, operator: str, left: str, right: str, counts: list[int], changes: list[Change]
    ) -> None:
        """Go on while `left operator right`."""
        limit = self._constant(right)
        if limit is None:
            operator, left, right = _FLIPPED[operator], right, left
            limit = self._constant(right)
        self._require(limit is not None, f"compares {left!r} with what is no constant")
        counter = self._counter(left)
        if counter is not None:
            last = _last_step(operator, counter, limit)
            counts += [] if last is None else [last]
            return
        self._require(operator.startswith("Greater"), f"goes on while {left!r} is small")
        self._require(limit >= 0.0, "has a negative tolerance")
        changes.append(self._change(left, limit))

    def _counter(self, name: str) -> Counter | None:
        """The counter that an integer expression is."""
        root = self._root(name)
        if root in self.names.counters:
            counter = self.names.counters[root]
            return counter if abs(counter.start) < _MOST_COUNTED else None
        node = self.names.producers.get(root)
        if node is not None and node.op_type == "Cast":
            holds = Node(node, [], self.node.unit, self.node.opset).attribute("to") in _COUNTING
            return self._counter(node.input[0]) if holds else None
        if node is None or node.op_type not in ("Add", "Sub"):
            return None
        inner, offset = self._counter(node.input[0]), self._constant(node.input[1])
        if inner is None and node.op_type == "Add":
            inner, offset = self._counter(node.input[1]), self._constant(node.input[0])
        if inner is None or offset is None or offset != int(offset):
            return None
        sign = 1 if node.op_type == "Add" else -1
        return Counter(inner.start + sign * int(offset), inner.stride)

    def _change(self, name: str, tolerance: float) -> Change:
        root = self._root(name)
        node = self.names.producers.get(root)
        if node is not None and node.op_type == "Div":
            factor, scale = self._norm(node.input[0]), self._scale(node.input[1])
            relative = tolerance * factor
            self._require(relative < 0.5, f"has a relative tolerance of {tolerance:.3g}")
            # The divisor may be about z instead of z': ‖z‖ <= ‖z'‖ + ‖z' - z‖.
            relative = relative / (1.0 - relative)
            return Change(relative * scale, relative)
        if node is not None and node.op_type == "ReduceMax" and self._is_ratio(node.input[0]):
            return self._change(node.input[0], tolerance)
        return Change(tolerance * self._norm(root), 0.0)

    def _is_ratio(self, name: str) -> bool:
        node = self._source(name)
        while node is not None and node.op_type == "ReduceMax":
            node = self._source(node.input[0])
        return node is not None and node.op_type == "Div"

    def _norm(self, name: str) -> float:
        """`f` such that `‖z' - z‖₂ <= f · measure`."""
        kind, inner = self._measure(name)
        node = self._source(inner)
        ends = set() if node is None else {self._root(i) for i in node.input}
        changes = node is not None and node.op_type == "Sub" and ends == self._states()
        # Entries keep their order, so equal shapes make it the difference entry by entry.
        changes = changes and self._shape(node.input[0]) == self._shape(node.input[1])
        self._require(changes, f"measures {inner!r}, which is not the change of the state")
        return math.sqrt(math.prod(self.names.shape)) if kind == "max" else 1.0

    def _scale(self, name: str) -> float:
        """`c` such that the divisor is at most `‖z‖₂ + c`, for `z` before or after the step."""
        node = self._source(name)
        if node is not None and node.op_type in ("Add", "Max") and len(node.input) == 2:
            parts = [(self._constant(i), i) for i in node.input]
            (constant, _), (_, other) = sorted(parts, key=lambda p: p[0] is None)
            self._require(constant is not None and constant >= 0.0, "divides by an unknown scale")
            return constant + self._scale(other)
        kind, inner = self._measure(name)
        known = kind != "one" and self._root(inner) in self._states()
        self._require(known, f"divides by {name!r}, which is not the size of the state")
        return 0.0

    def _states(self) -> set[str]:
        return {self._root(self.names.old), self._root(self.names.new)}

    def _measure(self, name: str) -> tuple[str, str]:
        """`("max" | "two" | "one", tensor)` of reductions that leave one number in all."""
        node = self._source(name)
        while node is not None and node.op_type == "ReduceMax":
            inner = self._source(node.input[0])
            if inner is not None and inner.op_type == "Abs":
                self._require(self._is_one(name), f"stops by {name!r}, which is several numbers")
                return "max", inner.input[0]
            node = inner
        kinds = {"ReduceL2": "two", "ReduceL1": "one"}
        known = node is not None and node.op_type in kinds and self._is_one(node.output[0])
        self._require(known, f"stops by {name!r}, which is no norm that is known here")
        return kinds[node.op_type], node.input[0]

    def _is_one(self, name: str) -> bool:
        return math.prod(self._shape(name)) == 1

    def _shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor that is measured, or part of the measuring."""
        value, proto = self.names.values.get(name), self.names.producers.get(name)
        if value is not None:
            return tuple(value.shape)
        operator = None if proto is None else proto.op_type
        known = operator in _SAME or operator in ("Abs", "Sub", *_REDUCTIONS)
        self._require(known, f"measures {name!r}, which is not the change of the state")
        shape = self._shape(proto.input[0])
        others = [self.names.values.get(i) for i in proto.input[1:]]
        node = Node(proto, [np.zeros(shape, dtype=bool), *others], self.node.unit, self.node.opset)
        if operator in _SAME:
            return tuple(_SAME[operator](node).shape)
        if operator in _REDUCTIONS:
            return reduced_axes(node, shape, axes_are_input=len(proto.input) > 1)[1]
        return shape


def _last_step(operator: str, counter: Counter, limit: float) -> int | None:
    """The iteration, counted from 1, after which `counter operator limit` first fails; `None` if
    it never does."""
    upward = operator.startswith("Less")
    stride = counter.stride if upward else -counter.stride
    distance = (limit - counter.start) if upward else (counter.start - limit)
    if stride <= 0:
        holds = distance >= 0 if operator.endswith("OrEqual") else distance > 0
        return None if holds else 1
    # Fails at the first t with stride * t >= distance (or > distance).
    t = (
        math.floor(distance / stride) + 1
        if operator.endswith("OrEqual")
        else (math.ceil(distance / stride))
    )
    return max(t, 0) + 1
