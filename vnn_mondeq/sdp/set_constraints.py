"""What an input set says beyond its bounding box, as separable quadratic constraints.

Over `x = center + half ∘ ξ`, each constraint is `constant + linear·ξ - Σ curve_j ξ_j² >= 0`:

- a ball `‖(x - c)[coordinates]‖₂ <= r`: one, divided by `r²`. An L1 ball lies in the L2 ball of the
  same radius, which is what is used of it beside its bounding box.
- a half-space `a·x + o <= 0`: one with `curve = 0`, divided by its size on the box.
- a quadratic `xᵀPx + q·x + r <= 0`, convex or not: one, divided by twice its size on the box.
  Where inputs are few it has a `cross` part, `- ξᵀ cross ξ`; where they are many, `2 p ξ_i ξ_j` is
  bounded by `|p| (ξ_i² + ξ_j²)`, so that the quadratic part of the inputs stays diagonal.

Plain float64: `check.py` forms its own.
"""

import dataclasses
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.query.input_set import (
    AbstractInputSet,
    Box,
    HalfSpace,
    Intersection,
    LqBall,
    Quadratic,
)

MANY_INPUTS = 100
"""From here on nothing of the size of the inputs squared is factorised (`input_block.py`)."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class SetConstraints:
    """`m` constraints that cut into the box, out of `count` parts of the set that are no boxes.

    - `constant (m,)`, `linear (m, n)`, `curve (m, n)`: see the module docstring.
    - `positions (m,)`: of their parts among the `count`, in the order of `parts_beyond_boxes`.
    - `unit (m,)`: what the part's own constraint was divided by.
    - `cross (m, n, n)`: symmetric, zero on the diagonal; `None` where there is none.
    """

    constant: np.ndarray
    linear: np.ndarray
    curve: np.ndarray
    positions: np.ndarray
    unit: np.ndarray
    count: int
    cross: np.ndarray | None = None

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
        form = _form(part, center, half, varying.size < MANY_INPUTS)
        if form is None:
            continue
        linear, curve = form.linear[varying], form.curve[varying]
        cross = np.zeros((0, 0)) if form.cross is None else form.cross[np.ix_(varying, varying)]
        spread = np.abs(linear).sum() + np.abs(curve).sum() + np.abs(cross).sum()
        if np.isfinite(form.constant + spread) and form.constant - spread < 0.0:
            forms.append((form.constant, linear, curve, position, form.unit, cross))
    if not forms:
        return dataclasses.replace(SetConstraints.none(varying.size), count=len(parts))
    *columns, crosses = zip(*forms, strict=True)
    constant, linear, curve, positions, unit = map(np.array, columns)
    return SetConstraints(
        constant, linear, curve, positions, unit, len(parts), _stacked(crosses, varying.size)
    )


def _stacked(crosses: tuple[np.ndarray, ...], inputs: int) -> np.ndarray | None:
    if not any(np.any(cross) for cross in crosses):
        return None
    empty = np.zeros((inputs, inputs))
    return np.array([cross if cross.size else empty for cross in crosses])


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """Of one part, over all inputs; `cross (d, d)` or `None`."""

    constant: float
    linear: np.ndarray
    curve: np.ndarray
    unit: float
    cross: np.ndarray | None = None


def _form(part: AbstractInputSet, center: np.ndarray, half: np.ndarray, few: bool) -> _Form | None:
    match part:
        case LqBall():
            return _ball(part, center, half)
        case HalfSpace():
            return _half_space(part, center, half)
        case Quadratic():
            return _quadratic(part, center, half, few)
        case _:
            return None


def _quadratic(part: Quadratic, center: np.ndarray, half: np.ndarray, few: bool) -> _Form | None:
    floats, k = part.floats(), part.coordinates
    middle, width = center[k], half[k]
    image = floats.matrix @ middle
    linear, curve = np.zeros(center.size), np.zeros(center.size)
    constant = -floats.offset - float(middle @ (image + floats.linear))
    linear[k] = -(2.0 * image + floats.linear) * width
    scaled = floats.matrix.multiply(width).multiply(width[:, None]).tocsr()
    diagonal = scaled.diagonal()
    sizes = np.asarray(abs(scaled).sum(axis=1)).ravel()
    curve[k] = diagonal if few else diagonal - (sizes - np.abs(diagonal))
    # Twice the size, so that equal multipliers of it and of the box keep their sum definite.
    unit = 2.0 * (abs(constant) + float(np.abs(linear).sum() + sizes.sum()))
    if not 0.0 < unit < np.inf:
        return None
    cross = None
    if few and np.any(sizes > np.abs(diagonal)):
        cross = np.zeros((center.size, center.size))
        cross[np.ix_(k, k)] = scaled.toarray() / unit
        np.fill_diagonal(cross, 0.0)
    return _Form(constant / unit, linear / unit, curve / unit, unit, cross)


def _ball(ball: LqBall, center: np.ndarray, half: np.ndarray) -> _Form | None:
    near, _ = ball.center_floats()
    radius = ball.radius
    if not 1e-150 < radius < 1e150:  # its square, and quotients by it, are floats
        return None
    k = ball.coordinates
    shift, width = (center[k] - near) / radius, half[k] / radius
    linear, curve = np.zeros(center.size), np.zeros(center.size)
    linear[k], curve[k] = -2.0 * shift * width, width * width
    return _Form(1.0 - float(shift @ shift), linear, curve, radius * radius)


def _half_space(half_space: HalfSpace, center: np.ndarray, half: np.ndarray) -> _Form | None:
    normal, _, offset = half_space.floats()
    constant, linear = -offset - float(normal @ center), -normal * half
    unit = abs(constant) + float(np.abs(linear).sum())
    if not 0.0 < unit < np.inf:
        return None
    return _Form(constant / unit, linear / unit, np.zeros(center.size), unit)
