"""Several systems as one: block-diagonal in their neurons, over inputs that they may share.

    z = (z_1, …, z_n),   v_k = W_k z_k + U_k x[positions_k] + b_k,   y = (y_1, …, y_n)

`I - W` is block-diagonal too, so it is strongly monotone with the least modulus of the parts.
Letters: `d` inputs of the whole, `d_k` of part `k`.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vnn_mondeq.rounding import SAFETY, UNDERFLOW, gamma
from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.implicit import Block, ImplicitSystem
from vnn_mondeq.system.monotone import MonotonicityProof


def side_by_side(
    systems: Sequence[ImplicitSystem],
    positions: Sequence[np.ndarray],
    input_size: int,
    outputs: Mapping[str, tuple[int, ...]],
    rows: Sequence[np.ndarray] | None = None,
) -> ImplicitSystem:
    """The whole of some systems.

    **Arguments:**

    - `positions`: for each system, where the inputs of its file `(d_k,)` stand among those of the
      whole; several may stand at one place. Auxiliary inputs come behind those of all files.
    - `input_size`: how many inputs of files there are.
    - `outputs`: names and shapes of all outputs, one system's after the other's.
    - `rows`: for each system, which of its output rows it contributes; all by default.

    A system that occurs twice at the same positions computes the same numbers twice: it is taken
    once, and its outputs are repeated.
    """
    chosen, occurrences = _distinct(systems, positions)
    parts = [systems[index] for index in chosen]
    starts = np.cumsum([0, *(part.neurons for part in parts)])
    behind = input_size + np.cumsum([0, *(part.auxiliary_size for part in parts)])
    places = [
        np.concatenate([positions[index], np.arange(start, start + part.auxiliary_size)])
        for index, start, part in zip(chosen, behind, parts, strict=False)
    ]
    maps = [
        (
            _placed(part.preactivation, starts, k, places[k], int(behind[-1])),
            _placed(part.output, starts, k, places[k], int(behind[-1])),
        )
        for k, part in enumerate(parts)
    ]
    return ImplicitSystem(
        preactivation=_stacked([layers for layers, _ in maps]),
        output=_stacked(
            [
                maps[k][1] if rows is None else _rows_of(maps[k][1], rows[index])
                for index, k in enumerate(occurrences)
            ]
        ),
        blocks=tuple(
            _moved(block, int(starts[k]), k)
            for k, part in enumerate(parts)
            for block in part.blocks
        ),
        proof=MonotonicityProof(
            modulus=min(part.proof.modulus for part in parts),
            norm=max(part.proof.norm for part in parts),
        ),
        inputs={"x": (input_size,)},
        outputs=outputs,
        auxiliary_lower=np.concatenate([part.auxiliary_lower for part in parts]),
        auxiliary_upper=np.concatenate([part.auxiliary_upper for part in parts]),
    )


def _distinct(
    systems: Sequence[ImplicitSystem], positions: Sequence[np.ndarray]
) -> tuple[list[int], list[int]]:
    """The systems to be taken, each once, and for every system which of them it is."""
    distinct: dict[tuple[int, bytes], int] = {}
    chosen: list[int] = []
    occurrences = []
    for index, (system, places) in enumerate(zip(systems, positions, strict=True)):
        key = (id(system), np.asarray(places, dtype=np.intp).tobytes())
        if key not in distinct:
            distinct[key] = len(chosen)
            chosen.append(index)
        occurrences.append(distinct[key])
    return chosen, occurrences


def _rows_of(affine: AffineMap, rows: np.ndarray) -> AffineMap:
    radius, runtime = affine.radius, affine.runtime
    return AffineMap(
        affine.coefficients.take(rows),
        None if radius is None else radius.take(rows),
        None if runtime is None else runtime.take(rows),
    )


def _moved(block: Block, start: int, part: int) -> Block:
    name = f"{part}:{block.name}"
    return dataclasses.replace(block, name=name, start=block.start + start, stop=block.stop + start)


def _placed(
    affine: AffineMap, starts: np.ndarray, k: int, places: np.ndarray, input_size: int
) -> AffineMap:
    """The map of part `k` over the neurons and inputs of the whole."""
    neurons = slice(int(starts[k]), int(starts[k + 1]))

    def widen(c: Coefficients | None) -> Coefficients | None:
        if c is None:
            return None
        rows = c.offset.shape[0]
        on_z = np.zeros((rows, int(starts[-1])))
        on_z[:, neurons] = c.on_z
        on_x = np.zeros((rows, input_size))
        np.add.at(on_x.T, places, c.on_x.T)
        return Coefficients(on_z, on_x, c.offset)

    shared = np.bincount(places, minlength=input_size).max(initial=0)
    radius = widen(affine.radius)
    if shared > 1:
        # Columns of inputs at one place were added up, with a rounding for each addition.
        size = widen(Coefficients(*(np.abs(a) for a in _arrays(affine.coefficients)))).on_x
        error = (gamma(int(shared)) * SAFETY) * size + (size > 0.0) * UNDERFLOW
        zero = Coefficients(*(np.zeros_like(a) for a in _arrays(widen(affine.coefficients))))
        before = zero if radius is None else radius
        radius = Coefficients(before.on_z, before.on_x * SAFETY + error, before.offset)
    runtime = widen(affine.runtime)
    if runtime is not None and shared > 1:
        runtime = Coefficients(runtime.on_z, runtime.on_x * SAFETY, runtime.offset)
    return AffineMap(widen(affine.coefficients), radius, runtime)


def _arrays(c: Coefficients) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return c.on_z, c.on_x, c.offset


def _stacked(maps: Sequence[AffineMap]) -> AffineMap:
    """The rows of all maps, one map's below the other's; what one lacks is zero there."""

    def join(parts: list[Coefficients | None]) -> Coefficients | None:
        if all(part is None for part in parts):
            return None
        filled = [
            part or Coefficients(*(np.zeros_like(a) for a in _arrays(own.coefficients)))
            for part, own in zip(parts, maps, strict=True)
        ]
        arrays = zip(*map(_arrays, filled), strict=True)
        return Coefficients(*(np.concatenate(several) for several in arrays))

    return AffineMap(
        join([m.coefficients for m in maps]),
        join([m.radius for m in maps]),
        join([m.runtime for m in maps]),
    )
