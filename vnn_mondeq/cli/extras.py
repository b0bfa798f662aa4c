"""Optional packages: one message for all that are missing, before any work is done."""

from importlib.util import find_spec

from vnn_mondeq.errors import InputError


def require(module: str, wanted_by: str, extra: str) -> None:
    """**Raises** `InputError`, with what to install, where `module` is not there."""
    if find_spec(module) is None:
        raise InputError(
            f"{wanted_by} needs {module}; install it with: pip install 'vnn-mondeq[{extra}]'"
        )
