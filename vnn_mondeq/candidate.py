"""A candidate counterexample against its query: into the input set, and what exact numbers say."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet, Box, Intersection
from vnn_mondeq.query.query import Case, Constraint, PolynomialConstraint

TIE_SHARE = Fraction(1, 2**18)
"""How far, of the sum of its terms' magnitudes, a polynomial may be from zero at a tie."""


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
    # An inner bound that is infinite leaves no float at all (`Box.from_fractions`).
    fixed = (box.inner_lower >= box.inner_upper) & (box.inner_lower < np.inf)
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
    - `ties (n,)`: which of `Case.constraints` hold with equality.
    - `checked_ties`: the same for `Case.checked`.
    """

    holds: bool
    margin: float
    ties: np.ndarray
    checked_ties: tuple[bool, ...] = ()


def violation_of(case: Case, point: np.ndarray, outputs: Sequence[float | Fraction]) -> Violation:
    """The constraints of a case at an input `point (d,)` with these outputs, exactly."""
    rows = (*case.constraints, *case.checked)
    values = [_value(row, point, outputs) for row in rows]
    holds = all(
        value < 0 or (value == 0 and not row.strict)
        for value, row in zip(values, rows, strict=True)
    )
    own = len(case.constraints)
    # A norm's bound is part of the input set: how near to it a point is says nothing of the model.
    polynomial = [isinstance(row, PolynomialConstraint) for row in rows[own:]]
    worst = max([*values[:own], *itertools.compress(values[own:], polynomial)], default=None)
    if worst is None:
        margin = math.inf
    else:
        # The sign must not be lost when a tiny rational underflows.
        margin = float(-worst) or (math.ulp(0.0) if worst < 0 else 0.0)
    ties = [value == 0 for value in values]
    return Violation(holds, margin, np.array(ties[:own], dtype=bool), tuple(ties[own:]))


def polynomials_agree(case: Case, x: np.ndarray, outputs: np.ndarray, violation: Violation) -> bool:
    """Whether the polynomials on outputs also hold at these `outputs`, where a runtime's satisfy
    them; ties up to `TIE_SHARE` of the magnitudes. Not a matter of soundness: it keeps witnesses
    away whose violation is smaller than rounding errors."""
    for row, tie in zip(case.checked, violation.checked_ties, strict=True):
        if isinstance(row, PolynomialConstraint) and row.y:
            value = _value(row, x, outputs)
            limit = _magnitude(row, x, outputs) * TIE_SHARE if tie else 0
            if not (value <= limit if tie else value < 0):
                return False
    return True


def _value(row: Constraint, point: np.ndarray, outputs: Sequence[float | Fraction]) -> Fraction:
    return row.value(
        {i: Fraction(float(point[i])) for i in row.x}, {i: _exact(outputs[i]) for i in row.y}
    )


def _magnitude(row: PolynomialConstraint, x: np.ndarray, outputs: np.ndarray) -> Fraction:
    """The sum of the magnitudes of the terms."""
    terms = {monomial: abs(weight) for monomial, weight in row.terms.items()}
    return _value(
        PolynomialConstraint(terms, abs(row.offset), row.strict), np.abs(x), np.abs(outputs)
    )


def _exact(value: float | Fraction) -> Fraction:
    return value if isinstance(value, Fraction) else Fraction(float(value))
