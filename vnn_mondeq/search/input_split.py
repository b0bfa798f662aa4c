"""Branch and bound over sub-boxes of the inputs, for one obligation."""

import dataclasses
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.bounds.check import Rejection
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.problem import Obligation
from vnn_mondeq.search.input_bound import (
    BoundSettings,
    Held,
    RegionBounds,
    Tried,
    find_empty,
)
from vnn_mondeq.search.input_certificate import (
    BoxClaim,
    Cut,
    Empty,
    Refuted,
    Region,
    restricted,
)
from vnn_mondeq.search.input_check import Bounds, check_leaf, confirm_box

_REPORT = 64
"""Sub-boxes between two reports of progress."""

_PATIENCE = 256
"""Sub-boxes still visited in search of a violation once a proof is known to be impossible."""


@final
@dataclass(frozen=True, slots=True)
class SplitSettings:
    """- `boxes`: limit of sub-boxes for one obligation.
    - `memory`: limit of what the certificate keeps, in bytes.
    - `bound`: how sub-boxes are bounded.
    """

    boxes: int = 1_000_000
    memory: int = 2**30
    bound: BoundSettings = field(default_factory=BoundSettings)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Violation:
    """An input whose float64 fixpoint violates all rows of a case."""

    x: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class Undecidable:
    """At the input `x` no row of some case exceeds its allowed error, and the case is not violated
    either: no certificate can exist, and no witness was found."""

    x: np.ndarray
    margin: float


@final
@dataclass(frozen=True, slots=True)
class Unfinished:
    """The tree was not closed: `open_boxes` are left, the worst misses by `gap`."""

    open_boxes: int
    gap: float
    why: str


@final
@dataclass(slots=True, eq=False)
class _Record:
    """A decided sub-box, with links down; becomes a `Region` at the end.

    - `held`: bounds found for it; `confirmed`: what the check made of them, once asked.
    - `lends`: whether leaves below use them.
    """

    part: Obligation | None = None
    held: Held | None = None
    confirmed: Bounds | Rejection | None = None
    lends: bool = False
    end: Refuted | Empty | None = None
    coordinate: int = -1
    value: float = np.nan
    below: "_Record | None" = None
    above: "_Record | None" = None


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """A sub-box on the list: its sides, its record to fill, and whose bounds it inherits."""

    lower: np.ndarray
    upper: np.ndarray
    depth: int
    record: _Record
    lender: _Record | None


