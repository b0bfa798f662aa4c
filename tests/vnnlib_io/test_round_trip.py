"""Drawn queries: the reader and the oracle agree at every point, on both routes."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from vnnlib_io.text_oracle import holds, query_holds

from vnn_mondeq.query.input_set import Intersection
from vnn_mondeq.query.norm import NormNetwork, resolve_norms
from vnn_mondeq.vnnlib_io import parse, robustness_query

# Few values, so that bounds meet each other and the points; 0.1 lies between two floats.
NUMBERS = ["0.0", "1.0", "-1.0", "0.5", "-0.5", "0.1", "1e-1", "2.5E-1", ".5", "+1.0", "3."]
POINTS = [Fraction(v) for v in (-1, 0, 1, 3, 0.5, -0.5, 0.25, 0.1, math.nextafter(0.1, 0.0))]
RELATIONS = ["<=", ">=", "<", ">"]
INPUTS, OUTPUTS = 2, 2


def names(version: str) -> tuple[list[str], list[str]]:
    """Element names of inputs and outputs."""
    if version == "1.0":
        return [f"X_{i}" for i in range(INPUTS)], [f"Y_{j}" for j in range(OUTPUTS)]
    return [f"X[0,{i}]" for i in range(INPUTS)], [f"Y[{j}]" for j in range(OUTPUTS)]


def all_names(version: str) -> list[str]:
    inputs, outputs = names(version)
    return [*inputs, *outputs]


def header(version: str) -> str:
    if version == "1.0":
        return "\n".join(f"(declare-const {name} Real)" for pair in names("1.0") for name in pair)
    return (
        "(vnnlib-version <2.0>) (declare-network f (declare-input X real [1,2])"
        " (declare-output Y real [2]))"
    )


@st.composite
def simple_bounds(draw: st.DrawFn, version: str) -> str:
    """`(assert (<= variable number))`, the form of the fast route."""
    variable = draw(st.sampled_from(all_names(version)))
    relation, number = draw(st.sampled_from(RELATIONS)), draw(st.sampled_from(NUMBERS))
    return f"(assert ({relation} {variable} {number}))"


def linear_terms(version: str) -> st.SearchStrategy[str]:
    """Linear terms over all variables, constants anywhere."""
    leaves = st.sampled_from([*all_names(version), *NUMBERS])
    return st.recursive(
        leaves,
        lambda t: st.one_of(
            st.lists(t, min_size=1, max_size=3).map(lambda a: f"(+ {' '.join(a)})"),
            st.lists(t, min_size=1, max_size=3).map(lambda a: f"(- {' '.join(a)})"),
            st.tuples(st.sampled_from(NUMBERS), t).map(lambda a: f"(* {a[0]} {a[1]})"),
        ),
        max_leaves=4,
    )


def conditions(version: str) -> st.SearchStrategy[str]:
    """Nested conditions over linear comparisons."""
    term = linear_terms(version)
    relation = st.sampled_from([*RELATIONS, "==", "!=", "="])
    atom = st.tuples(relation, term, term).map(lambda a: f"({a[0]} {a[1]} {a[2]})")
    return st.recursive(
        atom,
        lambda c: st.tuples(
            st.sampled_from(["and", "or"]), st.lists(c, min_size=1, max_size=3)
        ).map(lambda a: f"({a[0]} {' '.join(a[1])})"),
        max_leaves=5,
    )


@st.composite
def texts(draw: st.DrawFn, version: str) -> str:
    """A whole query: simple bounds and nested conditions in any order."""
    statement = st.one_of(
        simple_bounds(version), conditions(version).map(lambda c: f"(assert {c})")
    )
    statements = draw(st.lists(statement, min_size=1, max_size=5))
    return "\n".join([header(version), *statements])


def drawn_points(seed: int) -> list[tuple[list[Fraction], list[Fraction]]]:
    """Forty points of the grid."""
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(POINTS), size=(40, INPUTS + OUTPUTS))
    return [([POINTS[i] for i in row[:INPUTS]], [POINTS[i] for i in row[INPUTS:]]) for row in picks]


def demand_same_meaning(text: str, version: str, seed: int) -> None:
    query = parse(text)
    x_names, y_names = names(version)
    for x, y in drawn_points(seed):
        point = dict(zip([*x_names, *y_names], [*x, *y], strict=True))
        assert query_holds(query, x, y) == holds(text, point), point


@given(texts("1.0"), st.integers(0, 99))
def test_v1_query_means_what_its_text_says(text, seed):
    demand_same_meaning(text, "1.0", seed)


@given(texts("2.0"), st.integers(0, 99))
def test_v2_query_means_what_its_text_says(text, seed):
    demand_same_meaning(text, "2.0", seed)


def dump(query) -> list:
    """All that a query says, in comparable form."""
    cases = []
    for case in query.cases:
        parts = case.inputs.parts if isinstance(case.inputs, Intersection) else [case.inputs]
        rows = [(dict(c.x), dict(c.y), c.offset, c.strict) for c in case.constraints]
        cases.append(([repr(part) for part in parts], rows, case.checked))
    return [query.version, query.variables, cases]


def slow(text: str) -> str:
    """The same text with comments where the fast route takes none."""
    return text.replace("(assert (", "(assert ; (assert (<= X_0 0))\n(")


@given(st.sampled_from(["1.0", "2.0"]).flatmap(texts))
def test_both_routes_give_the_same_query(text):
    assert dump(parse(text)) == dump(parse(slow(text)))


@given(
    st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=4),
    st.sampled_from([1, 2, math.inf]),
    st.sampled_from(["0.05", "0", "1.5"]),
    st.sampled_from([None, (0, 1), ("-0.5", "2.5")]),
    st.sampled_from(["1.0", "2.0"]),
)
def test_written_query_is_read_back_exactly(image, norm, eps, clip, version):
    image = np.array(image, dtype=np.float32)
    low, high = (Fraction(v) for v in (clip or (-10, 10)))
    lower = [max(Fraction(float(v)) - Fraction(eps), low) for v in image]
    upper = [min(Fraction(float(v)) + Fraction(eps), high) for v in image]
    if any(a > b for a, b in zip(lower, upper, strict=True)) or (
        version == "1.0" and norm != math.inf
    ):
        return
    text = robustness_query(image, 1, norm, eps, classes=3, clip=clip, version=version)
    query = parse(text)
    assert [dict(c.constraints[-1].y) for c in query.cases] == [{1: 1, 0: -1}, {1: 1, 2: -1}]
    assert not any(c.constraints[0].strict for c in query.cases)
    inputs = query.cases[0].inputs
    assert all(case.inputs is inputs for case in query.cases)
    box = inputs.parts[0] if isinstance(inputs, Intersection) else inputs
    for i in range(len(image)):
        # The outer box is tight around the exact bound and the inner one tight within.
        assert Fraction(box.lower[i]) <= lower[i] <= Fraction(box.inner_lower[i])
        assert Fraction(box.inner_upper[i]) <= upper[i] <= Fraction(box.upper[i])
        assert box.inner_lower[i] <= np.nextafter(box.lower[i], np.inf)
    if norm == 2:
        ball = inputs.parts[1]
        assert (ball.q, ball.radius_power) == (2, Fraction(eps) ** 2)
        assert list(ball.center) == [Fraction(float(v)) for v in image]
    if norm == 1:
        center = tuple(Fraction(float(v)) for v in image)
        norm_network = NormNetwork(1, center, np.arange(len(center)))
        resolved = resolve_norms(query, {"norm": norm_network})
        assert resolved.cases[0].inputs.parts[1].radius_power == Fraction(eps)
