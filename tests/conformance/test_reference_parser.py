"""Drawn 2.0 texts, read by our parser, by `vnnlib` (the scorer's), and by the suite's own reader.

`tests/vnnlib_io/test_reference_parser.py` has the constructs one by one; here they are combined,
and texts are damaged: what one reader takes and the other does not must be a known difference.
"""

import operator
import re
from fractions import Fraction

import numpy as np
import pytest
from conformance.drawn_text import draw
from vnnlib_io.text_oracle import holds

from vnn_mondeq.errors import QueryError
from vnn_mondeq.vnnlib_io import parse
from vnn_mondeq.vnnlib_io.grammar import parse_script
from vnn_mondeq.vnnlib_io.source import Source
from vnn_mondeq.vnnlib_io.syntax import BoundRun, Comparison, Connective, Number, Reference

reference = pytest.importorskip("vnnlib", reason="the differential oracle is a dev dependency")

COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
NAMES = {
    "LessThan": "<",
    "LessEqual": "<=",
    "GreaterThan": ">",
    "GreaterEqual": ">=",
    "Equal": "==",
    "NotEqual": "!=",
}
TEXTS, ELABORATED, POINTS = 150, 50, 12


def combine(word: str, values: list[Fraction]) -> Fraction:
    first, *rest = values
    if word == "-" and not rest:
        return -first
    for value in rest:
        first = {"+": operator.add, "-": operator.sub, "*": operator.mul}[word](first, value)
    return first


# --- our syntax tree ----------------------------------------------------------------------------


def our_truth(node, point) -> bool:
    if isinstance(node, Connective):
        return (all if node.is_and else any)(our_truth(o, point) for o in node.operands)
    assert isinstance(node, Comparison)
    left, right = our_value(node.left, point), our_value(node.right, point)
    return COMPARE[node.relation.value](left, right)


def our_value(node, point) -> Fraction:
    if isinstance(node, Number):
        return Fraction(node.lexeme)
    if isinstance(node, Reference):
        return point[node.name if node.index is None else f"{node.name}{list(node.index)}"]
    return combine(node.operator, [our_value(o, point) for o in node.operands])


def our_verdict(script, point) -> bool:
    for assertion in script.assertions:
        if not isinstance(assertion, BoundRun):
            if not our_truth(assertion.condition, point):
                return False
            continue
        for bound in assertion.bounds():
            index = "" if bound.index is None else str([int(i) for i in bound.index.split(",")])
            left, right = point[bound.name + index], Fraction(bound.number)
            if not COMPARE[bound.relation](left, right):
                return False
    return True


# --- the reference parser's tree ------------------------------------------------------------------


def their_truth(node, point) -> bool:
    kind = type(node).__name__
    if kind in ("And", "Or"):
        return {"And": all, "Or": any}[kind](their_truth(a, point) for a in node.args)
    return COMPARE[NAMES[kind]](their_value(node.lhs, point), their_value(node.rhs, point))


def their_value(node, point) -> Fraction:
    match type(node).__name__:
        case "Var":
            return point[f"{node.name}{list(node.indices)}" if node.indices else node.name]
        case "Negate":
            return -their_value(node.expr, point)
        case "Minus":
            return combine("-", [their_value(a, point) for a in (node.head, *node.rest)])
        case "Plus" | "Multiply" as kind:
            word = {"Plus": "+", "Multiply": "*"}[kind]
            return combine(word, [their_value(a, point) for a in node.args])
        case _:
            return Fraction(node.lexeme)


# --- the comparison -------------------------------------------------------------------------------


def test_three_readers_agree_on_drawn_texts():
    rng = np.random.default_rng(17)
    seen = set()
    for _ in range(TEXTS):
        drawn = draw(rng)
        ours = parse_script(Source.from_text(drawn.text))
        theirs = reference.parse_query_string(drawn.text)
        same_declarations(ours, theirs)
        for _ in range(POINTS):
            point = drawn.point(rng)
            spaced = {re.sub(r"(\d),(?=\d)", r"\1, ", name): v for name, v in point.items()}
            found = {
                our_verdict(ours, spaced),
                all(their_truth(a.expr, spaced) for a in theirs.assertions),
                holds(drawn.text, point),
            }
            assert len(found) == 1, drawn.text
            seen |= found
    assert seen == {True, False}


def test_the_elaborated_query_means_the_same():
    """Normal form, numbering and ties included: `Query` against the reference parser's tree."""
    rng = np.random.default_rng(31)
    seen, read = set(), 0
    for _ in range(ELABORATED):
        drawn = draw(rng)
        try:
            query = parse(drawn.text)
        except QueryError as error:
            assert "disjunctive normal form" in str(error)  # the cap on cases
            continue
        read += 1
        theirs = reference.parse_query_string(drawn.text)
        for _ in range(POINTS):
            inputs, outputs, point = numbered_point(query, rng)
            expected = all(their_truth(a.expr, point) for a in theirs.assertions)
            assert lies_in_a_case(query, inputs, outputs) == expected, drawn.text
            seen.add(expected)
    assert seen == {True, False}
    assert read > ELABORATED // 2


