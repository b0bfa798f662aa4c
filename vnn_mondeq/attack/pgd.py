"""Implicit-gradient projected descent as an engine."""

import time
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.attack.objective import Objective
from vnn_mondeq.attack.region import AbstractRegion, make_region
from vnn_mondeq.attack.search import Findings, Schedule, Search
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import AbstractEngine, NoAnswer, Outcome, Reason, WitnessCandidate
from vnn_mondeq.system.solve import FixpointSolver


@final
@dataclass(frozen=True, slots=True)
class ImplicitPgd(AbstractEngine):
    """Searches for counterexamples by descent on each case's worst row.

    Gradients are exact implicit derivatives of the fixpoint; boxes get sign steps, other sets
    projected gradient steps (Madry et al. 2018; Winston & Kolter 2020 for the derivative). Every
    candidate is a float32 point. Not guaranteed: that a counterexample is found where one exists.

    Statistics: `best_margin` (smallest worst row seen; negative is a violation in float64),
    `seconds`, `steps`.
    """

    schedule: Schedule = field(default_factory=Schedule)

    @property
    def name(self) -> str:
        return "attack"

    def run(self, problem: Problem, deadline: Deadline, observer: AbstractObserver) -> Outcome:
        """Returns the first violation beyond rounding, else the best violation, else none."""
        began = time.monotonic()
        observer.phase(self.name)
        solver = FixpointSolver(problem.system)
        best, point, steps, unbounded = np.inf, None, 0, False
        for index, obligation in enumerate(problem.obligations):
            observer.progress(index, len(problem.obligations))
            if deadline.expired:
                break
            region = make_region(obligation.inputs)
            if region is None:
                unbounded = True
                continue
            findings = self._search(solver, region, obligation, deadline)
            if findings is None:
                continue
            steps += findings.steps
            leading = _leader(findings)
            if findings.margins[leading] < best or findings.proved[leading]:
                best, point = float(findings.margins[leading]), findings.points[leading]
            if findings.proved[leading]:
                break
        statistics = {
            "best_margin": best,
            "seconds": time.monotonic() - began,
            "steps": float(steps),
        }
        if point is not None and best <= 0.0:
            return Outcome(WitnessCandidate(point), statistics)
        if unbounded:
            return Outcome(NoAnswer(Reason.UNBOUNDED_INPUT), statistics)
        reason = Reason.TIMED_OUT if deadline.expired else Reason.NO_COUNTEREXAMPLE
        return Outcome(NoAnswer(reason), statistics)

    def _search(
        self,
        solver: FixpointSolver,
        region: AbstractRegion,
        obligation: Obligation,
        deadline: Deadline,
    ) -> Findings | None:
        if not obligation.cases:
            return None
        if not all(obligation.cases):
            # A case without rows: every point of the set violates it.
            inside = region.round(region.center()[None])
            return Findings(inside, np.array([-np.inf]), np.array([True]), np.array([-np.inf]))
        objective = Objective.of(obligation.rows, obligation.cases)
        return Search(solver, objective, region, self.schedule, deadline, True).run()


def _leader(findings: Findings) -> int:
    """The case to report: a violation beyond rounding if there is one, then the least margin."""
    return int(np.lexsort((findings.margins, ~findings.proved))[0])
