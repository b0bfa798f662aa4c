"""Reading and checking the bytes of an ONNX file."""

import gzip
import zlib
from pathlib import Path

import onnx

from vnn_mondeq.errors import ModelError


def read_proto(path: Path) -> onnx.ModelProto:
    """The checked `ModelProto` of a file. **Raises** `ModelError`."""
    from google.protobuf.message import DecodeError

    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        if data[:4] == b"PK\x03\x04":
            raise ModelError(
                f"{path}: is a zip archive, as PyTorch's checkpoints and numpy's .npz are, and not "
                "an ONNX model; vnn-mondeq export makes a model of weights (docs/your-network.md)"
            )
        proto = onnx.load_model_from_string(data)
        onnx.load_external_data_for_model(proto, str(path.parent))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"{path}: cannot be read: {reason}") from error
    except (EOFError, zlib.error) as error:
        raise ModelError(f"{path}: is a damaged gzip file: {error}") from error
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise ModelError(
            f"{path}: is not an ONNX model, or it is truncated; check that the file was copied "
            "whole"
        ) from error
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{path}: is not a valid ONNX model: {reason}") from error
    return proto
