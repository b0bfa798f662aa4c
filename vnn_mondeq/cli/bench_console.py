"""What `bench` shows while it runs, and its summary at the end."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from vnn_mondeq.progress import AbstractObserver, NullObserver

if TYPE_CHECKING:
    from vnn_mondeq.bench.records import Results, RunRecord
    from vnn_mondeq.bench.summary import Contradiction

_ERROR_LINES = 10
"""Failed runs whose messages the summary shows."""

_ESTIMATE_SECONDS = 3600.0
"""The time left is estimated from the runs that ended within so many seconds."""


@final
class _Lines(AbstractObserver):
    """A line on stderr for each run."""

    def __init__(self, started: float):
        self._started = started

    def phase(self, name: str) -> None:
        pass

    def progress(self, done: float, total: float) -> None:
        pass

    def event(self, kind: str, **fields: object) -> None:
        if kind == "run":
            elapsed = time.monotonic() - self._started
            print(f"[{elapsed:8.2f} s] {_line(fields['record'])}", file=sys.stderr, flush=True)


@final
class _Bar(AbstractObserver):
    """One line, rewritten in place: how many, how long yet, and the run that ended last."""

    def __init__(self, bar, task):
        self._bar = bar
        self._task = task
        self._begun = False

    def phase(self, name: str) -> None:
        pass

    def progress(self, done: float, total: float) -> None:
        if self._begun:
            self._bar.update(self._task, completed=done)
        else:  # what earlier runs have left must not count as speed
            self._bar.reset(self._task, completed=int(done), total=total, last="")
        self._begun = True

    def event(self, kind: str, **fields: object) -> None:
        if kind == "run":
            self._bar.update(self._task, last=_line(fields["record"]))


def _line(run: "RunRecord") -> str:
    word = run.verdict.value if run.verdict is not None else run.ending.value
    return f"{word} {run.seconds:.2f} s, {run.backend}: {run.instance}"


@contextmanager
def bench_observing(verbose: int, quiet: bool, started: float) -> Iterator[AbstractObserver]:
    """Nothing, a line for each run, or on a terminal a progress line with the time left."""
    if verbose and not quiet:
        yield _Lines(started)
    elif quiet or not sys.stderr.isatty():
        yield NullObserver()
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        columns = (
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            # The last column takes what the others leave, and is cut there.
            TextColumn(
                "{task.fields[last]}",
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
                markup=False,
            ),
        )
        with Progress(
            *columns,
            console=Console(stderr=True),
            transient=True,
            expand=True,
            speed_estimate_period=_ESTIMATE_SECONDS,
        ) as bar:
            yield _Bar(bar, bar.add_task("", total=None, last=""))


def print_summary(results: "Results", folder: str) -> None:
    """The table on stdout."""
    from vnn_mondeq.bench.summary import summarise
    from vnn_mondeq.result import Verdict

    print(f"{folder}: {len(results.runs)} of {results.manifest.runs} runs")
    print(
        f"{'backend':<12}{'unsat':>7}{'sat':>7}{'unknown':>9}{'timed-out':>11}{'failed':>8}"
        f"{'median s':>10}{'CPU s':>10}"
    )
    for summary in summarise(results.runs):
        count = summary.counts
        seconds = "-" if summary.median_seconds is None else f"{summary.median_seconds:.2f}"
        print(
            f"{summary.backend:<12}{count[Verdict.UNSAT]:>7}{count[Verdict.SAT]:>7}"
            f"{count[Verdict.UNKNOWN]:>9}{count[Verdict.TIMED_OUT]:>11}{summary.failed:>8}"
            f"{seconds:>10}{summary.cpu_seconds:>10.1f}"
        )
        if summary.late:
            print(f"{'':<12}{summary.late} of the decided after their time limit")


def print_failures(failed: "Iterable[RunRecord]") -> None:
    """Runs that ended without a verdict, on stderr, with what they said last."""
    failed = list(failed)
    for run in failed[:_ERROR_LINES]:
        said = run.error.splitlines()[-1] if run.error else "nothing on stderr"
        print(
            f"vnn-mondeq: {run.ending.value} with exit code {run.exit_code}, {run.backend}: "
            f"{run.instance}: {said}",
            file=sys.stderr,
        )
    if len(failed) > _ERROR_LINES:
        print(f"vnn-mondeq: and {len(failed) - _ERROR_LINES} more", file=sys.stderr)


def print_contradictions(found: "Iterable[Contradiction]") -> None:
    """On stderr, even with `-q`."""
    for contradiction in found:
        says = "; ".join(f"{who} says {verdict.value}" for who, verdict in contradiction.says)
        print(
            f"vnn-mondeq: CONTRADICTION: {contradiction.instance}: {says}. One of them is WRONG: "
            "keep the files and report it.",
            file=sys.stderr,
        )
