"""A scalar function as a piecewise-linear one plus a bounded quantity.

Over the interval `[l, u]` in which the argument lies,

    f(t) = p(t) + δ,      p(t) = c + s₀ t + Σ_k (s_k - s_{k-1}) ReLU(t - t_k),      |δ| <= e

`p` interpolates `f` between knots and `e` is proved: on a piece of length `h`, `f` minus its chord
lies in `[-h²/8 max f'', h²/8 max(-f'')]` (`Curve.curvature`). `p` costs a neuron for each inner
knot, `δ` is an auxiliary input. So everything proved for all `δ` in the box holds for the true
function; nothing else about `δ` is used. What a runtime errs in evaluating `f` is part of `e`.
"""

import itertools
from dataclasses import dataclass
from typing import final

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
from vnn_mondeq.onnx_io.enclosure import Interval
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, gamma

RUNTIME_UNITS = 16.0
"""An elementary function of a runtime is taken to err by at most this many units of
`u (1 + |f(t)|)`. No standard promises that; tests measure onnxruntime's."""

VALUE_ERROR = 2.0**-40
"""See `Curve.value`."""

TOLERANCES = (2.0**-4, 2.0**-6, 2.0**-8, 2.0**-10)
"""Pieces with a larger error, relative to `1 +` the largest value, are halved: to the first of
these, and to each next one as long as there are knots left."""

KNOTS, KNOTS_EACH = 96, 4
"""Knots of a node before its tolerance stays as it is: so many, or so many for each entry."""

HULL_SHARE = 0.02
"""Results whose error is a larger part of their range are cut off at the bounds of the range."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Pieces:
    """Pieces of all entries: entry, left and right end, range `[low, high]` of `f - chord`."""

    entry: np.ndarray
    left: np.ndarray
    right: np.ndarray
    low: np.ndarray
    high: np.ndarray


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
        middle, error = _interpolated(curve, flat, ends, name, builder)
        low, high = curve.hull(*ends)
        at_ends = curve.value(ends[0]), curve.value(ends[1])
        # An extremum inside: no knot has to lie there, and a query may well ask for it.
        turned = low < np.minimum(*at_ends), high > np.maximum(*at_ends)
    slip = (VALUE_ERROR + RUNTIME_UNITS * form.unit) * SAFETY
    low, high = low - slip * (1.0 + np.abs(low)), high + slip * (1.0 + np.abs(high))
    whole = plus(middle, builder.noise(error, flat))
    inner = within_hull(whole, error, low, high, name, builder, turned)
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
    loose = np.isfinite(error) & (error > HULL_SHARE * (high - low))
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


def _interpolated(
    curve: Curve, t: Form, ends: Interval, name: str, builder: Builder
) -> tuple[Form, np.ndarray]:
    """`p` with the middle of `δ` added, and bounds on `|δ|`."""
    lower, upper = ends
    a, b = _without_tails(curve, lower, upper)
    pieces = _halved(curve, _broken(curve, a, b))
    order = np.lexsort((pieces.left, pieces.entry))
    entry, left = pieces.entry[order], pieces.left[order]
    value_left, value_right = curve.value(left), curve.value(pieces.right[order])
    length = pieces.right[order] - left
    slope = np.where(length > 0.0, (value_right - value_left) / np.where(length > 0, length, 1), 0)
    low, high = np.zeros(t.size), np.zeros(t.size)
    np.minimum.at(low, entry, pieces.low[order])
    np.maximum.at(high, entry, pieces.high[order])

    first = np.r_[True, entry[1:] != entry[:-1]] if entry.size else np.zeros(0, dtype=bool)
    starts = np.flatnonzero(first)
    base, offset = slope[starts].copy(), value_left[starts] - slope[starts] * left[starts]
    kinks = [(entry[~first], left[~first], (slope - np.r_[0.0, slope[:-1]])[~first])]
    for side, tail in ((-1, curve.below), (1, curve.above)):
        beyond = np.flatnonzero(lower < a if side < 0 else upper > b) if tail else np.zeros(0, int)
        if not beyond.size:
            continue
        low[beyond] = np.minimum(low[beyond], -tail.excess)
        high[beyond] = np.maximum(high[beyond], tail.excess)
        if side < 0:
            kinks.append((beyond, a[beyond], base[beyond] - tail.slope))
            offset[beyond] += (base[beyond] - tail.slope) * a[beyond]
            base[beyond] = tail.slope
        else:
            last = np.r_[starts[1:], entry.size] - 1
            kinks.append((beyond, b[beyond], tail.slope - slope[last][beyond]))
    where, knot, change = (np.concatenate(parts) for parts in zip(*kinks, strict=True))
    always = knot <= lower[where]
    np.add.at(base, where[always], change[always])
    np.add.at(offset, where[always], -(change * knot)[always])
    bends = ~always & (knot < upper[where]) & (change != 0.0)
    where, knot, change = where[bends], knot[bends], change[bends]
    middle = _assembled(t, base, offset + 0.5 * (low + high), (where, knot, change), name, builder)
    largest = np.maximum(np.abs(curve.value(lower)), np.abs(curve.value(upper)))
    np.maximum.at(largest, entry, np.maximum(np.abs(value_left), np.abs(value_right)))
    span = np.zeros(t.size)
    np.add.at(span, where, np.abs(change))
    reach = np.maximum(np.abs(lower), np.abs(upper))
    size = np.abs(offset) + (np.abs(base) + span) * reach * 2.0
    count = int(np.bincount(where, minlength=1).max()) if where.size else 0
    error = 0.5 * (high - low) + gamma(16 * count + 64) * (size + largest)
    # ``largest`` bounds |f| at the knots; between them f differs by no more than its own error.
    error += (VALUE_ERROR + RUNTIME_UNITS * t.unit) * (1.0 + largest + high - low)
    return middle, error * SAFETY + UNDERFLOW


def _assembled(
    t: Form,
    base: np.ndarray,
    offset: np.ndarray,
    kinks: tuple[np.ndarray, np.ndarray, np.ndarray],
    name: str,
    builder: Builder,
) -> Form:
    """`offset + base t + Σ change ReLU(t - knot)`."""
    where, knot, change = kinks
    line = plus(times(base, t), constant(offset, t.unit))
    if not where.size:
        return line
    arguments = plus(select(t, where), constant(-knot, t.unit))
    bent = builder.rectified(arguments, f"{name}#knots")
    weights = csr_array((change, (where, np.arange(where.size))), shape=(t.size, where.size))
    return plus(line, combined(weights, bent, t.shape))


def _without_tails(
    curve: Curve, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the intervals that is interpolated: a point where all of one is in a tail."""

    def clipped(values: np.ndarray) -> np.ndarray:
        low = curve.below.start if curve.below else -np.inf
        high = curve.above.start if curve.above else np.inf
        return np.clip(values, low, high)

    return clipped(lower), clipped(upper)


