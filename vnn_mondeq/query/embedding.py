"""Input sets with further coordinates behind their own."""

import dataclasses

import numpy as np

from vnn_mondeq.query.abstract_set import AbstractInputSet
from vnn_mondeq.query.box import Box
from vnn_mondeq.query.intersection import Intersection


def with_coordinates(
    inputs: AbstractInputSet, lower: np.ndarray, upper: np.ndarray
) -> AbstractInputSet:
    """The product of a set in `R^d` with the box `[lower (k,), upper (k,)]`, in `R^(d+k)`."""
    if not lower.size:
        return inputs
    parts = inputs.parts if isinstance(inputs, Intersection) else (inputs,)
    if not any(isinstance(part, Box) for part in parts):
        parts = (Box.everything(inputs.dimension), *parts)
    behind = Box.from_floats(lower, upper)
    product = tuple(
        _joined(part, behind) if isinstance(part, Box) else _with_free(part, lower.size)
        for part in parts
    )
    return product[0] if len(product) == 1 else Intersection(product)


def _joined(box: Box, behind: Box) -> Box:
    return Box(
        np.concatenate([box.lower, behind.lower]),
        np.concatenate([box.upper, behind.upper]),
        np.concatenate([box.inner_lower, behind.inner_lower]),
        np.concatenate([box.inner_upper, behind.inner_upper]),
    )


def _with_free(part: AbstractInputSet, count: int) -> AbstractInputSet:
    """Balls, half-spaces and quadratic sets speak of the coordinates that they name only."""
    if isinstance(part, Intersection):
        return Intersection(tuple(_with_free(inner, count) for inner in part.parts))
    return dataclasses.replace(part, size=part.size + count)
