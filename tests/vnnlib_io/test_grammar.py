"""What is refused, with its place; what is read although files spell it differently."""

import gzip
from pathlib import Path

import pytest

from vnn_mondeq.errors import QueryError
from vnn_mondeq.vnnlib_io import load, parse

V1 = "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n"
NETWORK = "(declare-network f (declare-input X float32 [1,2]) (declare-output Y float32 [2]))\n"
V2 = "(vnnlib-version <2.0>)\n" + NETWORK
RUN = "(assert (>= X_0 0))\n; remark (assert (<= X_9 0))\n(assert (<= X_0 1)) "


def v2(condition: str) -> str:
    return f"{V2}(assert {condition})"


# text, line, column, a piece of the message
REFUSED = {
    "not": (V1 + "(assert (not (<= X_0 1)))", 4, 10, "`not`"),
    "implication": (V1 + "(assert (=> (<= X_0 1) (<= X_0 1)))", 4, 10, "`=>`"),
    "ite": (V1 + "(assert (<= (ite 1 2) X_0))", 4, 14, "`ite`"),
    "division": (V1 + "(assert (<= (/ X_0 2) 1))", 4, 14, "`/`"),
    "set-logic": ("(set-logic QF_LRA)\n" + V1, 1, 2, "`set-logic`"),
    "check-sat": (V1 + "(check-sat)", 4, 2, "`check-sat`"),
    "integers": ("(declare-const X_0 Int)", 1, 20, "`Int`"),
    "other variable": ("(declare-const Z_0 Real)", 1, 16, "`Z_0`"),
    "leading zero": (V1 + "(assert (<= X_01 1))", 4, 13, "`X_01`"),
    "undeclared": (V1 + "(assert (<= X_2 1))", 4, 13, "`X_2` is not declared"),
    "undeclared in a run": (V1 + RUN + "(assert (<= X_7 1))", 6, 33, "`X_7` is not declared"),
    "declared twice": (V1 + "(declare-const X_1 Real)", 4, 16, "declared twice"),
    "gap": (V1 + "(declare-const X_3 Real)", 4, 16, "X_2 is not"),
    "nan": (V1 + "(assert (<= X_0 nan))", 4, 17, "finite"),
    "inf": (V1 + "(assert (<= X_0 -inf))", 4, 17, "finite"),
    "hexadecimal": (V1 + "(assert (<= X_0 0x1p3))", 4, 17, "`0x1p3`"),
    "huge exponent": (V1 + "(assert (<= X_0 1e999999999))", 4, 17, "4000 digits"),
    "huge exponent, slow": (V1 + "(assert (<= X_0 (- 1e999999999)))", 4, 20, "4000 digits"),
    "chained": (V1 + "(assert (<= 0 X_0 1))", 4, 19, "`1`"),
    "empty and": (V1 + "(assert (and))", 4, 13, "`)`"),
    "two in one assert": (V1 + "(assert (<= X_0 1) (<= X_1 1))", 4, 20, "expected `)`"),
    "unclosed": (V1 + "(assert (<= X_0 1)", 4, 19, "the end of the text"),
    "one too many": (V1 + "(assert (<= X_0 1)))", 4, 20, "`)`"),
    "high power": (V1 + f"(assert (<= (* {'X_0 ' * 17}) 1))", 4, 13, "more than 16"),
    "no output": ("(declare-const X_0 Real)\n", 2, 1, "no output"),
    "nothing": ("; nothing\n", 2, 1, "no input"),
    "2.0 without header": (NETWORK, 1, 2, "(vnnlib-version <2.0>)"),
    "1.0 in 2.0": ("(vnnlib-version <2.0>)\n" + V1, 2, 2, "`declare-const`"),
    "version 3": (V2.replace("2.0", "3.0"), 1, 17, "version 3.0"),
    "version without <>": (V2.replace("<2.0>", "2.0"), 1, 17, "<2.0>"),
    "assert before network": ("(vnnlib-version <2.0>)\n(assert (<= X[0] 1))", 2, 2, "`assert`"),
    "network at the end": (v2("(<= X[0,0] 1.0)") + NETWORK, 3, 26, "`declare-network`"),
    "assert in a network": (
        "(vnnlib-version <2.0>)(declare-network f (declare-input X real [1])"
        "(assert (<= X[0] 1.0)))",
        1,
        69,
        "`assert`",
    ),
    "rank": (v2("(<= X[0] 1.0)"), 3, 13, "takes 2 indices, not 1"),
    "rank, slow": (v2("(<= 1.0 X[0])"), 3, 17, "takes 2 indices, not 1"),
    "no index": (v2("(<= X 1.0)"), 3, 13, "takes 2 indices, not 0"),
    "index": (v2("(<= X[0,2] 1.0)"), 3, 13, "outside the shape"),
    "negative index": (v2("(<= X[0,-1] 1.0)"), 3, 17, "`-1`"),
    "fractional index": (v2("(<= X[0,0.0] 1.0)"), 3, 17, "`0.0`"),
    "unknown name": (v2("(<= Z[0] 1.0)"), 3, 13, "`Z` is not declared"),
    "unknown type": (V2.replace("float32 [2]", "float [2]"), 2, 52, "`float`"),
    "mixed real": (V2.replace("float32 [2]", "Real [2]"), 2, 52, "mixed"),
    "mixed comparison": (
        V2.replace("float32 [2]", "float64 [2]") + "(assert (<= X[0,0] Y[0]))",
        3,
        9,
        "mixes",
    ),
    "not an integer": (
        V2.replace("float32 [1,2]", "int8 [1,2]") + "(assert (<= X[0,0] 0.5))",
        3,
        20,
        "member of `int8`",
    ),
    "not an integer, slow": (
        V2.replace("float32 [1,2]", "uint8 [1,2]") + "(assert (<= (- 1.0) X[0,0] ))".replace(
            "(- 1.0)", "-1.0"
        ),
        3,
        13,
        "member of `uint8`",
    ),
    "zero extent": (V2.replace("[1,2]", "[1,0]"), 2, 20, "extent of 0"),
    "same name twice": (V2.replace("output Y", "output X"), 2, 52, "declared twice"),
    "initialized": (V2.replace("[1,2]", "[1,2] initialized"), 2, 20, "`initialized`"),
    "same network twice": (V2 + NETWORK, 3, 1, "declared twice"),
    "twin of nothing": (V2.replace("network f", "network f (equal-to g)"), 2, 1, "not declared"),
    "twin unlike": (
        V2 + "(declare-network g (isomorphic-to f) (declare-input A float32 [2])"
        "(declare-output B float32 [2]))",
        3,
        1,
        "differ",
    ),
    "twin of a twin": (
        V2
        + "".join(
            f"(declare-network {n} (equal-to {o}) (declare-input A{n} float32 [1,2])"
            f"(declare-output B{n} float32 [2]))\n"
            for n, o in ("gf", "hg")
        ),
        4,
        1,
        "name `f` instead",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_text_is_pointed_at(name):
    text, line, column, piece = REFUSED[name]
    with pytest.raises(QueryError) as caught:
        parse(text)
    error = caught.value
    assert (error.line, error.column) == (line, column), str(error)
    assert piece in str(error)
    shown, caret = error.context.split("\n")
    word = text.split("\n")[line - 1][column - 1 :][:3]
    assert shown[caret.index("^") :][:3] == word


def test_caret_points_right_in_a_very_long_line():
    text = V1 + "(assert (and " + "(<= X_0 1) " * 3000 + "(<= X_0 Q)))"
    with pytest.raises(QueryError) as caught:
        parse(text)
    shown, caret = caught.value.context.split("\n")
    assert len(shown) < 120
    assert shown[caret.index("^")] == "Q"


@pytest.mark.parametrize("depth", [10_000])
@pytest.mark.parametrize(
    "opening, inner, closing",
    [
        ("(and ", "(<= X_0 1)", ")"),
        ("(or (and (<= X_1 1) ", "(<= X_0 1)", "))"),
        ("(and (or ", "(<= X_0 1)", "))"),
    ],
)
def test_deeply_nested_condition_is_read(depth, opening, inner, closing):
    query = parse(V1 + "(assert " + opening * depth + inner + closing * depth + ")")
    assert query.cases[0].inputs.upper[0] == 1.0


@pytest.mark.parametrize("opening", ["(- ", "(+ 1 ", "(* 1 ", "(- 1 "])
def test_deeply_nested_term_is_read(opening):
    depth = 10_000
    parse(V1 + f"(assert (<= {opening * depth}X_0{')' * depth} 1))")


def test_deep_text_without_end_is_an_error():
    with pytest.raises(QueryError):
        parse(V1 + "(assert " + "(and " * 10_000)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: "\ufeff" + t,
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("\n", "\r"),
        lambda t: t.replace(" ", "\t \n"),
        lambda t: t.replace(")\n", ") ; remark ) (assert (<= X_0 -9))\n"),
        lambda t: t.replace("\n", " "),
        lambda t: t.replace("(declare-const X_0 Real)", "(declare-fun X_0 () Real)"),
        lambda t: t.replace("(assert (", "( assert ( "),
    ],
)
def test_spelling_does_not_change_the_query(change):
    text = V1 + "(assert (<= X_0 0.5))\n(assert (>= X_1 0.25))\n(assert (<= Y_0 X_1))\n"
    plain, changed = parse(text), parse(change(text))
    assert repr(changed) == repr(plain)


