"""`vnn-mondeq show witness`: reads what verifiers write, draws it, and says whether it holds."""

import functools
import gzip
import re
from subprocess import CompletedProcess

import numpy as np
import pytest

from vnn_mondeq import api
from vnn_mondeq.errors import InputError
from vnn_mondeq.onnx_io.tensor_file import tensor_bytes
from vnn_mondeq.report.image_shape import ImageShape, guess_image_shape
from vnn_mondeq.result import Witness
from vnn_mondeq.vnnlib_io.assignment_text import read_assignment

pytest.importorskip("matplotlib")


@pytest.fixture
def run(folder, here):
    """Runs the command in `folder` and in this process: matplotlib is loaded once."""
    return functools.partial(here, cwd=folder)


@pytest.fixture
def witnesses(run, folder):
    """Name → path of the same kind of counterexample in the three formats."""
    found = {name: folder / f"witness-{name}" for name in ("1.0", "2.0", "bare", "gz", "folder")}
    if not found["folder"].exists():
        network = ("--network", "model.onnx")
        for version in ("1.0", "2.0"):
            found[version].write_text(run("verify", f"unsafe{version}.vnnlib", *network).stdout)
        found["bare"].write_text(found["1.0"].read_text().removeprefix("sat\n"))
        found["gz"].write_bytes(gzip.compress(found["2.0"].read_bytes()))
        serialise = ("--serialise-assignments", found["folder"])
        assert run("verify", "unsafe2.0.vnnlib", *network, *serialise).stdout == "sat\n"
    return found


@pytest.fixture
def show(run, folder):
    def call(witness, *options, query="unsafe2.0.vnnlib", out="out.png") -> CompletedProcess:
        (folder / out).unlink(missing_ok=True)
        needed = ("--query", query, "--network", "model.onnx", "-o", out)
        return run("show", "witness", witness, *needed, *options)

    return call


@pytest.mark.parametrize("form", ["1.0", "2.0", "bare", "gz", "folder"])
def test_every_format_gives_the_picture_and_the_confirmation(show, folder, witnesses, form):
    query = "unsafe1.0.vnnlib" if form in ("1.0", "bare") else "unsafe2.0.vnnlib"
    done = show(witnesses[form], query=query)
    assert (done.returncode, done.stderr) == (0, "wrote out.png\n")
    assert re.search(
        r"^confirmed by onnxruntime [\d.]+: a case of the query holds, by ", done.stdout, re.M
    )
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_shows_what_was_read(show, folder, witnesses):
    """Text stays text in an SVG: both predictions and the size of the change are in it."""
    done = show(witnesses["2.0"], "--input", "x.npy", out="out.svg")
    svg = (folder / "out.svg").read_text()
    classes = re.findall(r"output (\d) is largest", done.stdout)
    assert len(set(classes)) == 2
    values = (witnesses["2.0"]).read_text().splitlines()[2:6]
    change = np.max(np.abs(np.array(values, dtype=float) - np.load(folder / "x.npy")))
    assert f"largest change {change:.4g}" in svg
    assert "confirmed by onnxruntime" in svg
    images = show(witnesses["2.0"], "--image", "1", "2", "2", out="out.svg")
    svg = (folder / "out.svg").read_text()
    assert images.returncode == 0
    assert all(f"output {number} is largest" in svg for number in classes)


def test_a_point_that_is_no_counterexample_is_drawn_and_said(show, folder, witnesses):
    safe = folder / "safe"
    text = (witnesses["2.0"]).read_text().splitlines()
    safe.write_text("\n".join([*text[:2], "0.5", "0.25", "0.75", "0.5", *text[6:]]))
    done = show(safe)
    assert done.returncode == 1
    assert "not confirmed: onnxruntime" in done.stdout
    assert "sees no violation" in done.stdout
    assert (folder / "out.png").exists()
    far = folder / "far"
    far.write_text("\n".join([*text[:2], "1000", *text[3:]]))
    # Clipped into the set, as the gate does with candidates, it would be judged by another point.
    done = show(far)
    assert done.returncode == 1
    assert "outside the input set" in done.stdout


