"""The input block `Σ + BᵀNB` of the ellipsoid's quadratic form, and what is needed of its inverse.

`Σ` the diagonal of `sigma (n,)`, `N` that of `nu (k,)`, `B (k, n)`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.linalg import cho_solve


@dataclass(frozen=True, slots=True, eq=False)
class AbstractInputBlock(ABC):
    """- `pulled (n, k)`: the inverse times `Bᵀ`. `Q (k, k)`: `B` times that."""

    pulled: np.ndarray
    Q: np.ndarray

    @abstractmethod
    def solve(self, right: np.ndarray) -> np.ndarray:
        """The inverse times `right (n, r)`."""

    @abstractmethod
    def inverse(self) -> np.ndarray:
        """`(n, n)`."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class DenseInputBlock(AbstractInputBlock):
    """By a Cholesky factor `(n, n)`; accurate also where `sigma` is tiny beside `BᵀNB`."""

    factor: np.ndarray

    def solve(self, right: np.ndarray) -> np.ndarray:
        return solve_lower(self.factor, right)

    def inverse(self) -> np.ndarray:
        return solve_lower(self.factor, np.eye(self.factor.shape[0]))


@final
@dataclass(frozen=True, slots=True, eq=False)
class LowRankInputBlock(AbstractInputBlock):
    """By the Woodbury identity, `Σ⁻¹ - Σ⁻¹Bᵀ J BΣ⁻¹`, `J = N^½ (I + N^½ B Σ⁻¹ Bᵀ N^½)⁻¹ N^½`.

    - `sigma (n,)`, `scaled (k, n)`: `BΣ⁻¹`, `J (k, k)`.
    """

    sigma: np.ndarray
    scaled: np.ndarray
    J: np.ndarray

    def solve(self, right: np.ndarray) -> np.ndarray:
        return right / self.sigma[:, None] - self.scaled.T @ (self.J @ (self.scaled @ right))

    def inverse(self) -> np.ndarray:
        full = -(self.scaled.T @ self.J) @ self.scaled
        full[np.diag_indices_from(full)] += 1.0 / self.sigma
        return full


def input_block(sigma: np.ndarray, nu: np.ndarray, B: np.ndarray) -> AbstractInputBlock:
    """**Raises** `numpy.linalg.LinAlgError` where the block is not positive definite."""
    k, n = B.shape
    if n <= 2 * k:
        block = B.T @ (nu[:, None] * B)
        block[np.diag_indices(n)] += sigma
        factor = np.linalg.cholesky(block)
        pulled = solve_lower(factor, B.T)
        Q = B @ pulled
        return DenseInputBlock(pulled, 0.5 * (Q + Q.T), factor)
    scaled = B / sigma
    K = scaled @ B.T
    root = np.sqrt(nu)
    inner = np.linalg.cholesky(np.eye(k) + root[:, None] * K * root)
    J = root[:, None] * solve_lower(inner, np.diag(root))
    inside = np.eye(k) - J @ K
    Q = K @ inside
    return LowRankInputBlock(scaled.T @ inside, 0.5 * (Q + Q.T), sigma, scaled, J)


def solve_lower(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve with a lower Cholesky factor; empty systems have empty solutions."""
    if factor.shape[0] == 0:
        return np.zeros(right.shape)
    return cho_solve((factor, True), right, check_finite=False)
