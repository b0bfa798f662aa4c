"""Quadratic sets: bounds and support hold at member points, membership is exact."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import seeds

from vnn_mondeq.query.input_set import Box, Intersection, Quadratic
from vnn_mondeq.statement import certainly_empty

KINDS = ("diagonal", "dense", "ill-conditioned", "one coordinate of three")


def drawn_ellipsoid(rng: np.random.Generator, kind: str) -> tuple[Quadratic, list[Fraction]]:
    """An ellipsoid with thirds among its numbers, and a point that it contains."""
    d = 3
    root = rng.integers(-6, 7, size=(d, d)).astype(object)
    if kind == "diagonal":
        root = np.diag(np.diag(root) + 7)
    if kind == "ill-conditioned":
        root[0] = root[1] + np.array([0, 0, Fraction(1, 10**5)], dtype=object)
    used = [1] if kind == "one coordinate of three" else list(range(d))
    matrix = root.T @ root + np.eye(d, dtype=object) * Fraction(1, 3 if kind == "dense" else 3000)
    center = [Fraction(int(rng.integers(-9, 10)), 3) for _ in range(d)]
    square = Fraction(int(rng.integers(1, 50)), 7)
    quadratic, linear, offset = {}, {i: Fraction(0) for i in used}, -square
    for i in used:
        for j in used:
            pair, weight = (min(i, j), max(i, j)), Fraction(matrix[i, j])
            quadratic[pair] = quadratic.get(pair, 0) + weight
            linear[i] -= weight * center[j]
            linear[j] -= weight * center[i]
            offset += weight * center[i] * center[j]
    return Quadratic(d, quadratic, linear, offset, False), center


def value_at(source: Quadratic, x: list[Fraction]) -> Fraction:
    total = source.offset + sum(c * x[i] for i, c in source.linear.items())
    return total + sum(c * x[i] * x[j] for (i, j), c in source.quadratic.items())


def boundary_points(source: Quadratic, inside: list[Fraction], rng, count: int):
    """Exact points of the set close to its boundary, by bisection along drawn directions."""
    for _ in range(count):
        direction = [Fraction(int(rng.integers(-9, 10)), 4) for _ in inside]
        low, high = Fraction(0), Fraction(1000)
        for _ in range(60):
            middle = (low + high) / 2
            at = [a + middle * b for a, b in zip(inside, direction, strict=True)]
            low, high = (middle, high) if value_at(source, at) <= 0 else (low, middle)
        yield [a + low * b for a, b in zip(inside, direction, strict=True)]


@given(kind=st.sampled_from(KINDS), seed=seeds)
def test_bounds_and_support_hold_at_the_boundary(kind, seed):
    rng = np.random.default_rng(seed)
    source, inside = drawn_ellipsoid(rng, kind)
    assert source.ellipsoid is not None
    lower, upper = source.bounds()
    directions = rng.normal(size=(4, 3))
    if kind == "one coordinate of three":
        directions[:, [0, 2]] = 0.0
    support = source.support(directions)
    assert np.all(np.isfinite(support))
    for point in boundary_points(source, inside, rng, 8):
        for i in source.coordinates:
            assert Fraction(lower[i]) <= point[i] <= Fraction(upper[i])
        for direction, bound in zip(directions, support, strict=True):
            used = [Fraction(d) * x for d, x in zip(direction, point, strict=True)]
            assert sum(used) <= Fraction(bound)


def test_bounds_and_support_of_a_circle_are_tight():
    circle = Quadratic(
        2, {(0, 0): Fraction(3), (1, 1): Fraction(3)}, {0: Fraction(-6)}, Fraction(-9), False
    )
    lower, upper = circle.bounds()  # 3 (x - 1)² + 3 y² <= 12
    np.testing.assert_allclose(lower, [-1.0, -2.0], rtol=1e-5)
    np.testing.assert_allclose(upper, [3.0, 2.0], rtol=1e-5)
    np.testing.assert_allclose(circle.support(np.array([[3.0, 4.0]])), [13.0], rtol=1e-5)


def test_a_set_that_is_not_definite_has_no_bounds():
    for quadratic, linear in (
        ({(0, 1): Fraction(1)}, {}),
        ({(0, 0): Fraction(-1), (1, 1): Fraction(1)}, {}),
        ({(0, 0): Fraction(1)}, {1: Fraction(1)}),
    ):
        source = Quadratic(2, quadratic, linear, Fraction(-1), False)
        assert source.ellipsoid is None
        assert np.all(np.isinf(source.bounds()[0]))
        assert source.support(np.array([[1.0, 0.0]]))[0] == np.inf


@pytest.mark.parametrize("strict", [False, True])
def test_membership_is_exact_on_the_boundary(strict):
    product = Quadratic(2, {(0, 1): Fraction(-1)}, {}, Fraction(4), strict)  # x y >= 4
    assert product.contains(np.array([2.0, 2.0])) is not strict
    assert product.contains(np.array([2.0, np.nextafter(2.0, 3.0)]))
    assert not product.contains(np.array([2.0, np.nextafter(2.0, 1.0)]))
    third = Quadratic(1, {(0, 0): Fraction(3)}, {}, Fraction(-1, 3), strict)  # x² <= 1/9
    assert third.contains(np.array([1.0 / 3.0]))  # rounded down
    assert not third.contains(np.array([np.nextafter(1.0 / 3.0, 1.0)]))


def test_projection_reaches_sets_of_either_kind(rng):
    box = Box.from_floats(np.full(3, -3.0), np.full(3, 3.0))
    ellipsoid, _ = drawn_ellipsoid(np.random.default_rng(4), "dense")
    outside = Quadratic(3, {(0, 0): Fraction(-1), (1, 1): Fraction(-1)}, {}, Fraction(2), False)
    for source in (ellipsoid, outside, Intersection((box, outside))):
        points = rng.uniform(-3.0, 3.0, size=(20, 3))
        before = [source.contains(point) for point in points]
        after = [value_at_floats(source, p) <= 1e-6 for p in source.project(points)]
        assert sum(after) > sum(before)


def value_at_floats(source, point) -> float:
    part = source.parts[-1] if isinstance(source, Intersection) else source
    return float(value_at(part, [Fraction(float(v)) for v in point]))


def test_emptiness_is_seen_by_intervals():
    box = Box.from_floats(np.zeros(2), np.full(2, 2.0))

    def above(bound: Fraction) -> Intersection:
        return Intersection((box, Quadratic(2, {(0, 1): Fraction(-1)}, {}, bound, False)))

    assert certainly_empty(above(Fraction(9, 2)))
    assert not certainly_empty(above(Fraction(4)))
    assert not certainly_empty(above(4 + Fraction(1, 10**9)))  # a float32 reader sees 4


def test_an_empty_ellipsoid_is_empty():
    source = Quadratic(1, {(0, 0): Fraction(1)}, {0: Fraction(2)}, Fraction(2), False)
    assert np.all(source.bounds()[0] > source.bounds()[1])  # (x + 1)² <= -1
    assert not source.contains(np.array([-1.0]))


@pytest.mark.parametrize("size", [3, 40])
def test_widened_covers_ellipsoids_as_float32_evaluates_them(rng, size):
    weights = [Fraction(int(w), 10) for w in rng.integers(1, 30, size)]
    center = [Fraction(int(c), 10) for c in rng.integers(-20, 20, size)]
    square = Fraction(1, 10)
    source = Quadratic(
        size,
        {(i, i): w for i, w in enumerate(weights)},
        {i: -2 * w * c for i, (w, c) in enumerate(zip(weights, center, strict=True))},
        sum(w * c * c for w, c in zip(weights, center, strict=True)) - square,
        False,
    )
    wide, outside = source.widened(), 0
    w32 = np.array([float(w) for w in weights], dtype=np.float32)
    c32 = np.array([float(c) for c in center], dtype=np.float32)
    for _ in range(300):
        direction = rng.normal(size=size)
        scale = np.sqrt(float(square) / (w32.astype(float) @ direction**2))
        point = (c32 + direction * scale * (1 + rng.normal() * 3e-7)).astype(np.float32)
        if np.cumsum(w32 * (point - c32) ** 2, dtype=np.float32)[-1] <= np.float32(square):
            outside += not source.contains(point.astype(np.float64))
            assert wide.contains(point.astype(np.float64))
    assert outside > 0, "no float32 reader was mistaken, so the test shows nothing"


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="once"):
        Quadratic(2, {(1, 0): Fraction(1)}, {}, Fraction(0), False)
    with pytest.raises(ValueError, match="outside"):
        Quadratic(2, {(1, 2): Fraction(1)}, {}, Fraction(0), False)
