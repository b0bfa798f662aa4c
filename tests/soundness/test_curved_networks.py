"""Networks with operators that are not piecewise linear: no verdict is wrong.

- The bounds that the importer proves on the way hold for sampled inputs, layer by layer.
- Small networks over two inputs: a fine grid of the box, evaluated by onnxruntime, contradicts no
  `unsat`, and what it violates clearly is `sat`.
- A convolution with max pooling, trained on digits: minima over a box equal those of a
  mixed-integer program that knows nothing of this package's rewriting of maxima.
"""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import Bounds, LinearConstraint, milp
from strategies import constraint, query_of

from vnn_mondeq.api import verify
from vnn_mondeq.onnx_io.curve import GELU, SIN, SQUARE, UNARY, elu, power
from vnn_mondeq.onnx_io.interpolation import bent, cut_pieces, straight
from vnn_mondeq.onnx_io.load import compile_model
from vnn_mondeq.query.input_set import Box
from vnn_mondeq.result import Verdict

CURVES = {**UNARY, "Gelu": GELU, "Elu": elu(1.3), "Square": SQUARE, "Cube": power(3.0),
          "Root": power(0.5), "Sin": SIN}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CURVES))
@pytest.mark.parametrize("shape", [bent, straight])
def test_curves_stay_within_their_proved_distance(name, shape, rng):
    curve = CURVES[name]
    lower = rng.uniform(-9.0, 9.0, size=60)
    upper = lower + rng.choice([0.0, 1e-6, 0.1, 2.0, 20.0], size=60)
    if curve.domain[0] > -1.0:
        lower, upper = np.abs(lower), np.abs(lower) + upper - lower
    with np.errstate(all="ignore"):
        p = shape(cut_pieces(curve, lower, upper, 400))
    tight = 0
    for k in range(60):
        t = np.linspace(lower[k], upper[k], 400)
        own = p.where == k
        value = p.offset[k] + p.base[k] * t
        value = value + np.maximum(t[:, None] - p.knot[own], 0.0) @ p.change[own]
        gap = curve.value(t) - value
        slack = 1e-11 * (1.0 + p.largest[k])
        assert gap.min() >= p.low[k] - slack and gap.max() <= p.high[k] + slack
        assert np.abs(curve.value(t)).max() <= p.largest[k] + slack
        tight += gap.max() - gap.min() >= 0.3 * (p.high[k] - p.low[k])
        low, high = curve.hull(lower[k : k + 1], upper[k : k + 1])
        assert low[0] - slack <= curve.value(t).min() and curve.value(t).max() <= high[0] + slack
    assert tight >= 15


def network(rng, sizes: list[int], operators: list[str], scale: float = 1.0) -> onnx.ModelProto:
    nodes, weights, last = [], [], "x"
    for k, operator in enumerate([*operators, "Identity"]):
        W = rng.normal(size=(sizes[k], sizes[k + 1])) * scale / np.sqrt(sizes[k])
        weights.append(numpy_helper.from_array(W.astype(np.float32), f"W{k}"))
        weights.append(
            numpy_helper.from_array(rng.normal(size=sizes[k + 1]).astype(np.float32), f"b{k}")
        )
        nodes.append(helper.make_node("Gemm", [last, f"W{k}", f"b{k}"], [f"h{k}"]))
        nodes.append(helper.make_node(operator, [f"h{k}"], [f"a{k}"]))
        last = f"a{k}"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", sizes[0]])
    y = helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", sizes[-1]])
    graph = helper.make_graph(nodes, "net", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


LAYERS = ["Tanh", "Sigmoid", "Relu", "Softplus", "HardSwish", "LeakyRelu", "Abs", "Gelu", "Sin"]


@pytest.mark.parametrize("seed", range(10))
def test_a_grid_contradicts_no_verdict(seed):
    rng = np.random.default_rng([5, seed])
    model = network(rng, [2, 6, 5, 2], [str(v) for v in rng.choice(LAYERS, size=2)], 1.5)
    loaded, session = compile_model(model), session_of(model)
    low = rng.uniform(-1.0, 0.0, size=2).astype(np.float32).astype(float)
    high = low + float(rng.choice([0.25, 1.0]))
    axes = [np.linspace(a, b, 121) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2).astype(np.float32)
    points = np.clip(points, low.astype(np.float32), high.astype(np.float32))
    y = session.run(None, {"x": points})[0].astype(np.float64)
    gap = y[:, 0] - y[:, 1]
    spread = gap.max() - gap.min()
    for share in (-0.6, -0.2, -0.02, 0.02, 0.3):
        # Violated where y0 - y1 <= threshold.
        threshold = gap.min() + share * spread
        rows = [constraint({0: 1.0, 1: -1.0}, -threshold)]
        query = query_of([(Box.from_floats(low, high), rows)], 2, 2, version="1.0")
        result = verify(loaded, query, timeout=3.0)
        if share > 0:
            assert result.verdict is not Verdict.UNSAT
        else:
            # The grid may miss a minimum that lies between its points, but not by much.
            assert result.verdict is not Verdict.SAT or share > -0.1
        if share in (-0.6, 0.3):
            assert result.verdict in (Verdict.SAT, Verdict.UNSAT)


@pytest.mark.parametrize("seed", range(4))
def test_bounds_on_the_way_hold_what_the_runtime_computes(seed):
    from vnn_mondeq.onnx_io.builder import Builder

    rng = np.random.default_rng([6, seed])
    operators = [str(v) for v in rng.choice(LAYERS, size=4)]
    model = network(rng, [3, 7, 6, 6, 5, 2], operators)
    low = rng.normal(size=3).astype(np.float32).astype(float)
    high = low + 0.5
    seen: list[tuple[str, np.ndarray, np.ndarray]] = []
    relaxed = Builder.enclose

    def noted(builder, form):
        bounds = relaxed(builder, form)
        seen.append((form, *bounds))
        return bounds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Builder, "enclose", noted)
        compile_model(model, box=(low, high))
    for node in list(model.graph.node):
        if node.op_type == "Gemm":
            model.graph.output.append(
                helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
            )
    x = rng.uniform(low, high, size=(500, 3)).astype(np.float32)
    x[:8] = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    layers = session_of(model).run(None, {"x": x})[1:]
    checked = 0
    for form, least, most in seen:
        for layer in layers:
            same = layer.shape[1] == form.size
            inside = same and np.all(layer >= least - 1e-9) and np.all(layer <= most + 1e-9)
            checked += bool(inside)
    curved = sum(operator not in ("Relu", "LeakyRelu", "Abs") for operator in operators)
    assert checked >= curved


