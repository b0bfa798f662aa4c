"""Errors followed from block to block: exact rationals that err as much as they may stay within."""

import dataclasses
import itertools
from fractions import Fraction

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from oracle import exact_fixpoint
from strategies import plain_feedback

from vnn_mondeq.budget import bound_model_error
from vnn_mondeq.layered_bounds import KnownBounds, backward_bounds
from vnn_mondeq.layered_error import layered_error
from vnn_mondeq.onnx_io.load import compile_model
from vnn_mondeq.rounding import UNIT32, norm_up
from vnn_mondeq.system.affine import AffineMap, Coefficients
from vnn_mondeq.system.implicit import Block, ImplicitSystem
from vnn_mondeq.system.monotone import MonotonicityProof

INPUTS = 2
RADIUS, UNIT = 2.0**-12, 2.0**-10
"""Large errors, so that exact and float bounds differ in many digits."""


def stack(rng: np.random.Generator, sizes: list[int], feedback: list[bool]) -> ImplicitSystem:
    """Layers one behind the other, all connected to all earlier ones and to the input."""
    p = sum(sizes)
    W, U, b = np.zeros((p, p)), rng.normal(size=(p, INPUTS)), rng.normal(size=p)
    blocks, start = [], 0
    for k, (size, looped) in enumerate(zip(sizes, feedback, strict=True)):
        here = slice(start, start + size)
        W[here, :start] = rng.normal(size=(size, start)) * rng.integers(0, 2, size=(size, start))
        if looped:
            W[here, here] = plain_feedback(rng, size)
        blocks.append(Block(f"b{k}", start, here.stop, looped, 1.0, size, np.arange(size)))
        start += size
    radius, runtime = (
        Coefficients(*(np.abs(a) * scale for a in (W, U, b))) for scale in (RADIUS, 1.0)
    )
    for block in blocks:
        # A runtime's feedback counts in the body's own error.
        runtime.on_z[block.start : block.stop, block.start : block.stop] = 0.0
    output = AffineMap(Coefficients(np.eye(p), np.zeros((p, INPUTS)), np.zeros(p)))
    layers = AffineMap(Coefficients(W, U, b), radius, runtime)
    # The blocks' own moduli are found by the code under test.
    proof = MonotonicityProof(modulus=1e-3, norm=1e3)
    tensors = {"x": (INPUTS,)}, {"y": (p,)}
    return ImplicitSystem(layers, output, tuple(blocks), proof, *tensors)


def rational(array) -> list:
    return [Fraction(float(v)) for v in array]


def fixpoint(system: ImplicitSystem, x: np.ndarray, signs=None) -> list[Fraction]:
    """The exact fixpoint block by block; with `signs`, of a system that errs as far as it may."""
    maps = system.preactivation
    z: list[Fraction] = []
    for block in system.blocks:
        here = range(block.start, block.stop)
        shift, own = [], system.W[block.start : block.stop, block.start : block.stop].copy()
        if signs is not None:
            # Rounded towards the stored weights, so that the premise holds.
            extra = maps.radius.on_z[block.start : block.stop, block.start : block.stop]
            own += extra * signs[0][block.start : block.stop, block.start : block.stop] * 0.999
        for i in here:
            value = Fraction(float(system.b[i]))
            terms = [(system.W[i, j], z[j]) for j in range(block.start)]
            terms += [(system.U[i, j], Fraction(float(x[j]))) for j in range(INPUTS)]
            value += sum((Fraction(float(w)) * t for w, t in terms), Fraction(0))
            if signs is not None:
                value += _allowed(system, i, block.start, z, x, signs)
            shift.append(value)
        if not block.feedback:
            z += [max(v, Fraction(0)) for v in shift]
            continue
        size = block.stop - block.start
        z += exact_fixpoint(own, np.eye(size), np.zeros(size), shift)
    return z


