"""Batched fixpoint solver with a rigorous error bound.

Letters: `p` neurons, `d` inputs, `N` samples; `M = I - W`, `q = Ux + b`, `m` modulus of strong
monotonicity of `M`, `L` its spectral norm.

**The error bound.** Let `z` be *any* point of `R^p`, `y = ReLU(Wz + q)` and `r = z - y`. Write
`s = Mz - q`, so that `y` is the projection of `z - s` onto the cone `z >= 0`, and let `z*` be the
fixpoint, `s* = Mz* - q`.

- Projection:               `<(z - s) - y, z* - y> <= 0`,  that is  `<r - s, z* - y> <= 0`.
- Complementarity of `z*`:  `<s*, y - z*> >= 0`  because `y >= 0`.

With `e = z - z*` the sum of both is `<M e - r, e - r> <= 0`, hence

    m ‖e‖² <= <M e, e> <= <M e, r> + <r, e> - ‖r‖² <= (1 + L) ‖e‖ ‖r‖,

    ‖z - z*‖₂ <= (1 + L)/m · ‖r‖₂                      (Pang, Math. Oper. Res. 12, 1987).

What is computed is `r` up to rounding, so the bound uses `‖r‖ + ‖E‖`, `E` an elementwise bound
on the error of `Wz + q` as evaluated (ReLU is 1-Lipschitz and exact) and on the distance between
the stored and the exact coefficients (`AffineMap.radius`).
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, gamma, norm_up
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.splitting import BlockSplitting, iterate_forward, split_blocks

_CHUNK = 16
"""Steps between two looks at the clock and at the residual."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class FixpointSolution:
    """Approximate fixpoints of a batch.

    - `value`: `(N, p)`, non-negative.
    - `residual`: `(N,)`, `‖z - ReLU(Wz + Ux + b)‖₂` as evaluated (not rigorous).
    - `error_bound`: `(N,)`, rigorous upper bounds on `‖value - z*‖₂`; never less than rounding
      allows, however small the residual.
    """

    value: np.ndarray
    residual: np.ndarray
    error_bound: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class FixpointSolver:
    """Solves `z = ReLU(Wz + Ux + b)` for batches of `x`; factorises the system once.

    - `tolerance`: the splitting stops at this residual relative to `1 + ‖z‖₂`.
    - `max_steps`: its limit of steps.
    - `polish_steps`: limit of pivoting steps (one linear solve of the sign pattern each) for the
      samples that are still above `tolerance`. They make badly conditioned systems accurate.

    Not guaranteed: that `tolerance` is reached. Read `error_bound`.
    """

    system: ImplicitSystem
    tolerance: float = 1e-13
    max_steps: int = 400
    polish_steps: int = 100
    splittings: tuple[BlockSplitting, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "splittings", split_blocks(self.system))

    def constants(self, x: np.ndarray) -> np.ndarray:
        """`q = Ux + b`, shape `(N, p)`."""
        return x @ self.system.U.T + self.system.b

    def solve(
        self, x: np.ndarray, z0: np.ndarray | None = None, deadline: Deadline | None = None
    ) -> FixpointSolution:
        """The fixpoints for inputs `x (N, d)`, started at `z0 (N, p)` or zero.

        **Raises** `DeadlineExceeded` when the deadline passes first, `ValueError` for wrong
        shapes or inputs that are not finite.
        """
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.system.input_size:
            raise ValueError(f"inputs have shape (N, {self.system.input_size}), not {x.shape}")
        if not np.all(np.isfinite(x)):
            raise ValueError("inputs must be finite numbers")
        deadline = Deadline.never() if deadline is None else deadline
        constants = self.constants(x)
        start = np.zeros_like(constants) if z0 is None else np.array(z0, dtype=np.float64)
        z = self._polish(constants, self._split(constants, start, deadline), deadline)
        residual, bound = bound_error(self.system, z, x)
        return FixpointSolution(z, residual, bound)

    def _split(self, constants: np.ndarray, w: np.ndarray, deadline: Deadline) -> np.ndarray:
        previous = np.inf
        for _ in range(0, self.max_steps, _CHUNK):
            deadline.check()
            w = iterate_forward(self.splittings, w, constants, _CHUNK)
            z = np.maximum(w, 0.0)
            worst = float((self._residual(constants, z) / self._scale(z)).max(initial=0.0))
            # A residual that has stopped falling has met rounding.
            if worst <= self.tolerance or (worst >= 0.5 * previous and worst < 1e-10):
                break
            previous = worst
        return np.maximum(w, 0.0)

    def _residual(self, constants: np.ndarray, z: np.ndarray) -> np.ndarray:
        image = np.maximum(z @ self.system.W.T + constants, 0.0)
        return np.linalg.norm(z - image, axis=1)

    @staticmethod
    def _scale(z: np.ndarray) -> np.ndarray:
        return 1.0 + np.linalg.norm(z, axis=1)

    def _polish(self, constants: np.ndarray, z: np.ndarray, deadline: Deadline) -> np.ndarray:
        """Pivots the samples that are not accurate yet; keeps the better point of each."""
        residual = self._residual(constants, z)
        for sample in np.flatnonzero(residual > self.tolerance * self._scale(z)):
            deadline.check()
            one = constants[sample : sample + 1]
            found = _pivot(self.system.W, one[0], z[sample], self.polish_steps)[None]
            if self._residual(one, found)[0] < residual[sample]:
                z[sample] = found[0]
        return z


