"""Robustness queries as text."""

import math
from fractions import Fraction

import numpy as np
import pytest

from vnn_mondeq.errors import InputError
from vnn_mondeq.vnnlib_io import robustness_query
from vnn_mondeq.vnnlib_io.write import decimal_text

IMAGE = np.float32([0.5, 0.25])


@pytest.mark.parametrize(
    "value, text",
    [
        ("0", "0.0"),
        ("-1", "-1.0"),
        ("1/8", "0.125"),
        ("-1/40", "-0.025"),
        ("12345/100", "123.45"),
        ("100", "100.0"),
        ("1/25", "0.04"),
        ("1/1024", "0.0009765625"),
    ],
)
def test_decimal_text_is_exact_and_plain(value, text):
    assert decimal_text(Fraction(value)) == text
    assert Fraction(text) == Fraction(value)


@pytest.mark.parametrize("value", [5e-324, 1.7976931348623157e308, float(np.float32(1e-45)), 0.1])
def test_decimal_text_of_extreme_floats(value):
    text = decimal_text(Fraction(value))
    assert Fraction(text) == Fraction(value)
    assert "e" not in text


def test_decimal_text_refuses_what_no_text_can_state():
    with pytest.raises(InputError, match="1/3"):
        decimal_text(Fraction(1, 3))


def test_v1_text_line_by_line():
    text = robustness_query(IMAGE, 0, math.inf, 0.25, classes=3, clip=(0, 0.6), version="1.0")
    assert [line for line in text.split("\n") if line and not line.startswith(";")] == [
        "(declare-const X_0 Real)",
        "(declare-const X_1 Real)",
        "(declare-const Y_0 Real)",
        "(declare-const Y_1 Real)",
        "(declare-const Y_2 Real)",
        "(assert (>= X_0 0.25))",
        "(assert (<= X_0 0.6))",
        "(assert (>= X_1 0.0))",
        "(assert (<= X_1 0.5))",
        "(assert (or",
        "    (and (<= Y_0 Y_1))",
        "    (and (<= Y_0 Y_2))",
        "))",
    ]


def test_two_classes_need_no_disjunction():
    text = robustness_query(IMAGE, 1, math.inf, 0, classes=2)
    assert "(assert (<= Y[0,1] Y[0,0]))" in text
    assert "(or" not in text


def test_shapes_are_the_models():
    text = robustness_query(
        IMAGE, 1, 2, 0.1, classes=2, input_shape=(1, 1, 1, 2), output_shape=(2,)
    )
    assert "(declare-input X float32 [1,1,1,2])" in text
    assert "(* (- X[0,0,0,1] 0.25) (- X[0,0,0,1] 0.25))" in text
    assert "(assert (<= Y[1] Y[0]))" in text


@pytest.mark.parametrize(
    "change, piece",
    [
        ({"x": np.float32([0.5, np.nan])}, "finite"),
        ({"x": np.array(["a", "b"])}, "finite"),
        ({"label": 3}, "label 3"),
        ({"label": -1}, "label -1"),
        ({"norm": 3}, "norm 3"),
        ({"eps": -0.1}, "negative"),
        ({"eps": "nan"}, "finite"),
        ({"eps": math.inf}, "finite"),
        ({"clip": (0.9, 1.0)}, "input 0"),
        ({"clip": (0, "x")}, "finite"),
        ({"input_shape": (1, 3)}, r"\[1, 3\] has 3"),
        ({"output_shape": (4,)}, "3 classes"),
        ({"classes": 1, "label": 0}, "two classes"),
        ({"version": "3.0"}, "not 3.0"),
        ({"version": "1.0", "norm": 2}, "L2 ball"),
        ({"version": "1.0", "norm": 1}, "L1 ball"),
    ],
)
def test_bad_arguments_are_named(change, piece):
    arguments = {"x": IMAGE, "label": 0, "norm": math.inf, "eps": 0.1, "classes": 3} | change
    x, label, norm, eps = (arguments.pop(name) for name in ("x", "label", "norm", "eps"))
    with pytest.raises(InputError, match=piece):
        robustness_query(x, label, norm, eps, **arguments)
