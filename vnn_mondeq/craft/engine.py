"""The CRAFT engine: containment, tightening, slope optimisation, one input set after another.

Müller, Fischer, Staab, Vechev, "Abstract Interpretation of Fixpoint Iterators with Applications
to Neural Networks" (algorithm 1); docs/craft.md says what is the paper's and what is ours.
"""

import time
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.craft.certificate import Containment as ContainmentTrace
from vnn_mondeq.craft.certificate import CraftCertificate, ObligationTrace
from vnn_mondeq.craft.contain import Attempt, Contained, Containment, plan_attempts
from vnn_mondeq.craft.inputs import InputSymbols, enclose
from vnn_mondeq.craft.margins import MarginLedger
from vnn_mondeq.craft.operators import constants_of
from vnn_mondeq.craft.settings import CraftSettings
from vnn_mondeq.craft.tighten import Tightening
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import (
    AbstractEngine,
    CertificateCandidate,
    NoAnswer,
    Outcome,
    Reason,
)
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolver


@final
@dataclass(frozen=True, slots=True, eq=False)
class ObligationRun:
    """What a run on one obligation gave.

    - `trace`: the proof; `None` without one, and then `reason` says why.
    - `worst`: the least case margin, minus infinity without containment.
    - `contained`, `tightening`: number of steps of either phase.
    """

    trace: ObligationTrace | None
    reason: Reason
    worst: float
    contained: int
    tightening: int
    contain_seconds: float
    tighten_seconds: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class Craft(AbstractEngine):
    """CRAFT with the given settings. Sound, not complete; decides `unsat` only."""

    settings: CraftSettings = field(default_factory=CraftSettings)

    @property
    def name(self) -> str:
        return "craft"

    def run(self, problem: Problem, deadline: Deadline, observer: AbstractObserver) -> Outcome:
        """A certificate candidate, or `NoAnswer` with its reason."""
        statistics: dict[str, float] = {}
        try:
            return self._run(problem, deadline, observer, statistics)
        except DeadlineExceeded:
            return Outcome(NoAnswer(Reason.TIMED_OUT), statistics)
        except MemoryError:
            return Outcome(NoAnswer(Reason.OUT_OF_MEMORY), statistics)

    def _run(
        self,
        problem: Problem,
        deadline: Deadline,
        observer: AbstractObserver,
        statistics: dict[str, float],
    ) -> Outcome:
        attempts = list(plan_attempts(problem.system, self.settings))
        traces = []
        worst = np.inf
        for number, obligation in enumerate(problem.obligations):
            observer.phase("craft")
            observer.progress(number, len(problem.obligations))
            run = prove(problem.system, obligation, self.settings, attempts, deadline)
            worst = min(worst, run.worst)
            statistics["craft_margin"] = worst
            for key in ("contained", "tightening", "contain_seconds", "tighten_seconds"):
                name = f"craft_{key}"
                statistics[name] = statistics.get(name, 0.0) + getattr(run, key)
            observer.event(
                "craft",
                obligation=number,
                contained=run.contained,
                tightening=run.tightening,
                margin=run.worst,
            )
            if run.trace is None:
                detail = f"worst margin {run.worst:.4g}" if np.isfinite(run.worst) else ""
                return Outcome(NoAnswer(run.reason, detail), statistics)
            traces.append(run.trace)
        return Outcome(CertificateCandidate(CraftCertificate(tuple(traces))), statistics)


def prove(
    system: ImplicitSystem,
    obligation: Obligation,
    settings: CraftSettings,
    attempts: list[Attempt],
    deadline: Deadline,
) -> ObligationRun:
    """Try to refute every case of one obligation.

    **Raises** `DeadlineExceeded`.
    """
    began = time.monotonic()
    deadline.check()
    if not obligation.cases:
        trace = ObligationTrace(None, None, (), settings.intersect, ())
        return ObligationRun(trace, Reason.NONE, np.inf, 0, 0, 0.0, 0.0)
    maps = np.concatenate([system.U, obligation.rows.coefficients.on_x])
    symbols = enclose(obligation.proof_inputs, maps)
    if symbols is None:
        return ObligationRun(None, Reason.UNBOUNDED_INPUT, -np.inf, 0, 0, 0.0, 0.0)
    constants = constants_of(system, symbols)
    center = FixpointSolver(system).solve(symbols.center[None], deadline=deadline).value[0]
    contained = None
    for attempt in attempts:
        phase = Containment(system, symbols, constants, attempt)
        contained = phase.run(center, deadline)
        if contained is not None:
            break
    found = time.monotonic()
    if contained is None:
        return ObligationRun(None, Reason.NOT_CONTAINED, -np.inf, 0, 0, found - began, 0.0)
    ledger = MarginLedger(obligation, symbols)
    tightening = Tightening(system, settings, ledger, constants, contained, deadline)
    tightening.run()
    settled = ledger.worst() > 0.0
    trace = _trace(symbols, contained, tightening, settings) if settled else None
    return ObligationRun(
        trace,
        Reason.NONE if settled else Reason.BOUND_TOO_LOOSE,
        ledger.worst(),
        contained.total_steps,
        len(tightening.steps),
        found - began,
        time.monotonic() - found,
    )


def _trace(
    symbols: InputSymbols, contained: Contained, tightening: Tightening, settings: CraftSettings
) -> ObligationTrace:
    """Only what the claims need: steps after the last one used are left out."""
    claims = tightening.ledger.claims()
    by_multipliers = any(claim.multipliers is not None for claim in claims)
    last = max((claim.step for claim in claims), default=0)
    steps = tightening.steps if by_multipliers else tightening.steps[:last]
    outer = contained.outer
    containment = ContainmentTrace(
        contained.iteration.kind,
        contained.iteration.alpha,
        outer.center,
        outer.generators,
        outer.radius,
        contained.steps,
    )
    return ObligationTrace(symbols.row_space, containment, tuple(steps), settings.intersect, claims)