def test_max_pooling_on_digits_has_the_minima_of_a_mixed_integer_program():
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits

    X, labels = load_digits(return_X_y=True)
    X = (X / 16.0).astype(np.float32)
    rng = np.random.default_rng(8)
    K = (rng.normal(size=(2, 1, 3, 3)) * 0.5).astype(np.float32)
    features = _pooled(X[:600], K)
    targets = np.eye(10)[labels[:600]]
    A = np.hstack([features, np.ones((600, 1))])
    solution = np.linalg.solve(A.T @ A + 0.1 * np.eye(A.shape[1]), A.T @ targets)
    W, b = solution[:-1].astype(np.float32), solution[-1].astype(np.float32)
    model = _pooling_model(K, W, b)
    loaded = compile_model(model)
    right = decided = 0
    for k in range(600, 604):
        low, high = np.clip(X[k] - 0.03, 0, 1), np.clip(X[k] + 0.03, 0, 1)
        label = int(labels[k])
        other = (label + 1) % 10
        minimum = _pooled_minimum(low.astype(float), high.astype(float), K, W, b, label, other)
        for shift, expected in ((-0.02, Verdict.UNSAT), (0.02, Verdict.SAT)):
            rows = [constraint({label: 1.0, other: -1.0}, -(minimum + shift))]
            box = Box.from_floats(low.astype(float), high.astype(float))
            query = query_of([(box, rows)], 64, 10, version="1.0")
            found = verify(loaded, query, timeout=8.0).verdict
            assert found in (expected, Verdict.UNKNOWN, Verdict.TIMED_OUT)
            right += found is expected
            decided += 1
    assert right >= decided - 2


def _pooled(X: np.ndarray, K: np.ndarray) -> np.ndarray:
    images = X.reshape(-1, 8, 8)
    patches = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    maps = np.einsum("nijab,oab->noij", patches, K[:, 0])
    return maps.reshape(len(X), 2, 3, 2, 3, 2).max(axis=(3, 5)).reshape(len(X), -1)


def _pooling_model(K, W, b) -> onnx.ModelProto:
    weights = {"K": K, "W": W, "b": b, "shape": np.array([1, 1, 8, 8], np.int64)}
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["image"]),
        helper.make_node("Conv", ["image", "K"], ["maps"]),
        helper.make_node("MaxPool", ["maps"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "W", "b"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "digits", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _pooled_minimum(low, high, K, W, b, label, other) -> float:
    """The least `y_label - y_other`: each maximum is one of four entries, chosen by a binary."""
    maps = np.zeros((2, 6, 6, 64))
    for o in range(2):
        for i in range(6):
            for j in range(6):
                plane = np.zeros((8, 8))
                plane[i : i + 3, j : j + 3] = K[o, 0]
                maps[o, i, j] = plane.reshape(-1)
    groups = maps.reshape(2, 3, 2, 3, 2, 64).transpose(0, 1, 3, 2, 4, 5).reshape(18, 4, 64)
    cost = W[:, label].astype(float) - W[:, other].astype(float)
    count = 64 + 18 + 72  # x, maxima, binaries
    rows, least, most = [], [], []
    reach = np.maximum(groups, 0) @ high + np.minimum(groups, 0) @ low
    floor = np.maximum(groups, 0) @ low + np.minimum(groups, 0) @ high
    for g in range(18):
        for e in range(4):
            # m >= entry, and m <= entry + M (1 - chosen)
            row = np.zeros(count)
            row[:64], row[64 + g] = -groups[g, e], 1.0
            rows.append(row)
            least.append(0.0)
            most.append(np.inf)
            big = float(reach[g].max() - floor[g, e])
            row = row.copy()
            row[82 + 4 * g + e] = big
            rows.append(row)
            least.append(-np.inf)
            most.append(big)
        row = np.zeros(count)
        row[82 + 4 * g : 86 + 4 * g] = 1.0
        rows.append(row)
        least.append(1.0)
        most.append(1.0)
    objective = np.zeros(count)
    objective[64:82] = cost
    lower = np.concatenate([low, np.full(18, -1e3), np.zeros(72)])
    upper = np.concatenate([high, np.full(18, 1e3), np.ones(72)])
    integral = np.concatenate([np.zeros(82), np.ones(72)])
    result = milp(
        objective,
        constraints=LinearConstraint(np.array(rows), least, most),
        bounds=Bounds(lower, upper),
        integrality=integral,
    )
    assert result.status == 0
    return float(result.fun) + float(b[label]) - float(b[other])
