"""Slope optimisation in the fixpoint relaxation: bounds from any multipliers, and good ones.

CRAFT unrolls the last forward-backward steps and optimises the slopes of their ReLU relaxations
(appendix B). Backward through ever more steps, the relaxed row converges to an adjoint fixpoint;
its value is a bound for any multipliers `y`, so the unrolling can be dropped: with
`s = Mz - Ux - b` and `0 <= z <= Z`, `0 <= s <= S`, `z_i s_i = 0`,

    c z + d x + o  =  (c - Mᵀy) z + y s + (d + Uᵀy) x + y b + o
                   >= Σ_i min(0, Z_i (c - Mᵀy)_i, S_i y_i) - h_X(-(d + Uᵀy)) + y b + o

(algorithms.md, section 4). Relaxing neuron `i` with slope `λ_i` gives
`y = Λ(c - Mᵀy + y)`: one linear solve for each choice of slopes.

Letters: `k` rows `c (k, p)`, `d`, `o`; multipliers `(k, p)`. Nothing here is rigorous: the
checker evaluates the bound again with all rounding errors, and the engine leaves it a margin.
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.craft.inputs import InputSymbols
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem

_POLICY_ROUNDS = 3
"""Re-choices of the slopes by the signs of the adjoint; more have not paid."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class FixpointRelaxation:
    """The relaxation for one input set with bounds `Z (p,)`, `S (p,)`."""

    system: ImplicitSystem
    symbols: InputSymbols
    upper: np.ndarray
    slack: np.ndarray
    linear: np.ndarray = field(init=False, repr=False)
    generators: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        system, symbols = self.system, self.symbols
        object.__setattr__(self, "linear", system.U @ symbols.center + system.b)
        object.__setattr__(self, "generators", symbols.project(system.U))

    def evaluate(self, y: np.ndarray, rows: Coefficients) -> tuple[np.ndarray, np.ndarray]:
        """Lower bounds `(k,)` on the rows and their supergradients `(k, p)` in `y`."""
        system = self.system
        on_neurons = self.upper * (rows.on_z - y + y @ system.W)
        on_slack = self.slack * y
        use_neuron = (on_neurons < 0.0) & (on_neurons <= on_slack)
        use_slack = (on_slack < 0.0) & ~use_neuron
        projected = y @ self.generators
        if np.any(rows.on_x):
            projected += self.symbols.project(rows.on_x)
        value = (
            np.where(use_neuron, on_neurons, 0.0).sum(axis=1)
            + np.where(use_slack, on_slack, 0.0).sum(axis=1)
            - np.abs(projected).sum(axis=1)
            + y @ self.linear
            + rows.on_x @ self.symbols.center
            + rows.offset
        )
        chosen = np.where(use_neuron, self.upper, 0.0)
        gradient = (
            chosen @ system.W.T
            - chosen
            + np.where(use_slack, self.slack, 0.0)
            + self.linear
            - np.sign(projected) @ self.generators.T
        )
        return value, gradient

    def start(self, rows: Coefficients) -> tuple[np.ndarray, np.ndarray]:
        """The best multipliers and bounds of a few rounds of slope choice by sign."""
        total = self.upper + self.slack
        chord = np.where(total > 0.0, self.upper / np.where(total > 0.0, total, 1.0), 0.0)
        sign_slope = np.where(self.upper >= self.slack, 1.0, 0.0)
        slopes = np.tile(chord, (rows.offset.shape[0], 1))
        best_value = np.full(rows.offset.shape[0], -np.inf)
        best = np.zeros_like(slopes)
        for _ in range(_POLICY_ROUNDS):
            y = self._adjoint(slopes, rows.on_z)
            value, _ = self.evaluate(y, rows)
            better = value > best_value
            best[better], best_value[better] = y[better], value[better]
            # A positive coefficient bounds a neuron from below, where any slope will do.
            combined = rows.on_z + y @ self.system.W
            slopes = np.where(combined > 0.0, sign_slope, chord)
        return best, best_value

    def _adjoint(self, slopes: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """Solves `y = Λ(c + Wᵀy)`: a row relaxed to `v = Wz + Ux + b`, over and over."""
        y = np.empty_like(costs)
        identity = np.eye(costs.shape[1])
        for row, (slope, cost) in enumerate(zip(slopes, costs, strict=True)):
            y[row] = np.linalg.solve(identity - slope[:, None] * self.system.W.T, slope * cost)
        return y

    def ascend(
        self,
        y: np.ndarray,
        value: np.ndarray,
        rows: Coefficients,
        targets: np.ndarray,
        steps: int,
        deadline: Deadline,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Better multipliers by `steps` steps of adaptive supergradient ascent (Adam, with step
        sizes that fall linearly); stops once every row is above its target."""
        best, best_value = y.copy(), value.copy()
        scale = np.abs(y).mean(axis=1, keepdims=True)
        mean, square = np.zeros_like(y), np.zeros_like(y)
        for step in range(1, steps + 1):
            deadline.check()
            value, gradient = self.evaluate(y, rows)
            better = value > best_value
            best[better], best_value[better] = y[better], value[better]
            if np.all(best_value > targets):
                break
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.99 * square + 0.01 * gradient * gradient
            direction = mean / (1.0 - 0.9**step)
            direction /= np.sqrt(square / (1.0 - 0.99**step)) + 1e-12
            y = y + 0.1 * scale * (1.0 - step / (steps + 1)) * direction
        return best, best_value
