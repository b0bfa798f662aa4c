"""How far one output row can move: a semidefinite bound, minimised over its multipliers.

Letters: `k` kept neurons, `n` moving inputs in units of their radii, `G` groups of inputs; row
`c·w + d·δx` (`lipschitz_increments.py`); `Λ` and `Ω` the diagonals of the multipliers `λ (k,)` and
of `σ (G,)` spread over the inputs. For all positive multipliers

    c·w + d·δx  <=  c·w + d·δx + Σ_g σ_g (1 - ‖δx_g‖²) + Σ_i λ_i w_i (δv_i - w_i)
                <=  Σσ + ¼ [c; d]ᵀ P⁻¹ [c; d]  =: γ,        P = [sym(ΛM), -½ΛU; ·, Ω] ≻ 0.

The inputs are eliminated: `H = sym(ΛM) - ¼ ΛUΩ⁻¹UᵀΛ` must be positive definite, and

    γ = Σσ + ¼ (dᵀΩ⁻¹d + hᵀH⁻¹h),        h = c + ½ ΛUΩ⁻¹d.

With one group this is the L2 bound (the LBEN condition of Revay, Wang and Manchester 2020, read as
an analysis), with a group for each input the L∞ bound. Feasibility does not depend on the row, so
the multipliers of one row may settle the next one too. Scaling all multipliers by `r` turns
`Σσ + q` into `r Σσ + q / r`, so the best scale is in closed form.

**The method.** `τ γ - log det H - weight · Σ log σ` is convex; Newton's method with `τ` growing
follows its minimisers. A full barrier (weight 1) has the parameter `k + G` and long steps fail;
without any (weight 0) the potential is not self-concordant in `σ` and Newton stalls beside the
path. A small weight has both: 20 to 30 steps (measured on FC87, 784 inputs).

Nothing here is rigorous: `lipschitz_check.py` proves a bound from the multipliers.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.sdp.lipschitz_increments import Increments

DENSE_LIMIT = 1200
"""With more groups than this, the Hessian's block of the inputs is bounded from above by a diagonal
plus a matrix of rank `k`. Each step then costs `O(G k²)` instead of `O(G³)`; there are two or three
times as many, and the bound ends within 1 % (measured on FC87)."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class RowMultipliers:
    """`sigma (G,)` for the groups of inputs, `sector (k,)` for the neurons; all positive."""

    sigma: np.ndarray
    sector: np.ndarray

    def scaled(self, factor: float) -> "RowMultipliers":
        return RowMultipliers(self.sigma * factor, self.sector * factor)


@final
@dataclass(frozen=True, slots=True)
class PathSettings:
    """How the path is followed.

    - `start`, `stop`: `τ γ` at the first and at the last stage; the relative gap at a stage is
      about `(k + weight G) / (τ γ)`.
    - `factor`: growth of `τ` between stages.
    - `weight`: of the logarithms of `σ`.
    - `near`: a Newton decrement below this ends a stage.
    - `steps`: Newton steps in all.
    """

    start: float = 1e3
    stop: float = 1e5
    factor: float = 4.0
    weight: float = 0.1
    near: float = 1.0
    steps: int = 150

    def __post_init__(self) -> None:
        if not (0.0 < self.start <= self.stop and self.factor > 1.0 and self.steps > 0):
            raise ValueError("PathSettings need 0 < start <= stop, factor > 1 and steps > 0")


