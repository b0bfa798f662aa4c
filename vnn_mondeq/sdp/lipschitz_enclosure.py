"""Arrays with elementwise error bounds: the arithmetic of the Lipschitz checks.

Midpoint-radius arithmetic after Rump ("Fast and parallel interval arithmetic", BIT 1999), with
rounding errors bounded a priori (`vnn_mondeq.rounding`) instead of by switching rounding modes.
"""

from dataclasses import dataclass
from typing import Self, final

import numpy as np

from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, product_error


@final
@dataclass(frozen=True, slots=True, eq=False)
class Enclosed:
    """Every real array within `radius` of `middle`, elementwise; both float64 of one shape."""

    middle: np.ndarray
    radius: np.ndarray

    @classmethod
    def exact(cls, array: np.ndarray) -> Self:
        return cls(array, np.zeros_like(array))

    @classmethod
    def reciprocal(cls, positive: np.ndarray) -> Self:
        """`1 / positive` of exact floats."""
        middle = 1.0 / positive
        return cls(middle, 2.0 * UNIT * middle + UNDERFLOW)

    @property
    def magnitude(self) -> np.ndarray:
        """Upper bounds on the absolute values."""
        return (np.abs(self.middle) + self.radius) * SAFETY

    @property
    def T(self) -> "Enclosed":
        return Enclosed(self.middle.T, self.radius.T)

    def __getitem__(self, key: object) -> "Enclosed":
        return Enclosed(self.middle[key], self.radius[key])

    def __add__(self, other: "Enclosed") -> "Enclosed":
        middle = self.middle + other.middle
        rounding = UNIT * np.abs(middle)
        return Enclosed(middle, (self.radius + other.radius + rounding) * SAFETY)

    def __sub__(self, other: "Enclosed") -> "Enclosed":
        return self + Enclosed(-other.middle, other.radius)

    def __mul__(self, other: "Enclosed") -> "Enclosed":
        """Elementwise, with broadcasting."""
        middle = self.middle * other.middle
        spread = np.abs(self.middle) * other.radius + self.radius * other.magnitude
        return Enclosed(middle, (spread + UNIT * np.abs(middle)) * SAFETY + UNDERFLOW)

    def __matmul__(self, other: "Enclosed") -> "Enclosed":
        left, right = np.abs(self.middle), np.abs(other.middle)
        radius = product_error(left, right, self.middle.shape[-1])
        if other.radius.any():
            radius = radius + left @ other.radius * SAFETY
        if self.radius.any():
            radius = radius + self.radius @ other.magnitude * SAFETY
        return Enclosed(self.middle @ other.middle, radius * SAFETY)

    def scaled_exactly(self, left: np.ndarray, right: np.ndarray) -> "Enclosed":
        """Rows times `left`, columns times `right`, powers of two: no rounding but underflow."""
        factor = left[:, None] * right
        return Enclosed(self.middle * factor, self.radius * factor + UNDERFLOW)

    def symmetric_part(self) -> "Enclosed":
        """`(A + Aᵀ) / 2`, exactly symmetric in floating point."""
        doubled = self + self.T
        return Enclosed(0.5 * doubled.middle, 0.5 * doubled.radius)

    def upper_sum(self) -> float:
        """An upper bound on the sum of all entries."""
        count = self.middle.size
        total = float(self.middle.sum() + self.radius.sum())
        return total + (count + 2) * 2.0 * UNIT * float(self.magnitude.sum()) * SAFETY + UNDERFLOW


def stacked(blocks: list[list[Enclosed]]) -> Enclosed:
    """A block matrix."""
    return Enclosed(
        np.block([[block.middle for block in row] for row in blocks]),
        np.block([[block.radius for block in row] for row in blocks]),
    )


def symmetric_norm(radius: np.ndarray) -> float:
    """An upper bound on the 2-norm of any symmetric matrix within `radius` of zero."""
    return float(np.max(radius.sum(axis=1), initial=0.0)) * SAFETY + UNDERFLOW


def equilibrating(diagonal: np.ndarray) -> np.ndarray:
    """Powers of two `d` for which `d² diagonal` is near 1; 1 where the entry is not positive."""
    usable = np.isfinite(diagonal) & (diagonal > 0.0)
    exponent = np.frexp(np.where(usable, diagonal, 1.0))[1] // 2
    return np.ldexp(1.0, -np.clip(exponent, -500, 500))
