"""Relaxed operators against numpy in float64, where nothing but the proved error separates them.

The tests of the operators allow for a float32 runtime, which hides errors that are too small by a
little. Here `|f(t) - y| <= e` must hold for the system's value `y` with all auxiliary inputs at
zero and the bounds `e` of these inputs, on intervals that lie in tails, across breaks and at a
point.
"""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy import special

from vnn_mondeq.budget import bound_model_error
from vnn_mondeq.onnx_io.load import compile_model
from vnn_mondeq.rounding import UNIT32
from vnn_mondeq.system.solve import FixpointSolver

ENTRIES, POINTS = 60, 41
ROUNDING = 1e-13

SELU_ALPHA, SELU_GAIN = float(np.float32(1.67326319217681884765625)), 1.0507010221481323

FUNCTIONS = {
    "Sigmoid": (special.expit, {}, -30.0),
    "Tanh": (np.tanh, {}, -30.0),
    "Softplus": (lambda t: np.logaddexp(0.0, t), {}, -30.0),
    "Elu": (lambda t: np.where(t > 0, t, 1.5 * np.expm1(np.minimum(t, 0))), {"alpha": 1.5}, -30.0),
    "Celu": (
        lambda t: np.where(t > 0, t, 0.5 * np.expm1(np.minimum(t, 0) / 0.5)),
        {"alpha": 0.5},
        -30.0,
    ),
    "Selu": (
        lambda t: SELU_GAIN * np.where(t > 0, t, SELU_ALPHA * np.expm1(np.minimum(t, 0))),
        {},
        -30.0,
    ),
    "Gelu": (lambda t: 0.5 * t * special.erfc(-t / np.sqrt(2.0)), {}, -12.0),
    "Erf": (special.erf, {}, -9.0),
    "HardSwish": (lambda t: t * np.clip(t / 6 + 0.5, 0, 1), {}, -6.0),
    "Exp": (np.exp, {}, -30.0),
    "Sin": (np.sin, {}, -9.0),
    "Cos": (np.cos, {}, -9.0),
    "Sqrt": (np.sqrt, {}, 0.0),
    "Log": (np.log, {}, 0.01),
    "Reciprocal": (np.reciprocal, {}, 0.05),
}
"""Operator → the function, its attributes, and where arguments begin."""

POWERS = (2.0, 3.0, 4.0, 5.0, 0.5, 1.5, 2.5, -1.0, -2.0)


