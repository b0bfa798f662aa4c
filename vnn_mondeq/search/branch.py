"""Branch and bound over phases for one case."""

import heapq
import itertools
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import BoxRound, Refutation
from vnn_mondeq.bounds.check import CheckedBox, ProofInputs
from vnn_mondeq.bounds.relaxation import AbstractProjection, StripRelaxation, dual_bounds
from vnn_mondeq.bounds.triangle import TriangleOptimum, TriangleProgram
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.problem import Obligation
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.sdp.ascent import AscentSettings
from vnn_mondeq.sdp.check import CaseJudge
from vnn_mondeq.sdp.engine import AIR, CaseBound, bound_case
from vnn_mondeq.sdp.phases import scaled_form
from vnn_mondeq.search.certificate import Closing, Node, Split, Vacant
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolver

THIN = 1e-7
"""A phase is decided by a hair-thin triangle, this part of the largest bound, and not by a bound of
zero: at zero the neuron would be eliminated, and with it the sign of what remains (`z_i >= 0` of an
active neuron, `s_i >= 0` of an inactive one), which a relaxation over the whole input set needs."""


@final
@dataclass(frozen=True, slots=True)
class BranchSettings:
    """How a tree is grown.

    - `rounds`: tightening rounds at each node.
    - `nodes`: limit of nodes for one case.
    - `megabytes`: limit on the multipliers that one tree may hold (they are its certificate).
    - `ascent`: how each node's semidefinite bound is found. Fewer steps than at a root: a bound
      that takes many more is cheaper found by branching.
    """

    rounds: int = 2
    nodes: int = 20_000
    megabytes: float = 2000.0
    ascent: AscentSettings = field(default_factory=lambda: AscentSettings(steps=30))

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
    """A node on the list: its box, where it hangs, and its share of the tree (`2 ** -depth`).

    `fixed`: neurons whose phase was decided on the way here.
    """

    box_z: np.ndarray
    box_s: np.ndarray
    parent: "_Record | None"
    is_active: bool
    share: float
    fixed: frozenset[int]


@final
@dataclass(slots=True, eq=False)
class _Record:
    """A node that is decided, with links down; becomes a `Node` at the end."""

    rounds: tuple[BoxRound, ...]
    closing: Closing | None = None
    neuron: int = -1
    inactive: "_Record | None" = None
    active: "_Record | None" = None


