"""Running a model in stock onnxruntime on the CPU, one input at a time."""

from collections.abc import Mapping
from typing import final

import numpy as np

from vnn_mondeq.errors import ModelError

_ERRORS_ONLY = 3  # onnxruntime's log severity: 0 verbose … 4 fatal


@final
class Replay:
    """A session of stock onnxruntime, with an explicit number of threads and no log output.

    - `runtime`: name and version, for witnesses.
    - `inputs`, `outputs`: name → shape, symbolic dimensions as 1.
    - `element_types`: of all inputs and outputs, in ONNX lower case (`"float32"`).

    **Raises** `ModelError` when onnxruntime cannot load the model.
    """

    def __init__(self, model_bytes: bytes, threads: int = 1):
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import (
            Fail,
            InvalidArgument,
            InvalidGraph,
            NotImplemented,
            RuntimeException,
        )

        self._failures = (Fail, InvalidArgument, InvalidGraph, NotImplemented, RuntimeException)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                model_bytes, options, providers=["CPUExecutionProvider"]
            )
        except self._failures as error:
            raise ModelError(f"onnxruntime cannot load the model: {_first_line(error)}") from error
        self.runtime = f"onnxruntime {onnxruntime.__version__}"
        arguments = [*self._session.get_inputs(), *self._session.get_outputs()]
        self.inputs = {a.name: _shape(a.shape) for a in self._session.get_inputs()}
        self.outputs = {a.name: _shape(a.shape) for a in self._session.get_outputs()}
        self.element_types = frozenset(_element_type(a.type) for a in arguments)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name, for inputs by name in the model's shapes and element type.

        **Raises** `ModelError` when the runtime fails, wrong shapes included.
        """
        try:
            values = self._session.run(list(self.outputs), dict(inputs))
        except self._failures as error:
            raise ModelError(f"onnxruntime cannot run the model: {_first_line(error)}") from error
        return dict(zip(self.outputs, values, strict=True))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _shape(dims: list) -> tuple[int, ...]:
    return tuple(dim if isinstance(dim, int) else 1 for dim in dims)


_RUNTIME_NAMES = {"float": "float32", "double": "float64"}


def _element_type(text: str) -> str:
    """`tensor(float)` → `float32`."""
    inner = text.removeprefix("tensor(").removesuffix(")")
    return _RUNTIME_NAMES.get(inner, inner)
