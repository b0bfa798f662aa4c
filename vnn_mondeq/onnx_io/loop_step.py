"""One iteration of a `Loop` body as affine maps around ReLUs.

Understood is a body whose state `z` runs through one or more equal stages `r = ReLU(S z + v)` (the
TorchScript exporter unrolls several into one body) and, after the last, at most through a mask of
zeros and ones, or through damping `z' = a z + d r` with constants `0 <= a < 1`, `d > 0`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import final

import numpy as np
from onnx import GraphProto, NodeProto, numpy_helper
from scipy.sparse import csr_array

from vnn_mondeq.errors import UnsupportedModelError
from vnn_mondeq.onnx_io import linear_operators as linear
from vnn_mondeq.onnx_io import shape_operators as moves
from vnn_mondeq.onnx_io import window_operators as windows
from vnn_mondeq.onnx_io.affine_form import UNITY, Form, Terms, source_form
from vnn_mondeq.onnx_io.node import Node, Value, from_array


def _where(node: Node) -> Value:
    """A choice that is made already, as in PyTorch's `lerp`."""
    condition, first, second = node.inputs
    decided = isinstance(condition, np.ndarray) and condition.size == 1
    node.require(decided, "chooses by a condition that is no constant")
    chosen = first if bool(condition.reshape(())) else second
    same = isinstance(chosen, Form) and first.shape == second.shape
    # A condition of more axes would add some.
    same = same and condition.ndim <= len(first.shape)
    node.require(same, "chooses between tensors of different shapes")
    return chosen


_BODY: Mapping[str, Callable[[Node], Value | tuple[Value, ...]]] = MappingProxyType(
    {
        "Add": linear.add_node,
        "AveragePool": windows.average_pool,
        "Concat": moves.concat,
        "Constant": moves.constant_node,
        "Conv": windows.convolution,
        "Div": linear.divide,
        "Flatten": moves.flatten,
        "Gather": moves.gather,
        "Gemm": linear.gemm,
        "Identity": moves.identity,
        "MatMul": linear.matmul,
        "Mul": linear.multiply_node,
        "Neg": linear.negate_node,
        "Pad": moves.pad,
        "Reshape": moves.reshape,
        "Shape": moves.shape,
        "Slice": moves.slice_,
        "Split": moves.split,
        "Squeeze": moves.squeeze,
        "Sub": linear.subtract,
        "Transpose": moves.transpose,
        "Unsqueeze": moves.unsqueeze,
        "Where": _where,
    }
)
"""Operators of a body beside ReLU: the affine ones."""

