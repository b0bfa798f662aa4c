"""Queries and models that fit become rows that stand for what was asked; others are refused."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from oracle import exact_fixpoint, exact_value
from strategies import constraint, query_of, raw_system, seeds

from vnn_mondeq.errors import MismatchError, QueryError
from vnn_mondeq.query.input_set import Box, HalfSpace, Intersection
from vnn_mondeq.query.query import LinearConstraint, Variable
from vnn_mondeq.statement import build_problem, certainly_empty, unbounded_inputs
from vnn_mondeq.system.affine import AffineMap, Coefficients


def _box(d: int, low: float = -1.0, high: float = 1.0) -> Box:
    return Box.from_floats(np.full(d, low), np.full(d, high))


def _third(rng: np.random.Generator) -> Fraction:
    """A rational that no float equals."""
    return Fraction(int(rng.integers(-1000, 1000)) * 3 + 1, 3 * 10 ** int(rng.integers(0, 6)))


@given(seed=seeds)
def test_rows_are_within_their_error_of_the_exact_constraint(seed):
    rng = np.random.default_rng(seed)
    raw = raw_system(rng, str(rng.choice(["plain", "strongly", "mixed"])), p=4, d=3, q=3)
    constraints = tuple(
        LinearConstraint(
            {int(i): _third(rng) for i in rng.choice(3, 2, replace=False)},
            {int(j): _third(rng) for j in rng.choice(3, 2, replace=False)},
            _third(rng),
            strict=False,
        )
        for _ in range(3)
    )
    query = query_of([(_box(3), list(constraints))], 3, 3)
    (obligation,) = build_problem(raw.build(), query, "float32").obligations
    assert obligation.cases == ((0, 1, 2),)
    c, error = obligation.rows.coefficients, obligation.rows.error
    assert np.all(error < 1e-6)
    for _ in range(3):
        x = [Fraction(v) for v in rng.uniform(-1.0, 1.0, size=3)]
        z = exact_fixpoint(raw.W, raw.U, raw.b, x)
        y = [exact_value((raw.G[j], raw.H[j], raw.g[j]), z, x) for j in range(3)]
        for k, asked in enumerate(constraints):
            exact = asked.value(dict(enumerate(x)), dict(enumerate(y)))
            stored = exact_value((c.on_z[k], c.on_x[k], c.offset[k]), z, x)
            assert abs(exact - stored) <= Fraction(float(error[k]))


def test_rows_without_error_would_be_wrong(rng):
    """The property above must be able to fail: thirds do not survive rounding."""
    raw = raw_system(rng, "plain", p=4, d=3, q=3)
    asked = LinearConstraint({0: Fraction(1, 3)}, {1: Fraction(2, 3)}, Fraction(1, 7), False)
    (obligation,) = build_problem(
        raw.build(), query_of([(_box(3), [asked])], 3, 3), "float32"
    ).obligations
    c = obligation.rows.coefficients
    x = [Fraction(1), Fraction(-1), Fraction(1)]
    z = exact_fixpoint(raw.W, raw.U, raw.b, x)
    y = {1: exact_value((raw.G[1], raw.H[1], raw.g[1]), z, x)}
    assert asked.value(dict(enumerate(x)), y) != exact_value(
        (c.on_z[0], c.on_x[0], c.offset[0]), z, x
    )


def test_a_radius_of_the_output_map_widens_the_rows(rng):
    raw = raw_system(rng, "plain", p=4, d=3, q=3)
    system = raw.build()
    radius = Coefficients(np.zeros((3, 4)), np.zeros((3, 3)), np.array([0.0, 0.25, 0.0]))
    moved = dataclasses.replace(system, output=AffineMap(system.output.coefficients, radius))
    query = query_of([(_box(3), [constraint({1: -2.0}, 0.0), constraint({0: 1.0}, 0.0)])], 3, 3)
    (obligation,) = build_problem(moved, query, "float32").obligations
    assert 0.5 <= obligation.rows.error[0] < 0.5001
    assert obligation.rows.error[1] < 1e-9


@pytest.mark.parametrize(
    ("element_type", "version", "counts"),
    [("real", "2.0", False), ("float32", "2.0", True), ("Real", "1.0", True)],
)
def test_float_queries_and_version_1_count_the_runtime(element_type, version, counts, rng):
    raw = raw_system(rng, "plain", p=4, d=3, q=3)
    system = raw.build()
    weights = Coefficients(np.ones((3, 4)), np.ones((3, 3)), np.ones(3))
    moved = dataclasses.replace(system, output=AffineMap(system.output.coefficients, None, weights))
    query = query_of([(_box(3), [constraint({0: 1.0}, 0.0)])], 3, 3, element_type, version)
    (obligation,) = build_problem(moved, query, "float32").obligations
    assert (obligation.rows.error[0] > 2.0**-24) == counts


def test_cases_share_an_obligation_only_with_the_same_input_set(rng):
    system = raw_system(rng, "plain", p=4, d=3, q=3).build()
    one, other = _box(3), _box(3)
    row = constraint({0: 1.0}, 0.0)
    query = query_of([(one, [row]), (other, [row, row]), (one, [row])], 3, 3)
    obligations = build_problem(system, query, "float32").obligations
    assert [o.cases for o in obligations] == [((0,), (1,)), ((0, 1),)]


def test_empty_boxes_are_left_out_but_not_where_float32_fills_them(rng):
    system = raw_system(rng, "plain", p=4, d=1, q=3).build()
    row = constraint({0: 1.0}, 0.0)
    empty = Box.from_floats(np.array([0.5]), np.array([0.25]))
    query = query_of([(empty, [row])], 1, 3)
    assert build_problem(system, query, "float32").obligations == ()
    # Both bounds round to the same float32, which a float32 reader takes for inside.
    sliver = Box.from_floats(np.array([0.3 + 1e-12]), np.array([0.3 - 1e-12]))
    query = query_of([(sliver, [row])], 1, 3)
    assert len(build_problem(system, query, "float32").obligations) == 1


@pytest.mark.parametrize(
    ("offset", "strict", "empty"),
    [
        (Fraction(-2), True, False),
        (Fraction(-2) + Fraction(1, 10**9), False, False),
        (Fraction(2), False, False),
        (Fraction(2), True, True),
        (Fraction(2) + Fraction(1, 10**30), False, False),  # a float32 reader sees 2
        (Fraction(2) + Fraction(1, 10**5), False, True),
    ],
)
def test_a_half_space_that_misses_the_box_leaves_nothing(offset, strict, empty):
    """`x_0 - x_1 + offset <= 0` on `[-1, 1]^2`, where `x_0 - x_1` is -2 at least."""
    half_space = HalfSpace(2, {0: Fraction(1), 1: Fraction(-1)}, offset, strict)
    assert certainly_empty(Intersection((_box(2), half_space))) == empty


def test_a_half_space_over_an_unbounded_input_is_never_empty():
    free = Box.from_fractions([None, Fraction(0)], [Fraction(1), Fraction(1)])
    half_space = HalfSpace(2, {0: Fraction(1)}, Fraction(10), False)
    assert not certainly_empty(Intersection((free, half_space)))


def test_unbounded_inputs_are_named_and_make_errors_infinite(rng):
    system = raw_system(rng, "plain", p=4, d=3, q=3).build()
    box = Box.from_fractions([Fraction(0), None, Fraction(0)], [Fraction(1), Fraction(1), None])
    query = query_of([(box, [constraint({0: 1.0}, 0.0)])], 3, 3)
    (obligation,) = build_problem(system, query, "float32").obligations
    assert unbounded_inputs(obligation).tolist() == [1, 2]
    assert np.all(obligation.rows.error == np.inf)


def _plain_query(**changes):
    query = query_of([(_box(3), [constraint({0: 1.0}, 0.0)])], 3, 3, "float32")
    return dataclasses.replace(query, **changes)


def _declared(inputs=("float32", (3,)), outputs=("float32", (3,))):
    return (
        Variable("X", inputs[0], inputs[1], "input", "f", 0),
        Variable("Y", outputs[0], outputs[1], "output", "f", 0),
    )


MISMATCHES = {
    "type": (_plain_query(variables=_declared(("float64", (3,)), ("float64", (3,)))), "float64"),
    "mixed real": (_plain_query(variables=_declared(("real", (3,)))), "mixes real"),
    "input shape": (_plain_query(variables=_declared(("float32", (1, 3)))), r"X \[1, 3\]"),
    "output shape": (_plain_query(variables=_declared(outputs=("float32", (2,)))), r"Y \[2\]"),
    "version 1 size": (
        _plain_query(variables=_declared(("Real", (4,)), ("Real", (3,))), version="1.0"),
        "X_0 to X_3",
    ),
    "two networks": (
        _plain_query(variables=(*_declared(), Variable("Z", "float32", (4,), "input", "g", 3))),
        "several networks",
    ),
    "hidden": (
        _plain_query(variables=(*_declared(), Variable("H", "float32", (4,), "hidden", "f", 0))),
        "hidden tensors",
    ),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_what_does_not_fit_is_refused_with_both_sides_named(name, rng):
    query, message = MISMATCHES[name]
    system = raw_system(rng, "plain", p=4, d=3, q=3).build()
    with pytest.raises(MismatchError, match=message):
        build_problem(system, query, "float32")


def test_an_element_type_without_analysis_is_refused(rng):
    system = raw_system(rng, "plain", p=4, d=3, q=3).build()
    with pytest.raises(MismatchError, match="float16"):
        build_problem(system, _plain_query(), "float16")


def test_coefficients_beyond_float64_are_refused(rng):
    system = raw_system(rng, "plain", p=4, d=3, q=3).build()
    huge = LinearConstraint({}, {0: Fraction(10) ** 400}, Fraction(0), False)
    with pytest.raises(QueryError, match=r"10\^400"):
        build_problem(system, query_of([(_box(3), [huge])], 3, 3), "float32")
