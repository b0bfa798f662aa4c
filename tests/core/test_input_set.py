"""Input sets: support functions and bounds are upper bounds, membership is exact."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    BOX_KINDS,
    SET_KINDS,
    awkward_floats,
    box_bounds,
    half_space_through,
    input_set,
    lq_ball,
    seeds,
)
from tolerances import SUPPORT_TIGHTNESS

from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection, LqBall


def dot(direction: np.ndarray, point: list[Fraction]) -> Fraction:
    return sum((Fraction(float(a)) * b for a, b in zip(direction, point, strict=True)), Fraction(0))


def at_least(bound: float, value: Fraction) -> bool:
    """`bound >= value`, exactly; NaN is not at least anything."""
    return bound == np.inf or (np.isfinite(bound) and Fraction(float(bound)) >= value)


def exact_box_maximum(direction, lower, upper) -> Fraction:
    return dot(
        direction,
        [
            Fraction(float(u if c > 0 else v))
            for c, v, u in zip(direction, lower, upper, strict=True)
        ],
    )


# --- boxes -------------------------------------------------------------------------------------


@given(st.lists(st.tuples(awkward_floats, awkward_floats, awkward_floats), min_size=1, max_size=5))
def test_box_support_is_at_least_the_exact_maximum_for_awkward_floats(triples):
    direction = np.array([t[0] for t in triples])
    lower = np.array([min(t[1:]) for t in triples])
    upper = np.array([max(t[1:]) for t in triples])
    bound = Box.from_floats(lower, upper).support(direction[None])[0]
    assert at_least(bound, exact_box_maximum(direction, lower, upper))


@pytest.mark.parametrize("kind", BOX_KINDS)
def test_box_support_is_tight_and_true(rng, kind):
    lower, upper = box_bounds(rng, 30, kind)
    directions = rng.normal(size=(20, 30))
    bounds = Box.from_floats(lower, upper).support(directions)
    for direction, bound in zip(directions, bounds, strict=True):
        exact = exact_box_maximum(direction, lower, upper)
        assert at_least(bound, exact)
        size = float(np.abs(direction) @ np.maximum(np.abs(lower), np.abs(upper)))
        assert bound - float(exact) <= SUPPORT_TIGHTNESS * size


def test_box_support_covers_cancelling_terms(rng):
    for _ in range(50):
        half = rng.normal(size=20) * 1e8
        point = np.concatenate([half, -half, [1e-3]])
        direction = np.ones(41)
        bound = Box.from_floats(point, point).support(direction[None])[0]
        assert at_least(bound, dot(direction, [Fraction(v) for v in point]))


def test_box_support_counts_zero_times_infinity_as_zero():
    box = Box.from_floats(np.array([-np.inf, 1.0]), np.array([np.inf, 2.0]))
    bounds = box.support(np.array([[0.0, 1.0], [-0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]]))
    assert 2.0 <= bounds[0] < 2.1 and -1.0 <= bounds[1] < -0.9
    assert bounds[2] == bounds[3] == np.inf


def test_box_support_of_half_bounded_box_is_finite_only_on_its_side():
    box = Box.from_floats(np.array([-np.inf]), np.array([3.0]))
    assert 3.0 <= box.support(np.array([[1.0]]))[0] < 3.1
    assert box.support(np.array([[-1.0]]))[0] == np.inf


def test_box_support_that_overflows_is_infinite_not_nan():
    # 1e200 * -1e200 is below every float: rounding it to -inf would be unsound.
    box = Box.from_floats(np.full(2, -1e200), np.full(2, -1e200))
    with np.errstate(over="ignore"):
        assert box.support(np.full((1, 2), 1e200))[0] == np.inf


def test_box_support_for_no_directions_and_no_inputs():
    assert Box.from_floats(np.zeros(2), np.ones(2)).support(np.zeros((0, 2))).shape == (0,)
    empty = Box.from_floats(np.zeros(0), np.zeros(0))
    assert empty.dimension == 0
    assert 0.0 <= empty.support(np.zeros((3, 0)))[0] < 1e-300
    assert empty.contains(np.zeros(0))


def test_box_from_fractions_encloses_and_contains_exactly():
    third = Fraction(1, 3)
    box = Box.from_fractions([third, None], [third * 2, Fraction(10) ** 400])
    lower, upper = box.bounds()
    assert Fraction(lower[0]) <= third and Fraction(upper[0]) >= 2 * third
    assert lower[1] == -np.inf and upper[1] == np.inf
    below, above = np.nextafter(1 / 3, 0), np.nextafter(1 / 3, 1)
    inside = above if Fraction(1 / 3) < third else 1 / 3
    assert box.contains(np.array([inside, 0.0]))
    assert not box.contains(np.array([below, 0.0]))
    assert box.contains(np.array([0.5, np.finfo(float).max]))


@given(
    st.lists(
        st.tuples(
            st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6), awkward_floats
        ),
        min_size=1,
        max_size=3,
    )
)
def test_box_contains_agrees_with_rationals(triples):
    lower = [min(t[:2]) for t in triples]
    upper = [max(t[:2]) for t in triples]
    box = Box.from_fractions(lower, upper)
    for near in (0, 1, 2):
        # The drawn float, and the floats next to a bound, where one ulp decides.
        point = np.array(
            [
                t[2] if near == 0 else np.nextafter(float(low if near == 1 else high), t[2])
                for t, low, high in zip(triples, lower, upper, strict=True)
            ]
        )
        truth = all(
            low <= Fraction(v) <= high for low, v, high in zip(lower, point, upper, strict=True)
        )
        assert box.contains(point) == truth


def test_box_with_open_bounds_leaves_the_bound_out():
    box = Box.from_fractions([Fraction(0)], [Fraction(1, 2)], [0], [0])
    assert not box.contains(np.array([0.0])) and not box.contains(np.array([0.5]))
    assert box.contains(np.array([5e-324])) and box.contains(np.array([np.nextafter(0.5, 0)]))
    low, high = box.bounds()
    assert low[0] <= 0.0 and high[0] >= 0.5
    third = Box.from_fractions([Fraction(1, 3)], [Fraction(2, 3)], [0], [0])
    closed = Box.from_fractions([Fraction(1, 3)], [Fraction(2, 3)])
    assert third.inner_lower == closed.inner_lower and third.inner_upper == closed.inner_upper


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_no_set_contains_a_point_that_is_not_finite(bad):
    point = np.array([bad, 0.0])
    everywhere = Box.from_fractions([None, None], [None, None])
    ball = LqBall(2, 2, np.arange(2), (Fraction(0), Fraction(0)), Fraction(1))
    half = HalfSpace(2, {0: Fraction(1)}, Fraction(-1), False)
    free_ball = LqBall(1, 2, np.array([1]), (Fraction(0),), Fraction(1))
    free_half = HalfSpace(2, {1: Fraction(1)}, Fraction(-1), True)
    for part in (everywhere, ball, half, free_ball, free_half, Intersection((everywhere, half))):
        assert part.contains(point) is False


def test_box_widened_contains_the_float32_of_decimal_bounds(rng):
    for _ in range(200):
        digits = Fraction(int(rng.integers(-(10**9), 10**9)), 10**9)
        box = Box.from_fractions([digits], [digits])
        low, high = box.widened().bounds()
        near = float(np.float32(float(digits)))
        assert low[0] <= near <= high[0]
        assert Fraction(low[0]) <= digits <= Fraction(high[0])


def test_widened_intersection_widens_its_boxes():
    tenth = Fraction(1, 10)
    box = Box.from_fractions([tenth], [tenth])
    ball = LqBall(2, 1, np.arange(1), (tenth,), Fraction(1))
    wide = Intersection((box, ball)).widened()
    assert wide.contains(np.array([float(np.float32(0.1))]))


# --- balls -------------------------------------------------------------------------------------


def exact_ball_exceeds(ball: LqBall, direction: np.ndarray, bound: float) -> bool:
    """Whether `bound >= max`, exactly: the rest after the centre against radius times dual."""
    inside = [Fraction(float(direction[i])) for i in ball.coordinates]
    middle = sum((a * c for a, c in zip(inside, ball.center, strict=True)), Fraction(0))
    if bound == np.inf:
        return True
    rest = Fraction(float(bound)) - middle
    if ball.q == 1:
        dual = max((abs(a) for a in inside), default=Fraction(0))
        return rest >= dual * ball.radius_power
    square = sum((a * a for a in inside), Fraction(0))
    return rest >= 0 and rest * rest >= square * ball.radius_power


@pytest.mark.parametrize("q", [1, 2])
@given(seed=seeds, d=st.integers(0, 6), exponent=st.integers(-300, 300))
def test_ball_support_is_at_least_the_exact_maximum_at_every_scale(q, seed, d, exponent):
    rng = np.random.default_rng(seed)
    ball = lq_ball(rng, d, q)
    with np.errstate(over="ignore", under="ignore"):
        directions = rng.normal(size=(4, d)) * 10.0**exponent
        outside = np.setdiff1d(np.arange(d), ball.coordinates)
        directions[:, outside] = 0.0
        bounds = ball.support(directions)
    for direction, bound in zip(directions, bounds, strict=True):
        assert not np.isnan(bound)
        assert exact_ball_exceeds(ball, direction, bound)


def test_ball_support_does_not_lose_a_tiny_direction_to_underflow():
    # Squares of 1e-170 underflow to zero; the support is 1e-170 all the same.
    ball = LqBall(2, 2, np.arange(2), (Fraction(0), Fraction(0)), Fraction(1))
    assert ball.support(np.array([[1e-170, 0.0]]))[0] >= 1e-170


def test_ball_support_does_not_lose_a_huge_radius_to_underflow():
    ball = LqBall(2, 1, np.arange(1), (Fraction(0),), Fraction(10) ** 400)
    bound = ball.support(np.array([[1e-200]]))[0]
    assert bound >= 0.999999


@pytest.mark.parametrize("q", [1, 2])
def test_ball_support_is_tight(rng, q):
    ball = LqBall(
        q, 5, np.arange(5), tuple(Fraction(v) for v in rng.normal(size=5)), Fraction(1, 9)
    )
    directions = rng.normal(size=(20, 5))
    dual = np.abs(directions).max(axis=1) if q == 1 else np.linalg.norm(directions, axis=1)
    radius = 1 / 9 if q == 1 else 1 / 3
    near = directions @ np.array([float(c) for c in ball.center]) + dual * radius
    assert np.all(ball.support(directions) - near <= SUPPORT_TIGHTNESS * 10)


@pytest.mark.parametrize("q", [1, 2])
def test_ball_support_is_infinite_along_free_coordinates(q):
    ball = LqBall(q, 2, np.array([1]), (Fraction(1),), Fraction(1))
    bounds = ball.support(np.array([[1.0, 0.0], [0.0, 1.0], [5e-324, 1.0]]))
    assert bounds[0] == bounds[2] == np.inf and 2.0 <= bounds[1] < 2.1


@pytest.mark.parametrize("q", [1, 2])
def test_ball_bounds_contain_its_extreme_points(rng, q):
    for _ in range(30):
        ball = lq_ball(rng, 4, q)
        lower, upper = ball.bounds()
        for position, middle in zip(ball.coordinates, ball.center, strict=True):
            for bound in (lower[position], upper[position]):
                distance = abs(Fraction(float(bound)) - middle)
                assert distance**q >= ball.radius_power
        free = np.setdiff1d(np.arange(4), ball.coordinates)
        assert np.all(np.isinf(lower[free])) and np.all(np.isinf(upper[free]))


def test_ball_contains_is_exact_at_the_boundary():
    ball = LqBall(2, 2, np.arange(2), (Fraction(0), Fraction(0)), Fraction(25))
    assert ball.contains(np.array([3.0, 4.0]))
    assert not ball.contains(np.array([3.0, np.nextafter(4.0, 5.0)]))
    open_ball = LqBall(2, 2, np.arange(2), (Fraction(0), Fraction(0)), Fraction(25), True)
    assert not open_ball.contains(np.array([3.0, 4.0]))
    assert open_ball.contains(np.array([3.0, np.nextafter(4.0, 0.0)]))
    diamond = LqBall(1, 2, np.arange(2), (Fraction(1, 3), Fraction(0)), Fraction(1, 3))
    assert diamond.contains(np.array([0.0, 0.0]))
    assert not diamond.contains(np.array([-5e-324, 0.0]))


def test_ball_of_radius_zero_is_its_center():
    ball = LqBall(2, 1, np.arange(1), (Fraction(1, 2),), Fraction(0))
    assert ball.contains(np.array([0.5])) and not ball.contains(np.array([np.nextafter(0.5, 1)]))
    assert 0.5 <= ball.support(np.array([[1.0]]))[0] < 0.5 + 1e-9


def test_ball_refuses_bad_norm_radius_and_coordinates():
    half = Fraction(1, 2)
    with pytest.raises(ValueError):
        LqBall(3, 1, np.arange(1), (half,), half)
    with pytest.raises(ValueError):
        LqBall(2, 1, np.arange(1), (half,), -half)
    # A coordinate listed twice would count twice in `support` and so be unsound.
    with pytest.raises(ValueError):
        LqBall(2, 2, np.array([0, 0]), (half, half), half)
    with pytest.raises(ValueError):
        LqBall(2, 2, np.array([0, 2]), (half, half), half)
    with pytest.raises(ValueError):
        LqBall(2, 2, np.array([0, -1]), (half, half), half)
    with pytest.raises(ValueError):
        LqBall(2, 2, np.array([0, 1]), (half,), half)


@pytest.mark.parametrize("q", [1, 2])
@pytest.mark.parametrize("size", [1, 7, 300])
def test_widened_ball_covers_norms_computed_in_float32(rng, q, size):
    center = rng.normal(size=size).astype(np.float32)
    exact = tuple(Fraction(float(v)) for v in center)
    outside = 0
    for scale in (1.0, 1e-3, 1e-21, 1e-30):
        for _ in range(20):
            x = center + (rng.normal(size=size) * scale).astype(np.float32)
            difference = np.abs(x - center)
            powers = difference if q == 1 else difference * difference
            norm = np.float32(0.0)
            for value in powers:  # one float32 rounding each, the worst order a runtime has
                norm = np.float32(norm + value)
            norm = norm if q == 1 else np.sqrt(norm)
            ball = LqBall(q, size, np.arange(size), exact, Fraction(float(norm)) ** q)
            point = x.astype(np.float64)
            outside += not ball.contains(point)
            assert ball.widened().contains(point)
    assert outside or size == 1, "every computed norm was exact: the test says nothing"


# --- half-spaces and intersections --------------------------------------------------------------


def test_half_space_contains_respects_strictness():
    for strict in (False, True):
        half = HalfSpace(2, {0: Fraction(1, 3)}, Fraction(-1), strict)
        assert half.contains(np.array([3.0, 9.0])) is not strict
        assert half.contains(np.array([np.nextafter(3.0, 0.0), 9.0]))
        assert not half.contains(np.array([np.nextafter(3.0, 4.0), 9.0]))


def test_half_space_support_is_infinite_except_for_zero():
    half = HalfSpace(2, {0: Fraction(1)}, Fraction(-1), False)
    assert list(half.support(np.array([[0.0, -0.0], [0.0, 1e-320], [1.0, 0.0]]))) == [
        0.0,
        np.inf,
        np.inf,
    ]


@pytest.mark.parametrize("kind", SET_KINDS)
@given(seed=seeds, d=st.integers(1, 4))
def test_support_and_bounds_hold_at_member_points_for_every_kind(kind, seed, d):
    rng = np.random.default_rng(seed)
    inputs = input_set(rng, d, kind)
    lower, upper = inputs.bounds()
    candidates = [np.array(corner) for corner in product(*zip(lower, upper, strict=True))]
    candidates += list(rng.uniform(lower, upper, size=(20, d)))
    candidates += list(inputs.project(rng.uniform(lower, upper, size=(20, d))))
    members = [point for point in candidates if inputs.contains(point)]
    directions = np.vstack([rng.normal(size=(4, d)), np.eye(d), -np.eye(d)])
    bounds = inputs.support(directions)
    for point in members:
        assert np.all(point >= lower) and np.all(point <= upper)
        exact = [Fraction(float(v)) for v in point]
        for direction, bound in zip(directions, bounds, strict=True):
            assert at_least(bound, dot(direction, exact))


@pytest.mark.parametrize("kind", SET_KINDS)
def test_support_is_finite_for_every_bounded_kind(rng, kind):
    inputs = input_set(rng, 3, kind)
    assert np.all(np.isfinite(inputs.support(rng.normal(size=(8, 3)))))
    assert all(np.all(np.isfinite(side)) for side in inputs.bounds())


def test_intersection_support_uses_bounds_of_different_parts():
    # Neither part alone bounds this direction; their common box does.
    first = Box.from_floats(np.array([0.0, -np.inf]), np.array([1.0, np.inf]))
    second = LqBall(2, 2, np.array([1]), (Fraction(0),), Fraction(4))
    bound = Intersection((first, second)).support(np.array([[1.0, 1.0]]))[0]
    assert 3.0 <= bound < 3.1


def test_intersection_needs_parts_of_one_dimension():
    with pytest.raises(ValueError):
        Intersection(())
    with pytest.raises(ValueError):
        Intersection(
            (Box.from_floats(np.zeros(1), np.ones(1)), Box.from_floats(np.zeros(2), np.ones(2)))
        )


def test_intersection_contains_needs_every_part(rng):
    lower, upper = box_bounds(rng, 3)
    middle = 0.5 * (lower + upper)
    half = half_space_through(rng, middle, strict=True)
    both = Intersection((Box.from_floats(lower, upper), half))
    assert both.contains(middle)
    for point in rng.uniform(lower - 0.5, upper + 0.5, size=(50, 3)):
        assert both.contains(point) == (
            half.contains(point) and bool(np.all((lower <= point) & (point <= upper)))
        )


@pytest.mark.parametrize("kind", BOX_KINDS)
def test_box_projection_lies_in_the_box(rng, kind):
    box = Box.from_floats(*box_bounds(rng, 4, kind))
    assert all(box.contains(p) for p in box.project(rng.normal(size=(20, 4)) * 10))


def test_box_refuses_bounds_that_are_not_numbers_or_do_not_fit():
    with pytest.raises(ValueError):
        Box.from_floats(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(ValueError):
        Box.from_floats(np.zeros(1), np.array([np.nan]))
    with pytest.raises(ValueError):
        Box.from_floats(np.zeros(2), np.zeros(3))


def test_widened_half_space_covers_sums_computed_in_float32(rng):
    size = 30
    box = Box.from_floats(np.full(size, -1.0), np.full(size, 1.0))
    coefficients = {i: Fraction(int(c), 10) for i, c in enumerate(rng.integers(-30, 30, size)) if c}
    half = HalfSpace(size, coefficients, Fraction(-1, 10), False)
    wide = Intersection((box, half)).widened()
    normal, _, _ = half.floats()
    mistaken = 0
    for _ in range(400):
        point = rng.uniform(-1.0, 1.0, size)
        # Onto the plane, then rounded: float32 cannot tell on which side it is.
        point -= (point @ normal - 0.1) / (normal @ normal) * normal
        point = np.clip(point, -1.0, 1.0).astype(np.float32)
        total = np.cumsum(point * normal.astype(np.float32), dtype=np.float32)[-1]
        if total <= np.float32(0.1):
            mistaken += not half.contains(point.astype(np.float64))
            assert wide.contains(point.astype(np.float64))
    assert mistaken > 0, "no float32 reader was mistaken, so the test shows nothing"


def test_a_half_space_widened_without_bounds_is_everything():
    half = HalfSpace(2, {0: Fraction(1)}, Fraction(-1), False)
    assert half.widened().contains(np.array([2.0, 0.0]))


def test_a_strict_half_space_that_touches_the_box_misses_it():
    half = HalfSpace(2, {0: Fraction(1), 1: Fraction(1, 3)}, Fraction(0), True)
    lower, upper = np.zeros(2), np.ones(2)
    assert half.misses(lower, upper)
    assert not HalfSpace(2, half.coefficients, half.offset, False).misses(lower, upper)
