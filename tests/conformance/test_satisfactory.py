"""`vnnlib-satisfactory`, the standard's conformance suite: docs/conformance.md says what it finds.

All its tests run here in this process, through its own command line with only the start of our
process replaced, which takes seconds instead of more than a minute. That a process gives the same
is checked for some categories here, and for all in the suite's five seconds by `make conformance`.
"""

import contextlib
import io
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from conformance.satisfactory import (
    differences,
    documented_counts,
    documented_gaps,
    read_report,
)

from vnn_mondeq.cli.backstop import Backstop
from vnn_mondeq.cli.main import main
from vnn_mondeq.deadline import Deadline

pytest.importorskip("vnntest", reason="vnnlib-satisfactory is a dev dependency")

SECONDS = 20.0
"""Time limit for a test in this process."""

GAP_SECONDS = "5"
"""The same for tests that the document says have no verdict: some would use up any limit."""

CATEGORIES = ("network_equal", "hidden")
"""Run as users run them. A category is one process for the suite and one for each of its tests."""

GAPS = documented_gaps()


def name_of(query: str) -> str:
    """`…/softmax/softmax01.vnnlib` → `softmax/softmax01`."""
    return "/".join(Path(query).with_suffix("").parts[-2:])


def in_this_process(exec_path, arguments, timeout=10, *, preserve_newlines=False):
    """Stands for the suite's `run_solver_command`."""
    if arguments[0] == "verify" and name_of(arguments[1]) in GAPS:
        arguments = [*arguments[:-1], GAP_SECONDS]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = stop.code
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the whole suite has run."""
    from typer.testing import CliRunner
    from vnntest.cli.main import app
    from vnntest.core import runner

    place = tmp_path_factory.mktemp("suite")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)  # it writes into the current folder
        patch.setattr(runner, "run_solver_command", in_this_process)
        # The last resort for the time limit ends the process, which is pytest here.
        patch.setattr("vnn_mondeq.cli.verify.Backstop", lambda *_: Backstop(Deadline.never(), int))
        done = CliRunner().invoke(app, ["run", "--solver", "vnn-mondeq", "--timeout", str(SECONDS)])
    assert done.exit_code == 0, done.output
    return place


@pytest.fixture(scope="module")
def whole_suite(folder):
    return read_report(folder)


def test_no_verdict_is_wrong(whole_suite):
    assert whole_suite.having("fail") == []


def test_the_document_says_what_the_suite_finds(whole_suite):
    assert differences(whole_suite) == []


def test_differences_would_be_found(whole_suite):
    changed = dict(whole_suite.outcomes)
    changed["relu/relu02"], changed["gemm/gemm01"] = "fail", "skip"
    found = "\n".join(differences(type(whole_suite)(changed)))
    assert "relu02: a wrong verdict" in found
    assert "gemm01: no verdict, not in the table" in found
    assert f"passed: {documented_counts()['passed'] - 2}" in found


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_process_gives_the_same(category, whole_suite, executable, tmp_path):
    suite = Path(sys.executable).with_name("vnnlib-satisfactory")
    # Processor time is what the suite's five seconds are about; see the next test.
    options = ["--test", category, "--no-verbose", "--timeout", "60"]
    command = [suite, "run", "--solver", executable, *options]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=150)
    found = read_report(tmp_path).outcomes
    expected = {t: o for t, o in whole_suite.outcomes.items() if t.startswith(f"{category}/")}
    assert found == expected
    assert expected


@pytest.mark.parametrize("question", ["opset", "vnnlib", "serialise-assignments"])
def test_compliance(question, executable, tmp_path):
    suite = Path(sys.executable).with_name("vnnlib-satisfactory")
    command = [suite, "compliance", question, "--solver", executable]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


PROCESS_SECONDS = 1.5
"""Processor time for a small case from start to exit; the suite gives a test five seconds."""


def test_a_small_case_is_quick(executable, folder):
    query = folder / ".vnnlib-satisfactory" / "tests" / "add" / "add02.vnnlib"
    command = [executable, "verify", query, "--network", query.with_suffix(".onnx")]
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # The least of several: other processes slow each other down on shared cores.
    assert min(seconds) < PROCESS_SECONDS
