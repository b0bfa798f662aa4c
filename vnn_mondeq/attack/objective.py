"""What the attack minimises: for each case, its worst (largest) row.

Letters: `n` rows, `k` most rows of a case, `N` points, each with one case.
"""

from dataclasses import dataclass
from typing import Self, final

import numpy as np

from vnn_mondeq.problem import Rows


@final
@dataclass(frozen=True, slots=True, eq=False)
class Objective:
    """The rows of an obligation, arranged by case.

    - `on_z (n, p)`, `on_x (n, d)` or none where all zero, `offset (n,)`, `error (n,)`.
    - `members`: `(C, k)` row positions of each case, its last row repeated as filling.
    - `filled`: `(C, k)`, false where a position is filling.
    """

    on_z: np.ndarray
    on_x: np.ndarray | None
    offset: np.ndarray
    error: np.ndarray
    members: np.ndarray
    filled: np.ndarray

    @classmethod
    def of(cls, rows: Rows, cases: tuple[tuple[int, ...], ...]) -> Self:
        """**Raises** `ValueError` for a case without rows (any point violates it)."""
        if not all(cases):
            raise ValueError("a case without rows has nothing to minimise")
        longest = max(map(len, cases), default=0)
        members = np.array([c + (c[-1],) * (longest - len(c)) for c in cases], dtype=np.intp)
        filled = np.array([[i < len(c) for i in range(longest)] for c in cases], dtype=bool)
        coefficients = rows.coefficients
        on_x = coefficients.on_x if np.any(coefficients.on_x) else None
        return cls(coefficients.on_z, on_x, coefficients.offset, rows.error, members, filled)

    @property
    def cases(self) -> int:
        return self.members.shape[0]

    def values(self, z: np.ndarray, x: np.ndarray, cases: np.ndarray) -> np.ndarray:
        """Row values `(N, k)` of each point's own case; filling repeats a value."""
        if self.members.shape[1] == 1:
            chosen = self.members[cases, 0]
            value = np.einsum("np,np->n", self.on_z[chosen], z) + self.offset[chosen]
            if self.on_x is not None:
                value += np.einsum("nd,nd->n", self.on_x[chosen], x)
            return value[:, None]
        value = z @ self.on_z.T + self.offset
        if self.on_x is not None:
            value += x @ self.on_x.T
        return np.take_along_axis(value, self.members[cases], axis=1)

    def costs(self, values: np.ndarray, cases: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Descent costs `(N, p)` on `z` and `(N, d)` on `x`: rows weighted by how bad they are.

        A softened maximum: with the worst row alone a descent hops between two rows.
        """
        positions = self.members[cases]
        if positions.shape[1] == 1:
            chosen = positions[:, 0]
            return self.on_z[chosen], None if self.on_x is None else self.on_x[chosen]
        worst = values.max(axis=1, keepdims=True)
        spread = np.maximum(0.1 * (worst - values.min(axis=1, keepdims=True)), 1e-12)
        weights = np.exp((values - worst) / spread) * self.filled[cases]
        weights /= weights.sum(axis=1, keepdims=True)
        spread_out = np.zeros((values.shape[0], self.offset.shape[0]))
        np.add.at(spread_out, (np.arange(values.shape[0])[:, None], positions), weights)
        on_x = None if self.on_x is None else spread_out @ self.on_x
        return spread_out @ self.on_z, on_x

    def slack(self, cases: np.ndarray) -> np.ndarray:
        """The row errors `(N, k)` of each point's case."""
        return self.error[self.members[cases]]

    def row_norms(self, cases: np.ndarray) -> np.ndarray:
        """`‖on_z‖₂` of the rows, `(N, k)`: how a distance in `z` moves a value."""
        return np.linalg.norm(self.on_z, axis=1)[self.members[cases]]
