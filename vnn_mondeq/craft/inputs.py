"""Input sets as noise symbols: a parallelotope that contains the set, and its affine images.

The symbols are shared by every step of an abstract iteration, so that errors caused by the same
pixel cancel. Letters: `d` inputs, `k` symbols, `N (n, d)` any map of the input.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet, Box
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, gamma
from vnn_mondeq.sets.mixed_zonotope import MixedZonotope

_RELATIVE_RANK = 1e-11
"""Singular values below this much of the largest do not get a symbol of their own."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class InputSymbols:
    """The input set lies in `{center + D ξ + e : |ξ| <= 1}`.

    - `center`: `(d,)`.
    - `reach`: `(d,)`, upper bounds on `|x - center|`.
    - `row_space`: `None` for a box: `D` is then the non-zero columns of `diag(reach)`, and
      `e = 0`. Otherwise a matrix `V (d, k)`, about orthonormal, and `e = (I - VVᵀ)(x - center)`.
    - `directions`: `D (d, k)`, `V` times half-widths; `None` for a box.
    """

    center: np.ndarray
    reach: np.ndarray
    row_space: np.ndarray | None = None
    directions: np.ndarray | None = None

    def project(self, matrix: np.ndarray) -> np.ndarray:
        """`N D`, plain float64."""
        if self.directions is not None:
            return matrix @ self.directions
        active = np.flatnonzero(self.reach > 0.0)
        return matrix[:, active] * self.reach[active]

    def image(
        self, matrix: np.ndarray, offset: np.ndarray, matrix_error: np.ndarray | None = None
    ) -> MixedZonotope:
        """Contains `{N x + offset}` for every `N` within `matrix_error` of `matrix (n, d)`.

        All generators are shared ones.
        """
        d = self.center.shape[0]
        absolute = np.abs(matrix)
        size = (np.abs(self.center) + self.reach) * SAFETY
        error = gamma(d + 6) * (absolute @ size + np.abs(offset))
        if matrix_error is not None:
            error = error + matrix_error @ size
        generators = self.project(matrix)
        if self.row_space is not None:
            error = error + gamma(d + 4) * (absolute @ np.abs(self.directions)).sum(axis=1)
            error = error + self._remainder(matrix)
        radius = error * SAFETY + UNDERFLOW
        return MixedZonotope(matrix @ self.center + offset, generators, radius, generators.shape[1])

    def _remainder(self, matrix: np.ndarray) -> np.ndarray:
        """Bounds on `|N (I - VVᵀ) (x - center)|`, each row by its absolute values."""
        V = self.row_space
        d, k = V.shape
        coordinates = matrix @ V
        left = matrix - coordinates @ V.T
        absolute = np.abs(matrix)
        # Errors of both products; |N| |V| |Vᵀ| bounds all intermediate magnitudes.
        through = (absolute @ np.abs(V)) @ (np.abs(V.T) @ self.reach)
        rounding = gamma(d + k + 6) * (through + absolute @ self.reach)
        return (np.abs(left) @ self.reach + rounding) * SAFETY


def enclose_box(lower: np.ndarray, upper: np.ndarray) -> InputSymbols:
    """The box `[lower, upper]`, one symbol for each coordinate that varies."""
    center = 0.5 * (lower + upper)
    reach = np.maximum(upper - center, center - lower) * (1.0 + 4.0 * UNIT) + UNDERFLOW
    reach = np.where(lower == upper, 0.0, reach)
    return InputSymbols(center, reach)


def enclose(inputs: AbstractInputSet, maps: np.ndarray) -> InputSymbols | None:
    """Symbols for any bounded input set; `None` where it is unbounded.

    `maps (n, d)`: the rows in which the inputs matter. A box gets its own symbols. Any other set
    gets the tighter, measured by the widths of `maps`, of its bounding box and of the
    parallelotope spanned by the principal directions of the rows of `maps`.
    """
    lower, upper = inputs.bounds()
    if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
        return None
    box = enclose_box(lower, upper)
    if isinstance(inputs, Box) or maps.shape[0] == 0 or not np.any(box.reach):
        return box
    _, values, rows = np.linalg.svd(maps, full_matrices=False)
    V = np.ascontiguousarray(rows[values > _RELATIVE_RANK * values[0]].T)
    high = inputs.support(np.ascontiguousarray(V.T))
    low = inputs.support(np.ascontiguousarray(-V.T))
    shift = V.T @ box.center
    slack = gamma(V.shape[0] + 4) * (np.abs(V.T) @ (np.abs(box.center) + box.reach)) + UNDERFLOW
    # Vᵀ(x - center) lies in [-low - shift, high - shift]; recentring moves x0 along V.
    middle = 0.5 * ((high - shift) - (low + shift))
    center = box.center + V @ middle
    moved = V.T @ center
    half = (
        np.maximum(high - moved, low + moved)
        + 2.0 * slack
        + 2.0 * gamma(V.shape[0] + 4) * (np.abs(V.T) @ np.abs(center))
    )
    half = np.maximum(half, 0.0) * SAFETY + UNDERFLOW
    reach = np.maximum(upper - center, center - lower) * (1.0 + 4.0 * UNIT) + UNDERFLOW
    tilted = InputSymbols(center, np.maximum(reach, 0.0), V, V * half)
    width_box = (np.abs(maps) @ box.reach).sum()
    width_tilted = np.abs(maps @ tilted.directions).sum()
    return tilted if width_tilted < width_box else box
