"""Independent check of a `ShorCertificate`, with every rounding error bounded.

The multipliers are hints: this module forms its own reduced data from the weights, with error
bounds, writes down the whole quadratic form as one dense matrix, and proves it positive
semidefinite by a Cholesky factorisation with its error bound. It shares no arithmetic with
`shor.py` or `phases.py`.

**What is proved.** Under a confirmed box `(Z, S)`, over `x = c + h ∘ ξ`, `ξ in [-1, 1]ⁿ`:

1. Neurons with `Z_i = 0` are zero; where `S_i = 0`, `M_aa z_a + M_au z_u = U_a x + b_a`.
   Any float `P, R, q` give `z_a = -P z_u + R ξ + q + δ` with `‖δ‖₂ <= ‖residual‖₂ / m`, since the
   symmetric part of `M_aa` is at least `m I`.
2. So `ŝ_i = a_i(ξ, ẑ) + δ'_i`, `|δ'_i| <= η_i`, `a_i` affine with float coefficients; and the row's
   objective is `f(ξ, ẑ)` up to an error bound `η₀`.
3. If `Φ = γ - f - Σσ_j(1-ξ_j²) - Σδ_l b_l + Σt_i ẑ_i a_i - Σρ_i ẑ_i(1-ẑ_i) - Σν_i a_i(1-a_i)`
   (`b_l >= 0` on the input set: its balls and half-spaces, `beyond_check.py`) satisfies
   `Φ >= -ω (1 + ‖ξ‖² + ‖ẑ‖²)` everywhere, then at every fixpoint (`ẑ, ŝ in [0, 1]`, `ẑ_i ŝ_i = 0`,
   hence `ẑ_i a_i <= η_i` and `a_i (1 - a_i) >= -η_i (1 + η_i)`)

       f <= γ + Σ t_i η_i + Σ ν_i η_i (1 + η_i) + ω (1 + n + k).
"""

from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.linalg import solve_triangular

from vnn_mondeq.bounds.certificate import Refutation
from vnn_mondeq.bounds.check import (
    CheckedBox,
    Rejection,
    check_box,
    refutation_margin,
    weights_fault,
)
from vnn_mondeq.bounds.rejection import smallest_margin
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.definite import completed_defect
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, are_float64, gamma, norm_up
from vnn_mondeq.sdp.beyond_check import BeyondTerms, beyond_terms
from vnn_mondeq.sdp.certificate import (
    AnyRefutation,
    PairRefutation,
    ShorCertificate,
    ShorProof,
    ShorRefutation,
)
from vnn_mondeq.sdp.pair_check import PairTerms, pair_terms, pairs_fault
from vnn_mondeq.system.implicit import ImplicitSystem


def check_shor(
    problem: Problem, certificate: ShorCertificate, deadline: Deadline
) -> float | Rejection:
    """The smallest proved margin over all cases of the problem, or why there is none.

    **Raises** `DeadlineExceeded`.
    """
    return smallest_margin(problem, certificate.proofs, _check_obligation, deadline)


def _check_obligation(
    system: ImplicitSystem, obligation: Obligation, proof: ShorProof, deadline: Deadline
) -> float | Rejection:
    if len(proof.refutations) != len(obligation.cases):
        return Rejection(f"{len(proof.refutations)} refutations for {len(obligation.cases)} cases")
    deadline.check()
    box = check_box(system, obligation, proof.box)
    if isinstance(box, Rejection):
        return box
    judge = CaseJudge(system, obligation, box)
    smallest = np.inf
    for case, refutation in zip(obligation.cases, proof.refutations, strict=True):
        deadline.check()
        margin = judge.margin(case, refutation)
        if isinstance(margin, Rejection):
            return margin
        smallest = min(smallest, margin)
    return smallest


