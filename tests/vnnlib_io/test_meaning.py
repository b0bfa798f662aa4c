"""What accepted texts mean, construct by construct.

`DIFFERENTIAL` are the constructs on which the readers in use differ (some of them silently read
another query); the points say what the text says.
"""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from vnnlib_io.text_oracle import holds, query_holds

from vnn_mondeq.errors import QueryError
from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection, LqBall
from vnn_mondeq.vnnlib_io import parse

V1 = "".join(f"(declare-const {name} Real)" for name in ("X_0", "X_1", "Y_0", "Y_1")) + "\n"

# text; points (x_0, x_1, y_0, y_1) inside; points outside
DIFFERENTIAL = {
    "or without and": ("(assert (or (<= Y_0 0) (<= Y_1 0)))", [(0, 0, 0, 1)], [(0, 0, 1, 1)]),
    "unary and": ("(assert (and (<= Y_0 0)))", [(0, 0, 0, 9)], [(0, 0, 1, 0)]),
    "two ors": (
        "(assert (or (<= Y_0 0) (<= Y_1 0)))(assert (or (>= Y_0 2) (>= Y_1 2)))",
        [(0, 0, 0, 2), (0, 0, 2, 0)],
        [(0, 0, 0, 0), (0, 0, 2, 2)],
    ),
    "or, then a conjunct": (
        "(assert (or (<= Y_0 0) (<= Y_1 0)))(assert (<= Y_0 5))",
        [(0, 0, 5, 0)],
        [(0, 0, 6, 0), (0, 0, 5, 1)],
    ),
    "top-level and": ("(assert (and (<= Y_0 0) (<= Y_1 0)))", [(0, 0, 0, 0)], [(0, 0, 0, 1)]),
    "or inside and": (
        "(assert (and (or (<= Y_0 0) (<= Y_0 -5)) (<= Y_1 0)))",
        [(0, 0, 0, 0)],
        [(0, 0, 0, 1), (0, 0, 1, 0)],
    ),
    "strict output": ("(assert (< Y_0 0))", [(0, 0, -1, 0)], [(0, 0, 0, 0)]),
    "strict input": (
        "(assert (> X_0 1))",
        [(np.nextafter(1.0, 2.0), 0, 0, 0)],
        [(1, 0, 0, 0)],
    ),
    "equality": ("(assert (= X_0 1))(assert (= Y_0 2))", [(1, 0, 2, 0)], [(1, 0, 1, 0)]),
    "constant first": ("(assert (<= 0.0 X_0))", [(0, 0, 0, 0), (5, 0, 0, 0)], [(-1, 0, 0, 0)]),
    "minus of a constant": ("(assert (<= X_0 (- 1.0)))", [(-1, 0, 0, 0)], [(0, 0, 0, 0)]),
    "sum of outputs": ("(assert (<= (+ Y_0 Y_1) 1))", [(0, 0, 2, -1)], [(0, 0, 2, 0)]),
    "sum of inputs": ("(assert (<= (+ X_0 X_1) 1))", [(2, -1, 0, 0)], [(2, 0, 0, 0)]),
    "mixed": ("(assert (<= Y_0 X_0))", [(3, 0, 3, 0)], [(3, 0, 4, 0)]),
    "same side twice": ("(assert (<= X_0 1))(assert (<= X_0 3))", [(1, 0, 0, 0)], [(2, 0, 0, 0)]),
    "input bounds in disjuncts": (
        "(assert (<= X_0 9))(assert (or (and (<= X_0 0) (<= Y_0 0)) (and (>= X_0 5) (>= Y_0 5))))",
        [(0, 0, 0, 0), (5, 0, 5, 0)],
        [(0, 0, 5, 0), (5, 0, 0, 0), (10, 0, 5, 0)],
    ),
    "unequal": ("(assert (!= Y_0 0))", [(0, 0, 1, 0), (0, 0, -1, 0)], [(0, 0, 0, 0)]),
    "true constant": ("(assert (<= 1 2))", [(0, 0, 0, 0)], []),
    "false constant in an or": ("(assert (or (< 1 1) (<= Y_0 0)))", [(0, 0, 0, 0)], [(0, 0, 1, 0)]),
    "true constant in an or": ("(assert (or (<= 1 1) (<= Y_0 0)))", [(0, 0, 5, 0)], []),
    "variables that cancel": ("(assert (<= (- X_0 X_0) 0))", [(7, 0, 0, 0)], []),
    "products that cancel": (
        "(assert (<= (- (* (+ X_0 1) (+ X_0 1)) (* X_0 X_0)) 3))",
        [(1, 0, 0, 0)],
        [(2, 0, 0, 0)],
    ),
    "no output constraint": ("(assert (<= X_0 0))", [(0, 0, 99, 99)], [(1, 0, 0, 0)]),
    "scaled": ("(assert (>= (* -2 X_0) 1))", [(-0.5, 0, 0, 0)], [(0, 0, 0, 0)]),
    "n-ary minus": ("(assert (<= (- 5 X_0 X_1 1) 0))", [(2, 2, 0, 0)], [(2, 1, 0, 0)]),
}


