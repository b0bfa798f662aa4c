"""What the importer refuses, and what it reads exactly."""

import gzip

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vnn_mondeq.errors import ModelError, NotMonotoneError, UnsupportedModelError
from vnn_mondeq.onnx_io import load
from vnn_mondeq.onnx_io.export_arrays import export_arrays
from vnn_mondeq.onnx_io.operator import DOMAIN, OPSET
from vnn_mondeq.onnx_io.replay import Replay
from vnn_mondeq.system.solve import FixpointSolver


def _node(model: onnx.ModelProto) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.domain == DOMAIN)


def test_weights_are_read_exactly(dense_arrays, write):
    arrays = dense_arrays()
    arrays["W"] = -np.eye(6) + 0.1 * arrays["A"]
    system = load(write(export_arrays(arrays))).system
    assert np.array_equal(system.W, arrays["W"].astype(np.float32).astype(float))
    assert np.array_equal(system.U, arrays["U"].astype(np.float32).astype(float))
    assert np.array_equal(system.output.coefficients.on_z, arrays["C"].astype(np.float32))
    assert system.preactivation.radius is None and system.output.radius is None


def test_factored_weights_are_within_their_radius(dense_arrays, write):
    from fractions import Fraction

    arrays = dense_arrays(p=3)
    system = load(write(export_arrays(arrays))).system
    radius = system.preactivation.radius.on_z
    P, Q = (arrays[key].astype(np.float32).astype(float) for key in "AB")
    exact = [
        [
            Fraction(1 if i == j else 0) * (1 - Fraction(2.0))
            - sum(Fraction(P[k, i]) * Fraction(P[k, j]) for k in range(3))
            + Fraction(Q[i, j])
            - Fraction(Q[j, i])
            for j in range(3)
        ]
        for i in range(3)
    ]
    for i in range(3):
        for j in range(3):
            distance = abs(exact[i][j] - Fraction(system.W[i, j]))
            assert distance <= Fraction(radius[i, j]) < Fraction(1, 10**12)
    assert system.proof.modulus > 2.0 - 1e-6


def test_compressed_file(dense_model, write):
    path = write(gzip.compress(dense_model.SerializeToString()), "model.onnx.gz")
    model = load(path)
    assert model.system.neurons == 6
    assert model.inputs == {"x": (1, 4)} and model.outputs == {"y": (1, 3)}
    assert model.element_type == "float32"


