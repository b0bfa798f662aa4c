"""Lq balls that a query states through a norm network (docs/vnnlib.md, "The norm gadget").

The VNN-LIB front end reads only that some network's output is bounded; the ONNX front end reads
what that network computes. `resolve_norms` puts the two together.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import numpy as np

from vnn_mondeq.errors import MismatchError
from vnn_mondeq.query.input_set import AbstractInputSet, Box, Intersection, LqBall
from vnn_mondeq.query.query import Case, Constraint, LinearConstraint, Query
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


def may_be_norm(query: Query, name: str) -> bool:
    """Whether the query uses network `name` as a norm gadget would be: after the model, with one
    input, a file of its own, and one scalar output that it bounds from above, if at all."""
    own = [variable for variable in query.variables if variable.network == name]
    if name == query.all_networks[0] or name not in query.networks:
        return False
    if [v.kind for v in own] != ["input", "output"] or math.prod(own[1].shape) != 1:
        return False
    output = own[1].start
    rows = (row for case in query.cases for row in (*case.constraints, *case.checked))
    return all(_is_upper_bound(row, output) for row in rows if output in row.y)


def resolve_norms(query: Query, networks: Mapping[str, NormNetwork]) -> Query:
    """The same query with every bound on a norm network's output replaced by the ball it stands
    for; the bound itself stays in `Case.checked`.

    Cases that had the same inputs and the same norm bounds share one input set afterwards, as
    engines group cases by the identity of that set. Cases whose ball is certainly empty are
    dropped.

    **Arguments:**

    - `networks`: for every norm network among the query's, what it computes.

    **Raises** `MismatchError` where the output of a norm network is not bounded from above by a
    constant but used in another way.
    """
    if not networks:
        return query
    outputs = {
        variable.start: variable.network
        for variable in query.variables
        if variable.kind == "output" and variable.network in networks
    }
    places = {
        variable.network: np.array(variable.places, dtype=np.intp)
        for variable in query.variables
        if variable.kind == "input" and variable.network in networks
    }
    resolved: dict[tuple, AbstractInputSet | None] = {}
    cases = []
    for case in query.cases:
        norms = [_norm_bound(row, outputs) for row in (*case.constraints, *case.checked)]
        bounds = tuple(dict.fromkeys(norm for norm in norms if norm is not None))
        # The sets stay alive in `query` during the loop, so their ids are not reused.
        key = (id(case.inputs), bounds)
        if key not in resolved:
            balls = [_ball(b, networks[b.network], places[b.network], case) for b in bounds]
            resolved[key] = _with_balls(case.inputs, bounds, balls)
        inputs = resolved[key]
        if inputs is not None:
            rows = list(zip(case.constraints, norms, strict=False))
            kept = tuple(row for row, norm in rows if norm is None)
            checked = tuple(row for row, norm in rows if norm is not None)
            cases.append(Case(inputs, kept, (*case.checked, *checked)))
    return dataclasses.replace(query, cases=tuple(cases))


@final
@dataclass(frozen=True, slots=True)
class _NormBound:
    """The output of `network` is `<= bound` (`< bound` when `strict`)."""

    network: str
    bound: Fraction
    strict: bool


def _norm_bound(row: Constraint, outputs: Mapping[int, str]) -> _NormBound | None:
    """The bound that a constraint puts on a norm; `None` where it has no norm.

    **Raises** `MismatchError` where it says something else of one.
    """
    found = [position for position in row.y if position in outputs]
    if not found:
        return None
    network = outputs[found[0]]
    if not _is_upper_bound(row, found[0]):
        raise MismatchError(
            f"the output of the norm network {network!r} may only be bounded from above by a "
            "constant"
        )
    return _NormBound(network, -row.offset / row.y[found[0]], row.strict)


def _is_upper_bound(row: Constraint, output: int) -> bool:
    is_bound = isinstance(row, LinearConstraint) and len(row.y) == 1 and not row.x
    return is_bound and row.y[output] > 0


def _with_balls(
    inputs: AbstractInputSet, bounds: Sequence[_NormBound], balls: list[AbstractInputSet]
) -> AbstractInputSet | None:
    """The inputs inside all balls, or `None` where there are certainly none."""
    if any(b.bound < 0 or (b.strict and b.bound == 0) for b in bounds):
        return None
    parts = [*_parts(inputs), *balls]
    boxes = [part for part in parts if isinstance(part, Box)]
    others = [part for part in parts if not isinstance(part, Box)]
    if len(boxes) > 1:
        boxes = [functools.reduce(Box.met, boxes)]
    if any(np.any(box.lower > box.upper) for box in boxes):
        return None
    parts = [*boxes, *others]
    return parts[0] if len(parts) == 1 else Intersection(tuple(parts))


def _parts(inputs: AbstractInputSet) -> list[AbstractInputSet]:
    return list(inputs.parts) if isinstance(inputs, Intersection) else [inputs]


def _ball(
    bound: _NormBound, network: NormNetwork, places: np.ndarray, case: Case
) -> AbstractInputSet:
    size, radius = case.inputs.dimension, max(bound.bound, Fraction(0))
    own = np.asarray(network.coordinates, dtype=np.intp)
    if own.size and not (own.min() >= 0 and own.max() < places.size):
        raise MismatchError(
            f"norm network {bound.network!r} reads input {int(own.max())}, but the query declares "
            f"{places.size} for it"
        )
    coordinates = places[own]
    if len(np.unique(coordinates)) != len(coordinates):
        raise MismatchError(
            f"norm network {bound.network!r} has inputs that are tied to the same input; its "
            "value is no norm of it then"
        )
    if network.q == math.inf:
        lower: list[Fraction | None] = [None] * size
        upper: list[Fraction | None] = [None] * size
        for position, middle in zip(coordinates, network.center, strict=True):
            lower[position] = middle - radius
            upper[position] = middle + radius
        bounded = coordinates.tolist() if bound.strict else ()
        box = Box.from_fractions(lower, upper, bounded, bounded)
        return _as_a_runtime_sees_it(box, coordinates, radius)
    q = int(network.q)
    return LqBall(q, size, coordinates, network.center, radius**q, bound.strict)


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