@pytest.mark.parametrize("name", DIFFERENTIAL)
def test_construct_means_what_it_says(name):
    text, inside, outside = DIFFERENTIAL[name]
    query = parse(V1 + text)
    for expected, points in ((True, inside), (False, outside)):
        for point in points:
            x0, x1, y0, y1 = (Fraction(float(v)) for v in point)
            assert query_holds(query, [x0, x1], [y0, y1]) == expected, point


@pytest.mark.parametrize(
    "text",
    [
        "(assert (<= X_0 0))(assert (>= X_0 1))",
        "(assert (< X_0 1))(assert (>= X_0 1))",
        "(assert (>= X_0 0.1))(assert (<= X_0 0.0999999999999999999999999))",
        "(assert (== X_0 1))(assert (!= X_0 1))",
        "(assert (<= 2 1))",
        "(assert (or (<= 2 1) (< Y_0 Y_0)))",
        "(assert (or (and (<= X_0 0) (>= X_0 1)) (and (<= X_1 0) (> X_1 0))))",
        "(assert (<= (* X_0 X_0) -1))",
        "(assert (< (* X_0 X_0) 0))",
    ],
)
def test_contradiction_has_no_case(text):
    assert parse(V1 + text).cases == ()


def test_one_empty_disjunct_is_dropped():
    text = "(assert (<= X_0 1))(assert (or (and (>= X_0 2) (<= Y_0 0)) (<= Y_1 0)))"
    (case,) = parse(V1 + text).cases
    assert dict(case.constraints[0].y) == {1: 1}


def test_bounds_are_exact_and_strictness_is_kept_in_the_inner_box():
    box = parse(V1 + "(assert (<= X_0 0.1))(assert (< X_1 0.5))").cases[0].inputs
    assert isinstance(box, Box)
    assert Fraction(box.inner_upper[0]) < Fraction(1, 10) < Fraction(box.upper[0])
    assert np.nextafter(box.inner_upper[0], 1.0) == box.upper[0]
    assert (box.upper[1], box.inner_upper[1]) == (0.5, np.nextafter(0.5, 0.0))
    assert (box.lower == -np.inf).all()


def test_cases_with_the_same_inputs_share_the_set():
    text = """(assert (<= X_0 1)) (assert (or
        (and (<= X_0 0) (<= Y_0 0)) (and (<= (* 2 X_0) 0) (<= X_0 7) (<= Y_0 1))
        (and (<= Y_0 2)) (and (<= X_0 3) (<= Y_0 3))))"""
    inputs = [case.inputs for case in parse(V1 + text).cases]
    assert inputs[0] is inputs[1]
    assert inputs[2] is inputs[3]
    assert inputs[0] is not inputs[2]


def test_input_constraints_become_sets_and_the_rest_constraints():
    text = "(assert (<= X_0 1))(assert (< (+ X_0 X_1) 1))(assert (<= (+ X_0 (* 3 Y_1)) 2))"
    (case,) = parse(V1 + text).cases
    box, half_space = case.inputs.parts
    assert isinstance(box, Box)
    assert isinstance(half_space, HalfSpace)
    assert (half_space.coefficients, half_space.offset) == ({0: 1, 1: 1}, -1)
    assert half_space.strict
    (constraint,) = case.constraints
    assert (constraint.x, constraint.y, constraint.offset) == ({0: 1}, {1: 3}, -2)


def test_variables_of_several_tensors_are_numbered_one_after_another():
    query = parse(
        "(vnnlib-version <2.0>)(declare-network f (declare-input A float32 [2,3])"
        "(declare-input B float32 [])(declare-output C float32 [2])(declare-output D float32 [2]))"
        "(assert (<= A[1,2] 1.0))(assert (<= B 2.0))(assert (<= C[1] D[1]))"
    )
    assert [v.start for v in query.variables] == [0, 6, 0, 2]
    assert [v.shape for v in query.variables] == [(2, 3), (), (2,), (2,)]
    assert query.networks == ("f",)
    (case,) = query.cases
    assert case.inputs.upper.tolist() == [np.inf] * 5 + [1.0, 2.0]
    assert dict(case.constraints[0].y) == {1: 1, 3: -1}


CENTER = (Fraction(1, 2), Fraction(-1, 10))


