"""Newton's step of a `ShorDual` without a matrix of the size of its inputs.

The block of the inputs' multipliers is a diagonal plus elementwise products of matrices of rank `k`
(undecided neurons), so it multiplies a vector in `O(n k²)`. Conjugate gradients then solve the
Newton system. The preconditioner keeps, of the two parts of the Hessian,

- that of `τ γ` whole: diagonal plus rank `k` in the inputs, dense elsewhere;
- of that of `-log det`: the diagonal in the inputs, and the block of the other multipliers.

Both parts are positive semidefinite, so the preconditioner is; it is inverted by Woodbury's formula
and a Schur complement of size `q`. With the large `τ` of `ascent.py` three or four iterations
suffice. Letters as in `shor.py`; `L = D⁻¹Bᵀ`; the input block of the inverse quadratic part is
`D⁻¹ + L (V - J) Lᵀ`, its part from the neurons `L V Lᵀ`; *others* are the `q` multipliers
that are not `σ`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, final

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from vnn_mondeq.sdp.hessian import Grams
from vnn_mondeq.sdp.set_constraints import SetConstraints

if TYPE_CHECKING:
    from vnn_mondeq.sdp.shor import Evaluation, ShorDual

RELATIVE = 1e-2
"""Residual at which the conjugate gradients stop, in the preconditioner's norm."""

ITERATIONS = 150


def many_inputs_step(
    dual: "ShorDual", at: "Evaluation", tau: float
) -> tuple[np.ndarray, float] | None:
    """The Newton step `(n + q,)` in logarithms and its decrement, as of `ShorDual`; `None`
    where the preconditioner fails."""
    try:
        system = NewtonSystem.of(dual, at, tau)
        step = -_conjugate_gradients(system, _Preconditioner.of(system))
    except np.linalg.LinAlgError:
        return None
    decrease = -float(system.gradient @ step)
    return (step, float(np.sqrt(max(decrease, 0.0)))) if np.isfinite(decrease) else None


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Inputs:
    """The two parts of the Hessian in the inputs, as operators on `(n,)` or `(n, r)`.

    `L (n, k)`, `V`, `J (k, k)`; `coupled`, `inverse (n,)`: the diagonals of `L V Lᵀ` and `D⁻¹`.
    """

    L: np.ndarray
    V: np.ndarray
    J: np.ndarray
    coupled: np.ndarray
    inverse: np.ndarray

    def straight(self, vector: np.ndarray) -> np.ndarray:
        """Of `-log det`, `(n,) -> (n,)`."""
        gram = self.L.T @ (vector[:, None] * self.L)
        elementwise = np.einsum(
            "ij,ij->i", self.L @ (self.V @ gram @ (self.V - 2.0 * self.J)), self.L
        )
        return elementwise + 2.0 * self.coupled * self.inverse * vector

    def whole(self, vector: np.ndarray) -> np.ndarray:
        """The input block of the inverse quadratic part, `(n,) -> (n,)`."""
        return self.inverse * vector + self.L @ ((self.V - self.J) @ (self.L.T @ vector))

    def straight_diagonal(self) -> np.ndarray:
        whole = self.inverse - np.einsum("ij,ij->i", self.L @ self.J, self.L)
        return self.coupled * (self.coupled + 2.0 * whole)


@final
@dataclass(frozen=True, slots=True, eq=False)
class NewtonSystem:
    """Gradient and Hessian in logarithms; the parts of the Hessian before the scaling.

    - `inputs`: the block of `σ`; `x (n,)`; `tau`.
    - `curved`, `pulled (n, q)`: between `σ` and the others, of `-log det` and of `τ γ`.
    - `others (q, q)`; `scale`, `added`, `gradient (n + q,)`.
    """

    inputs: _Inputs
    x: np.ndarray
    tau: float
    curved: np.ndarray
    pulled: np.ndarray
    others: np.ndarray
    scale: np.ndarray
    added: np.ndarray
    gradient: np.ndarray

    @classmethod
    def of(cls, dual: "ShorDual", at: "Evaluation", tau: float) -> Self:
        x, block = at.x, at.inputs
        grams = Grams.of(dual, at)
        V = block.inside @ grams.core @ block.inside.T
        coupled = np.einsum("ij,ij->i", block.L @ V, block.L)
        inputs = _Inputs(block.L, V, block.J, coupled, 1.0 / block.diagonal)
        blocks = dual.blocks(grams, at, tau)
        (curved, pulled), others = blocks.cross(), blocks.products()
        if dual.count:
            curved, pulled, others = _bordered(inputs, dual.beyond, x, tau, curved, pulled, others)
        gradient = dual.gradient(inputs.coupled + tau * x * x, grams, at, tau)
        scale, barrier = at.multipliers.flat(), dual.barrier()
        gradient = gradient * scale - barrier
        added = barrier + np.maximum(gradient, 0.0)
        return cls(inputs, x, tau, curved, x[:, None] * pulled, others, scale, added, gradient)

    def times(self, vector: np.ndarray) -> np.ndarray:
        """The Hessian times a vector `(n + q,)`."""
        n = self.x.size
        scaled = self.scale * vector
        on_inputs, on_others = scaled[:n], scaled[n:]
        inputs = self.inputs.straight(on_inputs)
        inputs += 2.0 * self.tau * self.x * self.inputs.whole(self.x * on_inputs)
        inputs += self.curved @ on_others + self.pulled @ on_others
        others = self.curved.T @ on_inputs + self.pulled.T @ on_inputs + self.others @ on_others
        return self.scale * np.concatenate([inputs, others]) + self.added * vector


