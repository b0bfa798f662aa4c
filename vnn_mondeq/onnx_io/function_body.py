"""Function bodies of the monDEQ operators in standard ONNX operators.

Every body runs forward-backward splitting in double precision, whatever the model's type:

    z ← mask * ReLU(z + α (W z + u - z))            a contraction when ‖I - α(I - W)‖₂ < 1

until, for each row of the batch on its own, the largest change is at most
`tol * max(1, largest neuron)`; a row that has stopped keeps its value, so that no row ever
depends on another. Nothing in a body depends on sizes: one text serves every model.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import final

import onnx
from onnx import FunctionProto, GraphProto, NodeProto, TensorProto, helper

from vnn_mondeq.onnx_io.operator import DOMAIN, OPERATORS, OPSET

_DOUBLE = TensorProto.DOUBLE


@final
@dataclass(slots=True)
class _Nodes:
    """A list of nodes under construction; `prefix` keeps names of a subgraph apart."""

    prefix: str = ""
    nodes: list[NodeProto] = field(default_factory=list)

    def add(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        """Append a node with one output and return the output's name."""
        name = self.prefix + output
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def integers(self, output: str, *values: int) -> str:
        """A 1-D int64 constant."""
        return self.add("Constant", [], output, value_ints=list(values))

    def scalar(self, output: str, value: float) -> str:
        """A double scalar constant."""
        tensor = helper.make_tensor(self.prefix + output, _DOUBLE, [], [value])
        return self.add("Constant", [], output, value=tensor)

    def attribute(self, name: str) -> str:
        """The float attribute `name` of the node, as a double scalar."""
        constant = helper.make_node("Constant", [], [self.prefix + name + "_float"])
        reference = onnx.AttributeProto()
        reference.name = "value_float"
        reference.type = onnx.AttributeProto.FLOAT
        reference.ref_attr_name = name
        constant.attribute.append(reference)
        self.nodes.append(constant)
        return self.add("Cast", [self.prefix + name + "_float"], name + "_double", to=_DOUBLE)

    def double(self, source: str) -> str:
        return self.add("Cast", [source], source + "_double", to=_DOUBLE)


@cache
def function_body(operator: str) -> FunctionProto:
    """The body of one of the four operators. Treat the returned message as read-only.

    **Raises** `KeyError` for any other operator.
    """
    spec = OPERATORS[operator]
    build = {
        "MonDEQ": _dense_body,
        "MonDEQFactored": _dense_body,
        "MonDEQConv": _convolutional_body,
        "MonDEQConvFactored": _convolutional_body,
    }[operator]
    nodes = _Nodes()
    build(nodes, "m" in spec.attributes)
    return helper.make_function(
        DOMAIN,
        operator,
        list(spec.inputs),
        ["z"],
        nodes.nodes,
        [helper.make_opsetid("", OPSET)],
        attributes=[*spec.attributes, *spec.solver_attributes],
    )


def _dense_body(outer: _Nodes, factored: bool) -> None:
    """Nodes of `MonDEQ` and `MonDEQFactored`: iterates `z ← ReLU(z Sᵀ + α u)`,
    `S = (1-α) I + α W`."""
    alpha = outer.attribute("alpha")
    W = _factored_feedback(outer) if factored else outer.double("W")
    identity = outer.add("EyeLike", [W], "identity", dtype=_DOUBLE)
    one = outer.scalar("one", 1.0)
    rest = outer.add("Sub", [one, alpha], "one_minus_alpha")
    stay = outer.add("Mul", [identity, rest], "stay")
    move = outer.add("Mul", [W, alpha], "move")
    step = outer.add("Add", [stay, move], "step_matrix")
    outer.add("Transpose", [step], "step_transposed", perm=[1, 0])
    u = outer.double("u")
    outer.add("Mul", [u, alpha], "scaled_input")

    inner = _Nodes(prefix="loop_")
    moved = inner.add("MatMul", ["loop_z_in", "step_transposed"], "moved")
    shifted = inner.add("Add", [moved, "scaled_input"], "shifted")
    inner.add("Relu", [shifted], "z_new")
    _loop(outer, inner, axes=[1])
    outer.add("CastLike", ["z_solved", "u"], "z")


