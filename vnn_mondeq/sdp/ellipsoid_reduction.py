"""The fixpoint in the units of an ellipsoid's proof, as float arrays with error bounds.

Part of the check (`ellipsoid_check.py` has the argument); the search does not use it.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, gamma, norm_up
from vnn_mondeq.sdp.ellipsoid_certificate import EllipsoidProof, ball_radius, enclosing_ball
from vnn_mondeq.system.implicit import ImplicitSystem


@final
@dataclass(frozen=True, slots=True, eq=False)
class InputUnits:
    """`x = center + half ∘ ξ` with `|ξ| <= 1`, and `‖ξ‖ <= 1` over the positions of the ball.

    - `center`, `half` `(d,)`; `varying (n,)`: positions with `half > 0`.
    - `sigma (n,)`: multipliers of `ξ_j²`; `total`: upper bound on the constant that goes with them.
    - `square`: upper bound on `‖ξ‖²`.
    """

    center: np.ndarray
    half: np.ndarray
    varying: np.ndarray
    sigma: np.ndarray
    total: float
    square: float

    @classmethod
    def of(cls, inputs: AbstractInputSet, proof: EllipsoidProof) -> "InputUnits | None":
        """`None` where the proof speaks of a ball and the input set has none."""
        lower, upper = inputs.bounds()
        center = 0.5 * lower + 0.5 * upper
        half = np.nextafter(np.maximum(upper - center, center - lower), np.inf)
        half = np.where(lower < upper, half, 0.0)
        sigma = proof.on_inputs.copy()
        balls = 0
        if proof.on_ball is not None:
            ball = enclosing_ball(inputs)
            if ball is None:
                return None
            near, radius = ball_radius(ball)
            inside = ball.coordinates
            center[inside], half[inside], sigma[inside] = near, radius, proof.on_ball
            balls = int(radius > 0.0)
        # A box of a single point needs center == lower == upper, which holds for finite floats.
        varying = np.flatnonzero(half > 0.0)
        boxed = np.zeros(half.size, dtype=bool)
        boxed[varying] = True
        if balls:
            boxed[inside] = False
        summed = float(sigma[boxed].sum()) + (float(proof.on_ball) if balls else 0.0)
        total = summed * (1.0 + gamma(half.size + 4))
        square = float(boxed.sum() + balls)
        return cls(center, half, varying, sigma[varying], total, square)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Direct:
    """Rows over `(ẑ, ξ, 1)` without what active neurons contribute.

    - `values (r, k + n + 1)`; `size`: magnitudes of what was added up in each.
    """

    values: np.ndarray
    size: np.ndarray

    def take(self, rows: np.ndarray) -> "_Direct":
        return _Direct(self.values[rows], self.size[rows])


def _direct(
    on_z: np.ndarray,
    on_x: np.ndarray,
    offset: np.ndarray,
    units: InputUnits,
    kept: np.ndarray,
    unit_z: np.ndarray,
) -> _Direct:
    """Rows `on_z z + on_x x + offset` in the proof's variables."""
    linear = np.hstack([on_z[:, kept] * unit_z, on_x[:, units.varying] * units.half[units.varying]])
    constant = on_x @ units.center + offset
    size = np.abs(on_x) @ np.abs(units.center) + np.abs(offset)
    return _Direct(
        np.hstack([linear, constant[:, None]]), np.hstack([np.abs(linear), size[:, None]])
    )


@final
@dataclass(frozen=True, slots=True, eq=False)
class _ActiveRows:
    """Active neurons as combinations of the others, `z_a = solved · (ẑ, ξ, 1) + η`.

    - `solved (a, k + n + 1)`; `distance`: bound on `‖η‖₂` on all fixpoints.
    - `variables (k + n + 1,)`: bounds on the magnitudes of `(ẑ, ξ, 1)`.
    - `operations`: more than go into any entry of anything here.
    """

    solved: np.ndarray
    distance: float
    variables: np.ndarray
    operations: int

    def substitute(
        self, rows: _Direct, through: np.ndarray, unit: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """`(rows + through z_a) / unit` without the active neurons, and bounds on its error."""
        values = (rows.values + through @ self.solved) / unit[:, None]
        magnitude = (rows.size + np.abs(through) @ np.abs(self.solved)) / unit[:, None]
        error = gamma(self.operations) * (magnitude @ self.variables)
        error += norm_up(through, axis=1) * (1.0 + gamma(4)) * self.distance / unit
        return values, error * SAFETY + UNDERFLOW


def _solve_active(
    system: ImplicitSystem,
    M: np.ndarray,
    equations: _Direct,
    active: np.ndarray,
    variables: np.ndarray,
) -> _ActiveRows:
    """From `s_a = 0`, whatever the accuracy of the solve.

    `M_aa (z_a - solved · w)` is minus the residual of `solved`, and `M_aa` has at least the modulus
    of `M`, so `‖η‖ <= ‖residual‖ / m`.
    """
    operations = system.input_size + active.size + 12
    block, direct = M[np.ix_(active, active)], equations.take(active)
    solved = -np.linalg.solve(block, direct.values) if active.size else np.zeros_like(direct.values)
    residual = np.abs(block @ solved + direct.values)
    residual += gamma(operations) * (np.abs(block) @ np.abs(solved) + direct.size)
    length = float(norm_up(residual @ variables * SAFETY)) + UNDERFLOW
    return _ActiveRows(solved, length / system.proof.modulus * SAFETY, variables, operations)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """Float arrays `ŝ ≈ Aẑ - Bξ - e`, `y ≈ Cẑ + Dξ + c` and error bounds `δ (k,)`, `δ_y (q,)`.

    - `omega (k,)`: upper bounds on `ẑ`.
    """

    A: np.ndarray
    B: np.ndarray
    e: np.ndarray
    C: np.ndarray
    D: np.ndarray
    c: np.ndarray
    slack_error: np.ndarray
    output_error: np.ndarray
    omega: np.ndarray

    @classmethod
    def of(
        cls,
        system: ImplicitSystem,
        units: InputUnits,
        proof: EllipsoidProof,
        upper_z: np.ndarray,
        upper_s: np.ndarray,
    ) -> "Reduced":
        p, kept, varying = system.neurons, proof.kept, units.varying
        active = np.setdiff1d(np.flatnonzero((upper_s <= 0.0) & (upper_z > 0.0)), kept)
        unit_z, unit_s = proof.unit_z[kept], proof.unit_s[kept]
        omega = upper_z[kept] / unit_z * SAFETY
        variables = np.concatenate([omega, np.ones(varying.size + 1)])
        M = np.eye(p) - system.W  # each diagonal entry is rounded once: one more operation
        equations = _direct(M, -system.U, -system.b, units, kept, unit_z)
        active_rows = _solve_active(system, M, equations, active, variables)
        slack, slack_error = active_rows.substitute(
            equations.take(kept), M[np.ix_(kept, active)], unit_s
        )
        out = system.output.coefficients
        output, output_error = active_rows.substitute(
            _direct(out.on_z, out.on_x, out.offset, units, kept, unit_z),
            out.on_z[:, active],
            np.ones(out.offset.size),
        )
        k = kept.size
        return cls(
            A=slack[:, :k],
            B=-slack[:, k:-1],
            e=-slack[:, -1],
            C=output[:, :k],
            D=output[:, k:-1],
            c=output[:, -1],
            slack_error=slack_error,
            output_error=output_error,
            omega=omega,
        )
