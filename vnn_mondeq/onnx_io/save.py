"""Writing a model file so that nothing half-written ever stands under its name."""

import gzip
import os
import tempfile
from pathlib import Path

import onnx

from vnn_mondeq.errors import OutputError


def save(model: onnx.ModelProto, path: str | Path) -> None:
    """Write `model` to `path` through a temporary file beside it; a name that ends in `.gz` is
    compressed, without a time stamp, so that equal models give equal files.

    **Raises** `OutputError` when the file cannot be written; an existing file is then untouched.
    """
    target = Path(path)
    data = model.SerializeToString(deterministic=True)
    if target.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(temporary, 0o666 & ~_current_umask())
        os.replace(temporary, target)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
