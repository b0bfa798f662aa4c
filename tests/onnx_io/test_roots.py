"""Functions with a limited domain: proved where the argument stays inside, searched elsewhere."""

import onnx
import pytest
from onnx import TensorProto, helper

import vnn_mondeq
from vnn_mondeq.result import Reason, Verdict

HEAD = """(vnnlib-version <2.0>)
(declare-network f (declare-input X float32 [1,2]) (declare-output Y float32 [1,2]))
(assert (and (>= X[0,0] -1.0) (<= X[0,0] 2.0) (>= X[0,1] -1.0) (<= X[0,1] 2.0)))
"""


def _verify(tmp_path, nodes, assertion):
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("X", "Y")
    ]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "query.vnnlib").write_text(HEAD + assertion)
    found = vnn_mondeq.verify_files(tmp_path / "model.onnx", tmp_path / "query.vnnlib", timeout=20)
    return found


ROOT = [helper.make_node("Abs", ["X"], ["a"]), helper.make_node("Sqrt", ["a"], ["Y"])]
LOG = [helper.make_node("Log", ["X"], ["Y"])]


@pytest.mark.parametrize(
    ("assertion", "verdict"),
    [("(assert (>= Y[0,0] 1.6))", Verdict.UNSAT), ("(assert (>= Y[0,0] 1.4))", Verdict.SAT)],
)
def test_a_root_of_an_absolute_value_is_inside_its_domain(tmp_path, assertion, verdict):
    assert _verify(tmp_path, ROOT, assertion).verdict is verdict


def test_where_a_tensor_has_no_bounds_nothing_is_proved(tmp_path):
    """`log(-1)` is no number."""
    found = _verify(tmp_path, LOG, "(assert (>= Y[0,0] 0.8))")
    assert (found.verdict, found.reason) == (Verdict.UNKNOWN, Reason.UNBOUNDED_TENSOR)
