"""Sets of inputs: boxes, Lq balls, half-spaces, and their intersections.

Every set here is convex, and knows three things about itself: a float64 box that contains it, an
upper bound on its support function, and exact membership of float points (through rationals).

Letters: `d` inputs (flattened), `n` directions, `N` points.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Self, final

import numpy as np

from vnn_mondeq.query.support import (
    box_support,
    euclidean_share,
    half_space_price,
    nan_to_infinity,
    project_onto_l1_ball,
    split_support,
    taxicab_share,
)
from vnn_mondeq.rounding import (
    SAFETY,
    UNDERFLOW,
    UNIT32,
    float32_hull,
    fraction_down,
    fraction_hull,
    fraction_up,
    gamma,
    norm_up,
)


class AbstractInputSet(ABC):
    """A convex set in `R^d`."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """`d`."""

    @abstractmethod
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Float64 `(lower (d,), upper (d,))` of a box that contains the set; may be infinite."""

    @abstractmethod
    def support(self, directions: np.ndarray) -> np.ndarray:
        """Upper bounds, rounding included, on `max_{x in set} directions @ x`: `(n, d) -> (n,)`.

        Not necessarily tight for intersections. Infinite where the set is unbounded.
        """

    def support_within(
        self, directions: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> np.ndarray:
        """The same `(n,)` for the part of the set inside a box; near the best possible."""
        return np.minimum(self.support(directions), box_support(directions, lower, upper))

    @abstractmethod
    def contains(self, point: np.ndarray) -> bool:
        """Exact membership of a float point `(d,)`, read as rationals."""

    @abstractmethod
    def project(self, points: np.ndarray) -> np.ndarray:
        """Points `(N, d)` moved into (or near) the set; a heuristic for attacks, nothing more."""

    @abstractmethod
    def widened(self) -> "AbstractInputSet":
        """The set enlarged to what a float32 reader may take for it, as a proof needs it."""


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
          bound itself out there, so that `contains` stays exact for floats.
        """
        below = [_UNBOUNDED_BELOW if v is None else fraction_hull(v) for v in lower]
        above = [_UNBOUNDED_ABOVE if v is None else fraction_hull(v) for v in upper]
        inner_lower = np.array([up for _, up in below], dtype=np.float64)
        inner_upper = np.array([down for down, _ in above], dtype=np.float64)
        _step_inside(inner_lower, lower, open_lower, np.inf)
        _step_inside(inner_upper, upper, open_upper, -np.inf)
        return cls(
            np.array([down for down, _ in below], dtype=np.float64),
            np.array([up for _, up in above], dtype=np.float64),
            inner_lower,
            inner_upper,
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

    def widened(self) -> "HalfSpace":
        return self


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

    def widened(self) -> "Intersection":
        return Intersection(tuple(part.widened() for part in self.parts))
