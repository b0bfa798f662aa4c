"""What this machine and this installation are, without importing what is heavy."""

import hashlib
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vnn_mondeq import __version__
from vnn_mondeq.bench.manifest import Machine, Software

_PACKAGE = Path(__file__).resolve().parents[1]
_GIBI = 2**30
_PACKAGES = ("numpy", "scipy", "onnx", "onnxruntime", "lark")
"""What is on the way to a verdict."""


def machine() -> Machine:
    """This machine, as far as times depend on it."""
    return Machine(f"{platform.system()} {platform.machine()}", cpu_model(), _cores(), _memory())


@cache
def cpu_model() -> str:
    """As /proc/cpuinfo names it, else as `platform` does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> int:
    """Whole GiB, as bytes: the exact figure changes with the kernel."""
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIBI) * _GIBI


def software() -> Software:
    """The package that would run, told by content too: a version says little in a checkout."""
    commit = _git("rev-parse", "HEAD")
    return Software(
        vnn_mondeq=__version__,
        commit=commit,
        changed=bool(commit) and bool(_git("status", "--porcelain", "--", str(_PACKAGE))),
        source_sha256=source_sha256(),
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
    )


@cache
def source_sha256() -> str:
    """Of the names and contents of the package's files, whether or not git knows them."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*")):
        if path.suffix in (".py", ".lark"):
            digest.update(f"{path.relative_to(_PACKAGE)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _git(*arguments: str) -> str:
    """What git says about the folder of the package; empty outside a checkout or without git."""
    if not (_PACKAGE.parent / ".git").exists():
        return ""  # an installed package may lie inside some other project's checkout
    try:
        done = subprocess.run(
            ("git", "-C", str(_PACKAGE.parent), *arguments),
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