def numbered_point(query, rng: np.random.Generator):
    """Values by position, inputs and outputs, and the same by the names of the elements."""
    values: dict[bool, dict[int, Fraction]] = {True: {}, False: {}}
    point = {}
    for variable in query.variables:
        own = values[variable.kind == "input"]
        for at, place in zip(np.ndindex(*variable.shape), variable.places, strict=True):
            value = own.setdefault(int(place), Fraction(int(rng.integers(-3, 4)), 2))
            point[f"{variable.name}{list(at)}" if at else variable.name] = value
    return values[True], values[False], point


def lies_in_a_case(query, inputs: dict, outputs: dict) -> bool:
    floats = np.array([float(inputs[i]) for i in range(len(inputs))])
    for case in query.cases:
        rows = [*case.constraints, *case.checked]
        found = [(row.value(inputs, outputs), row.strict) for row in rows]
        if case.inputs.contains(floats) and all(v < 0 if s else v <= 0 for v, s in found):
            return True
    return False


def same_declarations(ours, theirs) -> None:
    assert [n.name for n in ours.networks] == [n.name for n in theirs.networks]
    for mine, other in zip(ours.networks, theirs.networks, strict=True):
        twins = {"equal-to": other.equal_to, "isomorphic-to": other.isometric_to}
        assert {k: v for k, v in twins.items() if v} == (
            {mine.twin_relation: mine.twin} if mine.twin else {}
        )
        declared = [
            (kind, v.name, tuple(v.shape), v.onnx_name.strip('"') if kind == "hidden" else None)
            for kind in ("input", "hidden", "output")
            for v in getattr(other, {"hidden": "hidden"}.get(kind, f"{kind}s"))
        ]
        assert [(d.kind, d.name, d.shape, d.node) for d in mine.declarations] == declared


# --- damaged texts ------------------------------------------------------------------------------

WORD = re.compile(r'\s+|[()]|"[^"]*"|[^\s()"]+')


SPARE = (
    *("0.5", "7", "-2.0", "Z", "I0_0[9]", "O0_0", "and", "or", "==", "<", "-", "(", ")"),
    *("real", "float32", "int64", "[2]", "[]", "[1,0]", "(+ 1.0 2.0)", "(- 0.5)", "; gone"),
)


def damaged(rng: np.random.Generator, text: str) -> str:
    """The text with one word left out, doubled, exchanged with its neighbour, or replaced."""
    words = WORD.findall(text)
    places = [i for i, word in enumerate(words) if not word.isspace()]
    order = int(rng.integers(len(places) - 1))
    at, after = places[order], places[order + 1]
    match int(rng.integers(6)):
        case 0:
            del words[at]
        case 1:
            words.insert(at, words[at])
        case 2:
            words[at], words[after] = words[after], words[at]
        case _:
            words[at] = SPARE[int(rng.integers(len(SPARE)))]
    return "".join(words)


def accepted(read, text: str) -> bool:
    try:
        return read(text) is not None
    except Exception:  # noqa: BLE001 - the package raises its own unexported types
        return False


OURS_ONLY = {
    "a whole number in a query about floats": r"(?<![\w.\[,-])-?\d+(?![\w.,\]])",
    "a word of the language as a name": r"declare-\w+ (?:and|or)\b",
}
"""What we take and the reference does not (docs/vnnlib.md, leniencies) → where it shows."""

THEIRS_ONLY = {
    "a type that nobody knows": r"\(declare-(?:in|out)put \S+ (?!(?:real|float32|float64|int64) )",
    "`real` beside another type": r"(?s)\A(?=.* real \[)(?=.* (?:float32|float64|int64) \[)",
    "two numbers without a blank": r"\d-\d",
}
"""The other way round. The standard has none of these."""

MUTANTS = 600


def test_damaged_texts_are_refused_by_both_or_the_difference_is_known():
    rng = np.random.default_rng(23)
    both = {True: 0, False: 0}
    for _ in range(MUTANTS):
        text = damaged(rng, draw(rng, networks=1, hidden=False, operators="+-").text)
        ours, theirs = accepted(parse, text), accepted(reference.parse_query_string, text)
        if ours == theirs:
            both[ours] += 1
            continue
        known = OURS_ONLY if ours else THEIRS_ONLY
        assert any(re.search(pattern, text) for pattern in known.values()), (
            f"{'we take' if ours else 'we refuse'} this and the reference does not\n{text}"
        )
    assert min(both.values()) > MUTANTS // 10


def test_nothing_but_query_errors_comes_out_of_damaged_texts():
    rng = np.random.default_rng(29)
    for _ in range(MUTANTS):
        text = damaged(rng, damaged(rng, draw(rng).text))
        try:
            parse(text)
        except QueryError as error:
            assert str(error)
