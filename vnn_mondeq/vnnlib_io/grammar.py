"""Text to syntax tree: the lark grammars, and lark's errors turned into ours.

The trees are built while lark's LALR automaton runs (it keeps its own stack), so nesting depth
is limited by memory only.
"""

from functools import cache
from importlib import resources
from typing import final

import lark

from vnn_mondeq.errors import QueryError
from vnn_mondeq.vnnlib_io.bound_run import TokenRun, declared_variables
from vnn_mondeq.vnnlib_io.source import Source
from vnn_mondeq.vnnlib_io.syntax import (
    Assertion,
    BoundRun,
    Comparison,
    Condition,
    Connective,
    Declaration,
    Network,
    Number,
    Operation,
    Reference,
    Relation,
    Script,
    Term,
)

SUPPORTED_VERSIONS = ("2.0", "2.1")
"""Versions a `vnnlib-version` header may name. A text without the header is 1.0."""

V1_NETWORK = "f"
"""What the one unnamed network of a 1.0 text is called."""

_READABLE = {
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "COMMA": "`,`",
    "RELATION": "a comparison (<= >= < > == !=)",
    "PLUS": "`+`",
    "MINUS": "`-`",
    "TIMES": "`*`",
    "NUMBER": "a decimal number",
    "VARIABLE": "a variable X_i or Y_j",
    "NAME": "a name",
    "INTEGER": "a natural number",
    "STRING": "a quoted ONNX name",
    "REAL": "`Real`",
    "VERSION": "a version such as <2.0>",
    "$END": "the end of the text",
}
_SILENT = frozenset({"BLANKS", "COMMENT", "BOUNDS", "DECLARATIONS"})


def parse_script(source: Source) -> Script:
    """The syntax tree of a text, 1.0 or 2.x by its content.

    **Raises** `QueryError` at the first construct outside the grammar.
    """
    family = source.version_family()
    try:
        statements = _parser(family).parse(source.text)
    except lark.UnexpectedInput as error:
        raise _syntax_error(error, source, family) from None
    return (_script_v1 if family == 1 else _script_v2)(statements, source)


@cache
def _parser(family: int) -> lark.Lark:
    folder = resources.files(__package__)
    text = "\n".join(
        (folder / name).read_text(encoding="utf-8")
        for name in (f"v{family}.lark", "conditions.lark")
    )
    builder = _BuilderV1() if family == 1 else _BuilderV2()
    return lark.Lark(text, parser="lalr", transformer=builder, maybe_placeholders=False)


def _syntax_error(error: lark.UnexpectedInput, source: Source, family: int) -> QueryError:
    """What was found, and what would have fitted there."""
    if isinstance(error, lark.UnexpectedToken):
        at = len(source.text) if error.token.type == "$END" else error.token.start_pos
        allowed = error.expected
    elif isinstance(error, lark.UnexpectedCharacters):
        at, allowed = error.pos_in_stream, error.allowed or set()
    else:
        at, allowed = len(source.text), set()
    word = source.word_at(at)
    found = f"`{word}`" if word else "the end of the text"
    names = sorted(
        _READABLE.get(name, f"`{name.lower().replace('_', '-')}`")
        for name in set(allowed) - _SILENT
    )
    return source.error(
        f"{found} cannot stand here in VNN-LIB {family}.x; expected {' or '.join(names)}"
        + _hint(word, family),
        at,
    )


def _hint(word: str, family: int) -> str:
    if family == 1 and word == "declare-network":
        return " (a 2.0 text starts with `(vnnlib-version <2.0>)`)"
    if word.lower().lstrip("+-") in {"nan", "inf", "infinity"}:
        return " (bounds must be finite; leave out a bound that is infinite)"
    return ""


class _AbstractBuilder(lark.Transformer):
    """Callbacks of `conditions.lark`. They keep no state, so one automaton serves all texts."""

    def assertion(self, children: list) -> Assertion:
        return Assertion(children[2], children[0].start_pos)

    def comparison(self, children: list) -> Comparison:
        opening, operator, left, right, _ = children
        relation = Relation("==" if operator == "=" else str(operator))
        return Comparison(relation, left, right, opening.start_pos)

    def connective(self, children: list) -> Connective:
        operands: tuple[Condition, ...] = tuple(children[2:-1])
        return Connective(children[1] == "and", operands, children[0].start_pos)

    def operation(self, children: list) -> Operation:
        operands: tuple[Term, ...] = tuple(children[2:-1])
        return Operation(str(children[1]), operands, children[0].start_pos)

    def number(self, children: list) -> Number:
        return Number(str(children[0]), children[0].start_pos)

    def start(self, children: list) -> list:
        return children