@pytest.mark.parametrize(
    "condition",
    [
        "(<= (+ (* (- X_0 0.5) (- X_0 0.5)) (* (+ X_1 0.1) (+ X_1 0.1))) 0.04)",
        "(>= 0.04 (+ (* (- 0.5 X_0) (- 0.5 X_0)) (* (+ X_1 0.1) (+ 0.1 X_1))))",
        "(<= (* 3 (+ (* (- X_0 0.5) (- X_0 0.5)) (* (+ X_1 0.1) (+ X_1 0.1)))) 0.12)",
        "(<= (- (+ (* X_0 X_0) (* X_1 X_1) (* 0.2 X_1)) X_0) -0.22)",
        "(>= (- (+ (* X_0 (- X_0 1)) (* X_1 (+ 0.2 X_1)))) 0.22)",
    ],
)
def test_sum_of_squares_is_an_l2_ball(condition):
    (case,) = parse(V1 + f"(assert {condition})").cases
    ball = case.inputs.parts[1]
    assert isinstance(ball, LqBall)
    assert (ball.q, ball.size, ball.coordinates.tolist()) == (2, 2, [0, 1])
    assert (ball.center, ball.radius_power, ball.strict) == (CENTER, Fraction(4, 100), False)


def test_strict_ball_leaves_its_sphere_out():
    inputs = parse(V1 + "(assert (< (+ (* X_0 X_0) (* X_1 X_1)) 1))").cases[0].inputs
    assert isinstance(inputs, Intersection)
    assert not inputs.contains(np.array([1.0, 0.0]))
    assert inputs.contains(np.array([0.75, 0.5]))


def test_wide_ball_is_read_quickly():
    squares = " ".join(f"(* (- X_{i} 0.25) (- X_{i} 0.25))" for i in range(3000))
    declared = "".join(f"(declare-const X_{i} Real)" for i in range(3000))
    query = parse(declared + f"(declare-const Y_0 Real)(assert (<= (+ {squares}) 4))")
    assert query.cases[0].inputs.parts[1].radius_power == 4


def ors(count: int) -> str:
    return "\n".join(f"(assert (or (<= Y_0 {i}) (<= Y_1 {i})))" for i in range(count))


def test_cap_on_cases_names_the_assertion():
    assert len(parse(V1 + ors(12)).cases) == 4096
    with pytest.raises(QueryError, match=r"8192 cases.*4096") as caught:
        parse(V1 + ors(13))
    assert (caught.value.line, caught.value.column) == (14, 1)
    with pytest.raises(QueryError, match=r"8 cases.* 7 "):
        parse(V1 + ors(3), max_cases=7)


def test_cap_inside_one_assertion():
    condition = " ".join(f"(or (<= Y_0 {i}) (<= Y_1 {i}))" for i in range(13))
    with pytest.raises(QueryError, match="8192 cases"):
        parse(V1 + f"(assert (and {condition}))")
    with pytest.raises(QueryError, match="5000 cases"):
        parse(V1 + "(assert (or " + " ".join(f"(<= Y_0 {i})" for i in range(5000)) + "))")


def test_equal_disjuncts_are_one_case():
    assert len(parse(V1 + "(assert (or (<= Y_0 0) (<= Y_0 0.0) (<= (* 1 Y_0) 0)))").cases) == 1


def test_no_assertion_at_all_is_everything():
    (case,) = parse(V1).cases
    assert case.constraints == ()
    assert case.inputs.contains(np.array([1e300, -1e300]))


@pytest.mark.parametrize(
    "condition",
    [
        "(<= (+ (* X_0 X_0) (* 2.0 X_1 X_1)) 1.0)",  # an ellipsoid
        "(< (* (+ X_0 X_1) (+ X_0 X_1)) 0.25)",
        "(<= (+ (* X_0 X_0) X_1) 0.5)",
        "(>= (* X_0 X_1) 0.25)",
        "(>= (* X_0 X_0) 0.25)",
        "(== (* X_0 X_0) 0.25)",
        "(!= (* X_0 X_1) 0.25)",
        "(or (> (* X_0 X_1) 0.5) (and (<= (* X_0 X_0) X_1) (<= Y_0 0.0)))",
        "(<= (* X_0 X_1) (- (* 3.0 X_0 X_0) (* 0.1 X_1)))",
    ],
)
def test_quadratic_constraints_on_inputs_mean_what_they_say(condition):
    text = (
        "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)"
        "(assert (<= X_0 1))(assert (>= X_0 -1))(assert (<= X_1 1))(assert (>= X_1 -1))"
        f"(assert {condition})"
    )
    query, seen = parse(text), set()
    values = [Fraction(n, 4) for n in range(-4, 5)] + [Fraction(0.3), Fraction(-0.7)]
    for point in itertools.product(values, values, (Fraction(-1), Fraction(1))):
        expected = holds(text, dict(zip(("X_0", "X_1", "Y_0"), point, strict=True)))
        assert query_holds(query, list(point[:2]), list(point[2:])) == expected
        seen.add(expected)
    assert seen == {True, False}
