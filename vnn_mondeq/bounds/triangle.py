"""The exact triangle relaxation as a linear program.

    max c·z + w·x   s.t.   s = Mz - Ux - b,  z >= 0, s >= 0, z_i/Z_i + s_i/S_i <= 1, lo <= x <= hi

Its optimal multipliers `y` of the equation give the best dual bound (algorithms.md, section 4), and
where every neuron's phase is decided (`Z_i = 0` or `S_i = 0`) the program is the problem itself.
The library solves it (HiGHS through scipy); what it returns is only a hint, evaluated elsewhere.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.query.abstract_set import AbstractInputSet
from vnn_mondeq.query.half_space import HalfSpace
from vnn_mondeq.query.intersection import Intersection
from vnn_mondeq.system.implicit import ImplicitSystem

_NO_ROWS = (np.zeros((0, 0)), np.zeros(0))


@final
@dataclass(frozen=True, slots=True, eq=False)
class TriangleOptimum:
    """`multipliers (p,)` near the optimum, and the inputs `x (d,)` where it is attained."""

    multipliers: np.ndarray
    x: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class TriangleGame:
    """`weights (r,)` of the rows, of sum 1, and `multipliers (p,)` of their combination."""

    weights: np.ndarray
    multipliers: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class TriangleEmpty:
    """No point satisfies the constraints.

    `multipliers (p,)`: at them the dual bound of the zero objective is negative.
    """

    multipliers: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class TriangleProgram:
    """The constraints, for any objective.

    - `bounds`: a finite box that contains the inputs; `box`: `(Z, S)`.
    - `sides`: half-spaces that contain the inputs. Other sets are relaxed to their box.
    """

    system: ImplicitSystem
    bounds: tuple[np.ndarray, np.ndarray]
    box: tuple[np.ndarray, np.ndarray]
    sides: tuple[HalfSpace, ...] = ()

    @classmethod
    def over(
        cls, system: ImplicitSystem, inputs: AbstractInputSet, box: tuple[np.ndarray, np.ndarray]
    ) -> "TriangleProgram":
        """The program for an input set with finite bounds."""
        parts = inputs.parts if isinstance(inputs, Intersection) else (inputs,)
        sides = tuple(part for part in parts if isinstance(part, HalfSpace))
        return cls(system, inputs.bounds(), box, sides)

    def maximise(
        self, on_z: np.ndarray, on_x: np.ndarray, deadline: Deadline
    ) -> TriangleOptimum | TriangleEmpty | None:
        """Maximise `on_z·z + on_x·x`; `None` when time ran out or the solver gave up."""
        p = self.system.neurons
        if p == 0:
            x = np.where(on_x > 0.0, self.bounds[1], self.bounds[0])
            return TriangleOptimum(np.zeros(0), x)  # HiGHS refuses a program without variables
        center, radius, varying, equation, right = self._equation()
        gain = np.concatenate([on_z, np.zeros(p), on_x[varying] * radius[varying]])
        answer = self._solve(-gain, equation, right, deadline)
        if answer is None or answer.status not in (0, 2):
            return None
        if answer.status == 2:
            return self._emptiness(equation, right, deadline)
        x = center.copy()
        x[varying] += radius[varying] * np.clip(answer.x[2 * p :], -1.0, 1.0)
        # HiGHS reports d(minimum)/d(right-hand side); the maximum's dual vector has this sign.
        multipliers = np.asarray(answer.eqlin.marginals, dtype=np.float64)
        return TriangleOptimum(multipliers, x) if np.all(np.isfinite(multipliers)) else None

    def maximise_least(
        self, on_z: np.ndarray, on_x: np.ndarray, constant: np.ndarray, deadline: Deadline
    ) -> TriangleGame | None:
        """Maximise the least of the rows `on_z (r, p)·z + on_x (r, d)·x + constant (r,)`.

        By duality of linear programs some combination of the rows has that same maximum; `None`
        where the program has no solution, or time ran out.
        """
        p, count = self.system.neurons, constant.size
        center, radius, varying, equation, right = self._equation()
        # The least row is a further variable, the difference of two non-negative ones.
        equation = np.hstack([equation, np.zeros((p, 2))])
        cost = np.zeros(equation.shape[1])
        cost[-2:] = -1.0, 1.0
        spread = on_x[:, varying] * radius[varying]
        least = np.tile([1.0, -1.0], (count, 1))
        below = np.hstack([-on_z, np.zeros((count, p)), -spread, least])
        limit = constant + on_x @ center
        answer = self._solve(cost, equation, right, deadline, (below, limit))
        if answer is None or answer.status != 0:
            return None
        weights = np.maximum(-np.asarray(answer.ineqlin.marginals[-count:]), 0.0)
        multipliers = np.asarray(answer.eqlin.marginals, dtype=np.float64)
        if not (np.all(np.isfinite(multipliers)) and weights.sum() > 0.0):
            return None
        return TriangleGame(weights / weights.sum(), multipliers / weights.sum())

    def _equation(
        self,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Variables `z (p)`, `s (p)`, `ξ in [-1, 1]`: `s - M z + spread ξ = -offset`."""
        p, (lower, upper) = self.system.neurons, self.bounds
        center, radius = 0.5 * (lower + upper), 0.5 * (upper - lower)
        varying = np.flatnonzero(radius > 0.0)
        spread = self.system.U[:, varying] * radius[varying]
        offset = self.system.U @ center + self.system.b
        equation = np.hstack([self.system.W - np.eye(p), np.eye(p), spread])
        return center, radius, varying, equation, -offset

    def _solve(
        self,
        cost: np.ndarray,
        equation: np.ndarray,
        right: np.ndarray,
        deadline: Deadline,
        below: tuple[np.ndarray, np.ndarray] | None = None,
    ):
        """scipy's result, or `None` after the deadline. Columns beyond `z, s, ξ` are `>= 0`.

        `below`: further rows `matrix, limit`, at the end of the inequalities.
        """
        from scipy.optimize import linprog

        if deadline.expired:
            return None
        box_z, box_s = self.box
        p = box_z.size
        varying = int(np.count_nonzero(self.bounds[1] > self.bounds[0]))
        loose = np.flatnonzero((box_z > 0.0) & (box_s > 0.0))
        triangle = np.zeros((loose.size, equation.shape[1]))
        triangle[np.arange(loose.size), loose] = 1.0 / box_z[loose]
        triangle[np.arange(loose.size), p + loose] = 1.0 / box_s[loose]
        bound = np.ones(loose.size)
        for matrix, limit in (self._half_spaces(equation.shape[1]), below or _NO_ROWS):
            if limit.size:
                triangle, bound = np.vstack([triangle, matrix]), np.concatenate([bound, limit])
        extra = equation.shape[1] - 2 * p - varying
        limits = [(0.0, z) for z in box_z] + [(0.0, s) for s in box_s]
        limits += [(-1.0, 1.0)] * varying + [(0.0, None)] * extra
        return linprog(
            cost,
            A_ub=triangle if bound.size else None,
            b_ub=bound if bound.size else None,
            A_eq=equation,
            b_eq=right,
            bounds=limits,
            method="highs",
            options={"time_limit": max(0.1, min(deadline.remaining(), 1e6))},
        )

    def _half_spaces(self, columns: int) -> tuple[np.ndarray, np.ndarray]:
        """The sides as rows over `z, s, ξ` and what follows; nearest floats, as all of this."""
        p, (lower, upper) = self.system.neurons, self.bounds
        center, radius = 0.5 * (lower + upper), 0.5 * (upper - lower)
        varying = np.flatnonzero(radius > 0.0)
        matrix, limit = np.zeros((len(self.sides), columns)), np.zeros(len(self.sides))
        for row, side in enumerate(self.sides):
            normal, _, offset = side.floats()
            matrix[row, 2 * p : 2 * p + varying.size] = normal[varying] * radius[varying]
            limit[row] = -offset - float(normal @ center)
        keep = np.isfinite(limit) & np.all(np.isfinite(matrix), axis=1)
        return matrix[keep], limit[keep]

    def _emptiness(
        self, equation: np.ndarray, right: np.ndarray, deadline: Deadline
    ) -> TriangleEmpty | None:
        """The multipliers of the program that makes the equation's residual smallest."""
        p = right.size
        relaxed = np.hstack([equation, np.eye(p), -np.eye(p)])
        cost = np.concatenate([np.zeros(equation.shape[1]), np.ones(2 * p)])
        answer = self._solve(cost, relaxed, right, deadline)
        if answer is None or not answer.success:
            return None
        return TriangleEmpty(np.asarray(answer.eqlin.marginals, dtype=np.float64))
