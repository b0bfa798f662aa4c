"""Checkpoints of the public training codes: the exported file computes what their networks do."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="checkpoints are read with PyTorch (extra 'train')")

sys.path.insert(0, str(Path(__file__).resolve().parent))

import public_nets as nets  # noqa: E402
from torch import nn  # noqa: E402

from vnn_mondeq.cli import export as command  # noqa: E402
from vnn_mondeq.errors import InputError, ModelError, NotMonotoneError  # noqa: E402
from vnn_mondeq.interop.layouts import (  # noqa: E402
    LAYOUTS,
    CheckpointSettings,
    convert_checkpoint,
)
from vnn_mondeq.onnx_io.replay import Replay  # noqa: E402

CASES = {
    "fully connected": (nets.fully_connected, (2, 2, 3), {"layout": "monotone-op-net"}),
    "convolution": (nets.single_convolution, (2, 10, 10), {"layout": "monotone-op-net"}),
    "several convolutions": (nets.multi_convolution, (2, 8, 8), {"layout": "monotone-op-net"}),
    "craft": (lambda: nets.fully_connected(twins=True), (12,), {"layout": "craft"}),
    "craft convolution": (nets.craft_convolution, (2, 13, 13), {"layout": "craft", "stride": 2}),
}


def saved(place: Path, make, seed: int = 0) -> tuple[nn.Module, Path]:
    torch.manual_seed(seed)
    net = make()
    for parameter in net.parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data * 2.0
    torch.save(net.state_dict(), place / "net.pt")
    return net.double(), place / "net.pt"


def settings(shape, **changes) -> CheckpointSettings:
    return CheckpointSettings(monotonicity=0.5, shape=shape, **changes)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("case", CASES)
def test_the_file_computes_what_the_public_network_does(tmp_path, case, seed):
    make, shape, options = CASES[case]
    options = dict(options)
    layout = options.pop("layout")
    net, path = saved(tmp_path, make, seed)
    channels = shape[0] if len(shape) == 3 else 1
    mean, std = (0.3,) * channels, (0.6,) * channels
    model = convert_checkpoint(path, layout, settings(shape, mean=mean, std=std, **options))
    x = np.random.default_rng(seed).random((3, *shape)).astype(np.float32)
    expected = net((torch.from_numpy(x).double() - 0.3) / 0.6).detach().numpy()
    found = Replay(model.SerializeToString()).run({"x": x})["y"]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())
    z = net._fixpoint(
        nets.F.pad(torch.from_numpy(x).double(), (net.ring,) * 4)
        if len(shape) == 3 and net.ring
        else torch.from_numpy(x).double().reshape(3, *((-1,) if "conv" not in case else shape)),
        masked="conv" in case,
    )
    assert all(float((part > 0).double().mean()) > 0.05 for part in z), "nothing would be tested"


def test_without_mean_and_std_the_input_is_the_normalised_one(tmp_path):
    net, path = saved(tmp_path, nets.fully_connected)
    x = np.random.default_rng(1).normal(size=(2, 12)).astype(np.float32)
    model = convert_checkpoint(path, "monotone-op-net", settings(None))
    found = Replay(model.SerializeToString()).run({"x": x})["y"]
    assert np.allclose(found, net(torch.from_numpy(x).double()).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("form", ["factored", "W"])
def test_a_checkpoint_with_epoch_and_optimiser_is_opened(tmp_path, form):
    _, path = saved(tmp_path, nets.single_convolution)
    wrapped = {"epoch": 3, "state_dict": torch.load(path, weights_only=True)}
    torch.save(wrapped, tmp_path / "wrapped.pt")
    models = [
        convert_checkpoint(p, "monotone-op-net", settings((2, 10, 10), form=form))
        for p in (path, tmp_path / "wrapped.pt")
    ]
    assert models[0] == models[1]


def test_matlab_weights(tmp_path):
    from scipy.io import savemat

    net, _ = saved(tmp_path, nets.fully_connected)
    layer = net.mon.linear_module
    names = {"U": layer.U.weight, "u": layer.U.bias, "A": layer.A.weight, "B": layer.B.weight}
    names |= {"C": net.Wout.weight, "c": net.Wout.bias}
    savemat(tmp_path / "net.mat", {k: v.detach().numpy() for k, v in names.items()})
    model = convert_checkpoint(tmp_path / "net.mat", "semimondeq", settings(None))
    x = np.random.default_rng(1).normal(size=(2, 12)).astype(np.float32)
    found = Replay(model.SerializeToString()).run({"x": x})["y"]
    assert np.allclose(found, net(torch.from_numpy(x).double()).detach().numpy(), atol=1e-5)
    savemat(tmp_path / "less.mat", {"U": np.eye(3), "A": np.eye(3)})
    with pytest.raises(InputError, match="lacks B, C, c, u"):
        convert_checkpoint(tmp_path / "less.mat", "semimondeq", settings(None))


@pytest.mark.parametrize(
    ("case", "change", "message"),
    [
        ("fully connected", ("mon.linear_module.B.weight", None), "lacks mon.linear_module.B.w"),
        ("fully connected", ("bn.weight", torch.ones(3)), "has bn.weight, which nothing would"),
        ("convolution", ("mon.linear_module.h", None), "lacks mon.linear_module.h"),
        ("convolution", ("mon.linear_module.g", torch.tensor(-1.0)), "need g >= 0"),
        ("convolution", ("mon.linear_module.U.weight", torch.ones(3, 2, 5, 5)), "only 3x3 kernels"),
        ("several convolutions", ("mon.linear_module.gn.1", None), "lacks mon.linear_module.gn.1"),
        ("several convolutions", ("mon.linear_module.g.0", torch.tensor(-1.0)), "g.0 is -1"),
        ("craft", ("linear_module.U.bias", torch.ones(7)), "linear_module.U.bias differ"),
        ("fully connected", ("Wout.bias", torch.full((4,), torch.nan)), "not finite in Wout.bias"),
        ("fully connected", ("note", "hello"), "no real tensors: note"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, case, change, message):
    make, shape, options = CASES[case]
    _, path = saved(tmp_path, make)
    state = dict(torch.load(path, weights_only=True))
    key, value = change
    if value is None:
        del state[key]
    else:
        state[key] = value
    torch.save(state, path)
    with pytest.raises(InputError, match=message):
        convert_checkpoint(path, options["layout"], settings(shape))


@pytest.mark.parametrize(
    ("case", "shape", "message"),
    [
        ("convolution", None, "give the shape"),
        ("convolution", (3, 10, 10), "images of 2 channels, not of 3"),
        ("convolution", (2, 20, 20), "do not fit"),
        ("several convolutions", (2, 8, 9), "square images"),
        ("several convolutions", (2, 10, 10), "can be halved 2 times"),
        ("several convolutions", (2, 16, 16), "Wout.weight is"),
        ("fully connected", (13,), "do not have the 12 entries"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(tmp_path, case, shape, message):
    _, path = saved(tmp_path, CASES[case][0])
    with pytest.raises(InputError, match=message):
        convert_checkpoint(path, "monotone-op-net", settings(shape))


def test_files_that_are_no_checkpoints(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save(torch.ones(3), tmp_path / "tensor.pt")
    names = ("evil.pt", "text.pt", "empty.pt", "tensor.pt", "missing.pt", "")
    for name in names:
        with pytest.raises(InputError, match=str(tmp_path / name)):
            convert_checkpoint(tmp_path / name, "monotone-op-net", settings(None))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "change", [{"monotonicity": 0.0}, {"monotonicity": float("nan")}, {"mean": (0.1,)}]
)
def test_settings_that_cannot_be(change):
    with pytest.raises(InputError):
        CheckpointSettings(**({"monotonicity": 1.0} | change))


def test_the_wrong_monotonicity_that_cannot_be_proved_is_refused(tmp_path):
    """`m` is only as good as the caller's word; what is written is proved, whatever they say."""
    _, path = saved(tmp_path, nets.fully_connected)
    state = torch.load(path, weights_only=True)
    state["mon.linear_module.A.weight"].zero_()
    torch.save(state, path)
    tiny = CheckpointSettings(monotonicity=1e-30)
    with pytest.raises(NotMonotoneError, match="smallest eigenvalue"):
        convert_checkpoint(path, "monotone-op-net", tiny)
    assert convert_checkpoint(path, "monotone-op-net", tiny, check=False).graph.node


