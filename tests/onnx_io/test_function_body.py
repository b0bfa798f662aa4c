"""The operators' bodies in stock onnxruntime: accuracy, independence of rows, both types."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vnn_mondeq.onnx_io.circular import circular_matrix, transposed_kernel
from vnn_mondeq.onnx_io.export_arrays import export_arrays, factored_matrix
from vnn_mondeq.onnx_io.function_body import function_body
from vnn_mondeq.onnx_io.operator import DOMAIN, IR_VERSION, OPERATORS, OPSET
from vnn_mondeq.onnx_io.replay import Replay
from vnn_mondeq.onnx_io.step_size import choose_alpha, step_limit

REFERENCES = (
    *("fc40_mnist", "fc87_mnist", "fc200_mnist", "fc200_cifar10", "fc100_hcas"),
    *("convsmall_mnist", "convsmall_cifar10"),
)


@pytest.mark.parametrize("form", ["factored", "W"])
@pytest.mark.parametrize("name", REFERENCES)
def test_body_reproduces_reference_logits(reference_arrays, name, form):
    arrays, x = reference_arrays(name)
    model = export_arrays(arrays, form=form)
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:]
    logits = Replay(model.SerializeToString()).run({"x": x.reshape(-1, *shape).astype("f4")})["y"]
    expected = arrays["logits_first100"]
    # Rounding the weights to float32 moves the logits by about 1e-6 of their size.
    assert np.abs(logits - expected).max() <= 2e-6 * np.abs(expected).max()


def _operator_model(name: str, u: np.ndarray, weights: dict[str, np.ndarray], W: np.ndarray, m):
    """A model of one node."""
    spec = OPERATORS[name]
    kind = helper.np_dtype_to_tensor_dtype(u.dtype)
    alpha = choose_alpha(W)
    settings = {"alpha": alpha, "tol": 1e-12, "max_iter": step_limit(W, alpha, 1e-12)}
    settings |= {"m": m} if "m" in spec.attributes else {}
    node = helper.make_node(name, list(spec.inputs), ["z"], domain=DOMAIN, **settings)
    shape = ["N", *u.shape[1:]]
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("u", kind, shape)],
        [helper.make_tensor_value_info("z", kind, shape)],
        [numpy_helper.from_array(a.astype(u.dtype), k) for k, a in weights.items()],
    )
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(
        graph, opset_imports=imports, functions=[function_body(name)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _case(name: str, dtype: type):
    """`(model, u, W, mask)` of one operator with small random weights."""
    rng = np.random.default_rng(7)
    m = 0.5
    if name.startswith("MonDEQConv"):
        shape = (2, 4, 5)
        P, Q = (rng.normal(size=(2, 2, 3, 3)).astype(dtype) for _ in range(2))
        W = factored_matrix(circular_matrix(P, shape), circular_matrix(Q, shape), m)
        mask = np.zeros((1, 4, 5))
        mask[:, 1:-1, 1:-1] = 1.0
        weights = {"P": P, "Q": Q, "mask": mask}
        if name == "MonDEQConv":
            K = 0.1 * rng.normal(size=(2, 2, 3, 3)).astype(dtype)
            W, weights = circular_matrix(K.astype(dtype), shape), {"K": K, "mask": mask}
    else:
        shape, mask = (6,), np.ones(6)
        P, Q = rng.normal(size=(4, 6)).astype(dtype), rng.normal(size=(6, 6)).astype(dtype)
        W, weights = factored_matrix(P, Q, m), {"P": P, "Q": Q}
        if name == "MonDEQ":
            W = W.astype(dtype).astype(float)
            weights = {"W": W}
    u = rng.normal(size=(3, *shape)).astype(dtype)
    full = np.broadcast_to(mask, shape).reshape(-1)
    kept = np.flatnonzero(full)
    model = _operator_model(name, u, weights, W[np.ix_(kept, kept)], m)
    return model, u, W, full


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_body_satisfies_fixpoint_equation(name, dtype):
    model, u, W, mask = _case(name, dtype)
    z = Replay(model.SerializeToString()).run({"u": u})["z"]
    assert z.dtype == dtype and z.shape == u.shape
    flat = z.reshape(3, -1).astype(float)
    image = mask * np.maximum(flat @ W.T + u.reshape(3, -1), 0.0)
    assert np.abs(flat).max() > 0.1
    unit = np.finfo(dtype).eps
    # The residual of a point within 1e-11 (or half an ulp) of the fixpoint.
    assert np.abs(flat - image).max() <= 10.0 * np.linalg.norm(W, 2) * (unit + 1e-11)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_rows_are_independent(name):
    model, u, _, _ = _case(name, np.float32)
    session = Replay(model.SerializeToString())
    before = session.run({"u": u})["z"]
    changed = u.copy()
    changed[1:] = 1e4 * np.abs(u[1:]) + 3.0
    after = session.run({"u": changed})["z"]
    assert np.array_equal(before[0], after[0])
    assert not np.array_equal(before[1:], after[1:])


def test_not_a_number_in_one_row_leaves_others_alone():
    model, u, _, _ = _case("MonDEQFactored", np.float32)
    session = Replay(model.SerializeToString())
    before = session.run({"u": u})["z"]
    u[1] = np.nan
    after = session.run({"u": u})["z"]
    assert np.array_equal(before[[0, 2]], after[[0, 2]])
    assert np.isnan(after[1]).any()


def test_body_agrees_with_onnx_reference_evaluator():
    model, u, _, _ = _case("MonDEQConvFactored", np.float32)
    from onnx.reference import ReferenceEvaluator

    (expected,) = ReferenceEvaluator(model).run(None, {"u": u})
    found = Replay(model.SerializeToString()).run({"u": u})["z"]
    assert np.abs(expected - found).max() <= 1e-6


def test_transposed_kernel_gives_transposed_matrix():
    kernel = np.random.default_rng(0).normal(size=(2, 3, 3, 3))
    matrix = circular_matrix(kernel, (3, 4, 5))
    assert np.array_equal(circular_matrix(transposed_kernel(kernel), (2, 4, 5)), matrix.T)


def test_bodies_hold_no_sizes():
    for name in OPERATORS:
        body = function_body(name)
        assert body.domain == DOMAIN
        loop = next(node for node in body.node if node.op_type == "Loop")
        for value in (*loop.attribute[0].g.input, *loop.attribute[0].g.output):
            dims = value.type.tensor_type.shape.dim
            assert not dims or value.type.tensor_type.elem_type == TensorProto.INT64
