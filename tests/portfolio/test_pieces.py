"""Pieces of input sets cover them, and make polynomial cases provable."""

from fractions import Fraction

import numpy as np
import pytest

from vnn_mondeq.pieces import MAX_PIECES, in_pieces
from vnn_mondeq.query.input_set import Box, Intersection, LqBall
from vnn_mondeq.query.query import Case, PolynomialConstraint, Query, Variable
from vnn_mondeq.system.implicit import dense_system

VARIABLES = (
    Variable("X", "float32", (2,), "input", "f", 0),
    Variable("Y", "float32", (2,), "output", "f", 0),
)


def relu_system():
    """`y = ReLU(x)`, two numbers."""
    eye = np.eye(2)
    return dense_system(-eye, eye, np.zeros(2), 2.0 * eye, np.zeros(2))


def query_of(inputs, terms, offset) -> Query:
    row = PolynomialConstraint(terms, Fraction(offset), False)
    return Query("2.0", VARIABLES, (Case(inputs, (), (row,)),))


BOX = Box.from_floats(np.array([-1.0, 0.0]), np.array([1.0, 2.0]))
SETS = {
    "box": BOX,
    "box and ball": Intersection(
        (BOX, LqBall(2, 2, np.arange(2), (Fraction(0), Fraction(1)), Fraction(1)))
    ),
    "ball": LqBall(2, 2, np.arange(2), (Fraction(0), Fraction(1)), Fraction(1)),
}
PRODUCT = {((), (0, 1)): Fraction(-1)}


@pytest.mark.parametrize("name", SETS)
def test_pieces_cover_the_set(name, rng):
    inputs = SETS[name]
    query = in_pieces(relu_system(), query_of(inputs, PRODUCT, 1), "float32")
    assert 1 < len(query.cases) <= MAX_PIECES
    points = rng.uniform([-1.5, -0.5], [1.5, 2.5], size=(300, 2))
    points[:40] = np.round(points[:40] * 4.0) / 4.0  # on the cuts
    for point in points:
        inside = [case.inputs.contains(point) for case in query.cases]
        assert any(inside) == inputs.contains(point)


def test_a_case_that_intervals_refute_stays_whole():
    query = query_of(BOX, PRODUCT, 5)  # y0 y1 >= 5, and at most 2
    assert len(in_pieces(relu_system(), query, "float32").cases) == 1


def test_other_cases_and_wide_inputs_stay_whole():
    linear = Query("2.0", VARIABLES, (Case(BOX, ()),))
    assert in_pieces(relu_system(), linear, "float32").cases[0] is not None
    assert len(in_pieces(relu_system(), linear, "float32").cases) == 1
    unbounded = Box.from_fractions([None, Fraction(0)], [Fraction(1), Fraction(1)])
    query = query_of(unbounded, PRODUCT, 1)
    assert len(in_pieces(relu_system(), query, "float32").cases) == 1
