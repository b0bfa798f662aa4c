"""Independent check of an ellipsoid's proof, with every rounding error bounded.

Multipliers, `Q`, `b` and units are hints; whatever they are, what is returned is true. No
arithmetic is shared with the search.

**The argument.** Let `w = (1, ξ, ẑ)`, `|w_i| <= ω_i`, be a fixpoint in the proof's units, with `ξ`
in the unit box (or, for the ball's part, the unit ball). This module forms float arrays
`A, B, e, C, D, c` and bounds `δ`, `δ_y` such that on all fixpoints

    |ŝ - (Aẑ - Bξ - e)| <= δ,    |y - (Cẑ + Dξ + c)| <= δ_y

where active neurons are replaced by float combinations of the others, whose residual in `s_a = 0`,
divided by the modulus of monotonicity, bounds their error. Then it forms the quadratic

    F(w) = 1 - Σ θ_i g_i(ξ, ẑ, Aẑ - Bξ - e)

with the *float* slack in place of `ŝ`. Each `g_i` is non-negative at the true slack, so
`F <= 1 + ε₂`, `ε₂` from `δ`. If a Cholesky factorisation of `F - PᵀP + shift·I` succeeds, where
`P = [Qc + b, QD, QC]`, then `‖P w‖² <= F(w) + ε₁` with `ε₁ = (shift + defect) ‖ω‖² + rounding`, so

    ‖Q y + b‖ <= √(1 + ε₁ + ε₂) + rounding of P + ‖|Q| δ_y‖

and `Q`, `b` are divided by the right-hand side. `ε₁` and `ε₂` are of the order of 1e-8 for proofs
that deserve it: no strict definiteness is needed, since the variables are bounded.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.bounds import check as box_check
from vnn_mondeq.definite import cholesky_defect
from vnn_mondeq.problem import Obligation, Rows
from vnn_mondeq.query.input_set import AbstractInputSet
from vnn_mondeq.rounding import SAFETY, are_float64, gamma, norm_up, product_error
from vnn_mondeq.sdp.ellipsoid_certificate import (
    EllipsoidProof,
    OuterEllipsoid,
    shrunk,
)
from vnn_mondeq.sdp.ellipsoid_products import Family
from vnn_mondeq.sdp.ellipsoid_reduction import InputUnits, Reduced
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem

SHIFTS = (1e-13, 1e-12, 1e-11, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)
"""Tried in turn, times the largest diagonal entry: the first that makes the matrix factorise."""

SMALLEST_UNIT = 2.0**-200
"""Products with smaller units could underflow by more than the error bounds count."""

LARGEST_GROWTH = 1e-2
"""A proof whose ellipsoid would have to grow by more than this part proves something else."""


@final
@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a proof was not confirmed."""

    reason: str


def check_ellipsoid(
    system: ImplicitSystem, inputs: AbstractInputSet, proof: EllipsoidProof
) -> OuterEllipsoid | Rejection:
    """The proof's ellipsoid, enlarged by what rounding needs, or why it is not confirmed."""
    confirmed = confirm(system, inputs, proof)
    return confirmed if isinstance(confirmed, Rejection) else confirmed.ellipsoid


@final
@dataclass(frozen=True, slots=True, eq=False)
class Confirmed:
    """A checked ellipsoid and the checked box `(Z, S)` beneath it."""

    ellipsoid: OuterEllipsoid
    upper_z: np.ndarray
    upper_s: np.ndarray


def confirm(
    system: ImplicitSystem, inputs: AbstractInputSet, proof: EllipsoidProof
) -> Confirmed | Rejection:
    """`check_ellipsoid`, with the box."""
    p, d = system.neurons, system.input_size
    none = Coefficients(np.zeros((0, p)), np.zeros((0, d)), np.zeros(0))
    obligation = Obligation(inputs, inputs, Rows(none, np.zeros(0)), ())
    box = box_check.check_box(system, obligation, proof.box)
    if isinstance(box, box_check.Rejection):
        return Rejection(box.reason)
    fault = _shape_fault(system, proof) or _box_fault(proof, box.upper_z, box.upper_s)
    if fault is not None:
        return Rejection(fault)
    with np.errstate(over="ignore", invalid="ignore"):
        units = InputUnits.of(inputs, proof)
        if units is None:
            return Rejection("the proof speaks of a ball, and the input set has none")
        reduced = Reduced.of(system, units, proof, box.upper_z, box.upper_s)
        found = _bound(reduced, units, proof)
    if isinstance(found, Rejection):
        return found
    return Confirmed(found, box.upper_z, box.upper_s)


