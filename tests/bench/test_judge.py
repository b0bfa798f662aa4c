"""What the end of a process means, without starting one."""

from pathlib import Path

import pytest
from bench_values import run_record

from vnn_mondeq.bench.answer import Answer, decode_answer, encode_answer
from vnn_mondeq.bench.execute import Task, died_with_worker, execute, judge
from vnn_mondeq.bench.instances import Instance
from vnn_mondeq.bench.process import Finished
from vnn_mondeq.bench.records import Ending
from vnn_mondeq.result import Verdict

RECORD = run_record()
TASK = Task(
    instance=Instance(
        identifier="net:query",
        networks=RECORD.networks,
        query=RECORD.query,
        timeout=10.0,
        expected=Verdict.UNSAT,
    ),
    folder=Path("/"),
    backend="auto",
    repeat=1,
    timeout=10.0,
    grace=5.0,
    memory=None,
    threads=1,
    retries=2,
    manifest="m",
)

ANSWER = Answer(
    verdict="unsat",
    reason="NONE",
    engine="sdp",
    margin=0.5,
    engines_at=100.4,
    engines_cpu=0.3,
    peak_bytes=5,
    statistics={"0.sdp.steps": 3.0, "0.sdp.bound": float("inf")},
)


def finished(**changes) -> Finished:
    values = {
        "exit_code": 0,
        "killed": False,
        "stdout": b"unsat\n",
        "stderr": b"",
        "started_at": 100.0,
        "seconds": 1.0,
        "cpu_seconds": 0.9,
        "peak_bytes": 7,
    }
    return Finished(**{**values, **changes})


def test_an_answer_with_its_record():
    run = judge(TASK, finished(), ANSWER, "now")
    assert (run.ending, run.verdict, run.engine, run.margin) == (
        Ending.ANSWERED,
        Verdict.UNSAT,
        "sdp",
        0.5,
    )
    assert (run.startup_seconds, run.startup_cpu_seconds, run.peak_bytes) == (0.4, 0.3, 5)
    assert (run.expected, run.key, run.began) == (Verdict.UNSAT, TASK.key, "now")


@pytest.mark.parametrize(
    ("process", "ending", "verdict", "reason"),
    [
        ({"stdout": b"sat\nX float32 [1]\n0.5\n"}, Ending.ANSWERED, Verdict.SAT, "NONE"),
        ({"stdout": b"timed-out\n"}, Ending.ANSWERED, Verdict.TIMED_OUT, "TIMED_OUT"),
        ({"killed": True, "exit_code": -9}, Ending.KILLED, Verdict.TIMED_OUT, "TIMED_OUT"),
        ({"exit_code": 2, "stdout": b""}, Ending.REFUSED, None, "NONE"),
        ({"exit_code": 70, "stdout": b""}, Ending.CRASHED, None, "NONE"),
        ({"exit_code": -11, "stdout": b"unsat\n"}, Ending.CRASHED, None, "NONE"),
        ({"stdout": b"holds\n"}, Ending.CRASHED, None, "NONE"),
        ({"stdout": b""}, Ending.CRASHED, None, "NONE"),
        (
            {"exit_code": 70, "stderr": b"...\nMemoryError: \nreport it"},
            Ending.OUT_OF_MEMORY,
            Verdict.UNKNOWN,
            "OUT_OF_MEMORY",
        ),
        (
            {"exit_code": -6, "stderr": b"what():  std::bad_alloc"},
            Ending.OUT_OF_MEMORY,
            Verdict.UNKNOWN,
            "OUT_OF_MEMORY",
        ),
    ],
)
def test_other_ends(process, ending, verdict, reason):
    run = judge(TASK, finished(**process), None, "now")
    assert (run.ending, run.verdict, run.reason) == (ending, verdict, reason)
    assert run.startup_seconds is None


def test_the_record_of_an_answer_never_outvotes_the_exit_code():
    run = judge(TASK, finished(exit_code=70), ANSWER, "now")
    assert (run.ending, run.verdict, run.engine) == (Ending.CRASHED, None, "")


def test_answers_are_read_back_without_what_json_cannot_say():
    read = decode_answer(encode_answer(ANSWER))
    assert read.statistics == {"0.sdp.steps": 3.0}
    assert read.engines_at == ANSWER.engines_at
    assert decode_answer(encode_answer(ANSWER)[:40]) is None


def scripted(monkeypatch, *processes):
    left = list(processes)
    monkeypatch.setattr("vnn_mondeq.bench.execute.run_process", lambda *_, **__: left.pop(0))
    monkeypatch.setattr("vnn_mondeq.bench.execute.command_of", lambda *_: ())
    return left


CRASH = finished(exit_code=-11, stdout=b"", stderr=b"Segmentation fault")


@pytest.mark.parametrize(
    ("processes", "attempts", "ending"),
    [
        ((finished(),), 1, Ending.ANSWERED),
        ((CRASH, finished()), 2, Ending.ANSWERED),
        ((CRASH,) * 3, 3, Ending.CRASHED),
        ((finished(killed=True, exit_code=-9),), 1, Ending.KILLED),
        ((finished(exit_code=2, stderr=b"bad file"),), 1, Ending.REFUSED),
    ],
)
def test_only_crashes_are_tried_again(monkeypatch, processes, attempts, ending):
    left = scripted(monkeypatch, *processes)
    run = execute(TASK, None)
    assert (run.attempts, run.ending, left) == (attempts, ending, [])
    assert ("Segmentation fault" in run.error) == (attempts > 1)


def test_a_run_that_took_its_worker_along_is_a_crash():
    run = died_with_worker(TASK, "killed")
    assert (run.ending, run.verdict, run.error) == (Ending.CRASHED, None, "killed")
