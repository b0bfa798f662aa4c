"""Tensors inside a graph by their ONNX names: as further outputs of the model.

A hidden tensor is an affine function of inputs and neurons like an output, so the importer
compiles it like one. For witnesses the runtime has to show it: a copy of the model lists it among
the graph's outputs. The model itself stays what gives the outputs, since a runtime may fuse what is
not shown.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import onnx

from vnn_mondeq.errors import MismatchError
from vnn_mondeq.onnx_io.affine_form import Form
from vnn_mondeq.onnx_io.node import Value
from vnn_mondeq.onnx_io.replay import Replay
from vnn_mondeq.rounding import UNIT32

_SHOWN = 12


def check_names(graph: onnx.GraphProto, names: Sequence[str]) -> None:
    """**Raises** `MismatchError` for a name that no node gives to an output."""
    known = [name for node in graph.node for name in node.output if name]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, _SHOWN) or known[:_SHOWN]
            raise MismatchError(
                f"no node of the graph has the output {name!r}, which the query declares as a "
                f"hidden tensor; there are {', '.join(map(repr, close))}, among others"
            )


def hidden_forms(values: Mapping[str, Value], names: Sequence[str]) -> dict[str, Form]:
    """Name → what the tensor is. **Raises** `MismatchError` where it is no tensor of floats."""
    forms = {}
    for name in names:
        value = values.get(name)
        if not isinstance(value, Form):
            raise MismatchError(
                f"the hidden tensor {name!r} is no affine function of inputs and neurons; declare "
                "another one"
            )
        forms[name] = value
    return forms


def with_shown(proto: onnx.ModelProto, forms: Mapping[str, Form]) -> bytes:
    """The model, serialised, with the tensors among its outputs (those not there yet)."""
    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    there = {output.name for output in proto.graph.output}
    for name, form in forms.items():
        if name not in there:
            single = form.unit == UNIT32
            kind = onnx.TensorProto.FLOAT if single else onnx.TensorProto.DOUBLE
            shown.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, form.shape))
    return shown.SerializeToString(deterministic=True)


@final
class ShowingReplay:
    """A model's outputs as `Replay` gives them, and behind them hidden tensors.

    **Raises** `ModelError` when onnxruntime cannot load the model.
    """

    def __init__(self, model_bytes: bytes, shown_bytes: bytes, names: Sequence[str]):
        self._model, self._shown = Replay(model_bytes), Replay(shown_bytes)
        self._names = tuple(names)
        self.runtime = self._model.runtime
        self.inputs = self._model.inputs

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name, hidden ones as in `hidden_key`. **Raises** `ModelError`."""
        found, inside = self._model.run(inputs), self._shown.run(inputs)
        return found | {hidden_key(name): inside[name] for name in self._names}


def hidden_key(name: str) -> str:
    """What a hidden tensor is called among outputs; it may be one of them itself."""
    return f"hidden {name}"
