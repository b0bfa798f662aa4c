"""Stacking the blocks of a graph to one strongly monotone implicit system."""

import math

import numpy as np

from vnn_mondeq.errors import ModelError
from vnn_mondeq.onnx_io.affine_form import AUXILIARY, INPUT, UNITY, Form, Terms, dense
from vnn_mondeq.onnx_io.builder import Builder, Draft
from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.implicit import Block, ImplicitSystem
from vnn_mondeq.system.monotone import prove_strong_monotonicity

MAX_NEURONS = 20_000
"""`W` is held as a dense matrix."""


def assemble(
    builder: Builder,
    outputs: dict[str, Form],
    inputs: dict[str, tuple[int, ...]],
) -> ImplicitSystem:
    """The system of all blocks and outputs. Auxiliary inputs follow those of the file.

    **Raises** `ModelError` when the network is too large, its weights overflow when blocks are
    scaled, or (`NotMonotoneError`) no scaling proves the whole to be monotone.
    """
    drafts = builder.drafts
    sizes = [draft.kept.size for draft in drafts]
    if sum(sizes) > MAX_NEURONS:
        raise ModelError(f"the network has {sum(sizes)} neurons; at most {MAX_NEURONS} fit")
    starts = np.cumsum([0, *sizes])
    own_size = sum(int(np.prod(shape, dtype=np.int64)) for shape in inputs.values())
    widths = {AUXILIARY - j: low.size for j, (low, _) in enumerate(builder.auxiliary)}
    input_size = own_size + sum(widths.values())

    def place(terms: Terms, rows: int) -> Coefficients:
        """Terms of one form as coefficients on the whole of `(z, x)`."""
        on_z = np.zeros((rows, int(starts[-1])))
        for k, size in enumerate(sizes):
            if k in terms:
                on_z[:, starts[k] : starts[k + 1]] = dense(terms, k, rows, size)
        groups = [dense(terms, source, rows, size) for source, size in widths.items()]
        on_x = np.hstack([dense(terms, INPUT, rows, own_size), *groups])
        return Coefficients(on_z, on_x, dense(terms, UNITY, rows, 1)[:, 0])

    layers = _stack([_affine(place, draft.argument) for draft in drafts], starts[-1], input_size)
    layers = _with_feedback(layers, drafts, starts)
    last = _stack([_affine(place, form) for form in outputs.values()], starts[-1], input_size)
    scales = _block_scales(layers, drafts, starts)
    weights = np.repeat(scales, sizes) if sizes else np.zeros(0)
    layers = _scaled(layers, weights, weights)
    last = _scaled(last, np.ones(last.rows), weights)
    radius = layers.radius.on_z if layers.radius is not None else None
    return ImplicitSystem(
        preactivation=layers,
        output=last,
        blocks=_blocks(drafts, starts, scales),
        proof=prove_strong_monotonicity(layers.coefficients.on_z, radius),
        inputs=inputs,
        outputs={name: form.shape for name, form in outputs.items()},
        auxiliary_lower=np.concatenate([np.zeros(0), *(low for low, _ in builder.auxiliary)]),
        auxiliary_upper=np.concatenate([np.zeros(0), *(high for _, high in builder.auxiliary)]),
    )


def _blocks(drafts: list[Draft], starts: np.ndarray, scales: np.ndarray) -> tuple[Block, ...]:
    return tuple(
        Block(
            name=draft.name,
            start=int(starts[k]),
            stop=int(starts[k + 1]),
            feedback=draft.feedback is not None,
            scale=float(scales[k]),
            size=draft.size,
            kept=draft.kept,
            solver_error=draft.solver_error,
            plain_loop=draft.plain_loop,
            modulus=draft.proof.modulus,
        )
        for k, draft in enumerate(drafts)
    )


def _affine(place, form: Form) -> AffineMap:
    radius = place(form.radius, form.size) if form.radius else None
    runtime = place(form.runtime, form.size)
    return AffineMap(place(form.value, form.size), radius, runtime)