@final
@dataclass(slots=True, eq=False)
class CaseJudge:
    """Checks refutations of either kind under one confirmed box; forms the reduced data once."""

    system: ImplicitSystem
    obligation: Obligation
    box: CheckedBox
    reduced: "_Reduced | None" = None

    def margin(self, case: tuple[int, ...], refutation: AnyRefutation) -> float | Rejection:
        """The proved margin of the case, positive, or why there is none."""
        if isinstance(refutation, Refutation):
            margin = refutation_margin(self.system, self.obligation, self.box, case, refutation)
        else:
            margin = self._semidefinite(case, refutation)
        if isinstance(margin, Rejection) or margin > 0.0:
            return margin
        return Rejection(f"a case is not refuted: its margin is {margin:.3g}")  # NaN as well

    def _semidefinite(
        self, case: tuple[int, ...], refutation: ShorRefutation | PairRefutation
    ) -> float | Rejection:
        pairs = refutation if isinstance(refutation, PairRefutation) else None
        plain = refutation if pairs is None else pairs.plain
        fault = weights_fault(case, plain.weights)
        if fault is not None:
            return Rejection(fault)
        if self.reduced is None:
            self.reduced = _reduce(self.system, self.obligation, self.box)
        return _shor_margin(self.obligation, self.reduced, case, plain, pairs)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Reduced:
    """`s_u = on_z z_u + on_x ξ + constant` up to `slack`; `z_a` likewise (point 1 and 2 above).

    All coefficients are floats taken as exact; `slack_s (k,)`, `slack_a (a,)` bound what they miss.
    """

    box: CheckedBox
    center: np.ndarray
    half: np.ndarray
    varying: np.ndarray
    active: np.ndarray
    undecided: np.ndarray
    active_on_z: np.ndarray
    active_on_x: np.ndarray
    active_constant: np.ndarray
    slack_a: np.ndarray
    on_z: np.ndarray
    on_x: np.ndarray
    constant: np.ndarray
    slack_s: np.ndarray


def _reduce(system: ImplicitSystem, obligation: Obligation, box: CheckedBox) -> _Reduced:
    lower, upper = obligation.proof_inputs.bounds()
    center = 0.5 * (lower + upper)
    half = np.maximum(upper - center, center - lower)
    half = np.where(half > 0.0, np.nextafter(half, np.inf), 0.0)
    varying = np.flatnonzero(half > 0.0)
    active = np.flatnonzero((box.upper_s <= 0.0) & (box.upper_z > 0.0))
    undecided = np.flatnonzero((box.upper_s > 0.0) & (box.upper_z > 0.0))
    reach = box.upper_z[undecided]
    M = np.eye(system.neurons) - system.W
    # Each entry of M carries one rounding (of the diagonal); covered by counting one more below.
    spread = system.U[:, varying] * half[varying]
    offset = system.U @ center + system.b
    d = system.input_size
    offset_error = (
        gamma(d + 2) * (np.abs(system.U) @ np.abs(center) + np.abs(system.b)) * SAFETY + UNDERFLOW
    )
    M_aa, M_au = M[np.ix_(active, active)], M[np.ix_(active, undecided)]
    M_uu, M_ua = M[np.ix_(undecided, undecided)], M[np.ix_(undecided, active)]
    P = np.linalg.solve(M_aa, M_au)
    R = np.linalg.solve(M_aa, spread[active])
    q = np.linalg.solve(M_aa, offset[active])
    a = active.size
    ones = np.ones(varying.size)
    # Residual of z_a = -P z_u + R ξ + q in the active equations, at its largest.
    residual = (
        np.abs(M_au - M_aa @ P) @ reach
        + np.abs(M_aa @ R - spread[active]) @ ones
        + np.abs(M_aa @ q - offset[active])
    )
    sizes = (
        (np.abs(M_au) + np.abs(M_aa) @ np.abs(P)) @ reach
        + (np.abs(M_aa) @ np.abs(R) + np.abs(spread[active])) @ ones
        + np.abs(M_aa) @ np.abs(q)
        + np.abs(offset[active])
    )
    residual = (residual + gamma(a + 6) * sizes) * SAFETY + offset_error[active]
    length = float(norm_up(residual))
    slack_a = np.full(a, (length / system.proof.modulus) * SAFETY + UNDERFLOW)
    on_z = M_uu - M_ua @ P
    on_x = M_ua @ R - spread[undecided]
    constant = M_ua @ q - offset[undecided]
    through = np.abs(M_ua)
    sizes = (
        (np.abs(M_uu) + through @ np.abs(P)) @ reach
        + (through @ np.abs(R) + np.abs(spread[undecided])) @ ones
        + through @ np.abs(q)
        + np.abs(offset[undecided])
    )
    slack_s = (gamma(a + 6) * sizes + through @ slack_a) * SAFETY + offset_error[undecided]
    return _Reduced(
        box, center, half, varying, active, undecided, -P, R, q, slack_a,
        on_z, on_x, constant, slack_s,
    )  # fmt: skip


