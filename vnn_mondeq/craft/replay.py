"""Sets and steps of the certificate checker, written apart from `sets/` and the engine's steps.

A set is `{center + inputs ξ + own η + diag(radius) ζ}` with all symbols in `[-1, 1]`; `ξ` are the
input symbols, the same in every set of one replay. Arrays are exact numbers; every function
returns a set that contains the exact image, with rounding errors in the radius.

Letters: `p` neurons, `M = I - W`, `q = Ux + b`, `α` step size, `V = (I + αM)⁻¹`.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, gamma, norm_up, round_down, round_up
from vnn_mondeq.system.implicit import ImplicitSystem

_BOXED = 1e-11
"""Radius entries up to this part of the set's size stay a box when the set is mapped."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class ReplaySet:
    """`center (n,)`, `inputs (n, k)`, `own (n, l)`, `radius (n,) >= 0`."""

    center: np.ndarray
    inputs: np.ndarray
    own: np.ndarray
    radius: np.ndarray

    def reach(self) -> np.ndarray:
        """Upper bounds on the distance from the centre, coordinate by coordinate."""
        total = np.abs(self.inputs).sum(axis=1) + np.abs(self.own).sum(axis=1) + self.radius
        return total * SAFETY + UNDERFLOW

    def size(self) -> np.ndarray:
        """Upper bounds on `|x|`."""
        return (np.abs(self.center) + self.reach()) * SAFETY

    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds."""
        reach = self.reach()
        return round_down(self.center - reach), round_up(self.center + reach)


def transform(matrix: np.ndarray, error: np.ndarray | None, source: ReplaySet) -> ReplaySet:
    """Contains `A x` for every `A` within `error` of `matrix`, elementwise."""
    size = source.size()
    loose = source.radius > _BOXED * float(size.max(initial=0.0))
    small = np.where(loose, 0.0, source.radius)
    magnitude = np.abs(matrix)
    slack = magnitude @ (small + gamma(matrix.shape[1] + 6) * size)
    if error is not None:
        slack = slack + error @ size
    return ReplaySet(
        matrix @ source.center,
        matrix @ source.inputs,
        np.hstack([matrix @ source.own, matrix[:, loose] * source.radius[loose]]),
        slack * SAFETY + UNDERFLOW,
    )


def add(left: ReplaySet, right: ReplaySet) -> ReplaySet:
    """Contains `x + y` for the same input symbols and all own symbols."""
    slack = 4.0 * UNIT * (left.size() + right.size())
    return ReplaySet(
        left.center + right.center,
        left.inputs + right.inputs,
        np.hstack([left.own, right.own]),
        (left.radius + right.radius + slack) * SAFETY,
    )


def combine(first: ReplaySet, second: ReplaySet, a: np.ndarray, b: np.ndarray) -> ReplaySet:
    """Contains `a x + b y` (elementwise) where both have the same own symbols but for the radii,
    whose symbols are taken as independent."""
    slack = 4.0 * UNIT * (np.abs(a) * first.size() + np.abs(b) * second.size())
    return ReplaySet(
        a * first.center + b * second.center,
        a[:, None] * first.inputs + b[:, None] * second.inputs,
        a[:, None] * first.own + b[:, None] * second.own,
        (np.abs(a) * first.radius + np.abs(b) * second.radius + slack) * SAFETY + UNDERFLOW,
    )


def shift(source: ReplaySet, slope: np.ndarray, low: np.ndarray, high: np.ndarray) -> ReplaySet:
    """Contains `slope x + e`, `low <= e <= high`, elementwise."""
    middle = 0.5 * (low + high)
    half = np.maximum(high - middle, middle - low)
    slack = 6.0 * UNIT * (np.abs(slope) * source.size() + np.abs(low) + np.abs(high))
    return ReplaySet(
        slope * source.center + middle,
        slope[:, None] * source.inputs,
        slope[:, None] * source.own,
        (np.abs(slope) * source.radius + half + slack) * SAFETY,
    )


def relu(source: ReplaySet, low: np.ndarray, high: np.ndarray) -> ReplaySet:
    """Contains `max(x, 0)` for the points of the set with `low <= x <= high`."""
    crossing = (low < 0.0) & (high > 0.0)
    span = np.where(crossing, high - low, 1.0)
    slope = np.where(crossing, np.clip(high / span, 0.0, 1.0), np.where(low >= 0.0, 1.0, 0.0))
    # max(x, 0) - slope x is convex, 0 at 0, and largest at an end.
    excess = np.maximum(high * (1.0 - slope), -low * slope)
    excess = np.where(crossing, excess * SAFETY + UNDERFLOW, 0.0)
    return shift(source, slope, np.zeros_like(low), excess)


def magnitude(source: ReplaySet, low: np.ndarray, high: np.ndarray) -> ReplaySet:
    """Contains `|x|` for the points of the set with `low <= x <= high`."""
    crossing = (low < 0.0) & (high > 0.0)
    span = np.where(crossing, high - low, 1.0)
    slope = np.clip((high + low) / span, -1.0, 1.0)
    slope = np.where(crossing, slope, np.where(low >= 0.0, 1.0, -1.0))
    # |x| - slope x is convex, 0 at 0, and largest at an end.
    excess = np.maximum(high * (1.0 - slope), -low * (1.0 + slope))
    excess = np.where(crossing, excess * SAFETY + UNDERFLOW, 0.0)
    return shift(source, slope, np.zeros_like(low), excess)


@final
@dataclass(frozen=True, slots=True, eq=False)
class ReplayInputs:
    """`x = center + V diag(half) ξ + (I - VVᵀ)(x - center)`, or a box where `V` is `None`.

    - `reach`: `(d,)`, upper bounds on `|x - center|`.
    """

    center: np.ndarray
    reach: np.ndarray
    V: np.ndarray | None
    half: np.ndarray

    @classmethod
    def enclose(cls, inputs: AbstractInputSet, V: np.ndarray | None) -> "ReplayInputs":
        """Any `V (d, k)` gives a sound enclosure of a bounded set."""
        low, high = inputs.bounds()
        center = 0.5 * low + 0.5 * high
        if V is None:
            reach = np.maximum(high - center, center - low)
            reach = np.where(low == high, 0.0, reach * (1.0 + 8.0 * UNIT) + UNDERFLOW)
            return cls(center, reach, None, reach[reach > 0.0])
        top, bottom = inputs.support(V.T.copy()), -inputs.support(-V.T)
        center = center + V @ (0.5 * (top + bottom) - V.T @ center)
        middle = V.T @ center
        slack = gamma(V.shape[0] + 6) * (np.abs(V.T) @ np.abs(center)) + UNDERFLOW
        half = np.maximum(np.maximum(top - middle, middle - bottom), 0.0) + slack
        reach = np.maximum(np.maximum(high - center, center - low), 0.0)
        return cls(center, reach * (1.0 + 8.0 * UNIT) + UNDERFLOW, V, half * SAFETY)

    def map(
        self, matrix: np.ndarray, offset: np.ndarray, error: np.ndarray | None = None
    ) -> ReplaySet:
        """Contains `N x + offset` for every `N` within `error` of `matrix`."""
        d = self.center.size
        absolute = np.abs(matrix)
        size = (np.abs(self.center) + self.reach) * SAFETY
        slack = gamma(d + 8) * (absolute @ size + np.abs(offset))
        if error is not None:
            slack = slack + error @ size
        if self.V is None:
            moving = self.reach > 0.0
            inputs = matrix[:, moving] * self.half
        else:
            coordinates = matrix @ self.V
            inputs = coordinates * self.half
            spread = np.abs(self.V)
            outside = np.abs(matrix - coordinates @ self.V.T) @ self.reach
            through = (absolute @ spread) @ (spread.T @ self.reach + self.half)
            slack = slack + outside
            slack = slack + gamma(d + self.V.shape[1] + 10) * (through + absolute @ self.reach)
        n = matrix.shape[0]
        return ReplaySet(
            matrix @ self.center + offset, inputs, np.zeros((n, 0)), slack * SAFETY + UNDERFLOW
        )


@final
@dataclass(frozen=True, slots=True, eq=False)
class ReplayStep:
    """The affine half of a step: `x -> A x + drive + rest`, `|rest| <= gain (‖x‖₂ + extra)`."""

    alpha: float
    matrix: np.ndarray
    error: np.ndarray
    drive: ReplaySet
    gain: np.ndarray
    extra: float

    def __call__(self, source: ReplaySet) -> ReplaySet:
        image = add(transform(self.matrix, self.error, source), self.drive)
        size = source.size()
        rest = self.gain * (float(norm_up(size)) + self.extra) * SAFETY
        return ReplaySet(image.center, image.inputs, image.own, (image.radius + rest) * SAFETY)


def constant_terms(system: ImplicitSystem, inputs: ReplayInputs) -> ReplaySet:
    """Contains `q = Ux + b` for all inputs and all systems within the stored radius."""
    radius = system.preactivation.radius
    if radius is None:
        return inputs.map(system.U, system.b)
    image = inputs.map(system.U, system.b, radius.on_x)
    wider = (image.radius + radius.offset) * SAFETY
    return ReplaySet(image.center, image.inputs, image.own, wider)


def _implicit_matrix(system: ImplicitSystem, alpha: float) -> np.ndarray:
    """Elementwise bounds on the error of `I ± αM` formed in floating point."""
    identity = np.eye(system.neurons)
    error = 6.0 * UNIT * (identity + alpha * (identity + np.abs(system.W)))
    radius = system.preactivation.radius
    return error if radius is None else error + alpha * radius.on_z * SAFETY


def reflection_step(system: ImplicitSystem, alpha: float, constants: ReplaySet) -> ReplayStep:
    """Peaceman-Rachford: `t -> u = (2V - I) t + 2αV q`, `V` the exact resolvent.

    With the computed `V̂` and `R = I - V̂(I + αM)`, `V = V̂ + RV`; `‖V h‖₂ <= ‖h‖₂ / (1 + αm)`
    for every `h`, as `M` is strongly monotone with modulus `m`.
    """
    p = system.neurons
    identity = np.eye(p)
    inner = identity + alpha * (identity - system.W)
    V = np.linalg.inv(inner)
    rest = np.abs(V @ inner - identity) + gamma(p + 6) * (np.abs(V) @ np.abs(inner) + identity)
    rest = (rest + np.abs(V) @ _implicit_matrix(system, alpha)) * SAFETY
    rows = np.sqrt((rest * rest).sum(axis=1)) * SAFETY
    gain = 2.0 * rows / (1.0 + alpha * system.proof.modulus) * SAFETY + UNDERFLOW
    reflect = 2.0 * V - identity
    scaled = (2.0 * alpha) * V
    drive = transform(scaled, 4.0 * UNIT * np.abs(scaled), constants)
    size = constants.size()
    extra = alpha * float(norm_up(size)) * SAFETY
    error = 2.0 * UNIT * (2.0 * np.abs(V) + identity)
    return ReplayStep(alpha, reflect, error, _without_own(drive), gain, extra)


def forward_step(system: ImplicitSystem, alpha: float, constants: ReplaySet) -> ReplayStep:
    """Forward-backward: `z -> v = (I - αM) z + αq`."""
    identity = np.eye(system.neurons)
    matrix = identity - alpha * (identity - system.W)
    scale = np.full(system.neurons, alpha)
    zero = np.zeros_like(scale)
    drive = shift(constants, scale, zero, zero)
    error = _implicit_matrix(system, alpha)
    return ReplayStep(alpha, matrix, error, _without_own(drive), zero, 0.0)


def _without_own(source: ReplaySet) -> ReplaySet:
    """Own symbols folded into the radius."""
    own = np.abs(source.own).sum(axis=1)
    radius = (source.radius + own) * SAFETY
    return ReplaySet(source.center, source.inputs, source.own[:, :0], radius)


def reduce(source: ReplaySet, directions: np.ndarray) -> ReplaySet | None:
    """A set with the columns of `directions (n, n)` as own symbols, and no input symbols, that
    contains `source`; `None` for a singular matrix. Any directions are sound."""
    try:
        inverse = np.linalg.inv(directions)
    except np.linalg.LinAlgError:
        return None
    n = directions.shape[0]
    everything = np.hstack([source.inputs, source.own])
    sums = np.abs(everything).sum(axis=1) * SAFETY
    coordinates = inverse @ everything
    lengths = np.abs(coordinates).sum(axis=1) * SAFETY
    residual = np.abs(everything - directions @ coordinates).sum(axis=1)
    slack = gamma(n + 6) * (np.abs(directions) @ lengths + sums)
    width = source.inputs.shape[1]
    return ReplaySet(
        source.center,
        np.zeros((n, width)),
        directions * lengths,
        (source.radius + residual + slack) * SAFETY + UNDERFLOW,
    )


def lies_within(inner: ReplaySet, outer: ReplaySet) -> bool:
    """Whether `inner` is certainly contained in `outer`, whose own symbols form a square matrix
    (or are none) and which has no input symbols (theorem 5.2)."""
    gap = np.abs(inner.center - outer.center) * (1.0 + 4.0 * UNIT)
    columns = np.hstack([inner.inputs, inner.own])
    basis = outer.own
    n = basis.shape[0]
    if basis.shape[1] == 0:
        return bool(np.all((gap + inner.reach()) * SAFETY + UNDERFLOW <= outer.radius))
    try:
        inverse = np.linalg.inv(basis)
    except np.linalg.LinAlgError:
        return False
    X = inverse @ columns
    used = np.abs(X).sum(axis=1) * SAFETY
    sums = np.abs(columns).sum(axis=1)
    missed = np.abs(columns - basis @ X).sum(axis=1)
    missed = missed + gamma(n + 6) * (np.abs(basis) @ used + sums)
    excess = (gap + inner.radius + missed) * SAFETY + UNDERFLOW - outer.radius
    excess = np.maximum(excess, 0.0) * SAFETY
    # |basis⁻¹ f| <= |inverse| (|f| + e/(1-e) max|f|), e the row-sum norm of I - basis inverse.
    defect = np.abs(np.eye(n) - basis @ inverse)
    defect = defect + gamma(n + 6) * (np.abs(basis) @ np.abs(inverse) + np.eye(n))
    e = float(defect.sum(axis=1).max()) * SAFETY
    if not e < 0.5:
        return False
    excess = excess + e / (1.0 - e) * float(excess.max()) * SAFETY
    total = (used + np.abs(inverse) @ excess * SAFETY) * SAFETY
    return bool(np.all(total <= 1.0))
