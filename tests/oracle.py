"""The truth about small systems, by exhaustion; uses no code of the product.

`z = ReLU(Wz + Ux + b)` is `z >= 0, s >= 0, z_i s_i = 0` with `s = z - Wz - Ux - b`. For a given
phase pattern (which `s_i` is zero) that is a linear system, so the graph of `x -> z` is a union of
at most `2^p` polyhedra and a linear function of `(z, x)` has its minimum on one of them.

- `exact_fixpoint`, `exact_value`: rational arithmetic, no tolerance at all.
- `LinearOracle`: minima by linear programs (HiGHS), right up to `tolerances.ORACLE_RELATIVE`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product

import numpy as np
from scipy.optimize import linprog

# --- rational arithmetic -----------------------------------------------------------------------


def rational(array: np.ndarray) -> list:
    """The array as (nested lists of) the rationals that its floats are."""
    if array.ndim == 1:
        return [Fraction(float(v)) for v in array]
    return [rational(row) for row in array]


def solve_rational(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction] | None:
    """Gauss elimination in rationals; `None` for a singular matrix."""
    n = len(matrix)
    work = [[*row, r] for row, r in zip(matrix, right, strict=True)]
    for k in range(n):
        pivot = next((i for i in range(k, n) if work[i][k]), None)
        if pivot is None:
            return None
        work[k], work[pivot] = work[pivot], work[k]
        for i in range(k + 1, n):
            factor = work[i][k] / work[k][k]
            if factor:
                work[i] = [a - factor * b for a, b in zip(work[i], work[k], strict=True)]
    solution = [Fraction(0)] * n
    for k in reversed(range(n)):
        rest = sum((work[k][j] * solution[j] for j in range(k + 1, n)), Fraction(0))
        solution[k] = (work[k][n] - rest) / work[k][k]
    return solution


def smallest_eigenvalue_exceeds(symmetric: list[list[Fraction]], bound: Fraction) -> bool:
    """Whether `symmetric - bound I` is positive definite: all pivots of `LDLᵀ` are positive."""
    n = len(symmetric)
    work = [[symmetric[i][j] - (bound if i == j else 0) for j in range(n)] for i in range(n)]
    for k in range(n):
        if work[k][k] <= 0:
            return False
        for i in range(k + 1, n):
            factor = work[i][k] / work[k][k]
            work[i] = [a - factor * b for a, b in zip(work[i], work[k], strict=True)]
    return True


def _patterns(guess: list[bool]) -> Iterator[list[bool]]:
    """The guess, its neighbours, then all patterns."""
    yield guess
    for i in range(len(guess)):
        yield [v != (i == j) for j, v in enumerate(guess)]
    for pattern in product([False, True], repeat=len(guess)):
        yield list(pattern)


def exact_fixpoint(
    W: np.ndarray, U: np.ndarray, b: np.ndarray, x: list[Fraction]
) -> list[Fraction]:
    """The fixpoint at the rational point `x`, exactly.

    A float iteration guesses the phases; the rational solve of a pattern is accepted only if all
    complementarity conditions hold exactly, so the guess cannot make the answer wrong.
    """
    p = W.shape[0]
    v = [
        Fraction(float(b[i]))
        + sum((Fraction(float(U[i, j])) * x[j] for j in range(U.shape[1])), Fraction(0))
        for i in range(p)
    ]
    M = [[Fraction(int(i == j)) - Fraction(float(W[i, j])) for j in range(p)] for i in range(p)]
    approximate = float_fixpoint(W, np.array([float(t) for t in v]))
    for pattern in _patterns([bool(t > 1e-12) for t in approximate]):
        on = [i for i in range(p) if pattern[i]]
        part = solve_rational([[M[i][j] for j in on] for i in on], [v[i] for i in on])
        if part is None or any(t < 0 for t in part):
            continue
        z = [Fraction(0)] * p
        for i, t in zip(on, part, strict=True):
            z[i] = t
        off = [i for i in range(p) if not pattern[i]]
        if all(sum((M[i][j] * z[j] for j in on), Fraction(0)) - v[i] >= 0 for i in off):
            return z
    raise AssertionError("no fixpoint: the drawn system is not monotone")


def float_fixpoint(W: np.ndarray, v: np.ndarray, sweeps: int = 400) -> np.ndarray:
    """An approximate solution of `z = ReLU(Wz + v)`: semismooth Newton, with damped
    forward-backward steps where it cycles. Only a guess; nothing depends on it being right."""
    p = W.shape[0]
    if p == 0:
        return np.zeros(0)
    M = np.eye(p) - W
    alpha = 0.5 * max(np.linalg.eigvalsh(0.5 * (M + M.T))[0], 1e-3) / np.linalg.norm(M, 2) ** 2
    z = np.zeros(p)
    for sweep in range(sweeps):
        on = (W @ z + v) > 0
        newton = np.zeros(p)
        if on.any():
            newton[on] = np.linalg.solve(M[np.ix_(on, on)], v[on])
        if np.abs(newton - np.maximum(W @ newton + v, 0)).max() < 1e-9 * (1 + np.abs(v).max()):
            return newton
        z = newton if sweep < 15 else np.maximum(z - alpha * (M @ z - v), 0)
    return z


def exact_value(
    row: tuple[np.ndarray, np.ndarray, float], z: list[Fraction], x: list[Fraction]
) -> Fraction:
    """`on_z z + on_x x + offset` for float coefficients, exactly."""
    on_z, on_x, offset = row
    total = Fraction(float(offset))
    total += sum((Fraction(float(c)) * t for c, t in zip(on_z, z, strict=True)), Fraction(0))
    total += sum((Fraction(float(c)) * t for c, t in zip(on_x, x, strict=True)), Fraction(0))
    return total


# --- linear programs ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Minimum:
    """A minimum and where it is attained; `value` is infinite for an empty set."""

    value: float
    x: np.ndarray | None


@dataclass
class LinearOracle:
    """Exact minima over `{(x, z(x)) : lower <= x <= upper, A x <= c}`.

    The feasible phase patterns are enumerated once, by depth-first search over partial patterns
    with infeasible branches cut.
    """

    W: np.ndarray
    U: np.ndarray
    b: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    A: np.ndarray | None = None
    c: np.ndarray | None = None
    patterns: list[tuple[bool, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self.patterns = []
        self._descend(())

    @property
    def p(self) -> int:
        return self.W.shape[0]

    def _program(self, pattern: tuple[bool, ...], cost: np.ndarray):
        """The linear program over `(x, z)` with the first `len(pattern)` phases fixed."""
        p, d = self.p, self.U.shape[1]
        M = np.eye(p) - self.W
        slack = np.hstack([-self.U, M])  # s = slack @ (x, z) - b
        fixed = np.array(pattern + (False,) * (p - len(pattern)), dtype=bool)
        open_rows = ~fixed
        bounds = list(zip(self.lower, self.upper, strict=True))
        for i in range(p):
            closed = i < len(pattern) and not pattern[i]
            bounds.append((0.0, 0.0 if closed else None))
        above = [-slack[open_rows]]
        limit = [-self.b[open_rows]]
        if self.A is not None:
            above.append(np.hstack([self.A, np.zeros((len(self.A), p))]))
            limit.append(self.c)
        return linprog(
            cost,
            A_ub=np.vstack(above),
            b_ub=np.concatenate(limit),
            A_eq=slack[fixed] if fixed.any() else None,
            b_eq=self.b[fixed] if fixed.any() else None,
            bounds=bounds,
            method="highs",
        ), d

    def _descend(self, pattern: tuple[bool, ...]) -> None:
        result, _ = self._program(pattern, np.zeros(self.U.shape[1] + self.p))
        if result.status == 2:
            return
        if len(pattern) == self.p:
            self.patterns.append(pattern)
            return
        self._descend((*pattern, False))
        self._descend((*pattern, True))

    def minimum(self, on_z: np.ndarray, on_x: np.ndarray, offset: float) -> Minimum:
        """The least value of `on_z z + on_x x + offset`, and an input that attains it."""
        best = Minimum(np.inf, None)
        for pattern in self.patterns:
            result, d = self._program(pattern, np.concatenate([on_x, on_z]))
            if result.status == 0 and result.fun + offset < best.value:
                x = np.clip(result.x[:d], self.lower, self.upper)
                best = Minimum(float(result.fun + offset), x)
        return best

    def neuron_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """The largest `z_i` and the largest slack `s_i`, each shape `(p,)`."""
        p, d = self.p, self.U.shape[1]
        M = np.eye(p) - self.W
        none = np.zeros(d)
        top_z = [-self.minimum(-np.eye(p)[i], none, 0.0).value for i in range(p)]
        top_s = [-self.minimum(-M[i], self.U[i], self.b[i]).value for i in range(p)]
        return np.array(top_z), np.array(top_s)

    def least_violation(self, rows: list[tuple[np.ndarray, np.ndarray, float]]) -> Minimum:
        """The least, over all inputs, of the largest row: a case is a violation where it is
        `<= 0`. (An extra variable `t >= every row` for each pattern.)"""
        best = Minimum(np.inf, None)
        for pattern in self.patterns:
            value, x = self._epigraph(pattern, rows)
            if value < best.value:
                best = Minimum(value, x)
        return best

    def _epigraph(self, pattern, rows) -> tuple[float, np.ndarray | None]:
        p, d = self.p, self.U.shape[1]
        M = np.eye(p) - self.W
        slack = np.hstack([-self.U, M, np.zeros((p, 1))])
        fixed = np.array(pattern, dtype=bool)
        above = [-slack[~fixed]] + [np.concatenate([x, z, [-1.0]])[None, :] for z, x, _ in rows]
        limit = [-self.b[~fixed]] + [np.array([-offset]) for _, _, offset in rows]
        if self.A is not None:
            above.append(np.hstack([self.A, np.zeros((len(self.A), p + 1))]))
            limit.append(self.c)
        bounds = list(zip(self.lower, self.upper, strict=True))
        bounds += [(0.0, None if on else 0.0) for on in pattern] + [(None, None)]
        result = linprog(
            np.concatenate([np.zeros(d + p), [1.0]]),
            A_ub=np.vstack(above),
            b_ub=np.concatenate(limit),
            A_eq=slack[fixed] if fixed.any() else None,
            b_eq=self.b[fixed] if fixed.any() else None,
            bounds=bounds,
            method="highs",
        )
        if result.status != 0:
            return np.inf, None
        return float(result.fun), np.clip(result.x[:d], self.lower, self.upper)
