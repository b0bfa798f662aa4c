"""Shared by the tests of the ONNX front end."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from vnn_mondeq.onnx_io.export_arrays import export_arrays


@pytest.fixture
def reference_arrays(shared_data):
    """Loads a reference network by name, with its first inputs `(n, d)`; skips without data."""

    def load(name: str, count: int = 100) -> tuple[dict[str, np.ndarray], np.ndarray]:
        arrays = dict(np.load(shared_data / f"{name}.npz"))
        if name.endswith("hcas"):
            inputs = np.load(shared_data / "hcas_sample2000.npz")["inputs"]
        elif name.endswith("cifar10"):
            inputs = np.load(shared_data / "cifar10_test_first100.npz")["images"] / 255.0
        else:
            inputs = np.load(shared_data / "mnist_test_first1000.npz")["images"] / 255.0
        return arrays, inputs[:count].reshape(count, -1)

    return load


@pytest.fixture
def dense_arrays():
    """Weights of a random fully connected monDEQ in the layout of the exporter."""

    def draw(seed: int = 0, p: int = 6, d: int = 4, q: int = 3, m: float = 2.0):
        rng = np.random.default_rng(seed)
        return {
            "A": rng.normal(size=(p, p)),
            "B": rng.normal(size=(p, p)),
            "m": np.array(m),
            "U": rng.normal(size=(p, d)),
            "u": rng.normal(size=p),
            "C": rng.normal(size=(q, p)),
            "c": rng.normal(size=q),
        }

    return draw


@pytest.fixture
def convolutional_arrays():
    """Weights of a random convolutional monDEQ for one-channel 10 x 10 images."""

    def draw(seed: int = 0, channels: int = 2):
        rng = np.random.default_rng(seed)
        return {
            "U_kernel": rng.normal(size=(channels, 1, 4, 4)),
            "U_bias": rng.normal(size=channels),
            "A_kernel": rng.normal(size=(channels, channels, 3, 3)),
            "B_kernel": rng.normal(size=(channels, channels, 3, 3)),
            "g": np.array(1.7),
            "h": np.array(1.3),
            "m": np.array(2.0),
            "stride": np.array(2),
            "z_shape": np.array([channels, 5, 5]),
            "C": rng.normal(size=(3, channels * 4)),
            "c": rng.normal(size=3),
            "mean": np.array([0.3]),
            "std": np.array([0.4]),
        }

    return draw


@pytest.fixture
def dense_model(dense_arrays) -> onnx.ModelProto:
    return export_arrays(dense_arrays())


@pytest.fixture
def write(tmp_path):
    """Writes a model (or bytes) to a file and returns its path."""

    def write_file(model: onnx.ModelProto | bytes, name: str = "model.onnx") -> Path:
        path = tmp_path / name
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return path

    return write_file
