"""Equilibrium layers that another library solves, from the function `step(z, x)` they iterate.

TorchDEQ and most research code hold a layer as a function of the state and the input, which a
solver iterates. Where that function is `ReLU(W z + U x + b)`, whatever it is made of (linear
layers, convolutions, normalisation for inference, masks), `layer_from_step` finds `W`, `U` and `b`
and makes a layer of it that `vnn_mondeq.onnx_io.torch_export.export_module` exports:

    layer = layer_from_step(lambda z, x: torch.relu(net.W(z) + net.U(x)), state, x)
    export_module(torch.nn.Sequential(layer, net.head), x, "model.onnx")

The three are read from the function's exported graph by the verifier's own importer, node by node,
so that no part of the function is guessed: what is not affine up to one ReLU is an error. That the
exported graph computes what the function does is PyTorch's promise; a comparison at drawn points
checks it, and is no proof.
"""

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from vnn_mondeq.errors import ModelError, NotMonotoneError
from vnn_mondeq.onnx_io.load import LoadedModel, compile_model
from vnn_mondeq.onnx_io.torch_export import export_graph
from vnn_mondeq.system.monotone import prove_strong_monotonicity
from vnn_mondeq.training.fixpoint_op import mondeq

Step = Callable[[Tensor, Tensor], Tensor]

_POINTS = 16
"""Drawn points at which the function is compared with what was found."""

_TOLERANCE = 1e-4
"""Largest difference there, relative to the largest value: float32 sums of thousands of products
differ by less, another function by far more."""


@final
class StepLayer(nn.Module):
    """`x (N, *input_shape) -> z (N, *state_shape)`, the fixpoint of `z = ReLU(W z + U x + b)`.

    For inference: its output has no gradient. Buffers `W (p, p)`, `U (p, d)`, `b (p,)`.
    """

    def __init__(self, W: Tensor, U: Tensor, b: Tensor, state_shape: tuple[int, ...]):
        super().__init__()
        for name, value in (("W", W), ("U", U), ("b", b)):
            self.register_buffer(name, value)
        self.state_shape = state_shape

    def forward(self, x: Tensor) -> Tensor:
        drive = nn.functional.linear(x.flatten(1), self.U, self.b)
        return mondeq(drive, self.W).reshape(-1, *self.state_shape)


def layer_from_step(step: Step, state: Tensor, example_input: Tensor) -> StepLayer:
    """The layer whose fixpoint `step(z, x)` iterates towards.

    **Arguments:**

    - `step`: a function of the state and the input, batches first; no randomness, no gradient.
    - `state`, `example_input`: one of each, `(N, …)`; only shapes and element type matter.

    **Raises** `ModelError` where the function is not one ReLU of an affine function (perhaps with a
    mask of zeros and ones behind it), or does not compute what its exported graph does;
    `NotMonotoneError` where the layer is not proved to have one fixpoint.
    """
    z, x = state[:1].detach(), example_input[:1].detach()
    loaded = _read(step, z, x)
    W, U, b = _weights(loaded, z.numel(), x.numel())
    _compare(step, (W, U, b), z, x)
    try:
        prove_strong_monotonicity(W)
    except NotMonotoneError as error:
        raise NotMonotoneError(f"the step function: {error}") from error
    tensors = (torch.from_numpy(a).to(z.dtype) for a in (W, U, b))
    return StepLayer(*tensors, tuple(z.shape[1:]))


@final
class _Module(nn.Module):
    """The function as a module, for the exporter."""

    def __init__(self, step: Step):
        super().__init__()
        self.step = step

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        return self.step(z, x)


def _read(step: Step, z: Tensor, x: Tensor) -> LoadedModel:
    try:
        graph = export_graph(_Module(step).eval(), (z, x), ("z", "x"), "z_new", dynamic=False)
        return compile_model(graph)
    except ModelError as error:
        raise ModelError(f"the step function is not affine up to one ReLU: {error}") from error


def _weights(loaded: LoadedModel, p: int, d: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`W`, `U`, `b` in float64; masked neurons as zero rows and columns."""
    system = loaded.system
    last, first = system.output.coefficients, system.preactivation.coefficients
    if last.on_z.shape[0] != p:
        raise ModelError(f"the step function returns {last.on_z.shape[0]} numbers for {p} of state")
    feeds = first.on_x.shape == (p, p + d) and not np.any(first.on_z)
    diagonal = np.diag(last.on_z) if last.on_z.shape == (p, p) else np.full(p, np.nan)
    masked = np.all((diagonal == 0.0) | (diagonal == 1.0))
    clean = masked and np.array_equal(last.on_z, np.diag(diagonal))
    if not (feeds and clean) or np.any(last.on_x) or np.any(last.offset):
        raise ModelError(
            "the step function is not z' = ReLU(W z + U x + b): it has another number of ReLUs, or "
            f"does something behind the last ({', '.join(loaded.operators)})"
        )
    # Blocks are scaled by powers of two only where several of them meet.
    kept = diagonal[:, None]
    W = first.on_x[:, :p] * kept * diagonal
    return W, first.on_x[:, p:] * kept, first.offset * diagonal


def _compare(step: Step, weights: tuple[np.ndarray, ...], z: Tensor, x: Tensor) -> None:
    """**Raises** `ModelError` where the function differs from what was found."""
    W, U, b = (torch.from_numpy(a) for a in weights)
    generator = torch.Generator().manual_seed(0)
    scale = max(1.0, float(b.abs().max()) if b.numel() else 1.0)
    points = [
        scale * torch.randn(_POINTS, *t.shape[1:], generator=generator, dtype=torch.float64)
        for t in (z, x)
    ]
    # The state of a solver is masked already, if the function masks.
    points[0] *= (W.abs().sum(0) + (U.abs().sum(1) + b.abs()) > 0).reshape(z.shape)
    with torch.no_grad():
        found = torch.cat(
            [step(a[None].to(z.dtype), c[None].to(x.dtype)) for a, c in zip(*points, strict=True)]
        )
    flat = [t.flatten(1) for t in points]
    expected = torch.relu(flat[0] @ W.T + flat[1] @ U.T + b)
    difference = float((found.double().flatten(1) - expected).abs().max())
    if not difference <= _TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ModelError(
            f"the step function differs by {difference:.3g} from the ReLU(W z + U x + b) that its "
            "exported graph is; is it random, in training mode, or dependent on more than z and x?"
        )
