"""When a `Loop` stops: after how many steps, or at how small a change.

The condition that the body computes is a conjunction of reasons to go on. Understood are

- a comparison of a counter (the loop's own, or a carried integer that grows by a constant) with a
  constant, and
- `change > tol`, where `change` is `max |z' - z|`, `‖z' - z‖₂` or `‖z' - z‖₁`, perhaps divided by
  `max |z|` or `‖z‖₂` (of `z` or `z'`, perhaps plus a constant), and maxima of that over the batch.

Anything else is refused: the loop could stop anywhere.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from onnx import NodeProto, helper

from vnn_mondeq.onnx_io.affine_form import Form
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
    - `values`: tensors from outside, and constants of the body.
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


_SAME = ("Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten")
"""Operators that only rearrange what the condition compares. (A `Cast` may round.)"""

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
            if part == self.names.condition or self._constant(part) is not None:
                value = part == self.names.condition or bool(self._constant(part))
                self._require(value != negated, "has a condition that is always false")
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
            return self.names.counters[root]
        node = self.names.producers.get(root)
        if node is not None and node.op_type == "Cast":
            return self._counter(node.input[0])
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
        """`("max" | "two" | "one", tensor)` of reductions that leave one number a row."""
        node = self._source(name)
        while node is not None and node.op_type == "ReduceMax":
            inner = self._source(node.input[0])
            if inner is not None and inner.op_type == "Abs":
                return "max", inner.input[0]
            node = inner
        kinds = {"ReduceL2": "two", "ReduceL1": "one"}
        known = node is not None and node.op_type in kinds and self._covers(node)
        self._require(known, f"stops by {name!r}, which is no norm that is known here")
        return kinds[node.op_type], node.input[0]

    def _covers(self, node: NodeProto) -> bool:
        """Whether a reduction runs over every axis with more than one entry (the batch has one)."""
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if attributes.get("noop_with_empty_axes", 0):
            return False
        axes = attributes.get("axes")
        if len(node.input) > 1 and node.input[1]:
            axes = self.names.values.get(node.input[1])
        elif axes is None:
            return True
        direct = self.names.producers.get(node.input[0])
        rearranged = direct is not None and direct.op_type in _SAME
        if rearranged or not isinstance(axes, list | np.ndarray):
            return False
        rank = len(self.names.shape)
        found = {int(a) % rank for a in np.reshape(axes, -1)}
        return all(n == 1 or axis in found for axis, n in enumerate(self.names.shape))


def _last_step(operator: str, counter: Counter, limit: float) -> int | None:
    """The iteration, counted from 1, after which `counter operator limit` first fails."""
    upward = operator.startswith("Less")
    stride = counter.stride if upward else -counter.stride
    if stride <= 0:
        return None
    distance = (limit - counter.start) if upward else (counter.start - limit)
    # Fails at the first t with stride * t >= distance (or > distance).
    t = (
        math.floor(distance / stride) + 1
        if operator.endswith("OrEqual")
        else (math.ceil(distance / stride))
    )
    return max(t, 0) + 1