RECTIFIERS = ("Relu", "Max", "Clip")
"""Operators that may be the ReLU of a body."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class LoopStep:
    """One iteration, `count` equal stages and what follows the last.

    - `source`: the source that stands for the state before a stage.
    - `argument`: `S z + v` of a stage, with the largest errors of all of them.
    - `keep (n,)`, `push (n,)`: `a` and `d` in `z' = a z + d r`, for each entry, to within
      `keep_error`, `push_error`.
    - `closing`: the form of `z'` over the sources `source` (`z`) and `source + 1` (`r`).
    """

    source: int
    count: int
    argument: Form
    keep: np.ndarray
    push: np.ndarray
    keep_error: np.ndarray
    push_error: np.ndarray
    closing: Form


@final
@dataclass(slots=True)
class BodyReader:
    """Evaluates a body; `values` grows by every tensor that was needed.

    - `source`: the first unused source; stage `j` yields source `source + 1 + j`.
    - `arguments`: of the ReLUs so far.
    """

    node: Node
    body: GraphProto
    values: dict[str, Value]
    source: int
    arguments: list[Form] = field(default_factory=list)

    def read(self, state: str, result: str, shape: tuple[int, ...], unit: float) -> LoopStep:
        """The step from the body's input `state` to its output `result`.

        **Raises** `UnsupportedModelError` where the body is not of the form that is understood.
        """
        size = int(np.prod(shape, dtype=np.int64))
        self.values |= {
            t.name: from_array(numpy_helper.to_array(t), f"{self.node.label}, {t.name!r}")
            for t in self.body.initializer
        }
        self.values[state] = source_form(self.source, size, np.arange(size), shape, unit)
        for proto in needed_nodes(self.body, [result]):
            self._evaluate(proto)
        closing = self.values.get(result)
        fits = isinstance(closing, Form) and closing.shape == shape
        self._require(fits, "changes the shape or type of its state")
        self._require(bool(self.arguments), "has no ReLU in its body")
        return self._step(closing.reshaped((size,)), size)

    def _require(self, holds: bool, what: str) -> None:
        self.node.require(holds, f"the loop {what}; understood is z' = ReLU(S z + v)")

    def _evaluate(self, proto: NodeProto) -> None:
        name = proto.op_type
        missing = [i for i in proto.input if i and i not in self.values]
        self._require(not missing, f"reads {', '.join(missing)}, which it changes in every step")
        inputs = [self.values[i] if i else None for i in proto.input]
        inner = Node(proto, inputs, self.node.unit, self.node.opset)
        argument = _rectified(inner) if proto.domain in ("", "ai.onnx") else None
        if argument is not None:
            self.values[proto.output[0]] = self._relu(inner.form(argument))
            return
        known = name in _BODY and proto.domain in ("", "ai.onnx")
        self._require(known, f"has the operator {name} in its body")
        try:
            result = _BODY[name](inner)
        except UnsupportedModelError as error:
            raise UnsupportedModelError(f"{self.node.label}: in its body: {error}") from error
        results = result if isinstance(result, tuple) else (result,)
        self.values.update(zip(proto.output, results, strict=False))

    def _relu(self, argument: Form) -> Form:
        self.arguments.append(argument.reshaped((argument.size,)))
        source = self.source + len(self.arguments)
        place = np.arange(argument.size)
        return source_form(source, argument.size, place, argument.shape, argument.unit)

    def _step(self, closing: Form, size: int) -> LoopStep:
        count = len(self.arguments)
        stages = []
        for j, argument in enumerate(self.arguments):
            recurrent = {s for s in argument.value if s >= self.source}
            recurrent |= {s for s in (*argument.radius, *argument.runtime) if s >= self.source}
            chained = argument.size == size and recurrent <= {self.source + j}
            self._require(chained, "has ReLUs that are no chain of equal steps")
            stages.append(_renamed(argument, self.source + j, self.source))
        last = self.source + count
        found = {s for s, m in (*closing.value.items(), *closing.radius.items()) if m.nnz}
        self._require(found <= {self.source, last}, "adds something behind its last ReLU")
        self._require(found >= {last}, "does not use its last ReLU")
        only_masked = count == 1 or self.source not in found
        self._require(only_masked, "damps over several ReLUs")
        keep, push, keep_error, push_error = (
            self._diagonal(terms, s, size)
            for terms in (closing.value, closing.radius)
            for s in (self.source, last)
        )
        fits = np.all((keep >= 0.0) & (keep + keep_error < 1.0)) and np.all(push >= 0.0)
        if np.any(keep):
            fits = fits and np.all(push > 2.0 * push_error) and np.all(keep_error < 2.0**-20)
        else:
            fits = fits and np.all((push == 0.0) | (push == 1.0)) and not np.any(push_error)
        self._require(bool(fits), "ends with neither a mask nor damping")
        kept, masked = np.flatnonzero(push), np.flatnonzero(push == 0.0)
        # The state is zero where it is masked, what one stage hands to the next only if it says so.
        leak = any(
            terms[self.source][:, masked].count_nonzero()
            for stage in stages[1:]
            for terms in (stage.value, stage.radius, stage.runtime)
            if self.source in terms
        )
        self._require(not leak, "masks its last ReLU but not those before")
        argument = _merged(stages, kept, self.source, self._require)
        closing = _renamed(closing, last, self.source + 1)
        return LoopStep(self.source, count, argument, keep, push, keep_error, push_error, closing)

    def _diagonal(self, terms: Terms, source: int, size: int) -> np.ndarray:
        if source not in terms:
            return np.zeros(size)
        matrix = terms[source]
        diagonal = matrix.diagonal()
        rest = matrix.count_nonzero() - np.count_nonzero(diagonal)
        self._require(rest == 0, "mixes neurons behind its last ReLU")
        return diagonal


def _rectified(node: Node) -> int | None:
    """Which input the node takes the ReLU of, written as `Relu`, `Max(t, 0)` or `Clip(t, 0)`."""
    name, count = node.proto.op_type, sum(value is not None for value in node.inputs)
    if name == "Relu":
        return 0
    if name == "Clip" and count == 2 and node.has(1) and _is_zero(node.inputs[1]):
        return 0
    if name == "Max" and count == 2:
        # A zero of more axes than the other has would add some.
        return next(
            (
                1 - i
                for i, zero in enumerate(node.inputs)
                if _is_zero(zero) and len(zero.shape) <= len(node.inputs[1 - i].shape)
            ),
            None,
        )
    return None


def _is_zero(value: Value | None) -> bool:
    """Whether it is a stored zero of one entry, which enlarges nothing."""
    return (
        isinstance(value, Form)
        and value.is_stored_constant
        and value.size == 1
        and not np.any(value.array())
    )


def needed_nodes(body: GraphProto, results: list[str]) -> list[NodeProto]:
    """The nodes on which the tensors depend, in the body's order."""
    needed, nodes = set(results), []
    for node in reversed(body.node):
        if needed.intersection(node.output):
            needed.update(name for name in node.input if name)
            nodes.append(node)
    return nodes[::-1]


