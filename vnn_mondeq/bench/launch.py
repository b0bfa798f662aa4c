"""A script, not a module: set limits for this process, then become another program.

    python -I -S launch.py PARENT MEMORY PROGRAM ARGUMENT…

`PARENT`: the process that waits for this one. On Linux the kernel kills this process when the
thread that started it ends, so that a harness killed with SIGKILL leaves nothing running. Elsewhere
the program ends at its own time limit. `MEMORY`: bytes of address space, 0 for no limit.

Limits are set here, after `exec`, because Python code between fork and exec (`preexec_fn`) can
deadlock in a process with threads.
"""

import os
import resource
import sys

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


def _die_with(parent: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:  # it died before the call above
        os.kill(os.getpid(), _SIGKILL)


def main(arguments: list[str]) -> None:
    """Become `arguments[2:]`: tied to the life of process `arguments[0]`, with at most
    `arguments[1]` bytes of address space (0: no limit)."""
    parent, memory, *command = arguments
    if sys.platform == "linux":
        _die_with(int(parent))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if int(memory):
        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
