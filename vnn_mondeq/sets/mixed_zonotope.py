"""Mixed zonotopes: sums of a zonotope and a box, with sound floating-point operations.

    Z = { center + generators ξ + diag(radius) η  :  |ξ| <= 1, |η| <= 1 }

(CRAFT, equation 8; `ZonotopeMD` in LazySets.jl.) Letters: `n` dimensions, `k` generators, `G` the
generators, `r` the radius.

**Rigor.** The three arrays are read as exact real numbers. Every operation returns a set that
contains the exact image: rounding errors are bounded (`vnn_mondeq.rounding`) and added to the
radius. For a product `A G` the row sums of `|fl(A G) - A G|` are at most `γ_n |A| (|G| 1)`, one
product of a matrix with a vector, so rigor costs next to nothing.

**Shared symbols.** The first `shared` generators belong to the noise symbols of the input set:
two sets over the same input set may be added column by column there, and nowhere else.
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, gamma, round_down, round_up

KEEP_AS_BOX = 1e-10
"""Entries of the radius up to this much of the largest magnitude stay a box in affine maps.
They are rounding errors; making columns of them would double the work for nothing."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class MixedZonotope:
    """`center (n,)`, `generators (n, k)`, `radius (n,) >= 0`, `shared <= k`.

    **Raises** `ValueError` for shapes that do not fit.
    """

    center: np.ndarray
    generators: np.ndarray
    radius: np.ndarray
    shared: int = 0
    known_spread: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        n = self.center.shape[0]
        if self.generators.shape[:1] != (n,) or self.radius.shape != (n,):
            raise ValueError(
                f"a mixed zonotope in {n} dimensions cannot have generators of shape "
                f"{self.generators.shape} and a radius of shape {self.radius.shape}"
            )
        if not 0 <= self.shared <= self.generators.shape[1]:
            raise ValueError(f"{self.shared} shared symbols of {self.generators.shape[1]}")

    @property
    def spread(self) -> np.ndarray:
        """Upper bounds `(n,)` on `|G| 1 + r`; computed at the first use."""
        if self.known_spread is None:
            spread = (np.abs(self.generators).sum(axis=1) + self.radius) * SAFETY
            object.__setattr__(self, "known_spread", spread)
        return self.known_spread

    @classmethod
    def point(cls, center: np.ndarray) -> "MixedZonotope":
        """The set `{center}`."""
        n = center.shape[0]
        return cls(center, np.zeros((n, 0)), np.zeros(n))

    @classmethod
    def box(cls, lower: np.ndarray, upper: np.ndarray) -> "MixedZonotope":
        """A set that contains `[lower, upper]` (finite), and hardly more."""
        center = 0.5 * (lower + upper)
        reach = np.maximum(upper - center, center - lower)
        radius = reach * (1.0 + 4.0 * UNIT) + UNDERFLOW
        return cls(center, np.zeros((center.shape[0], 0)), np.where(lower == upper, 0.0, radius))

    @property
    def dimension(self) -> int:
        return self.center.shape[0]

    def magnitude(self) -> np.ndarray:
        """Upper bounds `(n,)` on `|x|` over the set."""
        return (np.abs(self.center) + self.spread) * SAFETY

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """A box `(lower, upper)` that contains the set; the smallest one up to rounding."""
        return round_down(self.center - self.spread), round_up(self.center + self.spread)

    def support(self, directions: np.ndarray) -> np.ndarray:
        """Upper bounds `(m,)` on `max directions @ x`, directions of shape `(m, n)`."""
        image = self.affine(directions, np.zeros(directions.shape[0]), keep_as_box=np.inf)
        return round_up(image.center + image.spread)

    def affine(
        self,
        matrix: np.ndarray,
        offset: np.ndarray,
        *,
        matrix_error: np.ndarray | None = None,
        plus: "MixedZonotope | None" = None,
        keep_as_box: float = KEEP_AS_BOX,
    ) -> "MixedZonotope":
        """Contains `{A x + offset + y}` for every `A` within `matrix_error` of `matrix (m, n)`,
        elementwise.

        - `plus`: the set of `y`, with shared generators only. `x` and `y` are taken at equal
          shared symbols; a set without shared generators gets those of `plus`.
        - `keep_as_box`: entries of the radius above this part of the largest magnitude become
          generators (CRAFT, section 5.1), the others stay a box: `|A| r`.
        """
        n, k = self.generators.shape
        added = self._alignment(plus)
        size = self.magnitude()
        scale = keep_as_box * float(size.max(initial=0.0)) if np.isfinite(keep_as_box) else np.inf
        cast = np.flatnonzero(self.radius > scale)
        boxed = self.radius.copy()
        boxed[cast] = 0.0
        absolute = np.abs(matrix)
        generators = np.empty((matrix.shape[0], added + k + cast.size))
        np.matmul(matrix, self.generators, out=generators[:, added : added + k])
        np.multiply(matrix[:, cast], self.radius[cast], out=generators[:, added + k :])
        center = matrix @ self.center + offset
        radius = absolute @ (gamma(n + 4) * size + boxed) + gamma(4) * np.abs(offset)
        if matrix_error is not None:
            radius = radius + matrix_error @ size
        shared = self.shared
        if plus is not None:
            shared = plus.shared
            if added:
                generators[:, :shared] = plus.generators
            else:
                generators[:, :shared] += plus.generators
            center = center + plus.center
            radius = radius + plus.radius
            # A rounded sum is off by at most one unit of itself.
            rows = np.abs(generators).sum(axis=1)
            radius = radius + 2.0 * UNIT * (np.abs(center) + rows)
        radius = radius * SAFETY + UNDERFLOW
        spread = None if plus is None else (rows + radius) * SAFETY
        return MixedZonotope(center, generators, radius, shared, spread)

    def _alignment(self, plus: "MixedZonotope | None") -> int:
        """How many columns to put in front for `plus`; refuses sets that do not align."""
        if plus is None:
            return 0
        if plus.shared != plus.generators.shape[1]:
            raise ValueError("the second set of an aligned sum may have shared generators only")
        if self.shared not in (0, plus.shared):
            raise ValueError(f"{self.shared} and {plus.shared} shared symbols do not match")
        return plus.shared - self.shared

    def add_aligned(self, other: "MixedZonotope") -> "MixedZonotope":
        """Contains `{x + y}` for `x`, `y` at equal shared symbols and other symbols independent.

        `other` has shared generators only. A set without shared ones gets those of `other`.
        """
        added = self._alignment(other)
        generators = np.concatenate([np.zeros((self.dimension, added)), self.generators], axis=1)
        generators[:, : other.shared] += other.generators
        center = self.center + other.center
        error = 2.0 * UNIT * (np.abs(center) + np.abs(generators).sum(axis=1)) + UNDERFLOW
        radius = (self.radius + other.radius + error) * SAFETY
        return MixedZonotope(center, generators, radius, other.shared)

    def enlarged(self, extra: np.ndarray) -> "MixedZonotope":
        """The set with `extra (n,) >= 0` added to its radius."""
        radius = (self.radius + extra) * SAFETY
        spread = (self.spread + (radius - self.radius)) * SAFETY
        return MixedZonotope(self.center, self.generators, radius, self.shared, spread)

    def stack(self, other: "MixedZonotope") -> "MixedZonotope":
        """The pairs `(x, y)` of two sets over the same generators."""
        if self.generators.shape[1] != other.generators.shape[1] or self.shared != other.shared:
            raise ValueError("only sets over the same generators can be stacked")
        return MixedZonotope(
            np.concatenate([self.center, other.center]),
            np.concatenate([self.generators, other.generators]),
            np.concatenate([self.radius, other.radius]),
            self.shared,
            np.concatenate([self.spread, other.spread]),
        )

    def scale_shift(
        self, factor: np.ndarray, shift: np.ndarray, extra: np.ndarray
    ) -> "MixedZonotope":
        """Contains `{factor x + shift + extra η}`, elementwise, `extra >= 0`.

        This is how an activation acts: `factor` its slopes, `shift` and `extra` its strip. The
        own box part is scaled with the box.
        """
        center = factor * self.center + shift
        steepness = np.abs(factor)
        error = gamma(4) * (steepness * self.magnitude() + np.abs(shift)) + UNDERFLOW
        error = np.where((factor == 0.0) & (shift == 0.0), 0.0, error)
        error = np.where((factor == 1.0) & (shift == 0.0), 0.0, error)
        radius = (steepness * self.radius + extra + error) * SAFETY
        spread = (steepness * self.spread + (extra + error) * SAFETY) * SAFETY
        spread = np.maximum(spread, radius)
        generators = factor[:, None] * self.generators
        return MixedZonotope(center, generators, radius, self.shared, spread)
