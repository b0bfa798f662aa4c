"""ONNX models from raw arrays in the layouts of the published monDEQs.

Fully connected: `A (k, p)`, `B (p, p)`, `m` (or `W (p, p)`), `U (p, d)`, `u (p,)`, `C (q, p)`,
`c (q,)`, and perhaps `mean`, `std`: `W = (1-m) I - AᵀA + B - Bᵀ`.

Convolutional: `U_kernel (C, C₀, k, k)`, `U_bias`, `stride`, `A_kernel`, `B_kernel`, `g`, `h`, `m`,
`z_shape (C, H, W)`, `C`, `c`, and perhaps `mean`, `std`, `zero_padding` (0), `pool` (2): circular
padding by 1 in front of the input convolution (of the image that `zero_padding` has enlarged on
every side), `P = sqrt(g) A/‖A‖`, `Q = h B/‖B‖`, the outer ring of `z` masked, average pooling over
`pool x pool` before the last layer.

The weights are rounded to float32; the file, not the arrays, is then the network. Fully connected
nets compute their sums over inputs and neurons in double precision between casts: a float32 sum
of 3072 products may err by 3072 roundings in the worst case, which a proof would have to allow for
(0.4 in a difference of two logits of the CIFAR-10 net, instead of 0.0001).
"""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import onnx

from vnn_mondeq.errors import ModelError
from vnn_mondeq.onnx_io.assemble import MAX_NEURONS
from vnn_mondeq.onnx_io.circular import circular_matrix, transposed_kernel
from vnn_mondeq.onnx_io.export_check import prove_readable
from vnn_mondeq.onnx_io.export_graph import ExportGraph

Form = Literal["factored", "W"]

_IMAGE_SIZES = {1: (28, 28), 3: (32, 32)}
"""Height and width assumed for a convolutional net by its input channels (MNIST, CIFAR-10)."""

_DENSE_KEYS = ("U", "u", "C", "c")
_CONVOLUTIONAL_KEYS = (
    *("U_kernel", "U_bias", "A_kernel", "B_kernel", "g", "h", "m"),
    *("stride", "z_shape", "C", "c"),
)


def export_arrays(
    arrays: Mapping[str, np.ndarray],
    *,
    form: Form = "factored",
    image_size: tuple[int, int] | None = None,
    input_shape: tuple[int, ...] | None = None,
    check: bool = True,
) -> onnx.ModelProto:
    """The model of the arrays, with a batch dimension `N`, input `x` and output `y`.

    Fully connected nets take `[N, d]`, convolutional ones `[N, C, H, W]`; with `mean` and `std`
    the input is the raw image and the graph begins with the normalisation.

    **Arguments:**

    - `form`: store `(P, Q, m)` or the feedback operator itself (`"W"`; float32 rounding then
      costs a little of the monotonicity modulus).
    - `image_size`: height and width, convolutional nets only; by default 28x28 for one channel
      and 32x32 for three. An error where that does not give `z_shape`.
    - `input_shape`: fully connected nets only; of one input that the graph flattens, `(d,)` if
      not given.
    - `check`: read the model as the verifier does. Without it, a model may be returned that is
      not monotone or too large.

    **Raises** `ModelError` when arrays are missing or do not fit each other, or the verifier
    would refuse the model (`NotMonotoneError`: its fixpoint is not proved unique).
    """
    if form not in ("factored", "W"):
        raise ModelError(f"form must be 'factored' or 'W', not {form!r}")
    values = {key: np.asarray(arrays[key]) for key in arrays}
    if "U_kernel" in values:
        model = _convolutional_model(values, form, image_size)
    else:
        model = _dense_model(values, form, input_shape)
    if check:
        prove_readable(model)
    return model


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


def _dense_model(
    arrays: Mapping[str, np.ndarray], form: Form, input_shape: tuple[int, ...] | None
) -> onnx.ModelProto:
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
    input_shape = (d,) if input_shape is None else input_shape
    if math.prod(input_shape) != d:
        raise ModelError(f"inputs of shape {list(input_shape)} do not have the {d} entries of U")

    graph = ExportGraph()
    flat = "x" if len(input_shape) == 1 else graph.add("Flatten", ["x"], "x_flat", axis=1)
    x = graph.normalise(flat, arrays, (d,), wide=True)
    graph.weight("U", U), graph.weight("u", arrays["u"])
    graph.wide_gemm(x, "U", "u", "Ux")
    operator, weights, attributes, W = _dense_operator(graph, arrays, form)
    z = graph.mondeq(operator, ["Ux", *weights], attributes, W, (p,))
    graph.weight("C", C), graph.weight("c", arrays["c"])
    graph.wide_gemm(graph.wide(z), "C", "c", "y")
    return graph.model(operator, input_shape, q)


