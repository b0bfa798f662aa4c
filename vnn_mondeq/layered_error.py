"""What a runtime may err, block by block: the sharper half of `vnn_mondeq.budget`.

Where the blocks of a system are in order (no neuron depends on a later block), errors are followed
from layer to layer. Letters: `z` the stored system's fixpoint, `z^` what a runtime (or the exact
file) has instead, `e = z^ - z`, `v` a pre-activation, `B` a block's rows, `<` the earlier neurons.

- *A block without feedback*: `v^ - v = W_B< e_< + η` with `|η| <= δ`, `δ` what the block's own row
  of `preactivation.radius` and `preactivation.runtime` allows at `|z^| <= |z| + |e|`; `z^`, `z` are
  the ReLU of `v^`, `v`, so `e_k = d_k (v^ - v)_k` with some `0 <= d_k <= 1`; `d_k = 1` where both
  are positive on the whole box, `d_k = 0` where both are negative.
- *A block with feedback*, its own modulus `m`: the perturbed pre-activation moves the fixpoint by
  at most `‖W_B< e_< + η‖₂ / m` (`vnn_mondeq.budget`, step 2), and its body adds its own error.

**Rows.** For `a · e` this is read backwards: with coefficients `c` on `e_B`, a block without
feedback leaves `Σ_k |d_k c_k| δ_k` and passes `(d c) W_B<` on, where `d c` is an interval for the
neurons whose `d` is open. Signs survive, so errors that a later layer cancels do not add up. A
block with feedback ends its path with `‖c‖₂ ‖e_B‖₂`.

All of it is valid for any order of summation and for fused operations: these are in the weights
`runtime`. Bounds are rounded up.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.layered_bounds import MAX_NEURONS, KnownBounds, backward_bounds
from vnn_mondeq.rounding import (
    SAFETY,
    UNDERFLOW,
    gamma,
    norm_up,
    product_error,
    round_down,
    round_up,
)
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import Block, ImplicitSystem
from vnn_mondeq.system.monotone import prove_strong_monotonicity, spectral_norm_upper_bound

Perturbations = list[tuple[Coefficients, float]]
"""Non-negative weights and a factor for each: what moves the values of an affine map."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class LayeredError:
    """Elementwise bounds for every point of one box, all `(p,)`.

    - `size`: `|z|` and `|z^|`; `moved`: `|e|`.
    - `local`: `δ`, zero in blocks with feedback.
    - `slope_low`, `slope_high`: bounds on `d`.
    - `norms`: for each block, its start and stop and bounds on `‖z‖₂`, `‖z^‖₂` and on `‖e‖₂`.
    """

    system: ImplicitSystem
    size: np.ndarray
    moved: np.ndarray
    local: np.ndarray
    slope_low: np.ndarray
    slope_high: np.ndarray
    norms: tuple[tuple[Block, float, float], ...]

    def sizes(self, weights: np.ndarray) -> np.ndarray:
        """Upper bounds `(n,)` on `weights |z|` for non-negative `weights (n, p)`."""
        return _weighted(weights, self.size, [(b, norm) for b, norm, _ in self.norms])

    def moves(self, weights: np.ndarray) -> np.ndarray:
        """Upper bounds `(n,)` on `weights |e|` for non-negative `weights (n, p)`."""
        return _weighted(weights, self.moved, [(b, norm) for b, _, norm in self.norms])

    def row_moves(self, rows: np.ndarray) -> np.ndarray:
        """Upper bounds `(n,)` on `|rows · e|` for `rows (n, p)` of any sign.

        The walk may stop before any block, with the bounds on the rest; the best stop counts.
        """
        middle, radius = np.array(rows), np.zeros_like(rows)
        total = np.full(rows.shape[0], UNDERFLOW)
        least = self.moves(np.abs(rows))
        for index in reversed(range(len(self.norms))):
            block, _, norm = self.norms[index]
            here, before = slice(block.start, block.stop), slice(0, block.start)
            if block.feedback:
                size = np.abs(middle[:, here]) + radius[:, here]
                total += norm_up(size, axis=1) * norm * SAFETY
                continue
            centre, spread = self._sloped(here, middle[:, here], radius[:, here])
            total += (np.abs(centre) + spread) @ self.local[here] * SAFETY
            W = self.system.W[here, before]
            magnitude = np.abs(W)
            radius[:, before] += (
                spread @ magnitude
                + product_error(np.abs(centre), magnitude, block.stop - block.start)
                + gamma(2) * np.abs(middle[:, before])
            ) * SAFETY
            middle[:, before] += centre @ W
            rest = np.abs(middle[:, before]) + radius[:, before]
            norms = [(done, move) for done, _, move in self.norms[:index]]
            least = np.minimum(least, (total + _weighted(rest, self.moved, norms)) * SAFETY)
        return np.minimum(least, total * SAFETY)

    def _sloped(
        self, here: slice, middle: np.ndarray, radius: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Centre and radius of `d c` for `c` within `radius` of `middle`."""
        ends = round_down(middle - radius), round_up(middle + radius)
        corners = [c * d for c in ends for d in (self.slope_low[here], self.slope_high[here])]
        low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
        centre = 0.5 * (low + high)
        return centre, np.maximum(high - centre, centre - low) * SAFETY + UNDERFLOW


def _weighted(
    weights: np.ndarray, entries: np.ndarray, norms: list[tuple[Block, float]]
) -> np.ndarray:
    total = np.zeros(weights.shape[0])
    for block, norm in norms:
        part = weights[:, block.start : block.stop]
        by_entry = part @ entries[block.start : block.stop]
        total += np.minimum(by_entry, norm_up(part, axis=1) * norm)
    return total * SAFETY + UNDERFLOW


def layered_error(
    system: ImplicitSystem,
    lower: np.ndarray,
    upper: np.ndarray,
    perturbations: Perturbations,
    unit: float | None,
) -> LayeredError | None:
    """Follow the errors through the blocks; `None` where these are not in order.

    - `perturbations`: of `system.preactivation`.
    - `unit`: `None` for real arithmetic, where bodies have no error.
    """
    if not _in_order(system, perturbations):
        return None
    walk = _Walk(system, lower, upper, perturbations, unit)
    if not all(walk.goes_through(block) for block in system.blocks):
        return None
    return LayeredError(
        system,
        walk.size,
        walk.moved,
        walk.local,
        walk.slope_low,
        walk.slope_high,
        tuple(walk.norms),
    )


def _in_order(system: ImplicitSystem, perturbations: Perturbations) -> bool:
    """Whether blocks tile `z` and no neuron depends on a later one, in any perturbed system."""
    position = 0
    for block in system.blocks:
        first_free = block.stop if block.feedback else block.start
        if block.start != position or block.stop < block.start:
            return False
        for on_z in (system.W, *(weights.on_z for weights, _ in perturbations)):
            if np.any(on_z[block.start : block.stop, first_free:]):
                return False
        position = block.stop
    return position == system.neurons


@final
class _Walk:
    """The bounds of the blocks so far: those of `LayeredError`, and of the stored system's `v` (its
    feedback left out) and `z`."""

    def __init__(
        self,
        system: ImplicitSystem,
        lower: np.ndarray,
        upper: np.ndarray,
        perturbations: Perturbations,
        unit: float | None,
    ):
        self.system, self.lower, self.upper = system, lower, upper
        self.perturbations, self.unit = perturbations, unit
        p = system.neurons
        self.v_low, self.v_high, self.low, self.high = (np.zeros(p) for _ in range(4))
        self.size, self.moved, self.local = (np.zeros(p) for _ in range(3))
        self.slope_low, self.slope_high = np.zeros(p), np.ones(p)
        self.norms: list[tuple[Block, float, float]] = []

    def goes_through(self, block: Block) -> bool:
        """Add a block's bounds. False where it has none."""
        here, before = slice(block.start, block.stop), slice(0, block.start)
        v_low, v_high = self._preactivation(here, before)
        if block.start > 0 and self.system.neurons <= MAX_NEURONS:
            known = KnownBounds(
                self.v_low, self.v_high, self.low, self.high, self.lower, self.upper
            )
            blocks = [done for done, *_ in self.norms]
            low, high = backward_bounds(self.system, blocks, block, known)
            v_low, v_high = np.fmax(v_low, low), np.fmin(v_high, high)
        self.v_low[here], self.v_high[here] = v_low, v_high
        local = self._local(here)
        carried = self._weighted(np.abs(self.system.W[here, before]), moves=True)
        delta = (local + carried) * SAFETY
        if block.feedback:
            return self._equilibrium(block, delta, v_high)
        active = v_high + delta > 0.0
        self.local[here] = local
        self.slope_low[here], self.slope_high[here] = v_low - delta > 0.0, active
        self.low[here], self.high[here] = np.maximum(v_low, 0.0), np.maximum(v_high, 0.0)
        self.moved[here] = np.where(active, delta, 0.0)
        self.size[here] = (self.high[here] + self.moved[here]) * SAFETY
        move = self._moved_norm(here, active, local)
        self.norms.append((block, float(norm_up(self.size[here])), move))
        return True

    def _moved_norm(self, here: slice, active: np.ndarray, local: np.ndarray) -> float:
        """A bound on `‖e_B‖₂`: by entries, or by `‖W_Bj‖₂ ‖e_j‖₂` over the earlier blocks, which
        for weights of both signs grows much slower from layer to layer."""
        by_entries = float(norm_up(self.moved[here]))
        if not self.norms or by_entries == 0.0 or self.system.neurons > MAX_NEURONS:
            return by_entries
        rows = self.system.W[here][active]
        total = float(norm_up(local[active]))
        for block, _, move in self.norms:
            part = rows[:, block.start : block.stop][:, self.moved[block.start : block.stop] > 0.0]
            if part.size and np.any(part):
                total += spectral_norm_upper_bound(part) * move * SAFETY
        return min(by_entries, total * SAFETY)

    def _local(self, here: slice) -> np.ndarray:
        """`δ` of a block, what its feedback may err left out."""
        if not self.perturbations:
            return np.zeros(here.stop - here.start)
        x_abs = np.maximum(np.abs(self.lower), np.abs(self.upper))
        total = np.full(here.stop - here.start, UNDERFLOW)
        for weights, factor in self.perturbations:
            part = self._weighted(weights.on_z[here, : here.start], moves=False)
            part = part + weights.on_x[here] @ x_abs + weights.offset[here]
            total += factor * part * SAFETY
        return total * SAFETY

    def _weighted(self, weights: np.ndarray, *, moves: bool) -> np.ndarray:
        norms = [(block, move if moves else norm) for block, norm, move in self.norms]
        return _weighted(weights, self.moved if moves else self.size, norms)

    def _preactivation(self, here: slice, before: slice) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of `W_B< z_< + U_B x + b_B` for the stored system."""
        system = self.system
        W, U, b = system.W[here, before], system.U[here], system.b[here]
        low, high = b.copy(), b.copy()
        error = np.zeros(b.size)
        for A, below, above in (
            (W, self.low[before], self.high[before]),
            (U, self.lower, self.upper),
        ):
            plus, minus = np.maximum(A, 0.0), np.minimum(A, 0.0)
            low += plus @ below + minus @ above
            high += plus @ above + minus @ below
            largest = np.maximum(np.abs(below), np.abs(above))
            error += 2.0 * product_error(np.abs(A), largest, 2 * A.shape[1] + 2)
            error += gamma(4) * np.abs(A) @ largest * SAFETY
        error = (error + gamma(4) * np.abs(b)) * SAFETY
        return low - error, high + error

    def _equilibrium(self, block: Block, delta: np.ndarray, v_high: np.ndarray) -> bool:
        here = slice(block.start, block.stop)
        spread = np.zeros((block.stop - block.start,) * 2)
        extra = 0.0
        for weights, factor in self.perturbations:
            own = weights.on_z[here, here]
            spread += factor * own * SAFETY
            # A runtime's weights are not among those for which monotonicity was proved.
            if weights is not self.system.preactivation.radius:
                extra += factor * float(norm_up(own)) * SAFETY
        modulus = _modulus(self.system, block)
        least = (modulus - extra * SAFETY) / SAFETY
        if not least > 0.0:
            return False
        size = float(norm_up(np.maximum(v_high + delta, 0.0))) / least * SAFETY
        pushed = (float(norm_up(delta)) + float(norm_up(spread)) * size) * SAFETY
        body = block.solver_error * block.scale if self.unit is not None else 0.0
        move = (pushed / modulus * SAFETY + body) * SAFETY
        reach = (size + move) * SAFETY
        self.high[here], self.size[here], self.moved[here] = size, reach, move
        self.norms.append((block, reach, move))
        return True


def _modulus(system: ImplicitSystem, block: Block) -> float:
    """A proved modulus of the block alone."""
    if block.modulus > 0.0:
        return block.modulus
    if block.start == 0 and block.stop == system.neurons:
        return system.proof.modulus
    here = slice(block.start, block.stop)
    radius = system.preactivation.radius
    own = None if radius is None else radius.on_z[here, here]
    return prove_strong_monotonicity(system.W[here, here], own).modulus
