"""Where float32 leaves the standard model: what onnxruntime computes there is never refuted."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import vnn_mondeq
from vnn_mondeq.onnx_io.attach import attach_solver
from vnn_mondeq.onnx_io.operator import DOMAIN, IR_VERSION, OPSET, VERSION
from vnn_mondeq.result import Verdict

QUERY = """(vnnlib-version <2.0>)
(declare-network f (declare-input X float32 [1,1]) (declare-output Y float32 [1,1]))
(assert (>= X[0,0] 0.5))
(assert (<= X[0,0] 1.0))
(assert {})
"""


def model_of(nodes: list, stored: dict[str, float]) -> onnx.ModelProto:
    tensors = [
        numpy_helper.from_array(np.array([[value]], dtype=np.float32), name)
        for name, value in stored.items()
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1]) for n in ("X", "Y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def chain(operator: str, exponents: list[int]) -> onnx.ModelProto:
    """`x` multiplied (divided) by powers of two one after the other."""
    stages = [f"t{k}" for k in range(len(exponents))]
    tensors = ["X", *stages[:-1], "Y"]
    scales = [f"s{k}" for k in range(len(exponents))]
    nodes = [
        helper.make_node(operator, [tensors[k], scales[k]], [tensors[k + 1]])
        for k in range(len(exponents))
    ]
    return model_of(nodes, {name: 2.0**e for e, name in zip(exponents, scales, strict=True)})


@pytest.mark.parametrize(
    "operator, exponents, x, question",
    [
        ("Mul", [-100, -60, 100, 60], 1.0, "(<= Y[0,0] 0.1)"),  # underflows to zero
        ("Div", [100, 60, -100, -60], 1.0, "(<= Y[0,0] 0.1)"),
        ("Mul", [-100, -49, 100, 49], 0.75, "(>= Y[0,0] 0.99)"),  # one bit is left of 0.75
    ],
)
def test_scaling_by_a_power_of_two_is_not_exact_where_it_underflows(
    tmp_path, operator, exponents, x, question
):
    path, query = tmp_path / "model.onnx", tmp_path / "query.vnnlib"
    onnx.save(chain(operator, exponents), path)
    upper = "(<= X[0,0] 1.0)" if x == 1.0 else "(<= X[0,0] 0.8)"
    query.write_text(QUERY.format(question).replace("(<= X[0,0] 1.0)", upper))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"X": np.array([[x]], dtype=np.float32)})
    assert y <= 0.1 if "<=" in question else y >= 0.99
    result = vnn_mondeq.verify_files(path, query, timeout=20)
    assert result.verdict is not Verdict.UNSAT


def threshold() -> onnx.ModelProto:
    """1 where `0.1 x > 1`, else 0."""
    nodes = [
        helper.make_node("Mul", ["X", "tenth"], ["t"]),
        helper.make_node("Greater", ["t", "one"], ["above"]),
        helper.make_node("Where", ["above", "one", "zero"], ["Y"]),
    ]
    return model_of(nodes, {"tenth": 0.1, "one": 1.0, "zero": 0.0})


def test_a_step_that_float32_takes_otherwise_than_exact_numbers_is_open(tmp_path):
    """`float32(0.1) * 10` is above 1, and rounds to 1."""
    path, query = tmp_path / "model.onnx", tmp_path / "query.vnnlib"
    onnx.save(threshold(), path)
    at_ten = QUERY.replace("0.5", "10.0").replace("(<= X[0,0] 1.0)", "(<= X[0,0] 10.0)")
    for question in ("(<= Y[0,0] 0.5)", "(>= Y[0,0] 0.5)"):
        query.write_text(at_ten.format(question))
        assert vnn_mondeq.verify_files(path, query, timeout=20).verdict is not Verdict.UNSAT


def test_ranges_of_outputs_in_polynomials_count_what_float32_makes_of_them(tmp_path):
    """`float32(0.1) * 10` squared is above 1, and what float32 makes of it is 1."""
    path, query = tmp_path / "model.onnx", tmp_path / "query.vnnlib"
    onnx.save(model_of([helper.make_node("Mul", ["X", "tenth"], ["Y"])], {"tenth": 0.1}), path)
    at_ten = QUERY.replace("0.5", "10.0").replace("(<= X[0,0] 1.0)", "(<= X[0,0] 10.0)")
    query.write_text(at_ten.format("(<= (* Y[0,0] Y[0,0]) 1.0)"))
    assert vnn_mondeq.verify_files(path, query, timeout=20).verdict is not Verdict.UNSAT
    query.write_text(at_ten.format("(<= (* Y[0,0] Y[0,0]) 0.999)"))
    assert vnn_mondeq.verify_files(path, query, timeout=20).verdict is Verdict.UNSAT


@pytest.mark.parametrize("operator", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"])
@pytest.mark.parametrize("edge", [0.5, 1.0])
def test_a_threshold_at_the_edge_of_the_box_is_open(operator, edge, tmp_path):
    """At the edge the comparison is a tie, and inside it is not: either branch is taken."""
    nodes = [
        helper.make_node(operator, ["X", "edge"], ["holds"]),
        helper.make_node("Where", ["holds", "one", "zero"], ["Y"]),
    ]
    path, query = tmp_path / "model.onnx", tmp_path / "query.vnnlib"
    onnx.save(model_of(nodes, {"edge": edge, "one": 1.0, "zero": 0.0}), path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for x in (0.5, 0.75, 1.0):
        (y,) = session.run(None, {"X": np.array([[x]], dtype=np.float32)})
        query.write_text(QUERY.format("(<= Y[0,0] 0.0)" if y == 0.0 else "(>= Y[0,0] 1.0)"))
        assert vnn_mondeq.verify_files(path, query, timeout=20).verdict is not Verdict.UNSAT


def test_a_witness_at_the_float32_beyond_a_bound_is_neither_sat_nor_refuted(tmp_path):
    """The float32 nearest to 0.1 is above 0.1: not in the query's set, and in the proofs'."""
    path, query = tmp_path / "model.onnx", tmp_path / "query.vnnlib"
    onnx.save(model_of([helper.make_node("Identity", ["X"], ["Y"])], {}), path)
    text = QUERY.replace("0.5", "0.0").replace("(<= X[0,0] 1.0)", "(<= X[0,0] 0.1)")
    query.write_text(text.format("(>= Y[0,0] 0.1)"))
    assert vnn_mondeq.verify_files(path, query, timeout=20).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("feedback", [0.9, 0.5, -3.0])
def test_bounds_behind_an_equilibrium_layer_count_its_gain(feedback, tmp_path):
    """`z = x / (1 - w)` is ten times its drive for `w = 0.9`; the sine behind it must know."""
    nodes = [
        helper.make_node("MonDEQ", ["X", "W"], ["z"], domain=DOMAIN),
        helper.make_node("Sin", ["z"], ["Y"]),
    ]
    model = attach_solver(model_of(nodes, {"W": feedback}))
    path, query = tmp_path / "model.onnx", tmp_path / "query.vnnlib"
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    xs = np.linspace(0.5, 1.0, 21, dtype=np.float32)
    ys = [session.run(None, {"X": x.reshape(1, 1)})[0].item() for x in xs]
    assert abs(ys[-1] - np.sin(1.0 / (1.0 - np.float32(feedback)))) < 1e-4
    for question in (f"(<= Y[0,0] {min(ys):.6f})", f"(>= Y[0,0] {max(ys):.6f})"):
        query.write_text(QUERY.format(question))
        assert vnn_mondeq.verify_files(path, query, timeout=20).verdict is not Verdict.UNSAT


def verdict_between(tmp_path, lower: str, upper: str) -> Verdict:
    """Of `Y >= 0.4` for `Y = X` with these two bounds."""
    path, query = tmp_path / "model.onnx", tmp_path / "query.vnnlib"
    onnx.save(model_of([helper.make_node("Identity", ["X"], ["Y"])], {}), path)
    bounds = QUERY.replace("(>= X[0,0] 0.5)", lower).replace("(<= X[0,0] 1.0)", upper)
    query.write_text(bounds.format("(>= Y[0,0] 0.4)"))
    return vnn_mondeq.verify_files(path, query, timeout=10).verdict


def test_strict_bounds_without_a_float_between_them_have_no_counterexample(tmp_path):
    """`0.5 < x < 0.5 + 2**-54`: the nearest float of either bound breaks it."""
    upper = "(< X[0,0] 0.50000000000000005)"
    assert verdict_between(tmp_path, "(> X[0,0] 0.5)", upper) is not Verdict.SAT


def test_a_coordinate_fixed_to_no_float_takes_the_nearest_one(tmp_path):
    assert verdict_between(tmp_path, "(>= X[0,0] 0.7)", "(<= X[0,0] 0.7)") is Verdict.SAT
