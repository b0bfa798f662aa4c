"""Plain `Loop` graphs: what is understood, how far the result may lie from the fixpoint, and what
is refused."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

sys.path.insert(0, str(Path(__file__).parent))
from drawn_loops import LoopCase, loop_model

from vnn_mondeq.budget import UNITS, bound_model_error
from vnn_mondeq.errors import UnsupportedModelError
from vnn_mondeq.onnx_io.load import compile_model
from vnn_mondeq.onnx_io.replay import Replay
from vnn_mondeq.system.solve import FixpointSolver

COUNT = ("go_on = Less(count_new, limit)",)
CHANGE = ("delta = Sub(z_new, z)",)
MAX = (*CHANGE, "size = Abs(delta)", "err = ReduceMax{keepdims=0}(size)")
ROW_NORM = (*CHANGE, "norms = ReduceL2{keepdims=0}(delta, axes)")
RELATIVE = (
    *(*ROW_NORM, "sizes = ReduceL2{keepdims=0}(z_new, axes)", "scale = Add(sizes, tiny)"),
    *("ratio = Div(norms, scale)", "err = ReduceMax{keepdims=0}(ratio)"),
)
AXES = {"axes": np.array([1]), "tiny": np.array(1e-9)}
STOP = ("more = Greater(err, tol)",)
BOTH = (*STOP, "left = Less(count_new, limit)", "go_on = And(more, left)")

MASK = {"mask": np.array([1.0, 0.0, 1.0, 1.0, 0.0])}
MASKED_TAIL = ("s = Mul(d, step)", "m = Add(z, s)", "r = Relu(m)", "z_new = Mul(r, mask)")
DAMPED_TAIL = ("r = Relu(a)", "p = Mul(r, half)", "k = Mul(z, half)", "z_new = Add(p, k)")
LERP_TAIL = ("r = Relu(a)", "e = Sub(r, z)", "p = Mul(e, step)", "z_new = Add(z, p)")
SMALL = {"Wt": 0.2 * np.random.default_rng(3).normal(size=(5, 5))}


def unrolled(times: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The body of several steps, as TorchScript's loop unrolling writes it."""
    lines, state = [], "z"
    for k in range(times):
        new = "z_new" if k == times - 1 else f"z_{k}"
        lines += [
            f"w{k} = MatMul({state}, Wt)",
            f"a{k} = Add(w{k}, u)",
            f"d{k} = Sub(a{k}, {state})",
        ]
        lines += [f"s{k} = Mul(d{k}, step)", f"m{k} = Add({state}, s{k})", f"{new} = Relu(m{k})"]
        state = new
    return tuple(lines), ()


UNROLLED, NOTHING = unrolled(3)
CONVOLUTION = LoopCase(
    body=("zz = Pad{mode='constant'}(z, pads)", "w = Conv(zz, kernel)", "a = Add(w, u)"),
    tail=("r = Relu(a)", "z_new = Mul(r, ring)"),
    shape=(2, 3, 3),
    extra={
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "kernel": 0.08 * np.random.default_rng(0).normal(size=(2, 2, 3, 3)),
        "ring": np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=float),
    },
)

CASES = {
    "damped argument": LoopCase(),
    "few steps": LoopCase(trips=4),
    "double precision": LoopCase(dtype=np.float64),
    "a carried constant": LoopCase(invariant=True),
    "three steps a turn": LoopCase(body=UNROLLED, tail=NOTHING, trips=4),
    "masked": LoopCase(tail=MASKED_TAIL, extra=MASK),
    "damped result": LoopCase(tail=DAMPED_TAIL, extra=SMALL, trips=12),
    "interpolated result": LoopCase(tail=LERP_TAIL, extra=SMALL, trips=40),
    "not damped": LoopCase(tail=("z_new = Relu(a)",), extra=SMALL, trips=6),
    "convolution": CONVOLUTION,
    "a counter": LoopCase(trips=None, condition=COUNT),
    "a counter read backwards": LoopCase(
        trips=None,
        condition=("stop = LessOrEqual(limit, count_new)", "go_on = Not(stop)"),
    ),
    "the loop's own counter": LoopCase(trips=None, condition=("go_on = Less(iteration, limit)",)),
    "largest change": LoopCase(trips=None, condition=(*MAX, *BOTH)),
    "only a tolerance": LoopCase(trips=None, condition=(*MAX, "go_on = Greater(err, tol)")),
    "norm": LoopCase(trips=50, condition=(*CHANGE, "err = ReduceL2{keepdims=0}(delta)", *BOTH)),
    "sum": LoopCase(trips=50, condition=(*CHANGE, "err = ReduceL1{keepdims=0}(delta)", *BOTH)),
    "norm of the worst row": LoopCase(
        condition=(*ROW_NORM, "err = ReduceMax{keepdims=0}(norms)", *BOTH), extra=AXES
    ),
    "relative": LoopCase(trips=None, condition=(*RELATIVE, *BOTH), extra=AXES),
    "only a relative tolerance": LoopCase(
        trips=None, condition=(*RELATIVE, "go_on = Greater(err, tol)"), extra=AXES
    ),
    "a maximum": LoopCase(tail=("s = Mul(d, step)", "m = Add(z, s)", "z_new = Max(none, m)")),
    "clipped below": LoopCase(tail=("s = Mul(d, step)", "m = Add(z, s)", "z_new = Clip(m, none)")),
    "only rounding": LoopCase(trips=400, extra={"C": np.eye(5)[:, :3]}),
    "a tolerance over three steps": LoopCase(
        body=UNROLLED, tail=NOTHING, trips=None, condition=(*MAX, *BOTH)
    ),
    "either of two reasons": LoopCase(
        trips=None,
        condition=(
            *(*MAX, "done = LessOrEqual(err, tol)", "late = GreaterOrEqual(count_new, limit)"),
            *("stop = Or(done, late)", "go_on = Not(stop)"),
        ),
    ),
}


