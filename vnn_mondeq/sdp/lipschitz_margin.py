"""Independent check of a `LipschitzCertificate`: margins at the centre minus proved movements."""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.bounds.check import CheckedBox, Rejection, check_box
from vnn_mondeq.bounds.rejection import smallest_margin
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, norm_up, product_error
from vnn_mondeq.sdp.lipschitz_certificate import (
    LipschitzCertificate,
    LipschitzProof,
    LipschitzRefutation,
)
from vnn_mondeq.sdp.lipschitz_check import (
    EnclosedSlopes,
    enclose_increments,
    proved_row_bound,
    slopes_anywhere,
    slopes_from_point,
)
from vnn_mondeq.sdp.lipschitz_enclosure import Enclosed
from vnn_mondeq.sdp.lipschitz_region import Region
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolver


def check_lipschitz(
    problem: Problem, certificate: LipschitzCertificate, deadline: Deadline
) -> float | Rejection:
    """The smallest proved margin over all cases of the problem, or why there is none.

    A returned number is positive: in each case some row exceeds its `rows.error` by at least that
    much on the whole proof set, in exact real arithmetic.

    **Raises** `DeadlineExceeded`.
    """
    return smallest_margin(problem, certificate.proofs, _check_obligation, deadline)


def _check_obligation(
    system: ImplicitSystem, obligation: Obligation, proof: LipschitzProof, deadline: Deadline
) -> float | Rejection:
    deadline.check()
    fault = _form_fault(obligation, proof)
    if fault is not None:
        return Rejection(fault)
    region = Region.around(obligation.proof_inputs)
    if region is None:
        return Rejection("the input set is not bounded")
    box: CheckedBox | None = None
    if proof.box is not None:
        checked = check_box(system, obligation, proof.box)
        if isinstance(checked, Rejection):
            return checked
        box = checked
    center = _center_of(system, region)
    rows = np.array([refutation.row for refutation in proof.refutations], dtype=np.intp)
    chosen = obligation.rows.coefficients.take(rows)
    values = center.least_rows(chosen.on_z, chosen.on_x, chosen.offset)
    moving = enclose_increments(
        system,
        Enclosed.exact(chosen.on_z),
        Enclosed.exact(chosen.on_x),
        _slopes(system, box, center),
        region,
    )
    smallest = np.inf
    for index, refutation in enumerate(proof.refutations):
        deadline.check()
        moved = proved_row_bound(moving, index, region, refutation.sigma, refutation.sector)
        lost = (moved + float(obligation.rows.error[refutation.row])) * SAFETY
        margin = float(np.nextafter(values[index] - lost, -np.inf))
        if not margin > 0.0:  # also for NaN
            return Rejection(f"case {index} is not refuted: its margin is {margin:.3g}")
        smallest = min(smallest, margin)
    return smallest


def _form_fault(obligation: Obligation, proof: LipschitzProof) -> str | None:
    if len(proof.refutations) != len(obligation.cases):
        return f"{len(proof.refutations)} refutations for {len(obligation.cases)} cases"
    for index, (case, refutation) in enumerate(
        zip(obligation.cases, proof.refutations, strict=True)
    ):
        if not isinstance(refutation, LipschitzRefutation) or refutation.row not in case:
            return f"the refutation of case {index} uses a row that is not the case's"
    return None


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Center:
    """The fixpoint of the region's centre: `z` within `distance` (2-norm), `v` within
    `[low, high]`."""

    x: np.ndarray
    z: np.ndarray
    distance: float
    low: np.ndarray
    high: np.ndarray

    def least_rows(self, on_z: np.ndarray, on_x: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Lower bounds on rows at the centre."""
        value = on_z @ self.z + on_x @ self.x + offset
        both = np.hstack([on_z, on_x, offset[:, None]])
        size = np.concatenate([np.abs(self.z), np.abs(self.x), [1.0]])
        rounding = product_error(np.abs(both), size, size.size)
        off = rounding + norm_up(on_z, axis=1) * self.distance
        return value - off * SAFETY - UNDERFLOW


def _center_of(system: ImplicitSystem, region: Region) -> _Center:
    """A float point near the fixpoint, trusted only through its residual `r = z - ReLU(v̂)`.

    `z' = z - r` is the fixpoint for the offset `b + W r`, so strong monotonicity puts the exact
    fixpoint within `‖r‖ + ‖W r‖ / m` of `z`; `‖W‖ <= 1 + L`.
    """
    x = region.center
    z = np.maximum(FixpointSolver(system).solve(x[None, :]).value[0], 0.0)
    v = system.W @ z + system.U @ x + system.b
    both = np.hstack([system.W, system.U, system.b[:, None]])
    size = np.concatenate([z, np.abs(x), [1.0]])
    rounding = product_error(np.abs(both), size, size.size)
    residual = np.abs(z - np.maximum(v, 0.0)) * SAFETY + rounding
    m, L = system.proof.modulus, system.proof.norm
    distance = (1.0 + (1.0 + L) / m) * float(norm_up(residual)) * SAFETY + UNDERFLOW
    off = (rounding + (1.0 + L) * distance) * SAFETY
    return _Center(x, z, distance, v - off, v + off)


def _slopes(system: ImplicitSystem, box: CheckedBox | None, center: _Center) -> EnclosedSlopes:
    if box is None:
        return slopes_anywhere(system.neurons)
    return slopes_from_point(box.upper_z, box.upper_s, center.low, center.high)
