"""How far a row evaluated at a computed fixpoint may be from its true value."""

import numpy as np

from vnn_mondeq.rounding import SAFETY, norm_up, product_error
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolution


def bound_row_error(
    system: ImplicitSystem, rows: Coefficients, x: np.ndarray, solution: FixpointSolution
) -> np.ndarray:
    """Bounds `(n,)` on how far rows at the true fixpoint, for any values of the auxiliary inputs
    in their boxes, are from those evaluated at `solution` and `x`."""
    both = np.abs(np.hstack([rows.on_z, rows.on_x, rows.offset[:, None]]))
    size = np.concatenate([np.abs(solution.value[0]), np.abs(x), [1.0]])
    spread = system.auxiliary_upper
    on_spread = np.abs(rows.on_x[:, system.file_input_size :]) @ spread
    # ‖z(x, δ) - z(x, 0)‖₂ <= ‖U δ‖₂ / m (vnn_mondeq.budget, step 2).
    moved = norm_up(np.abs(system.U[:, system.file_input_size :]) @ spread) / system.proof.modulus
    shift = (moved * SAFETY + solution.error_bound[0]) * SAFETY
    error = product_error(both, size, size.size) + norm_up(rows.on_z, axis=1) * shift
    return (error + on_spread * SAFETY) * SAFETY
