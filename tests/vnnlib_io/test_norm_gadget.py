"""Lq balls stated by a norm network: recognised, refused where incomplete, resolved exactly."""

import math
from fractions import Fraction

import numpy as np
import pytest

from vnn_mondeq.errors import MismatchError, QueryError
from vnn_mondeq.query.input_set import Box, Intersection, LqBall
from vnn_mondeq.query.norm import NormNetwork, resolve_norms
from vnn_mondeq.query.query import NormBound
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


def test_gadget_is_recognised():
    query = parse(GADGET + "(assert (<= N 0.3))" + Y)
    (case,) = query.cases
    assert case.norm_bounds == (NormBound("norm", Fraction(3, 10), False, 0),)
    assert query.networks == ("f", "norm")
    assert query.norm_networks == ("norm",)
    assert [v.name for v in query.input_variables] == ["X"]
    assert [v.name for v in query.output_variables] == ["Y"]
    assert [v.name for v in query.variables] == ["X", "Y", "XN", "N"]
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
    (case,) = parse(GADGET + f"(assert {condition})").cases
    assert case.norm_bounds == (NormBound("norm", Fraction(bound), strict, 0),)


def test_ties_may_stand_inside_a_conjunction_and_either_way_round():
    ties = "".join(f"(== X[{i},{j}] XN[{i},{j}])" for i in range(2) for j in range(2))
    (case,) = parse(HEAD + MODEL + NORM + f"(assert (and (<= N 1.0) (and {ties})))").cases
    assert case.norm_bounds


def test_bound_on_the_norm_input_is_a_bound_on_the_model_input():
    (case,) = parse(GADGET + "(assert (<= XN[1,0] 0.5))").cases
    assert case.inputs.upper.tolist() == [np.inf, np.inf, 0.5, np.inf]


def test_norm_of_the_second_input():
    model = (
        "(declare-network f (declare-input A float32 [3]) (declare-input X float32 [2,2])"
        "(declare-output Y float32 [2]))"
    )
    query = parse(HEAD + model + NORM + TIES + "(assert (<= N 0.5))")
    assert query.cases[0].norm_bounds[0].start == 3
    ball = resolve_norms(query, {"norm": network(1)}).cases[0].inputs.parts[1]
    assert ball.coordinates.tolist() == [3, 4, 5, 6]


def test_negative_radius_is_a_contradiction():
    assert parse(GADGET + "(assert (<= N -1.0))").cases == ()
    assert parse(GADGET + "(assert (< N 0.0))").cases == ()


REFUSED = {
    "one tie missing": (HEAD + MODEL + NORM + TIES[TIES.index("\n") + 1 :], "XN[0,0]` is not tied"),
    "tie in an or": (
        HEAD + MODEL + NORM + TIES[TIES.index("\n") + 1 :]
        + "(assert (or (== XN[0,0] X[0,0]) (<= Y[0] 0.0)))",
        "XN[0,0]` is not tied",
    ),
    "permuted tie": (
        HEAD + MODEL + NORM + TIES.replace("X[0,0]))", "X[0,1]))"),
        "XN[0,0]` is not tied",
    ),
    "tied by <=": (HEAD + MODEL + NORM + TIES.replace("==", "<="), "several networks"),
    "other shape": (
        HEAD + MODEL + NORM.replace("[2,2]", "[4]")
        + "".join(f"(assert (== XN[{i}] X[{i // 2},{i % 2}]))" for i in range(4)),
        "several networks",
    ),
    "two outputs": (HEAD + MODEL + NORM.replace("[])", "[2])") + TIES, "several networks"),
    "equal-to": (HEAD + MODEL + NORM.replace("norm", "norm (equal-to f)") + TIES, "differ"),
    "lower bound": (GADGET + "(assert (>= N 0.3))", "from above"),
    "equality": (GADGET + "(assert (== N 0.3))", "from above"),
    "with an output": (GADGET + "(assert (<= N Y[0]))", "from above"),
    "with an input": (GADGET + "(assert (<= N X[0,0]))", "from above"),
    "squared": (GADGET + "(assert (<= (* N N) 0.3))", "on outputs"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_other_uses_of_a_second_network_are_refused(name):
    text, piece = REFUSED[name]
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert piece in str(caught.value)
    assert caught.value.line is not None


@pytest.mark.parametrize("q, power", [(1, Fraction(1, 2)), (2, Fraction(1, 4))])
@pytest.mark.parametrize("strict", [False, True])
def test_lq_ball_takes_the_place_of_the_bound(q, power, strict):
    text = GADGET + f"(assert ({'<' if strict else '<='} N 0.5))(assert (<= X[0,0] 1.0))" + Y
    query = resolve_norms(parse(text), {"norm": network(q, (0, 2))})
    (case,) = query.cases
    assert case.norm_bounds == ()
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


def test_missing_or_unfit_norm_network_is_named():
    query = parse(GADGET + "(assert (<= N 0.5))")
    with pytest.raises(MismatchError, match="--network norm="):
        resolve_norms(query, {})
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
    cases = parse(GADGET + "(assert (or (<= N 0.25) (<= N 0.5)))" + Y).cases
    assert [case.norm_bounds[0].bound for case in cases] == [Fraction(1, 4), Fraction(1, 2)]
    assert cases[0].inputs is cases[1].inputs
