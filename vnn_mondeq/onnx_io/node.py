"""One node of the graph as its operator's function sees it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from onnx import NodeProto, helper

from vnn_mondeq.errors import UnsupportedModelError
from vnn_mondeq.onnx_io.affine_form import Form, constant


@final
@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """Integers or booleans that depend on the network's input: elementwise bounds, which differ
    somewhere. They hold for the exact value and for what a runtime computes.

    Bounds of integers are floats, infinite where a runtime's integers might overflow.
    """

    lower: np.ndarray
    upper: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        return self.lower.shape


Value = Form | np.ndarray | Range
"""A floating-point tensor as a form, a constant integer (or boolean) tensor as an array, or one
that depends on the input as a range."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A node with its evaluated inputs.

    - `inputs`: in order; `None` for an omitted optional input.
    - `unit`: unit roundoff of the type of the model's inputs; runtime weights are multiples of it.
    - `opset`: version of the default domain.
    """

    proto: NodeProto
    inputs: Sequence[Value | None]
    unit: float
    opset: int

    @property
    def label(self) -> str:
        return label(self.proto)

    def attributes(self) -> Mapping[str, object]:
        return {a.name: helper.get_attribute_value(a) for a in self.proto.attribute}

    def attribute(self, name: str, default: object = None) -> object:
        return self.attributes().get(name, default)

    def word(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self.attribute(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def require(self, holds: bool, what: str) -> None:
        """**Raises** `UnsupportedModelError` naming the node unless `holds`."""
        if not holds:
            raise UnsupportedModelError(f"{self.label}: {what}")

    def has(self, position: int) -> bool:
        return position < len(self.inputs) and self.inputs[position] is not None

    def value(self, position: int) -> Value:
        """An input of any kind."""
        value = self.inputs[position] if self.has(position) else None
        self.require(value is not None, f"lacks input {position}")
        return value

    def form(self, position: int) -> Form:
        """A floating-point input."""
        value = self.inputs[position] if self.has(position) else None
        self.require(isinstance(value, Form), f"input {position} must be a float tensor")
        return value

    def stored(self, position: int) -> Form:
        """A floating-point input that must be a constant of the file, without arithmetic."""
        form = self.form(position)
        self.require(form.is_stored_constant, f"input {position} must be a constant of the file")
        return form

    def integers(self, position: int) -> np.ndarray:
        """An integer input that does not depend on the network's input."""
        value = self.inputs[position] if self.has(position) else None
        open_ = isinstance(value, Range)
        self.require(not open_, f"input {position} is not settled by the bounds of the input")
        self.require(isinstance(value, np.ndarray), f"input {position} must be constant integers")
        return value


def label(proto: NodeProto) -> str:
    """How messages call a node: its name (or first output) and operator."""
    name = proto.name or f"(output {proto.output[0] if proto.output else '?'})"
    domain = f"{proto.domain}." if proto.domain else ""
    return f"node {name!r} ({domain}{proto.op_type})"


def from_array(array: np.ndarray, place: str) -> Value:
    """The value of a tensor stored in the file.

    **Raises** `UnsupportedModelError` for element types other than float32, float64, integers
    and booleans, and for floats that are not finite.
    """
    if array.dtype.kind in "iub":
        return array
    if array.dtype not in (np.float32, np.float64):
        raise UnsupportedModelError(f"{place}: element type {array.dtype} is not supported")
    if not np.all(np.isfinite(array)):
        raise UnsupportedModelError(f"{place}: has entries that are not finite numbers")
    return constant(array)
