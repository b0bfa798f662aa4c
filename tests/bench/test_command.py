"""`vnn-mondeq bench` and `bench-compare` as a user has them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vnn_mondeq.bench.records import RUNS_FILE, Ending, read_results
from vnn_mondeq.cli import exit_code
from vnn_mondeq.cli.bench import parse_backends, parse_memory
from vnn_mondeq.cli.main import main
from vnn_mondeq.result import Verdict

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "vnn_mondeq", "bench", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_list_is_run_recorded_and_not_run_again(digits, tmp_path, capsys):
    folder = tmp_path / "results"
    command = ["bench", str(digits), "-o", str(folder), "--workers", "2"]
    assert main(command) == exit_code.OK
    shown = capsys.readouterr()
    assert re.search(r"^auto +1 +1 +0 +0 +0 ", shown.out, re.MULTILINE)
    assert shown.err == ""
    before = (folder / RUNS_FILE).read_bytes()
    results = read_results(folder)
    assert results.complete
    verdicts = {run.instance.rpartition("/")[2]: run.verdict for run in results.runs}
    assert verdicts == {"image26_linf_0.02": Verdict.UNSAT, "image30_linf_0.15": Verdict.SAT}
    for run in results.runs:
        assert run.manifest == results.manifest.identifier
        assert run.model == "digits_fc16"
        assert run.engine in ("inductive", "attack")
        assert run.margin > 0.0
        assert 0.0 < run.startup_seconds < run.seconds
        assert 0.0 < run.startup_cpu_seconds < run.cpu_seconds
        assert 2**24 < run.peak_bytes < 2**32
        assert run.attempts == 1
        assert not run.error
    assert main(command) == exit_code.OK
    assert (folder / RUNS_FILE).read_bytes() == before
    assert main(["bench-compare", str(folder), str(folder)]) == exit_code.OK


def test_other_options_do_not_mix_into_a_folder(digits, tmp_path, capsys):
    shutil.copy(digits, tmp_path / "copy.csv")  # another name for the same instances is no matter
    command = ["bench", "-o", str(tmp_path / "results"), "--backend", "attack"]
    assert main([*command, str(digits)]) == exit_code.OK
    assert main([*command, str(tmp_path / "copy.csv")]) == exit_code.OK
    assert main([*command, str(digits), "--timeout", "5"]) == exit_code.BAD_INPUT
    message = capsys.readouterr().err
    assert "settings.timeout: None, now 5.0" in message
    assert "new folder" in message


def test_a_wrong_verdict_is_loud(digits, tmp_path, capsys):
    digits.write_text(digits.read_text().replace(",sat", ",unsat"))
    assert main(["bench", str(digits), "-o", str(tmp_path / "r"), "-q"]) == exit_code.CONTRADICTION
    error = capsys.readouterr().err
    assert "CONTRADICTION" in error
    assert "expected verdict says unsat; auto says sat" in error


def test_runs_that_fail_and_runs_without_time(digits, tmp_path, capsys):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    row = digits.read_text().splitlines()[0].split(",")
    digits.write_text(f"{broken},{row[1]},30\n{row[0]},{row[1]},0.01\n")
    folder = tmp_path / "results"
    assert main(["bench", str(digits), "-o", str(folder)]) == exit_code.REFUSED
    refused, late = read_results(folder).runs
    assert (refused.ending, refused.verdict, refused.exit_code) == (Ending.REFUSED, None, 2)
    assert "broken.onnx" in refused.error
    assert (late.verdict, late.reason, late.late) == (Verdict.TIMED_OUT, "TIMED_OUT", True)
    assert "refused with exit code 2" in capsys.readouterr().err


def test_ctrl_c_leaves_what_can_be_gone_on_with(digits, tmp_path):
    folder = tmp_path / "results"
    process = start(digits, "-o", folder, "--repeats", "2")
    ends = time.monotonic() + 60
    while not (folder / RUNS_FILE).exists() or not (folder / RUNS_FILE).read_bytes():
        assert time.monotonic() < ends
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=20)
    assert process.returncode == exit_code.INTERRUPTED
    assert out == ""
    assert "the same command goes on" in error
    done = len(read_results(folder).runs)
    assert 1 <= done < 4
    process = start(digits, "-o", folder, "--repeats", "2", "-v")
    out, error = process.communicate(timeout=60)
    assert process.returncode == exit_code.OK, error
    assert len(re.findall(r"^\[ .* s\] ", error, re.MULTILINE)) == 4 - done
    assert "4 of 4 runs" in out


def test_a_lost_verdict_is_found(digits, tmp_path, capsys):
    folder, worse = tmp_path / "old", tmp_path / "new"
    assert main(["bench", str(digits), "-o", str(folder), "--backend", "attack"]) == exit_code.OK
    shutil.copytree(folder, worse)
    path = worse / RUNS_FILE
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["verdict"] = "unknown"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert main(["bench-compare", str(folder), str(worse)]) == exit_code.REFUSED
    assert "lost: 1\n" in capsys.readouterr().out
    assert main(["bench-compare", str(worse), str(folder)]) == exit_code.OK
    assert "gained: 1\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.csv", "-o", "r"], "missing.csv: cannot be read"),
        (["{list}", "-o", "{list}"], "cannot be written"),
        (["{list}", "-o", "r", "--expected", "missing.csv"], "missing.csv: cannot be read"),
        (["{list}", "-o", "r", "--scheduler", "tcp://host"], "no Dask address"),
        (["{list}", "-o", "r", "--scheduler", "dask://local?threads=2"], "only option"),
    ],
)
def test_what_cannot_be_done(arguments, message, digits, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "--scheduler" in arguments:
        pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    filled = [argument.replace("{list}", str(digits)) for argument in arguments]
    assert main(["bench", *filled]) in (exit_code.BAD_INPUT, exit_code.CANNOT_WRITE)
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""
    assert not (tmp_path / "r").exists(), "nothing is made before all is read"


@pytest.mark.parametrize(
    "option",
    [
        ["--backend", "auto,nothing"],
        ["--backend", "auto,auto"],
        ["--timeout", "0"],
        ["--timeout", "inf"],
        ["--memory", "4"],
        ["--memory", "0G"],
        ["--workers", "0"],
        ["--retries", "-1"],
        [],
    ],
)
def test_wrong_usage(option, capsys):
    output = ["-o", "r"] if option else []
    with pytest.raises(SystemExit) as raised:
        main(["bench", "list.csv", *output, *option])
    assert raised.value.code == exit_code.BAD_INPUT
    assert (option[0] if option else "-o") in capsys.readouterr().err


def test_sizes_and_backends():
    assert parse_memory("1.5G") == parse_memory("1536M") == 3 * 2**29
    assert parse_memory("4GiB") == 2**32
    assert parse_backends("auto,craft") == ("auto", "craft")


def test_a_terminal_shows_how_long_yet(digits, tmp_path):
    import pty

    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vnn_mondeq", "bench", str(digits), "-o", str(tmp_path / "r")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            shown += os.read(screen, 4096)
        except OSError:  # the other end is closed
            break
    os.close(screen)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == exit_code.OK
    assert b"1/2" in shown
    assert b"left:" in shown
    assert b"unsat" in shown
    assert b"2 of 2 runs" in out


def test_killed_at_random_moments(digits):
    """The short form of `benchmarks/kill_test.py`."""
    done = subprocess.run(
        [
            sys.executable,
            "benchmarks/kill_test.py",
            "--kills",
            "5",
            "--instances",
            "3",
            "--longest",
            "1.6",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 faults" in done.stdout
