"""Random graphs of the supported operators, as hypothesis strategies."""

from collections.abc import Callable
from dataclasses import dataclass, field

import hypothesis.strategies as st
import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from vnn_mondeq.onnx_io.attach import attach_solver
from vnn_mondeq.onnx_io.operator import DOMAIN, IR_VERSION


@dataclass
class Sketch:
    """A chain under construction: the current tensor's name and shape, and what it is made of."""

    rng: np.random.Generator
    dtype: type
    shape: tuple[int, ...]
    name: str = "x"
    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    infos: list[onnx.ValueInfoProto] = field(default_factory=list)

    def weight(self, *shape: int) -> str:
        return self.store(self.rng.normal(size=shape).astype(self.dtype))

    def store(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(array)
        return name

    def integers(self, *values: int) -> str:
        return self.store(np.array(values, dtype=np.int64))

    def then(self, operator: str, inputs: list[str], shape: tuple[int, ...], **attributes) -> None:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        self.name, self.shape = output, tuple(shape)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        self.infos.append(helper.make_tensor_value_info(output, kind, list(shape)))


def _gemm(s: Sketch) -> None:
    rows, columns = int(s.rng.integers(1, 6)), s.shape[1]
    settings = {"transB": 1, "alpha": float(s.rng.choice([1.0, 0.3])), "beta": 1.5}
    s.then("Gemm", [s.name, s.weight(rows, columns), s.weight(rows)], (1, rows), **settings)


def _matmul(s: Sketch) -> None:
    columns = int(s.rng.integers(1, 6))
    s.then("MatMul", [s.name, s.weight(s.shape[-1], columns)], (*s.shape[:-1], columns))


def _wide_matmul(s: Sketch) -> None:
    """A product in the other precision, between casts."""
    own, columns = s.dtype, int(s.rng.integers(1, 6))
    shape = (*s.shape[:-1], columns)
    s.dtype = np.float64 if own is np.float32 else np.float32
    s.then("Cast", [s.name], s.shape, to=helper.np_dtype_to_tensor_dtype(np.dtype(s.dtype)))
    s.then("MatMul", [s.name, s.weight(s.shape[-1], columns)], shape)
    s.dtype = own
    s.then("Cast", [s.name], shape, to=helper.np_dtype_to_tensor_dtype(np.dtype(own)))


def _left_matmul(s: Sketch) -> None:
    rows = int(s.rng.integers(1, 4))
    s.then("MatMul", [s.weight(rows, s.shape[-2]), s.name], (*s.shape[:-2], rows, s.shape[-1]))


def _elementwise(operator: str) -> Callable[[Sketch], None]:
    def apply(s: Sketch) -> None:
        weight = s.weight(*[n if i else 1 for i, n in enumerate(s.shape)])
        if operator == "Div":
            array = s.weights[weight]
            s.weights[weight] = np.where(np.abs(array) < 0.3, 0.7, array).astype(s.dtype)
        s.then(operator, [s.name, weight], s.shape)

    return apply


def _reversed_subtraction(s: Sketch) -> None:
    s.then("Sub", [s.weight(1), s.name], s.shape)


def _unary(operator: str) -> Callable[[Sketch], None]:
    return lambda s: s.then(operator, [s.name], s.shape)


def _residual(s: Sketch) -> None:
    before, shape = s.name, s.shape
    s.then("Relu", [s.name], shape)
    s.then("Add", [s.name, before], shape)


def _flatten(s: Sketch) -> None:
    s.then("Flatten", [s.name], (1, int(np.prod(s.shape))), axis=1)


def _reshape(s: Sketch) -> None:
    s.then("Reshape", [s.name, s.integers(0, -1)], (s.shape[0], int(np.prod(s.shape[1:]))))


def _transpose(s: Sketch) -> None:
    order = [0, *(1 + s.rng.permutation(len(s.shape) - 1)).tolist()]
    s.then("Transpose", [s.name], tuple(s.shape[i] for i in order), perm=order)


def _squeeze(s: Sketch) -> None:
    s.then("Unsqueeze", [s.name, s.integers(2)], (*s.shape[:2], 1, *s.shape[2:]))
    s.then("Squeeze", [s.name, s.integers(2)], (*s.shape[:2], *s.shape[3:]))


def _slice(s: Sketch) -> None:
    size = s.shape[1]
    inputs = [s.integers(-1), s.integers(-size - 5), s.integers(1), s.integers(-2)]
    s.then("Slice", [s.name, *inputs], (1, -(-size // 2), *s.shape[2:]))


def _concat(s: Sketch) -> None:
    other = s.weight(1, 2, *s.shape[2:])
    s.then("Concat", [s.name, other], (1, s.shape[1] + 2, *s.shape[2:]), axis=1)


def _gather(s: Sketch) -> None:
    index = s.rng.integers(-s.shape[1], s.shape[1], size=3)
    s.then("Gather", [s.name, s.integers(*index)], (1, 3, *s.shape[2:]), axis=1)


def _split(s: Sketch) -> None:
    if s.shape[1] < 2:
        return
    first, shape = s.name, (1, s.shape[1] - 1, *s.shape[2:])
    unused = f"unused{len(s.nodes)}"
    s.then("Split", [first, s.integers(1, s.shape[1] - 1)], shape, axis=1)
    s.nodes[-1].output.insert(0, unused)


def _reduce(operator: str) -> Callable[[Sketch], None]:
    def apply(s: Sketch) -> None:
        axis = len(s.shape) - 1
        shape = (*s.shape[:-1], 1)
        s.then(operator, [s.name, s.integers(axis)], shape, keepdims=1)

    return apply


def _batch_normalization(s: Sketch) -> None:
    count = s.shape[1]
    variance = s.store(s.rng.uniform(0.1, 2.0, size=count).astype(s.dtype))
    weights = [s.weight(count), s.weight(count), s.weight(count), variance]
    s.then("BatchNormalization", [s.name, *weights], s.shape, epsilon=1e-3)


def _convolution(s: Sketch) -> None:
    channels, (_, depth, height, width) = 2 * int(s.rng.integers(1, 3)), s.shape
    groups = 2 if depth % 2 == 0 and s.rng.random() < 0.5 else 1
    kernel = s.weight(channels, depth // groups, 3, 2)
    size = ((height + 2 - 3) // 2 + 1, (width + 1 - 2) // 1 + 1)
    if height < 1:
        return
    s.then(
        "Conv",
        [s.name, kernel, s.weight(channels)],
        (1, channels, *size),
        pads=[1, 0, 1, 1],
        strides=[2, 1],
        group=groups,
    )


def _average_pool(s: Sketch) -> None:
    _, channels, height, width = s.shape
    size = ((height + 1 - 2) // 2 + 1, width)
    s.then(
        "AveragePool",
        [s.name],
        (1, channels, *size),
        kernel_shape=[2, 3],
        strides=[2, 1],
        pads=[0, 1, 1, 1],
        count_include_pad=int(s.rng.integers(0, 2)),
    )


def _global_average_pool(s: Sketch) -> None:
    s.then("GlobalAveragePool", [s.name], (*s.shape[:2], 1, 1))


def _pad(mode: str) -> Callable[[Sketch], None]:
    def apply(s: Sketch) -> None:
        rank = len(s.shape)
        pads = [0] * (2 * rank)
        pads[rank - 1] = pads[2 * rank - 1] = 1
        shape = (*s.shape[:-1], s.shape[-1] + 2)
        s.then("Pad", [s.name, s.integers(*pads)], shape, mode=mode)

    return apply


def _mondeq(s: Sketch) -> None:
    size = s.shape[1]
    inputs = [s.name, s.weight(size, size), s.weight(size, size)]
    s.then("MonDEQFactored", inputs, s.shape, domain=DOMAIN, m=float(s.rng.choice([0.5, 2.0])))


def _mondeq_convolution(s: Sketch) -> None:
    _, channels, height, width = s.shape
    if min(height, width) < 3:
        return
    kernels = [s.weight(channels, channels, 3, 3) for _ in range(2)]
    mask = s.store((s.rng.random((channels, height, width)) < 0.7).astype(s.dtype))
    settings = {"domain": DOMAIN, "m": 1.0}
    s.then("MonDEQConvFactored", [s.name, *kernels, mask], s.shape, **settings)


_ANY_RANK = (
    *(_elementwise(name) for name in ("Add", "Sub", "Mul", "Div")),
    *(_unary(name) for name in ("Neg", "Relu", "Identity", "Dropout")),
    *(_reduce(name) for name in ("ReduceSum", "ReduceMean")),
    *(_pad(mode) for mode in ("constant", "wrap", "edge")),
    *(_reversed_subtraction, _residual, _transpose, _squeeze, _slice, _concat, _gather, _split),
    *(_batch_normalization, _matmul, _wide_matmul),
)
_VECTORS = (*_ANY_RANK, _gemm, _gemm, _mondeq, _mondeq)
_IMAGES = (
    *(*_ANY_RANK, _flatten, _reshape, _left_matmul, _convolution, _convolution, _average_pool),
    *(_global_average_pool, _mondeq_convolution, _mondeq_convolution),
)


_FLOAT32_ONLY = {_convolution, _average_pool, _global_average_pool}
"""What onnxruntime has no float64 implementation of."""


@st.composite
def drawn_models(draw: st.DrawFn, dtype: type = np.float32) -> onnx.ModelProto:
    """A model with input `x`, a vector or a small image, and output `y`, of one to six steps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(1, 5), (1, 1, 6, 5), (1, 2, 5, 4)]))
    sketch = Sketch(rng, dtype, shape)
    for _ in range(draw(st.integers(1, 6))):
        choices = _IMAGES if len(sketch.shape) == 4 else _VECTORS
        if dtype is np.float64:
            choices = [choice for choice in choices if choice not in _FLOAT32_ONLY]
        if int(np.prod(sketch.shape)) <= 200:
            draw(st.sampled_from(choices))(sketch)
    sketch.then("Identity", [sketch.name], sketch.shape)
    return _model(sketch, shape)


def _model(sketch: Sketch, shape: tuple[int, ...]) -> onnx.ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(sketch.dtype))
    graph = helper.make_graph(
        sketch.nodes,
        "drawn",
        [helper.make_tensor_value_info("x", kind, list(shape))],
        [sketch.infos[-1]],
        [numpy_helper.from_array(array, name) for name, array in sketch.weights.items()],
        value_info=sketch.infos[:-1],
    )
    imports = [helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return attach_solver(model)