def _factored_feedback(outer: _Nodes) -> str:
    """`W = (1-m) I - PᵀP + Q - Qᵀ` in double precision."""
    P, Q, m = outer.double("P"), outer.double("Q"), outer.attribute("m")
    transposed = outer.add("Transpose", [P], "P_transposed", perm=[1, 0])
    gram = outer.add("MatMul", [transposed, P], "gram")
    eye = outer.add("EyeLike", [gram], "factored_identity", dtype=_DOUBLE)
    unit = outer.scalar("factored_one", 1.0)
    weight = outer.add("Sub", [unit, m], "one_minus_m")
    diagonal = outer.add("Mul", [eye, weight], "diagonal")
    symmetric = outer.add("Sub", [diagonal, gram], "symmetric_part")
    Q_transposed = outer.add("Transpose", [Q], "Q_transposed", perm=[1, 0])
    skew = outer.add("Sub", [Q, Q_transposed], "skew_part")
    return outer.add("Add", [symmetric, skew], "W_double")


def _convolutional_body(outer: _Nodes, factored: bool) -> None:
    """Nodes of the convolutional operators.

    Inside, `z` is `[N, H*W, C]`, and a circular correlation is one `Gather` of the `k*k`
    neighbours and one `MatMul` (stock onnxruntime has no double-precision `Conv`).
    """
    alpha = outer.attribute("alpha")
    one = outer.scalar("one", 1.0)
    kernel = "P" if factored else "K"
    _neighbour_index(outer, kernel)
    u = outer.double("u")
    scaled = outer.add("Mul", [_to_positions(outer, u, "u"), alpha], "scaled_input")
    mask = outer.double("mask")
    spatial = outer.add("Transpose", [mask], "mask_last", perm=[1, 2, 0])
    flat = outer.integers("mask_shape", 1, -1)
    channels = outer.add("Shape", [spatial], "mask_channels", start=2)
    shape = outer.add("Concat", [flat, channels], "mask_positions_shape", axis=0)
    outer.add("Reshape", [spatial, shape], "mask_positions")

    inner = _Nodes(prefix="loop_")
    if factored:
        keep = _factored_steps(outer, inner, alpha, one)
    else:
        keep = outer.add("Sub", [one, alpha], "keep")
        K = outer.add("Mul", [_kernel_matrix(outer, outer.double("K"), "K"), alpha], "K_scaled")
        inner.add("MatMul", [_neighbours(inner, "loop_z_in", "z"), K], "pushed")
    kept = inner.add("Mul", ["loop_z_in", keep], "kept")
    moved = inner.add("Add", [kept, "loop_pushed"], "moved")
    shifted = inner.add("Add", [moved, scaled], "shifted")
    positive = inner.add("Relu", [shifted], "positive")
    inner.add("Mul", [positive, "mask_positions"], "z_new")
    _loop(outer, inner, axes=[1, 2])
    back = outer.add("Transpose", ["z_solved"], "z_channels_first", perm=[0, 2, 1])
    full = outer.add("Shape", ["u"], "u_shape")
    shaped = outer.add("Reshape", [back, full], "z_shaped")
    outer.add("CastLike", [shaped, "u"], "z")


def _factored_steps(outer: _Nodes, inner: _Nodes, alpha: str, one: str) -> str:
    """The inner product `α (Q - Qᵀ - PᵀP) z` under the name `loop_pushed`; returns the scalar
    `1 - α m` that multiplies `z`."""
    scaled_m = outer.add("Mul", [alpha, outer.attribute("m")], "alpha_m")
    keep = outer.add("Sub", [one, scaled_m], "keep")
    P, Q = outer.double("P"), outer.double("Q")
    skew = outer.add("Sub", [Q, _transposed_kernel(outer, Q, "Q")], "skew_kernel")
    skew = outer.add("Mul", [skew, alpha], "skew_scaled")
    back = outer.add("Mul", [_transposed_kernel(outer, P, "P"), alpha], "P_back_scaled")
    forward = _kernel_matrix(outer, P, "P")
    skew_matrix = _kernel_matrix(outer, skew, "skew")
    back_matrix = _kernel_matrix(outer, back, "P_back")
    near = _neighbours(inner, "loop_z_in", "z")
    turned = inner.add("MatMul", [near, skew_matrix], "turned")
    once = inner.add("MatMul", [near, forward], "P_once")
    twice = inner.add("MatMul", [_neighbours(inner, once, "P"), back_matrix], "P_twice")
    inner.add("Sub", [turned, twice], "pushed")
    return keep