def test_confirm_counterexample_moves_nothing(folder):
    """The gate itself clips candidates of engines into the set; here that would be a lie."""
    model = api.load_model(folder / "model.onnx")
    query = api.load_query(folder / "unsafe2.0.vnnlib")
    witness = api.verify(model, query).witness
    inside = witness.inputs["X"].reshape(-1)
    assert isinstance(api.confirm_counterexample(model, query, inside), Witness)
    assert not isinstance(api.confirm_counterexample(model, query, inside + 1000.0), Witness)
    with pytest.raises(InputError, match="3 inputs and the query 4"):
        api.confirm_counterexample(model, query, inside[:3])


DAMAGED = {
    "an answer without one": ("unsat\n", "the answer is unsat"),
    "empty": ("", "holds no assignment"),
    "only sat": ("sat\n", "holds no assignment"),
    "cut off": ("sat\nX float32 [1,4]\n0.5\n", "was it cut off"),
    "another shape": ("sat\nX float32 [1,2]\n0.5\n0.5\n", "declares [1, 4]"),
    "another name": ("sat\nV float32 [1,4]\n1\n2\n3\n4\n", "X is not assigned"),
    "not a number": ("sat\nX float32 [1,4]\n1\n2\nnan\n4\n", "'nan' is not a finite number"),
    "prose": ("it is unsafe\n", "not a variable with type and shape"),
    "unbalanced": ("((X_0 1.0)\n(X_1 2.0)", "do not match"),
    "too few": ("((X_0 1.0)(X_1 2.0))", "2 inputs are assigned, but the query declares 4"),
    "a hole": ("((X_0 1)(X_1 2)(X_3 2)(X_4 2))", "X_2 is not assigned"),
    "twice": ("((X_0 1)(X_0 2)(X_2 2)(X_3 2))", "X_0 is assigned twice"),
    "text between": ("((X_0 1)(X_1 2) hello (X_2 2)(X_3 2))", "'hello' is no pair"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_counterexample_is_refused_with_its_reason(folder, tmp_path, name):
    text, message = DAMAGED[name]
    path = tmp_path / "witness"
    path.write_text(text)
    query = api.load_query(folder / "unsafe2.0.vnnlib")
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_assignment(path, query)
    assert str(caught.value).startswith(str(path))


def test_wrong_files_and_layouts(show, folder, witnesses, tmp_path):
    cases = {
        "no picture format": {"out": "out.xyz"},
        "12 pixels": {"options": ("--image", "3", "2", "2")},
        "1 or 3 channels": {"options": ("--image", "2", "1", "2")},
        "has 3 numbers": {"options": ("--input", tmp_path / "three.npy")},
        "cannot read": {"witness": "missing"},
        "X.pb is missing": {"witness": tmp_path},
    }
    np.save(tmp_path / "three.npy", np.zeros(3))
    for message, case in cases.items():
        done = show(
            *(case.get("witness", witnesses["2.0"]), *case.get("options", ())),
            out=case.get("out", "out.png"),
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert not (folder / case.get("out", "out.png")).exists()
    (tmp_path / "X.pb").write_bytes(b"\xff" * 7)
    assert "is not a serialised TensorProto" in show(tmp_path).stderr
    (tmp_path / "X.pb").write_bytes(tensor_bytes("X", np.zeros((1, 3), np.float32)))
    assert "declares [1, 4]" in show(tmp_path).stderr


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 784), (1, 28, 28)),
        ((1, 64), (1, 8, 8)),
        ((1, 3072), (3, 32, 32)),
        ((1, 3, 32, 32), (3, 32, 32)),
        ((1, 1, 28, 20), (1, 28, 20)),
        ((1, 4), None),
        ((1, 785), None),
        ((1, 4, 16, 16), None),
        ((), None),
    ],
)
def test_images_are_guessed_by_shape(shape, expected):
    assert guess_image_shape(shape) == (None if expected is None else ImageShape(*expected))


def test_pixels_are_where_they_belong():
    grey = ImageShape(1, 2, 3).pixels(np.arange(6))
    assert grey.tolist() == [[0, 1, 2], [3, 4, 5]]
    colour = ImageShape(3, 1, 2).pixels(np.arange(6))
    assert colour.tolist() == [[[0, 2, 4], [1, 3, 5]]]
