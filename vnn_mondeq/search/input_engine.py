"""The search over inputs as an engine, for problems in which few inputs vary."""

import time
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Problem
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import (
    AbstractEngine,
    Candidate,
    CertificateCandidate,
    NoAnswer,
    Outcome,
    Reason,
    WitnessCandidate,
)
from vnn_mondeq.search.input_bound import RegionBounds
from vnn_mondeq.search.input_certificate import InputSplitCertificate, Region
from vnn_mondeq.search.input_split import (
    InputSearch,
    SplitSettings,
    Undecidable,
    Unfinished,
    Violation,
)
from vnn_mondeq.system.solve import FixpointSolver


@final
@dataclass(frozen=True, slots=True)
class InputBranching(AbstractEngine):
    """Branch and bound on inputs, bounded by inductive boxes.

    - `widest`: more varying inputs than this are declined at once: halving all of them costs a
      factor `2 ** inputs`.

    Decides conjunctions of rows too: another row may refute the case on every sub-box. Not
    guaranteed: an answer where the true margin is below the rounding errors allowed for.
    """

    settings: SplitSettings = field(default_factory=SplitSettings)
    widest: int = 12

    @property
    def name(self) -> str:
        return "split"

    def run(self, problem: Problem, deadline: Deadline, observer: AbstractObserver) -> Outcome:
        began = time.perf_counter()
        declined = self._declined(problem)
        if declined is not None:
            return Outcome(declined, {"seconds": time.perf_counter() - began})
        observer.phase("branch and bound on inputs")
        numbers = _Numbers()
        candidate = self._run(problem, deadline, observer, numbers)
        seconds = time.perf_counter() - began
        return Outcome(
            candidate,
            {
                "seconds": seconds,
                "boxes": float(numbers.boxes),
                "certified": numbers.certified / max(len(problem.obligations), 1),
            },
        )

    def _declined(self, problem: Problem) -> NoAnswer | None:
        for obligation in problem.obligations:
            if not all(obligation.cases):
                return NoAnswer(Reason.BOUND_TOO_LOOSE, "a case has no row to refute")
            lower, upper = obligation.proof_inputs.bounds()
            if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
                return NoAnswer(Reason.UNBOUNDED_INPUT)
            count = int(np.count_nonzero(upper > lower))
            if count > self.widest:
                detail = f"{count} inputs vary; splitting is for at most {self.widest}"
                return NoAnswer(Reason.NO_ENGINE, detail)
        return None

    def _run(
        self,
        problem: Problem,
        deadline: Deadline,
        observer: AbstractObserver,
        numbers: "_Numbers",
    ) -> Candidate:
        bounds = RegionBounds(problem.system, self.settings.bound, FixpointSolver(problem.system))
        trees: list[Region] = []
        for obligation in problem.obligations:

            def report(fraction: float, done: int = len(trees)) -> None:
                observer.progress(done + fraction, len(problem.obligations))

            search = InputSearch(bounds, obligation, self.settings, report)
            ended = search.close(deadline)
            numbers.boxes += search.visited
            numbers.certified += search.certified
            if not isinstance(ended, Region):
                return _answer(ended, search.certified, deadline)
            trees.append(ended)
        return CertificateCandidate(InputSplitCertificate(tuple(trees)))


@final
@dataclass(slots=True)
class _Numbers:
    boxes: int = 0
    certified: float = 0.0


def _answer(
    ended: Violation | Undecidable | Unfinished, certified: float, deadline: Deadline
) -> Candidate:
    match ended:
        case Violation(x):
            return WitnessCandidate(x)
        case Undecidable(_, margin):
            detail = f"at one input a case stays {-margin:.3g} below what a proof needs"
            return NoAnswer(Reason.ROUNDING, detail)
        case Unfinished(open_boxes, gap, why):
            reason = Reason.TIMED_OUT if deadline.expired else Reason.BOUND_TOO_LOOSE
            detail = (
                f"{why}; {100.0 * certified:.2f} % of the volume is certified, "
                f"{open_boxes} sub-boxes are open, the worst misses by {gap:.4g}"
            )
            return NoAnswer(reason, detail)