def test_the_command_knows_every_layout(tmp_path):
    assert set(command.LAYOUTS) == set(LAYOUTS)
    with pytest.raises(InputError, match="unknown layout"):
        convert_checkpoint(tmp_path / "x.pt", "other", settings(None))


def test_too_large_networks_are_refused_before_their_matrix_is_built(tmp_path):
    _, path = saved(tmp_path, lambda: nets.single_convolution(size=98, channels=3))
    with pytest.raises(ModelError, match="z has 30000 entries"):
        convert_checkpoint(path, "monotone-op-net", settings((2, 98, 98)))
    _, path = saved(tmp_path, lambda: nets.multi_convolution(size=64))
    with pytest.raises(InputError, match="at most 6000"):
        convert_checkpoint(path, "monotone-op-net", settings((2, 64, 64)))


@pytest.mark.parametrize(
    ("name", "shape"), [("fc40_mnist", (1, 28, 28)), ("convsmall_cifar10", (3, 32, 32))]
)
def test_published_networks_in_the_layout_of_their_code(shared_data, tmp_path, name, shape):
    arrays = dict(np.load(shared_data / f"{name}.npz"))
    names = {"A": "A.weight", "B": "B.weight", "U": "U.weight", "u": "U.bias"}
    names |= {"A_kernel": "A.weight", "B_kernel": "B.weight", "U_kernel": "U.weight"}
    names |= {"U_bias": "U.bias", "g": "g", "h": "h"}
    state = {
        prefix + names[key]: torch.from_numpy(value)
        for key, value in arrays.items()
        if key in names
        for prefix in ("mon.linear_module.", "linear_module.")
    }
    state |= {"Wout.weight": torch.from_numpy(arrays["C"])}
    state |= {"Wout.bias": torch.from_numpy(arrays["c"])}
    torch.save(state, tmp_path / "net.pt")
    scale = {key: tuple(np.atleast_1d(arrays[key]).tolist()) for key in ("mean", "std")}
    given = CheckpointSettings(monotonicity=float(arrays["m"]), shape=shape, **scale)
    model = convert_checkpoint(tmp_path / "net.pt", "craft", given)
    file = "cifar10_test_first100" if shape[0] == 3 else "mnist_test_first1000"
    images = np.load(shared_data / f"{file}.npz")["images"][:5] / 255.0
    x = images.reshape(5, *shape).astype(np.float32)
    found = Replay(model.SerializeToString()).run({"x": x})["y"]
    expected = arrays["logits_first100"][:5]
    assert np.abs(found - expected).max() <= 2e-6 * np.abs(expected).max()
