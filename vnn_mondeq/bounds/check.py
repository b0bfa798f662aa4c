"""Independent check of an `InductiveBoxCertificate`, with every rounding error bounded.

Nothing in the certificate is trusted: multipliers are hints, and any multipliers give a valid
bound. This module shares no arithmetic with the code that searches for certificates.

**The bound.** For every fixpoint `(z, s)` of an input `x` and every `y`,

    c·z + a·s + e·x  =  (c - Mᵀy)·z + (a + y)·s + (e + Uᵀy)·x + y·b

because `s = Mz - Ux - b`. With `0 <= z <= Z, 0 <= s <= S, z_i s_i = 0` the right-hand side is at
most `Σ_i max(0, Z_i (c - Mᵀy)_i, S_i (a + y)_i) + h(e + Uᵀy) + y·b`, `h` the support function of
the input set; on the branch `s_k = 0` (`z_k = 0`) the second (first) vertex of neuron `k` drops.
(algorithms.md, section 4.)

**The induction.** Let a box `(Z, S)` be such that, assuming it, the bound of `z_k` on the branch
`s_k = 0` is *below* `Z_k` (below 0 where `Z_k = 0`) for all `k`, and likewise for `s_k`. If it
holds at one point `x₀` then it holds on the whole input set: `X` and `x₀` have a convex hull `X'`,
on which `z(x)` and `s(x)` are continuous. Along a segment in `X'` from `x₀`, the points where the
box holds form a closed set; and an open one, because where the box holds, each `z_k` with `Z_k > 0`
is strictly below `Z_k` (it is 0, or the branch `s_k = 0` applies), and where `Z_k = 0` the branch
`s_k = 0` is contradictory, so `s_k > 0` there and near it, so `z_k = 0` near it. The argument uses
the support function of `X'`, `max(h_X(w), w·x₀)`, so `x₀` need not lie in `X`.
"""

from dataclasses import dataclass
from typing import Self, final

import numpy as np

from vnn_mondeq.bounds.certificate import (
    BoxRound,
    InductiveBoxCertificate,
    ObligationProof,
    Refutation,
)
from vnn_mondeq.bounds.rejection import Rejection, smallest_margin
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.query.input_set import AbstractInputSet
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, are_float64, gamma, norm_up
from vnn_mondeq.system.implicit import ImplicitSystem


def check_inductive_box(
    problem: Problem, certificate: InductiveBoxCertificate, deadline: Deadline
) -> float | Rejection:
    """The smallest proved margin over all cases of the problem, or why there is none.

    A returned number is positive: for each case some non-negative combination of its rows,
    exceeds the combined `rows.error` by at least that much (weights scaled to sum 1), on the whole
    proof set, in exact real arithmetic.

    **Raises** `DeadlineExceeded`.
    """
    return smallest_margin(problem, certificate.proofs, _check_obligation, deadline)


@final
@dataclass(frozen=True, slots=True, eq=False)
class ProofInputs:
    """The convex hull of the proof set and the anchor."""

    proof_set: AbstractInputSet
    anchor: np.ndarray
    magnitude: np.ndarray

    @classmethod
    def around(cls, proof_set: AbstractInputSet, anchor: np.ndarray) -> Self:
        """`magnitude (d,)` bounds `|x|` on the hull; infinite where the set is unbounded."""
        lower, upper = proof_set.bounds()
        magnitude = np.maximum(np.maximum(np.abs(lower), np.abs(upper)), np.abs(anchor))
        return cls(proof_set, anchor, magnitude)

    def support(self, directions: np.ndarray) -> np.ndarray:
        count = directions.shape[1]
        at_anchor = directions @ self.anchor
        error = gamma(count + 2) * (np.abs(directions) @ np.abs(self.anchor)) * SAFETY + UNDERFLOW
        return np.maximum(self.proof_set.support(directions), at_anchor + error)


@final
@dataclass(frozen=True, slots=True, eq=False)
class CheckedBox:
    """A confirmed claim `z <= upper_z, s <= upper_s` on the input set (and at the anchor)."""

    inputs: ProofInputs
    upper_z: np.ndarray
    upper_s: np.ndarray


