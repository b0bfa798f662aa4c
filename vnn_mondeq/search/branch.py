"""Branch and bound over phases for one case."""

import heapq
import itertools
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import BoxRound, Refutation
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.sdp.ascent import AscentSettings
from vnn_mondeq.search.certificate import Closing, Node, Split, Vacant
from vnn_mondeq.search.choice import Choice, ChoiceSettings, choose, widest
from vnn_mondeq.search.node import CaseNodes, PhaseBox
from vnn_mondeq.search.warm_start import Place


@final
@dataclass(frozen=True, slots=True)
class BranchSettings:
    """How a tree is grown.

    - `rounds`: tightening rounds at each node.
    - `nodes`: limit of nodes for one case.
    - `megabytes`: limit on the multipliers that one tree may hold (they are its certificate).
    - `root`, `ascent`: how the semidefinite bounds of the root and of the nodes below are found.
      Fewer steps below: a bound that takes many more is cheaper found by branching.
    - `choice`: how neurons are chosen.
    """

    rounds: int = 2
    nodes: int = 20_000
    megabytes: float = 2000.0
    root: AscentSettings = field(default_factory=AscentSettings)
    ascent: AscentSettings = field(default_factory=lambda: AscentSettings(steps=30))
    choice: ChoiceSettings = field(default_factory=ChoiceSettings)

    def limit(self, neurons: int) -> int:
        """Nodes that both limits allow."""
        each = 16.0 * neurons * neurons * self.rounds / 1e6
        return int(min(self.nodes, max(self.megabytes / max(each, 1e-6), 1.0)))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Violation:
    """An input whose float64 fixpoint violates all rows of the case."""

    x: np.ndarray


@final
@dataclass(frozen=True, slots=True)
class Unfinished:
    """The tree was not closed: `open_nodes` are left, the worst misses by `gap`."""

    open_nodes: int
    gap: float


@final
@dataclass(slots=True, eq=False)
class _Open:
    """A node on the list: its box, where it hangs, its share of the tree (`2 ** -depth`), and where
    its semidefinite path starts."""

    box: PhaseBox
    parent: "_Record | None"
    is_active: bool
    share: float
    start: Place | None


@final
@dataclass(slots=True, eq=False)
class _Record:
    """A node that is decided, with links down; becomes a `Node` at the end.

    `choice`: until its children are on the list, which own what it holds from then on.
    """

    rounds: tuple[BoxRound, ...]
    closing: Closing | None = None
    choice: Choice | None = None
    neuron: int = -1
    inactive: "_Record | None" = None
    active: "_Record | None" = None


@final
@dataclass(slots=True, eq=False)
class PhaseSearch:
    """The search for one case; `visited` counts its nodes."""

    nodes: CaseNodes
    settings: BranchSettings
    observer: AbstractObserver
    visited: int = 0

    def close(self, root: PhaseBox, deadline: Deadline) -> Node | Violation | Unfinished:
        """Refute the case's combined row everywhere under the root box, or find a violation.

        Worst node first. Complete in exact arithmetic: with all phases decided a node is a linear
        program. **Raises** nothing for time: the answer is then `Unfinished`.
        """
        order = itertools.count()
        waiting: list[tuple[float, int, _Open]] = []
        heapq.heappush(waiting, (0.0, next(order), _Open(root, None, False, 1.0, None)))
        top: _Record | None = None
        closed = 0.0
        while waiting:
            margin, _, opened = heapq.heappop(waiting)
            self.visited += 1
            try:
                deadline.check()
                outcome = self._visit(opened, deadline)
            except DeadlineExceeded:
                return Unfinished(len(waiting) + 1, -margin)
            if isinstance(outcome, Violation):
                return outcome
            record, bound = outcome
            if opened.parent is None:
                top = record
            elif opened.is_active:
                opened.parent.active = record
            else:
                opened.parent.inactive = record
            if record.closing is not None:
                closed += opened.share
                self.observer.progress(closed, 1.0)
                continue
            if record.choice is None or self.visited >= self.settings.limit(self._neurons):
                return Unfinished(len(waiting) + 1, -bound)
            for is_active in (False, True):
                child = record.choice.active if is_active else record.choice.inactive
                below = _Open(child.box, record, is_active, 0.5 * opened.share, child.start)
                heapq.heappush(waiting, (child.margin, next(order), below))
            record.neuron, record.choice = record.choice.neuron, None
        return _finished(top)

    @property
    def _neurons(self) -> int:
        return self.nodes.system.neurons

    def _visit(self, opened: _Open, deadline: Deadline) -> tuple[_Record, float] | Violation:
        """Tighten, bound, and either close the node or choose a neuron to split."""
        nodes = self.nodes
        # The root's box is as tight as rounds make it.
        is_root = opened.parent is None
        tightened = nodes.tighten(opened.box, 0 if is_root else self.settings.rounds)
        rounds, box = tightened.rounds, opened.box.after(tightened.rounds)
        if tightened.vacant is not None:
            return _Record(rounds, Vacant(tightened.vacant)), np.inf
        linear, margin = nodes.strip(box)
        if margin > 0.0:
            return _Record(rounds, linear), margin
        form = nodes.form(box)
        free = np.array([n for n in form.elimination.undecided if int(n) not in box.fixed], int)
        if free.size == 0:
            return self._decided(rounds, box, linear, deadline)
        ascent = self.settings.root if is_root else self.settings.ascent
        found = nodes.semidefinite(form, opened.start, ascent, deadline)
        if found is None:
            return _Record(rounds, choice=widest(box, free, margin)), margin
        if found.margin > 0.0 and nodes.is_confirmed(found, box):
            return _Record(rounds, found.refutation), found.margin
        x = nodes.attained(form, found)
        if nodes.is_violated(x):
            return Violation(x)
        choice = choose(nodes, box, form, found, self.settings.choice, deadline)
        return _Record(rounds, choice=choice), found.margin

    def _decided(
        self,
        rounds: tuple[BoxRound, ...],
        box: PhaseBox,
        strip: Refutation,
        deadline: Deadline,
    ) -> tuple[_Record, float] | Violation:
        """The end of a branch. One without a verdict remains where the exact minimum lies within
        the errors allowed for."""
        ended = self.nodes.program(box, strip, deadline)
        if ended is None:
            return _Record(rounds), -np.inf
        refutation, margin, x = ended
        if margin > 0.0:
            return _Record(rounds, refutation), margin
        if x is not None and self.nodes.is_violated(x):
            return Violation(x)
        return _Record(rounds), margin


def _finished(top: _Record) -> Node:
    """Records to nodes, children first, without recursion."""
    built: dict[int, Node] = {}
    stack: list[tuple[_Record, bool]] = [(top, False)]
    while stack:
        record, ready = stack.pop()
        if record.closing is not None:
            built[id(record)] = Node(record.rounds, record.closing)
        elif ready:
            split = Split(
                record.neuron, built.pop(id(record.inactive)), built.pop(id(record.active))
            )
            built[id(record)] = Node(record.rounds, split)
        else:
            stack += [(record, True), (record.inactive, False), (record.active, False)]
    return built[id(top)]
