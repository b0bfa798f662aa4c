"""Follow the central path of an `EllipsoidDual`, and add the pair products that it lacks."""

from dataclasses import dataclass
from enum import Enum
from itertools import product
from typing import final

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.sdp.ellipsoid_dual import Derivatives, EllipsoidDual, Point, Step
from vnn_mondeq.sdp.ellipsoid_form import OutputForm
from vnn_mondeq.sdp.ellipsoid_products import Family, Products


class Pairs(Enum):
    """Which products of two different neurons are used."""

    NONE = "none"
    SLOPES = "slopes"
    """The pairwise slope restriction, M6 of Chen et al. 2021."""
    CROSS = "cross"
    """The products `z_i s_j >= 0` themselves, which imply it."""


@final
@dataclass(frozen=True, slots=True)
class PathSettings:
    """How the path is followed.

    - `tau`: the first path parameter; the objective has no unit.
    - `growth`: factor between path parameters.
    - `centred`: Newton decrement at which a point counts as central.
    - `reach`: largest change of a logarithm in one step.
    - `gap`: stop once `log det P` is about this near to its optimum.
    - `steps`: limit of Newton steps.
    - `ratios`: multipliers of inputs over those of neurons that are tried as starts.
    - `pairs`: which pair products; `pair_rounds` times the `pair_count` most violated are added.
    """

    tau: float = 300.0
    growth: float = 6.0
    centred: float = 3.0
    reach: float = 3.0
    gap: float = 1e-2
    steps: int = 80
    ratios: tuple[float, ...] = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
    pairs: Pairs = Pairs.NONE
    pair_rounds: int = 2
    pair_count: int = 150

    def __post_init__(self) -> None:
        for name in ("tau", "centred", "reach", "gap", "steps", "pair_rounds", "pair_count"):
            if not getattr(self, name) > 0:
                raise ValueError(f"PathSettings.{name} must be positive")
        if not self.growth > 1.0:
            raise ValueError("PathSettings.growth must exceed 1")


@final
@dataclass(frozen=True, slots=True, eq=False)
class PathEnd:
    """The best point met, for which model, and what it cost.

    - `gains`: `log det P` after each round (the first without pairs).
    """

    dual: EllipsoidDual
    point: Point
    steps: int
    gains: tuple[float, ...]


def follow(
    form: OutputForm, products: Products, settings: PathSettings, deadline: Deadline
) -> PathEnd | None:
    """`None` when no start is feasible in floating point, or time has run out before one step."""
    dual = EllipsoidDual(form, products)
    start = _best_start(dual, settings)
    if start is None or deadline.expired:
        return None
    tau = settings.tau
    point, at, steps = _one_path(dual, start, tau, settings, deadline)
    best, gains = PathEnd(dual, point, steps, ()), [point.log_det]
    for _ in range(settings.pair_rounds if settings.pairs is not Pairs.NONE else 0):
        grown = _with_violated_pairs(dual, at, settings)
        if grown is None or deadline.expired:
            break
        dual, start = grown
        # The path is entered late: the old multipliers are nearly optimal.
        late = max(tau, _last_tau(dual, settings) / settings.growth**2)
        point, at, more = _one_path(dual, start, late, settings, deadline)
        steps += more
        gains.append(point.log_det)
        if point.log_det > best.point.log_det:
            best = PathEnd(dual, point, steps, ())
    return PathEnd(best.dual, best.point, steps, tuple(gains))


def _last_tau(dual: EllipsoidDual, settings: PathSettings) -> float:
    """A barrier of `r` logarithms (and `k` of the small determinant) leaves that much over `τ`."""
    return 0.5 * dual.form.c.size * (dual.products.free + dual.form.e.size) / settings.gap


