"""Lipschitz constants of a system: global or over a box, in L2 or L∞, proved.

    bound = lipschitz_bound(system, 2)
    pairs = lipschitz_row_bounds(system, np.inf, differences)

Numbers are for the stored float64 system. They are anytime bounds: a deadline makes them larger,
never wrong.
"""

import time
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import ObligationProof
from vnn_mondeq.bounds.check import Rejection, check_box
from vnn_mondeq.bounds.engine import InductiveBox
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Rows
from vnn_mondeq.query.input_set import AbstractInputSet
from vnn_mondeq.result import NoAnswer
from vnn_mondeq.rounding import product_error
from vnn_mondeq.sdp.lipschitz_check import (
    EnclosedIncrements,
    EnclosedSlopes,
    enclose_increments,
    proved_row_bound,
    proves_gain,
    slopes_anywhere,
    slopes_within_box,
)
from vnn_mondeq.sdp.lipschitz_enclosure import Enclosed
from vnn_mondeq.sdp.lipschitz_increments import Increments, Slopes, increments
from vnn_mondeq.sdp.lipschitz_joint import minimise_gain
from vnn_mondeq.sdp.lipschitz_region import Region
from vnn_mondeq.sdp.lipschitz_row import PathSettings, RowMultipliers, minimise_row
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem


@final
@dataclass(frozen=True, slots=True, eq=False)
class RowBound:
    """`|Δ row| <= value ‖Δx‖`, and the multipliers that prove it; `value` may be infinite."""

    value: float
    multipliers: RowMultipliers | None


@final
@dataclass(frozen=True, slots=True, eq=False)
class LipschitzBound:
    """`‖Δy‖ <= value ‖Δx‖` in one norm on both sides.

    - `norm`: 2 or infinity.
    - `value`: infinite where nothing was proved.
    - `rows`: L∞: the bound of each row, of which `value` is the largest. Empty for L2.
    - `mu`: L2: the multipliers (`lipschitz_joint.py`).
    - `box`: the proof of the slopes, for a bound over a box.
    - `seconds`: of the whole computation, check included.
    """

    norm: float
    value: float
    rows: tuple[RowBound, ...] = ()
    mu: np.ndarray | None = None
    box: ObligationProof | None = None
    seconds: float = 0.0


def lipschitz_bound(
    system: ImplicitSystem,
    norm: float,
    *,
    rows: np.ndarray | None = None,
    box: AbstractInputSet | None = None,
    deadline: Deadline | None = None,
    settings: PathSettings | None = None,
) -> LipschitzBound:
    """An upper bound on the Lipschitz constant of `x -> rows @ y(x)`.

    **Arguments:**

    - `norm`: 2 (`‖·‖₂ -> ‖·‖₂`) or `np.inf` (`‖·‖_∞ -> ‖·‖_∞`).
    - `rows`: `(n, q)`, float64, taken as exact; the identity by default.
    - `box`: a convex, bounded set; only pairs of inputs in it count. All of `R^d` by default.

    **Raises** `ValueError` for another norm, `UnsupportedModelError` for a plain loop.
    """
    began = time.perf_counter()
    if norm == np.inf:
        found = lipschitz_row_bounds(
            system, norm, rows, box=box, deadline=deadline, settings=settings
        )
        largest = max((row.value for row in found), default=0.0)
        return LipschitzBound(norm, largest, found, seconds=time.perf_counter() - began)
    setting = _Setting.of(system, norm, rows, box, deadline or Deadline.never())
    path = minimise_gain(setting.moving, settings or PathSettings(), setting.deadline)
    value, mu = np.inf, None
    if path is not None:
        mu = path.mu
        value = _least_proved_gain(setting.checked, path.gain, mu)
    seconds = time.perf_counter() - began
    return LipschitzBound(norm, value, mu=mu, box=setting.box, seconds=seconds)


def lipschitz_row_bounds(
    system: ImplicitSystem,
    norm: float,
    rows: np.ndarray | None = None,
    *,
    box: AbstractInputSet | None = None,
    deadline: Deadline | None = None,
    settings: PathSettings | None = None,
) -> tuple[RowBound, ...]:
    """For each row of `rows @ y(x)` alone, a bound on its change per `‖Δx‖`.

    Arguments as for `lipschitz_bound`. For the difference of two outputs give `e_i - e_j`.
    """
    setting = _Setting.of(system, norm, rows, box, deadline or Deadline.never())
    region, found = setting.region, []
    for row in range(setting.moving.C.shape[0]):
        path = minimise_row(
            setting.moving,
            row,
            region.groups,
            region.count,
            settings or PathSettings(),
            setting.deadline,
        )
        if path is None:
            found.append(RowBound(np.inf, None))
            continue
        at = path.multipliers
        value = proved_row_bound(setting.checked, row, region, at.sigma, at.sector)
        found.append(RowBound(value, at))
    return tuple(found)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Setting:
    """What both functions need: the increments twice, for the search and for the check."""

    moving: Increments
    checked: EnclosedIncrements
    region: Region
    box: ObligationProof | None
    deadline: Deadline

    @classmethod
    def of(
        cls,
        system: ImplicitSystem,
        norm: float,
        rows: np.ndarray | None,
        box: AbstractInputSet | None,
        deadline: Deadline,
    ) -> "_Setting":
        if norm not in (2, np.inf):
            raise ValueError(f"Lipschitz bounds are for the norms 2 and infinity, not {norm}")
        system.require_fixpoint("a Lipschitz bound")
        map_ = system.output.coefficients
        weights = np.eye(system.output_size) if rows is None else np.asarray(rows, np.float64)
        on_z, on_x = weights @ map_.on_z, weights @ map_.on_x
        proof, slopes, proved = _slopes(system, box, deadline)
        region = Region.unit_ball(system.input_size, norm)
        enclosed = (
            Enclosed(near, product_error(np.abs(weights), np.abs(part), weights.shape[1]))
            for near, part in ((on_z, map_.on_z), (on_x, map_.on_x))
        )
        return cls(
            increments(system, on_z, on_x, slopes),
            enclose_increments(system, *enclosed, proved, region),
            region,
            proof,
            deadline,
        )


def _slopes(
    system: ImplicitSystem, box: AbstractInputSet | None, deadline: Deadline
) -> tuple[ObligationProof | None, Slopes, EnclosedSlopes]:
    """Slopes over the box, where one can be proved; otherwise all of [0, 1]."""
    anywhere = None, Slopes.anywhere(system.neurons), slopes_anywhere(system.neurons)
    if box is None or system.neurons == 0:
        return anywhere
    nothing = Coefficients(
        np.zeros((0, system.neurons)), np.zeros((0, system.input_size)), np.zeros(0)
    )
    obligation = Obligation(box, box, Rows(nothing, np.zeros(0)), ())
    attempt = InductiveBox(exact_within=0.0).prove(system, obligation, deadline)
    if isinstance(attempt, NoAnswer):
        return anywhere
    checked = check_box(system, obligation, attempt.proof)
    if isinstance(checked, Rejection):
        return anywhere
    bounds = checked.upper_z, checked.upper_s
    return attempt.proof, Slopes.within_box(*bounds), slopes_within_box(*bounds)


def _least_proved_gain(checked: EnclosedIncrements, gain: float, mu: np.ndarray) -> float:
    """The least number at or above `gain` that the check confirms, of a few; or infinity."""
    for relative in (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3):
        # A constant map has gain zero, which no positive definite matrix shows.
        candidate = max(gain, 1e-9) * (1.0 + relative)
        if proves_gain(checked, candidate, mu):
            return candidate
    return np.inf
