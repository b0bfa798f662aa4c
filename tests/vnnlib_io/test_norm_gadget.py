"""Lq balls stated by a norm network: recognised, told from other networks, resolved exactly."""

import math
from fractions import Fraction

import numpy as np
import pytest

from vnn_mondeq.errors import MismatchError
from vnn_mondeq.query.input_set import Box, Intersection, LqBall
from vnn_mondeq.query.norm import NormNetwork, may_be_norm, resolve_norms
from vnn_mondeq.vnnlib_io import parse

HEAD = "(vnnlib-version <2.0>)\n"
MODEL = "(declare-network f (declare-input {} [2,2]) (declare-output Y float32 [2]))\n".format(
    "X float32"
)
NORM = "(declare-network norm (declare-input XN float32 [2,2]) (declare-output N float32 []))\n"
TIES = "".join(f"(assert (== XN[{i},{j}] X[{i},{j}]))\n" for i in range(2) for j in range(2))
GADGET = HEAD + MODEL + NORM + TIES
Y = "(assert (<= Y[0] Y[1]))\n"


def network(q: float, coordinates=(0, 1, 2, 3)) -> NormNetwork:
    center = tuple(Fraction(i + 1, 10) for i in range(len(coordinates)))
    return NormNetwork(q, center, np.array(coordinates))


def bounds(query) -> list:
    """`(bound, strict)` of the norm in each case."""
    return [
        (-row.offset / weight, row.strict)
        for case in query.cases
        for row in case.constraints
        for position, weight in row.y.items()
        if position == 2
    ]


def test_gadget_is_recognised():
    query = parse(GADGET + "(assert (<= N 0.3))" + Y)
    (case,) = query.cases
    assert may_be_norm(query, "norm")
    assert not may_be_norm(query, "f")
    assert bounds(query) == [(Fraction(3, 10), False)]
    assert query.networks == ("f", "norm")
    assert [v.name for v in query.input_variables] == ["X"]
    assert [v.name for v in query.variables] == ["X", "Y", "XN", "N"]
    assert [list(v.places) for v in query.variables] == [[0, 1, 2, 3], [0, 1], [0, 1, 2, 3], [2]]
    assert case.inputs.dimension == 4


@pytest.mark.parametrize(
    "condition, bound, strict",
    [
        ("(>= 0.3 N)", "0.3", False),
        ("(< N 0.3)", "0.3", True),
        ("(<= (* 2.0 N) 0.6)", "0.3", False),
        ("(<= (- N 0.1) 0.2)", "0.3", False),
        ("(<= N 0.0)", "0", False),
    ],
)
def test_ways_to_bound_the_norm(condition, bound, strict):
    query = parse(GADGET + f"(assert {condition})")
    assert may_be_norm(query, "norm")
    assert bounds(query) == [(Fraction(bound), strict)]


def test_ties_may_stand_inside_a_conjunction_and_either_way_round():
    ties = "".join(f"(== X[{i},{j}] XN[{i},{j}])" for i in range(2) for j in range(2))
    query = parse(HEAD + MODEL + NORM + f"(assert (and (<= N 1.0) (and {ties})))")
    assert query.input_count == 4


def test_bound_on_the_norm_input_is_a_bound_on_the_model_input():
    (case,) = parse(GADGET + "(assert (<= XN[1,0] 0.5))").cases
    assert case.inputs.upper.tolist() == [np.inf, np.inf, 0.5, np.inf]


def test_norm_of_the_second_input():
    model = (
        "(declare-network f (declare-input A float32 [3]) (declare-input X float32 [2,2])"
        "(declare-output Y float32 [2]))"
    )
    query = parse(HEAD + model + NORM + TIES + "(assert (<= N 0.5))")
    ball = resolve_norms(query, {"norm": network(1)}).cases[0].inputs.parts[1]
    assert ball.coordinates.tolist() == [3, 4, 5, 6]


def test_negative_radius_is_a_contradiction():
    for condition in ("(<= N -1.0)", "(< N 0.0)"):
        query = parse(GADGET + f"(assert {condition})")
        assert resolve_norms(query, {"norm": network(1)}).cases == ()


def test_ties_may_be_permuted_or_missing():
    """The ball is then one of the inputs that the norm network reads, wherever they stand."""
    permuted = TIES.replace("X[0,0]))", "X[9]))").replace("X[0,1]))", "X[0,0]))")
    query = parse(HEAD + MODEL + NORM + permuted.replace("X[9]", "X[0,1]") + "(assert (<= N 0.5))")
    ball = resolve_norms(query, {"norm": network(1)}).cases[0].inputs.parts[1]
    assert ball.coordinates.tolist() == [1, 0, 2, 3]
    untied = TIES[TIES.index("\n") + 1 :]
    query = parse(HEAD + MODEL + NORM + untied + "(assert (<= N 0.5))")
    assert query.input_count == 5
    ball = resolve_norms(query, {"norm": network(1)}).cases[0].inputs.parts[1]
    assert ball.coordinates.tolist() == [4, 1, 2, 3]


def test_a_norm_of_an_input_that_it_reads_twice_is_refused():
    twice = TIES + "(assert (== X[0,0] X[0,1]))"
    query = parse(HEAD + MODEL + NORM + twice + "(assert (<= N 0.5))")
    assert query.input_count == 3
    with pytest.raises(MismatchError, match="tied to the same input"):
        resolve_norms(query, {"norm": network(1)})