@final
@dataclass(slots=True, eq=False)
class PhaseSearch:
    """The search for one obligation: everything its cases share."""

    system: ImplicitSystem
    obligation: Obligation
    inputs: ProofInputs
    projection: AbstractProjection
    settings: BranchSettings
    solver: FixpointSolver
    observer: AbstractObserver
    visited: int = 0

    def close(
        self,
        case: int,
        weights: np.ndarray,
        root: tuple[np.ndarray, np.ndarray],
        deadline: Deadline,
    ) -> Node | Violation | Unfinished:
        """Refute the case's combined row everywhere under the root box, or find a violation.

        Worst node first. Complete in exact arithmetic: with all phases decided a node is a linear
        program. **Raises** nothing for time: the answer is then `Unfinished`.
        """
        order = itertools.count()
        waiting: list[tuple[float, int, _Open]] = []
        heapq.heappush(waiting, (0.0, next(order), _Open(*root, None, False, 1.0, frozenset())))
        top: _Record | None = None
        count, closed = 0, 0.0
        while waiting:
            margin, _, opened = heapq.heappop(waiting)
            count += 1
            try:
                deadline.check()
                outcome = self._visit(case, weights, opened, deadline)
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
            if record.neuron < 0 or count >= self.settings.limit(self.system.neurons):
                return Unfinished(len(waiting) + 1, -bound)
            for is_active in (False, True):
                child = self._child(opened, record, is_active)
                heapq.heappush(waiting, (bound, next(order), child))
        return _finished(top)

    def _child(self, opened: _Open, record: _Record, is_active: bool) -> _Open:
        last = record.rounds[-1] if record.rounds else None
        box_z = (opened.box_z if last is None else last.upper_z).copy()
        box_s = (opened.box_s if last is None else last.upper_s).copy()
        decided = box_s if is_active else box_z
        decided[record.neuron] = THIN * float(np.max(decided))
        fixed = opened.fixed | {record.neuron}
        return _Open(box_z, box_s, record, is_active, 0.5 * opened.share, fixed)

    def _visit(
        self, case: int, weights: np.ndarray, opened: _Open, deadline: Deadline
    ) -> tuple[_Record, float] | Violation:
        """Tighten, bound, and either close the node or choose a neuron to split."""
        self.visited += 1
        # The root's box is as tight as rounds make it.
        count = self.settings.rounds if opened.parent is not None else 0
        rounds, vacant = self._tighten(opened.box_z, opened.box_s, count)
        if vacant is not None:
            return _Record(rounds, Vacant(vacant)), np.inf
        box_z = rounds[-1].upper_z if rounds else opened.box_z
        box_s = rounds[-1].upper_s if rounds else opened.box_s
        linear, margin = self._strip(case, weights, box_z, box_s)
        if margin > 0.0:
            return _Record(rounds, linear), margin
        lower, upper = self.obligation.proof_inputs.bounds()
        form = scaled_form(self.system, lower, upper, box_z, box_s)
        undecided = form.elimination.undecided
        free = np.array([neuron not in opened.fixed for neuron in undecided], dtype=bool)
        if not np.any(free):
            return self._decided(case, rounds, linear, (box_z, box_s), deadline)
        found = bound_case(self.obligation, form, case, weights, self.settings.ascent, deadline)
        if found is None:
            areas = (box_z * box_s)[undecided] * free
            return _Record(rounds, neuron=int(undecided[np.argmax(areas)])), margin
        if found.margin > 0.0 and self._confirmed(case, found, box_z, box_s):
            return _Record(rounds, found.refutation), found.margin
        x = form.center.copy()
        x[form.varying] += form.half[form.varying] * np.clip(found.point.x, -1.0, 1.0)
        if self._violates(case, x):
            return Violation(x)
        neuron = int(undecided[_most_violated(found, free)])
        return _Record(rounds, neuron=neuron), found.margin

    def _confirmed(self, case: int, found: CaseBound, box_z: np.ndarray, box_s: np.ndarray) -> bool:
        """Whether the check will confirm a leaf: hair-thin triangles make the plain float64 bound
        unreliable, and one refused leaf would spoil the whole tree."""
        judge = CaseJudge(self.system, self.obligation, CheckedBox(self.inputs, box_z, box_s))
        return isinstance(judge.margin(self.obligation.cases[case], found.refutation), float)

    def _decided(
        self,
        case: int,
        rounds: tuple[BoxRound, ...],
        strip: Refutation,
        box: tuple[np.ndarray, np.ndarray],
        deadline: Deadline,
    ) -> tuple[_Record, float] | Violation:
        """All phases are decided: the fixpoints of the node are a polytope, and a linear program
        settles it exactly.

        An end without a verdict remains where the exact minimum lies within the errors allowed for.
        """
        weights = strip.weights
        combined = self._combined(case, weights)
        exact = (_without_thin(box[0]), _without_thin(box[1]))
        program = TriangleProgram(self.system, self.obligation.proof_inputs.bounds(), exact)
        optimum = program.maximise(-combined.on_z[0], -combined.on_x[0], deadline)
        if optimum is None:
            return _Record(rounds), -np.inf
        if isinstance(optimum, TriangleOptimum):
            multipliers = optimum.multipliers
            margin = self._margin(case, weights, multipliers, box)
        else:
            # Emptiness: any multiple of its multipliers may be added to those of the row.
            multipliers, margin = self._empty(case, strip, optimum.multipliers, box)
        if margin > 0.0:
            return _Record(rounds, Refutation(weights, multipliers)), margin
        if isinstance(optimum, TriangleOptimum) and self._violates(case, optimum.x):
            return Violation(optimum.x)
        return _Record(rounds), margin

    def _empty(
        self,
        case: int,
        strip: Refutation,
        direction: np.ndarray,
        box: tuple[np.ndarray, np.ndarray],
    ) -> tuple[np.ndarray, float]:
        best = strip.multipliers, -np.inf
        for factor in 10.0 ** np.arange(0, 9):
            multipliers = strip.multipliers + factor * direction
            margin = self._margin(case, strip.weights, multipliers, box)
            best = max(best, (multipliers, margin), key=lambda pair: pair[1])
        return best

    def _margin(
        self,
        case: int,
        weights: np.ndarray,
        multipliers: np.ndarray,
        box: tuple[np.ndarray, np.ndarray],
    ) -> float:
        """The margin that linear multipliers give under a box, less the air for the check."""
        combined = self._combined(case, weights)
        upper = dual_bounds(
            self.system, self.projection, box, -combined.on_z, -combined.on_x, multipliers[None, :]
        )
        rows = np.array(self.obligation.cases[case], dtype=int)
        allowed = float(combined.offset[0] - weights @ self.obligation.rows.error[rows])
        return allowed - float(upper[0]) - AIR * (1.0 + abs(float(combined.offset[0])))

    def _combined(self, case: int, weights: np.ndarray) -> Coefficients:
        rows = np.array(self.obligation.cases[case], dtype=int)
        return self.obligation.rows.coefficients.take(rows).combine(weights[None, :])

    def _tighten(
        self, box_z: np.ndarray, box_s: np.ndarray, count: int
    ) -> tuple[tuple[BoxRound, ...], int | None]:
        rounds: list[BoxRound] = []
        air = 1e-9 * (1.0 + float(np.max(np.maximum(box_z, box_s))))
        for _ in range(count):
            try:
                relaxation = StripRelaxation.of(self.system, self.projection, box_z, box_s)
            except np.linalg.LinAlgError:
                break
            bounds = relaxation.neuron_bounds()
            if not (np.all(np.isfinite(bounds.for_z)) and np.all(np.isfinite(bounds.for_s))):
                break
            box_z = np.where(
                bounds.upper_z < -air, 0.0, np.minimum(box_z, np.maximum(bounds.upper_z + air, 0))
            )
            box_s = np.where(
                bounds.upper_s < -air, 0.0, np.minimum(box_s, np.maximum(bounds.upper_s + air, 0))
            )
            rounds.append(BoxRound(box_z, box_s, bounds.for_z, bounds.for_s))
            empty = np.flatnonzero((bounds.upper_z < -air) & (bounds.upper_s < -air))
            if empty.size:
                return tuple(rounds), int(empty[0])
        return tuple(rounds), None

    def _strip(
        self, case: int, weights: np.ndarray, box_z: np.ndarray, box_s: np.ndarray
    ) -> tuple[Refutation, float]:
        relaxation = StripRelaxation.of(self.system, self.projection, box_z, box_s)
        multipliers = relaxation.row_multipliers(-self._combined(case, weights).on_z)[0]
        return Refutation(weights, multipliers), self._margin(
            case, weights, multipliers, (box_z, box_s)
        )

    def _violates(self, case: int, x: np.ndarray) -> bool:
        point = self.obligation.inputs.project(x[None, :])
        z = self.solver.solve(point).value[0]
        rows = self.obligation.rows.coefficients.take(
            np.array(self.obligation.cases[case], dtype=int)
        )
        return bool(np.all(rows.on_z @ z + rows.on_x @ point[0] + rows.offset < 0.0))


def _without_thin(upper: np.ndarray) -> np.ndarray:
    """The bounds with hair-thin ones set to zero."""
    return np.where(upper <= 2.0 * THIN * float(np.max(upper, initial=0.0)), 0.0, upper)


def _most_violated(found: CaseBound, free: np.ndarray) -> int:
    """The free neuron whose complementarity the relaxation violates at the highest price.

    At the stationary point `ẑ_i ŝ_i` should vanish; its multiplier `t_i` is the price of that.
    """
    point = found.point
    k = point.z.size
    t = point.multipliers.products[:k]
    violation = np.clip(point.z, 0.0, 1.0) * np.clip(point.s, 0.0, 1.0)
    return int(np.argmax(np.where(free, (t + 1e-6) * violation, -1.0)))


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
