"""Which engine runs when, under one deadline.

A backend is a list of stages, one table entry. `auto` takes the cheapest proof first (it costs
milliseconds), attacks briefly, takes the semidefinite bounds, attacks harder, lets CRAFT try, and
branches with the rest of the time. Each engine's candidate goes through the gate; the first that
passes ends the run. A part of the time is reserved for the gate's check and for output.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, final

import numpy as np

from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.few_points import few_points
from vnn_mondeq.gate import Gate, NothingToRefute, Rejection
from vnn_mondeq.problem import Problem
from vnn_mondeq.progress import AbstractObserver, NullObserver
from vnn_mondeq.result import (
    AbstractCertificate,
    AbstractEngine,
    CertificateCandidate,
    NoAnswer,
    Outcome,
    Reason,
    Result,
    Verdict,
    Witness,
    WitnessCandidate,
)
from vnn_mondeq.statement import unbounded_inputs

if TYPE_CHECKING:
    from vnn_mondeq.bounds.engine import InductiveBox

RESERVE_SHARE = 0.1
RESERVE_SECONDS = 2.0
"""The gate and the output get a tenth of the time limit, and no more than two seconds of it."""

UNLIMITED_ATTACK_SECONDS = 30.0
"""The last attack's limit where the whole run has none."""


@final
@dataclass(frozen=True, slots=True)
class Stage:
    """One engine's turn.

    - `make`: creates the engine (and imports its room), given the finder of inductive boxes that
      all stages of a run share: the box is found once.
    - `share`: the part of the remaining time it may use; 1 for all.
    - `seconds`: at most this many.
    - `fewest_inputs`: the least number of inputs at which the stage pays.
    """

    make: Callable[["InductiveBox"], AbstractEngine]
    share: float = 1.0
    seconds: float = np.inf
    fewest_inputs: int = 0

    def limit(self, deadline: Deadline) -> Deadline:
        """The stage's own deadline."""
        if not np.isfinite(self.share * deadline.remaining()):
            return deadline.sooner(self.seconds)
        return deadline.sooner(min(self.seconds, self.share * deadline.remaining()))


def _quick_attack(_: "InductiveBox") -> AbstractEngine:
    from vnn_mondeq.attack.pgd import ImplicitPgd
    from vnn_mondeq.attack.search import Schedule

    return ImplicitPgd(Schedule(rounds=1))


def _thorough_attack(_: "InductiveBox") -> AbstractEngine:
    from vnn_mondeq.attack.pgd import ImplicitPgd
    from vnn_mondeq.attack.search import Schedule

    return ImplicitPgd(Schedule(steps=80, restarts=12, rounds=6, seed=1))


def _shared_boxes() -> "InductiveBox":
    from vnn_mondeq.bounds.attempt import KeptAttempts
    from vnn_mondeq.bounds.engine import InductiveBox

    # Rows that the strips miss go to the semidefinite bounds, which are tighter and faster than
    # the triangle's linear programs.
    return InductiveBox(exact_within=0.0, kept=KeptAttempts())


def _inductive_box(boxes: "InductiveBox") -> AbstractEngine:
    return boxes


def _inductive_box_with_programs(_: "InductiveBox") -> AbstractEngine:
    from vnn_mondeq.bounds.engine import InductiveBox

    return InductiveBox()


def _semidefinite(boxes: "InductiveBox") -> AbstractEngine:
    from vnn_mondeq.sdp.engine import StrengthenedShor

    return StrengthenedShor(boxes)


def _with_pairs(boxes: "InductiveBox") -> AbstractEngine:
    from vnn_mondeq.sdp.engine import PairSettings, StrengthenedShor

    return StrengthenedShor(boxes, pairs=PairSettings())


def _lipschitz(boxes: "InductiveBox") -> AbstractEngine:
    from vnn_mondeq.sdp.lipschitz_engine import LipschitzEngine

    return LipschitzEngine(boxes)


def _search(boxes: "InductiveBox") -> AbstractEngine:
    from vnn_mondeq.search.engine import PhaseBranching

    return PhaseBranching(boxes)


def _input_search(_: "InductiveBox") -> AbstractEngine:
    from vnn_mondeq.search.input_engine import InputBranching

    return InputBranching()


def _craft(_: "InductiveBox") -> AbstractEngine:
    from vnn_mondeq.craft.engine import Craft

    return Craft()


def _ellipsoid(_: "InductiveBox") -> AbstractEngine:
    from vnn_mondeq.sdp.ellipsoid_engine import EllipsoidEngine

    return EllipsoidEngine()