def _broken(curve: Curve, a: np.ndarray, b: np.ndarray) -> _Pieces:
    """One piece for each entry, cut at the curve's breaks."""
    entries, lefts, rights = [], [], []
    edges = [-np.inf, *curve.breaks, np.inf]
    for low, high in itertools.pairwise(edges):
        left, right = np.maximum(a, low), np.minimum(b, high)
        # A point lies in the first part that holds it.
        chosen = np.flatnonzero((left < right) | ((a == b) & (a >= low) & (a < high)))
        entries.append(chosen)
        lefts.append(left[chosen])
        rights.append(right[chosen])
    return _measured(curve, *(np.concatenate(part) for part in (entries, lefts, rights)))


def _measured(curve: Curve, entry: np.ndarray, left: np.ndarray, right: np.ndarray) -> _Pieces:
    low, high = curve.curvature(left, right)
    square = (right - left) ** 2 / 8.0 * SAFETY
    below, above = -square * np.maximum(high, 0.0), square * np.maximum(-low, 0.0)
    # A product of zero length and infinite curvature is no number, and no error.
    below, above = (np.where(right == left, 0.0, part) for part in (below, above))
    if curve.monotone:
        span = np.abs(curve.value(right) - curve.value(left)) * SAFETY
        below, above = np.fmax(below, -span), np.fmin(above, span)
    return _Pieces(entry, left, right, below, above)


def _halved(curve: Curve, pieces: _Pieces) -> _Pieces:
    """Pieces with large errors cut in two, and these again."""
    entries = int(pieces.entry.max(initial=0)) + 1
    limit = max(KNOTS, KNOTS_EACH * entries)
    values = np.maximum(np.abs(curve.value(pieces.left)), np.abs(curve.value(pieces.right)))
    scale = np.ones(entries)
    np.maximum.at(scale, pieces.entry, 1.0 + np.where(np.isfinite(values), values, 0.0))
    for tolerance in TOLERANCES:
        while True:
            middle = 0.5 * (pieces.left + pieces.right)
            cut = pieces.high - pieces.low > 2.0 * tolerance * scale[pieces.entry]
            cut &= (pieces.left < middle) & (middle < pieces.right)
            if pieces.entry.size + int(cut.sum()) > limit + entries:
                return pieces
            if not np.any(cut):
                break
            left = np.concatenate([pieces.left, middle[cut]])
            right = np.concatenate([np.where(cut, middle, pieces.right), pieces.right[cut]])
            entry = np.concatenate([pieces.entry, pieces.entry[cut]])
            pieces = _measured(curve, entry, left, right)
    return pieces