def _stack(maps: list[AffineMap], neurons: int, inputs: int) -> AffineMap:
    """Rows of all maps, one below the other."""

    def join(parts: list[Coefficients]) -> Coefficients:
        empty = Coefficients(np.zeros((0, neurons)), np.zeros((0, inputs)), np.zeros(0))
        parts = [empty, *parts]
        return Coefficients(
            np.concatenate([part.on_z for part in parts]),
            np.concatenate([part.on_x for part in parts]),
            np.concatenate([part.offset for part in parts]),
        )

    def zero(like: Coefficients) -> Coefficients:
        return Coefficients(*(np.zeros_like(a) for a in (like.on_z, like.on_x, like.offset)))

    inexact = any(m.radius is not None for m in maps)
    radii = [m.radius if m.radius is not None else zero(m.coefficients) for m in maps]
    return AffineMap(
        join([m.coefficients for m in maps]),
        join(radii) if inexact else None,
        join([m.runtime for m in maps]),
    )


def _with_feedback(layers: AffineMap, drafts: list[Draft], starts: np.ndarray) -> AffineMap:
    """The map with each block's own `W` on the diagonal.

    The body works in double precision; its rounding is part of the solver's error bound, so
    feedback adds nothing to `runtime`.
    """
    stored = layers.coefficients
    on_z, spread = stored.on_z.copy(), np.zeros_like(stored.on_z)
    for k, draft in enumerate(drafts):
        if draft.feedback is None:
            continue
        own = slice(starts[k], starts[k + 1])
        on_z[own, own] = draft.feedback.W
        if draft.feedback.radius is not None:
            spread[own, own] = draft.feedback.radius
    radius = layers.radius
    if np.any(spread > 0.0):
        if radius is None:
            radius = Coefficients(spread, np.zeros_like(stored.on_x), np.zeros_like(stored.offset))
        else:
            # A block's argument never reads the block itself, so no entry is set twice.
            radius = Coefficients(radius.on_z + spread, radius.on_x, radius.offset)
    coefficients = Coefficients(on_z, stored.on_x, stored.offset)
    return AffineMap(coefficients, radius, layers.runtime)


def _block_scales(layers: AffineMap, drafts: list[Draft], starts: np.ndarray) -> np.ndarray:
    """Powers of two `s` such that `D W D⁻¹`, `D = diag(s)`, has small blocks below the diagonal.

    With `b` the norm of the new block row and `μ`, `m` the moduli of the system so far and of
    the block, Weyl's inequality gives the modulus `min(μ, m) - b/2`; `b <= min(μ, m)/2` keeps
    three quarters. The radius counts as well: how far a plain loop ends from its fixpoint may be
    more than the weights themselves.
    """
    W, radius = layers.coefficients.on_z, layers.radius
    spread = np.zeros_like(W) if radius is None else radius.on_z
    scales = np.ones(len(drafts))
    modulus = math.inf
    for k, draft in enumerate(drafts):
        rows = W[starts[k] : starts[k + 1], : starts[k]]
        columns = np.repeat(1.0 / scales[:k], np.diff(starts[: k + 1])) if k else np.zeros(0)
        size = np.abs(rows * columns)
        norm = math.sqrt(size.sum(axis=0).max() * size.sum(axis=1).max()) if size.size else 0.0
        # The proof bounds the radius by its row sums, of both triangles.
        edge = spread[starts[k] : starts[k + 1], : starts[k]] * columns
        norm += max(float(edge.sum(axis=i).max(initial=0.0)) for i in (0, 1))
        smaller = min(modulus, draft.proof.modulus)
        if norm > 0.0:
            scales[k] = 2.0 ** min(math.floor(math.log2(smaller / 2.0 / norm)), 0)
            modulus = 0.75 * smaller
        else:
            modulus = smaller
    return scales


def _scaled(affine: AffineMap, rows: np.ndarray, columns: np.ndarray) -> AffineMap:
    """`D_rows f(D_columns⁻¹ z, x)`; exact, because all weights are powers of two.

    **Raises** `ModelError` where a coefficient would leave the range of normal numbers.
    """

    def scale(c: Coefficients | None) -> Coefficients | None:
        if c is None:
            return None
        parts = (
            (c.on_z, rows[:, None] / columns[None, :]),
            (c.on_x, rows[:, None]),
            (c.offset, rows),
        )
        return Coefficients(*(_times(array, weights) for array, weights in parts))

    return AffineMap(scale(affine.coefficients), scale(affine.radius), scale(affine.runtime))


def _times(array: np.ndarray, weights: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        result = array * weights
        back = result / weights
    if not np.array_equal(back, array):
        raise ModelError(
            "the layers' weights differ so much in size that scaling them to one monotone system "
            "leaves the range of float64"
        )
    return result
