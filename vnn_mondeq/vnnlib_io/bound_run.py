"""Runs of simple bounds and declarations: one token of the grammar, read by regular expressions.

A query over 150,000 inputs has 300,000 statements `(assert (<= X_7 0.25))`. Sent through the
parser token by token they would take most of a minute, so the grammars take a whole run of them
as one terminal (`BOUNDS`, `DECLARATIONS`) in places where a statement may stand. The expressions
here split such a run again; they admit the same texts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from vnn_mondeq.vnnlib_io.syntax import Bound

_BLANK = r"[ \t\n\f]"
_REST = rf"(?:{_BLANK}|;[^\n]*)*+"
_NUMBER = r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"


def _bound_pattern(variable: str) -> re.Pattern[str]:
    return re.compile(
        rf"\({_BLANK}*assert{_BLANK}*\({_BLANK}*(<=|>=|<|>){_BLANK}+{variable}{_NUMBER}"
        rf"{_BLANK}*\){_BLANK}*\){_REST}"
    )


_BOUND = {
    1: _bound_pattern(rf"([XY])_([0-9]+){_BLANK}+"),
    2: _bound_pattern(rf"([A-Za-z][A-Za-z0-9_]*){_BLANK}*(?:\[([^\]]*)\])?{_BLANK}*"),
}
_DECLARATION = re.compile(
    rf"\({_BLANK}*declare-const{_BLANK}+([XY])_([0-9]+){_BLANK}+Real{_BLANK}*\){_REST}"
)


@final
@dataclass(frozen=True, slots=True, eq=False)
class TokenRun:
    """A `BOUNDS` token and its offset in the text. Implements `syntax.BoundRun`."""

    text: str
    at: int
    family: int

    def bounds(self) -> Iterator[Bound]:
        """The bounds in their order."""
        at = self.at
        for match in _split(_BOUND[self.family], self.text):
            yield Bound(*match.groups(), at + match.start(2), at + match.start(4))


def declared_variables(text: str) -> Iterator[tuple[str, str, int]]:
    """`(letter, digits, offset in text)` for each statement of a `DECLARATIONS` token."""
    for match in _split(_DECLARATION, text):
        yield match.group(1), match.group(2), match.start(1)


def _split(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Matches that follow each other without a gap through the whole of `text`.

    **Raises** `RuntimeError` where they do not: grammar and pattern would disagree then, and a
    bound left out would be a wrong query.
    """
    position = 0
    scanner = pattern.scanner(text)
    while position < len(text):
        match = scanner.match()
        if match is None:
            raise RuntimeError(
                f"a statement does not fit its own grammar: {text[position:][:80]!r}"
            )
        yield match
        position = match.end()