def check_box(
    system: ImplicitSystem, obligation: Obligation, proof: ObligationProof
) -> "CheckedBox | Rejection":
    """Confirm the rounds of a proof; its refutations are not looked at."""
    fault = _shape_fault(system, proof)
    if fault is not None:
        return Rejection(fault)
    inputs = ProofInputs.around(obligation.proof_inputs, proof.anchor)
    if not np.all(np.isfinite(inputs.magnitude)):
        return Rejection("the input set or the anchor is not bounded")
    box_z = box_s = np.zeros(0)
    for index, claim in enumerate(proof.rounds):
        premise = (claim.upper_z, claim.upper_s) if index == 0 else (box_z, box_s)
        if index == 0 and not _holds_at_anchor(system, claim, proof.anchor):
            return Rejection("the first box is not confirmed at the anchor")
        if not round_follows(system, inputs, claim, premise, inductive=index == 0):
            return Rejection(f"round {index} does not follow from its premise")
        box_z, box_s = claim.upper_z, claim.upper_s
    return CheckedBox(inputs, box_z, box_s)


def refutation_margin(
    system: ImplicitSystem,
    obligation: Obligation,
    box: "CheckedBox",
    case: tuple[int, ...],
    refutation: Refutation,
) -> float | Rejection:
    """Proved lower bound on `weights · (rows - error)`, weights of sum 1; may be negative."""
    fault = weights_fault(case, refutation.weights)
    if fault is not None:
        return Rejection(fault)
    multipliers = refutation.multipliers
    if not are_float64(multipliers) or multipliers.shape != (system.neurons,):
        return Rejection("the multipliers of a refutation have the wrong shape")
    if not np.all(np.isfinite(multipliers)):
        return Rejection("the multipliers of a refutation are not finite")
    return _margin(system, box, obligation, case, refutation)


def weights_fault(case: tuple[int, ...], weights: np.ndarray) -> str | None:
    """What is wrong with the weights of a case's rows, if anything."""
    if not case:
        return "a case without rows cannot be refuted"
    if not are_float64(weights) or weights.shape != (len(case),):
        return "the weights of a refutation have the wrong shape"
    if not np.all((weights >= 0.0) & (weights < np.inf)) or not np.any(weights > 0.0):
        return "the weights of a refutation are negative, not finite or all zero"
    return None


def _check_obligation(
    system: ImplicitSystem, obligation: Obligation, proof: ObligationProof, deadline: Deadline
) -> float | Rejection:
    if len(proof.refutations) != len(obligation.cases):
        return Rejection(f"{len(proof.refutations)} refutations for {len(obligation.cases)} cases")
    box = check_box(system, obligation, proof)
    if isinstance(box, Rejection):
        return box
    smallest = np.inf
    for case, refutation in zip(obligation.cases, proof.refutations, strict=True):
        deadline.check()
        margin = refutation_margin(system, obligation, box, case, refutation)
        if isinstance(margin, Rejection):
            return margin
        if not margin > 0.0:  # also for NaN
            return Rejection(f"a case is not refuted: its margin is {margin:.3g}")
        smallest = min(smallest, margin)
    return smallest


def _shape_fault(system: ImplicitSystem, proof: ObligationProof) -> str | None:
    """What is wrong with the form of a proof's box, if anything; NaN and infinity included."""
    anchor = proof.anchor
    if not are_float64(anchor) or anchor.shape != (system.input_size,):
        return "the anchor has the wrong shape"
    if not np.all(np.isfinite(anchor)):
        return "the anchor is not finite"
    if system.neurons > 0 and not proof.rounds:
        return "there is no box"
    faults = (round_fault(system, claim) for claim in proof.rounds)
    return next((fault for fault in faults if fault is not None), None)


def round_fault(system: ImplicitSystem, claim: BoxRound) -> str | None:
    """What is wrong with the form of a round, if anything."""
    p = system.neurons
    arrays = (claim.upper_z, claim.upper_s, claim.for_z, claim.for_s)
    if not are_float64(*arrays):
        return "a round has arrays that are not float64"
    shapes = (claim.upper_z.shape, claim.upper_s.shape, claim.for_z.shape, claim.for_s.shape)
    if shapes != ((p,), (p,), (p, p), (p, p)):
        return f"a round has shapes {shapes}"
    if not all(np.all(np.isfinite(array)) for array in arrays):
        return "a round has entries that are not finite"
    if np.any(claim.upper_z < 0.0) or np.any(claim.upper_s < 0.0):
        return "a box has a negative upper bound"
    return None


