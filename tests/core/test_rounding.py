"""Every bound of `rounding` against exact rationals, on random and on adversarial data."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import awkward_floats

from vnn_mondeq.rounding import (
    SAFETY,
    UNIT,
    float32_hull,
    fraction_down,
    fraction_up,
    gamma,
    norm_up,
    product_error,
    round_down,
    round_up,
)

LARGEST = np.finfo(float).max


def exact_product(left: np.ndarray, right: np.ndarray) -> list[Fraction]:
    return [
        sum(
            (Fraction(float(a)) * Fraction(float(b)) for a, b in zip(row, right, strict=True)),
            Fraction(0),
        )
        for row in left
    ]


def adversarial_rows(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose products cancel, span 600 orders of magnitude, or underflow."""
    cancel = rng.normal(size=n)
    cancel[n // 2 : 2 * (n // 2)] = -cancel[: n // 2] * (1 + 2.0**-52)
    wide = rng.normal(size=n) * 10.0 ** rng.uniform(-150, 150, size=n)
    tiny = rng.normal(size=n) * 1e-170
    subnormal = rng.normal(size=n) * 2.0**-1060
    return np.stack([cancel, wide, tiny, subnormal]), np.ones(n)


@pytest.mark.parametrize("n", [1, 2, 3, 17, 400])
def test_product_error_bounds_true_error_on_adversarial_rows(rng, n):
    left, ones = adversarial_rows(rng, n)
    for right in (ones, rng.normal(size=n), rng.normal(size=n) * 1e-160, rng.normal(size=n) * 3e5):
        with np.errstate(under="ignore"):
            computed = left @ right
            bound = product_error(np.abs(left), np.abs(right), n)
        exact = exact_product(left, right)
        for i in range(len(left)):
            assert abs(Fraction(float(computed[i])) - exact[i]) <= Fraction(float(bound[i]))


def test_product_error_covers_one_further_addition(rng):
    left, right = rng.normal(size=(50, 30)), rng.normal(size=30)
    bias = -(left @ right)  # the worst case: the sum cancels to rounding errors only
    computed = left @ right + bias
    bound = product_error(np.abs(left), np.abs(right), 30)
    for i, value in enumerate(exact_product(left, right)):
        truth = value + Fraction(float(bias[i]))
        assert abs(Fraction(float(computed[i])) - truth) <= Fraction(float(bound[i]))


def test_product_error_accepts_matrices_and_empty_inner_length(rng):
    assert product_error(np.ones((2, 3)), np.ones((3, 4)), 3).shape == (2, 4)
    empty = product_error(np.ones((2, 0)), np.ones(0), 0)
    assert empty.shape == (2,) and np.all(empty >= 0) and np.all(empty < 1e-300)


def test_product_error_is_not_finite_where_the_product_overflows():
    with np.errstate(over="ignore"):
        bound = product_error(np.full((1, 2), 1e200), np.full(2, 1e200), 2)
    assert not np.isfinite(bound[0])


@pytest.mark.parametrize("count", [0, 1, 2, 1000, 10**9, 2**40])
def test_gamma_is_at_least_the_exact_value(count):
    unit = Fraction(1, 2**53)
    assert Fraction(gamma(count)) >= count * unit / (1 - count * unit)


@pytest.mark.parametrize("count", [2**52, 2**53, 2**60])
def test_gamma_refuses_counts_without_a_bound(count):
    with pytest.raises(ValueError, match="no error bound"):
        gamma(count)


def test_gamma_refuses_float32_counts_without_a_bound():
    with pytest.raises(ValueError):
        gamma(2**23, 2.0**-24)


def test_safety_covers_a_billion_roundings():
    # (1 + u)^n <= exp(n u), and exp(t) <= 1 + t + t² for t <= 1.
    t = Fraction(10**9) * Fraction(UNIT)
    assert 1 + t + t * t <= Fraction(SAFETY)


@given(
    st.fractions()
    | st.builds(Fraction, awkward_floats)
    | st.decimals(allow_nan=False, allow_infinity=False).map(Fraction)
)
def test_fraction_up_and_down_are_the_nearest_floats_on_each_side(value):
    up, down = fraction_up(value), fraction_down(value)
    assert down == -math.inf or Fraction(down) <= value
    assert up == math.inf or Fraction(up) >= value
    # Nearest: the neighbour on the inner side is beyond the value.
    inner = math.nextafter(up, -math.inf)
    assert inner == -math.inf or Fraction(inner) < value
    inner = math.nextafter(down, math.inf)
    assert inner == math.inf or Fraction(inner) > value


@pytest.mark.parametrize(
    "value",
    [
        Fraction(10) ** 400,
        Fraction(LARGEST) + 1,
        Fraction(1, 10**400),
        Fraction(1, 2**1075),
        Fraction(1, 3),
        Fraction(0),
        Fraction(2**53 + 1),
        Fraction(2) ** 1024 - 2**970,
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_fraction_up_and_down_bound_extreme_values(value, sign):
    value = sign * value
    up, down = fraction_up(value), fraction_down(value)
    assert up == math.inf or Fraction(up) >= value
    assert down == -math.inf or Fraction(down) <= value
    assert not math.isnan(up) and not math.isnan(down)


@given(st.lists(awkward_floats, min_size=1, max_size=5))
def test_round_up_and_down_move_strictly(values):
    array = np.array(values)
    with np.errstate(over="ignore"):
        assert np.all(round_up(array) > array) and np.all(round_down(array) < array)


@given(st.lists(awkward_floats, min_size=0, max_size=6))
def test_norm_up_bounds_the_exact_norm_for_awkward_vectors(values):
    array = np.array(values, dtype=np.float64)
    bound = norm_up(array)
    square = sum((Fraction(v) ** 2 for v in values), Fraction(0))
    assert bound == math.inf or Fraction(float(bound)) ** 2 >= square
    assert square == 0 or bound > 0


def test_norm_up_is_tight_and_works_by_rows(rng):
    array = rng.normal(size=(4, 7)) * np.array([[1.0], [1e-200], [1e200], [2.0**-1000]])
    bound = norm_up(array, axis=1)
    assert bound.shape == (4,)
    for row, value in zip(array, bound, strict=True):
        square = sum((Fraction(float(v)) ** 2 for v in row), Fraction(0))
        assert square <= Fraction(float(value)) ** 2 <= square * Fraction(100001, 100000)


def test_norm_up_is_infinite_for_values_that_are_not_numbers():
    assert norm_up(np.array([1.0, np.nan])) == math.inf
    assert norm_up(np.array([1.0, np.inf])) == math.inf
    assert norm_up(np.zeros(0)) == 0.0


@given(st.lists(st.tuples(awkward_floats, awkward_floats), min_size=1, max_size=4))
def test_float32_hull_contains_the_box_and_the_nearest_float32(pairs):
    lower = np.array([min(a, b) for a, b in pairs])
    upper = np.array([max(a, b) for a, b in pairs])
    low, high = float32_hull(lower, upper)
    with np.errstate(over="ignore"):
        near_low, near_high = lower.astype(np.float32), upper.astype(np.float32)
    assert np.all(low <= lower) and np.all(high >= upper)
    assert np.all(low <= near_low.astype(np.float64))
    assert np.all(high >= near_high.astype(np.float64))


def test_float32_hull_covers_decimals_near_a_tie():
    # v lies just above the midpoint of two float32: read as a decimal it rounds up, through
    # float64 it rounds to even; both must be covered on both sides.
    midpoint = 1 + Fraction(1, 2**24)
    v = midpoint + Fraction(1, 2**80)
    low, high = float32_hull(np.array([fraction_down(v)]), np.array([fraction_up(v)]))
    assert low[0] <= 1.0 and high[0] >= 1.0 + 2.0**-23
