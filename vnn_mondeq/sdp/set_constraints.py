"""What an input set says beyond its bounding box, as separable quadratic constraints.

Over `x = center + half ∘ ξ`, each constraint is `constant + linear·ξ - Σ curve_j ξ_j² >= 0`:

- a ball `‖(x - c)[coordinates]‖₂ <= r`: one, divided by `r²`. An L1 ball lies in the L2 ball of the
  same radius, which is what is used of it beside its bounding box.
- a half-space `a·x + o <= 0`: one with `curve = 0`, divided by its size on the box.

So the quadratic part of the inputs stays diagonal. Plain float64: `check.py` forms its own.
"""

import dataclasses
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet, Box, HalfSpace, Intersection, LqBall


@final
@dataclass(frozen=True, slots=True, eq=False)
class SetConstraints:
    """`m` constraints that cut into the box, out of `count` parts of the set that are no boxes.

    - `constant (m,)`, `linear (m, n)`, `curve (m, n)`: see the module docstring.
    - `positions (m,)`: of their parts among the `count`, in the order of `parts_beyond_boxes`.
    - `unit (m,)`: what the part's own constraint was divided by.
    """

    constant: np.ndarray
    linear: np.ndarray
    curve: np.ndarray
    positions: np.ndarray
    unit: np.ndarray
    count: int

    @classmethod
    def none(cls, inputs: int) -> "SetConstraints":
        """No constraints on `n` inputs."""
        empty = np.zeros((0, inputs))
        return cls(np.zeros(0), empty, empty, np.zeros(0, dtype=int), np.zeros(0), 0)

    def multipliers(self, scaled: np.ndarray) -> np.ndarray:
        """Multipliers `(count,)` of the parts' own constraints."""
        own = np.zeros(self.count)
        own[self.positions] = scaled / self.unit
        return own


def parts_beyond_boxes(inputs: AbstractInputSet) -> tuple[AbstractInputSet, ...]:
    """The parts of a set other than boxes, nested intersections flattened."""
    if isinstance(inputs, Intersection):
        return tuple(part for whole in inputs.parts for part in parts_beyond_boxes(whole))
    return () if isinstance(inputs, Box) else (inputs,)


def set_constraints(
    inputs: AbstractInputSet, center: np.ndarray, half: np.ndarray, varying: np.ndarray
) -> SetConstraints:
    """The constraints of a set over `x = center + half ∘ ξ`, `ξ` at the `n` positions `varying`."""
    parts = parts_beyond_boxes(inputs)
    forms = []
    for position, part in enumerate(parts):
        form = _form(part, center, half)
        if form is None:
            continue
        constant, linear, curve, unit = form
        linear, curve = linear[varying], curve[varying]
        cuts = constant - np.abs(linear).sum() - curve.sum() < 0.0
        if cuts and all(np.all(np.isfinite(value)) for value in (constant, linear, curve)):
            forms.append((constant, linear, curve, position, unit))
    if not forms:
        return dataclasses.replace(SetConstraints.none(varying.size), count=len(parts))
    constant, linear, curve, positions, unit = map(np.array, zip(*forms, strict=True))
    return SetConstraints(constant, linear, curve, positions, unit, len(parts))


_Form = tuple[float, np.ndarray, np.ndarray, float]
"""Constant, linear part, curve (over all inputs) and unit."""


def _form(part: AbstractInputSet, center: np.ndarray, half: np.ndarray) -> _Form | None:
    match part:
        case LqBall():
            return _ball(part, center, half)
        case HalfSpace():
            return _half_space(part, center, half)
        case _:
            return None


def _ball(ball: LqBall, center: np.ndarray, half: np.ndarray) -> _Form | None:
    near, _ = ball.center_floats()
    radius = ball.radius
    if not 1e-150 < radius < 1e150:  # its square, and quotients by it, are floats
        return None
    k = ball.coordinates
    shift, width = (center[k] - near) / radius, half[k] / radius
    linear, curve = np.zeros(center.size), np.zeros(center.size)
    linear[k], curve[k] = -2.0 * shift * width, width * width
    return 1.0 - float(shift @ shift), linear, curve, radius * radius


def _half_space(half_space: HalfSpace, center: np.ndarray, half: np.ndarray) -> _Form | None:
    normal, _, offset = half_space.floats()
    constant, linear = -offset - float(normal @ center), -normal * half
    unit = abs(constant) + float(np.abs(linear).sum())
    if not 0.0 < unit < np.inf:
        return None
    return constant / unit, linear / unit, np.zeros(center.size), unit