@final
class _BuilderV1(_AbstractBuilder):
    def reference(self, children: list) -> Reference:
        letter, _, digits = children[0].partition("_")
        return Reference(letter, (_natural(digits),), children[0].start_pos)

    def declaration(self, children: list) -> lark.Token:
        return children[2]


@final
class _BuilderV2(_AbstractBuilder):
    def reference(self, children: list) -> Reference:
        name, *index = children
        numbers = tuple(_natural(token) for token in index if token.type == "INTEGER")
        return Reference(str(name), numbers or None, name.start_pos)

    def shape(self, children: list) -> tuple[int, ...]:
        return tuple(_natural(token) for token in children if token.type == "INTEGER")

    def input(self, children: list) -> Declaration:
        opening, _, name, element_type, shape, *rest = children
        return Declaration(
            "input", str(name), str(element_type), shape, opening.start_pos, len(rest) == 2
        )

    def hidden(self, children: list) -> Declaration:
        opening, _, name, element_type, shape, node, _ = children
        return Declaration(
            "hidden", str(name), str(element_type), shape, opening.start_pos, node=node[1:-1]
        )

    def output(self, children: list) -> Declaration:
        opening, _, name, element_type, shape, _ = children
        return Declaration("output", str(name), str(element_type), shape, opening.start_pos)

    def twin(self, children: list) -> tuple[str, str]:
        return str(children[1]), str(children[2])

    def network(self, children: list) -> Network:
        opening, _, name, *rest, _ = children
        relation, twin = rest.pop(0) if isinstance(rest[0], tuple) else (None, None)
        return Network(str(name), relation, twin, tuple(rest), opening.start_pos)

    def header(self, children: list) -> lark.Token:
        return children[2]


def _natural(digits: str) -> int:
    """The number; capped, because no tensor has an extent or index of 19 digits."""
    return int(digits) if len(digits) < 19 else 10**18


def _script_v1(statements: list, source: Source) -> Script:
    """Collect the declarations of a 1.0 text into the network they describe."""
    assertions = []
    declared: dict[str, dict[int, int]] = {"X": {}, "Y": {}}
    for statement in statements:
        if isinstance(statement, lark.Token):
            for letter, number, at in _declared(statement):
                if number in declared[letter]:
                    raise source.error(f"{letter}_{number} is declared twice", at)
                declared[letter][number] = at
        assertion = _assertion(statement, 1)
        if assertion is not None:
            assertions.append(assertion)
    declarations = []
    for kind, letter in (("input", "X"), ("output", "Y")):
        places = declared[letter]
        if not places:
            raise source.error(
                f"no {kind} is declared; add `(declare-const {letter}_0 Real)`", len(source.text)
            )
        last = max(places)
        if last + 1 != len(places):
            gap = next(i for i in range(last) if i not in places)
            raise source.error(
                f"{letter}_{last} is declared but {letter}_{gap} is not; "
                "variables are numbered from 0 without gaps",
                places[last],
            )
        declarations.append(Declaration(kind, letter, "Real", (len(places),), min(places.values())))
    network = Network(V1_NETWORK, None, None, tuple(declarations), declarations[0].at)
    return Script("1.0", (network,), tuple(assertions))


def _declared(token: lark.Token) -> list[tuple[str, int, int]]:
    """`(letter, number, offset)` of the declarations in a token of either kind."""
    if token.type == "VARIABLE":
        letter, _, digits = token.partition("_")
        return [(letter, _natural(digits), token.start_pos)]
    if token.type == "DECLARATIONS":
        return [
            (letter, _natural(digits), token.start_pos + at)
            for letter, digits, at in declared_variables(token)
        ]
    return []


def _script_v2(statements: list, source: Source) -> Script:
    header, *rest = statements
    version = header[1:-1].strip()
    if version not in SUPPORTED_VERSIONS:
        raise source.error(
            f"VNN-LIB version {version} is not supported; supported are 1.0 (without header), "
            + ", ".join(SUPPORTED_VERSIONS),
            header.start_pos,
        )
    networks = tuple(item for item in rest if isinstance(item, Network))
    assertions = (_assertion(item, 2) for item in rest)
    return Script(version, networks, tuple(a for a in assertions if a is not None))


def _assertion(statement: object, family: int) -> Assertion | BoundRun | None:
    if isinstance(statement, Assertion):
        return statement
    if isinstance(statement, lark.Token) and statement.type == "BOUNDS":
        return TokenRun(str(statement), statement.start_pos, family)
    return None
