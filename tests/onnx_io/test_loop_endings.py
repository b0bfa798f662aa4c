"""Loops that end elsewhere than a reader in a hurry would think, and loops one behind the other.

Each refusal here was once an acceptance with a bound that onnxruntime's result broke, or could
have.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from drawn_loops import LoopCase, loop_model
from test_loops import AXES, BOTH, CASES, CHANGE, compared

from vnn_mondeq.budget import UNITS
from vnn_mondeq.errors import UnsupportedModelError
from vnn_mondeq.onnx_io.load import compile_model

DOUBLE = {"dtype": np.float64}
COLUMN = {"column": np.array([5, 1]), "batch": np.array([0]), "tol": np.array(0.1), **AXES}
TAIL = ("s = Mul(d, step)", "m = Add(z, s)")


@pytest.mark.parametrize(
    "condition",
    [
        ("go_on = Greater(count_new, limit)",),
        ("go_on = GreaterOrEqual(iteration, limit)",),
        ("stop = Less(count_new, limit)", "go_on = Not(stop)"),
        ("go_on = Less(limit, count_new)",),
    ],
)
def test_a_count_that_fails_at_once_ends_the_loop_at_once(condition):
    """A counter that moves away from its limit either never ends the loop or ends it now."""
    model = loop_model(LoopCase(condition=condition, **DOUBLE))
    once = loop_model(LoopCase(trips=1, **DOUBLE))
    difference, bound = compared(model, np.float64, None)
    assert np.all(difference <= bound)
    for found, expected in zip((difference, bound), compared(once, np.float64, None), strict=True):
        assert np.array_equal(found, expected)


REFUSED = {
    "a constant that a cast makes false": (
        LoopCase(condition=("whole = Cast{to=7}(half)", "go_on = Cast{to=9}(whole)"), **DOUBLE),
        "neither a count nor a tolerance",
    ),
    "a norm along the rows of a reshaped state": (
        LoopCase(
            condition=(
                *("after = Reshape(z_new, column)", "before = Reshape(z, column)"),
                *("delta = Sub(after, before)", "n = ReduceL2{keepdims=0}(delta, axes)"),
                *("err = ReduceMax{keepdims=0}(n)", *BOTH),
            ),
            extra=COLUMN,
        ),
        "no norm that is known",
    ),
    "a difference of every pair of neurons": (
        LoopCase(
            condition=(
                *("after = Reshape(z_new, column)", "delta = Sub(after, z)"),
                *("err = ReduceL2{keepdims=0}(delta)", *BOTH),
            ),
            extra=COLUMN,
        ),
        "not the change of the state",
    ),
    "one number for each neuron, of which a runtime looks at the first": (
        LoopCase(
            condition=(
                *(*CHANGE, "size = Abs(delta)", "err = ReduceMax{keepdims=0}(size, batch)"),
                *("more = Greater(err, tol)", "left = Less(count_new, limit)"),
                "go_on = And(more, left)",
            ),
            extra=COLUMN,
        ),
        "several numbers",
    ),
    "a maximum that adds an axis": (
        LoopCase(tail=(*TAIL, "z_new = Max(zero3, m)"), extra={"zero3": np.zeros((1, 1, 1))}),
        "operator Max",
    ),
    "a choice that adds an axis": (
        LoopCase(
            tail=(*TAIL, "r = Relu(m)", "z_new = Where(yes, r, r)"),
            extra={"yes": np.ones((1, 1, 1), bool)},
        ),
        "different shapes",
    ),
    "a norm along an axis that is not there": (
        LoopCase(
            condition=(
                *("delta = Sub(limit, one)", "err = ReduceL1{keepdims=0}(delta, axes)"),
                "go_on = Greater(err, limit)",
            ),
            extra=AXES,
        ),
        r"reduces axes \[1\]",
    ),
    "a count cast to small integers": (
        LoopCase(
            condition=("small = Cast{to=3}(count_new)", "go_on = Less(small, few)"),
            extra={"few": np.array(100, np.int8)},
        ),
        "goes on while 'small' is small",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_endings_that_are_refused(name):
    case, message = REFUSED[name]
    with pytest.raises(UnsupportedModelError, match=message):
        compile_model(loop_model(case))


def test_a_change_measured_after_reshaping_is_understood():
    """Exporters flatten before they measure; entry by entry it is the same difference."""
    condition = (
        *("after = Flatten(z_new)", "before = Flatten(z)", "delta = Sub(after, before)"),
        *("flat = Reshape(delta, row)", "n = ReduceL2{keepdims=0}(flat, axes)"),
        *("err = ReduceMax{keepdims=0}(n)", *BOTH),
    )
    extra = {**AXES, "row": np.array([1, -1])}
    plain = compared(loop_model(LoopCase(condition=condition, extra=extra)), np.float32, None)
    other = compared(loop_model(CASES["norm of the worst row"]), np.float32, None)
    assert np.all(plain[0] <= plain[1])
    assert np.array_equal(plain[1], other[1])


def _renamed(graph: onnx.GraphProto, prefix: str, kept: str) -> None:
    """Every tensor but `kept` under a new name, in bodies too."""

    def change(name: str) -> str:
        return name if not name or name == kept else prefix + name

    for tensor in graph.initializer:
        tensor.name = change(tensor.name)
    for value in (*graph.input, *graph.output):
        value.name = change(value.name)
    for node in graph.node:
        node.name = change(node.name)
        node.input[:] = [change(name) for name in node.input]
        node.output[:] = [change(name) for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _renamed(attribute.g, prefix, kept)


def stacked(first: onnx.ModelProto, second: onnx.ModelProto) -> onnx.ModelProto:
    """The second behind a ReLU behind the first."""
    first.graph.node[-1].output[0] = "score"
    first.graph.node.append(onnx.helper.make_node("Relu", ["score"], ["y"]))
    _renamed(first.graph, "a_", "x"), _renamed(second.graph, "b_", "y")
    for node in second.graph.node:
        node.input[:] = ["a_y" if name == "b_x" else name for name in node.input]
    del first.graph.output[:]
    first.graph.output.extend(second.graph.output)
    first.graph.node.extend(second.graph.node)
    first.graph.initializer.extend(second.graph.initializer)
    onnx.checker.check_model(first)
    return first


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["few steps", "only a tolerance", "three steps a turn"])
def test_a_loop_behind_a_loop(name, dtype):
    """Where the first ends far from its fixpoint, the second's argument is only known to within
    that: more than its weights, which the scaling of the blocks has to make up for."""
    wide = {"C": np.random.default_rng(1).normal(size=(5, 4))}
    case = dataclasses.replace(CASES[name], dtype=dtype)
    first = loop_model(dataclasses.replace(case, extra={**case.extra, **wide}))
    model = stacked(first, loop_model(dataclasses.replace(case), seed=7))
    difference, bound = compared(model, dtype, UNITS[np.dtype(dtype).name])
    assert np.all(difference <= bound) and np.all(np.isfinite(bound))


def test_what_is_said_about_sets_of_outputs_is_about_the_loop(tmp_path, capsys):
    """The ellipsoid contains what the loop computes; what is about fixpoints only is refused."""
    from vnn_mondeq.cli.main import main
    from vnn_mondeq.onnx_io.load import load
    from vnn_mondeq.onnx_io.replay import Replay
    from vnn_mondeq.query.input_set import Box
    from vnn_mondeq.reach import attained_outputs, reach
    from vnn_mondeq.sdp.lipschitz import lipschitz_bound

    path = tmp_path / "loop.onnx"
    onnx.save(loop_model(LoopCase(trips=2)), path)
    model, box = load(path), Box.from_floats(np.full(4, -0.2), np.full(4, 0.3))
    found = reach(model, box)
    points = np.random.default_rng(0).uniform(-0.2, 0.3, size=(50, 1, 4)).astype(np.float32)
    session = Replay(model.model_bytes)
    outputs = np.array([session.run({"x": x})["y"][0] for x in points], dtype=float)
    assert np.all(np.linalg.norm(outputs @ found.Q.T + found.b, axis=1) <= 1.0)
    for question in (lambda s: attained_outputs(s, box, (0, 1)), lambda s: lipschitz_bound(s, 2)):
        with pytest.raises(UnsupportedModelError, match="z_end is the end of a plain loop"):
            question(model.system)
    np.save(tmp_path / "x.npy", np.zeros((1, 4), np.float32))
    picture = tmp_path / "reach.png"
    asked = ("--input", str(tmp_path / "x.npy"), "--eps", "0.1", "--plot", str(picture))
    assert main(["reach", str(path), *asked]) == 2
    told = capsys.readouterr()
    assert "plot of attained outputs" in told.err and not told.out and not picture.exists()
