"""Looking for a witness of a relaxed model closer and closer to a candidate.

An attack on a model with curves sees lines or chords in their place, so its best point may be none
of the file's. Compiled for a smaller box around that point, the model is nearer to the file, and
the next attack's best point is better: successive linearisation, with the box as the trust region.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from vnn_mondeq.attack.pgd import ImplicitPgd
from vnn_mondeq.attack.search import Schedule
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.embedding import with_coordinates
from vnn_mondeq.query.input_set import AbstractInputSet, Box, Intersection
from vnn_mondeq.result import Witness, WitnessCandidate

SHARE, SECONDS = 0.2, 10.0
"""The part of the remaining time that it may take, and the most of it."""

ROUNDS = 8
"""Each halves the box."""


def zoom(
    problem: Problem,
    problem_on: Callable[[np.ndarray, np.ndarray], Problem],
    confirm: Callable[[np.ndarray], object],
    start: np.ndarray,
    deadline: Deadline,
) -> Witness | None:
    """A confirmed witness near a failed candidate, or none; at once none for an exact model.

    - `problem`: for all inputs that may be asked for, which have finite bounds.
    - `problem_on`: the same compiled for a box of inputs `(d,)`.
    - `confirm`: the gate's check of a point `(d,)`.
    """
    if not problem.system.auxiliary_size:
        return None
    deadline = deadline.sooner(min(SHARE * deadline.remaining(), SECONDS))
    boxes = [obligation.asked.widened().bounds() for obligation in problem.obligations]
    bounds = np.min([low for low, _ in boxes], axis=0), np.max([high for _, high in boxes], axis=0)
    start = start[: problem.system.file_input_size]
    centre, half = start, 0.5 * (bounds[1] - bounds[0])
    attack = ImplicitPgd(Schedule(rounds=1))
    for _ in range(ROUNDS):
        half = 0.5 * half
        if deadline.expired:
            break
        low, high = np.maximum(bounds[0], centre - half), np.minimum(bounds[1], centre + half)
        near = _within(problem_on(low, high), low, high)
        candidate = attack.run(near, deadline, NullObserver()).candidate
        if not isinstance(candidate, WitnessCandidate):
            break
        centre = candidate.x[: centre.size]
        found = confirm(centre)
        if isinstance(found, Witness):
            return found
    return None


def _within(problem: Problem, low: np.ndarray, high: np.ndarray) -> Problem:
    """The problem on the part of its sets inside the box; sets that miss it are left out."""
    parts = [_part(obligation, low, high) for obligation in problem.obligations]
    kept = tuple(part for part in parts if part is not None)
    return dataclasses.replace(problem, obligations=kept)


def _part(obligation: Obligation, low: np.ndarray, high: np.ndarray) -> Obligation | None:
    lower, upper = obligation.asked.bounds()
    low, high = np.maximum(low, lower), np.minimum(high, upper)
    if np.any(low > high):
        return None
    zeros = np.zeros(obligation.inputs.dimension - low.size)
    box = with_coordinates(Box.from_floats(low, high), zeros, zeros)
    inputs: AbstractInputSet = box
    if not isinstance(obligation.inputs, Box):
        inputs = Intersection((obligation.inputs, box))
    return dataclasses.replace(obligation, inputs=inputs, query_inputs=obligation.asked)
