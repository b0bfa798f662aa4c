"""Affine maps of `(z, x)`, with what is known about the rounding of their coefficients.

Letters: `z` neurons (`p` of them), `x` flattened input (`d`), `n` rows of a map.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.rounding import SAFETY


@final
@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """A triple `(on_z (n, p), on_x (n, d), offset (n,))` of float64 arrays."""

    on_z: np.ndarray
    on_x: np.ndarray
    offset: np.ndarray

    def __post_init__(self) -> None:
        rows = self.offset.shape[0]
        if self.on_z.shape[:1] != (rows,) or self.on_x.shape[:1] != (rows,):
            raise ValueError(
                f"coefficients disagree in rows: {self.on_z.shape}, {self.on_x.shape}, "
                f"{self.offset.shape}"
            )

    def take(self, rows: np.ndarray) -> "Coefficients":
        """The chosen rows."""
        return Coefficients(self.on_z[rows], self.on_x[rows], self.offset[rows])

    def combine(self, weights: np.ndarray) -> "Coefficients":
        """The rows `weights @ self`, weights of shape `(k, n)`."""
        return Coefficients(weights @ self.on_z, weights @ self.on_x, weights @ self.offset)

    def magnitude(self, z_abs: np.ndarray, x_abs: np.ndarray) -> np.ndarray:
        """`on_z @ z_abs + on_x @ x_abs + offset` for non-negative coefficients, rounded up."""
        return (self.on_z @ z_abs + self.on_x @ x_abs + self.offset) * SAFETY


@final
@dataclass(frozen=True, slots=True, eq=False)
class AffineMap:
    """The map `(z, x) -> on_z z + on_x x + offset`.

    - `coefficients`: the stored float64 coefficients.
    - `radius`: elementwise bounds on how far the stored coefficients are from the exact ones
      that the model file defines; `None` when they are exact.
    - `runtime`: non-negative weights `w` such that a runtime that evaluates the model's graph
      with unit roundoff `u` (and exact `z`) errs by at most `u * (w.on_z |z| + w.on_x |x| +
      w.offset)` to first order, with every higher-order term covered by the importer's constants;
      `None` when no runtime is meant (`real` arithmetic).
    """

    coefficients: Coefficients
    radius: Coefficients | None = None
    runtime: Coefficients | None = None

    @property
    def rows(self) -> int:
        return self.coefficients.offset.shape[0]

    def __call__(self, z: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Values for batches `z (N, p)`, `x (N, d)`; plain float64, not rigorous."""
        c = self.coefficients
        return z @ c.on_z.T + x @ c.on_x.T + c.offset
