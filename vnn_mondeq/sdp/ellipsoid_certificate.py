"""What an ellipsoid's proof consists of, and what a checked one is."""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import ObligationProof
from vnn_mondeq.query.input_set import AbstractInputSet, Intersection, LqBall
from vnn_mondeq.result import AbstractCertificate
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, gamma, norm_up


@final
@dataclass(frozen=True, slots=True, eq=False)
class EllipsoidProof:
    """A claim `‖Q y + b‖₂ <= 1` for the outputs over an input set, and why; nothing is trusted.

    - `box`: proves upper bounds `(Z, S)` on `z` and `s`.
    - `Q (q, q)`, `b (q,)`.
    - `kept (k,)`: neurons that the quadratic speaks of; every other one must be decided by the box.
    - `unit_z`, `unit_s` `(p,)`: `ẑ = z / unit_z`, `ŝ = s / unit_s`.
    - `on_inputs (d,)`: multipliers of `1 - ξ_j²`, `ξ_j` the input in half-widths; not read for
      inputs of zero width and for those in the ball.
    - `on_ball`: multiplier of `1 - ‖ξ‖²` over the ball of `enclosing_ball`, or `None`: a box alone.
    - `family`, `left`, `right`, `value` `(m,)`: products (`ellipsoid_products.Family`) by position
      among the neurons, and their multipliers.
    """

    box: ObligationProof
    Q: np.ndarray
    b: np.ndarray
    kept: np.ndarray
    unit_z: np.ndarray
    unit_s: np.ndarray
    on_inputs: np.ndarray
    on_ball: float | None
    family: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class OuterEllipsoid:
    """`{y : ‖Q y + b‖₂ <= 1}`, which contains every output over an input set.

    Only `ellipsoid_check.check_ellipsoid` (and the methods here) build it. "Output" is that of the
    exact fixpoint of the system's stored float64 arrays; `widened` covers more.

    - `Q (q, q)` (not necessarily symmetric), `b (q,)`: float64, read as exact.
    - `reach (q,)`: proved bounds on the magnitude of each output.
    """

    Q: np.ndarray
    b: np.ndarray
    reach: np.ndarray

    @property
    def log_det(self) -> float:
        """`log |det Q|`; larger is a smaller ellipsoid. Plain float64."""
        return float(np.linalg.slogdet(self.Q)[1])

    @property
    def center(self) -> np.ndarray:
        """Plain float64."""
        return -np.linalg.solve(self.Q, self.b)

    def distance(self, outputs: np.ndarray) -> np.ndarray:
        """`‖Q y + b‖₂` for `outputs (N, q)`; plain float64."""
        return np.linalg.norm(outputs @ self.Q.T + self.b, axis=1)

    def support(self, directions: np.ndarray) -> np.ndarray:
        """Upper bounds, rounding included, on `a · y` over all outputs: `(n, q) -> (n,)`.

        With any `h`: `a·y = h·(Qy + b) - h·b + (a - Qᵀh)·y <= ‖h‖ - h·b + |a - Qᵀh|·reach`, and
        `h = Q⁻ᵀa` makes it the closed form `a·y₀ + ‖Q⁻ᵀa‖` up to rounding.
        """
        q = self.b.size
        try:
            h = np.linalg.solve(self.Q.T, directions.T).T
        except np.linalg.LinAlgError:
            return np.full(len(directions), np.inf)
        magnitude = np.abs(directions) + np.abs(h) @ np.abs(self.Q)
        left_over = np.abs(directions - h @ self.Q) + gamma(q + 4) * magnitude + UNDERFLOW
        shift = h @ self.b
        size = norm_up(h, axis=1)
        rest = left_over @ self.reach * SAFETY
        rounding = gamma(q + 8) * (np.abs(h) @ np.abs(self.b) + size + rest) * SAFETY
        bound = size - shift + rest + rounding + UNDERFLOW
        return np.where(np.isnan(bound), np.inf, bound)

    def widened(self, error: np.ndarray) -> "OuterEllipsoid":
        """Contains also everything within `error (q,)` of an output, entry by entry."""
        growth = 1.0 + float(norm_up(np.abs(self.Q) @ error * SAFETY))
        reach = (self.reach + error) * SAFETY
        return shrunk(self.Q, self.b, reach, growth)

    def shadow(self, first: int, second: int, points: int = 400) -> np.ndarray:
        """Boundary `(points, 2)` of the projection on two outputs; plain float64."""
        chosen = np.linalg.inv(self.Q)[[first, second]]
        root = np.linalg.cholesky(chosen @ chosen.T)
        angles = np.linspace(0.0, 2.0 * np.pi, points)
        circle = np.column_stack([np.cos(angles), np.sin(angles)])
        return self.center[[first, second]] + circle @ root.T


def shrunk(Q: np.ndarray, b: np.ndarray, reach: np.ndarray, bound: float) -> OuterEllipsoid:
    """The ellipsoid of outputs with `‖Q y + b‖ <= bound` and `|y| <= reach`, with right side 1.

    The quotients are rounded, which moves `‖·‖` by at most the norm of their errors.
    """
    rounding = gamma(2) * float(norm_up(np.abs(Q) @ reach + np.abs(b))) * SAFETY
    divisor = (bound + rounding) * (1.0 + 1e-12)
    return OuterEllipsoid(Q / divisor, b / divisor, reach)


@final
@dataclass(frozen=True, slots=True, eq=False)
class RowsByOutputs:
    """How an obligation's rows follow from an ellipsoid.

    - `on_outputs (n, q)`: row `r` is about `on_outputs[r] · y`; what is left over is bounded.
    """

    on_outputs: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class EllipsoidCertificate(AbstractCertificate):
    """For each obligation of a problem, in order: an ellipsoid of outputs, and its rows."""

    proofs: tuple[EllipsoidProof, ...]
    rows: tuple[RowsByOutputs, ...]

    def summary(self) -> str:
        kept = ", ".join(str(proof.kept.size) for proof in self.proofs)
        return f"{len(self.proofs)} outer ellipsoids of the outputs ({kept} undecided neurons)"


def enclosing_ball(inputs: AbstractInputSet) -> LqBall | None:
    """The first L2 or L1 ball among a set's parts. An L1 ball lies in the L2 ball of its radius."""
    parts = inputs.parts if isinstance(inputs, Intersection) else (inputs,)
    return next((part for part in parts if isinstance(part, LqBall)), None)


def ball_radius(ball: LqBall) -> tuple[np.ndarray, float]:
    """Float centre `(m,)`, and a radius around *it* that covers the ball."""
    near, error = ball.center_floats()
    return near, float((ball.radius + norm_up(error)) * SAFETY)