def shaped(case: LoopCase, seed: int = 0) -> onnx.ModelProto:
    """The model, with its state in the case's shape."""
    model = loop_model(case, seed)
    if len(case.shape) == 1:
        return model
    stored = {t.name: t for t in model.graph.initializer}
    dims = onnx.numpy_helper.from_array(np.array([1, *case.shape]), "dims")
    flat = onnx.numpy_helper.from_array(np.array([1, -1]), "flat")
    model.graph.initializer.extend([dims, flat])
    for node in model.graph.node:
        if node.output[0] == "u":
            node.output[0] = "u_flat"
    at = next(i for i, n in enumerate(model.graph.node) if n.output[0] == "z0")
    model.graph.node.insert(at, helper.make_node("Reshape", ["u_flat", "dims"], ["u"]))
    model.graph.node.insert(
        len(model.graph.node) - 1, helper.make_node("Reshape", ["z_end", "flat"], ["z_flat"])
    )
    model.graph.node[-1].input[0] = "z_flat"
    assert "Wt" in stored
    return model


def compared(model: onnx.ModelProto, dtype: type, unit: float | None, count: int = 6):
    """`(difference, bound)` of onnxruntime and the system's fixpoint, `(count, outputs)`."""
    loaded = compile_model(model)
    system = loaded.system
    x = np.random.default_rng(5).normal(size=(count, 4)).astype(dtype)
    session = Replay(loaded.model_bytes)
    found = np.concatenate([session.run({"x": row[None]})["y"] for row in x]).astype(float)
    flat = x.astype(float)
    solution = FixpointSolver(system).solve(flat)
    difference = np.abs(system.output(solution.value, flat) - found)
    bounds = []
    for row in flat:
        error = bound_model_error(system, row, row, unit)
        reach = np.linalg.norm(system.output.coefficients.on_z, axis=1)
        bounds.append(error.output + reach * error.z_shift + 1e-12 * (1.0 + np.abs(found).max()))
    return difference, np.array(bounds)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_the_runtime_stays_within_the_bound(name, seed):
    case = CASES[name]
    model = shaped(case, seed)
    difference, bound = compared(model, case.dtype, UNITS[np.dtype(case.dtype).name])
    assert np.all(difference <= bound), difference.max()
    assert np.all(np.isfinite(bound))


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"convolution"}))
def test_the_bound_for_real_numbers_covers_that_the_loop_is_finite(name):
    """A double-precision run stands for exact arithmetic: it errs by less than 1e-12. (onnxruntime
    has no convolution in double precision.)"""
    case = dataclasses.replace(CASES[name], dtype=np.float64)
    difference, bound = compared(shaped(case), np.float64, None)
    assert np.all(difference <= bound), difference.max()
    if case.trips == 4 or "tol" in str(case.condition):
        assert difference.max() > 1e-7, "the loop ends at the fixpoint; the case shows nothing"
        assert np.all(bound < 2e3 * difference.max()), "so loose that a mistake would hide"


def test_a_long_loop_is_as_good_as_the_operator():
    difference, bound = compared(loop_model(LoopCase(trips=400, dtype=np.float64)), float, None)
    assert np.all(bound < 1e-9) and np.all(difference <= bound)