def _dense_operator(
    graph: ExportGraph, arrays: Mapping[str, np.ndarray], form: Form
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


def _convolutional_model(
    arrays: Mapping[str, np.ndarray], form: Form, image_size: tuple[int, int] | None
) -> onnx.ModelProto:
    _require(arrays, _CONVOLUTIONAL_KEYS)
    if arrays["U_kernel"].ndim != 4:
        raise ModelError(f"U_kernel must be 4-dimensional, not {list(arrays['U_kernel'].shape)}")
    inputs = arrays["U_kernel"].shape[1]
    image = _image_size(inputs, image_size)
    stride, zeros, pool = (
        int(arrays.get(k, d)) for k, d in (("stride", 1), ("zero_padding", 0), ("pool", 2))
    )
    z_shape = _check_convolution(arrays, image, stride, zeros, pool)
    graph = ExportGraph()
    x = graph.normalise("x", arrays, (inputs, *image), wide=False)
    if zeros:
        graph.integers("zero_pads", 0, 0, zeros, zeros, 0, 0, zeros, zeros)
        x = graph.add("Pad", [x, "zero_pads"], "x_enlarged", mode="constant")
    graph.pad_circularly(x)
    graph.weight("U", arrays["U_kernel"]), graph.weight("u", arrays["U_bias"])
    graph.add("Conv", ["x_padded", "U", "u"], "Ux", strides=[stride, stride])
    mask = np.zeros((1, *z_shape[1:]), dtype=np.float32)
    mask[:, 1:-1, 1:-1] = 1.0
    graph.weight("mask", mask)
    operator, weights, attributes, W = _convolutional_operator(graph, arrays, form, z_shape)
    kept = np.flatnonzero(np.broadcast_to(mask, z_shape))
    z = graph.mondeq(operator, ["Ux", *weights, "mask"], attributes, W[np.ix_(kept, kept)], z_shape)
    graph.add("AveragePool", [z], "pooled", kernel_shape=[pool, pool], strides=[pool, pool])
    graph.add("Flatten", ["pooled"], "features", axis=1)
    graph.weight("C", arrays["C"]), graph.weight("c", arrays["c"])
    graph.add("Gemm", ["features", "C", "c"], "y", transB=1)
    return graph.model(operator, (inputs, *image), arrays["c"].size)


def _check_convolution(
    arrays: Mapping[str, np.ndarray], image: tuple[int, int], stride: int, zeros: int, pool: int
) -> tuple[int, ...]:
    """The shape of `z`. **Raises** `ModelError` naming every array that does not fit."""
    if stride < 1 or zeros < 0 or pool < 1:
        raise ModelError(f"stride {stride}, zero_padding {zeros} or pool {pool} is out of range")
    channels, _, reach, _ = arrays["U_kernel"].shape
    z_shape = tuple(int(n) for n in arrays["z_shape"])
    expected = (channels, *((n + 2 * zeros + 2 - reach) // stride + 1 for n in image))
    pooled = channels * (z_shape[1] // pool) * (z_shape[2] // pool) if len(z_shape) == 3 else -1
    kernels = arrays["A_kernel"].shape
    _check_shapes(
        {
            "z_shape": (z_shape, expected),
            "C": (arrays["C"].shape, (arrays["c"].size, pooled)),
            "U_bias": (arrays["U_bias"].shape, (channels,)),
            "A_kernel": (kernels[:2], (channels, channels)),
            "B_kernel": (arrays["B_kernel"].shape, kernels),
        }
    )
    if math.prod(z_shape) > MAX_NEURONS:
        raise ModelError(
            f"z has {math.prod(z_shape)} entries, and W is held as a dense matrix of at most "
            f"{MAX_NEURONS} neurons; train with fewer channels or a larger stride"
        )
    return z_shape


def _image_size(channels: int, given: tuple[int, int] | None) -> tuple[int, int]:
    if given is not None:
        return given
    if channels not in _IMAGE_SIZES:
        raise ModelError(
            f"the image size of a net with {channels} input channels must be given (image_size)"
        )
    return _IMAGE_SIZES[channels]


def _convolutional_operator(
    graph: ExportGraph, arrays: Mapping[str, np.ndarray], form: Form, z_shape: tuple[int, ...]
) -> tuple[str, list[str], dict[str, float], np.ndarray]:
    A, B = (np.asarray(arrays[key], dtype=np.float64) for key in ("A_kernel", "B_kernel"))
    m, g = float(np.float32(arrays["m"])), float(arrays["g"])
    sizes = [float(np.linalg.norm(kernel)) for kernel in (A, B)]
    if not (g >= 0.0 and all(size > 0.0 for size in sizes)):
        raise ModelError(
            f"P = sqrt(g) A/|A| and Q = h B/|B| need g >= 0 and kernels other than zero; g is "
            f"{g:.6g}, |A| {sizes[0]:.6g}, |B| {sizes[1]:.6g}"
        )
    P = np.sqrt(g) * A / sizes[0]
    Q = float(arrays["h"]) * B / sizes[1]
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