def _transposed_kernel(nodes: _Nodes, kernel: str, name: str) -> str:
    """The kernel of the transposed circular correlation: channels swapped, both axes flipped."""
    swapped = nodes.add("Transpose", [kernel], name + "_swapped", perm=[1, 0, 2, 3])
    start = nodes.integers(name + "_flip_start", -1, -1)
    end = nodes.integers(name + "_flip_end", -(2**62), -(2**62))
    axes = nodes.integers(name + "_flip_axes", 2, 3)
    step = nodes.integers(name + "_flip_step", -1, -1)
    return nodes.add("Slice", [swapped, start, end, axes, step], name + "_flipped")


def _kernel_matrix(nodes: _Nodes, kernel: str, name: str) -> str:
    """`[C_out, C_in, k, k]` as the `[k*k*C_in, C_out]` matrix that meets `_neighbours`."""
    last = nodes.add("Transpose", [kernel], name + "_last", perm=[2, 3, 1, 0])
    flat = nodes.integers(name + "_flat", -1)
    channels = nodes.add("Shape", [last], name + "_channels", start=3)
    shape = nodes.add("Concat", [flat, channels], name + "_matrix_shape", axis=0)
    return nodes.add("Reshape", [last, shape], name + "_matrix")


def _to_positions(nodes: _Nodes, image: str, name: str) -> str:
    """`[N, C, H, W]` to `[N, H*W, C]`."""
    shape = nodes.integers(name + "_flat_shape", 0, 0, -1)
    flat = nodes.add("Reshape", [image, shape], name + "_flat")
    return nodes.add("Transpose", [flat], name + "_positions", perm=[0, 2, 1])


def _neighbours(nodes: _Nodes, positions: str, name: str) -> str:
    """`[N, H*W, C]` to `[N, H*W, k*k*C]`: the wrapped neighbourhood of every position."""
    gathered = nodes.add("Gather", [positions, "neighbour_index"], name + "_gathered", axis=1)
    return nodes.add("Reshape", [gathered, "neighbour_shape"], name + "_neighbours")


def _neighbour_index(nodes: _Nodes, kernel: str) -> None:
    """`neighbour_index[i*W + j, a*k + b] = ((i+a-r) mod H) * W + (j+b-r) mod W`, `r = (k-1)/2`."""
    nodes.integers("neighbour_shape", 0, 0, -1)
    parts = {}
    for axis, name in ((2, "height"), (3, "width")):
        size = nodes.add("Shape", ["u"], name, start=axis, end=axis + 1)
        reach = nodes.add("Shape", [kernel], name + "_kernel", start=axis, end=axis + 1)
        start = nodes.add("Constant", [], name + "_zero", value_int=0)
        delta = nodes.add("Constant", [], name + "_one", value_int=1)
        two = nodes.add("Constant", [], name + "_two", value_int=2)
        scalar = nodes.add("Squeeze", [size], name + "_scalar")
        reach_scalar = nodes.add("Squeeze", [reach], name + "_kernel_scalar")
        place = nodes.add("Range", [start, scalar, delta], name + "_range")
        offset = nodes.add("Range", [start, reach_scalar, delta], name + "_kernel_range")
        half = nodes.add("Div", [reach_scalar, two], name + "_half")
        centred = nodes.add("Sub", [offset, half], name + "_offsets")
        column = nodes.integers(name + "_column", -1, 1)
        places = nodes.add("Reshape", [place, column], name + "_places")
        total = nodes.add("Add", [places, centred], name + "_unwrapped")
        parts[name] = nodes.add("Mod", [total, scalar], name + "_index")
    rows = nodes.add("Mul", [parts["height"], "width_scalar"], "row_start")
    row_axes = nodes.integers("row_axes", 1, 3)
    column_axes = nodes.integers("column_axes", 0, 2)
    rows = nodes.add("Unsqueeze", [rows, row_axes], "row_index")
    columns = nodes.add("Unsqueeze", [parts["width"], column_axes], "column_index")
    index = nodes.add("Add", [rows, columns], "index_grid")
    positions = nodes.add("Mul", ["height", "width"], "position_count")
    flat = nodes.integers("index_flat", -1)
    shape = nodes.add("Concat", [positions, flat], "index_shape", axis=0)
    nodes.add("Reshape", [index, shape], "neighbour_index")


