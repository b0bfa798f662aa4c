"""Semidefinite solvers, the MOSEK licence, and the device that PyTorch would use.

All of it is optional: no verdict depends on any of these.
"""

from vnn_mondeq.doctor.finding import Finding, State
from vnn_mondeq.doctor.packages import present


def cvxpy_solvers() -> list[Finding]:
    """What cvxpy finds, and whether it includes one for semidefinite models."""
    if not present("cvxpy"):
        return []
    try:
        import cvxpy
    except (ImportError, OSError) as error:
        detail = f"cvxpy is there but cannot be imported: {error}; reinstall it"
        return [Finding(State.ABSENT, "solvers", detail)]
    found = cvxpy.installed_solvers()
    semidefinite = [name for name in ("MOSEK", "CLARABEL", "SDPA", "SCS") if name in found]
    detail = f"{', '.join(found)}; for semidefinite models: {', '.join(semidefinite) or 'none'}"
    return [Finding(State.OK if semidefinite else State.ABSENT, "solvers", detail)]


def mosek_licence() -> list[Finding]:
    """Whether MOSEK would run: it installs without a licence, and refuses when it is called."""
    if not present("mosek"):
        return [Finding(State.ABSENT, "MOSEK", "not installed; the free solvers do")]
    try:
        import mosek

        with mosek.Env() as environment:
            environment.checkoutlicense(mosek.feature.pton)
    except (ImportError, OSError) as error:
        return [Finding(State.ABSENT, "MOSEK", f"cannot be imported: {error}")]
    except mosek.Error as error:
        reason = " ".join(str(error.msg).split())
        return [Finding(State.ABSENT, "MOSEK", f"installed, but does not run: {reason}")]
    version = ".".join(map(str, mosek.Env.getversion()))
    return [Finding(State.OK, "MOSEK", f"{version}, with a licence")]


def torch_device() -> list[Finding]:
    """Where training would run. Importing PyTorch takes seconds, so it is the last look."""
    if not present("torch"):
        return []
    try:
        import torch
    except (ImportError, OSError) as error:
        detail = f"PyTorch is there but cannot be imported: {error}; reinstall it"
        return [Finding(State.ABSENT, "device", detail)]
    if torch.cuda.is_available():
        return [Finding(State.OK, "device", f"{torch.cuda.get_device_name(0)} (training)")]
    return [Finding(State.OK, "device", "no GPU seen by PyTorch; everything runs on the CPU")]
