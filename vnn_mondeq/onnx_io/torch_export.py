"""Export of PyTorch modules with monDEQ layers through the current `torch.onnx` exporter.

`torch.export` keeps each fixpoint as one custom operator; a translation table turns it into our
ONNX operator. Afterwards each node gets its step size, chosen for its weights, the function
body, and the shape of `z`.

The only module of this room that imports torch.
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

import onnx
import torch
from onnxscript.values import Op, Opset
from torch import Tensor, nn

from vnn_mondeq.onnx_io.attach import attach_solver
from vnn_mondeq.onnx_io.export_check import prove_readable
from vnn_mondeq.onnx_io.operator import DOMAIN, OPSET, VERSION
from vnn_mondeq.onnx_io.save import save
from vnn_mondeq.onnx_io.schema import schema
from vnn_mondeq.onnx_io.wide import widen_products
from vnn_mondeq.training import fixpoint_op
from vnn_mondeq.training.layers import MonDEQConv


def export_module(
    module: nn.Module,
    example_input: Tensor,
    path: str | Path | None = None,
    *,
    input_name: str = "x",
    output_name: str = "y",
    wide: bool = True,
    check: bool = True,
) -> onnx.ModelProto:
    """The ONNX model of `module`, with a symbolic batch dimension `N`; written to `path` if given.

    **Arguments:**

    - `module`: any module that `torch.onnx.export` can export, with one tensor in and one out;
      left unchanged. It is exported for inference.
    - `example_input`: one batch, first dimension the batch.
    - `wide`: let fully connected layers compute in double precision between casts, so that
      proofs need not allow for hundreds of float32 roundings (`vnn_mondeq.onnx_io.wide`).
    - `check`: read the model as the verifier does before it is written.

    **Raises** `ModelError` when a monDEQ layer's weights are not plain parameters in the export,
    or the verifier would refuse the model: operators that it does not know (all of them named), a
    layer that is not proved monotone.
    """
    frozen = _freeze(copy.deepcopy(module)).eval()
    batch = torch.cat([example_input, example_input]) if len(example_input) == 1 else example_input
    model = attach_solver(export_graph(frozen, (batch,), (input_name,), output_name))
    if wide and example_input.dtype == torch.float32:
        model = widen_products(model)
    onnx.checker.check_model(model, full_check=True)
    if check:
        prove_readable(model)
    if path is not None:
        save(model, path)
    return model


def export_graph(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: tuple[str, ...],
    output_name: str,
    *,
    dynamic: bool = True,
) -> onnx.ModelProto:
    """The graph of `module` as PyTorch exports it, with our operators but without their solvers.

    `dynamic`: whether the first dimension of every input is the same symbolic batch size `N`.
    """
    batch = {0: torch.export.Dim("N")} if dynamic else None
    with _quiet_exporter():
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(input_names),
            output_names=[output_name],
            dynamic_shapes=(batch,) * len(inputs) if dynamic else None,
            custom_translation_table={
                torch.ops.vnn_mondeq.mondeq.default: _translate_matrix,
                torch.ops.vnn_mondeq.mondeq_factored.default: _translate_dense,
                torch.ops.vnn_mondeq.mondeq_conv_factored.default: _translate_convolutional,
            },
            verbose=False,
        )
    return _plain(program.model_proto)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without what a caller could not change: torch's own use of what it deprecates (2.13), and
    its notice that torchvision, which nothing here uses, is not installed."""
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        noisy.setLevel(logging.ERROR)
        try:
            yield
        finally:
            noisy.setLevel(level)


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the exporter's notes, which hold stack traces with paths of this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("doc_string")
        del part.metadata_props[:]
    for tensor in graph.initializer:
        del tensor.metadata_props[:]
    return model


def _operator(name: str) -> Op:
    return Op(Opset(DOMAIN, VERSION), name, schema(name))


def _translate_matrix(u, W):
    return _operator("MonDEQ")(u, W)


def _translate_dense(u, P, Q, m: float):
    return _operator("MonDEQFactored")(u, P, Q, m=float(m))


def _translate_convolutional(u, P, Q, mask, m: float):
    return _operator("MonDEQConvFactored")(u, P, Q, mask, m=float(m))


@final
class _FrozenConvolution(nn.Module):
    """`MonDEQConv` for inference: the kernels are stored, not computed from their parameters."""

    def __init__(self, layer: MonDEQConv):
        super().__init__()
        self.layer = layer
        P, Q = layer.kernels()
        self.register_buffer("P", P.detach().clone())
        self.register_buffer("Q", Q.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        return fixpoint_op.mondeq_conv_factored(
            layer.input_map(x), self.P, self.Q, layer.mask, layer.m
        )


def _freeze(module: nn.Module) -> nn.Module:
    if isinstance(module, MonDEQConv):
        return _FrozenConvolution(module)
    for name, child in module.named_children():
        setattr(module, name, _freeze(child))
    return module
