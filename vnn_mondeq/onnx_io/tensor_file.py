"""Single tensors as serialised `TensorProto`, the form of VNN-LIB 2.0 assignments."""

import numpy as np


def tensor_bytes(name: str, value: np.ndarray) -> bytes:
    """The serialised `TensorProto` of an array, with its element type and shape."""
    from onnx import numpy_helper

    return numpy_helper.from_array(np.ascontiguousarray(value), name).SerializeToString()
