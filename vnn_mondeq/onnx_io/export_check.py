"""What is written can be verified: an exporter reads its model back before it returns it."""

import onnx

from vnn_mondeq.errors import ModelError
from vnn_mondeq.onnx_io.load import compile_model
from vnn_mondeq.system.monotone import MonotonicityProof


def prove_readable(model: onnx.ModelProto) -> MonotonicityProof:
    """The proof that the model's layers, all together, are strongly monotone.

    **Raises** what reading the file would raise, with a hint that it concerns the export:
    `NotMonotoneError` (with an estimate of the modulus), `UnsupportedModelError`, `ModelError`.
    """
    try:
        return compile_model(model).system.proof
    except ModelError as error:
        raise type(error)(f"the exported model could not be verified: {error}") from error