def _renamed(form: Form, old: int, new: int) -> Form:
    """The form with one source under another number."""

    def rename(terms: Mapping[int, csr_array]) -> dict[int, csr_array]:
        return {new if source == old else source: m for source, m in terms.items()}

    parts = {part: rename(getattr(form, part)) for part in ("value", "radius", "runtime")}
    return dataclasses.replace(form, **parts)


def _merged(
    stages: list[Form], kept: np.ndarray, source: int, require: Callable[[bool, str], None]
) -> Form:
    """The one stage that all are on the kept neurons, with the largest of their errors."""
    stages = [_restricted(stage, kept, source) for stage in stages]
    first = stages[0]
    for other in stages[1:]:
        equal = first.value.keys() == other.value.keys() and all(
            (abs(first.value[s] - other.value[s])).count_nonzero() == 0 for s in first.value
        )
        require(equal, "has several ReLUs with different weights in its body")
    largest = {}
    for part in ("radius", "runtime"):
        terms: dict[int, csr_array] = {}
        for stage in stages:
            for s, matrix in getattr(stage, part).items():
                terms[s] = terms[s].maximum(matrix) if s in terms else matrix
        largest[part] = terms
    return dataclasses.replace(first, unit=max(s.unit for s in stages), **largest)


def _restricted(form: Form, kept: np.ndarray, source: int) -> Form:
    """Rows of the kept neurons, and their columns of the state."""

    def cut(terms: Mapping[int, csr_array]) -> dict[int, csr_array]:
        rows = {s: csr_array(m)[kept] for s, m in terms.items()}
        return {s: csr_array(m[:, kept]) if s == source else csr_array(m) for s, m in rows.items()}

    parts = {part: cut(getattr(form, part)) for part in ("value", "radius", "runtime")}
    parts["value"] = {s: m for s, m in parts["value"].items() if m.count_nonzero() or s == UNITY}
    return dataclasses.replace(form, shape=(kept.size,), **parts)