def _shape_fault(system: ImplicitSystem, proof: EllipsoidProof) -> str | None:
    """What is wrong with the proof's form, if anything; NaN and infinity included."""
    p, d, q = system.neurons, system.input_size, system.output_size
    numbers = (proof.Q, proof.b, proof.unit_z, proof.unit_s, proof.on_inputs, proof.value)
    if not are_float64(*numbers):
        return "an array is not float64"
    positions = (proof.kept, proof.family, proof.left, proof.right)
    if any(array.dtype.kind not in "iu" for array in positions):
        return "positions are not integers"
    m = proof.value.shape
    expected = {
        "Q": (proof.Q, (q, q)),
        "b": (proof.b, (q,)),
        "unit_z": (proof.unit_z, (p,)),
        "unit_s": (proof.unit_s, (p,)),
        "on_inputs": (proof.on_inputs, (d,)),
        "family": (proof.family, m),
        "left": (proof.left, m),
        "right": (proof.right, m),
        "value": (proof.value, m[:1]),
    }
    for name, (array, shape) in expected.items():
        if array.shape != shape or not np.all(np.isfinite(array)):
            return f"{name} has the wrong shape or entries that are not finite"
    kept = proof.kept
    if kept.ndim != 1:
        return "the kept neurons are not positions"
    if kept.size and not (kept.min() >= 0 and kept.max() < p and np.unique(kept).size == kept.size):
        return "the kept neurons are not distinct neurons"
    if proof.on_ball is not None and not (np.isfinite(proof.on_ball) and proof.on_ball >= 0.0):
        return "the multiplier of the ball is negative or not finite"
    if np.any(proof.on_inputs < 0.0):
        return "a multiplier of the inputs is negative"
    if not (np.all(proof.unit_z >= SMALLEST_UNIT) and np.all(proof.unit_s >= SMALLEST_UNIT)):
        return f"a unit is below {SMALLEST_UNIT:.3g}"
    if not (np.all(np.isin(proof.left, kept)) and np.all(np.isin(proof.right, kept))):
        return "a product is about a neuron that is not kept"
    if not np.all(np.isin(proof.family, [int(family) for family in Family])):
        return "a product is of no known family"
    if np.any((proof.left != proof.right) & (proof.family != Family.CROSS)):
        return "a product of one neuron names two"
    # Zero on fixpoints, so its multiplier may have either sign; all others may not.
    if np.any((proof.value < 0.0) & (proof.family != Family.COMPLEMENTARITY)):
        return "a multiplier is negative"
    return None


def _box_fault(proof: EllipsoidProof, upper_z: np.ndarray, upper_s: np.ndarray) -> str | None:
    dropped = np.ones(upper_z.size, dtype=bool)
    dropped[proof.kept] = False
    if np.any(dropped & (upper_z > 0.0) & (upper_s > 0.0)):
        return "a neuron is neither kept nor decided by the box"
    for family, unit, upper in (
        (Family.Z_CAP, proof.unit_z, upper_z),
        (Family.S_CAP, proof.unit_s, upper_s),
    ):
        used = proof.left[proof.family == family]
        if np.any(unit[used] < upper[used]):
            return "a unit is below the bound that it stands for"
    return None


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Quadratic:
    """`F(w) = wᵀ matrix w` up to `rounding`; on fixpoints it exceeds 1 by `excess` at most."""

    matrix: np.ndarray
    rounding: float
    excess: float


