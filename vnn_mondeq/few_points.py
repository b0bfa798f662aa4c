"""A few points of an input set that are worth a try before any engine runs."""

import numpy as np

from vnn_mondeq.problem import Obligation, Problem

_GUESSES = (-1.0, 1.0)
"""Between which numbers an input without bounds is guessed."""

_CORNERS = 8
"""How many corners of the input set are guessed."""


def few_points(problem: Problem, obligation: Obligation) -> np.ndarray:
    """The middle `(1, d)` and some corners of the input set's box; see `_GUESSES` for inputs
    without bounds. Auxiliary inputs stay at zero: they are no inputs of the file."""
    lower, upper = obligation.inputs.bounds()
    own = problem.system.file_input_size
    bounded = np.isfinite(lower) & np.isfinite(upper)
    with np.errstate(invalid="ignore"):
        middle = np.where(bounded, 0.5 * lower + 0.5 * upper, 0.0)[None]
    low, high = _GUESSES
    ends = np.where(bounded, lower, low), np.where(bounded, upper, high)
    if 2**own <= _CORNERS:
        sides = np.arange(2**own)[:, None] >> np.arange(own) & 1 == 1
    else:
        sides = np.random.default_rng(0).random((_CORNERS, own)) < 0.5
    corners = np.zeros((sides.shape[0], lower.size))
    corners[:, :own] = np.where(sides, ends[1][:own], ends[0][:own])
    return np.concatenate([middle, corners])
