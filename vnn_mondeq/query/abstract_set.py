"""What every set of inputs knows about itself.

A float64 box that contains it, an upper bound on its support function, and exact membership of
float points (through rationals).

Letters: `d` inputs (flattened), `n` directions, `N` points.
"""

from abc import ABC, abstractmethod

import numpy as np

from vnn_mondeq.query.support import box_support


class AbstractInputSet(ABC):
    """A set in `R^d`.

    `bounds` and `support` hold for its convex hull; engines that argue along paths rely on that.
    """

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

    def widened_within(self, lower: np.ndarray, upper: np.ndarray) -> "AbstractInputSet":
        """The same for points of a box only, where rounding errors depend on their size."""
        return self.widened()

    def misses(self, lower: np.ndarray, upper: np.ndarray) -> bool:
        """Whether no point of a box is in the set, as a float32 reader sees it too; `False` where
        that is not found out."""
        return False
