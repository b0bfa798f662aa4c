"""Against `vnnlib` 1.0.2, the parser of the competition's scorer, as a second opinion on 2.0.

The texts use every construct of the standard's own corpus (VNNLIB-Standard, syntax/test); they
are written here, not copied. Comparisons are made on the two syntax trees, evaluated at points.
"""

from fractions import Fraction

import numpy as np
import pytest
from vnnlib_io.text_oracle import holds, query_holds

from vnn_mondeq.errors import QueryError
from vnn_mondeq.vnnlib_io import parse, robustness_query
from vnn_mondeq.vnnlib_io.grammar import parse_script
from vnn_mondeq.vnnlib_io.source import Source

reference = pytest.importorskip("vnnlib", reason="the differential oracle is a dev dependency")


def text(condition: str, kind: str = "real", inputs: int = 3, outputs: str = "[3]") -> str:
    return (
        f"(vnnlib-version <2.0>)\n(declare-network f\n\t(declare-input X {kind} [{inputs}])\n"
        f"\t(declare-output Y {kind} {outputs})\n)\n{condition}\n"
    )


TEXTS = {
    "box and maximal class": text("(assert (<= X[0] -0.25))(assert (>= X[0] -0.5))"
                                  "(assert\n(<= Y[1] Y[0])\n)"),
    "scaled bounds": text("(assert (<= (* -1.0 X[0]) 0.0))(assert (<= X[0] 2.0))"
                          "(assert (<= (+ (* -1.5 X[1]) X[2]) -1.5))"),
    "minus": text("(assert (<= (- (* 1.5 X[1]) X[2]) -0.5))(assert (<= (- X[0]) 0.0))"
                  "(assert (<= (- 1.0 X[0]) 0.0))(assert (<= (- X[0] X[1] X[2]) 0.0))"),
    "or of ands": text("(assert (or (and (<= Y[1] Y[0]) (<= Y[1] Y[2]))"
                       "(and (<= Y[2] Y[0]) (<= Y[2] Y[1]))))"),
    "and of ors": text("(assert (and (or (<= Y[2] Y[0]) (<= Y[2] Y[1]))"
                       "(or (<= Y[1] Y[0]) (<= Y[1] Y[2]))))"),
    "scalar output": text("(assert (or (>= Y 1.0) (<= Y -0.5)))", outputs="[]"),
    "float32": text("(assert (<= X[0] 0.5))(assert (< Y[0] Y[1]))", kind="float32"),
    "repeated variable": text("(assert (<= (+ X[0] 0.5 X[0]) 1.0))"),
    "zero coefficient": text("(assert (<= (* X[0] 0.0) 0.0))"),
    "nested constants": text("(assert (<= (+ (* 2.0 (* X[0] 3.0)) 2.0) 5.0))"
                             "(assert (>= (+ (- 1.0 X[1]) (- X[2] X[0])) 0.0))"),
    "unequal": text("(assert (!= Y[0] 0.5))(assert (== X[0] 0.5))"),
    "deep": text("(assert " + "(and (or " * 50 + "(> Y[0] 0.5)" + "))" * 50 + ")"),
}  # fmt: skip


RELATIONS = {
    "GreaterThan": lambda a, b: a > b,
    "LessThan": lambda a, b: a < b,
    "GreaterEqual": lambda a, b: a >= b,
    "LessEqual": lambda a, b: a <= b,
    "Equal": lambda a, b: a == b,
    "NotEqual": lambda a, b: a != b,
}


class Evaluator:
    """Truth of the reference parser's tree at a point."""

    def __init__(self, point: dict[str, Fraction]):
        self.point = point

    def truth(self, node) -> bool:
        kind = type(node).__name__
        if kind == "And":
            return all(map(self.truth, node.args))
        if kind == "Or":
            return any(map(self.truth, node.args))
        return RELATIONS[kind](self.value(node.lhs), self.value(node.rhs))

    def value(self, node) -> Fraction:
        kind = type(node).__name__
        if kind == "Var":
            index = ",".join(map(str, node.indices))
            return self.point[f"{node.name}[{index}]" if index else node.name]
        if kind == "Negate":
            return -self.value(node.expr)
        if kind == "Plus":
            return sum(map(self.value, node.args), Fraction(0))
        if kind == "Minus":
            return self.value(node.head) - sum(map(self.value, node.rest), Fraction(0))
        if kind == "Multiply":
            product = Fraction(1)
            for item in node.args:
                product *= self.value(item)
            return product
        return Fraction(node.lexeme)


