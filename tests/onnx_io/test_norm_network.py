"""The norm gadget: what is written is what is recognised and what onnxruntime computes."""

import math
from fractions import Fraction

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from vnn_mondeq.errors import ModelError
from vnn_mondeq.onnx_io.norm_network import export_norm_network, load_norm_network
from vnn_mondeq.onnx_io.replay import Replay


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("coordinates", [None, np.array([4, 1])])
@pytest.mark.parametrize("q", [1, 2, math.inf])
def test_round_trip(write, rng, q, coordinates, dtype):
    center = rng.random(6 if coordinates is None else 2)
    shape = (1, 2, 3)
    model = export_norm_network(q, center, shape, coordinates=coordinates, dtype=dtype)
    onnx.checker.check_model(model, full_check=True)
    network = load_norm_network(write(model))
    assert network.q == q
    assert network.center == tuple(Fraction(float(v)) for v in center.astype(dtype))
    assert network.coordinates.tolist() == (list(range(6)) if coordinates is None else [4, 1])
    x = rng.random(shape).astype(dtype)
    (norm,) = Replay(model.SerializeToString()).run({"x": x})["norm"].reshape(-1)
    difference = x.reshape(-1)[network.coordinates] - center
    assert norm == pytest.approx(np.linalg.norm(difference, q), rel=1e-6)


def _two_norm() -> onnx.ModelProto:
    return export_norm_network(2, np.zeros(3), (1, 3))


def _rename_reduction(model: onnx.ModelProto) -> None:
    model.graph.node[-1].op_type = "ReduceSumSquare"


def _scale_output(model: onnx.ModelProto) -> None:
    model.graph.node[-1].output[0] = "half"
    model.graph.node.append(helper.make_node("Add", ["half", "half"], ["norm"]))


def _swap_subtraction(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[:] = ["center", "flat"]


def _other_axis(model: onnx.ModelProto) -> None:
    axes = next(t for t in model.graph.initializer if t.name == "axes")
    axes.CopyFrom(numpy_helper.from_array(np.array([0], dtype=np.int64), "axes"))


def _extra_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[-1].attribute.append(helper.make_attribute("noop_with_empty_axes", 1))


def _center_shape(model: onnx.ModelProto) -> None:
    center = next(t for t in model.graph.initializer if t.name == "center")
    center.CopyFrom(numpy_helper.from_array(np.zeros((1, 1), dtype=np.float32), "center"))


def _hidden_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Identity", ["a"], ["b"])
    model.functions.append(
        helper.make_function("", "Flatten", ["a"], ["b"], [node], [helper.make_opsetid("", 21)])
    )


@pytest.mark.parametrize(
    "change",
    [
        *(_rename_reduction, _scale_output, _swap_subtraction, _other_axis, _extra_attribute),
        *(_center_shape, _hidden_function),
    ],
)
def test_anything_else_is_refused(write, change):
    model = _two_norm()
    load_norm_network(write(model))
    change(model)
    with pytest.raises(ModelError, match=r"model\.onnx"):
        load_norm_network(write(model))


def test_a_network_under_test_is_no_norm_network(dense_model, write):
    with pytest.raises(ModelError, match="not a norm network"):
        load_norm_network(write(dense_model))


@pytest.mark.parametrize(("q", "center"), [(3, np.zeros(3)), (2, np.zeros(2)), (2, [0, 0, np.nan])])
def test_impossible_norms_are_refused(q, center):
    with pytest.raises(ModelError):
        export_norm_network(q, np.asarray(center), (1, 3))