@pytest.mark.parametrize("relation", ["==", "="])
@pytest.mark.parametrize("type_name", ["real", "Real"])
@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_version_2_spellings(relation, type_name, version):
    text = v2(f"({relation} X[0,0] .5)").replace("float32", type_name).replace("2.0", version)
    query = parse(text)
    assert query.version == version
    assert [v.element_type for v in query.variables] == [type_name, type_name]
    assert query.cases[0].inputs.lower[0] == query.cases[0].inputs.upper[0] == 0.5


def test_version_is_told_from_the_content():
    assert parse("; a remark\n ; another\n( vnnlib-version <2.0>)" + V2[22:]).version == "2.0"
    assert parse("; (vnnlib-version <2.0>)\n" + V1).version == "1.0"


def test_gzip_is_told_from_the_content(tmp_path: Path):
    zipped, plain = tmp_path / "zipped.vnnlib", tmp_path / "plain.vnnlib.gz"
    zipped.write_bytes(gzip.compress(V1.encode()))
    plain.write_text(V1)
    assert repr(load(zipped)) == repr(load(plain)) == repr(parse(V1))


@pytest.mark.parametrize(
    "content, piece",
    [
        (gzip.compress(V1.encode() * 50)[:60], "truncated"),
        (b"\x1f\x8bnonsense", "unpacked"),
        (b"\xff\xfe(", "UTF-8"),
    ],
)
def test_broken_file_is_named(tmp_path: Path, content, piece):
    path = tmp_path / "broken.vnnlib"
    path.write_bytes(content)
    with pytest.raises(QueryError, match=r"broken\.vnnlib") as caught:
        load(path)
    assert piece in str(caught.value)


def test_missing_file_is_named(tmp_path: Path):
    with pytest.raises(QueryError, match=r"absent\.vnnlib"):
        load(tmp_path / "absent.vnnlib")
