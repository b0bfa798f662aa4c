"""Support functions of a box with one other set: true at members, and tight."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from strategies import half_space_through
from tolerances import SUPPORT_TIGHTNESS

from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection, LqBall

SIZE = 5
CONE_PROGRAM = 1e-6
"""SLSQP's optimum against the truth, relative to the size of the terms."""


def drawn_box(rng) -> Box:
    middle = rng.normal(size=SIZE)
    return Box.from_floats(middle - rng.uniform(0, 1, SIZE), middle + rng.uniform(0, 1, SIZE))


def drawn_ball(rng, box: Box, q: int) -> LqBall:
    """Centred in the box, as a clipped ball is; over four of the five coordinates."""
    coordinates = np.sort(rng.choice(SIZE, size=4, replace=False))
    center = rng.uniform(box.lower, box.upper)[coordinates]
    radius = Fraction(float(rng.uniform(0.05, 2.0)))
    return LqBall(q, SIZE, coordinates, tuple(map(Fraction, center)), radius**q)


def maximum_over_l1(direction, box: Box, ball: LqBall) -> float:
    """Linear program over `(x, absolute deviations)`."""
    k, count = ball.coordinates, len(ball.center)
    center = np.array([float(c) for c in ball.center])
    pick = np.eye(SIZE)[k]
    above = np.vstack(
        [
            np.hstack([pick, -np.eye(count)]),
            np.hstack([-pick, -np.eye(count)]),
            np.concatenate([np.zeros(SIZE), np.ones(count)])[None],
        ]
    )
    limit = np.concatenate([center, -center, [float(ball.radius_power)]])
    bounds = [*zip(box.lower, box.upper, strict=True), *[(0, None)] * count]
    cost = -np.concatenate([direction, np.zeros(count)])
    return -linprog(cost, A_ub=above, b_ub=limit, bounds=bounds).fun


def maximum_over_l2(direction, box: Box, ball: LqBall) -> float:
    k = ball.coordinates
    center = np.array([float(c) for c in ball.center])
    start = np.clip(np.zeros(SIZE), box.lower, box.upper)
    start[k] = center
    inside = {
        "type": "ineq",
        "fun": lambda x: float(ball.radius_power) - ((x[k] - center) ** 2).sum(),
        "jac": lambda x: -2.0 * (np.eye(SIZE)[k].T @ (x[k] - center)),
    }
    found = minimize(
        lambda x: -direction @ x,
        start,
        jac=lambda x: -direction,
        bounds=list(zip(box.lower, box.upper, strict=True)),
        constraints=[inside],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return -found.fun


@pytest.mark.parametrize(("q", "oracle"), [(1, maximum_over_l1), (2, maximum_over_l2)])
def test_support_of_box_and_ball_is_tight(rng, q, oracle):
    better = 0
    for _ in range(30):
        box = drawn_box(rng)
        ball = drawn_ball(rng, box, q)
        directions = np.vstack([rng.normal(size=(3, SIZE)), np.eye(SIZE)[:2], np.zeros(SIZE)])
        bounds = Intersection((box, ball)).support(directions)
        for direction, bound in zip(directions, bounds, strict=True):
            exact = oracle(direction, box, ball)
            size = 1.0 + np.abs(direction).sum() * (1.0 + np.abs(box.lower).max())
            assert exact - CONE_PROGRAM * size <= bound
            assert bound <= exact + (CONE_PROGRAM + SUPPORT_TIGHTNESS) * size
        apart = np.minimum(box.support(directions), ball.support(directions))
        better += np.any(bounds < apart - 1e-3)
    assert better > 10


def test_support_of_box_and_half_space_is_tight(rng):
    better = 0
    for _ in range(40):
        box = drawn_box(rng)
        half = half_space_through(rng, 0.5 * (box.lower + box.upper))
        normal, error, offset = half.floats()
        assert not error.any()
        directions = np.vstack([rng.normal(size=(3, SIZE)), np.eye(SIZE)[:2], normal])
        bounds = Intersection((box, half)).support(directions)
        for direction, bound in zip(directions, bounds, strict=True):
            exact = -linprog(
                -direction,
                A_ub=normal[None],
                b_ub=[-offset],
                bounds=list(zip(box.lower, box.upper, strict=True)),
            ).fun
            size = 1.0 + np.abs(direction).sum() * (1.0 + np.abs(box.lower).max())
            assert exact - CONE_PROGRAM * size <= bound <= exact + SUPPORT_TIGHTNESS * size
        better += np.any(bounds < box.support(directions) - 1e-3)
    assert better > 10


def exact_dot(direction, point) -> Fraction:
    return sum(
        (Fraction(float(a)) * Fraction(float(b)) for a, b in zip(direction, point, strict=True)),
        Fraction(0),
    )


@pytest.mark.parametrize("q", (1, 2))
@pytest.mark.parametrize("exponent", (-40, 0, 40))
def test_support_is_above_members_at_every_scale(rng, q, exponent):
    """Exactly, at members on the boundary of ball or box, the centre possibly outside the box."""
    unit = 2.0**exponent
    checked = 0
    for _ in range(60):
        lower = rng.integers(-8, 1, size=3) * unit
        upper = lower + rng.integers(0, 9, size=3) * unit
        center = tuple(Fraction(int(v)) * Fraction(unit) for v in rng.integers(-4, 5, size=3))
        ball = LqBall(q, 3, np.arange(3), center, Fraction(5 * unit) ** q)
        both = Intersection((Box.from_floats(lower, upper), ball))
        # Steps of 3, 4 and 5 units reach the sphere exactly (Pythagoras).
        grid = unit * np.array(np.meshgrid(*[np.arange(-9, 10)] * 3)).reshape(3, -1).T
        members = [point for point in rng.permutation(grid)[:500] if both.contains(point)]
        directions = np.vstack([rng.normal(size=(2, 3)), np.eye(3), -np.eye(3)])
        bounds = both.support(directions)
        for point in members:
            checked += 1
            for direction, bound in zip(directions, bounds, strict=True):
                assert Fraction(float(bound)) >= exact_dot(direction, point)
    assert checked > 20


def test_support_of_box_and_half_space_covers_rounded_coefficients():
    """With coefficient 1/3 and a large box the rounding of the coefficient is visible."""
    box = Box.from_floats(np.array([0.0, 0.0]), np.array([2.0**60, 2.0**60]))
    half = HalfSpace(2, {0: Fraction(1, 3), 1: Fraction(-1, 3)}, Fraction(0), strict=False)
    bound = Intersection((box, half)).support(np.array([[1.0, -1.0]]))[0]
    assert bound >= 0.0  # x_0 <= x_1 there
    assert bound <= 2.0**14


def test_half_space_beyond_float64_gives_the_box():
    box = Box.from_floats(np.zeros(2), np.ones(2))
    half = HalfSpace(2, {0: Fraction(10) ** 400}, Fraction(0), strict=False)
    bound = Intersection((box, half)).support(np.array([[1.0, 1.0]]))[0]
    assert 2.0 <= bound < 2.1


def test_unbounded_parts_give_no_false_bound():
    """Rounding times an infinite reach: there may be no bound, but never a wrong one or NaN."""
    box = Box.from_floats(np.array([0.0, -np.inf]), np.array([np.inf, np.inf]))
    half = HalfSpace(2, {0: Fraction(1)}, Fraction(-3), strict=False)
    bounds = Intersection((box, half)).support(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]))
    assert bounds[0] >= 3.0 and 0.0 <= bounds[1] < 0.1 and bounds[2] == np.inf