def _refutation_fault(reduced: _Reduced, refutation: ShorRefutation) -> str | None:
    n, k = reduced.varying.size, reduced.undecided.size
    sized = (refutation.sigma, refutation.products, refutation.scale_z, refutation.scale_s)
    arrays = (*sized, refutation.beyond)
    if not are_float64(*arrays):
        return "semidefinite multipliers are not float64"
    if tuple(array.shape for array in sized) != ((n,), (3 * k,), (k,), (k,)):
        return "semidefinite multipliers have the wrong shape"
    if not all(np.all(np.isfinite(array)) for array in arrays):
        return "semidefinite multipliers are not finite"
    if any(np.any(array < 0.0) for array in arrays):
        return "semidefinite multipliers are negative"
    box = reduced.box
    if np.any(refutation.scale_z < box.upper_z[reduced.undecided]):
        return "a unit is below the proved bound"
    if np.any(refutation.scale_s < box.upper_s[reduced.undecided]):
        return "a unit is below the proved bound"
    return None


def _shor_margin(
    obligation: Obligation,
    reduced: _Reduced,
    case: tuple[int, ...],
    refutation: ShorRefutation,
    pairs: PairRefutation | None,
) -> float | Rejection:
    """Proved lower bound on `weights · (rows - error)`, weights of sum 1."""
    fault = _refutation_fault(reduced, refutation)
    if fault is None and pairs is not None:
        fault = pairs_fault(pairs, reduced.undecided.size)
    if fault is not None:
        return Rejection(fault)
    form = _objective(obligation, reduced, case, refutation)
    scaled = _scaled(reduced, refutation)
    inputs = obligation.proof_inputs
    units = (reduced.center, reduced.half)
    beyond = beyond_terms(inputs, units, reduced.varying, refutation.beyond)
    if isinstance(beyond, str):
        return Rejection(beyond)
    products = None if pairs is None else pair_terms(pairs, scaled.rows(), scaled.slack)
    matrix, error = _quadratic(scaled, form, refutation, beyond, products)
    n, k = reduced.varying.size, reduced.undecided.size
    proved = _least_constant(matrix, error)
    if proved is None:
        return Rejection("the quadratic form could not be proved positive semidefinite")
    bound, defect = proved
    t, _, nu = refutation.products.reshape(3, k)
    slack = scaled.slack
    loss = float(t @ slack + nu @ (slack * (1.0 + slack))) * SAFETY
    loss += defect * (1.0 + n + k) * SAFETY + (0.0 if products is None else products.loss)
    total = bound + form.constant + loss + form.error
    closing = gamma(8) * (abs(bound) + abs(form.constant) + loss + form.error) + UNDERFLOW
    return float(-(total + closing))


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Form:
    """The objective `on_z ẑ + on_x ξ + constant`, within `error` of minus the weighted row less
    its allowed error, on all fixpoints."""

    on_z: np.ndarray
    on_x: np.ndarray
    constant: float
    error: float


def _objective(
    obligation: Obligation, reduced: _Reduced, case: tuple[int, ...], refutation: ShorRefutation
) -> _Form:
    rows = np.array(case, dtype=int)
    weights = refutation.weights / refutation.weights.sum()
    chosen = obligation.rows.coefficients.take(rows)
    count = rows.size
    on_z, on_x, offset = (-(weights @ part) for part in (chosen.on_z, chosen.on_x, chosen.offset))
    size_z, size_x, size_0 = (
        weights @ np.abs(part) for part in (chosen.on_z, chosen.on_x, chosen.offset)
    )
    box, u, a, v = reduced.box, reduced.undecided, reduced.active, reduced.varying
    scale = refutation.scale_z
    through = on_z[a]
    scaled_z = (on_z[u] + through @ reduced.active_on_z) * scale
    scaled_x = on_x[v] * reduced.half[v] + through @ reduced.active_on_x
    constant = float(through @ reduced.active_constant + on_x @ reduced.center + offset)
    magnitude = np.maximum(box.inputs.magnitude, np.abs(reduced.center))
    size_a = np.abs(through)
    sizes = (
        (size_z[u] + size_a @ np.abs(reduced.active_on_z)) @ scale
        + float(size_z @ box.upper_z)
        + size_x @ magnitude
        + size_x[v] @ reduced.half[v]
        + (size_a @ np.abs(reduced.active_on_x)).sum()
        + size_a @ np.abs(reduced.active_constant)
        + size_0
    )
    error = gamma(count + on_z.size + on_x.size + 8) * float(sizes) * SAFETY
    error += float(size_a @ reduced.slack_a) * SAFETY + UNDERFLOW
    error += float(weights @ obligation.rows.error[rows]) * SAFETY
    return _Form(scaled_z, scaled_x, constant, error)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _ScaledSlack:
    """`ŝ = A ẑ + C ξ + f` within `slack (k,)`; `A, C, f` floats taken as exact."""

    A: np.ndarray
    C: np.ndarray
    f: np.ndarray
    slack: np.ndarray

    def rows(self) -> np.ndarray:
        """`ŝ` in the basis `(1, ξ, ẑ)`."""
        return np.hstack([self.f[:, None], self.C, self.A])


