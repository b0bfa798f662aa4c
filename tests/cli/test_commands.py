"""`inspect`, `robustness`, `export` as processes: what they write, and what they refuse."""

import numpy as np
import pytest


def refused(done, message, code=2):
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_inspect_names_layers_and_proved_constants(cli, folder):
    done = cli("inspect", "model.onnx", cwd=folder)
    assert done.returncode == 0
    for line in ("input: x [1, 4]", "output: y [1, 3]", "equilibrium layer: z, 5 neurons"):
        assert line in done.stdout.splitlines()
    assert "modulus at least " in done.stdout
    assert "norm of I - W: at most " in done.stdout
    assert "Lipschitz constant: at most " in done.stdout


def test_the_lipschitz_bound_holds_between_sampled_points(folder):
    from vnn_mondeq import load_model
    from vnn_mondeq.system.lipschitz import lipschitz_bound
    from vnn_mondeq.system.solve import FixpointSolver

    system = load_model(folder / "model.onnx").system
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 4)) * 2.0
    step = rng.normal(size=(200, 4)) * 1e-3
    solver = FixpointSolver(system)
    y, moved = (system.output(solver.solve(p).value, p) for p in (x, x + step))
    slopes = np.linalg.norm(moved - y, axis=1) / np.linalg.norm(step, axis=1)
    bound = lipschitz_bound(system)
    assert slopes.max() <= bound
    assert slopes.max() > bound / 20.0, "a bound as loose as this would hide a mistake"


def test_robustness_writes_to_stdout_or_whole_to_a_file(cli, folder, tmp_path):
    arguments = ("robustness", folder / "model.onnx", "--input", folder / "x.npy", "--eps", "0.1")
    printed = cli(*arguments, "--clip", "0", "0.7")
    assert printed.returncode == 0
    assert "label" in printed.stderr
    written = cli("-q", *arguments, "--clip", "0", "0.7", "-o", tmp_path / "q.vnnlib")
    assert (written.stdout, written.stderr) == ("", "")
    assert (tmp_path / "q.vnnlib").read_text() == printed.stdout
    assert "(assert (<= X[0,2] 0.7))" in printed.stdout


def test_the_label_is_the_prediction_unless_given(cli, folder):
    from vnn_mondeq import load_model
    from vnn_mondeq.onnx_io.replay import Replay

    outputs = Replay(load_model(folder / "model.onnx").model_bytes).run(
        {"x": np.load(folder / "x.npy")[None]}
    )
    predicted = int(np.argmax(outputs["y"]))
    arguments = ("robustness", "model.onnx", "--input", "x.npy", "--eps", "0.1")
    assert f"label {predicted}," in cli(*arguments, cwd=folder).stderr
    other = (predicted + 1) % 3
    done = cli(*arguments, "--label", other, cwd=folder)
    assert f"label {other}," in done.stderr


@pytest.mark.parametrize("norm", ["1", "2"])
def test_balls_are_written_and_decided(cli, folder, tmp_path, norm):
    network = tmp_path / "norm.onnx"
    extra = ("--norm-network", network) if norm == "1" else ()
    files = ("--network", "f=model.onnx") + (("--network", f"norm={network}") if extra else ())
    for eps, expected in (("0.0001", "unsat"), ("100", "sat")):
        query = tmp_path / f"ball{eps}.vnnlib"
        made = cli(
            *("robustness", "model.onnx", "--input", "x.npy", "--eps", eps, "--norm", norm),
            *(*extra, "-o", query),
            cwd=folder,
        )
        assert made.returncode == 0, made.stderr
        done = cli("verify", query, *files, "--timeout", "30", cwd=folder)
        assert done.stdout.split("\n")[0] == expected, done.stderr


REFUSED = {
    "missing input": (["--input", "none.npy", "--eps", "0.1"], "none.npy"),
    "wrong size": (["--input", "five.npy", "--eps", "0.1"], "5 numbers"),
    "NaN": (["--input", "nan.npy", "--eps", "0.1"], "not finite"),
    "not an array": (["--input", "weights.npz", "--eps", "0.1"], "several arrays"),
    "not numpy": (["--input", "model.onnx", "--eps", "0.1"], "not a numpy file"),
    "text": (["--input", "text.npy", "--eps", "0.1"], "not real numbers"),
    "label": (["--input", "x.npy", "--eps", "0.1", "--label", "3"], "label 3"),
    "radius": (["--input", "x.npy", "--eps", "-1"], "eps"),
    "radius text": (["--input", "x.npy", "--eps", "big"], "big"),
    "clip": (["--input", "x.npy", "--eps", "0.1", "--clip", "2", "3"], "--clip"),
    "norm 1": (["--input", "x.npy", "--eps", "0.1", "--norm", "1"], "--norm-network"),
    "ball in 1.0": (["--input", "x.npy", "--eps", "1", "--norm", "2", "--format", "1.0"], "1.0"),
}


@pytest.fixture(scope="module")
def arrays(folder):
    np.save(folder / "five.npy", np.zeros(5))
    np.save(folder / "nan.npy", np.full(4, np.nan))
    np.save(folder / "text.npy", np.array(["a"] * 4))
    return folder


@pytest.mark.parametrize("name", REFUSED)
def test_robustness_refuses_what_makes_no_query(here, arrays, name):
    options, message = REFUSED[name]
    refused(here("robustness", "model.onnx", *options, cwd=arrays), message)


def test_output_that_cannot_be_written_leaves_nothing(cli, folder):
    done = cli(
        *("robustness", "model.onnx", "--input", "x.npy", "--eps", "0.1", "-o", "/proc/q.vnnlib"),
        cwd=folder,
    )
    refused(done, "cannot be written", code=3)
    refused(cli("export", "weights.npz", "x.npy/model.onnx", cwd=folder), "cannot be written", 3)


def test_export_refuses_weights_that_are_none(cli, folder, tmp_path):
    np.savez(tmp_path / "few.npz", U=np.zeros((2, 2)))
    (tmp_path / "cut.npz").write_bytes((folder / "weights.npz").read_bytes()[:100])
    for name, message in (
        ("few.npz", "lack"),
        ("cut.npz", "numpy"),
        ("none.npz", "none.npz"),
        (folder / "x.npy", ".npz"),
    ):
        refused(cli("export", name, "m.onnx", cwd=tmp_path), message)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.npz", "few.npz"]


@pytest.mark.parametrize("form", ["factored", "W"])
def test_both_forms_of_export_mean_the_same(cli, folder, tmp_path, form):
    from vnn_mondeq import load_model

    target = tmp_path / "m.onnx.gz"
    assert cli("export", "weights.npz", target, "--form", form, cwd=folder).returncode == 0
    W, reference = load_model(target).system.W, load_model(folder / "model.onnx").system.W
    assert np.allclose(W, reference, atol=1e-6)