def _loop(outer: _Nodes, inner: _Nodes, axes: list[int]) -> None:
    """Close the loop around `inner`, which computes `loop_z_new` from `loop_z_in`.

    Reads `scaled_input` (the start, after ReLU); writes `z_solved`. `axes`: all but the batch.
    """
    tolerance = outer.attribute("tol")
    row_axes = outer.integers("row_axes_of_z", *axes)
    unit = outer.scalar("unit_scale", 1.0)
    change = inner.add("Sub", ["loop_z_new", "loop_z_in"], "change")
    size = inner.add("Abs", [change], "change_size")
    largest = inner.add("ReduceMax", [size, row_axes], "largest_change", keepdims=1)
    height = inner.add("ReduceMax", ["loop_z_new", row_axes], "largest_neuron", keepdims=1)
    scale = inner.add("Max", [height, unit], "scale")
    limit = inner.add("Mul", [scale, tolerance], "limit")
    moving = inner.add("Greater", [largest, limit], "moving")
    inner.add("Where", ["loop_active_in", "loop_z_new", "loop_z_in"], "z_out")
    active = inner.add("And", ["loop_active_in", moving], "active_out")
    number = inner.add("Cast", [active], "active_number", to=TensorProto.INT32)
    most = inner.add("ReduceMax", [number], "any_active_number", keepdims=0)
    inner.add("Cast", [most], "condition_out", to=TensorProto.BOOL)

    start = outer.add("Relu", ["scaled_input"], "unmasked_start")
    if any(node.output[0] == "mask_positions" for node in outer.nodes):
        start = outer.add("Mul", [start, "mask_positions"], "masked_start")
    peak = outer.add("ReduceMax", [start, row_axes], "start_peak", keepdims=1)
    all_active = outer.add("Equal", [peak, peak], "start_active")
    limit_name = _iteration_limit(outer)
    truth = helper.make_tensor("truth", TensorProto.BOOL, [], [True])
    outer.add("Constant", [], "truth", value=truth)
    loop = helper.make_node(
        "Loop",
        [limit_name, "truth", start, all_active],
        ["z_solved", "active_end"],
        body=_loop_graph(inner),
    )
    outer.nodes.append(loop)


def _iteration_limit(outer: _Nodes) -> str:
    constant = helper.make_node("Constant", [], ["iteration_limit"])
    reference = onnx.AttributeProto()
    reference.name = "value_int"
    reference.type = onnx.AttributeProto.INT
    reference.ref_attr_name = "max_iter"
    constant.attribute.append(reference)
    outer.nodes.append(constant)
    return "iteration_limit"


def _loop_graph(inner: _Nodes) -> GraphProto:
    """The body graph; shapes are left open because one text serves every size."""
    return helper.make_graph(
        inner.nodes,
        "forward_backward_step",
        [
            helper.make_tensor_value_info("loop_iteration", TensorProto.INT64, []),
            helper.make_tensor_value_info("loop_condition_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("loop_z_in", _DOUBLE, None),
            helper.make_tensor_value_info("loop_active_in", TensorProto.BOOL, None),
        ],
        [
            helper.make_tensor_value_info("loop_condition_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("loop_z_out", _DOUBLE, None),
            helper.make_tensor_value_info("loop_active_out", TensorProto.BOOL, None),
        ],
    )
