"""Which function compiles which operator. A miss is an error that names the node."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from vnn_mondeq.onnx_io import discrete_operators as discrete
from vnn_mondeq.onnx_io import linear_operators as linear
from vnn_mondeq.onnx_io import piecewise_operators as pieces
from vnn_mondeq.onnx_io import shape_operators as moves
from vnn_mondeq.onnx_io import smooth_operators as smooth
from vnn_mondeq.onnx_io import step_operators as steps
from vnn_mondeq.onnx_io import window_operators as windows
from vnn_mondeq.onnx_io.builder import Builder
from vnn_mondeq.onnx_io.curve import UNARY
from vnn_mondeq.onnx_io.loop_compile import compile_loop
from vnn_mondeq.onnx_io.node import Node, Value
from vnn_mondeq.onnx_io.operator import DOMAIN, OPERATORS

Compile = Callable[[Node, Builder], Value | tuple[Value, ...]]


def _stateless(function: Callable[[Node], Value | tuple[Value, ...]]) -> Compile:
    return lambda node, builder: function(node)


def compile_node(node: Node, builder: Builder, domain: str) -> tuple[Value, ...]:
    """The node's outputs. **Raises** `UnsupportedModelError`, `KeyError` for an operator that is
    not in the table."""
    if domain == "" and discrete.foldable(node):
        return (discrete.fold(node),)
    if domain == "" and steps.computable(node):
        return (steps.compute(node, builder),)
    result = TABLE[domain, node.proto.op_type](node, builder)
    return result if isinstance(result, tuple) else (result,)


_LINEAR: Mapping[str, Callable[[Node], Value | tuple[Value, ...]]] = {
    "Add": linear.add_node,
    "AveragePool": windows.average_pool,
    "BatchNormalization": linear.batch_normalization,
    "Concat": moves.concat,
    "Constant": moves.constant_node,
    "ConstantOfShape": discrete.constant_of_shape,
    "Conv": windows.convolution,
    "ConvTranspose": windows.transposed_convolution,
    "Dropout": moves.dropout,
    "Expand": moves.expand,
    "Flatten": moves.flatten,
    "Gather": moves.gather,
    "Gemm": linear.gemm,
    "GlobalAveragePool": windows.global_average_pool,
    "Identity": moves.identity,
    "MatMul": linear.matmul,
    "Mean": linear.mean_node,
    "Neg": linear.negate_node,
    "Pad": moves.pad,
    "Range": discrete.range_,
    "ReduceMean": linear.reduce_mean,
    "ReduceSum": linear.reduce_sum,
    "Reshape": moves.reshape,
    "Resize": moves.resize,
    "Shape": moves.shape,
    "Slice": moves.slice_,
    "Split": moves.split,
    "Squeeze": moves.squeeze,
    "Sub": linear.subtract,
    "Sum": linear.sum_node,
    "Transpose": moves.transpose,
    "Unsqueeze": moves.unsqueeze,
    "Upsample": moves.resize,
}

_PIECEWISE: Mapping[str, Compile] = {
    "Abs": pieces.absolute,
    "Clip": pieces.clip,
    "GlobalMaxPool": pieces.global_max_pool,
    "HardSigmoid": pieces.hard_sigmoid,
    "LeakyRelu": pieces.leaky_relu,
    "Max": pieces.maximum,
    "MaxPool": pieces.max_pool,
    "Min": pieces.minimum,
    "PRelu": pieces.parametric_relu,
    "ReduceMax": pieces.reduce_max,
    "ReduceMin": pieces.reduce_min,
    "Relu": pieces.relu,
}

_RELAXED: Mapping[str, Compile] = {
    **dict.fromkeys(UNARY, smooth.unary),
    **dict.fromkeys(steps.COMPARISONS, steps.compare),
    **dict.fromkeys(steps.LOGIC, steps.connect),
    **dict.fromkeys(steps.STEPS, steps.step),
    "Cast": steps.cast,
    "Celu": smooth.celu_node,
    "Div": smooth.divide_node,
    "Elu": smooth.elu_node,
    "Gelu": smooth.gelu_node,
    "Mul": smooth.multiply,
    "Not": steps.negation,
    "Pow": smooth.power_node,
    "Reciprocal": smooth.reciprocal,
    "Selu": smooth.selu_node,
    "Softmax": smooth.softmax,
    "Where": steps.where,
}

TABLE: Mapping[tuple[str, str], Compile] = MappingProxyType(
    {("", name): _stateless(function) for name, function in _LINEAR.items()}
    | {("", name): function for name, function in (_PIECEWISE | _RELAXED).items()}
    | {("", "Loop"): compile_loop}
    | {(DOMAIN, name): lambda node, builder: builder.mondeq(node) for name in OPERATORS}
)
"""(domain, operator) → function. Domains are normalised: `ai.onnx` is written as ``""``."""