@final
@dataclass(frozen=True, slots=True, eq=False)
class RowPath:
    """The best multipliers seen, and their `γ`."""

    multipliers: RowMultipliers
    bound: float
    steps: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Point:
    """`γ`, the potential, and the stationary point `(w, x)` of the quadratic."""

    multipliers: RowMultipliers
    bound: float
    potential: float
    w: np.ndarray
    x: np.ndarray
    K: np.ndarray
    factor: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class RowDual:
    """The dual function of one row. `M (k, k)`, `U (k, n)`, `c (k,)`, `d (n,)`, `groups (n,)`."""

    M: np.ndarray
    U: np.ndarray
    c: np.ndarray
    d: np.ndarray
    groups: np.ndarray
    count: int
    weight: float

    def evaluate(self, at: RowMultipliers, tau: float) -> _Point | None:
        """`None` where `H` is not positive definite."""
        omega, sector = at.sigma[self.groups], at.sector
        scaled = self.U / omega
        K = scaled @ self.U.T
        weighted = sector[:, None] * self.M
        H = 0.5 * (weighted + weighted.T) - 0.25 * sector[:, None] * K * sector
        try:
            factor = np.linalg.cholesky(H)
        except np.linalg.LinAlgError:
            return None
        h = self.c + 0.5 * sector * (scaled @ self.d)
        w = 0.5 * cho_solve((factor, True), h, check_finite=False)
        x = 0.5 * (self.d + self.U.T @ (sector * w)) / omega
        bound = float(at.sigma.sum()) + 0.5 * float(self.c @ w + self.d @ x)
        if not np.isfinite(bound):
            return None
        barrier = 2.0 * np.log(np.diag(factor)).sum() + self.weight * np.log(at.sigma).sum()
        return _Point(at, bound, tau * bound - float(barrier), w, x, K, factor)

    @property
    def coarse(self) -> bool:
        """Whether the block of the inputs is too large to be formed."""
        return self.count == self.groups.size and self.count > DENSE_LIMIT

    def _gather(self, matrix: np.ndarray) -> np.ndarray:
        """Sums over the groups along the first axis."""
        if self.count == self.groups.size:
            return matrix
        total = np.zeros((self.count, *matrix.shape[1:]))
        np.add.at(total, self.groups, matrix)
        return total

    def newton(self, at: _Point, tau: float) -> tuple[np.ndarray, float] | None:
        """Newton's step relative to the multipliers, `(G + k,)`, and its decrement."""
        sigma, sector = at.multipliers.sigma, at.multipliers.sector
        omega, k = sigma[self.groups], sector.size
        w, x, U = at.w, at.x, self.U
        root = solve_triangular(at.factor, np.eye(k), lower=True, check_finite=False)
        # Blocks of P⁻¹ in the directions of the constraints: Z = ww, Y = aw, T = aa, xw, xa.
        Z = root.T @ root
        through = self.M - 0.5 * at.K * sector
        Y = through @ Z
        T = through @ Y.T + at.K
        J = 0.5 * (U.T * sector) / omega[:, None]
        J_root = J @ root.T
        xw = J_root @ root
        xa = J @ Y.T - U.T / omega[:, None]
        a = self.M @ w - U @ x
        on_diagonal = np.einsum("ij,ij->i", J_root, J_root)
        outer = np.outer
        sectors = 0.5 * (Z * T + Y * Y.T) + 0.5 * tau * (
            outer(a, a) * Z + outer(a, w) * Y.T + outer(w, a) * Y + outer(w, w) * T
        )
        mixed = self._gather(xw * xa + tau * x[:, None] * (a * xw + w * xa))
        scale = np.concatenate([sigma, sector])
        gradient = scale * np.concatenate(
            [tau - self._gather(tau * x * x + on_diagonal), -tau * w * a - np.diag(Y)]
        )
        gradient[: self.count] -= self.weight
        sectors *= outer(sector, sector)
        mixed *= outer(sigma, sector)
        # The second term only keeps a multiplier that matters to nothing from moving.
        floor = self.weight + 1e-9 * tau * sigma
        try:
            if self.coarse:
                diagonal = (on_diagonal + tau * x * x) * 2.0 * sigma + floor
                # The elementwise square of J Z Jᵀ is replaced by its row sums, which are above it.
                diagonal += sigma * ((xw @ ((J.T * sigma) @ J)) * xw).sum(axis=1)
                low_rank = np.sqrt(2.0 * tau) * (sigma * x)[:, None] * J_root
                step = -_solve_bordered(diagonal, low_rank, mixed, sectors, gradient)
            else:
                low = J_root @ J_root.T
                inputs = low * (low + 2.0 * tau * outer(x, x))
                inputs[np.diag_indices(x.size)] += 2.0 * (on_diagonal + tau * x * x) / omega
                inputs = self._gather(self._gather(inputs).T) * outer(sigma, sigma)
                inputs[np.diag_indices(self.count)] += floor
                hessian = np.block([[inputs, mixed], [mixed.T, sectors]])
                factor = cho_factor(hessian, lower=True, overwrite_a=True, check_finite=False)
                step = -cho_solve(factor, gradient, check_finite=False)
        except np.linalg.LinAlgError:
            return None
        decrease = -float(gradient @ step)
        return (step, float(np.sqrt(max(decrease, 0.0)))) if np.isfinite(decrease) else None


def _solve_bordered(
    diagonal: np.ndarray,
    low_rank: np.ndarray,
    mixed: np.ndarray,
    corner: np.ndarray,
    right: np.ndarray,
) -> np.ndarray:
    """Solve `[diag + L Lᵀ, B; Bᵀ, C]`, positive definite, without forming its first block.

    `low_rank (n, k)`, `mixed (n, k)`, `corner (k, k)`. **Raises** `LinAlgError`.
    """
    n, k = mixed.shape
    scaled = low_rank / diagonal[:, None]
    inner = cho_factor(np.eye(k) + low_rank.T @ scaled, check_finite=False)

    def solve(block: np.ndarray) -> np.ndarray:
        direct = block / diagonal[:, None]
        return direct - scaled @ cho_solve(inner, low_rank.T @ direct, check_finite=False)

    first = solve(np.column_stack([mixed, right[:n]]))
    reduced = corner - mixed.T @ first[:, :k]
    factor = cho_factor(0.5 * (reduced + reduced.T), check_finite=False)
    second = cho_solve(factor, right[n:] - mixed.T @ first[:, k], check_finite=False)
    return np.concatenate([first[:, k] - first[:, :k] @ second, second])


