"""Independent check of an `EllipsoidCertificate`: every case refuted by one row over an ellipsoid.

A row `t = c·z + h·x + o` is written `a·y + (c - aG)·z + (h - aH)·x + (o - a·g)` with any `a`; the
ellipsoid bounds the first term, the box and the input set what is left over (rounding, where the
row is a function of the outputs).
"""

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, gamma, product_error
from vnn_mondeq.sdp.ellipsoid_certificate import EllipsoidCertificate
from vnn_mondeq.sdp.ellipsoid_check import Confirmed, Rejection, confirm
from vnn_mondeq.system.implicit import ImplicitSystem


def check_ellipsoid_certificate(
    problem: Problem, certificate: EllipsoidCertificate, deadline: Deadline
) -> float | Rejection:
    """The smallest proved margin over all cases of the problem, or why there is none.

    A returned number is positive: in each case some row exceeds its `rows.error` by at least that
    much on the whole proof set, in exact real arithmetic.

    **Raises** `DeadlineExceeded`.
    """
    counts = {len(certificate.proofs), len(certificate.rows), len(problem.obligations)}
    if len(counts) != 1:
        return Rejection("the numbers of ellipsoids, of rows and of obligations differ")
    smallest = np.inf
    parts = zip(problem.obligations, certificate.proofs, certificate.rows, strict=True)
    for position, (obligation, proof, rows) in enumerate(parts):
        deadline.check()
        confirmed = confirm(problem.system, obligation.proof_inputs, proof)
        if isinstance(confirmed, Rejection):
            return Rejection(f"input set {position}: {confirmed.reason}")
        shape = (obligation.rows.error.size, problem.system.output_size)
        if rows.on_outputs.shape != shape or not np.all(np.isfinite(rows.on_outputs)):
            return Rejection(f"input set {position}: the rows have the wrong shape or no numbers")
        margins = row_margins(problem.system, obligation, confirmed, rows.on_outputs)
        for case in obligation.cases:
            margin = max((float(margins[row]) for row in case), default=-np.inf)
            if not margin > 0.0:  # also for NaN
                return Rejection(f"input set {position}: a case is not refuted ({margin:.3g})")
            smallest = min(smallest, margin)
    return float(smallest)


def row_margins(
    system: ImplicitSystem, obligation: Obligation, confirmed: Confirmed, on_outputs: np.ndarray
) -> np.ndarray:
    """Proved lower bounds `(n,)` on `rows - rows.error`; `on_outputs (n, q)` are hints."""
    rows, out = obligation.rows.coefficients, system.output.coefficients
    q = on_outputs.shape[1]
    lower, upper = obligation.proof_inputs.bounds()
    x_abs = np.maximum(np.abs(lower), np.abs(upper))
    size = np.abs(on_outputs)

    def left_over(row: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        magnitude = np.abs(part)
        error = product_error(size, magnitude, q) + gamma(4) * np.abs(row)
        return row - on_outputs @ part, error * SAFETY

    on_z, z_error = left_over(rows.on_z, out.on_z)
    on_x, x_error = left_over(rows.on_x, out.on_x)
    constant, error = left_over(rows.offset, out.offset)
    by_ellipsoid = confirmed.ellipsoid.support(-on_outputs)
    by_box = (np.maximum(-on_z, 0.0) + z_error) @ confirmed.upper_z * SAFETY
    by_inputs = obligation.proof_inputs.support(-on_x) + x_error @ x_abs * SAFETY
    spent = by_ellipsoid + by_box + by_inputs + error + obligation.rows.error
    magnitude = np.abs(by_ellipsoid) + by_box + np.abs(by_inputs) + error + obligation.rows.error
    closing = gamma(8) * (magnitude + np.abs(constant)) * SAFETY + UNDERFLOW
    margin = constant - spent - closing
    return np.where(np.isnan(margin), -np.inf, margin)
