"""The inputs' block `X = D + Bᵀ N B` of the quadratic form of `shor.py`, factorised.

`D (n, n)`, `B (r, n)`, `N (r, r)` symmetric. What the form needs
of it is `Q = B X⁻¹ Bᵀ (r, r)` and products with `X⁻¹` and `X⁻¹Bᵀ`. Two ways to the same: where
inputs are few, `X` itself; where they are many, matrices of size `r` by Woodbury's formula.

Multipliers of inputs that hardly matter are tiny, so `D⁻¹` is huge; neither way ever forms `Q` as a
difference of huge matrices, which cost seven digits once.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self, final

import numpy as np
from scipy.linalg import cho_solve, solve_triangular


class AbstractInputBlock(ABC):
    """`X`, factorised."""

    __slots__ = ()

    @property
    @abstractmethod
    def Q(self) -> np.ndarray:
        """`B X⁻¹ Bᵀ (r, r)`."""

    @abstractmethod
    def solve(self, right: np.ndarray) -> np.ndarray:
        """`X⁻¹ right (n,)`."""

    @abstractmethod
    def pull(self, right: np.ndarray) -> np.ndarray:
        """`B X⁻¹ right (r,)`."""

    @abstractmethod
    def push(self, force: np.ndarray) -> np.ndarray:
        """`X⁻¹ Bᵀ force (n,)`."""

    @abstractmethod
    def own(self) -> np.ndarray:
        """`X⁻¹ Bᵀ (n, r)`."""

    @abstractmethod
    def inverse(self) -> np.ndarray:
        """`X⁻¹ (n, n)`."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class FewInputs(AbstractInputBlock):
    """`factor (n, n)`: lower Cholesky factor of `X`; `half (n, r)`: its inverse times `Bᵀ`."""

    factor: np.ndarray
    half: np.ndarray

    @classmethod
    def of(cls, D: np.ndarray, B: np.ndarray, N: np.ndarray) -> Self:
        """**Raises** `numpy.linalg.LinAlgError` where `X` is not positive definite."""
        factor = np.linalg.cholesky(D + B.T @ N @ B)
        return cls(factor, solve_triangular(factor, B.T, lower=True, check_finite=False))

    @property
    def Q(self) -> np.ndarray:
        return self.half.T @ self.half

    def solve(self, right: np.ndarray) -> np.ndarray:
        return cho_solve((self.factor, True), right, check_finite=False)

    def pull(self, right: np.ndarray) -> np.ndarray:
        return self.half.T @ solve_triangular(self.factor, right, lower=True, check_finite=False)

    def push(self, force: np.ndarray) -> np.ndarray:
        return self._back(self.half @ force)

    def own(self) -> np.ndarray:
        return self._back(self.half)

    def inverse(self) -> np.ndarray:
        return self.solve(np.eye(self.factor.shape[0]))

    def _back(self, right: np.ndarray) -> np.ndarray:
        return solve_triangular(self.factor, right, lower=True, trans=1, check_finite=False)


@final
@dataclass(frozen=True, slots=True, eq=False)
class ManyInputs(AbstractInputBlock):
    """`D = diag(diagonal)`. `L = D⁻¹Bᵀ (n, r)`, `K = B D⁻¹ Bᵀ`, `Q = (K⁻¹ + N)⁻¹`,
    `inside = I - N Q`, `J = N - N Q N`, so `X⁻¹Bᵀ = L inside` and `X⁻¹ = D⁻¹ - L J Lᵀ`."""

    diagonal: np.ndarray
    L: np.ndarray
    outer: np.ndarray
    inside: np.ndarray
    J: np.ndarray

    @classmethod
    def of(cls, diagonal: np.ndarray, B: np.ndarray, N: np.ndarray) -> Self:
        """**Raises** `numpy.linalg.LinAlgError` where `X` is not positive definite."""
        if not np.all(diagonal > 0.0):
            raise np.linalg.LinAlgError
        L = B.T / diagonal[:, None]
        root = _root(B @ L)
        inner = np.linalg.cholesky(np.eye(N.shape[0]) + root.T @ N @ root)
        half = solve_triangular(inner, root.T, lower=True, check_finite=False)
        Q = half.T @ half
        inside = np.eye(N.shape[0]) - N @ Q
        return cls(diagonal, L, Q, inside, inside @ N)

    @property
    def Q(self) -> np.ndarray:
        return self.outer

    def solve(self, right: np.ndarray) -> np.ndarray:
        return right / self.diagonal - self.L @ (self.J @ (right @ self.L))

    def pull(self, right: np.ndarray) -> np.ndarray:
        return (right @ self.L) @ self.inside

    def push(self, force: np.ndarray) -> np.ndarray:
        return self.L @ (self.inside @ force)

    def own(self) -> np.ndarray:
        return self.L @ self.inside

    def inverse(self) -> np.ndarray:
        whole = -(self.L @ self.J) @ self.L.T
        whole[np.diag_indices(self.diagonal.size)] += 1.0 / self.diagonal
        return whole


def _root(K: np.ndarray) -> np.ndarray:
    """`R` with `R Rᵀ = K`, which is positive semidefinite up to rounding."""
    try:
        return np.linalg.cholesky(K)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(K)
        return vectors * np.sqrt(np.maximum(values, 0.0))
