"""`MultiConvNet` of monotone_op_net: several convolutional equilibrium layers, one fixpoint.

With `A_i`, `B_i` circular 3x3 convolutions of layer `i` and `N_i` the convolution of stride 2 from
layer `i` to the next, its output enlarged by a last row and column of zeros (Winston & Kolter 2020,
appendix; `MONMultiConv.multiply`):

    (W z)_i = (1-m) z_i - A_iᵀA_i z_i + B_i z_i - B_iᵀ z_i - N_iᵀN_i z_i - 2 A_iᵀ N_{i-1} z_{i-1}

The input drives layer 0 alone, and the outer ring of every `z_i` is zero. The symmetric part of
`I - W` is `m I + GᵀG` with the block rows `(… N_{i-1}, A_i …)` of `G`, so it is monotone.

Such a `W` is no convolution, so it is unrolled over the neurons inside of the rings and stored as
a dense `MonDEQ`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from vnn_mondeq.errors import InputError
from vnn_mondeq.interop.checkpoint import require_keys
from vnn_mondeq.onnx_io.circular import circular_matrix
from vnn_mondeq.onnx_io.export_graph import ExportGraph

if TYPE_CHECKING:
    import onnx

MAX_UNROLLED = 6000
"""Neurons, rings included: 144 MB of float32 weights, and a few GB while they are computed."""

_LAYER = "mon.linear_module."


def export_multi_conv(
    place: str, state: Mapping[str, np.ndarray], m: float, image: tuple[int, int]
) -> "onnx.ModelProto":
    """The model `x [N, C, H, W]` of a checkpoint's tensors, with `mean`, `std` if they are there.

    **Raises** `InputError` for missing or extra keys, shapes that do not fit, or too many neurons.
    """
    layers = _count(place, state)
    if image[0] != image[1]:
        raise InputError(f"{place}: MultiConvNet takes square images, not {image[0]}x{image[1]}")
    channels = [state[f"{_LAYER}A0.{i}.weight"].shape[0] for i in range(layers)]
    sizes = [image[0] // 2**i + 2 for i in range(layers)]
    if any(n % 2 for n in sizes[:-1]):
        raise InputError(
            f"{place}: {layers} layers need images of a size that can be halved {layers - 1} times"
        )
    grids = [(c, n, n) for c, n in zip(channels, sizes, strict=True)]
    _check_shapes(place, state, grids)
    total = sum(c * n * n for c, n, _ in grids)
    if total > MAX_UNROLLED:
        raise InputError(
            f"{place}: the unrolled feedback matrix has {total} rows; at most {MAX_UNROLLED} fit"
        )
    inner = [_inner(grid) for grid in grids]
    W = _feedback(state, grids, inner, m)
    return _graph(state, W, inner, image)


def _count(place: str, state: Mapping[str, np.ndarray]) -> int:
    """The number of layers. **Raises** `InputError` unless the keys are those of so many."""
    layers = sum(key.startswith(f"{_LAYER}A0.") for key in state)
    expected = [f"{_LAYER}U.weight", f"{_LAYER}U.bias", "Wout.weight", "Wout.bias"]
    for i in range(layers):
        expected += [f"{_LAYER}{name}.{i}.weight" for name in ("A0", "B0")]
        expected += [f"{_LAYER}{name}.{i}" for name in ("g", "h")]
    for i in range(layers - 1):
        expected += [f"{_LAYER}A_n0.{i}.weight", f"{_LAYER}gn.{i}"]
    require_keys(place, state, expected, optional=("mean", "std"))
    if layers < 2:
        raise InputError(f"{place}: MultiConvNet has at least two layers, not {layers}")
    return layers


def _check_shapes(
    place: str, state: Mapping[str, np.ndarray], grids: list[tuple[int, int, int]]
) -> None:
    channels = [grid[0] for grid in grids]
    expected = {"U.weight": (channels[0], state[f"{_LAYER}U.weight"].shape[1], 3, 3)}
    expected["U.bias"] = (channels[0],)
    for i, c in enumerate(channels):
        expected |= {f"A0.{i}.weight": (c, c, 3, 3), f"B0.{i}.weight": (c, c, 3, 3)}
        if i + 1 < len(channels):
            expected[f"A_n0.{i}.weight"] = (channels[i + 1], c, 3, 3)
    wrong = [
        f"{key} is {list(state[_LAYER + key].shape)}, not {list(shape)}"
        for key, shape in expected.items()
        if state[_LAYER + key].shape != shape
    ]
    head = state["Wout.weight"].shape
    features = int(np.prod(grids[-1]))
    if len(head) != 2 or head[1] != features:
        wrong.append(f"Wout.weight is {list(head)}, not [classes, {features}] (--shape)")
    if wrong:
        raise InputError(f"{place}: tensors do not fit each other: {'; '.join(wrong)}")


def _inner(grid: tuple[int, int, int]) -> np.ndarray:
    """Positions inside of the ring, in the flattened grid."""
    inside = np.zeros(grid, dtype=bool)
    inside[:, 1:-1, 1:-1] = True
    return np.flatnonzero(inside)


def _scaled(state: Mapping[str, np.ndarray], kernel: str, weight: float) -> np.ndarray:
    """The kernel divided by its norm, times `weight`."""
    values = state[f"{_LAYER}{kernel}.weight"]
    return weight * values / np.linalg.norm(values)


def _root(state: Mapping[str, np.ndarray], name: str) -> float:
    value = float(state[_LAYER + name].reshape(()))
    if value < 0.0:
        raise InputError(
            f"{_LAYER}{name} is {value:.6g}; its square root is taken, so it must be >= 0"
        )
    return float(np.sqrt(value))


def _feedback(
    state: Mapping[str, np.ndarray],
    grids: list[tuple[int, int, int]],
    inner: list[np.ndarray],
    m: float,
) -> np.ndarray:
    """`W` over the inner neurons of all layers, float64."""
    starts = np.cumsum([0, *(len(kept) for kept in inner)])
    W = (1.0 - m) * np.eye(int(starts[-1]))
    coupling = None
    for i, grid in enumerate(grids):
        own = slice(starts[i], starts[i + 1])
        # Neurons in the ring are zero, so only columns drop out before a product is formed.
        A = circular_matrix(_scaled(state, f"A0.{i}", _root(state, f"g.{i}")), grid)[:, inner[i]]
        h = float(state[f"{_LAYER}h.{i}"].reshape(()))
        B = circular_matrix(_scaled(state, f"B0.{i}", h), grid)[np.ix_(inner[i], inner[i])]
        W[own, own] += B - B.T - A.T @ A
        if coupling is not None:
            W[own, starts[i - 1] : starts[i]] = -2.0 * A.T @ coupling
        if i + 1 < len(grids):
            kernel = _scaled(state, f"A_n0.{i}", _root(state, f"gn.{i}"))
            coupling = _strided(kernel, grid, grids[i + 1])[:, inner[i]]
            W[own, own] -= coupling.T @ coupling
    return W


def _strided(
    kernel: np.ndarray, grid: tuple[int, int, int], coarse: tuple[int, int, int]
) -> np.ndarray:
    """`N`: every second row and column of the circular correlation, on the top left of `coarse`."""
    outputs, size, n = kernel.shape[0], grid[1], coarse[1] - 1
    full = circular_matrix(kernel, grid).reshape(outputs, size, size, -1)
    rows = np.zeros((outputs, n + 1, n + 1, full.shape[-1]))
    rows[:, :n, :n] = full[:, : 2 * n : 2, : 2 * n : 2]
    return rows.reshape(outputs * (n + 1) ** 2, -1)


def _graph(
    state: Mapping[str, np.ndarray],
    W: np.ndarray,
    inner: list[np.ndarray],
    image: tuple[int, int],
) -> "onnx.ModelProto":
    graph = ExportGraph()
    kernel = state[f"{_LAYER}U.weight"]
    inputs, neurons = kernel.shape[1], W.shape[0]
    x = graph.normalise("x", state, (inputs, *image), wide=False)
    # The image lies inside of a ring of zeros, around which the padding is circular: zeros again.
    graph.weight("U", kernel), graph.weight("u", state[f"{_LAYER}U.bias"])
    graph.add("Conv", [x, "U", "u"], "Ux_image", pads=[1, 1, 1, 1])
    graph.add("Flatten", ["Ux_image"], "Ux_first", axis=1)
    graph.integers("others", 0, 0, 0, neurons - len(inner[0]))
    graph.add("Pad", ["Ux_first", "others"], "Ux", mode="constant")
    graph.weight("W", W)
    stored = graph.weights["W"].astype(np.float64)
    z = graph.mondeq("MonDEQ", ["Ux", "W"], {}, stored, (neurons,))
    C = np.zeros((state["Wout.weight"].shape[0], neurons))
    C[:, neurons - len(inner[-1]) :] = state["Wout.weight"][:, inner[-1]]
    graph.weight("C", C), graph.weight("c", state["Wout.bias"])
    graph.wide_gemm(graph.wide(z), "C", "c", "y")
    return graph.model("MonDEQ", (inputs, *image), C.shape[0])
