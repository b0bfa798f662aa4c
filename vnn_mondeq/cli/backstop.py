"""Threads that end the process: at the time limit, or when whoever started it is gone.

Engines check their deadline in every loop, but one long call into compiled code (a factorisation,
the loading of a huge file) can overrun it. The backstop is a thread that runs then, because such
calls release the interpreter lock, gives the answer and ends the process.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import final

from vnn_mondeq.cli import exit_code
from vnn_mondeq.deadline import Deadline


@final
class Backstop:
    """Lets exactly one of two threads give the answer.

    - `deadline`: when the watcher steps in; never, if it is infinite.
    - `answer`: what the watcher does before it ends the process; must be quick.
    - `code`: with which exit code it does.
    """

    def __init__(self, deadline: Deadline, answer: Callable[[], object], code: int = exit_code.OK):
        self._deadline = deadline
        self._code = code
        self._answer = answer
        self._turn = threading.Lock()
        self._cancelled = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="backstop", daemon=True)

    def __enter__(self) -> "Backstop":
        if self._deadline.remaining() <= threading.TIMEOUT_MAX:
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._cancelled.set()

    def claim(self) -> None:
        """Reserve the answer for the caller. If the watcher has it already, never returns: the
        process is about to end."""
        self._turn.acquire()
        self._cancelled.set()

    def _watch(self) -> None:
        if self._cancelled.wait(max(0.0, self._deadline.remaining())):
            return
        if not self._turn.acquire(blocking=False):
            return
        try:
            self._answer()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(self._code)


_PARENT_SECONDS = 0.2
"""How often to look for the parent."""


def end_with_parent(parent: int) -> None:
    """From now on end this process soon after process `parent` has, which must have started it.

    A harness that kills a script kills nothing that the script has started.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_SECONDS)
        os._exit(exit_code.INTERRUPTED)

    threading.Thread(target=watch, name="parent", daemon=True).start()
