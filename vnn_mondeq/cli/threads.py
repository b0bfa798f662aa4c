"""How many threads linear algebra may use; must be said before numpy is imported."""

import os

_VARIABLES = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def available_cores() -> int:
    """Cores that this process may run on, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_thread_count(requested: int | None) -> None:
    """Fix the number of BLAS threads through the environment.

    An explicit request wins; otherwise a value that the user has exported stays; otherwise every
    available core is used.
    """
    for variable in _VARIABLES:
        if requested is not None:
            os.environ[variable] = str(requested)
        else:
            os.environ.setdefault(variable, str(available_cores()))
