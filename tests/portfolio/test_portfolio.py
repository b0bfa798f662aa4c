"""Stages in order, under one deadline, with a reason for every answer that is none."""

import time
from fractions import Fraction

import numpy as np
import pytest
from strategies import constraint, query_of

from vnn_mondeq.bounds import engine as bounds_engine
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import DeadlineExceeded
from vnn_mondeq.gate import Gate, NothingToRefute
from vnn_mondeq.portfolio import BACKENDS, Stage, run
from vnn_mondeq.progress import NullObserver
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.result import (
    AbstractEngine,
    CertificateCandidate,
    NoAnswer,
    Outcome,
    Reason,
    Verdict,
    WitnessCandidate,
)
from vnn_mondeq.statement import build_problem
from vnn_mondeq.system.implicit import dense_system


class Relu:
    """A runtime of `_system` in float32."""

    runtime = "stub 1.0"

    def run(self, inputs):
        (x,) = inputs.values()
        return {"y": np.maximum(x, np.float32(0))}


def _system():
    one = np.eye(1)
    return dense_system(-one, one, np.zeros(1), 2.0 * one, np.zeros(1))


class Engine(AbstractEngine):
    """Does what it is told, and remembers that it was asked."""

    def __init__(self, action, name="engine"):
        self._action = action
        self._name = name
        self.asked = False

    @property
    def name(self):
        return self._name

    def run(self, problem, deadline, observer):
        self.asked = True
        outcome = self._action(deadline)
        return outcome if isinstance(outcome, Outcome) else Outcome(outcome)


def _decide(engines, cases=None, timeout=60.0, shares=None):
    box = Box.from_floats(np.zeros(1), np.ones(1))
    cases = [(box, [constraint({0: -1.0}, 0.5)])] if cases is None else cases
    problem = build_problem(_system(), query_of(cases, 1, 1, "float32"), "float32")
    gate = Gate(problem, "float32", Relu)
    shares = shares or [1.0] * len(engines)
    stages = tuple(
        Stage(lambda _, engine=engine: engine, share=share)
        for engine, share in zip(engines, shares, strict=True)
    )
    return run(problem, gate, stages, Deadline.after(timeout), NullObserver())


def _raise(error):
    raise error


def _nothing(reason=Reason.NO_COUNTEREXAMPLE):
    return lambda deadline: NoAnswer(reason)


def test_the_first_confirmed_candidate_ends_the_run():
    second = Engine(lambda deadline: WitnessCandidate(np.array([0.75])), "second")
    third = Engine(_nothing())
    result = _decide([Engine(_nothing()), second, third])
    assert result.verdict is Verdict.SAT
    assert result.engine == "second"
    assert not third.asked


def test_a_rejected_witness_does_not_stop_the_next_engine():
    wrong = Engine(lambda deadline: WitnessCandidate(np.array([0.25])))
    right = Engine(lambda deadline: WitnessCandidate(np.array([0.75])))
    assert _decide([wrong, right]).verdict is Verdict.SAT
    result = _decide([wrong])
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.WITNESS_REJECTED)
    assert "no violation" in result.detail


def test_a_false_certificate_gives_no_verdict():
    liar = Engine(lambda deadline: CertificateCandidate(NothingToRefute()), "liar")
    result = _decide([liar, Engine(_nothing())])
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.CERTIFICATE_REJECTED)
    assert result.engine == "liar"


@pytest.mark.parametrize(
    ("reasons", "shown"),
    [
        ([Reason.NO_COUNTEREXAMPLE, Reason.NOT_CONTAINED], Reason.NOT_CONTAINED),
        ([Reason.BOUND_TOO_LOOSE, Reason.NO_COUNTEREXAMPLE], Reason.BOUND_TOO_LOOSE),
        ([Reason.NO_COUNTEREXAMPLE, Reason.TIMED_OUT], Reason.NO_COUNTEREXAMPLE),
        ([Reason.TIMED_OUT], Reason.BOUND_TOO_LOOSE),
    ],
)
def test_the_reason_that_tells_most_is_shown(reasons, shown):
    result = _decide([Engine(_nothing(reason)) for reason in reasons])
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, shown)


def test_running_out_of_memory_is_a_reason_and_the_next_engine_has_its_turn():
    hungry = Engine(lambda deadline: _raise(MemoryError()))
    result = _decide([hungry])
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.OUT_OF_MEMORY)
    right = Engine(lambda deadline: WitnessCandidate(np.array([0.75])))
    assert _decide([hungry, right]).verdict is Verdict.SAT


def test_other_errors_of_an_engine_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        _decide([Engine(lambda deadline: 1 / 0)])


def test_no_time_is_timed_out_at_once():
    engine = Engine(_nothing())
    result = _decide([engine], timeout=0.0)
    assert (result.verdict, result.reason) == (Verdict.TIMED_OUT, Reason.TIMED_OUT)
    assert not engine.asked


LATE_SECONDS = 10.0
"""So much later may a busy machine wake a process; without a deadline it never ends."""