def model_of(
    nodes: list, size: int, stored: dict | None = None, kind: int = TensorProto.DOUBLE
) -> onnx.ModelProto:
    """`x [1, size]` to `y`, of the element type `kind`."""
    tensors = [numpy_helper.from_array(array, name) for name, array in (stored or {}).items()]
    ends = [helper.make_tensor_value_info(n, kind, [1, size]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def intervals(rng: np.random.Generator, begin: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Narrow and wide ones, some a point, some with an end at a round number."""
    span = 2.0 * abs(begin) if begin < 0 else 8.0
    low = begin + span * rng.random(count)
    width = 10.0 ** rng.uniform(-4, 1.2, count)
    width[::10] = 0.0
    low[1::7] = np.maximum(np.round(low[1::7]), begin)
    return low, np.minimum(low + width, max(begin + span, low.max()))


def largest_excess(proto: onnx.ModelProto, low, high, exact) -> float:
    """By how much `|f - y|` is above the error, relative to `1 + |f|`."""
    system = compile_model(proto, "drawn", (low, high)).system
    assert np.all(np.isfinite(system.auxiliary_upper))
    allowed = np.zeros(system.output_size)
    # Cutting off at known bounds moves nothing by more than the error that it cuts.
    places = np.abs(system.output.coefficients.on_x[:, system.file_input_size :])
    allowed += places @ system.auxiliary_upper
    shares = np.linspace(0.0, 1.0, POINTS)[:, None]
    x = np.clip(low + (high - low) * shares, low, high)
    points = np.hstack([x, np.zeros((POINTS, system.auxiliary_size))])
    y = system.output(FixpointSolver(system).solve(points).value, points)
    f = exact(x)
    return float(np.max((np.abs(f - y) - allowed) / (1.0 + np.abs(f))))


@pytest.mark.parametrize("operator", FUNCTIONS)
def test_unary_function_keeps_to_its_proved_error(operator):
    exact, attributes, begin = FUNCTIONS[operator]
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    low, high = intervals(np.random.default_rng([17, len(operator)]), begin, ENTRIES)
    assert largest_excess(model_of([node], ENTRIES), low, high, exact) <= ROUNDING


@pytest.mark.parametrize("exponent", POWERS)
def test_power_keeps_to_its_proved_error(exponent):
    node = helper.make_node("Pow", ["x", "e"], ["y"])
    begin = -4.0 if exponent in (2.0, 3.0, 4.0, 5.0) else 0.05 if exponent < 0 else 0.0
    low, high = intervals(np.random.default_rng(18), begin, ENTRIES)
    proto = model_of([node], ENTRIES, {"e": np.array(exponent)})
    assert largest_excess(proto, low, high, lambda t: t**exponent) <= ROUNDING


def test_product_keeps_to_its_proved_error():
    rng = np.random.default_rng(19)
    place = rng.permutation(ENTRIES)
    nodes = [
        helper.make_node("Gather", ["x", "place"], ["t"], axis=1),
        helper.make_node("Mul", ["x", "t"], ["y"]),
    ]
    low, high = intervals(rng, -4.0, ENTRIES)
    proto = model_of(nodes, ENTRIES, {"place": place})
    # Corners: the points of `largest_excess` move all entries alike.
    flipped = place[rng.random(ENTRIES) < 0.5]

    def exact(x):
        return x * x[:, place]

    assert largest_excess(proto, low, high, exact) <= ROUNDING
    system = compile_model(proto, "drawn", (low, high)).system
    places = np.abs(system.output.coefficients.on_x[:, system.file_input_size :])
    for _ in range(40):
        x = np.where(rng.random(ENTRIES) < 0.5, low, high)
        x[flipped] = low[flipped] + high[flipped] - x[flipped]
        point = np.concatenate([x, np.zeros(system.auxiliary_size)])[None]
        y = system.output(FixpointSolver(system).solve(point).value, point)[0]
        f = exact(x[None])[0]
        off = np.abs(f - y) - places @ system.auxiliary_upper
        assert np.all(off <= ROUNDING * (1.0 + np.abs(f)))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_softmax_keeps_to_its_proved_bounds(count):
    rng = np.random.default_rng([20, count])
    for _ in range(12):
        low = rng.normal(size=count) * 3.0
        high = low + 10.0 ** rng.uniform(-3, 0.7, count)
        proto = model_of([helper.make_node("Softmax", ["x"], ["y"], axis=1)], count)
        corners = np.array(np.meshgrid(*([[0, 1]] * count))).reshape(count, -1).T
        system = compile_model(proto, "drawn", (low, high)).system
        places = np.abs(system.output.coefficients.on_x[:, system.file_input_size :])
        for corner in corners:
            x = np.where(corner, high, low)
            point = np.concatenate([x, np.zeros(system.auxiliary_size)])[None]
            y = system.output(FixpointSolver(system).solve(point).value, point)[0]
            f = special.softmax(x)
            assert np.all(np.abs(f - y) <= places @ system.auxiliary_upper + 1e-15)


@pytest.mark.parametrize("operator", [*FUNCTIONS, "Mul", "Softmax", "Softmax2"])
def test_what_onnxruntime_computes_at_a_point_keeps_to_the_error(operator):
    """On a point the relaxation has no error of its own: what remains is the runtime's."""
    rng = np.random.default_rng([21, len(operator)])
    size = {"Softmax": 6, "Softmax2": 2}.get(operator, ENTRIES)
    _, attributes, begin = FUNCTIONS.get(operator, (None, {}, -4.0))
    name = operator.removesuffix("2")
    nodes = [helper.make_node(name, ["x"], ["y"], **attributes)]
    stored = {}
    if operator == "Mul":
        stored = {"place": rng.permutation(size)}
        turned = helper.make_node("Gather", ["x", "place"], ["t"], axis=1)
        nodes = [turned, helper.make_node("Mul", ["x", "t"], ["y"])]
    proto = model_of(nodes, size, stored, TensorProto.FLOAT)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for _ in range(5):
        x = (begin + min(2.0 * abs(begin), 8.0) * rng.random((1, size))).astype(np.float32)
        if begin >= 0.0:
            x = (begin + 8.0 * rng.random((1, size))).astype(np.float32)
        (computed,) = session.run(None, {"x": x})
        wide = x[0].astype(np.float64)
        model = compile_model(proto, "drawn", (wide, wide))
        system = model.system
        own = bound_model_error(system, *_box(system, wide), UNIT32)
        rows = system.output.coefficients.on_z
        allowed = own.output + own.row_shifts(rows, np.zeros_like(rows))
        places = np.abs(system.output.coefficients.on_x[:, system.file_input_size :])
        allowed = allowed + places @ system.auxiliary_upper
        point = np.concatenate([wide, np.zeros(system.auxiliary_size)])[None]
        y = system.output(FixpointSolver(system).solve(point).value, point)[0]
        off = np.abs(computed.astype(np.float64).reshape(-1) - y)
        assert np.all(off <= allowed + ROUNDING * np.abs(y))


def _box(system, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.concatenate([x, system.auxiliary_lower]),
        np.concatenate([x, system.auxiliary_upper]),
    )