@final
@dataclass(slots=True, eq=False)
class InputSearch:
    """The search for one obligation; `visited` and `certified` (a fraction of the volume of the
    bounding box) say how far it came."""

    bounds: RegionBounds
    obligation: Obligation
    settings: SplitSettings
    report: Callable[[float], None]
    visited: int = 0
    certified: float = 0.0
    kept: int = 0
    hopeless: Undecidable | None = None
    hopeless_since: int = 0

    def close(self, deadline: Deadline) -> Region | Violation | Undecidable | Unfinished:
        """Refute all cases everywhere, or find a violation; the worst sub-box first.

        Complete in exact arithmetic where at every input some row of every case is positive by a
        margin: small boxes have decided phases or thin triangles. **Raises** nothing for time.
        """
        order = itertools.count()
        top = _Record()
        lower, upper = self.obligation.proof_inputs.bounds()
        waiting = [(-np.inf, next(order), _Open(lower, upper, 0, top, None))]
        while waiting:
            margin, _, opened = heapq.heappop(waiting)
            stopped = self._stop(deadline)
            try:
                ended = None if stopped else self._visit(opened, deadline)
            except DeadlineExceeded:
                stopped = "the time limit struck"
            if stopped:
                return Unfinished(len(waiting) + 1, -margin, stopped)
            if isinstance(ended, Violation):
                return ended
            if self.hopeless and self.visited >= self.hopeless_since + _PATIENCE:
                return self.hopeless
            children = self._children(opened)
            if children is None:
                why = "a sub-box cannot be cut further"
                return self.hopeless or Unfinished(len(waiting) + 1, -ended, why)
            for child in children:
                heapq.heappush(waiting, (ended, next(order), child))
            if self.visited % _REPORT == 0:
                self.report(self.certified)
        self.report(self.certified)
        return self.hopeless or _finished(top)

    def _stop(self, deadline: Deadline) -> str:
        if deadline.expired:
            return "the time limit struck"
        if self.visited >= self.settings.boxes:
            return f"the limit of {self.settings.boxes} sub-boxes was reached"
        if self.kept > self.settings.memory:
            return f"the certificate would exceed {self.settings.memory // 2**20} MiB"
        return ""

    def _visit(self, opened: _Open, deadline: Deadline) -> float | Violation:
        """Fills the record; the margin of the worst case."""
        self.visited += 1
        record = opened.record
        inside = restricted(self.obligation.proof_inputs, opened.lower, opened.upper)
        record.end = find_empty(inside)
        if record.end is not None:
            self.certified += 0.5**opened.depth
            return np.inf
        part = dataclasses.replace(self.obligation, proof_inputs=inside)
        lender = opened.lender
        tried = self.bounds.attempt(part, None if lender is None else lender.held, deadline)
        if tried.is_own:
            record.part, record.held = part, tried.held
            self.kept += tried.held.size()
            lender = record
        if tried.is_closed and self._is_confirmed(part, Refuted(tried.refutations), lender):
            record.end = Refuted(tried.refutations)
            self.certified += 0.5**opened.depth
            self.kept += 8 * len(tried.refutations) * self.bounds.system.neurons
            lender.lends = True
            return tried.margin
        found = self._look(opened, tried, deadline)
        if found is not None:
            return found
        record.coordinate, record.value = _choose(opened, tried)
        return tried.margin

    def _is_confirmed(self, part: Obligation, end: Refuted, lender: _Record) -> bool:
        """Whether the check accepts a leaf. One that it refuses is cut: a refused leaf would cost
        the whole certificate."""
        system = self.bounds.system
        if lender.confirmed is None:
            lender.confirmed = confirm_box(system, lender.part, lender.held.claim)
        if isinstance(lender.confirmed, Rejection):
            return False
        return not isinstance(check_leaf(system, part, end, None, lender.confirmed), Rejection)

    def _look(self, opened: _Open, tried: Tried, deadline: Deadline) -> Violation | None:
        """Evaluate the true fixpoint where the bounds are attained and in the middle."""
        inputs, rows = self.obligation.inputs, self.obligation.rows
        middle = 0.5 * opened.lower + 0.5 * opened.upper
        points = inputs.project(np.vstack([middle[None], tried.worst]))
        z = self.bounds.solver.solve(points, deadline=deadline).value
        c = rows.coefficients
        values = z @ c.on_z.T + points @ c.on_x.T + c.offset
        for case in self.obligation.cases:
            columns = list(case)
            highest = values[:, columns].max(axis=1)
            lowest = int(np.argmin(highest))
            if highest[lowest] < 0.0:
                return Violation(points[lowest])
            margins = (values - rows.error)[:, columns].max(axis=1)
            worst = int(np.argmin(margins))
            # Not a reason to stop: a violation may still be found elsewhere.
            unprovable = not margins[worst] > 0.0 and inputs.contains(points[worst])
            if unprovable and self.hopeless is None:
                self.hopeless = Undecidable(points[worst], float(margins[worst]))
                self.hopeless_since = self.visited
        return None

    def _children(self, opened: _Open) -> tuple[_Open, ...] | None:
        """Both sides of the record's cut; none for a closed record, `None` where no cut exists."""
        record = opened.record
        if record.end is not None:
            return ()
        if record.coordinate < 0:
            return None
        record.below, record.above = _Record(), _Record()
        lender = record if record.held is not None else opened.lender
        if lender is not None and isinstance(lender.confirmed, Rejection):
            lender = None
        below, above = opened.upper.copy(), opened.lower.copy()
        below[record.coordinate] = above[record.coordinate] = record.value
        depth = opened.depth + 1
        return (
            _Open(opened.lower, below, depth, record.below, lender),
            _Open(above, opened.upper, depth, record.above, lender),
        )


def _choose(opened: _Open, tried: Tried) -> tuple[int, float]:
    """The coordinate whose width costs most, and its middle; -1 where no float lies between."""
    middle = 0.5 * opened.lower + 0.5 * opened.upper
    can_be_cut = (opened.lower < middle) & (middle < opened.upper)
    if not np.any(can_be_cut):
        return -1, np.nan
    coordinate = int(np.argmax(np.where(can_be_cut, tried.scores, -1.0)))
    return coordinate, float(middle[coordinate])


def _finished(top: _Record) -> Region:
    """Records to regions, children first, without recursion."""
    built: dict[int, Region] = {}
    stack: list[tuple[_Record, bool]] = [(top, False)]
    while stack:
        record, ready = stack.pop()
        if record.end is not None:
            built[id(record)] = Region(_claim(record), record.end)
        elif ready:
            cut = Cut(
                record.coordinate,
                record.value,
                built.pop(id(record.below)),
                built.pop(id(record.above)),
            )
            built[id(record)] = Region(_claim(record), cut)
        else:
            stack += [(record, True), (record.below, False), (record.above, False)]
    return built[id(top)]


def _claim(record: _Record) -> BoxClaim | None:
    """The record's box where a leaf needs it."""
    return record.held.claim if record.lends else None
