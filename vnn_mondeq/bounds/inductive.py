"""The search for an inductive box around the fixpoints of an input set.

From the fixpoint of one input the box grows: each round bounds all neurons under the current box
(`StripRelaxation.neuron_bounds`), and the box is enlarged to a little more than those bounds, until
it contains them strictly. Growing from below finds nearly the *least* such box, where shrinking a
first bound from above would stop at a larger one. `check.py` says why such a box is valid.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import BoxRound
from vnn_mondeq.bounds.relaxation import AbstractProjection, NeuronBounds, StripRelaxation
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.system.implicit import ImplicitSystem


@final
@dataclass(frozen=True, slots=True)
class InductiveSettings:
    """How the box grows.

    - `growth`: relative enlargement of a neuron's bound beyond what a round computed.
    - `margin`: the same, absolute, in units of the largest bound.
    - `rounds`: growing rounds before giving up.
    - `shrinking`: rounds that tighten the inductive box afterwards.
    - `explosion`: give up when a bound exceeds this multiple of the largest initial one.
    """

    growth: float = 0.02
    margin: float = 1e-4
    rounds: int = 200
    shrinking: int = 12
    explosion: float = 1e4

    def __post_init__(self) -> None:
        for name in ("growth", "margin", "rounds", "explosion"):
            if not getattr(self, name) > 0:
                raise ValueError(f"InductiveSettings.{name} must be positive")
        if self.shrinking < 0:
            raise ValueError("InductiveSettings.shrinking must not be negative")


def find_inductive_box(
    system: ImplicitSystem,
    projection: AbstractProjection,
    start_z: np.ndarray,
    start_s: np.ndarray,
    settings: InductiveSettings,
    deadline: Deadline,
) -> tuple[BoxRound, ...] | None:
    """Rounds that prove a box, the tightest last; `None` if the growth found none.

    - `start_z`, `start_s` `(p,)`: fixpoint and slack at the anchor.

    **Raises** `DeadlineExceeded`.
    """
    unit = float(np.max(np.maximum(start_z, start_s), initial=0.0)) or 1.0
    pad = settings.margin * unit
    box_z = np.where(start_z > 0.0, start_z * (1.0 + settings.growth) + pad, 0.0)
    box_s = np.where(start_s > 0.0, start_s * (1.0 + settings.growth) + pad, 0.0)
    for _ in range(settings.rounds):
        deadline.check()
        bounds = _bounds(system, projection, box_z, box_s)
        if bounds is None:
            return None
        if _strictly_inside(bounds, box_z, box_s):
            first = BoxRound(box_z, box_s, bounds.for_z, bounds.for_s)
            return _shrink(system, projection, first, bounds, settings, deadline)
        reach = max(float(np.max(bounds.upper_z)), float(np.max(bounds.upper_s)))
        if not reach <= settings.explosion * unit:
            return None
        box_z = np.maximum(box_z, _enlarged(bounds.upper_z, settings.growth, pad))
        box_s = np.maximum(box_s, _enlarged(bounds.upper_s, settings.growth, pad))
    return None


def _bounds(
    system: ImplicitSystem, projection: AbstractProjection, box_z: np.ndarray, box_s: np.ndarray
) -> NeuronBounds | None:
    try:
        return StripRelaxation.of(system, projection, box_z, box_s).neuron_bounds()
    except np.linalg.LinAlgError:
        return None


def _enlarged(bound: np.ndarray, growth: float, pad: float) -> np.ndarray:
    """A bound at or above zero plus some air; an empty branch stays at zero."""
    return np.where(bound >= 0.0, bound * (1.0 + growth) + pad, 0.0)


def _strictly_inside(bounds: NeuronBounds, box_z: np.ndarray, box_s: np.ndarray) -> bool:
    """With room for the rounding errors that the check will add."""
    air = 1e-9 * (1.0 + float(np.max(np.maximum(box_z, box_s))))
    inside_z = np.all(bounds.upper_z < box_z - air)
    return bool(inside_z and np.all(bounds.upper_s < box_s - air))


def _shrink(
    system: ImplicitSystem,
    projection: AbstractProjection,
    first: BoxRound,
    bounds: NeuronBounds,
    settings: InductiveSettings,
    deadline: Deadline,
) -> tuple[BoxRound, ...]:
    """Tighten an inductive box while that pays, and try to keep one round instead of many."""
    rounds = [first]
    air = 1e-9 * (1.0 + float(np.max(np.maximum(first.upper_z, first.upper_s))))
    for _ in range(settings.shrinking):
        previous = rounds[-1]
        box_z = np.minimum(previous.upper_z, np.maximum(bounds.upper_z + air, 0.0))
        box_s = np.minimum(previous.upper_s, np.maximum(bounds.upper_s + air, 0.0))
        # An empty branch settles the phase: the bound is exactly zero.
        box_z = np.where(bounds.upper_z < -air, 0.0, box_z)
        box_s = np.where(bounds.upper_s < -air, 0.0, box_s)
        rounds.append(BoxRound(box_z, box_s, bounds.for_z, bounds.for_s))
        if deadline.expired:
            break
        following = _bounds(system, projection, box_z, box_s)
        if following is None:
            break
        gain = np.sum(box_z - np.clip(following.upper_z, 0.0, box_z))
        gain += np.sum(box_s - np.clip(following.upper_s, 0.0, box_s))
        bounds = following
        if gain < 1e-4 * np.sum(box_z + box_s):
            break
    return _collapsed(system, projection, rounds[-1]) or tuple(rounds)


def _collapsed(
    system: ImplicitSystem, projection: AbstractProjection, last: BoxRound
) -> tuple[BoxRound, ...] | None:
    """The last box, slightly enlarged, as an inductive box of its own, if it is one."""
    unit = float(np.max(np.maximum(last.upper_z, last.upper_s)))
    box_z = np.where(last.upper_z > 0.0, last.upper_z * (1.0 + 1e-4) + 1e-5 * unit, 0.0)
    box_s = np.where(last.upper_s > 0.0, last.upper_s * (1.0 + 1e-4) + 1e-5 * unit, 0.0)
    bounds = _bounds(system, projection, box_z, box_s)
    if bounds is None or not _strictly_inside(bounds, box_z, box_s):
        return None
    return (BoxRound(box_z, box_s, bounds.for_z, bounds.for_s),)