def _scaled(reduced: _Reduced, refutation: ShorRefutation) -> _ScaledSlack:
    unit = refutation.scale_s
    A = reduced.on_z * refutation.scale_z / unit[:, None]
    C = reduced.on_x / unit[:, None]
    f = reduced.constant / unit
    rounding = gamma(4) * (np.abs(A).sum(axis=1) + np.abs(C).sum(axis=1) + np.abs(f))
    slack = (reduced.slack_s / unit + rounding) * SAFETY + UNDERFLOW
    return _ScaledSlack(A, C, f, slack)


def _quadratic(
    scaled: _ScaledSlack,
    form: _Form,
    refutation: ShorRefutation,
    beyond: BeyondTerms,
    products: PairTerms | None,
) -> tuple[np.ndarray, float]:
    """The matrix of `Φ - γ` in the basis `(1, ξ, ẑ)`, and a 2-norm bound on its rounding error."""
    k, n = scaled.C.shape
    t, rho, nu = refutation.products.reshape(3, k)
    sigma = refutation.sigma
    gradient = scaled.rows()
    matrix = gradient.T @ (nu[:, None] * gradient)
    crossed = 0.5 * t[:, None] * gradient  # t_i ẑ_i a_i, to be added symmetrically
    matrix[1 + n :] += crossed
    matrix[:, 1 + n :] += crossed.T
    linear = -0.5 * (nu @ gradient)
    linear[1 : 1 + n] -= 0.5 * form.on_x - beyond.line
    linear[1 + n :] -= 0.5 * (form.on_z + rho)
    # The constant 1 of the basis: a_i (1 - a_i) contributes its linear part against it.
    matrix[0] += linear
    matrix[:, 0] += linear
    diagonal = np.concatenate([[beyond.constant - sigma.sum()], sigma + beyond.diagonal, rho])
    matrix[np.diag_indices(1 + n + k)] += diagonal
    if beyond.cross is not None:
        matrix[1 : 1 + n, 1 : 1 + n] += beyond.cross
    magnitude = np.abs(gradient)
    row_sums = magnitude.sum(axis=1)
    column = magnitude.T @ (nu * row_sums + 0.5 * t)
    column[1 + n :] += 0.5 * t * row_sums
    line = 0.5 * (nu @ magnitude)
    line[1 : 1 + n] += 0.5 * np.abs(form.on_x) + beyond.size_line
    line[1 + n :] += 0.5 * (np.abs(form.on_z) + rho)
    column += line + np.abs(diagonal)
    column[1 : 1 + n] += sigma + beyond.size_diagonal
    if beyond.cross is not None:
        column[1 : 1 + n] += np.abs(beyond.cross).sum(axis=0)
    column[0] += line.sum() + sigma.sum() + beyond.size_constant
    error = gamma(k + n + 13 + beyond.operations) * float(column.max()) * SAFETY + UNDERFLOW
    if products is not None:
        matrix, error = matrix + products.matrix, error + products.error
    return matrix, error


def _least_constant(matrix: np.ndarray, error: float) -> tuple[float, float] | None:
    """`γ` and `ω` such that `matrix + γ e₀e₀ᵀ + ω I` is proved positive semidefinite, for every
    matrix within `error` of the given one; `None` if the attempts fail."""
    try:
        factor = np.linalg.cholesky(matrix[1:, 1:])
    except np.linalg.LinAlgError:
        return None
    if not np.all(np.isfinite(factor)):
        return None
    # The factorisation of the whole, `e₀` last, is that of the rest and one more row; only the last
    # pivot knows the constant, so one factorisation serves.
    row = solve_triangular(factor, matrix[0, 1:], lower=True, check_finite=False)
    square = float(row @ row)
    least = square - matrix[0, 0]
    unit = 1.0 + abs(least) + abs(matrix[0, 0])
    for relative in (1e-9, 1e-7, 1e-5):
        constant = least + relative * unit
        corner = matrix[0, 0] + constant
        if corner - square > 0.0:  # NaN fails
            diagonal = np.concatenate([[corner], np.diag(matrix)[1:]])
            defect = completed_defect(diagonal)
            shifting = gamma(2) * (abs(matrix[0, 0]) + abs(constant))
            return constant, (defect + error + shifting) * SAFETY + diagonal.size * UNDERFLOW
    return None
