"""Counts, failures, and every way in which two verdicts can contradict each other."""

import pytest
from bench_values import run_record

from vnn_mondeq.bench.records import Ending, HashedFile
from vnn_mondeq.bench.summary import contradictions, failures, summarise
from vnn_mondeq.result import Verdict

SAT, UNSAT, UNKNOWN = Verdict.SAT, Verdict.UNSAT, Verdict.UNKNOWN
CRASH = run_record("d", None, ending=Ending.CRASHED, exit_code=-11)


def test_counts_by_backend():
    runs = [
        run_record("a", SAT, seconds=1.0),
        run_record("b", UNSAT, seconds=3.0),
        run_record("c", UNKNOWN, seconds=9.0, backend="craft"),
        CRASH,
    ]
    auto, craft = summarise(runs)
    assert (auto.backend, auto.counts[SAT], auto.counts[UNSAT], auto.failed) == ("auto", 1, 1, 1)
    assert (auto.median_seconds, craft.median_seconds) == (2.0, None)
    assert failures(runs) == [CRASH]


def other_query(run_name, verdict):
    return run_record(run_name, verdict, query=HashedFile("elsewhere.vnnlib", "99"))


@pytest.mark.parametrize(
    ("runs", "count"),
    [
        ([run_record(verdict=SAT), run_record(verdict=UNSAT, backend="craft")], 1),
        ([run_record(verdict=SAT), run_record(verdict=UNSAT, repeat=1)], 1),
        ([run_record("a", SAT), run_record("b", UNSAT)], 1),  # two names, one content
        ([run_record(verdict=SAT, expected=UNSAT)], 1),
        ([run_record(verdict=SAT), run_record(verdict=SAT, backend="craft")], 0),
        ([run_record(verdict=SAT), run_record(verdict=UNKNOWN, backend="craft")], 0),
        ([run_record(verdict=UNKNOWN, expected=UNSAT)], 0),
        ([run_record(verdict=SAT), other_query("net:query", UNSAT)], 0),
    ],
)
def test_contradictions(runs, count):
    assert len(contradictions(("", runs))) == count


def test_who_says_what():
    (found,) = contradictions(
        ("old", [run_record(verdict=UNSAT)]),
        ("new", [run_record(verdict=SAT, expected=UNSAT, repeat=2)]),
    )
    assert found.says == (
        ("old auto", UNSAT),
        ("the expected verdict", UNSAT),
        ("new auto (repeat 2)", SAT),
    )