def test_missing_file(tmp_path):
    with pytest.raises(ModelError, match=r"nothing\.onnx: cannot be read"):
        load(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("keep", [0, 1, 100, -7])
def test_truncated_file(dense_model, write, keep):
    data = dense_model.SerializeToString()[:keep]
    with pytest.raises(ModelError, match=r"model\.onnx"):
        load(write(data))


def test_truncated_gzip(dense_model, write):
    data = gzip.compress(dense_model.SerializeToString())[:-30]
    with pytest.raises(ModelError, match="damaged gzip"):
        load(write(data))


@pytest.mark.parametrize("data", [b"not an onnx file at all\n", bytes(range(256))])
def test_not_onnx(write, data):
    with pytest.raises(ModelError, match="not a"):
        load(write(data))


def test_changed_body_is_refused(dense_model, write):
    body = dense_model.functions[0]
    scalar = next(node for node in body.node if node.output[0] == "unit_scale")
    scalar.attribute[0].t.CopyFrom(helper.make_tensor("x", TensorProto.DOUBLE, [], [1e6]))
    with pytest.raises(ModelError, match=r"body of the function .*MonDEQFactored"):
        load(write(dense_model))


def test_body_of_another_operator_is_refused(dense_arrays, write):
    factored = export_arrays(dense_arrays())
    dense = export_arrays(dense_arrays(), form="W")
    factored.functions[0].CopyFrom(dense.functions[0])
    factored.functions[0].name = "MonDEQFactored"
    with pytest.raises(ModelError):
        load(write(factored))


@pytest.mark.parametrize(("version", "accepted"), [(21, True), (17, False), (26, False)])
def test_opset_of_the_body(dense_model, write, version, accepted):
    dense_model.functions[0].opset_import[0].version = version
    next(o for o in dense_model.opset_import if not o.domain).version = max(version, 18)
    if accepted:
        assert load(write(dense_model)).system.neurons == 6
    else:
        with pytest.raises(ModelError):
            load(write(dense_model))


def test_documentation_in_the_body_is_no_change(dense_model, write):
    dense_model.functions[0].doc_string = "a remark"
    assert load(write(dense_model)).system.neurons == 6


def test_replaced_standard_operator_is_refused(dense_model, write):
    node = helper.make_node("Identity", ["a"], ["b"])
    gemm = helper.make_function("", "Gemm", ["a"], ["b"], [node], [helper.make_opsetid("", OPSET)])
    dense_model.functions.append(gemm)
    with pytest.raises(ModelError, match="Gemm"):
        load(write(dense_model))


def test_opaque_node_gets_its_body(dense_model, write):
    x = np.random.default_rng(0).normal(size=(1, 4)).astype(np.float32)
    expected = Replay(dense_model.SerializeToString()).run({"x": x})["y"]
    del dense_model.functions[:]
    node = _node(dense_model)
    kept = [a for a in node.attribute if a.name == "m"]
    del node.attribute[:]
    node.attribute.extend(kept)
    found = Replay(load(write(dense_model)).model_bytes).run({"x": x})["y"]
    assert np.allclose(found, expected, atol=1e-6)


def test_foreign_functions_are_inlined(dense_model, write):
    before = load(write(dense_model)).system
    twice = helper.make_node("Add", ["a", "a"], ["b"])
    function = helper.make_function(
        "other", "Twice", ["a"], ["b"], [twice], [helper.make_opsetid("", OPSET)]
    )
    dense_model.functions.append(function)
    dense_model.opset_import.append(helper.make_opsetid("other", 1))
    dense_model.graph.node[-1].output[0] = "half"
    dense_model.graph.node.append(helper.make_node("Twice", ["half"], ["y"], domain="other"))
    after = load(write(dense_model)).system
    on_z = before.output.coefficients.on_z
    assert np.array_equal(after.output.coefficients.on_z, 2.0 * on_z)


def test_unknown_version_of_the_domain(dense_model, write):
    next(o for o in dense_model.opset_import if o.domain == DOMAIN).version = 2
    with pytest.raises(ModelError, match="version 2"):
        load(write(dense_model))


def test_layer_that_is_not_monotone_is_named(dense_arrays, write):
    arrays = dense_arrays()
    arrays["W"] = 1.5 * np.eye(6)
    with pytest.raises(NotMonotoneError, match=r"MonDEQ_z.*MonDEQ"):
        load(write(export_arrays(arrays)))


def test_step_size_that_diverges_is_refused(dense_model, write):
    next(a for a in _node(dense_model).attribute if a.name == "alpha").f = 10.0
    with pytest.raises(ModelError, match="alpha"):
        load(write(dense_model))


def test_unknown_attribute_is_refused(dense_model, write):
    _node(dense_model).attribute.append(helper.make_attribute("beta", 1.0))
    del dense_model.functions[:]
    with pytest.raises(ModelError, match="unknown attributes beta"):
        load(write(dense_model))


def test_domain_imported_twice_is_refused(dense_model, write):
    dense_model.opset_import.append(helper.make_opsetid("ai.onnx", 13))
    with pytest.raises(ModelError):
        load(write(dense_model))


def test_unsupported_operators_are_listed_together(dense_model, write):
    graph = dense_model.graph
    graph.node[-1].output[0] = "y0"
    graph.node.append(helper.make_node("Asinh", ["y0"], ["y1"], name="squash"))
    graph.node.append(helper.make_node("LogSoftmax", ["y1"], ["y"], name="last"))
    with pytest.raises(UnsupportedModelError, match=r"squash.*Asinh.*last.*LogSoftmax"):
        load(write(dense_model))


def test_unsupported_uses_are_listed_together(dense_model, write):
    graph = dense_model.graph
    graph.node[-1].output[0] = "y0"
    graph.node.append(helper.make_node("MatMul", ["y0", "y0"], ["y1"], name="square"))
    graph.node.append(helper.make_node("Pow", ["y0", "y0"], ["y2"], name="ratio"))
    graph.node.append(helper.make_node("Add", ["y1", "y2"], ["y"], name="sum"))
    with pytest.raises(UnsupportedModelError, match=r"square.*ratio") as caught:
        load(write(dense_model))
    assert "sum" not in str(caught.value)


def test_dead_nodes_do_not_matter(dense_model, write):
    dense_model.graph.node.append(helper.make_node("Sigmoid", ["y"], ["unused"]))
    assert load(write(dense_model)).system.neurons == 6


@pytest.mark.parametrize(
    ("shape", "message"),
    [(["N", "M"], "symbolic dimension 1"), ([2, 4], "batch|u must be"), (None, "shape")],
)
def test_input_shapes_that_are_refused(dense_model, write, shape, message):
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    dense_model.graph.input[0].CopyFrom(value)
    with pytest.raises(ModelError, match=message):
        load(write(dense_model))


def test_weights_that_are_not_finite(dense_model, write):
    tensor = next(t for t in dense_model.graph.initializer if t.name == "U")
    array = numpy_helper.to_array(tensor).copy()
    array[0, 0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(array, "U"))
    with pytest.raises(ModelError, match=r"'U'.*not finite"):
        load(write(dense_model))


def test_masked_neurons_drop_out(convolutional_arrays, write):
    model = export_arrays(convolutional_arrays(), image_size=(10, 10))
    loaded = load(write(model))
    (block,) = loaded.system.blocks
    assert block.size == 50 and loaded.system.neurons == 18 == block.kept.size
    x = np.random.default_rng(1).random((1, 1, 10, 10)).astype(np.float32)
    expected = Replay(loaded.model_bytes).run({"x": x})["y"]
    solution = FixpointSolver(loaded.system).solve(x.reshape(1, -1))
    assert np.allclose(loaded.system.output(solution.value, x.reshape(1, -1)), expected, atol=1e-5)


def test_mask_must_be_zeros_and_ones(convolutional_arrays, write):
    model = export_arrays(convolutional_arrays(), image_size=(10, 10))
    tensor = next(t for t in model.graph.initializer if t.name == "mask")
    tensor.CopyFrom(numpy_helper.from_array(0.5 * numpy_helper.to_array(tensor), "mask"))
    with pytest.raises(ModelError, match="only 0 and 1"):
        load(write(model))


def test_weights_instead_of_a_model_are_told_apart(tmp_path):
    """What a new user has is often a checkpoint; the message says which command takes it."""
    np.savez(tmp_path / "weights.npz", W=np.eye(2))
    with pytest.raises(ModelError, match=r"zip archive.*vnn-mondeq export"):
        load(tmp_path / "weights.npz")