def _pivot(W: np.ndarray, q: np.ndarray, start: np.ndarray, max_steps: int) -> np.ndarray:
    """Block principal pivoting for `z >= 0, s = (I - W) z - q >= 0, z s = 0` from a guess.

    Exchanges all neurons with a wrong sign; after ten exchanges without fewer of them, only the
    last one (Murty's rule) until there are fewer (Judice & Pires 1994, finite for P-matrices).
    """
    active = W @ start + q > 0.0
    fewest, patience = q.size + 1, 10
    point = start
    for _ in range(max_steps):
        chosen = np.flatnonzero(active)
        inner = np.eye(chosen.size) - W[np.ix_(chosen, chosen)]
        point = np.zeros(q.size)
        point[chosen] = np.linalg.solve(inner, q[chosen])
        preactivation = W @ point + q
        wrong = np.flatnonzero(np.where(active, point < 0.0, preactivation > 0.0))
        if wrong.size == 0:
            break
        if wrong.size < fewest:
            fewest, patience = wrong.size, 10
        else:
            patience -= 1
        exchanged = wrong if patience > 0 else wrong[-1:]
        active[exchanged] = ~active[exchanged]
    return np.maximum(point, 0.0)


def bound_error(
    system: ImplicitSystem, z: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Residuals `(N,)` of points `z (N, p)` at `x (N, d)` and rigorous bounds `(N,)` on their
    2-norm distance to the exact fixpoint of the exact system (see the module's derivation)."""
    c = system.preactivation.coefficients
    values = z @ c.on_z.T + x @ c.on_x.T + c.offset
    difference = z - np.maximum(values, 0.0)
    magnitude = np.abs(z) @ np.abs(c.on_z).T + np.abs(x) @ np.abs(c.on_x).T + np.abs(c.offset)
    # Two inner products and three additions; SAFETY covers the rounding of the magnitudes.
    error = gamma(c.on_z.shape[1] + c.on_x.shape[1] + 8) * magnitude * SAFETY
    radius = system.preactivation.radius
    if radius is not None:
        spread = np.abs(z) @ radius.on_z.T + np.abs(x) @ radius.on_x.T + radius.offset
        error = error + spread * SAFETY
    total = (np.abs(difference) * (1.0 + 2.0 * UNIT) + error) * SAFETY + UNDERFLOW
    norm = norm_up(total, axis=1)
    factor = (1.0 + system.proof.norm) / system.proof.modulus * SAFETY
    bound = (norm * factor) * SAFETY + UNDERFLOW
    return np.linalg.norm(difference, axis=1), bound
