"""`vnn-mondeq export` on checkpoints, and on weights that no proof admits."""

import functools

import numpy as np
import pytest


@pytest.fixture
def export(tmp_path, here):
    """Runs `vnn-mondeq export ARGUMENTS...` in `tmp_path`; in this process: torch loads slowly."""
    return functools.partial(here, "export", cwd=tmp_path)


def _arrays(m: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "A": np.zeros((4, 4)),
        "B": rng.normal(size=(4, 4)),
        "m": np.array(m),
        "U": rng.normal(size=(4, 6)),
        "u": rng.normal(size=4),
        "C": rng.normal(size=(3, 4)),
        "c": rng.normal(size=3),
    }


@pytest.mark.parametrize("form", ["factored", "W"])
def test_a_model_that_is_not_monotone_is_refused(export, tmp_path, form):
    np.savez(tmp_path / "w.npz", **_arrays(-0.25))
    done = export("w.npz", "m.onnx", "--form", form)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is about -0.25" in done.stderr
    assert "Nothing was written (--unchecked writes it)" in done.stderr
    assert not (tmp_path / "m.onnx").exists()


def test_an_unproved_model_can_be_written_with_a_warning(export, tmp_path):
    from vnn_mondeq import load_model
    from vnn_mondeq.errors import NotMonotoneError

    np.savez(tmp_path / "w.npz", **_arrays(-0.25))
    done = export("w.npz", "m.onnx", "--unchecked")
    assert done.returncode == 0
    assert "wrote m.onnx: warning: " in done.stderr and "about -0.25" in done.stderr
    with pytest.raises(NotMonotoneError):
        load_model(tmp_path / "m.onnx")


def test_the_proved_modulus_is_told(export, tmp_path):
    np.savez(tmp_path / "w.npz", **_arrays(0.75))
    done = export("w.npz", "m.onnx")
    assert done.returncode == 0
    modulus = float(done.stderr.rsplit(" ", 1)[1])
    assert 0.7499 < modulus <= 0.75


def test_a_checkpoint_becomes_a_model(export, tmp_path):
    torch = pytest.importorskip("torch", reason="checkpoints are read with PyTorch")
    from vnn_mondeq import load_model

    names = {"U.weight": "U", "U.bias": "u", "A.weight": "A", "B.weight": "B"}
    arrays = _arrays(0.75)
    state = {f"mon.linear_module.{k}": torch.tensor(arrays[v]) for k, v in names.items()}
    state |= {"Wout.weight": torch.tensor(arrays["C"]), "Wout.bias": torch.tensor(arrays["c"])}
    torch.save(state, tmp_path / "net.pt")
    options = ("--layout", "monotone-op-net", "--monotonicity", "0.75", "--shape", "6x1x1")
    options += ("--mean", *["0.5"] * 6, "--std", *["0.25"] * 6)
    done = export("net.pt", "m.onnx.gz", *options)
    assert done.returncode == 0, done.stderr
    assert load_model(tmp_path / "m.onnx.gz").inputs == {"x": (1, 6, 1, 1)}
    # Without one of the options that it needs, or with one of another kind of file:
    for left_out in (2, 4):
        wrong = options[:left_out] + options[left_out + 2 :]
        done = export("net.pt", "n.onnx", *(wrong if left_out == 2 else options[2:]))
        assert done.returncode == 2 and "--" in done.stderr, done.stderr
    assert not (tmp_path / "n.onnx").exists()


def test_a_checkpoint_needs_its_layout(export):
    done = export("net.pt", "m.onnx")
    assert done.returncode == 2 and "(--layout)" in done.stderr


@pytest.mark.parametrize("shape", ["28x", "axb", "", "-3"])
def test_a_shape_that_is_none(export, shape):
    done = export("net.pt", "m.onnx", "--layout", "craft", f"--shape={shape}", "--monotonicity=1")
    assert done.returncode == 2 and "Traceback" not in done.stderr
