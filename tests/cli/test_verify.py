"""`verify` as a process: answers, assignments, bad input, time limits."""

import gzip
import os
import re
import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest


def verify(cli, folder, query, *options, model="f=model.onnx"):
    return cli("verify", query, "--network", model, *options, cwd=folder)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_a_small_box_is_unsat_and_stdout_holds_the_answer_alone(cli, folder, version):
    done = verify(cli, folder, f"safe{version}.vnnlib", "--timeout", "30")
    assert (done.returncode, done.stdout, done.stderr) == (0, "unsat\n", "")


def parse_version_2(text: str) -> dict[str, tuple[str, np.ndarray]]:
    """Variable → declared type, array; strict about the format."""
    lines = text.splitlines()
    found, position = {}, 0
    while position < len(lines):
        name, kind, shape = re.fullmatch(r"(\w+) (\w+) \[([\d,]*)\]", lines[position]).groups()
        dims = [int(n) for n in shape.split(",")] if shape else []
        size = int(np.prod(dims))
        values = [float(line) for line in lines[position + 1 : position + 1 + size]]
        assert len(values) == size
        found[name] = (kind, np.array(values).reshape(dims))
        position += 1 + size
    return found


def replay(folder: Path, x: np.ndarray) -> np.ndarray:
    """The model's outputs in plain onnxruntime, as a scorer computes them."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x.astype(np.float32)})[0]


def test_a_large_box_is_sat_with_an_assignment_that_replays(cli, folder):
    done = verify(cli, folder, "unsafe2.0.vnnlib", "--timeout", "30")
    assert (done.returncode, done.stderr) == (0, "")
    verdict, rest = done.stdout.split("\n", 1)
    assert verdict == "sat"
    values = parse_version_2(rest)
    assert list(values) == ["X", "Y"]
    assert values["X"][0] == values["Y"][0] == "float32"
    outputs = replay(folder, values["X"][1])
    assert np.array_equal(outputs, values["Y"][1].astype(np.float32))
    label = int(np.argmax(replay(folder, np.load(folder / "x.npy")[None])[0]))
    assert any(outputs[0, j] > outputs[0, label] for j in range(3) if j != label)


def test_version_1_prints_its_own_format(cli, folder):
    done = verify(cli, folder, "unsafe1.0.vnnlib")
    verdict, rest = done.stdout.split("\n", 1)
    assert verdict == "sat"
    assert rest.startswith("((X_0 ")
    assert rest.endswith("))\n")
    names = re.findall(r"\((\w_\d+) (\S+?)\)", rest)
    assert [name for name, _ in names] == ["X_0", "X_1", "X_2", "X_3", "Y_0", "Y_1", "Y_2"]
    x = np.array([[float(value) for name, value in names if name.startswith("X")]])
    y = [float(value) for name, value in names if name.startswith("Y")]
    assert np.array_equal(replay(folder, x)[0], np.array(y, dtype=np.float32))


@pytest.mark.parametrize("option", ["--serialise-assignments", "--assignments"])
def test_assignments_can_go_to_tensor_files(cli, folder, tmp_path, option):
    onnx = pytest.importorskip("onnx")
    target = tmp_path / "deep" / "er"
    done = verify(cli, folder, "unsafe2.0.vnnlib", option, target)
    assert (done.returncode, done.stdout) == (0, "sat\n")
    assert sorted(p.name for p in target.iterdir()) == ["X.pb", "Y.pb"]
    tensor = onnx.TensorProto.FromString((target / "X.pb").read_bytes())
    assert (list(tensor.dims), tensor.data_type) == ([1, 4], onnx.TensorProto.FLOAT)
    x = onnx.numpy_helper.to_array(tensor)
    y = onnx.numpy_helper.to_array(onnx.TensorProto.FromString((target / "Y.pb").read_bytes()))
    assert np.array_equal(replay(folder, x), y)


@pytest.mark.parametrize("query", ["safe2.0.vnnlib", "unsafe2.0.vnnlib"])
def test_the_answer_does_not_depend_on_verbosity(cli, folder, query):
    answers = {
        option: verify(cli, folder, query, *option.split()).stdout
        for option in ("-q", "-v", "-v -v", "--threads 1")
    }
    assert len(set(answers.values())) == 1, answers


def test_verbose_tells_what_stands_behind_the_answer(cli, folder):
    assert "checked by" in verify(cli, folder, "safe2.0.vnnlib", "-v").stderr
    assert "replayed by onnxruntime" in verify(cli, folder, "unsafe2.0.vnnlib", "-v").stderr


@pytest.mark.parametrize("model", ["model.onnx", "anything=model.onnx"])
def test_version_1_takes_its_network_under_any_name(cli, folder, model):
    assert verify(cli, folder, "safe1.0.vnnlib", model=model).stdout == "unsat\n"


def test_compressed_files_are_read(cli, folder, tmp_path):
    for name in ("model.onnx", "safe2.0.vnnlib"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
    done = verify(cli, tmp_path, "safe2.0.vnnlib.gz", model="f=model.onnx.gz")
    assert (done.returncode, done.stdout) == (0, "unsat\n")


HEADER = "(vnnlib-version <2.0>)\n"
NETWORK = "(declare-network f (declare-input X float32 [1,4]) (declare-output Y float32 [1,3]))\n"
BOX = "".join(f"(assert (and (>= X[0,{i}] 0.0) (<= X[0,{i}] 1.0)))\n" for i in range(4))


def query_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_no_output_constraint_is_sat_and_an_empty_box_unsat(cli, folder, tmp_path):
    every = query_file(tmp_path / "every.vnnlib", HEADER + NETWORK + BOX)
    assert verify(cli, folder, every).stdout.startswith("sat\n")
    empty = query_file(
        tmp_path / "empty.vnnlib", HEADER + NETWORK + BOX + "(assert (>= X[0,0] 2.0))"
    )
    done = verify(cli, folder, empty)
    assert (done.returncode, done.stdout) == (0, "unsat\n")


def test_an_unbounded_input_is_unknown_with_a_reason(cli, folder, tmp_path):
    text = HEADER + NETWORK + "(assert (>= Y[0,0] 100000.0))"
    done = verify(cli, folder, query_file(tmp_path / "free.vnnlib", text))
    assert (done.returncode, done.stdout) == (0, "unknown\n")
    assert "no finite bound" in done.stderr
    assert verify(cli, folder, tmp_path / "free.vnnlib", "-q").stderr == ""


def test_a_time_limit_of_zero_is_timed_out_at_once(cli, folder):
    done = verify(cli, folder, "safe2.0.vnnlib", "--timeout", "0")
    assert (done.returncode, done.stdout) == (0, "timed-out\n")


BACKSTOP_SECONDS = 0.5
"""Of the processor: start-up and 0.15 s. The whole of `verify` takes twice as much."""


def test_the_backstop_answers_when_reading_takes_too_long(cli, folder):
    # Loading numpy and onnx alone takes longer than this.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = verify(cli, folder, "safe2.0.vnnlib", "--timeout", "0.15")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stdout) == (0, "timed-out\n")
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds < BACKSTOP_SECONDS


def test_the_attack_alone_proves_nothing(cli, folder):
    done = verify(cli, folder, "safe2.0.vnnlib", "--backend", "attack", "--timeout", "20")
    assert (done.returncode, done.stdout) == (0, "unknown\n")
    assert "the attack alone proves nothing" in done.stderr


def _truncated(folder: Path, target: Path) -> Path:
    target.write_bytes((folder / "model.onnx").read_bytes()[:200])
    return target


def _bad_models(folder: Path, place: Path) -> dict[str, tuple[Path, str]]:
    import onnx
    from onnx import helper

    from vnn_mondeq.onnx_io.export_arrays import export_arrays

    directory = place / "directory.onnx"
    directory.mkdir()
    lawless = dict(np.load(folder / "weights.npz"))
    lawless = {k: v for k, v in lawless.items() if k not in ("A", "B", "m")}
    lawless["W"] = np.eye(5) * 3.0
    onnx.save(export_arrays(lawless, check=False), place / "lawless.onnx")
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 4]) for n in "xy")
    graph = helper.make_graph(
        [
            helper.make_node("Tan", ["x"], ["t"], "wave"),
            helper.make_node("Sinh", ["t"], ["y"], "e"),
        ],
        "g",
        [x],
        [y],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, place / "unknown.onnx")
    (place / "empty.onnx").write_bytes(b"")
    return {
        "missing": (place / "missing.onnx", "No such file"),
        "directory": (directory, "directory"),
        "truncated": (_truncated(folder, place / "cut.onnx"), "truncated"),
        "empty": (place / "empty.onnx", "empty.onnx"),
        "not monotone": (place / "lawless.onnx", "strongly monotone"),
        "unknown operators": (place / "unknown.onnx", "Tan.*Sinh"),
    }


@pytest.fixture(scope="module")
def bad_models(folder, tmp_path_factory):
    return _bad_models(folder, tmp_path_factory.mktemp("models"))


def assert_refused(done, message: str) -> None:
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(message, done.stderr, re.DOTALL), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "name", ["missing", "directory", "truncated", "empty", "not monotone", "unknown operators"]
)
def test_a_model_that_cannot_be_used_is_refused(here, folder, bad_models, name):
    path, message = bad_models[name]
    assert_refused(verify(here, folder, "safe2.0.vnnlib", model=f"f={path}"), message)
    assert_refused(here("inspect", path), message)


BAD_QUERIES = {
    "malformed": (HEADER + NETWORK + "(assert (<= X[0,0] 1.0)", r"bad\.vnnlib: line 3"),
    "caret": (HEADER + NETWORK + "(assert (<= X[0,0] ?))", r"line 3, column 20.*\^"),
    "NaN bound": (HEADER + NETWORK + "(assert (<= X[0,0] nan))", "nan"),
    "undeclared": (HEADER + NETWORK + "(assert (<= Z[0,0] 1.0))", "Z"),
    "index": (HEADER + NETWORK + "(assert (<= X[0,9] 1.0))", "9"),
    "input shape": (HEADER + NETWORK.replace("[1,4]", "[1,5]") + BOX, r"\[1, 5\].*\[1, 4\]"),
    "rank": (
        HEADER + NETWORK.replace("[1,4]", "[4]") + BOX.replace("[0,", "["),
        r"\[4\].*\[1, 4\]",
    ),
    "output shape": (HEADER + NETWORK.replace("[1,3]", "[1,2]") + BOX, r"\[1, 2\].*\[1, 3\]"),
    "element type": (HEADER + NETWORK.replace("float32", "float64") + BOX, "float64.*float32"),
    "name": (HEADER + NETWORK.replace("network f", "network g") + BOX, "--network g="),
    "version": ("(vnnlib-version <3.0>)\n" + NETWORK + BOX, "3.0"),
    "empty": ("", "line 1|empty|no "),
    "binary": ("\x00\x01\x02", "line 1"),
}


@pytest.mark.parametrize("name", BAD_QUERIES)
def test_a_query_that_cannot_be_used_is_refused(here, folder, tmp_path, name):
    text, message = BAD_QUERIES[name]
    assert_refused(verify(here, folder, query_file(tmp_path / "bad.vnnlib", text)), message)


def test_a_missing_query_is_refused(cli, folder):
    assert_refused(verify(cli, folder, "missing.vnnlib"), "missing.vnnlib")


def test_networks_missing_or_surplus_are_refused(cli, folder):
    assert_refused(cli("verify", "safe2.0.vnnlib", cwd=folder), "--network f=")
    surplus = cli(
        *("verify", "safe2.0.vnnlib", "--network", "f=model.onnx", "--network", "g=model.onnx"),
        cwd=folder,
    )
    assert_refused(surplus, "g")


def test_a_folder_for_assignments_that_cannot_be_written_is_refused_before_any_work(cli, folder):
    done = verify(cli, folder, "unsafe2.0.vnnlib", "--assignments", folder / "x.npy")
    assert (done.returncode, done.stdout) == (3, "")
    assert "cannot be written" in done.stderr
    if os.geteuid() != 0:
        done = verify(cli, folder, "unsafe2.0.vnnlib", "--assignments", "/proc/nowhere")
        assert done.returncode == 3


def test_an_internal_error_is_one_line_and_a_traceback_only_on_request(cli, folder, tmp_path):
    # A module of that name that fails stands in for a defect.
    (tmp_path / "lark.py").write_text("raise ZeroDivisionError('planted')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"}
    command = [sys.executable, "-m", "vnn_mondeq", "verify", "safe2.0.vnnlib", "--network"]
    for verbose, traced in (("-v", False), ("-vv", True)):
        done = subprocess.run(
            [*command, "f=model.onnx", verbose],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
        )
        assert done.stdout == ""
        assert ("Traceback" in done.stderr) == traced
        assert "planted" in done.stderr
        if not traced:
            assert done.returncode == 70
            assert "report" in done.stderr


def test_an_answer_that_cannot_be_written_is_exit_code_3(cli, folder):
    with open("/dev/full", "w") as full:
        done = _to(full, folder)
    assert done.returncode == 3
    assert "No space" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_stops_is_no_error_message(cli, folder):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = _to(closed, folder)
    assert (done.returncode, done.stderr) == (3, "")


def _to(stdout, folder):
    command = [sys.executable, "-m", "vnn_mondeq", "verify", "safe2.0.vnnlib", "--network"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*command, "f=model.onnx"],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
    )


def test_exact_numbers_are_printed(cli, folder):
    """A reader that takes the text for rationals sees the float32 that was replayed."""
    values = parse_version_2(verify(cli, folder, "unsafe2.0.vnnlib").stdout.split("\n", 1)[1])
    for number in values["X"][1].reshape(-1):
        assert Fraction(float(np.float32(number))) == Fraction(float(number))
