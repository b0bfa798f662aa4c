"""Half-spaces of inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import numpy as np

from vnn_mondeq.query.abstract_set import AbstractInputSet
from vnn_mondeq.query.box import Box
from vnn_mondeq.query.interval import RationalInterval, is_positive_in_float32
from vnn_mondeq.query.support import box_support, half_space_price, split_support
from vnn_mondeq.rounding import (
    SAFETY,
    UNDERFLOW,
    UNIT32,
    fraction_down,
    fraction_hull,
    gamma,
)


@final
@dataclass(frozen=True, slots=True, eq=False)
class HalfSpace(AbstractInputSet):
    """`{x : coefficients · x + offset <= 0}` (`< 0` when `strict`), rational, sparse."""

    size: int
    coefficients: Mapping[int, Fraction]
    offset: Fraction
    strict: bool

    @property
    def dimension(self) -> int:
        return self.size

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return np.full(self.size, -np.inf), np.full(self.size, np.inf)

    def support(self, directions: np.ndarray) -> np.ndarray:
        return np.where(np.any(directions != 0.0, axis=1), np.inf, 0.0)

    def support_within(
        self, directions: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> np.ndarray:
        normal, error, offset = self.floats()
        if not (np.all(np.isfinite(normal)) and np.isfinite(offset)):
            return box_support(directions, lower, upper)
        price = half_space_price(directions, normal, offset, lower, upper)[:, None]
        with np.errstate(over="ignore", invalid="ignore"):
            share = price * normal
            missing = (gamma(2) * np.abs(share) + price * error) * SAFETY
            by_share = np.nextafter(-offset * price[:, 0], np.inf)
        return split_support(directions, share, by_share, missing, (lower, upper))

    def floats(self) -> tuple[np.ndarray, np.ndarray, float]:
        """The nearest coefficients `(d,)`, bounds on their error, and a lower bound of the offset;
        infinite where beyond float64."""
        normal, error = np.zeros(self.size), np.zeros(self.size)
        for i, c in self.coefficients.items():
            low, high = fraction_hull(c)
            normal[i] = high if abs(high) <= abs(low) else low
            error[i] = 0.0 if low == high else abs(high - low) * SAFETY + UNDERFLOW
        return normal, error, fraction_down(self.offset)

    def contains(self, point: np.ndarray) -> bool:
        if not np.all(np.isfinite(point)):
            return False
        value = self.offset + sum(
            c * Fraction(float(point[i])) for i, c in self.coefficients.items()
        )
        return value < 0 if self.strict else value <= 0

    def project(self, points: np.ndarray) -> np.ndarray:
        normal, _, offset = self.floats()
        excess = points @ normal + offset
        square = float(normal @ normal)
        if square == 0.0:
            return points
        return points - np.maximum(excess, 0.0)[:, None] / square * normal

    def misses(self, lower: np.ndarray, upper: np.ndarray) -> bool:
        weights = self.coefficients
        terms = [RationalInterval.of(lower[i], upper[i]).times(c) for i, c in weights.items()]
        return is_positive_in_float32(weights.values(), terms, self.offset, self.strict)

    def widened(self) -> AbstractInputSet:
        return self.widened_within(*self.bounds())

    def widened_within(self, lower: np.ndarray, upper: np.ndarray) -> AbstractInputSet:
        """The half-space with the offset that a float32 evaluation may mistake for its own.

        The sum of `n` products and the offset, in any order and with coefficients rounded to
        float32, errs by at most `gamma(n + 3)` times the sum of their magnitudes. Without
        finite bounds where it has coefficients there is no such offset: the whole space comes
        back.
        """
        normal, error, offset = self.floats()
        occurs = np.abs(normal) + error > 0.0
        reach = np.where(occurs, np.maximum(np.abs(lower), np.abs(upper)), 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            size = float((np.abs(normal) + error) @ reach) + abs(offset)
            slack = gamma(len(self.coefficients) + 3, UNIT32) * size * SAFETY + 2.0**-120
        if not np.isfinite(slack):
            return Box.everything(self.size)
        moved = self.offset - Fraction(slack)
        return HalfSpace(self.size, self.coefficients, moved, strict=False)