def _quadratic(reduced: Reduced, units: InputUnits, proof: EllipsoidProof) -> _Quadratic:
    """`F = 1 - Σ θ g` over `w = (1, ξ, ẑ)`, with the float slack."""
    k, n = reduced.B.shape
    size = 1 + n + k
    place = np.full(proof.unit_z.size, -1)
    place[proof.kept] = np.arange(k)
    left, right, value = place[proof.left], place[proof.right], proof.value
    family, delta, omega = proof.family, reduced.slack_error, reduced.omega
    slack = np.hstack([-reduced.e[:, None], -reduced.B, reduced.A])
    slack_size = np.abs(slack) @ np.concatenate([np.ones(1 + n), omega])

    def total(kind: Family) -> np.ndarray:
        return np.bincount(left[family == kind], value[family == kind], minlength=k)

    crossing = np.zeros((k, k))
    of_cross, of_pair = family == Family.CROSS, family == Family.COMPLEMENTARITY
    np.add.at(crossing, (left[of_pair], right[of_pair]), value[of_pair])
    np.add.at(crossing, (left[of_cross], right[of_cross]), -value[of_cross])
    cap_z, cap_s = total(Family.Z_CAP), total(Family.S_CAP)
    sign_z, sign_s = total(Family.Z_SIGN), total(Family.S_SIGN)

    F = np.zeros((size, size))
    F[0, 0] = 1.0 - units.total
    inputs = np.arange(1, 1 + n)
    F[inputs, inputs] = units.sigma
    F[1 + n :, :] += crossing @ slack  # t ẑ ŝ, made symmetric below
    F += slack.T @ (cap_s[:, None] * slack)  # ν (ŝ² - ŝ)
    F[0, :] -= (cap_s + sign_s) @ slack
    neurons = np.arange(1 + n, size)
    F[neurons, neurons] += cap_z  # ρ (ẑ² - ẑ)
    F[0, neurons] -= cap_z + sign_z
    F = 0.5 * (F + F.T)

    summed = np.abs(crossing)  # each entry may be a sum of several multipliers
    np.add.at(summed, (left[of_cross], right[of_cross]), 2.0 * value[of_cross])
    magnitude = 1.0 + units.total + float(units.sigma.sum())
    magnitude += float(omega @ summed @ slack_size + cap_s @ slack_size**2)
    magnitude += float((cap_s + sign_s) @ slack_size)
    magnitude += float(cap_z @ omega**2 + (cap_z + sign_z) @ omega)
    rounding = gamma(4 * k + value.size + 20) * magnitude * SAFETY
    # g at the true slack less g at the float one, |ŝ - float| <= δ, times the multipliers.
    excess = float(omega @ summed @ delta + sign_s @ delta + cap_s @ (delta + delta * delta))
    return _Quadratic(F, rounding, excess * SAFETY)


def _bound(
    reduced: Reduced, units: InputUnits, proof: EllipsoidProof
) -> OuterEllipsoid | Rejection:
    """The ellipsoid with the growth that the module's docstring derives."""
    Q, b, q = proof.Q, proof.b, proof.b.size
    n = units.varying.size
    quadratic = _quadratic(reduced, units, proof)
    variables = np.concatenate([np.ones(1 + n), reduced.omega])
    outputs = np.hstack([reduced.c[:, None], reduced.D, reduced.C])
    output_size = np.abs(outputs) @ variables
    P = Q @ outputs
    P[:, 0] += b
    off = product_error(np.abs(Q), output_size, q) + gamma(4) * np.abs(b)
    magnitude = float(((np.abs(P) @ variables) ** 2).sum())
    difference = quadratic.matrix - P.T @ P
    difference = 0.5 * (difference + difference.T)
    rounding = quadratic.rounding + gamma(q + 8) * magnitude * SAFETY
    rounding += gamma(4) * float(variables @ np.abs(difference) @ variables) * SAFETY
    square = (1.0 + units.square + float(reduced.omega @ reduced.omega)) * SAFETY
    lowest = _eigenvalue_defect(difference)
    if lowest is None:
        return Rejection("the quadratic form of the multipliers does not dominate the ellipsoid's")
    growth = lowest * square + rounding + quadratic.excess
    if not growth < LARGEST_GROWTH:
        return Rejection(f"rounding errors would enlarge the ellipsoid by {growth:.3g}")
    reach = (output_size + reduced.output_error) * SAFETY
    bound = np.sqrt(1.0 + growth * SAFETY) * SAFETY_ROOT
    bound += float(norm_up(off)) + float(norm_up(np.abs(Q) @ reduced.output_error * SAFETY))
    return shrunk(Q, b, reach, float(bound))


SAFETY_ROOT = 1.0 + 2.0**-50
"""Covers the rounding of a square root and of the sum under it."""


def _eigenvalue_defect(matrix: np.ndarray) -> float | None:
    """A small `e >= 0` with `λ_min(matrix) >= -e`, or `None`. `matrix` is exact."""
    if not np.all(np.isfinite(matrix)):
        return None
    unit = max(1.0, float(np.max(np.diag(matrix), initial=0.0)))
    diagonal = np.diag_indices_from(matrix)
    for shift in SHIFTS:
        moved = matrix.copy()
        moved[diagonal] += shift * unit
        defect = cholesky_defect(moved)
        if defect is not None:
            # Adding the shift rounds each diagonal entry once.
            rounded = gamma(2) * (float(np.max(np.abs(np.diag(matrix)))) + shift * unit)
            return (shift * unit + defect + rounded) * SAFETY
    return None
