"""A candidate counterexample against its query: into the input set, and what exact numbers say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet, Box, Intersection
from vnn_mondeq.query.query import Case


def as_floats_read(inputs: AbstractInputSet) -> AbstractInputSet:
    """The set as a float query's reader sees it: a coordinate that is fixed to one number may take
    the float32 nearest to it, since no other exists."""
    match inputs:
        case Box():
            return _with_fixed_coordinates_readable(inputs)
        case Intersection():
            return Intersection(tuple(as_floats_read(part) for part in inputs.parts))
        case _:
            return inputs


def _with_fixed_coordinates_readable(box: Box) -> Box:
    fixed = box.inner_lower >= box.inner_upper
    hull = box.widened()
    return Box(
        box.lower,
        box.upper,
        np.where(fixed, hull.lower, box.inner_lower),
        np.where(fixed, hull.upper, box.inner_upper),
    )


def _inner_bounds(inputs: AbstractInputSet) -> tuple[np.ndarray, np.ndarray]:
    """The tightest inner bounds that the set's boxes give."""
    lower = np.full(inputs.dimension, -np.inf)
    upper = np.full(inputs.dimension, np.inf)
    parts = inputs.parts if isinstance(inputs, Intersection) else (inputs,)
    for part in parts:
        if isinstance(part, Box):
            lower = np.maximum(lower, part.inner_lower)
            upper = np.minimum(upper, part.inner_upper)
    return lower, upper


def round_into(inputs: AbstractInputSet, x: np.ndarray, dtype: type) -> np.ndarray:
    """`x` in the element type, moved by one step where rounding has left the set's box."""
    lower, upper = _inner_bounds(inputs)
    with np.errstate(over="ignore"):
        point = np.clip(x, lower, np.maximum(lower, upper)).astype(dtype)
    wide = point.astype(np.float64)
    point = np.where(wide < lower, np.nextafter(point, dtype(np.inf)), point)
    return np.where(wide > upper, np.nextafter(point, dtype(-np.inf)), point).astype(dtype)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Violation:
    """What exact numbers say about a case.

    - `holds`: whether every constraint does.
    - `margin`: by how much the least violated one is violated; not positive for no violation.
    - `ties (n,)`: the constraints that hold with equality.
    """

    holds: bool
    margin: float
    ties: np.ndarray


def violation_of(case: Case, point: np.ndarray, outputs: Sequence[float | Fraction]) -> Violation:
    """The constraints of a case at an input `point (d,)` with these outputs, exactly."""
    values = [
        constraint.value(
            {i: Fraction(float(point[i])) for i in constraint.x},
            {i: _exact(outputs[i]) for i in constraint.y},
        )
        for constraint in case.constraints
    ]
    holds = all(
        value < 0 or (value == 0 and not constraint.strict)
        for value, constraint in zip(values, case.constraints, strict=True)
    )
    worst = max(values, default=None)
    if worst is None:
        margin = math.inf
    else:
        # The sign must not be lost when a tiny rational underflows.
        margin = float(-worst) or (math.ulp(0.0) if worst < 0 else 0.0)
    return Violation(holds, margin, np.array([value == 0 for value in values], dtype=bool))


def _exact(value: float | Fraction) -> Fraction:
    return value if isinstance(value, Fraction) else Fraction(float(value))
