"""Lq balls that a query states through a norm network (docs/vnnlib.md, "The norm gadget").

The VNN-LIB front end reads only that some network's output is bounded; the ONNX front end reads
what that network computes. `resolve_norms` puts the two together.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import numpy as np

from vnn_mondeq.errors import MismatchError
from vnn_mondeq.query.input_set import AbstractInputSet, Box, Intersection, LqBall
from vnn_mondeq.query.query import Case, NormBound, Query
from vnn_mondeq.rounding import SAFETY, UNIT32, fraction_up


@final
@dataclass(frozen=True, slots=True, eq=False)
class NormNetwork:
    """A network that computes `‖(x - center)[coordinates]‖_q`.

    - `q`: 1, 2 or `math.inf`.
    - `center`: `k` rationals, one for each of `coordinates`.
    - `coordinates`: positions in the norm network's own flattened input, shape `(k,)`, no two
      alike.
    """

    q: float
    center: tuple[Fraction, ...]
    coordinates: np.ndarray

    def __post_init__(self) -> None:
        if self.q not in (1, 2, math.inf):
            raise ValueError(f"a norm network has q = 1, 2 or infinity, not {self.q}")
        if len(self.center) != len(self.coordinates):
            raise ValueError("a norm network needs one centre entry for each coordinate")
        if len(np.unique(self.coordinates)) != len(self.coordinates):
            raise ValueError("a norm network lists a coordinate twice")


def resolve_norms(query: Query, networks: Mapping[str, NormNetwork]) -> Query:
    """The same query with every `Case.norm_bounds` replaced by the ball it stands for.

    Cases that had the same inputs and the same norm bounds share one input set afterwards, as
    engines group cases by the identity of that set. Cases whose ball is certainly empty are
    dropped.

    **Arguments:**

    - `networks`: for every name in `query.norm_networks`, what the network computes.

    **Raises** `MismatchError` where a norm network is missing or reads beyond the inputs.
    """
    missing = [name for name in query.norm_networks if name not in networks]
    if missing:
        raise MismatchError(
            f"norm network {missing[0]!r} has no model file; give one with "
            f"--network {missing[0]}=FILE.onnx"
        )
    resolved: dict[tuple[int, tuple[NormBound, ...]], AbstractInputSet | None] = {}
    cases = []
    for case in query.cases:
        # The sets stay alive in `query` during the loop, so their ids are not reused.
        key = (id(case.inputs), case.norm_bounds)
        if key not in resolved:
            resolved[key] = _with_balls(case, networks)
        inputs = resolved[key]
        if inputs is not None:
            cases.append(dataclasses.replace(case, inputs=inputs, norm_bounds=()))
    return dataclasses.replace(query, cases=tuple(cases))


def _with_balls(case: Case, networks: Mapping[str, NormNetwork]) -> AbstractInputSet | None:
    """The case's inputs inside all its balls, or `None` where there are certainly none."""
    parts = _parts(case.inputs)
    for bound in case.norm_bounds:
        if bound.bound < 0 or (bound.strict and bound.bound == 0):
            return None
        parts.append(_ball(bound, networks[bound.network], case.inputs.dimension))
    boxes = [part for part in parts if isinstance(part, Box)]
    others = [part for part in parts if not isinstance(part, Box)]
    if len(boxes) > 1:
        boxes = [_intersect_boxes(boxes)]
    if any(np.any(box.lower > box.upper) for box in boxes):
        return None
    parts = [*boxes, *others]
    return parts[0] if len(parts) == 1 else Intersection(tuple(parts))


def _parts(inputs: AbstractInputSet) -> list[AbstractInputSet]:
    return list(inputs.parts) if isinstance(inputs, Intersection) else [inputs]


def _ball(bound: NormBound, network: NormNetwork, size: int) -> AbstractInputSet:
    coordinates = np.asarray(network.coordinates, dtype=np.intp) + bound.start
    if coordinates.size and not (coordinates.min() >= 0 and coordinates.max() < size):
        raise MismatchError(
            f"norm network {bound.network!r} reads input {int(coordinates.max())}, but the "
            f"query has {size} inputs"
        )
    if network.q == math.inf:
        lower: list[Fraction | None] = [None] * size
        upper: list[Fraction | None] = [None] * size
        for position, middle in zip(coordinates, network.center, strict=True):
            lower[position] = middle - bound.bound
            upper[position] = middle + bound.bound
        bounded = coordinates.tolist() if bound.strict else ()
        box = Box.from_fractions(lower, upper, bounded, bounded)
        return _as_a_runtime_sees_it(box, coordinates, bound.bound)
    q = int(network.q)
    return LqBall(q, size, coordinates, network.center, bound.bound**q, bound.strict)


def _as_a_runtime_sees_it(box: Box, coordinates: np.ndarray, radius: Fraction) -> Box:
    """The box with the sides that proofs use moved out; membership stays exact.

    In float32 `|x - c|` is rounded, and so is the bound that it is compared with: where the one is
    read as at most the other, `|x - c|` may be `(1 + 4u) radius`. For q = 1 and 2 that is done by
    `LqBall.widened`.
    """
    slack = np.zeros(box.dimension)
    slack[coordinates] = 4.0 * UNIT32 * fraction_up(radius) * SAFETY + 2.0**-140
    return Box(
        np.nextafter(box.lower - slack, -np.inf),
        np.nextafter(box.upper + slack, np.inf),
        box.inner_lower,
        box.inner_upper,
    )


def _intersect_boxes(boxes: list[Box]) -> Box:
    return Box(
        np.max([box.lower for box in boxes], axis=0),
        np.min([box.upper for box in boxes], axis=0),
        np.max([box.inner_lower for box in boxes], axis=0),
        np.min([box.inner_upper for box in boxes], axis=0),
    )