@pytest.mark.parametrize("name", TEXTS)
def test_same_meaning_as_the_reference_parser(name):
    source = TEXTS[name]
    query, other = parse(source), reference.parse_query_string(source)
    rng = np.random.default_rng(7)
    scalar = "Y real []" in source
    seen = set()
    for _ in range(300):
        x, y = ([Fraction(int(v), 2) for v in rng.integers(-4, 5, size=3)] for _ in range(2))
        y = y[:1] if scalar else y
        point = {f"X[{i}]": v for i, v in enumerate(x)}
        point |= {"Y": y[0]} if scalar else {f"Y[{j}]": v for j, v in enumerate(y)}
        expected = all(Evaluator(point).truth(a.expr) for a in other.assertions)
        assert query_holds(query, x, y) == expected == holds(source, point)
        seen.add(expected)
    assert True in seen
    assert "0.0) 0.0" in source or False in seen


SECOND = "(declare-network g ({} f) (declare-input C real [5]) (declare-output D real [5]))"
DECLARATIONS = {
    "equal-to": text("", inputs=5, outputs="[5]") + SECOND.format("equal-to")
    + "(assert (<= X[0] C[0]))",
    "isomorphic-to": text("", inputs=5, outputs="[5]") + SECOND.format("isomorphic-to")
    + "(assert (<= Y[0] D[0]))",
    "hidden": text("(assert (<= X[0] 1.0))").replace(
        "(declare-output", '(declare-hidden H real [1,2] "node/name:0") (declare-output'
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DECLARATIONS)
def test_declarations_are_those_of_the_reference_parser(name):
    source = DECLARATIONS[name]
    script, other = parse_script(Source.from_text(source)), reference.parse_query_string(source)
    assert len(script.networks) == len(other.networks)
    for ours, theirs in zip(script.networks, other.networks, strict=True):
        assert ours.name == theirs.name
        twins = {"equal-to": theirs.equal_to, "isomorphic-to": theirs.isometric_to}
        assert {k: v for k, v in twins.items() if v} == (
            {ours.twin_relation: ours.twin} if ours.twin else {}
        )
        declared = [*theirs.inputs, *theirs.hidden, *theirs.outputs]
        assert [d.name for d in ours.declarations] == [d.name for d in declared]
        assert [d.shape for d in ours.declarations] == [tuple(d.shape) for d in declared]
    names = [d.name for network in script.networks for d in network.declarations]
    assert [variable.name for variable in parse(source).variables] == names


def test_initialized_parses_and_is_refused():
    source = text("(assert (<= X[0] 1.0))").replace("[3])", "[3] initialized)", 1)
    source = source.replace("<2.0>", "<2.1>")
    assert parse_script(Source.from_text(source)).networks[0].declarations[0].initialized
    with pytest.raises(QueryError, match="initialized"):
        parse(source)


@pytest.mark.parametrize("norm", [1, 2, np.inf])
@pytest.mark.parametrize("element_type", ["float32", "real"])
def test_written_queries_pass_the_reference_parser(norm, element_type):
    image = np.float32([[0.1, 1e-30, 0.75, -3.5e4]])
    source = robustness_query(
        image, 2, norm, 0.05, classes=4, element_type=element_type, norm_output_shape=(1,)
    )
    query = reference.parse_query_string(source)
    assert [n.name for n in query.networks] == (["f", "norm"] if norm == 1 else ["f"])
    assert parse(source).cases


@pytest.mark.parametrize(
    "condition",
    ["(<= X[0] 1e3)", "(<= X[0] .5)", "(<= X[0] 1.)", "(<= X[0] +1.0)", "(= X[0] 1.0)"],
)
def test_our_leniencies_are_refused_by_the_reference_parser(condition):
    """So the writer must not use them (and does not)."""
    source = text(f"(assert {condition})")
    parse(source)
    with pytest.raises(Exception):  # noqa: B017 - the package raises its own unexported types
        reference.parse_query_string(source)
