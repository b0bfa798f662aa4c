"""Writing a model file."""

import gzip
from pathlib import Path

import onnx

from vnn_mondeq.whole_file import write_whole


def save(model: onnx.ModelProto, path: str | Path) -> None:
    """Write `model` to `path`, whole or not at all. A name that ends in `.gz` is compressed,
    without a time stamp, so that equal models give equal files.

    **Raises** `OutputError` when the file cannot be written; an existing file is then untouched.
    """
    data = model.SerializeToString(deterministic=True)
    write_whole(path, gzip.compress(data, mtime=0) if Path(path).suffix == ".gz" else data)
