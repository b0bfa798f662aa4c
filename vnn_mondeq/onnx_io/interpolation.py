"""Piecewise-linear functions near a curve, with proved bounds on the distance. Numbers only.

Letters: `n` entries with intervals `[l, u]` of their own; `m` pieces or knots of all entries.
On a piece of length `h`, `f` minus its chord lies in `[-h²/8 max f'', h²/8 max(-f'')]`
(`Curve.curvature`), and in `± |f(u) - f(l)|` where `f` is monotone.
"""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.onnx_io.curve import Curve
from vnn_mondeq.rounding import SAFETY, gamma

TOLERANCES = (2.0**-4, 2.0**-6, 2.0**-8, 2.0**-10)
"""Pieces with a larger error, relative to `1 +` the largest value, are halved: to the first of
these, and to each next one as long as there are pieces left."""

SLOPES = (1.0, 0.75, 1.25, 0.5, 1.5, 0.0)
"""Multiples of the chord's slope among which `straight` takes the best."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Interpolation:
    """`p(t) = offset + base t + Σ change ReLU(t - knot)`, and where `f - p` lies.

    - `base`, `offset`: `(n,)`; `where`, `knot`, `change`: `(m,)`, `where` the entry.
    - `low`, `high`: `(n,)`, bounds on `f - p` over `[l, u]` for exact arithmetic on `p`.
    - `largest`: `(n,)`, a bound on `|f|`.
    """

    base: np.ndarray
    offset: np.ndarray
    where: np.ndarray
    knot: np.ndarray
    change: np.ndarray
    low: np.ndarray
    high: np.ndarray
    largest: np.ndarray

    def rounding(self, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        """How far the float coefficients may be from the function that was measured, `(n,)`."""
        span = np.zeros(self.base.size)
        np.add.at(span, self.where, np.abs(self.change))
        reach = np.maximum(np.abs(lower), np.abs(upper))
        size = np.abs(self.offset) + (np.abs(self.base) + span) * reach * 2.0
        count = int(np.bincount(self.where, minlength=1).max()) if self.where.size else 0
        return gamma(16 * count + 64) * (size + self.largest) * SAFETY


@final
@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Pieces of all entries, `(m,)` each.

    - `entry`; `left`, `right`: ends; `first`, `last`: what the chord is at these.
    - `low`, `high`: range of `f` minus the chord.
    """

    entry: np.ndarray
    left: np.ndarray
    right: np.ndarray
    first: np.ndarray
    last: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def slope(self) -> np.ndarray:
        length = self.right - self.left
        return np.where(
            length > 0.0, (self.last - self.first) / np.where(length > 0.0, length, 1.0), 0.0
        )


def cut_pieces(curve: Curve, lower: np.ndarray, upper: np.ndarray, limit: int) -> Pieces:
    """Pieces that cover all intervals, sorted. `limit`: about the most of them."""
    start = curve.below.start if curve.below else -np.inf
    stop = curve.above.start if curve.above else np.inf
    a, b = np.clip(lower, start, stop), np.clip(upper, start, stop)
    parts = [_halved(curve, _broken(curve, a, b), limit)]
    left, right = np.flatnonzero(lower < a), np.flatnonzero(upper > b)
    for entry, ends, tail in (
        (left, (lower[left], a[left]), curve.below),
        (right, (b[right], upper[right]), curve.above),
    ):
        if entry.size:
            values = [curve.value(np.full(entry.size, tail.start))] * 2
            values = [v + tail.slope * (t - tail.start) for v, t in zip(values, ends, strict=True)]
            excess = np.full(entry.size, tail.excess)
            parts.append(Pieces(entry, *ends, *values, -excess, excess))
    fields = [f.name for f in dataclasses.fields(Pieces)]
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in fields]
    order = np.lexsort((joined[2], joined[1], joined[0]))
    return Pieces(*(array[order] for array in joined))


def _broken(curve: Curve, a: np.ndarray, b: np.ndarray) -> Pieces:
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


def _measured(curve: Curve, entry: np.ndarray, left: np.ndarray, right: np.ndarray) -> Pieces:
    low, high = curve.curvature(left, right)
    first, last = curve.value(left), curve.value(right)
    square = (right - left) ** 2 / 8.0 * SAFETY
    below, above = -square * np.maximum(high, 0.0), square * np.maximum(-low, 0.0)
    # A product of zero length and infinite curvature is no number, and no error.
    below, above = (np.where(right == left, 0.0, part) for part in (below, above))
    if curve.monotone:
        span = np.abs(last - first) * SAFETY
        below, above = np.fmax(below, -span), np.fmin(above, span)
    return Pieces(entry, left, right, first, last, below, above)


def _halved(curve: Curve, pieces: Pieces, limit: int) -> Pieces:
    """Pieces with large errors cut in two, and these again."""
    entries = int(pieces.entry.max(initial=0)) + 1
    values = np.maximum(np.abs(pieces.first), np.abs(pieces.last))
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


def _per_entry(pieces: Pieces, values: np.ndarray, reduce: np.ufunc) -> np.ndarray:
    """`reduce` over each entry's pieces."""
    starts = np.flatnonzero(np.r_[True, pieces.entry[1:] != pieces.entry[:-1]])
    return reduce.reduceat(values, starts)


def _largest(pieces: Pieces) -> np.ndarray:
    ends = np.maximum(np.abs(pieces.first), np.abs(pieces.last))
    return _per_entry(pieces, ends + np.maximum(pieces.high, -pieces.low), np.maximum)


def bent(pieces: Pieces) -> Interpolation:
    """The function with a knot wherever two pieces meet."""
    slope = pieces.slope
    begins = np.r_[True, pieces.entry[1:] != pieces.entry[:-1]]
    starts = np.flatnonzero(begins)
    change = slope - np.r_[0.0, slope[:-1]]
    kept = ~begins & (change != 0.0)
    return Interpolation(
        slope[starts],
        pieces.first[starts] - slope[starts] * pieces.left[starts],
        pieces.entry[kept],
        pieces.left[kept],
        change[kept],
        np.minimum(_per_entry(pieces, pieces.low, np.minimum), 0.0),
        np.maximum(_per_entry(pieces, pieces.high, np.maximum), 0.0),
        _largest(pieces),
    )


def straight(pieces: Pieces) -> Interpolation:
    """A line for each entry, with as small a range of `f - p` as a few slopes give."""
    begins = np.r_[True, pieces.entry[1:] != pieces.entry[:-1]]
    ends = np.r_[begins[1:], True]
    length = pieces.right[ends] - pieces.left[begins]
    rise = pieces.last[ends] - pieces.first[begins]
    chord = np.where(length > 0.0, rise / np.where(length > 0.0, length, 1.0), 0.0)
    best, low, high = chord, None, None
    for share in SLOPES:
        slope = share * chord
        each = slope[pieces.entry]
        rest = pieces.first - each * pieces.left, pieces.last - each * pieces.right
        least = _per_entry(pieces, np.minimum(*rest) + pieces.low, np.minimum)
        most = _per_entry(pieces, np.maximum(*rest) + pieces.high, np.maximum)
        if low is None:
            low, high = least, most
            continue
        better = most - least < high - low
        best, low, high = (
            np.where(better, new, old) for new, old in ((slope, best), (least, low), (most, high))
        )
    none, nowhere = np.zeros(0), np.zeros(0, dtype=np.intp)
    offset = 0.5 * (low + high)
    return Interpolation(
        best, offset, nowhere, none, none, low - offset, high - offset, _largest(pieces)
    )
