"""The exporter from raw arrays: what it refuses, what both forms mean, what is written."""

import numpy as np
import onnx
import pytest

from vnn_mondeq.errors import ModelError, OutputError
from vnn_mondeq.onnx_io import load
from vnn_mondeq.onnx_io.circular import circular_matrix
from vnn_mondeq.onnx_io.export_arrays import composed_kernel, export_arrays, factored_matrix
from vnn_mondeq.onnx_io.replay import Replay
from vnn_mondeq.onnx_io.save import save


@pytest.mark.parametrize("key", ["A", "U", "c"])
def test_missing_array_is_named(dense_arrays, key):
    arrays = dense_arrays()
    del arrays[key]
    with pytest.raises(ModelError, match=f"lack {key}"):
        export_arrays(arrays)


@pytest.mark.parametrize(
    ("key", "shape"), [("B", (6, 5)), ("u", (5,)), ("C", (3, 7)), ("c", (4,)), ("A", (6,))]
)
def test_array_of_wrong_shape_is_named(dense_arrays, key, shape):
    with pytest.raises(ModelError, match=rf"\b{key} "):
        export_arrays(dense_arrays() | {key: np.zeros(shape)})


@pytest.mark.parametrize("std", [np.array([0.0]), np.array([1.0, 1.0, 1.0]), None])
def test_normalisation_that_cannot_be_is_refused(dense_arrays, std):
    arrays = dense_arrays() | {"mean": np.array([0.5])}
    with pytest.raises(ModelError, match="std"):
        export_arrays(arrays if std is None else arrays | {"std": std})


def test_not_finite_weights_are_refused(dense_arrays):
    arrays = dense_arrays()
    arrays["U"][0, 0] = 1e300
    with pytest.raises(ModelError, match="'U'"):
        export_arrays(arrays)


def test_image_size_that_does_not_fit_is_refused(convolutional_arrays):
    with pytest.raises(ModelError, match="z_shape"):
        export_arrays(convolutional_arrays())


def test_composed_kernel_is_the_factored_operator(rng):
    P, Q = rng.normal(size=(2, 2, 2, 3, 3))
    shape = (2, 6, 7)
    expected = factored_matrix(circular_matrix(P, shape), circular_matrix(Q, shape), 0.7)
    assert np.allclose(circular_matrix(composed_kernel(P, Q, 0.7), shape), expected, atol=1e-12)


def test_both_forms_agree(convolutional_arrays, rng):
    x = rng.random((2, 1, 10, 10)).astype(np.float32)
    outputs = [
        Replay(
            export_arrays(
                convolutional_arrays(), form=form, image_size=(10, 10)
            ).SerializeToString()
        ).run({"x": x})["y"]
        for form in ("factored", "W")
    ]
    assert np.allclose(*outputs, atol=1e-5)


def test_exported_model_is_valid_and_declares_the_shape_of_z(dense_model):
    onnx.checker.check_model(dense_model, full_check=True)
    (info,) = [value for value in dense_model.graph.value_info if value.name == "z"]
    assert [d.dim_param or d.dim_value for d in info.type.tensor_type.shape.dim] == ["N", 6]


def test_saving_is_reproducible_and_whole(dense_arrays, tmp_path):
    first, second = tmp_path / "a.onnx.gz", tmp_path / "b.onnx.gz"
    for path in (first, second):
        save(export_arrays(dense_arrays()), path)
    assert first.read_bytes() == second.read_bytes()
    assert load(first).system.neurons == 6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx.gz", "b.onnx.gz"]


def test_saving_into_nowhere_is_an_output_error(dense_model, tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        save(dense_model, tmp_path / "nowhere" / "model.onnx")