def _allowed(system, i, start, z, x, signs) -> Fraction:
    total = Fraction(0)
    maps = system.preactivation
    for weights, factor, sign in (
        (maps.radius, 1.0, None),
        (maps.runtime, UNIT, signs[1][i]),
    ):
        parts = [Fraction(float(weights.on_z[i, j])) * z[j] * int(signs[0][i, j] if sign is None
                 else 1) for j in range(start)]  # fmt: skip
        parts += [Fraction(float(weights.on_x[i, j])) * abs(Fraction(float(x[j])))
                  for j in range(INPUTS)]  # fmt: skip
        parts += [Fraction(float(weights.offset[i]))]
        total += sum(parts, Fraction(0)) * Fraction(factor) * (1 if sign is None else int(sign))
    return total


SHAPES = (
    ([3, 3, 2], [False, False, False]),
    ([3, 2, 2], [True, False, True]),
    ([2, 3, 3], [False, True, False]),
    ([4, 4], [False, False]),
)


def bounds_of(system: ImplicitSystem, low: np.ndarray, high: np.ndarray):
    moved = [(system.preactivation.radius, 1.0), (system.preactivation.runtime, UNIT)]
    return layered_error(system, low, high, moved, UNIT)


@pytest.mark.parametrize("shape", range(len(SHAPES)))
@pytest.mark.parametrize("width", [0.0, 0.1, 1.0])
def test_a_system_that_errs_as_far_as_it_may_stays_within_the_bounds(shape, width, rng):
    largest = 0.0
    for _ in range(4):
        system = stack(rng, *SHAPES[shape])
        p = system.neurons
        low = rng.normal(size=INPUTS)
        found = bounds_of(system, low, low + width)
        rows = np.vstack([np.eye(p), rng.normal(size=(3, p))])
        allowed, moved = found.row_moves(rows), found.moved
        for _ in range(3):
            x = low + width * rng.choice([0.0, 0.5, 1.0], size=INPUTS)
            x = np.clip(x, low, low + width)
            signs = rng.choice([-1, 1], size=(p, p)), rng.choice([-1, 1], size=p)
            z, moved_z = fixpoint(system, x), fixpoint(system, x, signs)
            e = [a - b for a, b in zip(moved_z, z, strict=True)]
            assert all(abs(v) <= Fraction(float(m)) for v, m in zip(e, moved, strict=True))
            for value in (z, moved_z):
                assert all(v <= Fraction(float(s)) for v, s in zip(value, found.size, strict=True))
            for row, limit in zip(rows, allowed, strict=True):
                shift = sum((a * v for a, v in zip(rational(row), e, strict=True)), Fraction(0))
                assert abs(shift) <= Fraction(float(limit))
                largest = max(largest, float(abs(shift)) / limit)
    # The bounds are attained up to a factor, or the law would be empty.
    assert largest > 0.02


def test_one_layer_attains_its_bound():
    rng = np.random.default_rng(4)
    system = stack(rng, [3], [False])
    positive = dataclasses.replace(system.preactivation.coefficients, offset=np.full(3, 50.0))
    layers = dataclasses.replace(system.preactivation, coefficients=positive, radius=None)
    system = dataclasses.replace(system, preactivation=layers)
    x = np.array([0.5, -0.25])
    found = layered_error(system, x, x, [(layers.runtime, UNIT)], UNIT)
    weights = layers.runtime.on_x @ np.abs(x) + layers.runtime.offset
    row = np.array([[1.0, -2.0, 0.5]])
    exact = np.abs(row[0]) @ weights * UNIT
    assert exact <= found.row_moves(row)[0] <= 1.001 * exact


def test_an_open_neuron_passes_the_whole_error_on():
    """Three neurons in a chain; the phase of the second is open, so all of the first's error may
    arrive."""
    W = np.diag([1.0, 1.0], -1)
    U, b = np.array([[1.0], [0.0], [0.0]]), np.array([5.0, -5.0, 5.0])
    own = Coefficients(np.zeros((3, 3)), np.zeros((3, 1)), np.array([1.0, 0.0, 0.0]))
    blocks = tuple(Block(f"b{k}", k, k + 1, False, 1.0, 1, np.arange(1)) for k in range(3))
    nothing = AffineMap(Coefficients(np.eye(3), np.zeros((3, 1)), np.zeros(3)))
    layers = AffineMap(Coefficients(W, U, b), None, own)
    proof = MonotonicityProof(modulus=1e-3, norm=1e3)
    system = ImplicitSystem(layers, nothing, blocks, proof, {"x": (1,)}, {"y": (3,)})
    found = layered_error(system, np.array([-1.0]), np.array([1.0]), [(own, UNIT)], UNIT)
    assert found.slope_low[1] == 0.0 and found.slope_high[1] == 1.0
    row = np.array([[0.0, 0.0, 1.0]])
    assert UNIT <= found.row_moves(row)[0] <= 1.001 * UNIT


