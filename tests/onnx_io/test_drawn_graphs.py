"""Drawn graphs: the compiled system against onnxruntime, within the importer's own error bounds."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from drawn_graphs import drawn_models

from vnn_mondeq.budget import UNITS, bound_model_error
from vnn_mondeq.onnx_io.load import compile_model
from vnn_mondeq.onnx_io.replay import Replay
from vnn_mondeq.system.solve import FixpointSolver


def _compare(model: onnx.ModelProto, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`(system's output, runtime's output, bound)` at one drawn input."""
    loaded = compile_model(model)
    system, dtype = loaded.system, loaded.dtype
    (shape,) = loaded.inputs.values()
    x = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    (name,) = loaded.outputs
    found = Replay(loaded.model_bytes).run({"x": x})[name].reshape(-1).astype(float)
    flat = x.reshape(1, -1).astype(float)
    solution = FixpointSolver(system).solve(flat)
    expected = system.output(solution.value, flat)[0]
    error = bound_model_error(system, flat[0], flat[0], UNITS[loaded.element_type])
    reach = np.linalg.norm(system.output.coefficients.on_z, axis=1)
    slack = 1e-13 * (1.0 + np.abs(expected))  # of evaluating `system.output` itself
    bound = error.output + reach * (error.z_shift + solution.error_bound[0]) + slack
    return expected, found, bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=120)
@given(data=st.data())
def test_system_agrees_with_onnxruntime_within_its_bounds(dtype, data):
    model = data.draw(drawn_models(dtype))
    expected, found, bound = _compare(model, data.draw(st.integers(0, 1000)))
    assert expected.shape == found.shape
    assert np.all(np.abs(expected - found) <= bound), (
        np.abs(expected - found).max(),
        [node.op_type for node in model.graph.node],
    )


def test_bounds_are_neither_zero_nor_vacuous(dense_arrays):
    from vnn_mondeq.onnx_io.export_arrays import export_arrays

    arrays = dense_arrays(p=20, d=30) | {"mean": np.array([0.3]), "std": np.array([0.7])}
    expected, found, bound = _compare(export_arrays(arrays), 0)
    difference = np.abs(expected - found)
    assert difference.max() > 0.0
    assert np.all(bound < 1e-2) and np.all(bound < 1e5 * difference.max())


@pytest.mark.parametrize(
    "name", ["fc87_mnist", "fc200_cifar10", "fc100_hcas", "convsmall_mnist", "convsmall_cifar10"]
)
def test_reference_networks_compile_to_what_they_are(reference_arrays, name):
    from vnn_mondeq.onnx_io.export_arrays import export_arrays

    arrays, x = reference_arrays(name)
    loaded = compile_model(export_arrays(arrays))
    system = loaded.system
    assert system.proof.modulus > 19.99  # m is 20 in all of them
    flat = x.astype(np.float32).astype(float)
    solution = FixpointSolver(system).solve(flat)
    logits = system.output(solution.value, flat)
    expected = arrays["logits_first100"]
    assert np.abs(logits - expected).max() <= 2e-6 * np.abs(expected).max()
    assert np.array_equal(logits.argmax(axis=1), expected.argmax(axis=1))
    (shape,) = loaded.inputs.values()
    reach = np.linalg.norm(system.output.coefficients.on_z, axis=1)
    session = Replay(loaded.model_bytes)
    for k in range(3):
        error = bound_model_error(system, flat[k], flat[k], UNITS["float32"])
        (found,) = session.run({"x": flat[k].reshape(shape).astype(np.float32)})["y"]
        bound = error.output + reach * (error.z_shift + solution.error_bound[k]) + 1e-12
        assert np.all(np.abs(found - logits[k]) <= bound) and np.all(bound < 1.0)
