"""Tensors as serialised `TensorProto` messages (VNN-LIB 2.0, `--serialise-assignments`)."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, numpy_helper

from vnn_mondeq.errors import InputError


def tensor_bytes(name: str, array: np.ndarray) -> bytes:
    """The serialised `TensorProto` of `array`, with its own element type and shape."""
    return numpy_helper.from_array(np.ascontiguousarray(array), name).SerializeToString()


def read_tensor(path: Path) -> np.ndarray:
    """The array of a file that `tensor_bytes` could have written. **Raises** `InputError`."""
    from google.protobuf.message import DecodeError

    try:
        return numpy_helper.to_array(TensorProto.FromString(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (DecodeError, ValueError, TypeError) as error:
        raise InputError(f"{path}: is not a serialised TensorProto: {error}") from error
