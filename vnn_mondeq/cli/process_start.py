"""When this process started: a time limit counts from there, and loading the interpreter takes part
of it, on a busy machine seconds."""

import os
import time
from pathlib import Path

_LONGEST_SECONDS = 2.0
"""More than this is no start-up: a shell that worked first and then became this program."""


def process_start(stat: Path = Path("/proc/self/stat")) -> float:
    """On the monotonic clock. Now, where the system does not tell or tells what cannot be."""
    now = time.monotonic()
    try:
        # Field 22, in clock ticks since the system started; the name in field 2 may hold blanks.
        ticks = int(
            stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
        )
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return now
    return now - age if 0.0 <= age <= _LONGEST_SECONDS else now
