"""Small models with drawn shapes and attributes: at least one function for each operator.

A case is a chain of nodes from the input `x` to the last node's first output. `lower`, `upper`
bound the inputs that are drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


@dataclass
class Case:
    rng: np.random.Generator
    shape: tuple[int, ...]
    lower: float = -2.0
    upper: float = 2.0
    opset: int = 18
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    last: str = "x"

    def weight(self, array, dtype=np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(array, dtype=dtype)
        return name

    def integers(self, *values) -> str:
        return self.weight(values, np.int64)

    def normal(self, *shape) -> str:
        return self.weight(self.rng.normal(size=shape))

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes) -> str:
        names = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        self.last = names[0]
        return self.last

    def flag(self) -> bool:
        return bool(self.rng.integers(2))

    def model(self, output: list[int] | None = None) -> onnx.ModelProto:
        """The model; `output` is the shape of `y`, which a checked file must declare."""
        graph = helper.make_graph(
            [*self.nodes, helper.make_node("Identity", [self.last], ["y"])],
            "case",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [int(n) for n in self.shape])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8)


CASES: dict[str, list[Callable[[np.random.Generator], Case]]] = {}
"""Operator → functions that draw a case with it."""


def case_of(*operators: str):
    def note(function):
        for operator in operators:
            CASES.setdefault(operator, []).append(partial(function, operator=operator))
        return function

    return note


def unary(operator: str, lower: float = -3.0, upper: float = 3.0, opset: int = 18, **attributes):
    """A case for an operator that only needs a tensor."""

    def draw(rng):
        case = Case(rng, (1, 5), lower, upper, opset)
        case.add(operator, "x", **attributes)
        return case

    CASES.setdefault(operator, []).append(draw)


for _name in ("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Identity", "Neg", "Relu", "Round"):
    unary(_name)
for _name in ("Sigmoid", "Sign", "Sin", "Softplus", "Tanh", "HardSwish", "Celu", "Selu", "Elu"):
    unary(_name, -8.0, 8.0)
for _name in ("Log", "Sqrt", "Reciprocal"):
    unary(_name, 0.5, 4.0)
unary("Sqrt", 0.0, 2.0)
unary("Reciprocal", -4.0, -0.5)
unary("Gelu", -6.0, 6.0, 20)
unary("Elu", -4.0, 4.0, alpha=0.5)
unary("Celu", -4.0, 4.0, alpha=2.0)
unary("Selu", -4.0, 4.0, alpha=1.2, gamma=0.7)
unary("LeakyRelu", alpha=0.1)
unary("LeakyRelu", alpha=1.5)
unary("HardSigmoid", -5.0, 5.0)
unary("HardSigmoid", -5.0, 5.0, alpha=0.3, beta=0.4)
unary("Dropout", opset=11, ratio=0.5)
unary("Flatten")
unary("Transpose", perm=[1, 0])
unary("ReduceMax", opset=13, axes=[1])
unary("ReduceMean", opset=13, axes=[-1], keepdims=0)
unary("ReduceMin", opset=13)
unary("Softmax", opset=11)
unary("Squeeze", opset=11, axes=[0])
unary("Unsqueeze", opset=11, axes=[0, 2])
unary("Slice", opset=9, starts=[1], ends=[4], axes=[1])
unary("Pad", opset=9, pads=[0, 1, 0, 2], value=0.5)
unary("Clip", opset=9, min=-0.5, max=1.5)
unary("ReduceSum", opset=11, axes=[1])


@case_of("Add", "Sub")
def sums(rng, operator):
    case = Case(rng, (1, 2, 3))
    first = case.add(operator, "x", case.normal(3))
    case.add("Add", first, "x")
    case.add("Sub", case.normal(2, 1), case.last)
    return case


@case_of("Mul", "Div")
def products(rng, operator):
    case = Case(rng, (1, 2, 3))
    case.add("Mul", case.normal(2, 3), "x")
    case.add("Div", case.last, case.weight(rng.uniform(0.5, 3.0, size=(1, 3))))
    return case


@case_of("Mul", "Div")
def products_of_two_tensors(rng, operator):
    case = Case(rng, (1, 6), 0.5, 3.0)
    left = case.add("Slice", "x", case.integers(0), case.integers(3), case.integers(1))
    right = case.add("Slice", "x", case.integers(3), case.integers(6), case.integers(1))
    case.add(operator, left, right)
    return case


@case_of("Mul")
def square(rng, operator):
    case = Case(rng, (1, 3))
    case.add("Mul", "x", "x")
    return case


@case_of("Sum", "Mean", "Max", "Min")
def variadic(rng, operator):
    case = Case(rng, (1, 2, 3))
    for operator in ("Sum", "Mean", "Max", "Min"):
        parts = ["x", case.normal(2, 1), case.last] + (["x"] if case.flag() else [])
        case.add(operator, *[str(part) for part in rng.permutation(parts)])
    return case


@case_of("Max", "Min")
def extreme_of_one(rng, operator):
    case = Case(rng, (1, 3))
    case.add("Max", "x")
    case.add("Min", case.last)
    return case


@case_of("Clip")
def clip(rng, operator):
    case = Case(rng, (1, 6))
    low, high = case.weight(-0.5), case.weight(1.25)
    case.add("Clip", "x", *[(low,), (low, high), ("", high)][int(rng.integers(3))])
    return case


@case_of("PRelu")
def prelu(rng, operator):
    case = Case(rng, (1, 3, 2, 2))
    case.add("PRelu", "x", case.normal(3, 1, 1))
    return case


@case_of("Gemm")
def gemm(rng, operator):
    case = Case(rng, (1, 4))
    transposed = int(rng.integers(2))
    B = case.normal(*((3, 4) if transposed else (4, 3)))
    alpha, beta = float(rng.choice([1.0, 0.5, -0.3])), float(rng.choice([1.0, 2.0, 0.0]))
    parts = ("x", B, case.normal(3)) if case.flag() else ("x", B)
    case.add("Gemm", *parts, alpha=alpha, beta=beta, transB=transposed)
    return case


@case_of("Gemm")
def gemm_of_a_transposed_input(rng, operator):
    case = Case(rng, (4, 1))
    case.add("Gemm", "x", case.normal(4, 3), transA=1)
    return case


@case_of("MatMul")
def matmul(rng, operator):
    case = Case(rng, (1, 2, 3))
    case.add("MatMul", "x", case.normal(3, 4))
    case.add("MatMul", case.normal(3, 2), case.last)
    return case


@case_of("Conv")
def convolution(rng, operator):
    rank = int(rng.integers(1, 4))
    channels, group = (4, 2) if case_flag(rng) else (3, 1)
    case = Case(rng, (1, channels, *rng.integers(4, 6, size=rank)))
    kernel = [int(n) for n in rng.integers(1, 4, size=rank)]
    weights = case.normal(2 * group, channels // group, *kernel)
    attributes = {"strides": [int(n) for n in rng.integers(1, 3, size=rank)], "group": group}
    if case.flag():
        attributes["pads"] = [int(n) for n in rng.integers(0, 2, size=2 * rank)]
        attributes["dilations"] = [1 if k > 2 else int(rng.integers(1, 3)) for k in kernel]
    else:
        attributes["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    bias = (case.normal(2 * group),) if case.flag() else ()
    case.add("Conv", "x", weights, *bias, **attributes)
    return case


def case_flag(rng) -> bool:
    return bool(rng.integers(2))


@case_of("ConvTranspose")
def transposed_convolution(rng, operator):
    rank = int(rng.integers(1, 3))
    channels, group = (4, 2) if case_flag(rng) else (3, 1)
    case = Case(rng, (1, channels, *rng.integers(2, 4, size=rank)))
    strides = [int(n) for n in rng.integers(1, 4, size=rank)]
    extra = [int(rng.integers(0, s)) for s in strides]
    weights = case.normal(channels, 2, *[3] * rank)
    bias = (case.normal(2 * group),) if case.flag() else ()
    case.add("ConvTranspose", "x", weights, *bias, strides=strides, group=group,
             pads=[int(n) for n in rng.integers(0, 2, size=2 * rank)],
             output_padding=extra)  # fmt: skip
    return case


@case_of("AveragePool", "MaxPool")
def pooling(rng, operator):
    rank = int(rng.integers(1, 3))
    case = Case(rng, (1, 2, *rng.integers(4, 7, size=rank)), opset=22)
    attributes = {"kernel_shape": [int(n) for n in rng.integers(2, 4, size=rank)]}
    attributes["strides"] = [int(n) for n in rng.integers(1, 4, size=rank)]
    if case.flag():
        attributes["pads"] = [int(n) for n in rng.integers(0, 2, size=2 * rank)]
    if case.flag():
        attributes["ceil_mode"] = 1
    elif operator == "AveragePool":
        attributes["count_include_pad"] = int(case.flag())
    if operator == "MaxPool" and case.flag():
        attributes["dilations"] = [2 if k == 2 else 1 for k in attributes["kernel_shape"]]
    case.add(operator, "x", **attributes)
    return case


@case_of("GlobalAveragePool", "GlobalMaxPool")
def global_pooling(rng, operator):
    case = Case(rng, (1, 3, 2, 3))
    case.add(operator, "x")
    return case


@case_of("BatchNormalization")
def batch_normalization(rng, operator):
    case = Case(rng, (1, 3, 2, 2) if case_flag(rng) else (1, 3))
    parts = [case.weight(rng.uniform(0.5, 2.0, size=3)) for _ in range(4)]
    case.add("BatchNormalization", "x", *parts, epsilon=float(rng.choice([1e-5, 1e-2])))
    return case


@case_of("ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum")
def reduction(rng, operator):
    case = Case(rng, (2, 3, 2))
    axes = [(), (0, 2), (-2,), (1,)][int(rng.integers(4))]
    inputs = ("x", case.integers(*axes)) if axes else ("x",)
    case.add(operator, *inputs, keepdims=int(case.flag()))
    return case


@case_of("ReduceSum")
def reduction_of_nothing(rng, operator):
    case = Case(rng, (2, 3))
    case.add("ReduceSum", "x", noop_with_empty_axes=1)
    return case


@case_of("Concat", "Split", "Slice", "Gather")
def pieces(rng, operator):
    case = Case(rng, (1, 7))
    case.add("Split", "x", case.integers(3, 4), outputs=2, axis=1)
    left, right = "t0_0", "t0_1"
    back = [case.integers(v) for v in (-1, -(10**6), 1, -1)]
    right = case.add("Slice", right, *back)
    case.add("Concat", right, left, axis=-1)
    case.add("Gather", case.last, case.integers(*rng.permutation(7)), axis=1)
    return case


@case_of("Split")
def split_into_equal_parts(rng, operator):
    case = Case(rng, (1, 6), opset=11 if case_flag(rng) else 13)
    case.add("Split", "x", outputs=3, axis=1)
    case.last = "t0_1"
    return case


@case_of("Reshape", "Shape", "Squeeze", "Unsqueeze", "Expand", "Range", "Where", "Equal")
def shapes(rng, operator):
    """Shapes computed inside the graph, as exporters write them."""
    case = Case(rng, (1, 2, 3))
    dims = case.add("Shape", "x")
    first = case.add("Gather", dims, case.weight(1, np.int64))
    column = case.add("Unsqueeze", first, case.integers(0))
    target = case.add("Concat", column, case.integers(-1), axis=0)
    flat = case.add("Reshape", "x", target)
    case.add("Squeeze", case.add("Unsqueeze", flat, case.integers(0)), case.integers(0))
    rows = case.last
    index = case.add("Range", case.weight(0, np.int64), first, case.weight(1, np.int64))
    chosen = case.add("Equal", index, case.weight(1, np.int64))
    picked = case.add("Where", chosen, case.integers(1, 1), case.integers(0, 0))
    gathered = case.add("Gather", rows, picked, axis=0)
    case.add("Expand", gathered, case.integers(2, 2, 3))
    return case


@case_of("Constant", "ConstantOfShape")
def constants(rng, operator):
    case = Case(rng, (1, 3))
    value = numpy_helper.from_array(np.array([1.5], np.float32))
    filled = case.add("ConstantOfShape", case.integers(1, 3), value=value)
    stored = case.add("Constant", value_floats=[1.0, 2.0, -0.5])
    case.add("Add", case.add("Mul", "x", stored), filled)
    return case


@case_of("Pad")
def padding(rng, operator):
    case = Case(rng, (1, 2, 4))
    mode = str(rng.choice(["constant", "reflect", "edge", "wrap"]))
    fill = (case.weight(0.75),) if mode == "constant" and case.flag() else ()
    case.opset = 19
    case.add("Pad", "x", case.integers(0, 0, 1, 0, 1, 2) if mode == "constant" else
             case.integers(0, 0, 1, 0, 0, 2), *fill, mode=mode)  # fmt: skip
    return case


@case_of("Resize")
def resize(rng, operator):
    case = Case(rng, (1, 2, 2, 3))
    rules = [("half_pixel", "round_prefer_floor"), ("asymmetric", "floor")]
    rule = rules[int(rng.integers(2))]
    attributes = {"coordinate_transformation_mode": rule[0], "nearest_mode": rule[1]}
    if case.flag():
        case.add("Resize", "x", "", case.weight([1, 1, 2, 3]), mode="nearest", **attributes)
    else:
        sizes = case.integers(1, 2, 4, 9)
        case.add("Resize", "x", "", "", sizes, mode="nearest", **attributes)
    return case


@case_of("Upsample")
def upsample(rng, operator):
    case = Case(rng, (1, 2, 2, 3), opset=9)
    case.add("Upsample", "x", case.weight([1, 1, 2, 2]), mode="nearest")
    return case


@case_of("Pow")
def powers(rng, operator):
    if case_flag(rng):
        case = Case(rng, (1, 4))
        case.add("Pow", "x", case.weight([2.0, 3.0, 1.0, 0.0]))
        return case
    case = Case(rng, (1, 3), 0.5, 3.0)
    exponents = case.weight([0.5, -0.5, 1.5])
    case.add("Pow", *(("x", exponents) if case.flag() else (case.weight([2.0, 0.5, 1.0]), "x")))
    return case


@case_of("Softmax")
def softmax(rng, operator):
    case = Case(rng, (1, 2, int(rng.integers(2, 5))))
    case.add("Softmax", "x", axis=int(rng.choice([-1, 1])))
    return case


@case_of("Cast", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Where", "Not")
def choices(rng, operator):
    case = Case(rng, (1, 4))
    compared = operator in ("Cast", "Where", "Not")
    condition = case.add(
        "Greater" if compared else operator, "x", case.weight([0.5, -0.5, 0.0, 9.0])
    )
    if operator == "Not":
        condition = case.add("Not", condition)
    chosen = case.add("Where", condition, "x", case.weight([3.0]))
    case.add("Add", case.add("Cast", condition, to=TensorProto.FLOAT), chosen)
    return case


@case_of("And", "Or", "Xor", "Cast")
def connectives(rng, operator):
    case = Case(rng, (1, 4))
    left = case.add("Greater", "x", case.weight([0.5, -0.5, 0.0, 9.0]))
    right = case.add("Less", "x", case.weight([1.0]))
    case.add("And" if operator == "Cast" else operator, left, right)
    condition = case.last
    odd = case.add("Xor", case.weight([True, False], bool), case.weight([True, True], bool))
    count = case.add(
        "Cast", case.add("Gather", odd, case.integers(1), axis=0), to=TensorProto.FLOAT
    )
    case.add("Add", case.add("Cast", condition, to=TensorProto.FLOAT), count)
    return case


@case_of("Cast", "Add", "Sub", "Neg")
def integers(rng, operator):
    case = Case(rng, (1, 4), -5.0, 5.0)
    whole = case.add("Cast", "x", to=TensorProto.INT64)
    case.add("Sub", case.add("Add", whole, case.integers(3)), case.integers(1))
    case.add("Cast", case.add("Neg", case.last), to=TensorProto.FLOAT)
    return case


@case_of("Cast")
def doubles(rng, operator):
    case = Case(rng, (1, 4))
    wide = case.add("Cast", "x", to=TensorProto.DOUBLE)
    case.add("Cast", case.add("Add", wide, wide), to=TensorProto.FLOAT)
    return case