def _best_start(dual: EllipsoidDual, settings: PathSettings) -> Point | None:
    """Uniform multipliers, the scale of each ratio chosen so that `γ = 1`."""
    # Signs of single neurons only move the centre: small multipliers for them.
    kinds = np.zeros(dual.products.free, dtype=np.intp)
    kinds[dual.products.owner] = dual.products.family
    single = np.where(kinds >= Family.Z_SIGN, 0.03, 1.0)
    found = []
    groups = dual.form.groups
    share = np.bincount(dual.form.owner, minlength=groups).astype(float)
    for ratio, shy in product(settings.ratios, (1.0, 0.1)):
        inputs = ratio * share
        free = np.where(single < 1.0, single * shy, 1.0)
        point = dual.evaluate(inputs, free, settings.tau)
        if point is None:
            continue
        point = dual.evaluate(inputs / point.level, free / point.level, settings.tau)
        if point is not None:
            found.append(point)
    return min(found, key=lambda point: point.potential, default=None)


def _one_path(
    dual: EllipsoidDual, start: Point, tau: float, settings: PathSettings, deadline: Deadline
) -> tuple[Point, Point, int]:
    """The best point, the last one, and the Newton steps."""
    last = _last_tau(dual, settings)
    at, best, steps = dual.evaluate(start.inputs, start.free, tau) or start, start, 0
    while steps < settings.steps and not deadline.expired:
        steps += 1
        step = dual.newton(at, tau)
        if step is None:
            break
        largest = float(np.max(np.abs(step.change), initial=0.0))
        length = min(1.0, settings.reach / max(largest, 1e-300))
        moved = _backtrack(dual, at, step, length, tau)
        if moved is not None:
            at, taken = moved
            best = max(best, at, key=lambda point: point.log_det)
            if not (step.decrement < settings.centred and taken > 0.3):
                continue
        if tau >= last:
            break
        tau = min(tau * settings.growth, last)
        at = dual.evaluate(at.inputs, at.free, tau) or at
    return best, at, steps


def _backtrack(
    dual: EllipsoidDual, at: Point, step: Step, length: float, tau: float
) -> tuple[Point, float] | None:
    """The first halving of the step that does not raise the potential."""
    groups = dual.form.groups
    for _ in range(25):
        factors = step.factors(length)
        point = dual.evaluate(at.inputs * factors[:groups], at.free * factors[groups:], tau)
        if point is not None and point.potential <= at.potential + 1e-10 * abs(at.potential):
            return point, length
        length *= 0.5
    return None


def _with_violated_pairs(
    dual: EllipsoidDual, at: Point, settings: PathSettings
) -> tuple[EllipsoidDual, Point] | None:
    """The model with the most violated pair products added, and a start for it."""
    products, form = dual.products, dual.form
    tau = _last_tau(dual, settings)
    price = Derivatives.at(dual, at, tau).prices()
    np.fill_diagonal(price, 0.0)
    used = products.family == Family.CROSS
    price[products.i[used], products.j[used]] = 0.0
    if settings.pairs is Pairs.SLOPES:
        weight = np.outer(form.unit_z, form.unit_s)
        weight = weight / np.maximum(weight, weight.T)
        price = np.triu(weight * price + (weight * price).T)
    order = np.argsort(price, axis=None)[: settings.pair_count]
    pairs = np.column_stack(np.unravel_index(order, price.shape))
    pairs = pairs[price[pairs[:, 0], pairs[:, 1]] < 0.0]
    if not len(pairs):
        return None
    grown = EllipsoidDual(
        form,
        products.with_cross(pairs)
        if settings.pairs is Pairs.CROSS
        else products.with_slopes(pairs, form.unit_z, form.unit_s),
    )
    size = float(np.median(at.free)) if at.free.size else 1.0
    for share in (1e-1, 1e-2, 1e-3, 1e-4, 1e-6):
        free = np.concatenate([at.free, np.full(len(pairs), share * size)])
        start = grown.evaluate(at.inputs, free, settings.tau)
        if start is not None:
            return grown, start
    return None