OTHER_USES = {
    "two outputs": HEAD + MODEL + NORM.replace("[])", "[2])") + TIES,
    "lower bound": GADGET + "(assert (>= N 0.3))",
    "equality": GADGET + "(assert (== N 0.3))",
    "with an output": GADGET + "(assert (<= N Y[0]))",
    "with an input": GADGET + "(assert (<= N X[0,0]))",
    "squared": GADGET + "(assert (<= (* N N) 0.3))",
    "in a product": GADGET + "(assert (<= (* N Y[0]) 0.3))",
}


@pytest.mark.parametrize("name", OTHER_USES)
def test_other_uses_are_no_norm_gadget(name):
    query = parse(OTHER_USES[name])
    assert not may_be_norm(query, "norm")
    if name != "two outputs":
        with pytest.raises(MismatchError, match="from above"):
            resolve_norms(query, {"norm": network(1)})


@pytest.mark.parametrize("q, power", [(1, Fraction(1, 2)), (2, Fraction(1, 4))])
@pytest.mark.parametrize("strict", [False, True])
def test_lq_ball_takes_the_place_of_the_bound(q, power, strict):
    text = GADGET + f"(assert ({'<' if strict else '<='} N 0.5))(assert (<= X[0,0] 1.0))" + Y
    query = resolve_norms(parse(text), {"norm": network(q, (0, 2))})
    (case,) = query.cases
    assert [row.y for row in case.constraints] == [{0: 1, 1: -1}]
    assert [row.y for row in case.checked] == [{2: 1}]
    box, ball = case.inputs.parts
    assert isinstance(box, Box)
    assert isinstance(ball, LqBall)
    assert (ball.q, ball.size, ball.strict) == (q, 4, strict)
    assert ball.coordinates.tolist() == [0, 2]
    assert ball.center == (Fraction(1, 10), Fraction(1, 5))
    assert ball.radius_power == power


def test_infinity_ball_is_met_with_the_box():
    text = GADGET + "(assert (<= N 0.25))(assert (<= X[0,0] 0.3125))" + Y
    (case,) = resolve_norms(parse(text), {"norm": network(math.inf, (0, 2))}).cases
    box = case.inputs
    assert isinstance(box, Box)
    assert box.lower[[1, 3]].tolist() == [-np.inf, -np.inf]
    assert (
        Fraction(box.lower[0]) <= Fraction(1, 10) - Fraction(1, 4) <= Fraction(box.inner_lower[0])
    )
    assert box.upper[0] == 0.3125
    assert Fraction(box.inner_upper[2]) <= Fraction(9, 20) <= Fraction(box.upper[2])


def test_strict_infinity_ball_leaves_its_faces_out():
    norm = NormNetwork(math.inf, (Fraction(0),), np.array([0]))
    query = parse(GADGET + "(assert (< N 0.25))")
    box = resolve_norms(query, {"norm": norm}).cases[0].inputs
    assert not box.contains(np.array([0.25, 0, 0, 0]))
    assert box.contains(np.array([np.nextafter(0.25, 0), 0, 0, 0]))


def test_empty_infinity_ball_drops_its_case():
    text = GADGET + "(assert (<= N 0.25))(assert (>= X[0,0] 5.0))" + Y
    assert resolve_norms(parse(text), {"norm": network(math.inf)}).cases == ()


def test_resolved_cases_share_their_sets():
    text = (
        GADGET
        + """(assert (<= N 0.5)) (assert (or (and (<= Y[0] 0.0)) (and (<= Y[1] 0.0))
        (and (<= N 0.25) (<= Y[0] 1.0))))"""
    )
    first, second, third = resolve_norms(parse(text), {"norm": network(1)}).cases
    assert first.inputs is second.inputs
    assert first.inputs is not third.inputs
    assert isinstance(third.inputs, Intersection)
    assert not third.inputs.contains(np.array([0.5, 0.2, 0.3, 0.4]))
    assert first.inputs.contains(np.array([0.5, 0.2, 0.3, 0.4]))


def test_an_unfit_norm_network_is_named():
    query = parse(GADGET + "(assert (<= N 0.5))")
    with pytest.raises(MismatchError, match="reads input 4"):
        resolve_norms(query, {"norm": network(1, (0, 4))})


def test_query_without_norms_is_unchanged():
    query = parse(HEAD + MODEL + Y)
    assert resolve_norms(query, {}).cases[0].inputs is query.cases[0].inputs


@pytest.mark.parametrize("q", [1, 2])
def test_widened_ball_contains_what_float32_takes_for_the_ball(q):
    """Points at a float32 distance of at most the radius, some of them outside the exact ball."""
    rng = np.random.default_rng(3)
    outside = 0
    for _ in range(300):
        k = int(rng.integers(1, 40))
        center = [Fraction(int(v), 10**6) for v in rng.integers(-(10**6), 10**6, size=k)]
        middle = np.float32([float(c) for c in center])
        point = middle + np.float32(rng.normal(size=k) * 10.0 ** rng.uniform(-4, 0))
        difference = point - middle
        norm = np.abs(difference).sum() if q == 1 else np.sqrt((difference * difference).sum())
        assert norm.dtype == np.float32
        ball = LqBall(q, k, np.arange(k), tuple(center), Fraction(float(norm)) ** q)
        assert ball.widened().contains(point.astype(np.float64))
        outside += not ball.contains(point.astype(np.float64))
    assert outside > 50


def test_cases_that_differ_in_the_norm_only_are_both_kept():
    query = parse(GADGET + "(assert (or (<= N 0.25) (<= N 0.5)))" + Y)
    assert bounds(query) == [(Fraction(1, 4), False), (Fraction(1, 2), False)]
    assert query.cases[0].inputs is query.cases[1].inputs
