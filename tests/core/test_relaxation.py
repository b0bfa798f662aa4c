"""Linear bounds of polynomials: never above them on their box, and near them on small ones."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from strategies import raw_system, seeds

from vnn_mondeq.query.interval import RationalInterval
from vnn_mondeq.query.query import PolynomialConstraint
from vnn_mondeq.query.relaxation import linear_lower_bound, range_of
from vnn_mondeq.system.solve import FixpointSolver
from vnn_mondeq.value_range import output_range


def drawn(rng: np.random.Generator) -> PolynomialConstraint:
    """Up to five products of up to four of two inputs and two outputs."""
    terms = {}
    for _ in range(int(rng.integers(1, 6))):
        factors = rng.integers(0, 4, size=int(rng.integers(1, 5)))
        x = tuple(sorted(int(f) for f in factors if f < 2))
        y = tuple(sorted(int(f) - 2 for f in factors if f >= 2))
        terms[x, y] = Fraction(int(rng.integers(-9, 10)) or 1, 3)
    return PolynomialConstraint(terms, Fraction(int(rng.integers(-9, 10)), 7), False)


@given(seed=seeds)
def test_bounds_hold_at_drawn_points_and_corners(seed):
    rng = np.random.default_rng(seed)
    constraint = drawn(rng)
    ends = np.sort(rng.integers(-8, 9, size=(4, 2)), axis=1)
    box = [RationalInterval(Fraction(int(a), 4), Fraction(int(b), 4)) for a, b in ends]

    def ranges(factor):
        is_output, position = factor
        return box[position + 2 * is_output]

    row, whole = linear_lower_bound(constraint, ranges), range_of(constraint, ranges)
    for corner in range(24):
        share = rng.integers(0, 2, 4) if corner < 16 else rng.integers(0, 65, 4)
        scale = 1 if corner < 16 else 64
        point = [
            r.lower + (r.upper - r.lower) * Fraction(int(s), scale)
            for r, s in zip(box, share, strict=True)
        ]
        x, y = dict(enumerate(point[:2])), dict(enumerate(point[2:]))
        value = constraint.value(x, y)
        assert row.value(x, y) <= value
        assert whole.lower <= value <= whole.upper


def test_on_a_point_the_bound_is_the_polynomial():
    constraint = PolynomialConstraint({((0, 0), (1,)): Fraction(2)}, Fraction(-1), False)

    def ranges(factor):
        return RationalInterval.point(Fraction(3) if factor == (False, 0) else Fraction(-5))

    x, y = {0: Fraction(3)}, {1: Fraction(-5)}
    assert linear_lower_bound(constraint, ranges).value(x, y) == constraint.value(x, y) == -91


def test_a_polynomial_that_is_positive_on_the_box_becomes_a_constant():
    constraint = PolynomialConstraint({((0, 1), ()): Fraction(-1)}, Fraction(9, 2), False)
    box = RationalInterval(Fraction(0), Fraction(2))
    row = linear_lower_bound(constraint, lambda _: box)
    assert (row.x, row.y, row.offset) == ({}, {}, Fraction(1, 2))
    assert linear_lower_bound(constraint, lambda _: RationalInterval(Fraction(0), None)) is None


def test_output_ranges_contain_the_outputs(rng):
    for kind in ("plain", "feed_forward", "mixed", "rotating"):
        system = raw_system(rng, kind, p=6, d=3, q=4).build()
        center, half = rng.normal(size=3), rng.uniform(0.0, 0.5, size=3)
        low, high = output_range(system, center - half, center + half)
        x = center + half * rng.uniform(-1.0, 1.0, size=(200, 3))
        y = system.output(FixpointSolver(system).solve(x).value, x)
        assert np.all((low <= y) & (y <= high))


def test_output_range_of_an_unbounded_input_is_infinite(rng):
    system = raw_system(rng, "plain", p=4, d=2, q=2).build()
    low, high = output_range(system, np.array([-np.inf, 0.0]), np.array([np.inf, 1.0]))
    assert np.all(np.isinf(low) & np.isinf(high))