def test_several_steps_in_a_body_are_one_layer():
    one = compile_model(loop_model(LoopCase())).system
    three = compile_model(loop_model(LoopCase(body=UNROLLED, tail=NOTHING))).system
    assert one.neurons == three.neurons == 5
    assert np.array_equal(one.W, three.W) and np.array_equal(one.U, three.U)


TWICE = (
    *("w0 = MatMul(z, Wt)", "a0 = Add(w0, u)", "r0 = Relu(a0)", "p0 = Mul(r0, mask)"),
    *("w1 = MatMul(p0, Wt)", "a1 = Add(w1, u)", "r1 = Relu(a1)", "z_new = Mul(r1, mask)"),
)


def test_a_mask_between_the_steps_counts():
    case = LoopCase(body=TWICE, tail=(), extra=SMALL | MASK, trips=5)
    difference, bound = compared(loop_model(case), np.float32, UNITS["float32"])
    assert np.all(difference <= bound)
    leaking = tuple(line.replace("MatMul(p0", "MatMul(r0") for line in TWICE)
    with pytest.raises(UnsupportedModelError, match="not those before"):
        compile_model(loop_model(dataclasses.replace(case, body=leaking)))


def test_masked_neurons_drop_out():
    assert compile_model(loop_model(CASES["masked"])).system.neurons == 3


REFUSED = {
    "step too large": (LoopCase(extra={"step": np.array(1.5)}), "not proved to converge"),
    "another activation": (LoopCase(tail=("z_new = Tanh(a)",)), "no ReLU|0 tensors"),
    "something behind": (
        LoopCase(tail=("r = Relu(a)", "z_new = Add(r, u)"), extra=SMALL),
        "adds something behind",
    ),
    "a matrix behind": (
        LoopCase(tail=("r = Relu(a)", "z_new = MatMul(r, Wt)"), extra=SMALL),
        "mixes neurons",
    ),
    "a negative factor": (
        LoopCase(tail=("r = Relu(a)", "z_new = Neg(r)"), extra=SMALL),
        "neither a mask nor damping",
    ),
    "two different steps": (
        LoopCase(tail=("r = Relu(a)", "w2 = MatMul(r, Wt)", "z_new = Relu(w2)"), extra=SMALL),
        "different weights",
    ),
    "the counter in the body": (
        LoopCase(
            tail=("f = Cast{to=1}(count)", "b = Add(a, f)", "z_new = Relu(b)"),
            extra=SMALL,
            condition=COUNT,
        ),
        "reads count|operator Cast",
    ),
    "a product of states": (
        LoopCase(tail=("b = Mul(z, z)", "z_new = Relu(b)")),
        "product of two non-constant",
    ),
    "clipped above": (
        LoopCase(tail=("z_new = Clip(a, none, one_f)",), extra={"one_f": np.array(1.0)}),
        "operator Clip",
    ),
    "another maximum": (LoopCase(tail=("z_new = Max(a, half)",)), "operator Max"),
    "no end": (LoopCase(trips=None), "no limit of steps and no tolerance"),
    "no steps": (LoopCase(trips=0), "trip count must be a positive"),
    "a mean": (
        LoopCase(condition=(*CHANGE, "err = ReduceMean{keepdims=0}(delta)", *BOTH)),
        "no norm that is known",
    ),
    "the norm over the batch": (
        LoopCase(
            condition=(
                *CHANGE,
                "n = ReduceL2{keepdims=0}(delta, batch)",
                "err = ReduceMax{keepdims=0}(n)",
                *BOTH,
            ),
            extra={"batch": np.array([0])},
        ),
        "no norm that is known",
    ),
    "the size instead of the change": (
        LoopCase(condition=("err = ReduceL2{keepdims=0}(z_new)", *BOTH)),
        "not the change of the state",
    ),
    "the wrong way round": (
        LoopCase(condition=(*MAX, "go_on = Less(err, tol)")),
        "goes on while",
    ),
    "a condition on the input": (
        LoopCase(condition=("top = ReduceMax{keepdims=0}(u)", "go_on = Greater(top, tol)")),
        "no norm that is known",
    ),
    "a downward counter that never ends": (
        LoopCase(trips=None, condition=("go_on = Greater(count_new, zero)",)),
        "no limit of steps",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_refused_by_name(name):
    case, message = REFUSED[name]
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        compile_model(loop_model(case))
    assert "the_loop" in str(caught.value)


def test_the_exact_fixpoint_is_not_the_exact_loop():
    """Not even where the loop is so long that the bound on their distance vanishes."""
    from vnn_mondeq.system.exact import exact_outputs

    case = dataclasses.replace(CASES["not damped"], trips=10**6, dtype=np.float64)
    system = compile_model(loop_model(case)).system
    assert exact_outputs(system, np.zeros(4)) is None


def test_a_first_condition_that_is_false_is_refused():
    model = loop_model(LoopCase())
    for tensor in model.graph.initializer:
        if tensor.name == "true":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(False), "true"))
    with pytest.raises(UnsupportedModelError, match="first condition"):
        compile_model(model)


