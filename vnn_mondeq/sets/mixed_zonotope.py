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

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, gamma

KEEP_AS_BOX = 1e-10
"""Entries of the radius up to this much of the largest magnitude stay a box in affine maps.
They are rounding errors; making columns of them would double the work for nothing."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class MixedZonotope:
    """`center (n,)`, `generators (n, k)`, `radius (n,) >= 0`, `shared <= k`.

    `spread` is an upper bound on `|G| 1 + r`; it is computed once, when it is not given.
    """

    center: np.ndarray
    generators: np.ndarray
    radius: np.ndarray
    shared: int = 0
    spread: np.ndarray = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        n = self.center.shape[0]
        if self.generators.shape[:1] != (n,) or self.radius.shape != (n,):
            raise ValueError(
                f"a mixed zonotope in {n} dimensions cannot have generators of shape "
                f"{self.generators.shape} and a radius of shape {self.radius.shape}"
            )
        if not 0 <= self.shared <= self.generators.shape[1]:
            raise ValueError(f"{self.shared} shared symbols of {self.generators.shape[1]}")
        if self.spread is None:
            spread = (np.abs(self.generators).sum(axis=1) + self.radius) * SAFETY
            object.__setattr__(self, "spread", spread)

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
        return (
            np.nextafter(self.center - self.spread, -np.inf),
            np.nextafter(self.center + self.spread, np.inf),
        )

    def support(self, directions: np.ndarray) -> np.ndarray:
        """Upper bounds `(m,)` on `max directions @ x`, directions of shape `(m, n)`."""
        image = self.affine(directions, np.zeros(directions.shape[0]), keep_as_box=np.inf)
        return np.nextafter(image.center + image.spread, np.inf)

    def affine(
        self,
        matrix: np.ndarray,
        offset: np.ndarray,
        *,
        matrix_error: np.ndarray | None = None,
        keep_as_box: float = KEEP_AS_BOX,
    ) -> "MixedZonotope":
        """Contains `{A x + offset}` for every `A` within `matrix_error` of `matrix`, elementwise.

        `matrix`: `(m, n)`. Entries of the radius above `keep_as_box` times the largest magnitude
        become generators (CRAFT, section 5.1), the others stay a box: `|A| r`.
        """
        n = self.dimension
        size = self.magnitude()
        scale = keep_as_box * float(size.max(initial=0.0)) if np.isfinite(keep_as_box) else np.inf
        cast = np.flatnonzero(self.radius > scale)
        boxed = self.radius.copy()
        boxed[cast] = 0.0
        absolute = np.abs(matrix)
        generators = np.empty((matrix.shape[0], self.generators.shape[1] + cast.size))
        np.matmul(matrix, self.generators, out=generators[:, : self.generators.shape[1]])
        np.multiply(
            matrix[:, cast], self.radius[cast], out=generators[:, self.generators.shape[1] :]
        )
        error = absolute @ (gamma(n + 4) * size + boxed)
        if matrix_error is not None:
            error = error + matrix_error @ size
        radius = (error + gamma(4) * np.abs(offset)) * SAFETY + UNDERFLOW
        return MixedZonotope(matrix @ self.center + offset, generators, radius, self.shared)

    def add_aligned(self, other: "MixedZonotope") -> "MixedZonotope":
        """Contains `{x + y}` for `x`, `y` at equal shared symbols and other symbols independent.

        `other` has shared generators only. A set without shared ones gets those of `other`.
        """
        if other.shared != other.generators.shape[1]:
            raise ValueError("the second set of an aligned sum may have shared generators only")
        own, theirs = self.generators, other.generators
        if self.shared == 0:
            generators = np.concatenate([theirs, own], axis=1)
        elif self.shared == other.shared:
            generators = own.copy()
            generators[:, : self.shared] += theirs
        else:
            raise ValueError(f"{self.shared} and {other.shared} shared symbols do not match")
        center = self.center + other.center
        error = gamma(3) * (self.magnitude() + other.magnitude())
        radius = (self.radius + other.radius + error) * SAFETY
        return MixedZonotope(center, generators, radius, other.shared)

    def enlarged(self, extra: np.ndarray) -> "MixedZonotope":
        """The set with `extra (n,) >= 0` added to its radius."""
        return MixedZonotope(
            self.center, self.generators, (self.radius + extra) * SAFETY, self.shared
        )

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
        return MixedZonotope(center, factor[:, None] * self.generators, radius, self.shared)
