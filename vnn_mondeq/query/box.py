"""Boxes of inputs, with rational bounds."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Self, final

import numpy as np

from vnn_mondeq.query.abstract_set import AbstractInputSet
from vnn_mondeq.query.support import box_support
from vnn_mondeq.rounding import float32_hull, fraction_hull


def _step_inside(
    inner: np.ndarray, exact: Sequence[Fraction | None], positions: Collection[int], toward: float
) -> None:
    """Move inner bounds off the exact ones at `positions` (in place), where they coincide."""
    for position in positions:
        if np.isfinite(inner[position]) and Fraction(float(inner[position])) == exact[position]:
            inner[position] = np.nextafter(inner[position], toward)


_UNBOUNDED_BELOW = (-np.inf, -np.inf)
_UNBOUNDED_ABOVE = (np.inf, np.inf)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Box(AbstractInputSet):
    """`{x : lower <= x <= upper}` with rational bounds, kept as two float64 boxes.

    - `lower`, `upper`: rounded outward; proofs use these.
    - `inner_lower`, `inner_upper`: rounded inward; a float is inside the rational box exactly
      when it is inside this one.
    """

    lower: np.ndarray
    upper: np.ndarray
    inner_lower: np.ndarray
    inner_upper: np.ndarray

    def __post_init__(self) -> None:
        sides = (self.lower, self.upper, self.inner_lower, self.inner_upper)
        if self.lower.ndim != 1 or any(side.shape != self.lower.shape for side in sides):
            raise ValueError(f"box bounds disagree in shape: {[side.shape for side in sides]}")
        if any(np.any(np.isnan(side)) for side in sides):
            raise ValueError("a box bound is not a number")

    @classmethod
    def from_floats(cls, lower: np.ndarray, upper: np.ndarray) -> Self:
        """The box whose bounds are exactly these float64 numbers."""
        lower = np.asarray(lower, dtype=np.float64)
        upper = np.asarray(upper, dtype=np.float64)
        return cls(lower, upper, lower, upper)

    @classmethod
    def from_fractions(
        cls,
        lower: Sequence[Fraction | None],
        upper: Sequence[Fraction | None],
        open_lower: Collection[int] = (),
        open_upper: Collection[int] = (),
    ) -> Self:
        """The box with these rational bounds; `None` means unbounded.

        - `open_lower`, `open_upper`: positions whose bound is strict. The inner box leaves the
          bound itself out there, so that `contains` stays exact for floats. Where no float64 is
          between the bounds it is `[inf, -inf]`: unlike a coordinate that is fixed to a number
          that no float has, such a one has no nearest float that could stand for it.
        """
        below = [_UNBOUNDED_BELOW if v is None else fraction_hull(v) for v in lower]
        above = [_UNBOUNDED_ABOVE if v is None else fraction_hull(v) for v in upper]
        inner_lower = np.array([up for _, up in below], dtype=np.float64)
        inner_upper = np.array([down for down, _ in above], dtype=np.float64)
        _step_inside(inner_lower, lower, open_lower, np.inf)
        _step_inside(inner_upper, upper, open_upper, -np.inf)
        for position in {*open_lower, *open_upper}:
            if inner_lower[position] > inner_upper[position]:
                inner_lower[position], inner_upper[position] = np.inf, -np.inf
        return cls(
            np.array([down for down, _ in below], dtype=np.float64),
            np.array([up for _, up in above], dtype=np.float64),
            inner_lower,
            inner_upper,
        )

    @classmethod
    def everything(cls, size: int) -> Self:
        """The whole of `R^size`."""
        return cls.from_floats(np.full(size, -np.inf), np.full(size, np.inf))

    def met(self, other: "Box") -> "Box":
        """The intersection with another box; empty where a lower bound is above the upper one."""
        return Box(
            np.maximum(self.lower, other.lower),
            np.minimum(self.upper, other.upper),
            np.maximum(self.inner_lower, other.inner_lower),
            np.minimum(self.inner_upper, other.inner_upper),
        )

    @property
    def dimension(self) -> int:
        return self.lower.shape[0]

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.lower, self.upper

    def support(self, directions: np.ndarray) -> np.ndarray:
        return box_support(directions, self.lower, self.upper)

    def contains(self, point: np.ndarray) -> bool:
        inside = (point >= self.inner_lower) & (point <= self.inner_upper) & np.isfinite(point)
        return bool(np.all(inside))

    def project(self, points: np.ndarray) -> np.ndarray:
        return np.clip(points, self.lower, self.upper)

    def widened(self) -> "Box":
        lower, upper = float32_hull(self.lower, self.upper)
        return Box.from_floats(lower, upper)
