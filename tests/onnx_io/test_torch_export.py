"""PyTorch modules through the current exporter: operator, bodies, meaning."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the exporter needs PyTorch (extra 'train')")
pytest.importorskip("onnxscript", reason="torch.onnx needs onnxscript (extra 'train')")

from torch import nn  # noqa: E402

from vnn_mondeq.errors import UnsupportedModelError  # noqa: E402
from vnn_mondeq.onnx_io import load  # noqa: E402
from vnn_mondeq.onnx_io.operator import DOMAIN  # noqa: E402
from vnn_mondeq.onnx_io.replay import Replay  # noqa: E402
from vnn_mondeq.onnx_io.torch_export import export_module  # noqa: E402
from vnn_mondeq.system.solve import FixpointSolver  # noqa: E402
from vnn_mondeq.training.layers import MonDEQ, MonDEQConv  # noqa: E402


class Normalise(nn.Module):
    def forward(self, x):
        return (x - 0.1307) / 0.3081


def _dense():
    net = nn.Sequential(Normalise(), nn.Flatten(), MonDEQ(16, 6), nn.Linear(6, 3))
    return net, torch.rand(2, 1, 4, 4), ["MonDEQFactored"]


def _convolutional():
    layer = MonDEQConv(1, 2, (10, 10), kernel_size=4, stride=2)
    net = nn.Sequential(Normalise(), layer, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    return net, torch.rand(1, 1, 10, 10), ["MonDEQConvFactored"]


def _two_layers():
    net = nn.Sequential(
        *(nn.Linear(5, 8), nn.ReLU(), MonDEQ(8, 6, m=1.0), nn.BatchNorm1d(6)),
        *(MonDEQ(6, 4, m=0.5), nn.Linear(4, 2)),
    )
    return net, torch.randn(2, 5), ["MonDEQFactored", "MonDEQFactored"]


def _among_ordinary_layers():
    net = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.2), MonDEQ(75, 6, m=1.0)),
        *(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)),
    )
    return net, torch.rand(2, 1, 10, 10), ["MonDEQFactored"]


class Branches(nn.Module):
    """A module of a user's own: a skip connection, views, slices, constants."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, stride=2, padding=1, padding_mode="circular")
        self.layer, self.skip = MonDEQ(50, 6, m=1.0), nn.Linear(50, 6)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        h = torch.relu(self.first(x)).view(x.shape[0], -1)
        z = self.layer(h) - 0.5 * self.skip(h)
        return self.last(torch.cat([z[:, :2], z[:, 2:] / 3.0], dim=1)) + 1.0


def _branches():
    return Branches(), torch.rand(1, 1, 10, 10), ["MonDEQFactored"]


@pytest.mark.parametrize(
    "make", [_dense, _convolutional, _two_layers, _among_ordinary_layers, _branches]
)
def test_exported_module_means_the_same(tmp_path, make):
    torch.manual_seed(0)
    net, x, operators = make()
    path = tmp_path / "model.onnx"
    model = export_module(net, x, path)
    assert [node.op_type for node in model.graph.node if node.domain == DOMAIN] == operators
    assert {function.domain for function in model.functions} == {DOMAIN}
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"

    loaded = load(path)
    inputs = np.random.default_rng(0).random((5, *x.shape[1:])).astype(np.float32)
    expected = net.eval()(torch.from_numpy(inputs)).detach().numpy()
    assert np.allclose(Replay(loaded.model_bytes).run({"x": inputs})["y"], expected, atol=2e-6)
    flat = inputs.reshape(5, -1).astype(float)
    z = FixpointSolver(loaded.system).solve(flat).value
    assert np.allclose(loaded.system.output(z, flat), expected, atol=2e-6)


def test_export_leaves_the_module_alone(tmp_path):
    net, x, _ = _convolutional()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    export_module(net, x)
    after = net.state_dict()
    assert net.training and before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_the_verifier_would_refuse_is_not_written(tmp_path):
    net = nn.Sequential(MonDEQ(4, 3), nn.LogSoftmax(dim=1), nn.Linear(3, 2))
    with pytest.raises(UnsupportedModelError, match="LogSoftmax"):
        export_module(net, torch.rand(2, 4), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
    export_module(net, torch.rand(2, 4), tmp_path / "model.onnx", check=False)
    assert (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(("eps", "verdict"), [("0.0001", "unsat"), ("100", "sat")])
def test_a_network_with_ordinary_layers_is_verified(tmp_path, capsys, eps, verdict):
    from vnn_mondeq.cli.main import main

    torch.manual_seed(0)
    net, x, _ = _branches()
    model, query = str(tmp_path / "model.onnx"), str(tmp_path / "query.vnnlib")
    export_module(net, x, model)
    np.save(tmp_path / "x.npy", x[0].numpy())
    near = ("--input", str(tmp_path / "x.npy"), "--eps", eps)
    assert main(["-q", "robustness", model, *near, "-o", query]) == 0
    assert main(["-q", "verify", query, "--network", f"f={model}", "--timeout", "30"]) == 0
    assert capsys.readouterr().out.split()[0] == verdict


def test_export_keeps_no_paths_of_this_machine():
    net, x, _ = _dense()
    assert str(__file__).encode() not in export_module(net, x).SerializeToString()


def test_wide_products_shrink_the_error_budget(tmp_path):
    from vnn_mondeq.budget import bound_model_error

    torch.manual_seed(0)
    net, x = nn.Sequential(MonDEQ(300, 5), nn.Linear(5, 2)), torch.rand(2, 300)
    shifts = []
    for wide in (False, True):
        export_module(net, x, tmp_path / "model.onnx", wide=wide)
        system = load(tmp_path / "model.onnx").system
        shifts.append(bound_model_error(system, np.zeros(300), np.ones(300), 2.0**-24).z_shift)
    assert 0.0 < shifts[1] < 0.05 * shifts[0]
