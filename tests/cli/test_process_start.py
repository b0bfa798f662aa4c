"""The time limit counts from the start of the process."""

import os
import subprocess
import sys
import time
from pathlib import Path

from vnn_mondeq.cli.process_start import process_start

ROOT = Path(__file__).resolve().parents[2]
SLEEP = 0.5


def age_after(command: str) -> float:
    """Seconds that a process believes to have lived after half a second of sleep."""
    code = (
        f"import time; time.sleep({SLEEP})\n"
        "from vnn_mondeq.cli.process_start import process_start\n"
        "print(time.monotonic() - process_start())"
    )
    done = subprocess.run(
        ["sh", "-c", f'{command} exec "$0" -c "$1"', sys.executable, code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return float(done.stdout)


def test_the_start_of_the_interpreter_counts():
    # Loading the interpreter may itself take too long to be a start-up where others hold the cores.
    assert any(age_after("") > SLEEP for _ in range(5))


def test_what_a_shell_did_before_does_not():
    assert age_after("sleep 2;") < SLEEP


def test_without_an_answer_of_the_system_it_is_now(tmp_path):
    stat = tmp_path / "stat"
    for text in (None, "", "1 (a b) S 1", "1 (x) " + "0 " * 50, "1 (x) " + "9" * 30 + " 9" * 49):
        if text is not None:
            stat.write_text(text)
        before = time.monotonic()
        assert before <= process_start(stat) <= time.monotonic()
