"""Layers that other libraries iterate, as `step(z, x)`."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="layers of other libraries are PyTorch modules")
pytest.importorskip("onnxscript", reason="torch.onnx needs onnxscript (extra 'train')")

from torch import nn  # noqa: E402

from vnn_mondeq.errors import ModelError, NotMonotoneError  # noqa: E402
from vnn_mondeq.interop.step_layer import layer_from_step  # noqa: E402
from vnn_mondeq.onnx_io import load  # noqa: E402
from vnn_mondeq.onnx_io.replay import Replay  # noqa: E402
from vnn_mondeq.onnx_io.torch_export import export_module  # noqa: E402


class Dense(nn.Module):
    """A residual, normalised step, as research code writes them."""

    state, input = (6,), (4,)

    def __init__(self):
        super().__init__()
        self.W, self.U = nn.Linear(6, 6, bias=False), nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 1.5)
        # A neuron that no input activates is found as well.
        self.U.bias.data[2] = -20.0

    def forward(self, z, x):
        return torch.relu(self.norm(self.W(z) - z + self.U(x)) - 0.5 * z)


class Convolution(nn.Module):
    state, input = (2, 4, 4), (1, 4, 4)

    def __init__(self):
        super().__init__()
        self.W = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.U = nn.Conv2d(1, 2, 3, padding=1)
        self.W.weight.data *= 0.3
        mask = torch.ones(1, 1, 4, 4)
        mask[..., 0] = 0.0
        self.register_buffer("mask", mask)

    def forward(self, z, x):
        return self.mask * torch.relu(self.W(z) + self.U(x))


def solved(step, x, damping=0.2, steps=500):
    z = torch.zeros(len(x), *step.state, dtype=x.dtype)
    with torch.no_grad():
        for _ in range(steps):
            z = (1 - damping) * z + damping * step(z, x)
    return z


@pytest.mark.parametrize("kind", [Dense, Convolution])
def test_the_layer_is_the_fixpoint_of_the_step(tmp_path, kind):
    torch.manual_seed(0)
    step = kind().eval()
    z, x = torch.zeros(1, *kind.state), torch.randn(5, *kind.input)
    layer = layer_from_step(step, z, x)
    expected = solved(step, x)
    assert torch.allclose(layer(x), expected, atol=1e-5)
    head = nn.Linear(expected[0].numel(), 3)
    net = nn.Sequential(layer, nn.Flatten(), head)
    export_module(net, x, tmp_path / "model.onnx")
    loaded = load(tmp_path / "model.onnx")
    assert "MonDEQ" in loaded.operators
    found = Replay(loaded.model_bytes).run({"x": x.numpy()})["y"]
    assert np.allclose(found, head(expected.flatten(1)).detach().numpy(), atol=1e-5)


def test_weights_are_exact_where_the_step_uses_them_as_they_are():
    W, U = nn.Linear(5, 5, bias=False), nn.Linear(3, 5)
    layer = layer_from_step(
        lambda z, x: torch.relu(U(x) + W(z)), torch.zeros(1, 5), torch.zeros(1, 3)
    )
    assert torch.equal(layer.W, W.weight) and torch.equal(layer.U, U.weight)
    assert torch.equal(layer.b, U.bias)


W, U = nn.Linear(6, 6), nn.Linear(4, 6)
REFUSED = {
    "another activation": lambda z, x: torch.tanh(W(z) + U(x)),
    "two ReLUs": lambda z, x: torch.relu(W(torch.relu(W(z))) + U(x)),
    "a product": lambda z, x: torch.relu(z * W(z) + U(x)),
    "damped": lambda z, x: 0.5 * z + 0.5 * torch.relu(W(z) + U(x)),
    "another size": lambda z, x: torch.relu(W(z) + U(x))[:, :3],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_such_step_is_refused(name):
    with pytest.raises(ModelError, match="step function"):
        layer_from_step(REFUSED[name], torch.zeros(1, 6), torch.zeros(1, 4))


def test_a_layer_that_is_not_monotone_is_refused():
    large = nn.Linear(6, 6)
    with torch.no_grad():
        large.weight.copy_(3.0 * torch.eye(6))
    with pytest.raises(NotMonotoneError, match="about -2"):
        layer_from_step(
            lambda z, x: torch.relu(large(z) + U(x)), torch.zeros(1, 6), torch.zeros(1, 4)
        )


def test_a_function_that_computes_something_else_is_noticed():
    """The comparison, with a function that behaves otherwise once it has been exported."""
    calls = []

    def fickle(z, x):
        calls.append(1)
        shift = 0.0 if torch.compiler.is_exporting() else 1.0
        return torch.relu(W(z) * 0.1 + U(x) + shift)

    with pytest.raises(ModelError, match="differs by"):
        layer_from_step(fickle, torch.zeros(1, 6), torch.zeros(1, 4))
    assert calls


def test_a_torchdeq_layer():
    torchdeq = pytest.importorskip("torchdeq", reason="torchdeq is not installed")
    torch.manual_seed(1)
    step = Dense().eval()
    x = torch.randn(3, *Dense.input)
    deq = torchdeq.get_deq(f_solver="fixed_point_iter", f_max_iter=400, f_tol=1e-7)
    states, _ = deq(lambda z: 0.8 * z + 0.2 * step(z, x), torch.zeros(3, *Dense.state))
    layer = layer_from_step(step, torch.zeros(1, *Dense.state), x)
    assert torch.allclose(layer(x), states[-1], atol=1e-5)
