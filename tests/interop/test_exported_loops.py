"""Solver loops as PyTorch's own exporters write them, read by the importer."""

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch", reason="the exporters are PyTorch's")
pytest.importorskip("onnxscript", reason="torch.onnx needs onnxscript (extra 'train')")

from torch import nn  # noqa: E402
from torch._higher_order_ops.while_loop import while_loop  # noqa: E402

from vnn_mondeq.budget import UNITS, bound_model_error  # noqa: E402
from vnn_mondeq.onnx_io import load  # noqa: E402
from vnn_mondeq.onnx_io.replay import Replay  # noqa: E402
from vnn_mondeq.onnx_io.torch_export import export_graph  # noqa: E402
from vnn_mondeq.system.solve import FixpointSolver  # noqa: E402


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.U, self.W, self.out = nn.Linear(4, 5), nn.Linear(5, 5, bias=False), nn.Linear(5, 2)
        with torch.no_grad():
            self.W.weight.copy_(0.6 * self.W.weight - torch.eye(5))


class MaxNorm(Layer):
    """Forward-backward splitting until the largest change is small."""

    def forward(self, x):
        u = self.U(x)

        def go_on(i, z, change):
            return (i < 400) & (change > 1e-5)

        def step(i, z, change):
            new = torch.relu(0.75 * z + 0.25 * (self.W(z) + u))
            return i + 1, new, (new - z).abs().max()

        start = (torch.tensor(0), torch.zeros_like(u), torch.tensor(1.0))
        return self.out(while_loop(go_on, step, start)[1])


class RelativeNorm(Layer):
    """The stopping rule of TorchDEQ, with `lerp` for the damping."""

    def forward(self, x):
        u = self.U(x)

        def go_on(i, z, change):
            return (i < 400) & (change > 1e-5)

        def step(i, z, change):
            new = torch.relu(torch.lerp(z, self.W(z) + u, 0.25))
            ratio = (new - z).norm(dim=1) / (new.norm(dim=1) + 1e-9)
            return i + 1, new, ratio.max()

        start = (torch.tensor(0), torch.zeros_like(u), torch.tensor(1.0))
        return self.out(while_loop(go_on, step, start)[1])


class Counted(Layer):
    """A Python loop, which TorchScript keeps, eight steps at a time."""

    def forward(self, x):
        u = self.U(x)
        z = torch.zeros_like(u)
        for _ in range(200):
            z = torch.relu(0.75 * z + 0.25 * (self.W(z) + u))
        return self.out(z)


def _scripted(net: nn.Module, path) -> None:
    torch.onnx.export(
        torch.jit.script(net),
        (torch.rand(2, 4),),
        str(path),
        dynamo=False,
        opset_version=17,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "N"}},
    )


def _current(net: nn.Module, path) -> None:
    onnx.save(export_graph(net, (torch.rand(2, 4),), ("x",), "y"), path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "export"), [(MaxNorm, _current), (RelativeNorm, _current), (Counted, _scripted)]
)
def test_an_exported_solver_is_read(tmp_path, kind, export):
    torch.manual_seed(0)
    path = tmp_path / "model.onnx"
    export(kind().eval(), path)
    loaded = load(path)
    system = loaded.system
    assert [(b.feedback, b.plain_loop) for b in system.blocks] == [(True, True)]
    x = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    session = Replay(loaded.model_bytes)
    found = np.concatenate([session.run({"x": row[None]})["y"] for row in x]).astype(float)
    flat = x.astype(float)
    expected = system.output(FixpointSolver(system).solve(flat).value, flat)
    for row, a, b in zip(flat, found, expected, strict=True):
        error = bound_model_error(system, row, row, UNITS["float32"])
        reach = np.linalg.norm(system.output.coefficients.on_z, axis=1) * error.z_shift
        assert np.all(np.abs(a - b) <= error.output + reach + 1e-12)
        assert np.all(error.output < 2e-2), "so loose that nothing could be proved"
