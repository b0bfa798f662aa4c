"""Counterexamples in every format are accepted by a checker that is not ours; faults are not."""

import contextlib
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from conformance.witness import Instance, judge_folder, judge_text
from drawn_weights import dense_weights

from vnn_mondeq.cli.main import main

INPUTS, OUTPUTS = 3, 3


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A monDEQ with four neurons, exported by the command."""
    rng = np.random.default_rng(5)
    place = tmp_path_factory.mktemp("witness")
    np.savez(place / "weights.npz", **dense_weights(rng, 4, INPUTS, OUTPUTS, spread=1.0))
    assert command("-q", "export", place / "weights.npz", place / "model.onnx")[0] == 0
    return place / "model.onnx"


def command(*arguments: object) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue()


def condition(rng: np.random.Generator, x, y) -> str:
    """The conditions of a drawn query; `x(i)` and `y(j)` give the names of the variables."""
    centre, radius = rng.uniform(-1, 1, size=INPUTS), rng.uniform(0.1, 2, size=INPUTS)
    fixed = rng.random(INPUTS) < 0.2
    centre[fixed], radius[fixed] = np.round(centre[fixed] * 8) / 8, 0.0  # a number of any type
    lines = []
    for i in range(INPUTS):
        lines.append(f"(assert (>= {x(i)} {centre[i] - radius[i]:.9f}))")
        lines.append(f"(assert (<= {x(i)} {centre[i] + radius[i]:.9f}))")
    first, second, _ = (int(j) for j in rng.permutation(OUTPUTS))
    bound = f"(>= {y(int(rng.integers(OUTPUTS)))} {rng.normal():.6f})"
    rows = [f"(<= {y(first)} {y(second)})", bound, f"(< {y(second)} {y(first)})"]
    lines.append(f"(assert (or (and {rows[0]} {rows[1]}) (and {rows[2]})))")
    return "\n".join(lines)


def version_1(rng: np.random.Generator) -> str:
    names = [f"(declare-const X_{i} Real)" for i in range(INPUTS)]
    names += [f"(declare-const Y_{j} Real)" for j in range(OUTPUTS)]
    return "\n".join([*names, condition(rng, "X_{}".format, "Y_{}".format), ""])


def version_2(rng: np.random.Generator, kind: str) -> str:
    return (
        f"(vnnlib-version <2.0>)\n(declare-network f\n(declare-input X {kind} [1,{INPUTS}])\n"
        f"(declare-output Y {kind} [1,{OUTPUTS}])\n)\n"
        + condition(rng, "X[0,{}]".format, "Y[0,{}]".format)
        + "\n"
    )


KINDS = {
    "1.0": version_1,
    "2.0 float32": lambda rng: version_2(rng, "float32"),
    "2.0 real": lambda rng: version_2(rng, "real"),
}

DRAWN, LEAST_SAT = 8, 4
"""Queries of each kind, and how many of them must turn out to be violated."""


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_counterexamples_are_correct(kind, model, tmp_path):
    rng = np.random.default_rng(11)
    violated = 0
    for number in range(DRAWN):
        query = tmp_path / f"{number}.vnnlib"
        query.write_text(KINDS[kind](rng))
        instance = Instance(query.read_text(), {"f": model})
        code, out = command("-q", "verify", query, "--network", f"f={model}")
        assert code == 0
        if not out.startswith("sat"):
            continue
        violated += 1
        assert judge_text(instance, out) == "correct"
        results = tmp_path / "out.txt"
        assert command("-q", "competition", "toy", model, query, results, "60")[0] == 0
        assert judge_text(instance, results.read_text()) == "correct"
        if kind != "1.0":
            folder = tmp_path / f"folder{number}"
            answer = command(
                *("-q", "verify", query, "--network", f"f={model}"),
                *("--serialise-assignments", folder),
            )
            assert answer == (0, "sat\n")
            assert judge_folder(instance, folder) == "correct"
    assert violated >= LEAST_SAT


def test_a_compressed_instance_is_the_same(model, tmp_path):
    text = version_2(np.random.default_rng(11), "float32")
    (tmp_path / "q.vnnlib.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "m.onnx.gz").write_bytes(gzip.compress(model.read_bytes()))
    code, out = command(
        *("-q", "verify", tmp_path / "q.vnnlib.gz", "--network"),
        f"f={tmp_path / 'm.onnx.gz'}",
    )
    assert code == 0
    assert judge_text(Instance(text, {"f": model}), out) == "correct"


# --- the checker itself ------------------------------------------------------------------------

OPEN = "\n".join(
    [
        *(f"(assert (>= X[0,{i}] -1.0))\n(assert (<= X[0,{i}] 0.3))" for i in range(INPUTS)),
        "(assert (<= Y[0,0] 1000.0))",
    ]
)


def instance_2(model: Path, kind: str = "float32") -> Instance:
    text = version_2(np.random.default_rng(0), kind)
    return Instance(text[: text.index("(assert")] + OPEN, {"f": model})


def answer(x: object = (0.0, 0.1, 0.2), y: object = (0.0, 0.0, 0.0), head: str = "X float32 [1,3]"):
    numbers = "\n".join(map(str, x)), "\n".join(map(str, y))
    return f"sat\n{head}\n{numbers[0]}\nY float32 [1,3]\n{numbers[1]}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (answer(), "correct"),
        (answer(y=(5, 5, 5)), "correct"),  # the runtime decides, not what is claimed
        (answer(head="X FLOAT32 [1,3]"), "correct"),
        (answer(x=(0.0, 0.1, 0.30000001192092896)), "correct"),  # the float32 nearest to 0.3
        (answer(x=(0.0, 0.1, 0.30000004)), "not violated"),
        (answer(x=(0.0, 0.1, "nan")), "not violated"),
        (answer(x=(0.0, 0.1)), "malformed"),
        (answer(x=(0.0, 0.1, "np.float32(0.2)")), "malformed"),
        (answer(x=(0.0, "0.1 0.2")), "malformed"),
        (answer(head="X float64 [1,3]"), "malformed"),
        (answer(head="X float32 [3]"), "malformed"),
        (answer(head="X float32 [1, 3]"), "malformed"),
        (answer(head="Z float32 [1,3]"), "malformed"),
        (answer().partition("Y")[0], "malformed"),
        (answer() + "done\n", "malformed"),
        ("unknown\n" + answer(), "malformed"),
    ],
)
def test_rules_of_2_0(text, expected, model):
    assert judge_text(instance_2(model), text).partition(":")[0] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sat\n((X_0 0.5)\n(X_1 0)\n(X_2 -1e-1))\n", "correct"),
        ("sat\n((X_0  0.5)\n (X_1 0)\n(X_2 0)\n(Y_0 7)\n(Y_1 7))\n", "correct"),
        ("sat\n((X_0 2.5)\n(X_1 0)\n(X_2 0))\n", "not violated"),
        ("sat\n((X_0 0.5)\n(X_2 0)\n(X_1 0))\n", "malformed"),
        ("sat\n((X_0 0.5)\n(X_1 0))\n", "malformed"),
        ("sat\n((X_0 0.5)\n(X_1 0)\n(X_2 zero))\n", "malformed"),
        ("sat\nsat\n((X_0 0.5)\n(X_1 0)\n(X_2 0))\n", "malformed"),
        ("sat\n", "malformed"),
    ],
)
def test_rules_of_1_0(text, expected, model):
    names = [f"(declare-const X_{i} Real)" for i in range(INPUTS)]
    names += [f"(declare-const Y_{j} Real)" for j in range(OUTPUTS)]
    boxes = [f"(assert (>= X_{i} -1))(assert (<= X_{i} 1.0))" for i in range(INPUTS)]
    query = "\n".join([*names, *boxes, "(assert (or (and (<= Y_0 1000)) (and (>= Y_0 1000))))"])
    assert judge_text(Instance(query, {"f": model}), text).partition(":")[0] == expected


def test_an_output_on_the_wrong_side_by_anything_is_no_violation(model):
    import onnxruntime

    session = onnxruntime.InferenceSession(model)
    x = np.float32([[0.0, 0.1, 0.2]])
    value = float(session.run(None, {session.get_inputs()[0].name: x})[0][0, 0])
    for bound, expected in ((value, "correct"), (np.nextafter(value, -np.inf), "not violated")):
        text = instance_2(model).text.replace("1000.0", np.format_float_positional(bound))
        assert judge_text(Instance(text, {"f": model}), answer()).partition(":")[0] == expected


def test_a_folder_with_a_fault_is_malformed(model, tmp_path):
    from onnx import numpy_helper

    def write(name: str, array: np.ndarray) -> None:
        proto = numpy_helper.from_array(array, name)
        (tmp_path / f"{name}.pb").write_bytes(proto.SerializeToString())

    write("X", np.float32([[0.0, 0.1, 0.2]]))
    assert judge_folder(instance_2(model), tmp_path).startswith("malformed: Y.pb is missing")
    write("Y", np.zeros((1, 3)))
    assert judge_folder(instance_2(model), tmp_path).startswith("malformed: Y.pb is float64")
    assert judge_folder(instance_2(model, "real"), tmp_path) == "correct"
    write("Y", np.zeros((1, 3), dtype=np.float32))
    assert judge_folder(instance_2(model), tmp_path) == "correct"
    write("Z", np.zeros(3))
    assert judge_folder(instance_2(model), tmp_path).startswith("malformed: unknown files")