def minimise_row(
    increments: Increments,
    row: int,
    groups: np.ndarray,
    count: int,
    settings: PathSettings,
    deadline: Deadline,
    *,
    target: float = -np.inf,
    start: RowMultipliers | None = None,
) -> RowPath | None:
    """The least `γ` found for row `row`; stops at the first one below `target`.

    - `increments`: in units of the radii (`Increments.on_inputs`).
    - `start`: multipliers of another row, tried once before the path is begun.

    **Returns** `None` if no feasible start is found. Past the deadline it returns what it has.
    """
    U, d = _compressed(increments.U, increments.D[row], count)
    shared = np.zeros(d.size, dtype=np.intp) if count == 1 else groups
    c = increments.C[row]
    dual = RowDual(increments.M, U, c, d, shared, count, settings.weight)
    if start is not None:
        known = _rescaled(dual, start)
        if known is not None and known[1] < target:
            return RowPath(known[0], known[1], 0)
    begin = _best_start(dual)
    if begin is None:
        return None
    return _follow(dual, begin, settings, target, deadline)


def _compressed(U: np.ndarray, d: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """With one group only the row space of `[U; d]` matters: coordinates in it."""
    k, n = U.shape
    if count != 1 or n <= k + 1:
        return U, d
    both = np.linalg.qr(np.vstack([U, d]).T, mode="r").T
    return both[:k], both[k]


def _rescaled(dual: RowDual, at: RowMultipliers) -> tuple[RowMultipliers, float] | None:
    """The best multiple of feasible multipliers and its `γ`."""
    point = dual.evaluate(at, 1.0)
    if point is None:
        return None
    size = float(at.sigma.sum())
    rest = max(point.bound - size, 0.0)
    if not size > 0.0:
        return at, rest
    # A row that moves nothing has rest = 0; any small multiple will do.
    factor = max(float(np.sqrt(rest / size)), 1e-12)
    return at.scaled(factor), size * factor + rest / factor


def _best_start(dual: RowDual) -> RowMultipliers | None:
    """The best of uniform multipliers, over a grid of their ratio.

    `sym(M) ≻ 0` makes small sector multipliers feasible beside `σ = 1`; which ones are good
    depends on the scales of `U` and `M`.
    """
    ones, k = np.ones(dual.count), dual.c.size
    diagonal = np.maximum(np.diag(dual.M), 1e-6)
    unit = 1.0 / (1.0 + float(np.max((dual.U * dual.U).sum(axis=1) / diagonal, initial=0.0)))
    candidates = [RowMultipliers(ones, np.full(k, unit * 2.0**j)) for j in range(-12, 13)]
    found = [scaled for c in candidates if (scaled := _rescaled(dual, c)) is not None]
    return min(found, key=lambda pair: pair[1])[0] if found else None


def _follow(
    dual: RowDual,
    begin: RowMultipliers,
    settings: PathSettings,
    target: float,
    deadline: Deadline,
) -> RowPath:
    stage = settings.start
    tau = stage / max(dual.evaluate(begin, 1.0).bound, 1e-300)
    point = dual.evaluate(begin, tau)
    best, steps = point, 0
    while steps < settings.steps and best.bound >= target and not deadline.expired:
        found = dual.newton(point, tau)
        if found is None:
            break
        step, decrement = found
        moved = _line_search(dual, point, step, tau)
        if moved is None:
            break
        (point, length), steps = moved, steps + 1
        best = min(best, point, key=lambda p: p.bound)
        if decrement < settings.near and length > 0.5:
            if stage >= settings.stop:
                break
            stage *= settings.factor
            tau = stage / point.bound
            point = dual.evaluate(point.multipliers, tau)
    return RowPath(best.multipliers, best.bound, steps)


def _line_search(
    dual: RowDual, point: _Point, step: np.ndarray, tau: float
) -> tuple[_Point, float] | None:
    length = min(1.0, 0.95 / max(1e-9, float(np.max(-step, initial=0.0))))
    count = dual.count
    for _ in range(30):
        factors = 1.0 + length * step
        at = RowMultipliers(
            point.multipliers.sigma * factors[:count], point.multipliers.sector * factors[count:]
        )
        moved = dual.evaluate(at, tau)
        if moved is not None and moved.potential <= point.potential + 1e-9 * abs(point.potential):
            return moved, length
        length *= 0.5
    return None
