"""The test vectors of the operators, in onnxruntime, in the importer, and in an implementation of
the specification that shares no code with either."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fixpoint_by_specification as specification

from vnn_mondeq.errors import ModelError, NotMonotoneError
from vnn_mondeq.onnx_io import load
from vnn_mondeq.onnx_io.operator import OPERATORS
from vnn_mondeq.onnx_io.replay import Replay
from vnn_mondeq.system.solve import FixpointSolver

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "onnx_models" / "vectors"
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))
NODES = [name for name in NAMES if name != "network"]


def vector(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input, exact result, and the bound on its error for each row."""
    with np.load(FOLDER / f"{name}.npz") as data:
        x, y = (data["x"], data["y"]) if "x" in data else (data["u"], data["z"])
        return x, y, data["error"]


def distances(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.linalg.norm((found - expected).reshape(len(found), -1), axis=1)


@pytest.mark.parametrize("name", NODES)
def test_the_specification_gives_the_vectors(name):
    u, z, error = vector(name)
    found = specification.evaluate(onnx.load(FOLDER / f"{name}.onnx"), u)
    # Its own iteration stops within 1e-11 of the row's size.
    assert np.all(distances(found, z) <= error + 1e-11 * np.linalg.norm(z.reshape(3, -1), axis=1))


@pytest.mark.parametrize("name", NAMES)
def test_onnxruntime_gives_the_vectors(name):
    x, y, error = vector(name)
    content = (FOLDER / f"{name}.onnx").read_bytes()
    if name == "dense_without_body":
        with pytest.raises(ModelError, match="cannot load"):
            Replay(content)
        return
    session = Replay(content)
    (key,), (output,) = session.inputs, session.outputs
    found = session.run({key: x})[output]
    assert found.dtype == x.dtype
    size = np.linalg.norm(y.reshape(3, -1), axis=1)
    # The body's stopping rule is absolute below 1, so rows of size 1e-6 count as of size 1 for it.
    slack = 1e-11 * np.maximum(size, 1.0) + 4.0 * np.finfo(x.dtype).eps * size
    assert np.all(distances(found.astype(float), y) <= error + slack)


@pytest.mark.parametrize("name", NAMES)
def test_the_importer_gives_the_vectors(name):
    x, y, error = vector(name)
    system = load(FOLDER / f"{name}.onnx").system
    flat = x.reshape(len(x), -1).astype(float)
    found = system.output(FixpointSolver(system).solve(flat).value, flat)
    assert np.all(distances(found, y.reshape(len(y), -1)) <= 2.0 * error)


def test_a_file_that_is_no_valid_use_is_refused():
    path = FOLDER / "refused_not_monotone.onnx"
    with pytest.raises(NotMonotoneError, match=r"-0\.5"):
        load(path)
    with pytest.raises(specification.Refused):
        specification.evaluate(onnx.load(path), np.ones((1, 4), dtype=np.float32))


def test_every_operator_occurs_and_the_page_names_every_file():
    found = {n.op_type for name in NODES for n in onnx.load(FOLDER / f"{name}.onnx").graph.node}
    assert found == set(OPERATORS)
    named = set(re.findall(r"`(\w+)`", (FOLDER / "README.md").read_text()))
    assert {path.stem for path in FOLDER.glob("*.onnx")} <= named
    assert all(np.any(vector(name)[1] > 0.0) for name in NAMES)


def test_the_script_writes_them_anew(tmp_path, monkeypatch):
    script = FOLDER / "generate.py"
    monkeypatch.setattr(sys, "argv", [str(script), "-o", str(tmp_path)])
    runpy.run_path(str(script), run_name="__main__")
    assert {p.name for p in tmp_path.iterdir()} == {
        p.name for p in FOLDER.iterdir() if p.suffix in (".onnx", ".npz")
    }
    for name in NAMES:
        with np.load(tmp_path / f"{name}.npz") as fresh, np.load(FOLDER / f"{name}.npz") as stored:
            key = "x" if "x" in stored else "u"
            assert np.array_equal(fresh[key], stored[key])
            result = "y" if "y" in stored else "z"
            # Another processor sums in another order.
            limit = (fresh["error"] + stored["error"]).max()
            assert np.abs(fresh[result] - stored[result]).max() <= limit
        graphs = [onnx.load(place / f"{name}.onnx").graph for place in (tmp_path, FOLDER)]
        assert graphs[0].initializer == graphs[1].initializer
