"""The interpreter, the processor's arithmetic, threads, memory and temporary files."""

import os
import platform
import sys
import tempfile

from vnn_mondeq.doctor.finding import Finding, State

_OLDEST_PYTHON = (3, 11)

_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def interpreter() -> list[Finding]:
    found = f"{platform.python_version()} ({sys.executable}), {platform.platform()}"
    if sys.version_info < _OLDEST_PYTHON:
        oldest = ".".join(map(str, _OLDEST_PYTHON))
        return [Finding(State.WRONG, "python", f"{found}; {oldest} or newer is needed")]
    return [Finding(State.OK, "python", found)]


def arithmetic() -> list[Finding]:
    """Proofs count on float64 with rounding to nearest and gradual underflow. Libraries that were
    compiled with fast-math switch the latter off for the whole process when they are loaded."""
    one, half_ulp, tiny = 1.0, 2.0**-53, sys.float_info.min
    nearest = one + half_ulp == one and one + 1.5 * half_ulp > one and -one - half_ulp == -one
    gradual = tiny * 0.5 > 0.0
    if sys.float_info.mant_dig != 53 or not nearest:
        detail = "does not round to the nearest double; proofs would be void on this machine"
        return [Finding(State.WRONG, "float64", detail)]
    if not gradual:
        detail = "tiny numbers are flushed to zero; find the library that was built with fast-math"
        return [Finding(State.WRONG, "float64", detail)]
    return [Finding(State.OK, "float64", "rounds to nearest, underflows gradually")]


def threads() -> list[Finding]:
    set_ = [f"{name}={os.environ[name]}" for name in _THREAD_VARIABLES if name in os.environ]
    chosen = ", ".join(set_) or "no thread variable set: linear algebra takes all"
    return [Finding(State.OK, "threads", f"{usable_cores()} cores usable; {chosen}")]


def usable_cores() -> int:
    """Cores that this process may run on, where the system tells."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def linear_algebra() -> list[Finding]:
    """Which BLAS numpy was built with."""
    try:
        import numpy as np
    except ImportError:
        return []
    built = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    detail = f"{built.get('name', 'unknown')} {built.get('version', '')}".strip()
    return [Finding(State.OK, "BLAS of numpy", detail)]


def temporary_folder() -> list[Finding]:
    """Answers are written through temporary files, and this self-test works in one."""
    try:
        with tempfile.TemporaryFile() as stream:
            stream.write(b"x")
        return [Finding(State.OK, "temporary files", f"{tempfile.gettempdir()} can be written")]
    except OSError as error:
        detail = f"cannot be written: {error}; set TMPDIR to a folder that can"
        return [Finding(State.WRONG, "temporary files", detail)]