def _holds_at_anchor(system: ImplicitSystem, claim: BoxRound, anchor: np.ndarray) -> bool:
    """Whether the box provably holds at the fixpoint of the anchor.

    A float point `ẑ >= 0` near the fixpoint is found by plain iteration of the resolvent; it is
    then trusted only through `‖ẑ - z‖₂ <= (1 + (1 + L)/m) ‖r‖₂`, `r = ẑ - ReLU(v̂)`,
    `v̂ = Wẑ + Ux + b`. Derivation: `z' = ẑ - r = ReLU(v̂)` and `v̂ = W z' + U x + (b + W r)`, so
    `z'` is the fixpoint for the offset `b + W r`; strong monotonicity gives
    `‖z' - z‖ <= ‖W r‖ / m`, and `‖W‖ <= 1 + L`.
    """
    W, U, b = system.W, system.U, system.b
    p, d = U.shape
    near = _approximate_fixpoint(system, U @ anchor + b)
    v = W @ near + U @ anchor + b
    error = (
        gamma(p + d + 4) * (np.abs(W) @ near + np.abs(U) @ np.abs(anchor) + np.abs(b)) * SAFETY
        + UNDERFLOW
    )
    residual = np.abs(near - np.maximum(v, 0.0)) * SAFETY + error
    length = float(norm_up(residual)) + UNDERFLOW
    m, L = system.proof.modulus, system.proof.norm
    distance = (1.0 + (1.0 + L) / m) * length * SAFETY
    # |v - v̂| <= ‖W‖ ‖z - ẑ‖ + rounding, and s = z - v.
    slack_error = (2.0 + L) * distance * SAFETY + error
    z_high, s_high = near + distance, near - v + slack_error + gamma(4) * (near + np.abs(v))
    z_fits = np.where(claim.upper_z > 0.0, z_high < claim.upper_z, near - v - slack_error > 0.0)
    s_fits = np.where(claim.upper_s > 0.0, s_high < claim.upper_s, near - distance > 0.0)
    # z_k = 0 holds exactly where s_k > 0 (complementarity), and s_k = 0 where z_k > 0.
    z_fits |= (near - v - slack_error > 0.0) & (claim.upper_z >= 0.0)
    s_fits |= (near - distance > 0.0) & (claim.upper_s >= 0.0)
    return bool(np.all(z_fits) and np.all(s_fits))


def _approximate_fixpoint(system: ImplicitSystem, offset: np.ndarray) -> np.ndarray:
    """A float point near the fixpoint for `U x + b = offset`; no accuracy is promised."""
    m, L = system.proof.modulus, system.proof.norm
    p = system.neurons
    step = 1.0 / np.sqrt(m * max(L, m))
    resolvent = np.linalg.inv(np.eye(p) + step * (np.eye(p) - system.W))
    z, u = np.zeros(p), np.zeros(p)
    for _ in range(5000):
        forward = 2.0 * (resolvent @ (2.0 * z - u + step * offset)) - (2.0 * z - u)
        moved = np.maximum(forward, 0.0)
        # The state is u: z alone may rest at zero while u still moves.
        size = 1.0 + np.max(np.abs(forward), initial=0.0)
        settled = np.max(np.abs(forward - u), initial=0.0) <= 1e-14 * size
        z, u = moved, forward
        if settled:
            break
    active = z > 0.0
    if np.any(active):
        # The fixpoint of a sign pattern is a linear system: the last digits come from there.
        block = (np.eye(p) - system.W)[np.ix_(active, active)]
        solved = np.linalg.solve(block, offset[active])
        if np.all(solved > 0.0):
            z = np.zeros(p)
            z[active] = solved
    return z


def _dual_bounds(
    system: ImplicitSystem,
    inputs: ProofInputs,
    *,
    on_z: np.ndarray,
    on_s: np.ndarray,
    on_x: np.ndarray,
    multipliers: np.ndarray,
    box_z: np.ndarray,
    box_s: np.ndarray,
    drop_z: np.ndarray | None = None,
    drop_s: np.ndarray | None = None,
) -> np.ndarray:
    """Upper bounds `(n,)` on `on_z·z + on_s·s + on_x·x` for `n` rows, rounding included.

    `drop_z`, `drop_s`: boolean `(n, p)`; vertices that the row's branch excludes.
    """
    W, U, b = system.W, system.U, system.b
    p = system.neurons
    Y, absolute = multipliers, np.abs(multipliers)
    # c - Mᵀy = c - y + Wᵀy
    reduced = on_z - Y + Y @ W
    reduced_error = gamma(p + 4) * (np.abs(on_z) + absolute + absolute @ np.abs(W)) * SAFETY
    slope_s = on_s + Y
    slope_s_error = gamma(2) * (np.abs(on_s) + absolute) * SAFETY
    direction = on_x + Y @ U
    direction_error = gamma(p + 4) * (np.abs(on_x) + absolute @ np.abs(U)) * SAFETY + UNDERFLOW
    vertex_z = (reduced + reduced_error + UNDERFLOW) * box_z
    vertex_s = (slope_s + slope_s_error + UNDERFLOW) * box_s
    # One more rounding in each product, covered by gamma(2) below.
    if drop_z is not None:
        vertex_z = np.where(drop_z, 0.0, vertex_z)
    if drop_s is not None:
        vertex_s = np.where(drop_s, 0.0, vertex_s)
    vertices = np.maximum(np.maximum(vertex_z, vertex_s), 0.0)
    constant = Y @ b
    terms = vertices.sum(axis=1)
    slack = gamma(p + 6) * (terms + absolute @ np.abs(b)) + direction_error @ inputs.magnitude
    support = inputs.support(direction)
    total = terms + constant + support
    closing = gamma(6) * (terms + np.abs(constant) + np.abs(support))
    return total + (slack + closing) * SAFETY + UNDERFLOW


