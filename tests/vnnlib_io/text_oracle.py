"""A second reader of VNN-LIB: evaluates a text at a point, and nothing else.

Written apart from the package (no grammar, no normal form, recursive), so that the two can
disagree. It takes well-formed texts only.
"""

import re
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from vnn_mondeq.query.query import Query

_TOKEN = re.compile(r";[^\n]*|\s+|(\(|\)|[^\s();]+)")
_COMPARE = {
    "<=": lambda a, b: a <= b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def s_expressions(text: str) -> list:
    """The text as nested lists of words."""
    stack: list[list] = [[]]
    for match in _TOKEN.finditer(text):
        word = match.group(1)
        if word == "(":
            stack.append([])
        elif word == ")":
            done = stack.pop()
            stack[-1].append(done)
        elif word:
            stack[-1].append(word)
    (top,) = stack
    return top


def holds(text: str, point: Mapping[str, Fraction]) -> bool:
    """Whether all assertions hold; `point` maps `X_3` or `X[0,3]` to values."""
    return all(_truth(item[1], point) for item in s_expressions(text) if item[0] == "assert")


def _truth(item: list, point: Mapping[str, Fraction]) -> bool:
    operator, *operands = item
    if operator == "and":
        return all(_truth(o, point) for o in operands)
    if operator == "or":
        return any(_truth(o, point) for o in operands)
    left, right = (_value(o, point) for o in operands)
    return _COMPARE[operator](left, right)


def _value(item: object, point: Mapping[str, Fraction]) -> Fraction:
    if isinstance(item, str):
        return point[item] if item in point else Fraction(item)
    operator, *operands = item
    first, *rest = (_value(o, point) for o in operands)
    if operator == "-" and not rest:
        return -first
    for value in rest:
        if operator == "+":
            first += value
        elif operator == "-":
            first -= value
        else:
            first *= value
    return first


def query_holds(query: Query, x: list[Fraction], y: list[Fraction]) -> bool:
    """Whether the point lies in a case of the query; `x` must be float64 numbers."""
    inputs, outputs = dict(enumerate(x)), dict(enumerate(y))
    floats = np.array([float(v) for v in x])
    for case in query.cases:
        rows = [(c.value(inputs, outputs), c.strict) for c in case.constraints]
        if case.inputs.contains(floats) and all(v < 0 if s else v <= 0 for v, s in rows):
            return True
    return False
