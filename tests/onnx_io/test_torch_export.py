"""PyTorch modules through the current exporter: operator, bodies, meaning."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the exporter needs PyTorch (extra 'train')")
pytest.importorskip("onnxscript", reason="torch.onnx needs onnxscript (extra 'train')")

from torch import nn  # noqa: E402

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


@pytest.mark.parametrize("make", [_dense, _convolutional, _two_layers])
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
