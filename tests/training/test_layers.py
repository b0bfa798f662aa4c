"""The PyTorch layers: fixpoint equation, exact gradients, monotonicity by construction."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the layers need PyTorch (extra 'train')")

from vnn_mondeq.training.fixpoint_op import feedback_convolution  # noqa: E402
from vnn_mondeq.training.layers import MonDEQ, MonDEQConv  # noqa: E402


def _dense() -> tuple[MonDEQ, "torch.Tensor"]:
    torch.manual_seed(0)
    return MonDEQ(7, 5, m=2.0).double(), torch.randn(3, 7, dtype=torch.float64)


def _convolutional() -> tuple[MonDEQConv, "torch.Tensor"]:
    torch.manual_seed(0)
    layer = MonDEQConv(2, 3, (10, 11), kernel_size=4, stride=2, m=2.0).double()
    return layer, torch.randn(2, 2, 10, 11, dtype=torch.float64)


def test_dense_output_is_the_fixpoint():
    layer, x = _dense()
    with torch.no_grad():
        z = layer(x)
        image = torch.relu(z @ layer.feedback().T + x @ layer.U.T + layer.u)
    assert z.shape == (3, 5) and float(z.max()) > 0.0
    assert float((z - image).abs().max()) < 1e-10


def test_convolutional_output_is_the_masked_fixpoint():
    layer, x = _convolutional()
    with torch.no_grad():
        z = layer(x)
        P, Q = layer.kernels()
        moved = feedback_convolution(z, P, Q, layer.m) + layer.input_map(x)
        image = layer.mask * torch.relu(moved)
    assert z.shape[1:] == layer.output_shape and float(z.max()) > 0.0
    assert float((z - image).abs().max()) < 1e-9
    assert float(z[:, :, 0].abs().max()) == 0.0 == float(z[:, :, :, -1].abs().max())


def _small_convolutional() -> tuple[MonDEQConv, "torch.Tensor"]:
    torch.manual_seed(0)
    layer = MonDEQConv(1, 2, (8, 8), kernel_size=4, stride=2, m=2.0).double()
    return layer, torch.randn(1, 1, 8, 8, dtype=torch.float64)


@pytest.mark.parametrize("make", [_dense, _small_convolutional])
def test_gradients_match_finite_differences(make):
    layer, x = make()
    names = [name for name, _ in layer.named_parameters()]
    values = tuple(parameter.detach().clone() for parameter in layer.parameters())

    def output(x, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, given, (x,))

    inputs = tuple(value.requires_grad_() for value in (x, *values))
    assert torch.autograd.gradcheck(output, inputs, atol=1e-5, fast_mode=True)


def test_weights_of_any_size_stay_monotone():
    torch.manual_seed(1)
    layer = MonDEQ(4, 6, m=0.5).double()
    with torch.no_grad():
        layer.A.mul_(10.0), layer.B.mul_(100.0)
    M = torch.eye(6, dtype=torch.float64) - layer.feedback().detach()
    assert float(torch.linalg.eigvalsh(0.5 * (M + M.T)).min()) >= 0.5 - 1e-9


def test_training_reduces_the_loss():
    torch.manual_seed(2)
    net = torch.nn.Sequential(MonDEQ(2, 12, m=1.0), torch.nn.Linear(12, 1))
    x = torch.rand(64, 2)
    target = (x[:, :1] - x[:, 1:]).abs()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(80):
        loss = torch.nn.functional.mse_loss(net(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("name", ["fc87_mnist", "fc100_hcas"])
def test_layer_reproduces_reference_fixpoints(shared_data, name):
    arrays = np.load(shared_data / f"{name}.npz")
    size, inputs = arrays["U"].shape
    layer = MonDEQ(inputs, size).double()
    with torch.no_grad():
        for key in ("U", "u", "A", "B"):
            getattr(layer, key).copy_(torch.from_numpy(arrays[key]))
    if name == "fc100_hcas":
        x = np.load(shared_data / "hcas_sample2000.npz")["inputs"][:100]
    else:
        x = np.load(shared_data / "mnist_test_first1000.npz")["images"][:100] / 255.0
    x = (x.reshape(100, -1) - arrays["mean"]) / arrays["std"]
    z = layer(torch.from_numpy(x)).detach().numpy()
    assert np.abs(z - arrays["z_first100"]).max() < 1e-8


@pytest.mark.parametrize("m", [0.0, -1.0, float("nan")])
def test_modulus_must_be_positive(m):
    with pytest.raises(ValueError, match="m must be positive"):
        MonDEQ(2, 2, m=m)


@pytest.mark.parametrize("wrong", [{"reach": 2}, {"reach": 9}, {"border": 4}])
def test_impossible_geometry_is_refused(wrong):
    with pytest.raises(ValueError):
        MonDEQConv(1, 2, (12, 12), kernel_size=4, stride=2, **wrong)
