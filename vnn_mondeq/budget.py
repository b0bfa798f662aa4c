"""How far a model's outputs may be from those of the stored float64 system.

Engines and certificate checkers take the arrays `W, U, b, G, H, g` of an `ImplicitSystem` as exact
and reason about their exact fixpoint `z*`. What the query is about differs from that in two ways:

- **the file**: compiling it rounded; the exact coefficients are within `AffineMap.radius`;
- **the runtime** (float queries only): onnxruntime evaluates the graph in its element type and
  stops the iteration of the attached body at a tolerance.

Both are bounded here, once, for all points of a box, and `vnn_mondeq.statement` adds the result to
`Rows.error`, the only place with model error: it then suffices to prove `row(z*(x), x) > error`.

**Derivation.** Let `M = I - W` with modulus `m` (for every matrix within the radius).

1. *Size of fixpoints.* `z* >= 0`, `s* = Mz* - q >= 0`, `<z*, s*> = 0` with `q = Ux + b` give
   `m ‖z*‖² <= <z*, Mz*> = <z*, q> <= ‖z*‖ ‖max(q, 0)‖`, so `‖z*‖₂ <= ‖max(q, 0)‖₂ / m`.
2. *Perturbed pre-activation.* If `z = ReLU(Wz + q)` and `z' = ReLU(Wz' + q + δ)` then
   `<z - z', s - s'> <= 0` with `s - s' = M(z - z') + δ`, so `‖z - z'‖₂ <= ‖δ‖₂ / m`.
3. *A runtime* returns `z^ = z' + e`, where `‖e‖` is the bodies' own error (`Block.solver_error`)
   and `z'` solves the system with the pre-activation moved by `δ`: the coefficients' radius, the
   evaluation error `u · AffineMap.runtime`, and `W_off e`, because later blocks read `z^` and not
   `z'` (`W_off` is `W` without its diagonal blocks). Hence `‖z^ - z*‖ <= ‖δ‖/m + ‖e‖`; `δ`
   depends on `‖z^‖ <= ‖z*‖ + ‖z^ - z*‖`, and the inequality is solved for `‖z^ - z*‖`.

Vectors are measured in the 2-norm; `|z|` enters rows through the Cauchy-Schwarz inequality. For
stacks of layers that is coarse, since one modulus and one norm stand for all of them;
`vnn_mondeq.layered_error` follows the errors block by block, and the smaller bound counts.

Not covered: a runtime that does not evaluate the graph as written (unsafe fusions, flushing of
float16 accumulations, fast-math). The replay of witnesses is not affected by that.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.layered_error import LayeredError, layered_error
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, UNIT32, norm_up, product_error
from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem

UNITS: dict[str, float] = {"float32": UNIT32, "float64": UNIT}
"""Element type → unit roundoff of a runtime that computes in it."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class ModelError:
    """Bounds that hold for every point of one box.

    - `z_norm`: `‖z‖₂` of the stored system's fixpoint and of anything a runtime returns.
    - `z_shift`: 2-norm distance between the two; zero for an exact file and real arithmetic.
    - `output (q,)`: error of each output at a *given* `(z, x)`: radius of the output map, and
      evaluation error of a runtime.
    - `layers`: the same by blocks, where they are in order.

    Infinite where no bound holds: an unbounded box, or a system so badly conditioned that the
    runtime's error is not bounded by this argument.
    """

    z_norm: float
    z_shift: float
    output: np.ndarray
    layers: LayeredError | None = None

    def sizes(self, weights: np.ndarray) -> np.ndarray:
        """Upper bounds `(n,)` on `weights |z|` for non-negative `weights (n, p)`."""
        return _weighted_size(weights, self.z_norm, self.layers)

    def row_shifts(self, rows: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Upper bounds `(n,)` on how far the `z` part of rows may move, for any matrix within
        `error (n, p)` of `rows (n, p)`."""
        with np.errstate(invalid="ignore"):  # an infinite shift of a row without neurons
            whole = (norm_up(rows, axis=1) + norm_up(error, axis=1)) * self.z_shift * SAFETY
        if self.layers is None:
            return whole
        by_layers = (self.layers.row_moves(rows) + self.layers.moves(error)) * SAFETY
        return np.fmin(whole, by_layers)


def bound_model_error(
    system: ImplicitSystem, lower: np.ndarray, upper: np.ndarray, unit: float | None
) -> ModelError:
    """Bound the model error on the box `[lower (d,), upper (d,)]`.

    `unit` is the runtime's unit roundoff, or `None` for real arithmetic.
    """
    if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
        return ModelError(np.inf, np.inf, np.full(system.output_size, np.inf))
    x_abs = np.maximum(np.abs(lower), np.abs(upper))
    fixpoint_norm = _fixpoint_norm(system, lower, upper, x_abs)
    z_shift = _z_shift(system, x_abs, fixpoint_norm, unit)
    z_norm = (fixpoint_norm + z_shift) * SAFETY
    layers = layered_error(system, lower, upper, _perturbations(system.preactivation, unit), unit)
    output = np.full(system.output_size, UNDERFLOW)
    for weights, factor in _perturbations(system.output, unit):
        on_z = _weighted_size(weights.on_z, z_norm, layers)
        output = output + factor * (on_z + weights.on_x @ x_abs + weights.offset) * SAFETY
    if z_shift == 0.0 and not _perturbations(system.output, unit):
        output = np.zeros_like(output)
    return ModelError(z_norm, z_shift, output * SAFETY, layers)


def _weighted_size(weights: np.ndarray, z_norm: float, layers: LayeredError | None) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        whole = norm_up(weights, axis=1) * z_norm * SAFETY
    return whole if layers is None else np.fmin(whole, layers.sizes(weights))


def _perturbations(affine: AffineMap, unit: float | None) -> list[tuple[Coefficients, float]]:
    """What moves the values of an affine map: non-negative weights and a factor for each."""
    found = []
    if affine.radius is not None:
        found.append((affine.radius, 1.0))
    if affine.runtime is not None and unit is not None:
        found.append((affine.runtime, unit))
    return found


def _magnitude(weights: Coefficients, z_norm: float, x_abs: np.ndarray) -> np.ndarray:
    """Upper bounds `(n,)` on `weights.on_z |z| + weights.on_x |x| + weights.offset`."""
    return (norm_up(weights.on_z, axis=1) * z_norm + weights.on_x @ x_abs + weights.offset) * SAFETY


def _fixpoint_norm(
    system: ImplicitSystem, lower: np.ndarray, upper: np.ndarray, x_abs: np.ndarray
) -> float:
    """Step 1 of the derivation, for the stored and the exact coefficients alike."""
    U, b = system.U, system.b
    drive = np.maximum(U, 0.0) @ upper + np.minimum(U, 0.0) @ lower + b
    rounding = 2.0 * product_error(np.abs(U), x_abs, U.shape[1]) + 4.0 * UNIT * np.abs(b)
    radius = system.preactivation.radius
    if radius is not None:
        rounding = rounding + (radius.on_x @ x_abs + radius.offset) * SAFETY
    drive = np.maximum(drive + rounding * SAFETY, 0.0)
    return float(norm_up(drive)) / system.proof.modulus * SAFETY


def _z_shift(
    system: ImplicitSystem, x_abs: np.ndarray, fixpoint_norm: float, unit: float | None
) -> float:
    """Steps 2 and 3 of the derivation: `shift <= (constant + slope (norm + shift)) / m + own`."""
    constant = slope = own = 0.0
    for weights, factor in _perturbations(system.preactivation, unit):
        fixed = _magnitude(weights, 0.0, x_abs)
        constant += factor * float(norm_up(fixed))
        slope += factor * float(norm_up(weights.on_z))
    if unit is not None:
        errors = np.array([block.solver_error * block.scale for block in system.blocks])
        own = float(norm_up(errors)) * SAFETY
        constant += _coupling(system) * own if own > 0.0 else 0.0
    if constant == slope == own == 0.0:
        return 0.0
    slope *= SAFETY
    contraction = system.proof.modulus - slope
    if not contraction > 0.0:
        return np.inf
    driven = (constant + slope * (fixpoint_norm + own)) * SAFETY
    return (driven / contraction + own) * SAFETY + UNDERFLOW


def _coupling(system: ImplicitSystem) -> float:
    """An upper bound on the 2-norm of `W` without its diagonal blocks."""
    outside = system.W.copy()
    for block in system.blocks:
        outside[block.start : block.stop, block.start : block.stop] = 0.0
    return float(norm_up(outside))
