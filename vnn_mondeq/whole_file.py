"""Writing a file so that nothing half-written ever stands under its name."""

import os
import tempfile
from pathlib import Path

from vnn_mondeq.errors import OutputError


def write_whole(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` through a temporary file beside it, with the usual permissions.

    A symbolic link stays one: what it points to is written.

    **Raises** `OutputError` when it cannot be written; an existing file is then untouched.
    """
    target = Path(os.path.realpath(path))
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(temporary, 0o666 & ~_current_umask())
        os.replace(temporary, target)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def check_writable(path: str | Path) -> None:
    """Find out, before any work, whether `write_whole` could write there; leaves nothing behind.

    **Raises** `OutputError`.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; give the name of a file")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
