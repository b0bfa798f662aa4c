"""Tensors as serialised `TensorProto` messages (VNN-LIB 2.0, `--serialise-assignments`)."""

import numpy as np
from onnx import numpy_helper


def tensor_bytes(name: str, array: np.ndarray) -> bytes:
    """The serialised `TensorProto` of `array`, with its own element type and shape."""
    return numpy_helper.from_array(np.ascontiguousarray(array), name).SerializeToString()
