"""The standard streams, and what a run shows on stderr: nothing, lines, or a live progress line."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from vnn_mondeq.progress import AbstractObserver, NullObserver

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def open_standard_streams() -> None:
    """Make sure that descriptors 0 to 2 and their streams exist, whatever the caller has closed.

    Otherwise the next file that is opened would take the place of stdout, for C libraries too.
    Nothing is read from a replaced stdin, a replaced stderr takes everything, and writing to a
    replaced stdout is an `OSError`: an answer that goes nowhere must not look like success.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free descriptor is the one that is missing.
            os.open(os.devnull, os.O_WRONLY if descriptor == 2 else os.O_RDONLY)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")


@final
class LineObserver(AbstractObserver):
    """One line on stderr for each phase and event, with the seconds since the start."""

    def __init__(self, started: float):
        self._started = started

    def phase(self, name: str) -> None:
        self._line(f"phase {name}")

    def progress(self, done: float, total: float) -> None:
        pass

    def event(self, kind: str, **fields: object) -> None:
        shown = " ".join(f"{key}={_short(value)}" for key, value in fields.items())
        self._line(f"{kind} {shown}".rstrip())

    def _line(self, text: str) -> None:
        print(f"[{time.monotonic() - self._started:7.2f} s] {text}", file=sys.stderr, flush=True)


@final
class RichObserver(AbstractObserver):
    """A single progress line, rewritten in place; erased at the end."""

    def __init__(self, bar: "Progress", task: "TaskID"):
        self._bar = bar
        self._task = task

    def phase(self, name: str) -> None:
        self._bar.update(self._task, description=name, completed=0, total=None)

    def progress(self, done: float, total: float) -> None:
        self._bar.update(self._task, completed=done, total=total)

    def event(self, kind: str, **fields: object) -> None:
        pass


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@contextmanager
def observing(verbose: int, quiet: bool, started: float) -> Iterator[AbstractObserver]:
    """The observer for this verbosity; on a terminal the progress line lives until the end."""
    if quiet:
        yield NullObserver()
    elif verbose:
        yield LineObserver(started)
    elif sys.stderr.isatty():
        with _progress_line() as observer:
            yield observer
    else:
        yield NullObserver()


@contextmanager
def _progress_line() -> Iterator[AbstractObserver]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield RichObserver(bar, bar.add_task("reading", total=None))
