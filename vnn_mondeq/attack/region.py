"""An input set as the attack sees it: where to start, how to move, how to round.

Letters: `d` inputs, `N` points. Nothing here proves anything: the gate decides on membership.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet, Box, Intersection


class AbstractRegion(ABC):
    """A bounded input set with the moves of a descent."""

    @abstractmethod
    def center(self) -> np.ndarray:
        """A point `(d,)` in the middle of the set."""

    @abstractmethod
    def random(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Points `(count, d)`, corners among them, in the set up to rounding."""

    @abstractmethod
    def descend(
        self, points: np.ndarray, gradients: np.ndarray, sizes: np.ndarray, smooth: np.ndarray
    ) -> np.ndarray:
        """Points moved against their gradients; `sizes (N,)`, 1 crosses half of the set.

        `smooth (N,)`: which points keep the gradient's direction instead of its signs. Sign
        steps are the stronger ones towards a corner, but cannot follow a ridge between two rows.
        """

    @abstractmethod
    def perturb(self, points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Points moved at random by a part of the set's size."""

    @abstractmethod
    def round(self, points: np.ndarray) -> np.ndarray:
        """Points whose entries are float32 numbers (as float64), in the set where such exist."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class BoxRegion(AbstractRegion):
    """A box. Moves are in units of each coordinate's half-width."""

    lower: np.ndarray
    upper: np.ndarray
    inner: tuple[np.ndarray, np.ndarray]

    def center(self) -> np.ndarray:
        return 0.5 * (self.lower + self.upper)

    def random(self, count: int, generator: np.random.Generator) -> np.ndarray:
        draws = generator.uniform(-1.0, 1.0, (count, self.lower.shape[0]))
        draws[1::2] = np.sign(draws[1::2])
        return self.center() + 0.5 * (self.upper - self.lower) * draws

    def descend(
        self, points: np.ndarray, gradients: np.ndarray, sizes: np.ndarray, smooth: np.ndarray
    ) -> np.ndarray:
        half = 0.5 * (self.upper - self.lower)
        moved = np.sign(gradients)
        if smooth.any():
            scaled = gradients[smooth] * half
            moved[smooth] = scaled / np.maximum(np.abs(scaled).max(axis=1, keepdims=True), 1e-300)
        moved *= -sizes[:, None]
        moved *= half
        moved += points
        return np.clip(moved, self.lower, self.upper, out=moved)

    def perturb(self, points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        # Reflecting a share of the coordinates leaves the basin without losing its merits.
        share = generator.uniform(0.05, 0.3, (points.shape[0], 1))
        chosen = generator.random(points.shape) < share
        return np.where(chosen, self.lower + self.upper - points, points)

    def round(self, points: np.ndarray) -> np.ndarray:
        return _clip(_to_float32(points), *self.inner)


@final
@dataclass(frozen=True, slots=True, eq=False)
class ConvexRegion(AbstractRegion):
    """Any other bounded convex set: normalised gradient steps and projections.

    - `middle`: a point of the set, as deep inside as alternating projections of the box's middle
      give.
    - `reach`: about the largest distance from `middle` within the set.
    """

    inputs: AbstractInputSet
    lower: np.ndarray
    upper: np.ndarray
    inner: tuple[np.ndarray, np.ndarray]
    middle: np.ndarray
    reach: float

    @classmethod
    def of(cls, inputs: AbstractInputSet) -> "ConvexRegion":
        """Measures the set by projecting far points onto it."""
        lower, upper = inputs.bounds()
        width = upper - lower
        middle = inputs.project(0.5 * (lower + upper)[None])[0]
        directions = np.random.default_rng(0).standard_normal((8, width.shape[0]))
        far = middle + np.linalg.norm(width) * directions
        reach = np.linalg.norm(inputs.project(far) - middle, axis=1).max(initial=0.0)
        return cls(inputs, lower, upper, _inner_bounds(inputs), middle, float(reach))

    def center(self) -> np.ndarray:
        return self.middle

    def random(self, count: int, generator: np.random.Generator) -> np.ndarray:
        return self._scatter(np.repeat(self.middle[None], count, axis=0), generator, 1.0)

    def descend(
        self, points: np.ndarray, gradients: np.ndarray, sizes: np.ndarray, smooth: np.ndarray
    ) -> np.ndarray:
        length = np.linalg.norm(gradients, axis=1)
        step = 2.0 * sizes * self.reach / np.maximum(length, 1e-300)
        return self.inputs.project(points - step[:, None] * gradients)

    def perturb(self, points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return self._scatter(points, generator, 0.5)

    def _scatter(
        self, points: np.ndarray, generator: np.random.Generator, scale: float
    ) -> np.ndarray:
        noise = generator.standard_normal(points.shape) * (self.upper > self.lower)
        length = np.maximum(np.linalg.norm(noise, axis=1, keepdims=True), 1e-300)
        size = generator.uniform(0.3, 1.5, (points.shape[0], 1)) * scale * self.reach
        return self.inputs.project(points + noise / length * size)

    def round(self, points: np.ndarray) -> np.ndarray:
        rounded = _clip(_to_float32(points), *self.inner)
        curved = _curved_parts(self.inputs)
        for index in range(points.shape[0]):
            # Rounding and inexact projections may leave the set by a hair: retreat to its middle.
            for shrink in (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
                point = self.middle + (1.0 - shrink) * (points[index] - self.middle)
                rounded[index] = _clip(_to_float32(point), *self.inner)
                if all(part.contains(rounded[index]) for part in curved):
                    break
        return rounded


def make_region(inputs: AbstractInputSet) -> AbstractRegion | None:
    """The region of an input set; `None` where the set has no finite bounds."""
    lower, upper = inputs.bounds()
    if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
        return None
    if isinstance(inputs, Box):
        return BoxRegion(lower, upper, _inner_bounds(inputs))
    return ConvexRegion.of(inputs)


def _to_float32(points: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return points.astype(np.float32).astype(np.float64)


def _clip(points: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(points, lower), upper)


def _curved_parts(inputs: AbstractInputSet) -> list[AbstractInputSet]:
    parts = inputs.parts if isinstance(inputs, Intersection) else (inputs,)
    return [part for part in parts if not isinstance(part, Box)]


def _inner_bounds(inputs: AbstractInputSet) -> tuple[np.ndarray, np.ndarray]:
    """Float32 numbers between the bounds of the set's boxes, infinite where it has none.

    Where no float32 lies between two bounds both are the float32 nearest to the lower one: the
    competition's scorer compares in float32, where that point is inside.
    """
    parts = inputs.parts if isinstance(inputs, Intersection) else (inputs,)
    boxes = [part for part in parts if isinstance(part, Box)]
    lower = np.full(inputs.dimension, -np.inf)
    upper = np.full(inputs.dimension, np.inf)
    for box in boxes:
        lower = np.maximum(lower, box.inner_lower)
        upper = np.minimum(upper, box.inner_upper)
    with np.errstate(over="ignore"):
        low, high = lower.astype(np.float32), upper.astype(np.float32)
        low = np.where(low < lower, np.nextafter(low, np.float32(np.inf)), low)
        high = np.where(high > upper, np.nextafter(high, np.float32(-np.inf)), high)
        empty = low > high
        nearest = np.where(np.isfinite(lower), lower, inputs.bounds()[0]).astype(np.float32)
    low, high = np.where(empty, nearest, low), np.where(empty, nearest, high)
    return low.astype(np.float64), high.astype(np.float64)
