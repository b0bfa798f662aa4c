"""The exact fixpoint at one point, in rationals, for systems that are small enough.

A float64 fixpoint suggests which neurons are active; the rational solution for that pattern is
*the* fixpoint if it satisfies `z >= 0` and `s = z - (Wz + q) >= 0` with `z s = 0`, since strong
monotonicity leaves no other. Nothing here is approximate: an answer is exact, or there is none.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vnn_mondeq.system.affine import AffineMap
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolver

MAX_ACTIVE = 30
"""Most active neurons of an equilibrium layer: the elimination's rationals grow with each."""

MAX_WEIGHTS = 500_000
"""Most weights that are read as rationals."""


def exact_outputs(system: ImplicitSystem, x: np.ndarray) -> list[Fraction] | None:
    """The outputs at floats `x (d,)` that the file defines; `None` where that is not found out.

    Only where the stored weights are the file's own (no `radius`), and the file means the fixpoint.
    """
    if any(block.plain_loop for block in system.blocks):
        return None
    if system.preactivation.radius is not None or system.output.radius is not None:
        return None
    if system.W.size + system.U.size + system.output.coefficients.on_x.size > MAX_WEIGHTS:
        return None
    point = [Fraction(float(v)) for v in x]
    z = _exact_fixpoint(system, x, point)
    return None if z is None else _evaluate(system.output, z, point)


def _exact_fixpoint(
    system: ImplicitSystem, x: np.ndarray, point: Sequence[Fraction]
) -> list[Fraction] | None:
    nothing = [Fraction(0)] * system.neurons
    constants = _evaluate(system.preactivation, nothing, point)
    near = FixpointSolver(system).solve(x[None]).value[0]
    z = list(nothing)
    for block in system.blocks:
        rows = range(block.start, block.stop)
        drive = [constants[i] + _dot(system.W[i, : block.start], z) for i in rows]
        if block.feedback:
            W = system.W[block.start : block.stop, block.start : block.stop]
            solved = _solve_block(W, drive, near[block.start : block.stop])
            if solved is None:
                return None
        else:
            solved = [max(value, Fraction(0)) for value in drive]
        z[block.start : block.stop] = solved
    return z


def _solve_block(W: np.ndarray, drive: list[Fraction], near: np.ndarray) -> list[Fraction] | None:
    """The fixpoint of `z = ReLU(Wz + drive)` if the signs of `near` are its signs."""
    active = np.flatnonzero(near > 1e-9 * max(1.0, float(near.max(initial=0.0))))
    if active.size > MAX_ACTIVE:
        return None
    exact = [[Fraction(int(a == b)) - Fraction(float(W[a, b])) for b in active] for a in active]
    values = _eliminate(exact, [drive[i] for i in active])
    if values is None or min(values, default=Fraction(0)) < 0:
        return None
    z = [Fraction(0)] * len(drive)
    for i, value in zip(active, values, strict=True):
        z[i] = value
    chosen = set(active.tolist())
    idle = (i for i in range(len(drive)) if i not in chosen)
    return z if all(drive[i] + _dot(W[i], z) <= 0 for i in idle) else None


def _eliminate(matrix: list[list[Fraction]], right: list[Fraction]) -> list[Fraction] | None:
    """The solution of a linear system, by Gaussian elimination; `None` where it is singular."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for k in range(len(rows)):
        pivot = next((i for i in range(k, len(rows)) if rows[i][k]), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        scale = rows[k][k]
        rows[k] = [value / scale for value in rows[k]]
        for i, row in enumerate(rows):
            if i != k and row[k]:
                factor = row[k]
                rows[i] = [a - factor * b for a, b in zip(row, rows[k], strict=True)]
    return [row[-1] for row in rows]


def _evaluate(affine: AffineMap, z: Sequence[Fraction], x: Sequence[Fraction]) -> list[Fraction]:
    c = affine.coefficients
    return [
        _dot(on_z, z) + _dot(on_x, x) + Fraction(float(offset))
        for on_z, on_x, offset in zip(c.on_z, c.on_x, c.offset, strict=True)
    ]


def _dot(weights: np.ndarray, values: Sequence[Fraction]) -> Fraction:
    total = Fraction(0)
    for i in np.flatnonzero(weights):
        if values[i]:
            total += Fraction(float(weights[i])) * values[i]
    return total