def _bordered(
    inputs: _Inputs,
    beyond: SetConstraints,
    x: np.ndarray,
    tau: float,
    curved: np.ndarray,
    pulled: np.ndarray,
    others: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same with the columns of `δ`, whose forms are combinations of those of `σ`, except for
    the linear parts, which only `τ γ` sees. `pulled` comes and goes without the factor `x_j`."""
    tilt = beyond.curve * x - 0.5 * beyond.linear
    straight = np.array([inputs.straight(row) for row in beyond.curve]).T
    whole = 2.0 * tau * np.array([inputs.whole(row) for row in tilt]).T
    rows = beyond.curve @ curved + tilt @ pulled
    corner = beyond.curve @ straight + tilt @ whole
    others = np.block([[others, rows.T], [rows, corner]])
    return np.hstack([curved, straight]), np.hstack([pulled, whole]), others


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Preconditioner:
    """`diagonal (n,)`, `low (n, k)` in the inputs, `cross (n, q)`, and what inverts them."""

    diagonal: np.ndarray
    low: np.ndarray
    core: np.ndarray
    cross: np.ndarray
    solved: np.ndarray
    schur: tuple[np.ndarray, bool]

    @classmethod
    def of(cls, system: NewtonSystem) -> "_Preconditioner":
        """**Raises** `numpy.linalg.LinAlgError`."""
        n = system.x.size
        scale, tau, x = system.scale[:n], system.tau, system.x
        diagonal = (
            scale
            * scale
            * (2.0 * tau * x * x * system.inputs.inverse + system.inputs.straight_diagonal())
        )
        diagonal += system.added[:n]
        low = np.sqrt(2.0 * tau) * (scale * x)[:, None] * system.inputs.L
        middle = system.inputs.V - system.inputs.J
        inner = np.eye(middle.shape[0]) + middle @ (low.T @ (low / diagonal[:, None]))
        core = np.linalg.solve(inner, middle)
        cross = scale[:, None] * system.pulled * system.scale[n:]
        solved = _woodbury(diagonal, low, core, cross)
        others = system.scale[n:, None] * system.others * system.scale[n:]
        others[np.diag_indices_from(others)] += system.added[n:]
        schur = others - cross.T @ solved
        factor = cho_factor(0.5 * (schur + schur.T), lower=True, check_finite=False)
        return cls(diagonal, low, core, cross, solved, factor)

    def solve(self, vector: np.ndarray) -> np.ndarray:
        n = self.diagonal.size
        inputs = _woodbury(self.diagonal, self.low, self.core, vector[:n])
        others = cho_solve(self.schur, vector[n:] - self.cross.T @ inputs, check_finite=False)
        return np.concatenate([inputs - self.solved @ others, others])


def _woodbury(
    diagonal: np.ndarray, low: np.ndarray, core: np.ndarray, right: np.ndarray
) -> np.ndarray:
    across = diagonal if right.ndim == 1 else diagonal[:, None]
    first = right / across
    return first - (low @ (core @ (low.T @ first))) / across


def _conjugate_gradients(system: NewtonSystem, preconditioner: _Preconditioner) -> np.ndarray:
    """Near the solution of `Hessian · answer = gradient`."""
    answer, residual = np.zeros_like(system.gradient), system.gradient.copy()
    better = preconditioner.solve(residual)
    direction, size = better, float(residual @ better)
    goal = RELATIVE * RELATIVE * size
    for _ in range(ITERATIONS):
        image = system.times(direction)
        curvature = float(direction @ image)
        if not curvature > 0.0 or not size > goal:
            break
        length = size / curvature
        answer += length * direction
        residual -= length * image
        better = preconditioner.solve(residual)
        following = float(residual @ better)
        direction = better + (following / size) * direction
        size = following
    return answer
