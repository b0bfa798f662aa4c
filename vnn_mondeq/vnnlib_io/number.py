"""Exact values of decimal lexemes."""

from fractions import Fraction

from vnn_mondeq.errors import QueryError
from vnn_mondeq.vnnlib_io.source import Source

MAX_DIGITS = 4000
"""Longest lexeme read, and largest exponent: `1e999999999` must not fill the memory."""


def read_number(lexeme: str, source: Source, at: int) -> Fraction:
    """`lexeme` as a rational, digit by digit: no float on the way.

    **Arguments:**

    - `lexeme`: `[+-] digits [. digits] [e [+-] digits]`, as the grammars admit it.

    **Raises** `QueryError` beyond `MAX_DIGITS`.
    """
    if len(lexeme) > 9 and _is_too_long(lexeme):
        raise _too_long(lexeme, source, at)
    return Fraction(lexeme)


def _is_too_long(lexeme: str) -> bool:
    mantissa, _, exponent = lexeme.lower().partition("e")
    if len(mantissa) > MAX_DIGITS or len(exponent) > MAX_DIGITS:
        return True
    return exponent != "" and abs(int(exponent)) > MAX_DIGITS


def _too_long(lexeme: str, source: Source, at: int) -> QueryError:
    shown = lexeme if len(lexeme) <= 24 else f"{lexeme[:20]}..."
    return source.error(
        f"the number {shown} has more than {MAX_DIGITS} digits before or after its point, "
        "which is not supported",
        at,
    )
