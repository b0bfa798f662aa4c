"""Numeric work of the input sets: support functions of boxes, projections, splits of directions.

The support function of `X ∩ Y` at `d` is the least `h_X(d₁) + h_Y(d₂)` over `d = d₁ + d₂`; any
split is an upper bound. Here are near-optimal shares `d₂` of another set than the box, for many
directions at once: plain float64, since `split_support` is rigorous at any share.

Letters: `n` directions over `k` coordinates. Bounds may be infinite.
"""

import numpy as np

from vnn_mondeq.rounding import SAFETY, UNDERFLOW, gamma

_STEPS = 30
"""Newton steps; each settles at least one more coordinate, and in practice many."""


def box_support(directions: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Support function of a box, rounded up; zero times infinity counts as zero."""
    # max(d l, d u) = d c + |d| r for finite bounds; the two-product form is used because it is
    # exact in the signs and has no cancellation between centre and radius.
    with np.errstate(invalid="ignore", over="ignore"):
        low = np.where(directions == 0.0, 0.0, directions * lower)
        high = np.where(directions == 0.0, 0.0, directions * upper)
        terms = np.maximum(low, high)
        magnitude = np.abs(terms).sum(axis=1)
        slack = gamma(directions.shape[1] + 2) * magnitude * SAFETY + UNDERFLOW
        return nan_to_infinity(terms.sum(axis=1) + slack)


def nan_to_infinity(bounds: np.ndarray) -> np.ndarray:
    """Overflow to minus infinity meets an infinite error bound as NaN: there is no bound then."""
    return np.where(np.isnan(bounds), np.inf, bounds)


def split_support(
    directions: np.ndarray,
    share: np.ndarray,
    by_share: np.ndarray,
    missing: np.ndarray,
    box: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Upper bounds `(n,)` on `d·x` over the box, where `by_share (n,)` bounds `d₂·x`.

    - `share (n, k)`: `d₂` as floats; `missing (n, k)`: bounds on their distance from it.
    """
    lower, upper = box
    rest = directions - share
    unsure = missing + gamma(1) * np.abs(rest)
    reach = np.maximum(np.abs(lower), np.abs(upper))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(unsure == 0.0, 0.0, unsure * reach).sum(axis=1) * SAFETY + UNDERFLOW
        by_box = box_support(rest, lower, upper)
        rounding = gamma(4) * (np.abs(by_box) + np.abs(by_share) + error)
        return nan_to_infinity(by_box + by_share + error + rounding)


def half_space_price(
    directions: np.ndarray,
    normal: np.ndarray,
    offset: float,
    lower: np.ndarray,
    upper: np.ndarray,
) -> np.ndarray:
    """Multipliers `λ >= 0` `(n,)` of `normal·x + offset <= 0` that make
    `h_box(d - λ normal) - λ offset` least; a convex, piecewise linear function of `λ`."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        corner = np.where(directions > 0.0, upper, lower)
        along = np.where(normal == 0.0, 0.0, normal * corner)
        kink = np.where(normal == 0.0, np.inf, directions / normal)
        kink = np.where(kink > 0.0, kink, np.inf)
        # A coordinate without weight in d sits, from λ = 0 on, where the normal pushes it.
        pushed = np.where(normal > 0.0, lower, upper)
        along = np.where((directions == 0.0) & (normal != 0.0), normal * pushed, along)
        jump = np.where(np.isfinite(kink), np.abs(normal) * (upper - lower), 0.0)
        order = np.argsort(kink, axis=1)
        slope = -offset - along.sum(axis=1)
        after = slope[:, None] + np.take_along_axis(jump, order, axis=1).cumsum(axis=1)
        after = nan_to_infinity(after)  # an unbounded side that the crossing leaves
        first = np.argmax(after >= 0.0, axis=1)
        price = np.take_along_axis(kink, order, axis=1)[np.arange(len(directions)), first]
    active = (slope < 0.0) & (after >= 0.0).any(axis=1) & np.isfinite(price)
    return np.where(active, price, 0.0)


def euclidean_share(
    directions: np.ndarray, lower: np.ndarray, upper: np.ndarray, radius: float
) -> np.ndarray:
    """The ball's share `(n, k)` for the Euclidean ball of this radius around 0.

    The maximiser is `y = clip(t d, lower, upper)` with `‖y‖₂ = radius`, and the ball's share is
    `y / t`. `‖y‖₂²` is a concave function of `t²` (for boxes that contain the centre), so Newton
    from the left never passes the solution. Zero where the box alone is within the ball.
    """
    goal = radius * radius
    square = directions * directions
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        slope = square.sum(axis=1)
        t = np.where(slope > 0.0, radius / np.sqrt(slope), np.inf)
        for _ in range(_STEPS):
            wanted = directions * t[:, None]
            point = np.clip(wanted, lower, upper)
            free = point == wanted
            slope = np.where(free, square, 0.0).sum(axis=1)
            fixed = np.where(free, 0.0, point * point).sum(axis=1)
            following = np.where(slope > 0.0, np.sqrt((goal - fixed) / slope), np.inf)
            following = np.where(np.isnan(following), np.inf, following)
            settled = following <= t * (1.0 + 1e-12)
            if np.all(settled):
                break
            t = np.where(settled, t, following)
        share = np.clip(directions, lower / t[:, None], upper / t[:, None])
    return np.where(np.isfinite(share) & np.isfinite(t)[:, None], share, 0.0)


def taxicab_share(
    directions: np.ndarray, lower: np.ndarray, upper: np.ndarray, radius: float
) -> np.ndarray:
    """The ball's share `(n, k)` for the L1 ball of this radius around 0.

    It is `d` cut off at `±λ`. Spending the radius on the largest `|d_j|` first, `λ` is the first
    one that it does not cover up to the box.
    """
    magnitude = np.abs(directions)
    reach = np.maximum(np.where(directions > 0.0, upper, -lower), 0.0)
    order = np.argsort(-magnitude, axis=1)
    spent = np.take_along_axis(reach, order, axis=1).cumsum(axis=1)
    over = spent > radius
    first = np.argmax(over, axis=1)
    ordered = np.take_along_axis(magnitude, order, axis=1)
    threshold = ordered[np.arange(len(directions)), first]
    threshold = np.where(over.any(axis=1), threshold, 0.0)[:, None]
    return np.clip(directions, -threshold, threshold)


def project_onto_l1_ball(offsets: np.ndarray, radius: float) -> np.ndarray:
    """Euclidean projection onto the L1 ball, row by row (Duchi et al., ICML 2008)."""
    magnitude = np.abs(offsets)
    ordered = -np.sort(-magnitude, axis=1)
    excess = ordered.cumsum(axis=1) - radius
    counts = np.arange(1, offsets.shape[1] + 1)
    active = (ordered * counts > excess).sum(axis=1).clip(min=1)
    threshold = excess[np.arange(len(offsets)), active - 1] / active
    threshold = np.maximum(threshold, 0.0)[:, None]
    return np.sign(offsets) * np.maximum(magnitude - threshold, 0.0)
