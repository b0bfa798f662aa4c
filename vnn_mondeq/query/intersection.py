"""Intersections of sets of inputs."""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.query.abstract_set import AbstractInputSet
from vnn_mondeq.query.box import Box
from vnn_mondeq.query.support import box_support


@final
@dataclass(frozen=True, slots=True, eq=False)
class Intersection(AbstractInputSet):
    """The intersection of several sets.

    `support` is the least, over the parts, of the support of the part within the box `bounds()`:
    tight for a box with one other set.
    """

    parts: tuple[AbstractInputSet, ...]

    def __post_init__(self) -> None:
        if not self.parts or len({part.dimension for part in self.parts}) != 1:
            raise ValueError("an intersection needs parts of one dimension")

    @property
    def dimension(self) -> int:
        return self.parts[0].dimension

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        bounds = [part.bounds() for part in self.parts]
        lower = np.max([low for low, _ in bounds], axis=0)
        upper = np.min([high for _, high in bounds], axis=0)
        return lower, upper

    def support(self, directions: np.ndarray) -> np.ndarray:
        lower, upper = self.bounds()
        supports = [part.support_within(directions, lower, upper) for part in self.parts]
        return np.min([*supports, box_support(directions, lower, upper)], axis=0)

    def contains(self, point: np.ndarray) -> bool:
        return all(part.contains(point) for part in self.parts)

    def project(self, points: np.ndarray) -> np.ndarray:
        # A few rounds of alternating projections; boxes come last so that the box holds exactly.
        ordered = sorted(self.parts, key=lambda part: isinstance(part, Box))
        for _ in range(8 if len(ordered) > 1 else 1):
            for part in ordered:
                points = part.project(points)
        return points

    def misses(self, lower: np.ndarray, upper: np.ndarray) -> bool:
        return any(part.misses(lower, upper) for part in self.parts)

    def widened(self) -> "Intersection":
        # First what bounds itself; the rounding errors of the rest depend on these bounds.
        alone = [part.widened() for part in self.parts]
        bounds = [part.bounds() for part in alone]
        lower = np.max([low for low, _ in bounds], axis=0)
        upper = np.min([high for _, high in bounds], axis=0)
        return Intersection(tuple(part.widened_within(lower, upper) for part in self.parts))