BACKENDS: Mapping[str, tuple[Stage, ...]] = MappingProxyType(
    {
        "auto": (
            Stage(_inductive_box, share=0.5),
            Stage(_quick_attack, share=0.2, seconds=10.0),
            # Costs little more with many inputs, where a semidefinite step costs seconds.
            Stage(_lipschitz, share=0.2, fewest_inputs=1500),
            Stage(_semidefinite, share=0.6),
            # Declines at once where many inputs vary. The rest of its time is for the gate's check.
            Stage(_input_search, share=0.5),
            Stage(_thorough_attack, share=0.1, seconds=UNLIMITED_ATTACK_SECONDS),
            # Contains some sets for which no inductive box is found.
            Stage(_craft, share=0.2),
            Stage(_search),
        ),
        "inductive": (Stage(_inductive_box_with_programs),),
        "sdp": (Stage(_semidefinite),),
        "pairs": (Stage(_with_pairs),),  # `auto` does without: branching is quicker
        "lipschitz": (Stage(_lipschitz),),
        "search": (Stage(_search),),
        "split": (Stage(_input_search, share=0.6),),
        "ellipsoid": (Stage(_ellipsoid),),
        "craft": (Stage(_craft),),
        "attack": (Stage(_quick_attack), Stage(_thorough_attack)),
    }
)
"""`--backend` → its stages."""


@final
@dataclass(slots=True)
class _Log:
    """What happened so far: numbers for the result, and why each stage gave no answer."""

    statistics: dict[str, float] = field(default_factory=dict)
    failures: list[tuple[str, Reason, str]] = field(default_factory=list)

    def fail(self, engine: str, reason: Reason, detail: str = "") -> None:
        self.failures.append((engine, reason, detail))

    def record(self, engine: str, turn: int, statistics: Mapping[str, float]) -> None:
        for key, value in statistics.items():
            self.statistics[f"{turn}.{engine}.{key}"] = float(value)


def run(
    problem: Problem,
    gate: Gate,
    stages: tuple[Stage, ...],
    deadline: Deadline,
    observer: AbstractObserver,
) -> Result:
    """Decide a problem with the given stages.

    **Returns** a result that has passed the gate, or `UNKNOWN` or `TIMED_OUT` with a reason. Soon
    after the deadline at the latest, as far as engines keep theirs.
    """
    log = _Log()
    if deadline.expired:
        return _timed_out(log)
    try:
        return _run(problem, gate, stages, deadline, observer, log)
    except DeadlineExceeded:
        return _timed_out(log)
    except MemoryError:
        return Result(Verdict.UNKNOWN, Reason.OUT_OF_MEMORY, statistics=log.statistics)


def _run(
    problem: Problem,
    gate: Gate,
    stages: tuple[Stage, ...],
    deadline: Deadline,
    observer: AbstractObserver,
    log: _Log,
) -> Result:
    settled = _without_engines(problem, gate, deadline, log)
    if settled is not None:
        return settled
    work, boxes = _before_reserve(deadline), _shared_boxes()
    for turn, stage in enumerate(stages):
        if work.expired:
            break
        if problem.system.input_size < stage.fewest_inputs:
            continue
        engine = stage.make(boxes)
        observer.event("engine", name=engine.name, seconds=stage.limit(work).remaining())
        outcome = _engine_turn(engine, problem, stage.limit(work), observer)
        log.record(engine.name, turn, outcome.statistics)
        result = _through_gate(gate, engine.name, outcome, deadline, log)
        if result is not None:
            return result
        _, reason, detail = log.failures[-1]
        observer.event("no answer", engine=engine.name, reason=reason.name, detail=detail)
    return _timed_out(log) if work.expired else _unknown(log)


def _before_reserve(deadline: Deadline) -> Deadline:
    left = deadline.remaining()
    if not np.isfinite(left):
        return deadline
    return Deadline(deadline.at - min(RESERVE_SECONDS, RESERVE_SHARE * left))


def _without_engines(problem: Problem, gate: Gate, deadline: Deadline, log: _Log) -> Result | None:
    """Problems that need no engine: nothing to refute, everything violates, no finite bounds."""
    if not problem.obligations:
        return _judge_certificate(gate, "input set", NothingToRefute(), deadline, log) or _unknown(
            log
        )
    for obligation in problem.obligations:
        unbounded = unbounded_inputs(obligation)
        unbounded = unbounded[unbounded < problem.system.file_input_size]
        if unbounded.size:
            shown = ", ".join(f"X[{i}]" for i in unbounded[:5])
            more = "" if unbounded.size <= 5 else f" and {unbounded.size - 5} more"
            open_ended = Result(Verdict.UNKNOWN, Reason.UNBOUNDED_INPUT, f"flattened {shown}{more}")
            return _guessed(problem, gate, deadline, log) or open_ended
    if not np.all(np.isfinite(problem.system.auxiliary_upper)):
        return _attack_alone(problem, gate, deadline, log)
    if problem.system.auxiliary_size:
        guess = _guessed(problem, gate, deadline, log)
        if guess is not None:
            return guess
    for obligation in problem.obligations:
        if all(obligation.cases):
            continue
        lower, upper = obligation.inputs.bounds()
        centre = obligation.inputs.project((0.5 * lower + 0.5 * upper)[None])[0]
        for point in (centre, lower, upper):
            result = _judge_witness(gate, "input set", point, log)
            if result is not None:
                return result
    return None


