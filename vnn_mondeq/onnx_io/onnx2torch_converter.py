"""Converters of the monDEQ operators for the package `onnx2torch` (extra `onnx2torch`).

    from vnn_mondeq.onnx_io.onnx2torch_converter import convert
    module = convert("model.onnx")

`convert` registers the converters and calls `onnx2torch.convert` on a copy in which our domain
has a name without a dot: onnx2torch 1.5.15 makes module names of domains, and PyTorch allows no
dots in them. Everything else is onnx2torch's own. The converted module solves the fixpoint and is
differentiable in its input.

Importing `onnx2torch` imports torchvision, which must fit the installed torch (docs/operator.md
says which pair was tried); nothing on the way to a verdict imports this module.
"""

from collections.abc import Callable
from pathlib import Path
from typing import final

import numpy as np
import onnx
import onnx2torch
import torch
from onnx2torch.node_converters import registry
from onnx2torch.onnx_graph import OnnxGraph
from onnx2torch.onnx_node import OnnxNode
from onnx2torch.utils.common import OnnxMapping, OnnxToTorchModule, OperationConverterResult
from torch import Tensor, fx, nn

from vnn_mondeq.onnx_io.circular import circular_matrix
from vnn_mondeq.onnx_io.function_check import with_known_bodies
from vnn_mondeq.onnx_io.operator import DOMAIN, VERSION
from vnn_mondeq.onnx_io.read import read_proto
from vnn_mondeq.system.monotone import prove_strong_monotonicity
from vnn_mondeq.training.fixpoint_op import mondeq_conv_factored, mondeq_factored


@final
class DenseFixpoint(nn.Module, OnnxToTorchModule):
    """`z = ReLU(W z + u)` for rows `u (N, p)`, `W = (1-m) I - PᵀP + Q - Qᵀ`."""

    def __init__(self, P: Tensor, Q: Tensor, m: float):
        super().__init__()
        self.m = m
        self.register_buffer("P", P)
        self.register_buffer("Q", Q)

    def forward(self, u: Tensor) -> Tensor:
        return mondeq_factored(u, self.P, self.Q, self.m)


@final
class ConvolutionalFixpoint(nn.Module, OnnxToTorchModule):
    """`MonDEQConvFactored`: `u (N, C, H, W)`, kernels `P`, `Q (C, C, k, k)`."""

    def __init__(self, P: Tensor, Q: Tensor, mask: Tensor, m: float):
        super().__init__()
        self.m = m
        self.register_buffer("P", P)
        self.register_buffer("Q", Q)
        self.register_buffer("mask", mask)

    def forward(self, u: Tensor) -> Tensor:
        return mondeq_conv_factored(u, self.P, self.Q, self.mask, self.m)


@final
class KernelFixpoint(nn.Module, OnnxToTorchModule):
    """`MonDEQConv`, solved as a dense layer of the kept neurons.

    The kernel has no factors, and those of the dense matrix are no convolutions. The matrix is
    built at the first call, when the size of the image is known.
    """

    def __init__(self, K: Tensor, mask: Tensor):
        super().__init__()
        self.register_buffer("K", K)
        self.register_buffer("mask", mask)

    def forward(self, u: Tensor) -> Tensor:
        kept = self.mask.expand(u.shape[1:]).reshape(-1).nonzero()[:, 0]
        W = circular_matrix(self.K.detach().cpu().numpy(), tuple(u.shape[1:]))
        chosen = kept.cpu().numpy()
        P, Q, m = factorise(W[np.ix_(chosen, chosen)])
        rows = u.reshape(len(u), -1)
        z = mondeq_factored(rows[:, kept], P.to(u), Q.to(u), m)
        return torch.zeros_like(rows).index_copy(1, kept, z).reshape(u.shape)


def factorise(W: np.ndarray) -> tuple[Tensor, Tensor, float]:
    """`P`, `Q`, `m` in float64 with `W = (1-m) I - PᵀP + Q - Qᵀ` up to rounding.

    **Raises** `NotMonotoneError` when `I - W` is not proved strongly monotone.
    """
    m = 0.999 * prove_strong_monotonicity(W).modulus
    identity = np.eye(W.shape[0])
    values, vectors = np.linalg.eigh((1.0 - m) * identity - 0.5 * (W + W.T))
    P = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    return torch.from_numpy(P), torch.from_numpy(0.25 * (W - W.T)), m


def _weights(node: OnnxNode, graph: OnnxGraph) -> list[Tensor]:
    return [graph.initializers[name].to_torch() for name in node.input_values[1:]]


def _result(node: OnnxNode, module: nn.Module) -> OperationConverterResult:
    # The weights live in the module: only `u` is an argument of its forward.
    mapping = OnnxMapping(inputs=node.input_values[:1], outputs=node.output_values)
    return OperationConverterResult(torch_module=module, onnx_mapping=mapping)


def _convert_dense(node: OnnxNode, graph: OnnxGraph) -> OperationConverterResult:
    (W,) = _weights(node, graph)
    P, Q, m = factorise(W.numpy().astype(np.float64))
    return _result(node, DenseFixpoint(P.to(W), Q.to(W), m))


def _convert_factored(node: OnnxNode, graph: OnnxGraph) -> OperationConverterResult:
    P, Q = _weights(node, graph)
    return _result(node, DenseFixpoint(P, Q, float(node.attributes["m"])))


def _convert_convolution(node: OnnxNode, graph: OnnxGraph) -> OperationConverterResult:
    return _result(node, KernelFixpoint(*_weights(node, graph)))


def _convert_factored_convolution(node: OnnxNode, graph: OnnxGraph) -> OperationConverterResult:
    m = float(node.attributes["m"])
    return _result(node, ConvolutionalFixpoint(*_weights(node, graph), m))


_CONVERTERS: dict[str, Callable[[OnnxNode, OnnxGraph], OperationConverterResult]] = {
    "MonDEQ": _convert_dense,
    "MonDEQFactored": _convert_factored,
    "MonDEQConv": _convert_convolution,
    "MonDEQConvFactored": _convert_factored_convolution,
}


_ALIAS = "vnn_mondeq"
"""Our domain's name inside of onnx2torch."""


def register_converters() -> None:
    """Enter the converters into `onnx2torch`'s registry; those already there stay."""
    for domain in (DOMAIN, _ALIAS):
        for name, converter in _CONVERTERS.items():
            place = {"operation_type": name, "version": VERSION, "domain": domain}
            try:
                registry.get_converter(**place)
            except NotImplementedError:
                registry.add_converter(**place)(converter)


def convert(model: onnx.ModelProto | str | Path) -> fx.GraphModule:
    """`onnx2torch.convert` for models with monDEQ layers; `model` itself stays as it is.

    **Raises** `ModelError` for files that are not ONNX or whose function bodies are not ours, and
    whatever onnx2torch raises for the other operators.
    """
    register_converters()
    proto = model if isinstance(model, onnx.ModelProto) else read_proto(Path(model))
    renamed = with_known_bodies(proto)
    del renamed.functions[:]
    for entry in (*renamed.graph.node, *renamed.opset_import):
        if entry.domain == DOMAIN:
            entry.domain = _ALIAS
    return onnx2torch.convert(renamed)
