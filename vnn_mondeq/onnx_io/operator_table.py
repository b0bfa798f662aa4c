"""Which function compiles which operator. A miss is an error that names the node."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from vnn_mondeq.onnx_io import linear_operators as linear
from vnn_mondeq.onnx_io import shape_operators as moves
from vnn_mondeq.onnx_io import window_operators as windows
from vnn_mondeq.onnx_io.builder import Builder
from vnn_mondeq.onnx_io.loop_compile import compile_loop
from vnn_mondeq.onnx_io.node import Node, Value
from vnn_mondeq.onnx_io.operator import DOMAIN, OPERATORS

Compile = Callable[[Node, Builder], Value | tuple[Value, ...]]


def _stateless(function: Callable[[Node], Value | tuple[Value, ...]]) -> Compile:
    return lambda node, builder: function(node)


_LINEAR: Mapping[str, Callable[[Node], Value | tuple[Value, ...]]] = {
    "Add": linear.add_node,
    "AveragePool": windows.average_pool,
    "BatchNormalization": linear.batch_normalization,
    "Cast": moves.cast,
    "Concat": moves.concat,
    "Constant": moves.constant_node,
    "Conv": windows.convolution,
    "Div": linear.divide,
    "Dropout": moves.dropout,
    "Flatten": moves.flatten,
    "Gather": moves.gather,
    "Gemm": linear.gemm,
    "GlobalAveragePool": windows.global_average_pool,
    "Identity": moves.identity,
    "MatMul": linear.matmul,
    "Mul": linear.multiply_node,
    "Neg": linear.negate_node,
    "Pad": moves.pad,
    "ReduceMean": linear.reduce_mean,
    "ReduceSum": linear.reduce_sum,
    "Reshape": moves.reshape,
    "Shape": moves.shape,
    "Slice": moves.slice_,
    "Split": moves.split,
    "Squeeze": moves.squeeze,
    "Sub": linear.subtract,
    "Transpose": moves.transpose,
    "Unsqueeze": moves.unsqueeze,
}

TABLE: Mapping[tuple[str, str], Compile] = MappingProxyType(
    {("", name): _stateless(function) for name, function in _LINEAR.items()}
    | {("", "Relu"): lambda node, builder: builder.relu(node), ("", "Loop"): compile_loop}
    | {(DOMAIN, name): lambda node, builder: builder.mondeq(node) for name in OPERATORS}
)
"""(domain, operator) → function. Domains are normalised: `ai.onnx` is written as ``""``."""
