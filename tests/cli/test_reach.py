"""`reach` as a process: what it prints, writes and draws, and what it refuses."""

import importlib.util

import numpy as np
import pytest

from vnn_mondeq import load_model
from vnn_mondeq.cli import reach as command
from vnn_mondeq.sdp.ellipsoid import Model
from vnn_mondeq.sdp.ellipsoid_path import Pairs
from vnn_mondeq.system.solve import FixpointSolver


def refused(done, message):
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def sampled_outputs(path, lower, upper):
    system = load_model(path).system
    points = np.random.default_rng(5).uniform(lower, upper, (300, lower.size))
    points[::3] = np.where(points[::3] > 0.5 * (lower + upper), upper, lower)
    return system.output(FixpointSolver(system).solve(points).value, points)


def test_choices_are_those_of_the_model():
    assert {model.value for model in Model} == set(command.MODELS)
    assert {pairs.value for pairs in Pairs} == set(command.PAIRS)


def test_the_printed_ranges_and_the_written_ellipsoid_hold(cli, folder, tmp_path):
    arguments = ("--input", "x.npy", "--eps", "0.3", "--clip", "0", "1")
    done = cli("reach", "model.onnx", *arguments, "-o", tmp_path / "e.npz", cwd=folder)
    assert done.returncode == 0, done.stderr
    x = np.load(folder / "x.npy").astype(float)
    lower, upper = np.clip(x - 0.3, 0, 1), np.clip(x + 0.3, 0, 1)
    outputs = sampled_outputs(folder / "model.onnx", lower, upper)
    stored = np.load(tmp_path / "e.npz")
    assert np.all(np.linalg.norm(outputs @ stored["Q"].T + stored["b"], axis=1) <= 1.0)
    ranges = [line.split() for line in done.stdout.splitlines() if " from " in line]
    assert len(ranges) == 3
    for line, values in zip(ranges, outputs.T, strict=True):
        # Printed with six decimals.
        assert float(line[3]) - 1e-6 <= values.min() <= values.max() <= float(line[5]) + 1e-6
    assert "log det Q: " in done.stdout


def test_the_input_set_of_a_query_and_other_norms(cli, folder):
    arguments = ("--query", "safe2.0.vnnlib", "--thickness", "0.01")
    of_query = cli("reach", "model.onnx", *arguments, cwd=folder)
    assert of_query.returncode == 0, of_query.stderr
    assert "always the largest" in of_query.stdout
    found = {}
    for norm in ("1", "2", "inf"):
        done = cli("reach", "model.onnx", "--input", "x.npy", "--eps", "0.2", "--norm", norm,
                   cwd=folder)  # fmt: skip
        assert done.returncode == 0, done.stderr
        found[norm] = float(done.stdout.split("log det Q: ")[1].split()[0])
    assert found["inf"] < found["2"] <= found["1"] + 1e-6


def test_the_picture_is_drawn(cli, folder, tmp_path):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed (extra 'plot')")
    arguments = ("reach", "model.onnx", "--input", "x.npy", "--eps", "0.3", "--classes", "2", "0")
    for name, start in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")):
        done = cli(*arguments, "--plot", tmp_path / name, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / name).read_bytes().startswith(start)
    refused_name = cli(*arguments, "--plot", tmp_path / "a.docx", cwd=folder)
    assert refused_name.returncode == 2
    assert "no picture format" in refused_name.stderr
    assert not (tmp_path / "a.docx").exists()


BAD = {
    "no radius": (("--input", "x.npy"), "--input needs --eps"),
    "a query and a radius": (("--query", "safe2.0.vnnlib", "--eps", "1"), "--eps and --clip go"),
    "one output twice": (("--input", "x.npy", "--eps", "1", "--classes", "1", "1"), "different"),
    "no such output": (("--input", "x.npy", "--eps", "1", "--classes", "0", "3"), "0 to 2"),
    "a negative radius": (("--input", "x.npy", "--eps", "-1"), "negative"),
    "no time": (("--input", "x.npy", "--eps", "0.1", "--timeout", "0"), "raise --timeout"),
    "no thickness": (("--input", "x.npy", "--eps", "0", "--thickness", "-1"), "--thickness"),
    "a point": (("--input", "x.npy", "--eps", "0"), "no volume"),
    "a missing file": (("--input", "nowhere.npy", "--eps", "0.1"), "nowhere.npy"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_refused(cli, folder, name):
    arguments, message = BAD[name]
    refused(cli("reach", "model.onnx", *arguments, cwd=folder), message)