def test_other_results_of_the_loop_may_not_be_used():
    """A counter is no tensor of the network; as an optional input it would even seem absent."""
    model = loop_model(CASES["a counter"])
    model.graph.node[-1].output[0] = "y_raw"
    kind = onnx.TensorProto.FLOAT
    model.graph.node.append(helper.make_node("Cast", ["count_end"], ["low"], to=kind))
    model.graph.node.append(helper.make_node("Add", ["y_raw", "low"], ["y"]))
    with pytest.raises(UnsupportedModelError, match="'count_end' is used"):
        compile_model(model)


def test_a_state_of_columns_is_measured_as_a_whole():
    """Norms along an axis of length one are single entries: their maximum is no 2-norm."""
    columns = LoopCase(
        body=("w = MatMul(z, Wt)", "a = Add(w, u)", "d = Sub(a, z)"),
        trips=None,
        condition=(*ROW_NORM, "err = ReduceMax{keepdims=0}(norms)", *BOTH),
        extra={"axes": np.array([0])},
    )
    with pytest.raises(UnsupportedModelError, match="no norm that is known"):
        compile_model(loop_model(columns))
    without = dataclasses.replace(
        CASES["norm"],
        condition=(*CHANGE, "err = ReduceL2{keepdims=0,noop_with_empty_axes=1}(delta)", *BOTH),
    )
    with pytest.raises(UnsupportedModelError, match="no norm that is known"):
        compile_model(loop_model(without))


def test_a_masked_neuron_must_start_at_zero():
    model = loop_model(CASES["masked"])
    for node in model.graph.node:
        if node.op_type == "Loop":
            node.input[2] = "u"
    with pytest.raises(UnsupportedModelError, match="start at zero"):
        compile_model(model)


@pytest.mark.parametrize("trips", [3, 60])
def test_another_start_is_part_of_the_bound(trips):
    case = LoopCase(trips=trips, dtype=np.float64)
    model = loop_model(case)
    for node in model.graph.node:
        if node.op_type == "Loop":
            node.input[2] = "u"
    difference, bound = compared(model, np.float64, None)
    assert np.all(difference <= bound)


def test_commands_about_a_loop(tmp_path, capsys):
    """Verified as any other model; a Lipschitz constant would be the fixpoint's, not the loop's."""
    from vnn_mondeq.cli.main import main

    model, query = str(tmp_path / "loop.onnx"), str(tmp_path / "query.vnnlib")
    onnx.save(loop_model(LoopCase(trips=300)), model)
    np.save(tmp_path / "x.npy", np.full((1, 4), 0.5, dtype=np.float32))
    assert main(["inspect", model]) == 0
    assert "equilibrium layer (a plain loop that comes near it): z_end" in capsys.readouterr().out
    near = ("--input", str(tmp_path / "x.npy"))
    for kind in ("real", "float"):
        for eps, verdict in (("0.0001", "unsat"), ("100", "sat")):
            made = ("robustness", model, *near, "--eps", eps, "--type", kind, "-o", query)
            assert main(["-q", *made]) == 0
            assert main(["-q", "verify", query, "--network", f"f={model}", "--timeout", "30"]) == 0
            assert capsys.readouterr().out.split()[0] == verdict
    assert main(["lipschitz", model, "--norm", "2"]) == 2
    assert "z_end is the end of a plain loop" in capsys.readouterr().err


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_column_norms_neither_underflow_nor_overflow(rng, scale):
    from scipy.sparse import csr_array

    from vnn_mondeq.onnx_io.loop_bound import _columns

    matrix = rng.normal(size=(6, 4)) * scale
    matrix[:, 1] = 0.0
    found = _columns({0: csr_array(matrix), 1: csr_array((6, 2))}, 7)
    expected = np.linalg.norm(matrix / scale, axis=0) * scale
    assert found.keys() == {0}
    assert np.all(found[0][0] >= expected)
    assert np.all(found[0][0] <= expected * (1.0 + 1e-5) + 1e-140 * scale + 2.0**-999)