def round_follows(
    system: ImplicitSystem,
    inputs: ProofInputs,
    claim: BoxRound,
    premise: tuple[np.ndarray, np.ndarray],
    *,
    inductive: bool,
) -> bool:
    """Whether the claim of a round follows from its premise `(Z, S)`, all `2 p` bounds.

    `inductive`: the claim is its own premise, and every bound must be strictly below it (strictly
    below zero where it is zero; see the module docstring).
    """
    bound_z, bound_s = branch_bounds(system, inputs, claim, premise)
    if inductive:
        fits_z, fits_s = bound_z < claim.upper_z, bound_s < claim.upper_s
    else:
        # z_k is 0 off the branch, so a bound below the claim, or below zero, settles it; the
        # premise itself is another proof.
        fits_z = (bound_z <= claim.upper_z) | (premise[0] <= claim.upper_z)
        fits_s = (bound_s <= claim.upper_s) | (premise[1] <= claim.upper_s)
    return bool(np.all(fits_z) and np.all(fits_s))


def branch_bounds(
    system: ImplicitSystem,
    inputs: ProofInputs,
    claim: BoxRound,
    premise: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Proved bounds of every `z_k` on `s_k = 0` and every `s_k` on `z_k = 0`, at the multipliers of
    the claim and under the premise. A negative bound: that branch does not occur."""
    p, d = system.neurons, system.input_size
    eye, zeros, no_x = np.eye(p), np.zeros((p, p)), np.zeros((p, d))
    own = np.eye(p, dtype=bool)
    box_z, box_s = premise
    bound_z = _dual_bounds(
        system,
        inputs,
        on_z=eye,
        on_s=zeros,
        on_x=no_x,
        multipliers=claim.for_z,
        box_z=box_z,
        box_s=box_s,
        drop_s=own,
    )
    bound_s = _dual_bounds(
        system,
        inputs,
        on_z=zeros,
        on_s=eye,
        on_x=no_x,
        multipliers=claim.for_s,
        box_z=box_z,
        box_s=box_s,
        drop_z=own,
    )
    return bound_z, bound_s


def _margin(
    system: ImplicitSystem,
    box: CheckedBox,
    obligation: Obligation,
    case: tuple[int, ...],
    refutation: Refutation,
) -> float:
    inputs, rows = box.inputs, np.array(case, dtype=int)
    weights = refutation.weights / refutation.weights.sum()
    chosen = obligation.rows.coefficients.take(rows)
    count = rows.size
    combined = [-(weights @ part) for part in (chosen.on_z, chosen.on_x, chosen.offset)]
    spread = [
        gamma(count + 2) * (weights @ np.abs(part)) * SAFETY + UNDERFLOW
        for part in (chosen.on_z, chosen.on_x, chosen.offset)
    ]
    bound = _dual_bounds(
        system,
        inputs,
        on_z=combined[0][None, :],
        on_s=np.zeros((1, system.neurons)),
        on_x=combined[1][None, :],
        multipliers=refutation.multipliers[None, :],
        box_z=box.upper_z,
        box_s=box.upper_s,
    )[0]
    error = float(spread[0] @ box.upper_z + spread[1] @ inputs.magnitude + spread[2]) * SAFETY
    allowed = float(weights @ obligation.rows.error[rows]) * SAFETY
    total = bound + combined[2] + error + allowed
    closing = gamma(6) * (abs(bound) + abs(combined[2]) + error + allowed) + UNDERFLOW
    return float(-(total + closing))
