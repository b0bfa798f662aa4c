"""Two equilibrium networks in one query, over the command line."""

import numpy as np
import pytest

from vnn_mondeq.onnx_io.export_arrays import export_arrays
from vnn_mondeq.onnx_io.save import save

HEAD = (
    "(vnnlib-version <2.0>)\n"
    "(declare-network f (declare-input X float32 [1,2]) "
    '(declare-hidden Z float32 [1,4] "z") (declare-output Y float32 [1,2]))\n'
)
BOX = "".join(
    f"(assert (>= {n}[0,{i}] -1.0))(assert (<= {n}[0,{i}] 1.0))\n"
    for n in ("X", "A")
    for i in (0, 1)
)
TIES = "(assert (== X[0,0] A[0,0]))(assert (== X[0,1] A[0,1]))\n"


def second(extra: str = "") -> str:
    return (
        f"(declare-network g {extra} (declare-input A float32 [1,2]) "
        "(declare-output B float32 [1,2]))\n"
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two monDEQs of four neurons; the second is the first with weights moved by up to 0.01."""
    folder, rng = tmp_path_factory.mktemp("pair"), np.random.default_rng(2)
    A, B = rng.normal(size=(2, 4, 4)) * 0.4
    arrays = {
        "W": 0.8 * np.eye(4) - A.T @ A + B - B.T,
        "U": rng.normal(size=(4, 2)),
        "u": rng.normal(size=4),
        "C": rng.normal(size=(2, 4)),
        "c": np.zeros(2),
    }
    save(export_arrays(arrays), folder / "f.onnx")
    moved = {k: v + rng.uniform(-0.01, 0.01, v.shape) for k, v in arrays.items()}
    save(export_arrays(moved), folder / "g.onnx")
    return folder


def run(cli, folder, text, *networks):
    path = folder / "q.vnnlib"
    path.write_text(text)
    options = [word for name in networks for word in ("--network", f"{name}={folder / name}.onnx")]
    return cli("verify", path, *options, "--timeout", "20")


def test_networks_of_nearly_the_same_weights_differ_by_little(cli, models):
    text = HEAD + second("(isomorphic-to f)") + BOX + TIES
    far = text + "(assert (>= (- Y[0,0] B[0,0]) 5.0))"
    assert run(cli, models, far, "f", "g").stdout == "unsat\n"
    near = run(cli, models, text + "(assert (!= Y[0,0] B[0,0]))", "f", "g")
    lines = near.stdout.splitlines()
    assert lines[0] == "sat"
    headers = [line for line in lines[1:] if line[0].isalpha()]
    assert headers == [
        "X float32 [1,2]", "Z float32 [1,4]", "Y float32 [1,2]",
        "A float32 [1,2]", "B float32 [1,2]",
    ]  # fmt: skip
    numbers = {}
    for line in lines[1:]:
        if line[0].isalpha():
            numbers[line[0]] = []
            last = line[0]
        else:
            numbers[last].append(float(line))
    assert numbers["X"] == numbers["A"]
    assert min(numbers["Z"]) >= 0.0
    assert len(numbers["Z"]) == 4


def test_an_equal_network_takes_no_file_of_its_own(cli, models):
    text = HEAD + second("(equal-to f)") + BOX + TIES + "(assert (>= (- Y[0,0] B[0,0]) 0.01))"
    assert run(cli, models, text, "f").stdout == "unsat\n"
    refused = run(cli, models, text, "f", "g")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "given for g" in refused.stderr


def test_the_equilibrium_is_a_hidden_tensor(cli, models):
    text = HEAD + BOX.split("(assert (>= A")[0]
    assert run(cli, models, text + "(assert (<= Z[0,2] -0.001))", "f").stdout == "unsat\n"
    assert run(cli, models, text + "(assert (<= Z[0,2] 0.5))", "f").stdout.startswith("sat\n")
    wrong = run(cli, models, text.replace('"z"', '"zz"'), "f")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "'zz'" in wrong.stderr