def _attack_alone(problem: Problem, gate: Gate, deadline: Deadline, log: _Log) -> Result:
    """Where a tensor has no finite bounds, nothing can be proved; a witness may still exist."""
    attack = _quick_attack(_shared_boxes())
    outcome = _engine_turn(attack, problem, _before_reserve(deadline), NullObserver())
    result = _through_gate(gate, "attack", outcome, deadline, log)
    return result or Result(Verdict.UNKNOWN, Reason.UNBOUNDED_TENSOR, statistics=log.statistics)


def _guessed(problem: Problem, gate: Gate, deadline: Deadline, log: _Log) -> Result | None:
    """A counterexample among a few points, at the price of a replay for each.

    Without bounds engines have no place to begin, yet inputs that do not matter are often left
    without; and what an attack finds in a relaxation is rarely what the network itself does.
    """
    # With many input sets replays add up: a quarter of the time at most.
    until = deadline.sooner(0.25 * deadline.remaining())
    for obligation in problem.obligations:
        for point in obligation.inputs.project(few_points(problem, obligation)):
            if until.expired:
                return None
            found = gate.confirm_witness(point)
            if isinstance(found, Witness):
                return Result(Verdict.SAT, witness=found, engine="guess", statistics=log.statistics)
    return None


def _engine_turn(
    engine: AbstractEngine, problem: Problem, deadline: Deadline, observer: AbstractObserver
) -> Outcome:
    started = time.monotonic()
    try:
        return engine.run(problem, deadline, observer)
    except DeadlineExceeded:
        return Outcome(NoAnswer(Reason.TIMED_OUT), {"seconds": time.monotonic() - started})
    except MemoryError:
        return Outcome(NoAnswer(Reason.OUT_OF_MEMORY), {"seconds": time.monotonic() - started})


def _through_gate(
    gate: Gate, engine: str, outcome: Outcome, deadline: Deadline, log: _Log
) -> Result | None:
    match outcome.candidate:
        case WitnessCandidate(x):
            return _judge_witness(gate, engine, x, log, deadline)
        case CertificateCandidate(certificate):
            return _judge_certificate(gate, engine, certificate, deadline, log)
        case NoAnswer(reason, detail):
            log.fail(engine, reason, detail)
            return None
    raise TypeError(f"engine {engine} returned {type(outcome.candidate).__name__}, no candidate")


def _judge_witness(
    gate: Gate, engine: str, x: np.ndarray, log: _Log, deadline: Deadline | None = None
) -> Result | None:
    """With a deadline, also a witness beside `x` will do, where the model is relaxed."""
    found = gate.confirm_witness(x)
    if isinstance(found, Rejection) and gate.problem_on is not None and deadline is not None:
        from vnn_mondeq.zoom import zoom

        found = zoom(gate.problem, gate.problem_on, gate.confirm_witness, x, deadline) or found
    if isinstance(found, Witness):
        return Result(Verdict.SAT, witness=found, engine=engine, statistics=log.statistics)
    log.fail(engine, found.reason, found.detail)
    return None


def _judge_certificate(
    gate: Gate, engine: str, certificate: AbstractCertificate, deadline: Deadline, log: _Log
) -> Result | None:
    found = gate.confirm_certificate(certificate, deadline)
    if isinstance(found, Rejection):
        log.fail(engine, found.reason, found.detail)
        return None
    return Result(Verdict.UNSAT, certificate=found, engine=engine, statistics=log.statistics)


_WEIGHT: Mapping[Reason, int] = MappingProxyType(
    {
        Reason.CERTIFICATE_REJECTED: 5,
        Reason.OUT_OF_MEMORY: 4,
        Reason.WITNESS_REJECTED: 3,
        Reason.NO_COUNTEREXAMPLE: 1,
        Reason.NO_ENGINE: 0,  # an engine that declines says nothing about the problem
        Reason.TIMED_OUT: 0,
    }
)
"""Which of several reasons the user should read first; 2 for those not listed."""


def _unknown(log: _Log) -> Result:
    if not log.failures:
        return Result(Verdict.UNKNOWN, Reason.NO_ENGINE, statistics=log.statistics)
    # Of equal reasons the last one counts: later engines are stronger.
    latest_first = reversed(log.failures)
    engine, reason, detail = max(latest_first, key=lambda failure: _WEIGHT.get(failure[1], 2))
    if reason is Reason.TIMED_OUT:
        # Every stage used up its share although the whole time limit has not struck.
        reason, detail = Reason.BOUND_TOO_LOOSE, "every engine used up its share of the time"
    return Result(Verdict.UNKNOWN, reason, detail, engine=engine, statistics=log.statistics)


def _timed_out(log: _Log) -> Result:
    last = next((f"while running {engine}" for engine, *_ in reversed(log.failures)), "")
    return Result(Verdict.TIMED_OUT, Reason.TIMED_OUT, last, statistics=log.statistics)