def test_the_deadline_ends_the_run_and_names_the_engine():
    def wait(deadline):
        while True:
            deadline.check()
            time.sleep(0.005)

    later = Engine(_nothing())
    started = time.monotonic()
    result = _decide([Engine(wait, "slow"), later], timeout=0.3)
    assert time.monotonic() - started < 0.3 + LATE_SECONDS
    assert result.verdict is Verdict.TIMED_OUT
    assert "slow" in result.detail
    assert not later.asked


def test_a_stage_gets_its_share_and_the_rest_goes_on():
    limits = []

    def note(deadline):
        limits.append(deadline.remaining())
        raise DeadlineExceeded("share used up")

    result = _decide([Engine(note), Engine(note)], timeout=100.0, shares=[0.25, 1.0])
    assert 24.0 < limits[0] < 25.0
    assert 97.0 < limits[1] <= 98.0, "two seconds are kept for the gate"
    assert result.verdict is Verdict.UNKNOWN


def test_without_cases_nothing_is_left_to_refute():
    engine = Engine(_nothing())
    result = _decide([engine], cases=[])
    assert result.verdict is Verdict.UNSAT
    assert not engine.asked


def test_an_empty_box_is_unsat():
    empty = Box.from_floats(np.ones(1), np.zeros(1))
    result = _decide([], cases=[(empty, [constraint({0: -1.0}, 0.5)])])
    assert result.verdict is Verdict.UNSAT


def test_a_case_without_constraints_is_sat_at_any_point():
    box = Box.from_floats(np.full(1, 0.25), np.ones(1))
    result = _decide([], cases=[(box, [constraint({0: 1.0}, 1.0)]), (box, [])])
    assert result.verdict is Verdict.SAT
    assert 0.25 <= result.witness.inputs["X"][0] <= 1.0


def test_an_unbounded_input_is_guessed():
    half = Box.from_fractions([Fraction(0)], [None])
    engine = Engine(_nothing())
    result = _decide([engine], cases=[(half, [constraint({0: -1.0}, 0.5)])])
    assert (result.verdict, result.engine) == (Verdict.SAT, "guess")
    assert not engine.asked


def test_a_witness_stays_inside_a_bound_that_float32_does_not_have():
    """The float32 nearest to 0.1 is above 0.1; only an input fixed to it may take that number."""
    engine = Engine(lambda deadline: WitnessCandidate(np.array([0.1])))
    for lower, inside in ((Fraction(0), True), (Fraction(1, 10), False)):
        box = Box.from_fractions([lower], [Fraction(1, 10)])
        result = _decide([engine], cases=[(box, [constraint({0: -1.0}, 0.05)])])
        assert result.verdict is Verdict.SAT
        found = Fraction(float(result.witness.inputs["X"][0]))
        assert (found <= Fraction(1, 10)) is inside


def test_guesses_keep_to_the_time_limit(monkeypatch):
    """Many input sets with a slow runtime: each guess is a replay; a busy machine does fewer."""
    run_relu, replays = Relu.run, []

    def slowly(*given):
        replays.append(None)
        time.sleep(0.05)
        return run_relu(*given)

    monkeypatch.setattr(Relu, "run", slowly)
    sets = [Box.from_fractions([Fraction(k, 100)], [None]) for k in range(20)]
    _decide([], cases=[(half, [constraint({0: -1.0}, 50.0)]) for half in sets], timeout=1.0)
    assert 0 < len(replays) <= 1.0 / 0.05 + 1


def test_an_unbounded_input_is_named():
    half = Box.from_fractions([Fraction(0)], [None])
    engine = Engine(_nothing())
    result = _decide([engine], cases=[(half, [constraint({0: -1.0}, 50.0)])])
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.UNBOUNDED_INPUT)
    assert "X[0]" in result.detail
    assert not engine.asked


def test_without_engines_the_reason_says_so():
    result = _decide([])
    assert (result.verdict, result.reason) == (Verdict.UNKNOWN, Reason.NO_ENGINE)


def test_statistics_of_every_turn_are_kept():
    turn = Engine(lambda deadline: Outcome(NoAnswer(Reason.NOT_CONTAINED), {"steps": 3}), "craft")
    result = _decide([turn, turn])
    assert result.statistics == {"0.craft.steps": 3.0, "1.craft.steps": 3.0}


def test_the_stages_of_a_run_share_one_inductive_box(monkeypatch):
    """The box is found once, by whichever stage asks first, and anew in the next run."""
    calls = []
    search = bounds_engine.find_inductive_box
    monkeypatch.setattr(
        bounds_engine, "find_inductive_box", lambda *given: calls.append(1) or search(*given)
    )
    box = Box.from_floats(np.zeros(1), np.ones(1))
    # Refuted by no engine and violated nowhere strictly, so that every stage has its turn.
    cases = [(box, [constraint({0: 1.0}, 0.0)])]
    problem = build_problem(_system(), query_of(cases, 1, 1, "float32"), "float32")
    for run_number in (1, 2):
        run(
            problem,
            Gate(problem, "float32", Relu),
            tuple(stage for stage in BACKENDS["auto"] if stage.fewest_inputs == 0),
            Deadline.after(20.0),
            NullObserver(),
        )
        assert len(calls) == run_number