def test_linear_bounds_hold_the_preactivations(rng):
    narrower = 0
    for _ in range(6):
        system = stack(rng, [4, 4, 3], [False, False, False])
        low, high = np.full(INPUTS, -0.4), np.full(INPUTS, 0.6)
        p = system.neurons
        x = rng.uniform(low, high, size=(200, INPUTS))
        v, z = np.zeros((200, p)), np.zeros((200, p))
        wide = KnownBounds(*(np.zeros(p) for _ in range(4)), low, high)
        for k, block in enumerate(system.blocks):
            here = slice(block.start, block.stop)
            v[:, here] = z @ system.W[here].T + x @ system.U[here].T + system.b[here]
            z[:, here] = np.maximum(v[:, here], 0.0)
            least, most = backward_bounds(system, system.blocks[:k], block, wide)
            assert np.all(least <= v[:, here].min(axis=0) + 1e-12)
            assert np.all(most >= v[:, here].max(axis=0) - 1e-12)
            wide.v_low[here], wide.v_high[here] = least, most
            wide.low[here], wide.high[here] = np.maximum(least, 0.0), np.maximum(most, 0.0)
            W = system.W[here]
            by_interval = np.maximum(W, 0.0) @ wide.high - np.minimum(W, 0.0) @ wide.low
            narrower += k > 0 and bool(np.any(most - least < by_interval))
    assert narrower > 0


def deep_model(rng: np.random.Generator, sizes: list[int]):
    nodes, weights, last = [], [], "x"
    for k, (a, b) in enumerate(itertools.pairwise(sizes)):
        W = (rng.normal(size=(a, b)) * 1.4 / np.sqrt(a)).astype(np.float32)
        bias = (0.1 * rng.normal(size=b)).astype(np.float32)
        weights += [numpy_helper.from_array(W, f"W{k}"), numpy_helper.from_array(bias, f"b{k}")]
        nodes.append(helper.make_node("Gemm", [last, f"W{k}", f"b{k}"], [f"h{k}"]))
        nodes.append(helper.make_node("Relu", [f"h{k}"], [f"r{k}"]))
        last = f"r{k}"
    nodes[-1] = helper.make_node("Identity", [f"h{k}"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, sizes[0]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, sizes[-1]])
    graph = helper.make_graph(nodes, "deep", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_deep_networks_have_a_useful_bound_that_the_runtime_keeps(rng):
    """Two norms for all layers gave more than 1000 here; what float32 errs is about 1e-6."""
    model = compile_model(deep_model(rng, [5, 50, 50, 50, 50, 50, 50, 5]))
    system = model.system
    centre = rng.uniform(0.0, 1.0, size=5)
    low, high = centre - 0.02, centre + 0.02
    error = bound_model_error(system, low, high, UNIT32)
    rows = system.output.coefficients.on_z
    allowed = error.row_shifts(rows, np.zeros_like(rows)) + error.output
    assert np.all(allowed <= 0.01)
    assert np.all(allowed <= 1e-4 * norm_up(rows, axis=1) * error.z_shift)
    session = onnxruntime.InferenceSession(model.model_bytes)
    for _ in range(20):
        x = np.clip(rng.uniform(low, high).astype(np.float32), low, high).astype(np.float32)
        y = session.run(None, {"x": x[None]})[0][0]
        z = np.zeros(system.neurons)
        for block in system.blocks:
            here = slice(block.start, block.stop)
            z[here] = np.maximum(system.W[here] @ z + system.U[here] @ x + system.b[here], 0.0)
        exact = system.output(z[None], x[None].astype(np.float64))[0]
        assert np.all(np.abs(y - exact) <= allowed)
        assert np.any(y != exact)
