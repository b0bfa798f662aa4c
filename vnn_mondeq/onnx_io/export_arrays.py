"""ONNX models from raw arrays in the layouts of the published monDEQs.

Fully connected: `A (k, p)`, `B (p, p)`, `m` (or `W (p, p)`), `U (p, d)`, `u (p,)`, `C (q, p)`,
`c (q,)`, and perhaps `mean`, `std`: `W = (1-m) I - AᵀA + B - Bᵀ`.

Convolutional: `U_kernel (C, C₀, k, k)`, `U_bias`, `stride`, `A_kernel`, `B_kernel`, `g`, `h`, `m`,
`z_shape (C, H, W)`, `C`, `c`, and perhaps `mean`, `std`: circular padding by 1 in front of the
input convolution, `P = sqrt(g) A/‖A‖`, `Q = h B/‖B‖`, the outer ring of `z` masked, 2x2 average
pooling before the last layer.

The weights are rounded to float32; the file, not the arrays, is then the network. Fully connected
nets compute their sums over inputs and neurons in double precision between casts: a float32 sum
of 3072 products may err by 3072 roundings in the worst case, which a proof would have to allow for
(0.4 in a difference of two logits of the CIFAR-10 net, instead of 0.0001).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from vnn_mondeq.errors import ModelError
from vnn_mondeq.onnx_io.circular import circular_matrix, transposed_kernel
from vnn_mondeq.onnx_io.function_body import function_body
from vnn_mondeq.onnx_io.operator import DEFAULT_TOLERANCE, DOMAIN, IR_VERSION, OPSET, VERSION
from vnn_mondeq.onnx_io.step_size import choose_alpha, step_limit

Form = Literal["factored", "W"]

_IMAGE_SIZES = {1: (28, 28), 3: (32, 32)}
"""Height and width assumed for a convolutional net by its input channels (MNIST, CIFAR-10)."""

_DENSE_KEYS = ("U", "u", "C", "c")
_CONVOLUTIONAL_KEYS = (
    *("U_kernel", "U_bias", "A_kernel", "B_kernel", "g", "h", "m"),
    *("stride", "z_shape", "C", "c"),
)


@final
@dataclass(slots=True)
class _Graph:
    """A graph under construction, float32."""

    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    values: list[ValueInfoProto] = field(default_factory=list)

    def weight(self, name: str, value: np.ndarray) -> str:
        array = np.asarray(value)
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                array = array.astype(np.float32)
            if not np.all(np.isfinite(array)):
                raise ModelError(f"array {name!r} has entries that are not finite in float32")
        self.weights[name] = array
        return name

    def wide(self, name: str) -> str:
        """A tensor in double precision."""
        return self.add("Cast", [name], f"{name}_wide", to=TensorProto.DOUBLE)

    def add(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        name = f"{operator}_{output}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name, **attributes))
        return output


def export_arrays(
    arrays: Mapping[str, np.ndarray],
    *,
    form: Form = "factored",
    image_size: tuple[int, int] | None = None,
) -> onnx.ModelProto:
    """The model of the arrays, with a batch dimension `N`, input `x` and output `y`.

    Fully connected nets take `[N, d]`, convolutional ones `[N, C, H, W]`; with `mean` and `std`
    the input is the raw image and the graph begins with the normalisation.

    **Arguments:**

    - `form`: store `(P, Q, m)` or the feedback operator itself (`"W"`; float32 rounding then
      costs a little of the monotonicity modulus).
    - `image_size`: height and width, convolutional nets only; by default 28x28 for one channel
      and 32x32 for three. An error where that does not give `z_shape`.

    **Raises** `ModelError` when arrays are missing or do not fit each other.
    """
    if form not in ("factored", "W"):
        raise ModelError(f"form must be 'factored' or 'W', not {form!r}")
    values = {key: np.asarray(arrays[key]) for key in arrays}
    if "U_kernel" in values:
        return _convolutional_model(values, form, image_size)
    return _dense_model(values, form)


def _require(arrays: Mapping[str, np.ndarray], keys: tuple[str, ...]) -> None:
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise ModelError(
            f"the weights lack {', '.join(missing)}; a fully connected net needs U, u, C, c and "
            "either W or A, B, m; a convolutional one needs " + ", ".join(_CONVOLUTIONAL_KEYS)
        )


def _check_shapes(shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    """`shapes`: name → (actual, expected). **Raises** `ModelError` naming each that differs."""
    wrong = [f"{k} is {list(a)}, not {list(e)}" for k, (a, e) in shapes.items() if a != e]
    if wrong:
        raise ModelError("arrays do not fit each other: " + "; ".join(wrong))


def _normalise(
    graph: _Graph, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], *, wide: bool
) -> str:
    """`(x - mean) / std` where both are given, in double precision if `wide`.

    `shape`: of one input without the batch.
    """
    x = graph.wide("x") if wide else "x"
    if ("mean" in arrays) != ("std" in arrays):
        raise ModelError("the weights have only one of mean and std; give both or neither")
    if "mean" not in arrays:
        return x
    mean, std = np.atleast_1d(arrays["mean"]), np.atleast_1d(arrays["std"])
    channels, size = mean.size, shape[0]
    if mean.shape != std.shape or mean.ndim != 1 or size % channels:
        raise ModelError(
            f"mean {list(mean.shape)} and std {list(std.shape)} do not fit inputs {list(shape)}"
        )
    if not np.all(std.astype(np.float32) > 0.0):
        raise ModelError("std has entries that are not positive")
    repeat = 1 if len(shape) > 1 else size // channels
    target = (1, -1) + (1,) * (len(shape) - 1)
    names = []
    for name, values in (("mean", mean), ("std", std)):
        graph.weight(name, np.repeat(values, repeat).reshape(target))
        names.append(graph.wide(name) if wide else name)
    graph.add("Sub", [x, names[0]], "x_centred")
    return graph.add("Div", ["x_centred", names[1]], "x_normalised")


def _dense_model(arrays: Mapping[str, np.ndarray], form: Form) -> onnx.ModelProto:
    _require(arrays, _DENSE_KEYS + (() if "W" in arrays else ("A", "B", "m")))
    U, C = arrays["U"], arrays["C"]
    if U.ndim != 2 or C.ndim != 2:
        raise ModelError(f"U and C must be matrices, not {list(U.shape)} and {list(C.shape)}")
    p, d, q = U.shape[0], U.shape[1], C.shape[0]
    expected = {"u": (p,), "C": (q, p), "c": (q,)}
    expected |= {"W": (p, p)} if "W" in arrays else {"B": (p, p), "m": ()}
    _check_shapes({key: (arrays[key].shape, shape) for key, shape in expected.items()})
    if "W" not in arrays and (arrays["A"].ndim != 2 or arrays["A"].shape[1] != p):
        raise ModelError(f"A must be [k, {p}], not {list(arrays['A'].shape)}")

    graph = _Graph()
    x = _normalise(graph, arrays, (d,), wide=True)
    graph.weight("U", U), graph.weight("u", arrays["u"])
    _wide_gemm(graph, x, "U", "u", "Ux")
    operator, weights, attributes, W = _dense_operator(graph, arrays, form)
    _add_mondeq(graph, operator, ["Ux", *weights], attributes, W, (p,))
    graph.weight("C", C), graph.weight("c", arrays["c"])
    _wide_gemm(graph, graph.wide("z"), "C", "c", "y")
    return _model(graph, operator, (d,), q)


def _wide_gemm(graph: _Graph, x: str, weight: str, bias: str, output: str) -> None:
    """`output = weight x + bias` in double precision, for a double `x`, rounded to float32."""
    inputs = [x, graph.wide(weight), graph.wide(bias)]
    graph.add("Gemm", inputs, f"{output}_double", transB=1)
    graph.add("Cast", [f"{output}_double"], output, to=TensorProto.FLOAT)


def _dense_operator(
    graph: _Graph, arrays: Mapping[str, np.ndarray], form: Form
) -> tuple[str, list[str], dict[str, float], np.ndarray]:
    """Operator, weight names, attributes, and the feedback matrix that the file will mean."""
    if "W" in arrays or form == "W":
        W = arrays["W"] if "W" in arrays else factored_matrix(arrays["A"], arrays["B"], arrays["m"])
        graph.weight("W", W)
        return "MonDEQ", ["W"], {}, graph.weights["W"].astype(np.float64)
    P, Q = graph.weight("P", arrays["A"]), graph.weight("Q", arrays["B"])
    m = float(np.float32(arrays["m"]))
    W = factored_matrix(graph.weights[P], graph.weights[Q], m)
    return "MonDEQFactored", [P, Q], {"m": m}, W


def factored_matrix(P: np.ndarray, Q: np.ndarray, m: float) -> np.ndarray:
    """`(1-m) I - PᵀP + Q - Qᵀ` in float64, `P (k, p)`, `Q (p, p)`; rounding not bounded here."""
    P, Q = np.asarray(P, dtype=np.float64), np.asarray(Q, dtype=np.float64)
    return (1.0 - float(m)) * np.eye(Q.shape[0]) - P.T @ P + Q - Q.T


def _add_mondeq(
    graph: _Graph,
    operator: str,
    inputs: list[str],
    attributes: dict[str, float],
    W: np.ndarray,
    shape: tuple[int, ...],
) -> None:
    alpha = choose_alpha(W)
    graph.add(
        operator,
        inputs,
        "z",
        domain=DOMAIN,
        alpha=alpha,
        tol=DEFAULT_TOLERANCE,
        max_iter=step_limit(W, alpha, DEFAULT_TOLERANCE),
        **attributes,
    )
    graph.values.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", *shape]))


def _convolutional_model(
    arrays: Mapping[str, np.ndarray], form: Form, image_size: tuple[int, int] | None
) -> onnx.ModelProto:
    _require(arrays, _CONVOLUTIONAL_KEYS)
    if arrays["U_kernel"].ndim != 4:
        raise ModelError(f"U_kernel must be 4-dimensional, not {list(arrays['U_kernel'].shape)}")
    channels, inputs, reach, _ = arrays["U_kernel"].shape
    z_shape = tuple(int(n) for n in arrays["z_shape"])
    q, stride = arrays["c"].size, int(arrays["stride"])
    height, width = _image_size(inputs, image_size)
    expected = (channels, (height + 2 - reach) // stride + 1, (width + 2 - reach) // stride + 1)
    pooled = channels * (z_shape[1] // 2) * (z_shape[2] // 2) if len(z_shape) == 3 else -1
    kernels = arrays["A_kernel"].shape
    _check_shapes(
        {
            "z_shape": (z_shape, expected),
            "C": (arrays["C"].shape, (q, pooled)),
            "U_bias": (arrays["U_bias"].shape, (channels,)),
            "A_kernel": (kernels[:2], (channels, channels)),
            "B_kernel": (arrays["B_kernel"].shape, kernels),
        }
    )
    graph = _Graph()
    x = _normalise(graph, arrays, (inputs, height, width), wide=False)
    _pad_circularly(graph, x)
    graph.weight("U", arrays["U_kernel"]), graph.weight("u", arrays["U_bias"])
    graph.add("Conv", ["x_padded", "U", "u"], "Ux", strides=[stride, stride])
    mask = np.zeros((1, *z_shape[1:]), dtype=np.float32)
    mask[:, 1:-1, 1:-1] = 1.0
    graph.weight("mask", mask)
    operator, weights, attributes, W = _convolutional_operator(graph, arrays, form, z_shape)
    kept = np.flatnonzero(np.broadcast_to(mask, z_shape))
    reduced = W[np.ix_(kept, kept)]
    _add_mondeq(graph, operator, ["Ux", *weights, "mask"], attributes, reduced, z_shape)
    graph.add("AveragePool", ["z"], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    graph.add("Flatten", ["pooled"], "features", axis=1)
    graph.weight("C", arrays["C"]), graph.weight("c", arrays["c"])
    graph.add("Gemm", ["features", "C", "c"], "y", transB=1)
    return _model(graph, operator, (inputs, height, width), q)


def _pad_circularly(graph: _Graph, x: str) -> None:
    """`x_padded`: one wrapped row and column on every side, as slices put together, because
    `Pad` wraps only since opset 19."""
    for name, value in (("first", 0), ("second", 1), ("last", -1), ("end", 2**62)):
        graph.weight(name, np.array([value], dtype=np.int64))
    for axis, before, after in ((2, x, "x_tall"), (3, "x_tall", "x_padded")):
        graph.weight(f"axis_{axis}", np.array([axis], dtype=np.int64))
        top = graph.add("Slice", [before, "last", "end", f"axis_{axis}"], f"{after}_before")
        low = graph.add("Slice", [before, "first", "second", f"axis_{axis}"], f"{after}_after")
        graph.add("Concat", [top, before, low], after, axis=axis)


def _image_size(channels: int, given: tuple[int, int] | None) -> tuple[int, int]:
    if given is not None:
        return given
    if channels not in _IMAGE_SIZES:
        raise ModelError(
            f"the image size of a net with {channels} input channels must be given (image_size)"
        )
    return _IMAGE_SIZES[channels]


def _convolutional_operator(
    graph: _Graph, arrays: Mapping[str, np.ndarray], form: Form, z_shape: tuple[int, ...]
) -> tuple[str, list[str], dict[str, float], np.ndarray]:
    A, B = (np.asarray(arrays[key], dtype=np.float64) for key in ("A_kernel", "B_kernel"))
    m = float(np.float32(arrays["m"]))
    P = np.sqrt(float(arrays["g"])) * A / np.linalg.norm(A)
    Q = float(arrays["h"]) * B / np.linalg.norm(B)
    if form == "W":
        graph.weight("K", composed_kernel(P, Q, float(arrays["m"])))
        return "MonDEQConv", ["K"], {}, circular_matrix(graph.weights["K"], z_shape)
    graph.weight("P", P), graph.weight("Q", Q)
    return (
        "MonDEQConvFactored",
        ["P", "Q"],
        {"m": m},
        factored_matrix(
            circular_matrix(graph.weights["P"], z_shape),
            circular_matrix(graph.weights["Q"], z_shape),
            m,
        ),
    )


def composed_kernel(P: np.ndarray, Q: np.ndarray, m: float) -> np.ndarray:
    """The single kernel `[C, C, 2k-1, 2k-1]` of `(1-m) I - PᵀP + Q - Qᵀ` on a large enough torus,
    from kernels `[C, C, k, k]`; float64, rounding not bounded."""
    channels, _, reach, _ = P.shape
    half = reach // 2
    size = 2 * reach - 1
    kernel = np.zeros((channels, channels, size, size))
    # (PᵀP)[o, i, s] = sum over t of P[c, o, t] P[c, i, t + s]: offsets subtract.
    for a in np.ndindex(reach, reach):
        for b in np.ndindex(reach, reach):
            row, column = b[0] - a[0] + 2 * half, b[1] - a[1] + 2 * half
            kernel[:, :, row, column] -= P[:, :, a[0], a[1]].T @ P[:, :, b[0], b[1]]
    middle = slice(half, half + reach)
    kernel[:, :, middle, middle] += Q - transposed_kernel(Q)
    kernel[:, :, 2 * half, 2 * half] += (1.0 - m) * np.eye(channels)
    return kernel


def _model(
    graph: _Graph, operator: str, input_shape: tuple[int, ...], outputs: int
) -> onnx.ModelProto:
    proto = helper.make_graph(
        graph.nodes,
        "mondeq",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *input_shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", outputs])],
        [numpy_helper.from_array(value, name) for name, value in graph.weights.items()],
        value_info=graph.values,
    )
    return helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)],
        functions=[function_body(operator)],
        ir_version=IR_VERSION,
        producer_name="vnn_mondeq",
    )
