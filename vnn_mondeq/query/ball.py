"""L1 and L2 balls of inputs."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import final

import numpy as np

from vnn_mondeq.query.abstract_set import AbstractInputSet
from vnn_mondeq.query.support import (
    euclidean_share,
    nan_to_infinity,
    project_onto_l1_ball,
    split_support,
    taxicab_share,
)
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT32, fraction_up, gamma, norm_up


@final
@dataclass(frozen=True, slots=True, eq=False)
class LqBall(AbstractInputSet):
    """`{x : ‖(x - center)[coordinates]‖_q <= radius}` for `q` in {1, 2}; `<` when `strict`.

    The other coordinates are free. L∞ balls are boxes. `bounds` and `support` are those of the
    closed ball; only `contains` tells the two apart.

    - `coordinates`: positions in the flattened input, shape `(k,)`.
    - `center`: exact, `k` rationals.
    - `radius_power`: the exact rational `radius ** q`.
    """

    q: int
    size: int
    coordinates: np.ndarray
    center: tuple[Fraction, ...]
    radius_power: Fraction
    strict: bool = False
    _near: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Once: hundreds of rationals take longer to convert than a support function to evaluate.
        object.__setattr__(self, "_near", np.array([float(v) for v in self.center]))
        if self.q not in (1, 2):
            raise ValueError(f"LqBall has q = 1 or 2, not {self.q}")
        if self.radius_power < 0:
            raise ValueError("LqBall has a negative radius")
        positions = np.asarray(self.coordinates)
        if len(positions) != len(self.center):
            raise ValueError("LqBall needs one centre entry for each coordinate")
        if positions.size and not (positions.min() >= 0 and positions.max() < self.size):
            raise ValueError(f"LqBall has a coordinate outside 0 ... {self.size - 1}")
        # A coordinate listed twice would count twice in the support function.
        if len(np.unique(positions)) != len(positions):
            raise ValueError("LqBall lists a coordinate twice")

    @property
    def dimension(self) -> int:
        return self.size

    @property
    def radius(self) -> float:
        """The radius, rounded up."""
        power = fraction_up(self.radius_power)
        return power if self.q == 1 else float(np.nextafter(np.sqrt(power), np.inf))

    def center_floats(self) -> tuple[np.ndarray, np.ndarray]:
        """The centre as nearest floats `(k,)`, and bounds on their distance from the exact one."""
        return self._near, np.abs(self._near) * 2.0**-52 + UNDERFLOW

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        lower = np.full(self.size, -np.inf)
        upper = np.full(self.size, np.inf)
        near, error = self.center_floats()
        reach = (self.radius + error) * SAFETY
        lower[self.coordinates] = np.nextafter(near - reach, -np.inf)
        upper[self.coordinates] = np.nextafter(near + reach, np.inf)
        return lower, upper

    def support(self, directions: np.ndarray) -> np.ndarray:
        inside = directions[:, self.coordinates]
        near, error = self.center_floats()
        magnitude = np.abs(inside)
        dual = magnitude.max(axis=1, initial=0.0) if self.q == 1 else norm_up(inside, axis=1)
        with np.errstate(invalid="ignore", over="ignore"):
            value = inside @ near + np.where(dual == 0.0, 0.0, dual * self.radius) * SAFETY
            slack = gamma(len(near) + 4) * (magnitude @ np.abs(near)) + magnitude @ error
            value = nan_to_infinity(value + slack * SAFETY + UNDERFLOW)
        outside = directions.copy()
        outside[:, self.coordinates] = 0.0
        return np.where(np.any(outside != 0.0, axis=1), np.inf, value)

    def support_within(
        self, directions: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> np.ndarray:
        near, _ = self.center_floats()
        k = self.coordinates
        split = euclidean_share if self.q == 2 else taxicab_share
        share = np.zeros_like(directions)
        share[:, k] = split(directions[:, k], lower[k] - near, upper[k] - near, self.radius)
        exactly = np.zeros_like(share)
        return split_support(directions, share, self.support(share), exactly, (lower, upper))

    def contains(self, point: np.ndarray) -> bool:
        if not np.all(np.isfinite(point)):
            return False
        total = Fraction(0)
        for position, middle in zip(self.coordinates, self.center, strict=True):
            difference = abs(Fraction(float(point[position])) - middle)
            total += difference if self.q == 1 else difference * difference
        return total < self.radius_power if self.strict else total <= self.radius_power

    def project(self, points: np.ndarray) -> np.ndarray:
        near, _ = self.center_floats()
        offset = points[:, self.coordinates] - near
        if self.q == 2:
            length = np.sqrt((offset * offset).sum(axis=1, keepdims=True))
            offset = offset * np.minimum(1.0, self.radius / np.maximum(length, 1e-300))
        else:
            offset = project_onto_l1_ball(offset, self.radius)
        moved = points.copy()
        moved[:, self.coordinates] = near + offset
        return moved

    def widened(self) -> "LqBall":
        """The ball with the radius that a float32 evaluation of the norm may mistake for it.

        `fl(Σ|x_i - c_i|)` of `k` float32 terms, in any order, is at least `1 - gamma(k + 2)` times
        the sum for the centre rounded to float32, which is off by `u ‖c‖_q`; the bound itself is
        rounded once more. Squares and the root of q = 2 cost no more than two further roundings,
        and an underflow of `2**-149` in each square. A runtime that expands the squares
        before it adds them is not covered.
        """
        k = len(self.center)
        near, error = self.center_floats()
        magnitude = np.abs(near) + error
        size = float(magnitude.sum()) if self.q == 1 else float(norm_up(magnitude))
        radius = self.radius * (1.0 + 2.0 * gamma(k + 4, UNIT32)) + size * UNIT32
        radius = radius * SAFETY + k * 2.0**-74
        if not np.isfinite(radius):
            return self
        return LqBall(self.q, self.size, self.coordinates, self.center, Fraction(radius) ** self.q)
