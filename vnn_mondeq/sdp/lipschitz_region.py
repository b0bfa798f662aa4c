"""How far an input set reaches from a centre: groups of inputs, each in a scaled 2-norm ball.

A box is one group for each input, an L2 ball one group for all its inputs. That covers both norms
by one formula, and a ball on some inputs beside a box on the others.
"""

from dataclasses import dataclass
from typing import Self, final

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet, Intersection, LqBall
from vnn_mondeq.rounding import SAFETY, norm_up, round_up


@final
@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """`x` for which `Σ_{j in group} ((x_j - center_j) / radii_j)² <= 1` in every group, and
    `x_j = center_j` wherever `j` is in no group.

    - `center (d,)`.
    - `positions (n,)`: the inputs that move; `radii (n,)`: positive; `groups (n,)`: numbers of
      their groups, `0 ... count - 1`.
    """

    center: np.ndarray
    positions: np.ndarray
    radii: np.ndarray
    groups: np.ndarray
    count: int

    @classmethod
    def unit_ball(cls, size: int, norm: float) -> Self:
        """Radius 1 around zero in the L2 (`norm == 2`) or the L∞ norm."""
        everything = np.arange(size)
        groups = np.zeros(size, dtype=np.intp) if norm == 2 else everything
        count = min(1, size) if norm == 2 else size
        return cls(np.zeros(size), everything, np.ones(size), groups, count)

    @classmethod
    def around(cls, inputs: AbstractInputSet) -> Self | None:
        """A region that contains the set, or `None` where the set has no finite bounds.

        An L2 ball is kept where it is smaller than the set's box; an L1 ball is relaxed to the L2
        ball around it or to its box.
        """
        lower, upper = inputs.bounds()
        if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
            return None
        center = np.where(lower == upper, lower, 0.5 * lower + 0.5 * upper)
        reach = np.maximum(round_up(upper - center), round_up(center - lower))
        radii = np.where(lower == upper, 0.0, np.maximum(reach, 0.0))
        groups = np.arange(inputs.dimension)
        for ball in _balls(inputs):
            middle, error = ball.center_floats()
            radius = (ball.radius + float(norm_up(error))) * SAFETY
            inside = ball.coordinates
            alone = np.array_equal(groups[inside], inside)
            if alone and radius < float(norm_up(radii[inside])):
                center[inside], radii[inside], groups[inside] = middle, radius, inside[0]
        positions = np.flatnonzero(radii > 0.0)
        _, numbers = np.unique(groups[positions], return_inverse=True)
        count = int(numbers.max(initial=-1)) + 1
        return cls(center, positions, radii[positions], numbers, count)


def _balls(inputs: AbstractInputSet) -> list[LqBall]:
    parts = inputs.parts if isinstance(inputs, Intersection) else (inputs,)
    return [part for part in parts if isinstance(part, LqBall) and part.coordinates.size]
