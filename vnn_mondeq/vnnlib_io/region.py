"""Input atoms gathered into input sets: a box, and whatever does not fit into one."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple, final

import numpy as np

from vnn_mondeq.query.input_set import (
    AbstractInputSet,
    Box,
    HalfSpace,
    Intersection,
    LqBall,
    Quadratic,
)
from vnn_mondeq.vnnlib_io.atom import BallAtom, InputBound, LinearAtom, QuadraticAtom


@final
class Interval(NamedTuple):
    """The rational bounds of one input; `None` is unbounded, open bounds are strict."""

    lower: Fraction | None = None
    upper: Fraction | None = None
    is_lower_open: bool = False
    is_upper_open: bool = False

    def bounded(self, value: Fraction, is_upper: bool, strict: bool) -> "Interval":
        """The interval inside one more bound."""
        lower, upper, is_lower_open, is_upper_open = self
        if is_upper:
            if upper is None or value < upper:
                return Interval(lower, value, is_lower_open, strict)
            if strict and value == upper:
                return Interval(lower, upper, is_lower_open, True)
        else:
            if lower is None or value > lower:
                return Interval(value, upper, strict, is_upper_open)
            if strict and value == lower:
                return Interval(lower, upper, True, is_upper_open)
        return self

    @property
    def is_empty(self) -> bool:
        """Whether no rational number is inside."""
        if self.lower is None or self.upper is None:
            return False
        if self.is_lower_open or self.is_upper_open:
            return self.lower >= self.upper
        return self.lower > self.upper


_OtherAtom = LinearAtom | BallAtom | QuadraticAtom

InputAtom = InputBound | _OtherAtom


@final
class RegionBuilder:
    """Builds the input sets of a query's cases from what all cases have in common.

    Cases with the same input constraints, however written, get the same object: engines group
    cases by the identity of their input set.

    **Arguments:**

    - `common`: the bounds that hold in every case, one interval for each input.
    """

    def __init__(self, common: Sequence[Interval]):
        self._common = common
        self._is_empty = any(interval.is_empty for interval in common)
        self._box = _box(common)
        self._built: dict[tuple, AbstractInputSet] = {}

    def build(self, atoms: Iterable[InputAtom]) -> AbstractInputSet | None:
        """The common bounds and these atoms, or `None` where the box is empty.

        Sets that are empty for another reason (a half-space beside the box) are not found out.
        """
        if self._is_empty:
            return None
        changed: dict[int, Interval] = {}
        others: set[_OtherAtom] = set()
        for atom in atoms:
            if isinstance(atom, InputBound):
                before = changed.get(atom.position, self._common[atom.position])
                after = before.bounded(atom.value, atom.is_upper, atom.strict)
                if after != before:
                    changed[atom.position] = after
            else:
                others.add(atom)
        if any(interval.is_empty for interval in changed.values()):
            return None
        key = (frozenset(changed.items()), frozenset(others))
        if key not in self._built:
            self._built[key] = self._assemble(changed, others)
        return self._built[key]

    def _assemble(self, changed: dict[int, Interval], others: set[_OtherAtom]) -> AbstractInputSet:
        box = self._box
        if changed:
            positions = list(changed)
            inside = _box(list(changed.values()))
            arrays = []
            for name in ("lower", "upper", "inner_lower", "inner_upper"):
                array = getattr(box, name).copy()
                array[positions] = getattr(inside, name)
                arrays.append(array)
            box = Box(*arrays)
        if not others:
            return box
        # In an order of their own, so that equal queries give equal sets.
        ordered = sorted(others, key=repr)
        return Intersection((box, *(_part(atom, box.dimension) for atom in ordered)))


def _box(intervals: Sequence[Interval]) -> Box:
    return Box.from_fractions(
        [interval.lower for interval in intervals],
        [interval.upper for interval in intervals],
        [i for i, interval in enumerate(intervals) if interval.is_lower_open],
        [i for i, interval in enumerate(intervals) if interval.is_upper_open],
    )


def _part(atom: _OtherAtom, size: int) -> AbstractInputSet:
    if isinstance(atom, BallAtom):
        coordinates = np.array(atom.coordinates, dtype=np.intp)
        return LqBall(2, size, coordinates, atom.center, atom.square, atom.strict)
    if isinstance(atom, QuadraticAtom):
        pairs = {(m[0], m[1]): c for m, c in atom.terms if len(m) == 2}
        linear = {m[0]: c for m, c in atom.terms if len(m) == 1}
        return Quadratic(size, pairs, linear, atom.offset, atom.strict)
    return HalfSpace(size, dict(atom.terms), atom.offset, atom.strict)
