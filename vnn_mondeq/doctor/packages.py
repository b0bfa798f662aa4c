"""Which packages are there, in versions that this release was made for."""

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from typing import final

from vnn_mondeq.doctor.finding import Finding, State

REQUIRED: dict[str, str] = {
    "numpy": ">=1.26,<3",
    "scipy": ">=1.11,<2",
    "onnx": ">=1.17,<2",
    "onnxruntime": ">=1.20,<2",
    "lark": ">=1.2,<2",
    "rich": ">=13,<17",
    "msgspec": ">=0.19,<1",
    "packaging": ">=23",
}
"""Distribution → versions. Kept equal to `dependencies` in pyproject.toml by a test: in a checkout
that was not installed there is no other place to read them from."""


@final
@dataclass(frozen=True, slots=True)
class OptionalPackage:
    """A package that some command needs. `extra`: what to install for it."""

    module: str
    purpose: str
    extra: str


OPTIONAL: dict[str, OptionalPackage] = {
    "torch": OptionalPackage("torch", "training", "train"),
    "scikit-learn": OptionalPackage("sklearn", "the digits data set", "train"),
    "onnxscript": OptionalPackage("onnxscript", "export from PyTorch", "train"),
    "matplotlib": OptionalPackage("matplotlib", "pictures", "plot"),
    "jinja2": OptionalPackage("jinja2", "the HTML report", "report"),
    "distributed": OptionalPackage("distributed", "benchmarks on a Dask cluster", "dask"),
    "cvxpy": OptionalPackage("cvxpy", "reference semidefinite models", "sdp"),
    "onnx2torch": OptionalPackage("onnx2torch", "ONNX to PyTorch", "onnx2torch"),
}
"""Distribution → what it is for."""


def required_packages() -> list[Finding]:
    """Each is imported: a package that is there but broken is as bad as none."""
    return [_required(name, versions) for name, versions in REQUIRED.items()]


def _required(name: str, versions: str) -> Finding:
    try:
        importlib.import_module(name)
    except ImportError as error:
        return Finding(
            State.WRONG, name, f"cannot be imported ({error}); pip install '{name}{versions}'"
        )
    version = installed_version(name)
    if version is None:
        return Finding(State.OK, name, "of unknown version")
    if not _within(version, versions):
        return Finding(
            State.WRONG, name, f"{version} is not {versions}; pip install '{name}{versions}'"
        )
    return Finding(State.OK, name, version)


def installed_version(distribution: str) -> str | None:
    """`None` where it is not installed as a distribution."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _within(version: str, versions: str) -> bool:
    """Whether a version is among the allowed ones. Without `packaging`, itself a requirement that
    is reported as missing, nobody can tell."""
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        return True
    return SpecifierSet(versions).contains(version, prereleases=True)


def present(module: str) -> bool:
    """Whether a top-level module could be imported; it is not."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def optional_packages() -> list[Finding]:
    """Found without importing them: some take seconds."""
    return [_optional(name, package) for name, package in OPTIONAL.items()]


def _optional(name: str, package: OptionalPackage) -> Finding:
    if present(package.module):
        version = installed_version(name) or "of unknown version"
        return Finding(State.OK, name, f"{version} ({package.purpose})")
    return Finding(
        State.ABSENT,
        name,
        f"only needed for {package.purpose}: pip install 'vnn-mondeq[{package.extra}]'",
    )
