"""A scalar function as a piecewise-linear one plus a bounded quantity.

Over the interval `[l, u]` in which the argument lies,

    f(t) = p(t) + δ,      p(t) = c + s₀ t + Σ_k (s_k - s_{k-1}) ReLU(t - t_k),      |δ| <= e

with `e` proved (`interpolation.py`). `p` costs a neuron for each knot, `δ` is an auxiliary input.
So everything proved for all `δ` in the box holds for the true function; nothing else about `δ` is
used. What a runtime errs in evaluating `f` is part of `e`.

Two grades: a line has the larger `e` and no neurons, and suits engines that relax every neuron
anyway (knots would be relaxed one by one, which allows more than the line does); knots have the
smaller `e` and suit those that branch.
"""

import numpy as np
from scipy.sparse import csr_array

from vnn_mondeq.onnx_io.affine_form import (
    Form,
    combined,
    constant,
    negate,
    plus,
    select,
    times,
)
from vnn_mondeq.onnx_io.builder import Builder
from vnn_mondeq.onnx_io.curve import Curve
from vnn_mondeq.onnx_io.interpolation import Interpolation, bent, cut_pieces, straight
from vnn_mondeq.rounding import SAFETY, UNDERFLOW

RUNTIME_UNITS = 16.0
"""An elementary function of a runtime is taken to err by at most this many units of
`u (1 + |f(t)|)`. No standard promises that; tests measure onnxruntime's."""

VALUE_ERROR = 2.0**-40
"""See `Curve.value`."""

KNOTS, KNOTS_EACH = 96, 4
"""Knots of a node, in all or for each entry, before its tolerance stays as it is."""

PIECES_EACH = 64
"""The same for the pieces by which a line is measured."""

HULL_SHARE = {True: 0.02, False: 0.25}
"""Results whose error is a larger part of their range are cut off at the bounds of the range: with
knots, and without."""


def relaxed(curve: Curve, form: Form, name: str, builder: Builder) -> Form:
    """`f(t)` elementwise. Unbounded where the argument is, or may leave the curve's domain."""
    lower, upper = builder.enclose(form)
    inside = np.isfinite(lower) & np.isfinite(upper)
    inside &= (lower >= curve.domain[0]) & (upper <= curve.domain[1])
    known = np.flatnonzero(inside)
    if not known.size:
        return builder.noise(np.full(form.size, np.inf), form)
    flat = select(form.reshaped((form.size,)), known)
    ends = lower[known], upper[known]
    with np.errstate(all="ignore"):
        limit = max(KNOTS, KNOTS_EACH * known.size) if builder.knots else PIECES_EACH * known.size
        pieces = cut_pieces(curve, *ends, limit)
        found = bent(pieces) if builder.knots else straight(pieces)
        spread = 0.5 * (found.high - found.low) + found.rounding(*ends)
        spread += (VALUE_ERROR + RUNTIME_UNITS * form.unit) * (1.0 + found.largest)
        error = spread * SAFETY + UNDERFLOW
        low, high = curve.hull(*ends)
        at_ends = curve.value(ends[0]), curve.value(ends[1])
        # An extremum inside: no knot has to lie there, and a query may well ask for it.
        turned = low < np.minimum(*at_ends), high > np.maximum(*at_ends)
    error = np.where(np.isnan(error), np.inf, error)
    slip = (VALUE_ERROR + RUNTIME_UNITS * form.unit) * SAFETY
    low, high = low - slip * (1.0 + np.abs(low)), high + slip * (1.0 + np.abs(high))
    middle = plus(_assembled(flat, found, name, builder), builder.noise(error, flat))
    inner = within_hull(middle, error, low, high, name, builder, turned)
    place = np.full(form.size, -1)
    place[known] = np.arange(known.size)
    outside = builder.noise(np.where(place < 0, np.inf, 0.0), form)
    return plus(select(inner, place).reshaped(form.shape), outside)


def within_hull(
    form: Form,
    error: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    name: str,
    builder: Builder,
    always: tuple[np.ndarray, np.ndarray] | None = None,
) -> Form:
    """The same tensor, of which `low <= t <= high` is known, cut off at these bounds.

    - `always`: entries to cut off at the lower and at the upper bound even if the error is small.

    That changes nothing for the values that it can take, and much for the others that a relaxation
    with a large error allows.
    """
    share = HULL_SHARE[builder.knots]
    loose = np.isfinite(error) & (error > share * (high - low))
    at_low, at_high = (loose, loose) if always is None else (loose | side for side in always)
    for bound, sign, side, cut in ((low, 1.0, "low", at_low), (high, -1.0, "high", at_high)):
        chosen = np.flatnonzero(cut & np.isfinite(bound))
        if not chosen.size:
            continue
        edge = constant(bound[chosen], form.unit)
        beyond = plus(edge, negate(select(form.reshaped((form.size,)), chosen)))
        gain = builder.rectified(times(np.full(chosen.size, sign), beyond), f"{name}#{side}")
        place = np.full(form.size, -1)
        place[chosen] = np.arange(chosen.size)
        gain = times(np.full(form.size, sign), select(gain, place))
        form = plus(form, gain.reshaped(form.shape))
    return form


def _assembled(t: Form, p: Interpolation, name: str, builder: Builder) -> Form:
    """`p(t)` with the middle of `f - p` added."""
    middle = constant(p.offset + 0.5 * (p.low + p.high), t.unit)
    line = plus(times(p.base, t), middle)
    if not p.where.size:
        return line
    arguments = plus(select(t, p.where), constant(-p.knot, t.unit))
    knots = builder.rectified(arguments, f"{name}#knots")
    weights = csr_array((p.change, (p.where, np.arange(p.where.size))), (t.size, p.where.size))
    return plus(line, combined(weights, knots, t.shape))
