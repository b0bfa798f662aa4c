"""A VNN-LIB text and the `Query` read from it hold at exactly the same points.

Conditions are drawn as trees, printed, read back, and both are evaluated in rationals at points
of a small grid, where equalities and strict bounds are hit often. The evaluator of the tree is
twenty lines and shares nothing with the product.
"""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from vnn_mondeq.errors import QueryError
from vnn_mondeq.query.query import Query
from vnn_mondeq.vnnlib_io import parse

HOLDS = {
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}
GRID = [Fraction(k, 4) for k in (-2, 0, 1, 3)]


def draw_number(rng: np.random.Generator):
    return ("number", Fraction(int(rng.integers(-4, 5)), 4))


def draw_term(rng: np.random.Generator, names: list[str], depth: int):
    if depth == 0 or rng.random() < 0.4:
        return ("name", str(rng.choice(names))) if rng.random() < 0.7 else draw_number(rng)
    operator = str(rng.choice(["+", "-", "*", "neg"]))
    if operator == "neg":
        return ("-", [draw_term(rng, names, depth - 1)])
    if operator == "*":
        return ("*", [draw_number(rng), draw_term(rng, names, depth - 1)])
    count = int(rng.integers(2, 4))
    return (operator, [draw_term(rng, names, depth - 1) for _ in range(count)])


def draw_condition(rng: np.random.Generator, depth: int):
    if depth == 0 or rng.random() < 0.35:
        relation = str(rng.choice(list(HOLDS)))
        names = [["X0", "X1"], ["Y0", "Y1"], ["X0", "X1", "Y0", "Y1"]][int(rng.integers(3))]
        if rng.random() < 0.4:  # a plain bound, either way around
            sides = [("name", str(rng.choice(names))), draw_number(rng)]
            left, right = sides if rng.random() < 0.8 else sides[::-1]
        else:
            # One side names something: a comparison of constants has no type in VNN-LIB.
            left = ("+", [("name", names[0]), draw_term(rng, names, 2)])
            right = draw_term(rng, names, 2)
        return (relation, left, right)
    count = int(rng.integers(1, 4))
    kind = str(rng.choice(["and", "or"]))
    return (kind, [draw_condition(rng, depth - 1) for _ in range(count)])


def decimal(value: Fraction) -> str:
    """Quarters as decimals, in one of the forms that both versions admit."""
    return f"{float(value):.2f}"


def show(tree, version: str) -> str:
    head, *rest = tree
    if head == "number":
        return decimal(rest[0])
    if head == "name":
        letter, index = rest[0]
        return f"{letter}_{index}" if version == "1.0" else f"{letter}[0,{index}]"
    if head in HOLDS:
        return f"({head} {show(rest[0], version)} {show(rest[1], version)})"
    return f"({head} {' '.join(show(item, version) for item in rest[0])})"


def evaluate(tree, point: dict[str, Fraction]):
    head, *rest = tree
    if head == "number":
        return rest[0]
    if head == "name":
        return point[rest[0]]
    if head in HOLDS:
        return HOLDS[head](evaluate(rest[0], point), evaluate(rest[1], point))
    values = [evaluate(item, point) for item in rest[0]]
    if head in ("and", "or"):
        return all(values) if head == "and" else any(values)
    if head == "-":
        return -values[0] if len(values) == 1 else values[0] - sum(values[1:])
    if head == "+":
        return sum(values)
    result = Fraction(1)
    for value in values:
        result *= value
    return result


def text_of(conditions, version: str) -> str:
    asserts = "\n".join(f"(assert {show(tree, version)})" for tree in conditions)
    if version == "1.0":
        names = ("X_0", "X_1", "Y_0", "Y_1")
        return "\n".join(f"(declare-const {n} Real)" for n in names) + "\n" + asserts
    return (
        "(vnnlib-version <2.0>)\n(declare-network f (declare-input X real [1,2])"
        f" (declare-output Y real [1,2]))\n{asserts}"
    )


def query_holds(query: Query, x: list[Fraction], y: list[Fraction]) -> bool:
    inputs, outputs = dict(enumerate(x)), dict(enumerate(y))
    point = np.array([float(v) for v in x])
    for case in query.cases:
        if not case.inputs.contains(point):
            continue
        values = [(c.value(inputs, outputs), c.strict) for c in case.constraints]
        if all(value < 0 or (value == 0 and not strict) for value, strict in values):
            return True
    return False


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("first", range(0, 120, 40))
def test_query_holds_exactly_where_its_text_does(version, first):
    for seed in range(first, first + 40):
        rng = np.random.default_rng([71, seed])
        conditions = [draw_condition(rng, 3) for _ in range(int(rng.integers(1, 4)))]
        text = text_of(conditions, version)
        try:
            query = parse(text)
        except QueryError as error:
            assert "cases" in str(error), f"{error}\n{text}"
            continue
        for x in product(GRID, repeat=2):
            for y in product(GRID, repeat=2):
                point = {"X0": x[0], "X1": x[1], "Y0": y[0], "Y1": y[1]}
                truth = all(evaluate(tree, point) for tree in conditions)
                assert query_holds(query, list(x), list(y)) == truth, f"{point}\n{text}"


def test_ball_of_squares_holds_exactly_where_its_text_does():
    text = text_of([], "2.0") + (
        "(assert (<= (+ (* (- X[0,0] 0.25) (- X[0,0] 0.25)) (* X[0,1] X[0,1])) 0.25))"
        "(assert (>= Y[0,0] 0.0))"
    )
    query = parse(text)
    for x in product([Fraction(k, 4) for k in range(-4, 5)], repeat=2):
        truth = (x[0] - Fraction(1, 4)) ** 2 + x[1] ** 2 <= Fraction(1, 4)
        assert query_holds(query, list(x), [Fraction(0), Fraction(0)]) == truth


@pytest.mark.parametrize("condition", [
    "(<= X5)", "(<= X[0,0] )", "(<= X[] 1.0)", "(<= X[0] 1.0)", "(<= X 1.0)", "(<= X[0,2] 1.0)",
    "(<= X[0,-1] 1.0)", "(<= X[0,0]1.0 2.0)", "(<= X[0,0] 1.0 2.0)", "(<= X[0,0] nan)",
    "(<= X[0,0] inf)", "(<= X[0,0] 1e400000)", "(not (<= X[0,0] 1.0))", "(=> (<= X[0,0] 1.0))",
    "(<= x[0,0] 1.0)", "(<= Z[0,0] 1.0)", "(and)", "(or)",
    "(<= (/ X[0,0] 2.0) 1.0)",
    "(<= X[0,0] 1.0.0)", "(<= X[0,0] 0x10)", "(<= X[0,0] 1_000.0)", "(<= X[0,0] ١.0)",
])  # fmt: skip
def test_text_that_is_not_understood_is_an_error_with_a_place(condition):
    text = text_of([], "2.0") + f"(assert (<= X[0,0] 9.0))\n(assert {condition})"
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert caught.value.line is not None
