"""Reading counterexamples as verifiers print them: the 1.0 and the 2.0 format.

    ((X_0 0.5)                 X float32 [1,2]
    (X_1 0.25)                 0.5
    (Y_0 1.0))                 0.25

Either may follow a line `sat`, as in a results file of VNN-COMP. Only the inputs are read: what a
verifier says about outputs is hearsay, and the model's own are a replay away.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vnn_mondeq.errors import InputError
from vnn_mondeq.query.query import Query, Variable
from vnn_mondeq.vnnlib_io.source import Source

_PAIR = re.compile(r"\(\s*([XY])_(\d+)\s+([^\s()]+)\s*\)")
_HEADER = re.compile(r"([A-Za-z]\w*) +(\w+) +\[([\d, ]*)\]")

_WITHOUT = ("unsat", "unknown", "timed-out", "timeout")
"""Answers that come without a counterexample, in the standard's words and the competition's."""


def read_assignment(path: str | Path, query: Query) -> dict[str, np.ndarray]:
    """The inputs of a counterexample to `query`, by variable name, in their declared shapes.

    **Raises** `InputError` for a file that cannot be read, another format, a number that is none,
    and variables that do not fit those that the query declares.
    """
    text = Source.from_file(path).text.strip()
    if text in _WITHOUT:
        raise InputError(f"{path}: the answer is {text}, so there is no counterexample")
    body = re.sub(r"\Asat\b", "", text).strip()
    if not body:
        raise InputError(f"{path}: holds no assignment; was it written with verify's stdout?")
    try:
        if body.startswith("("):
            return _split(_pairs(body), query)
        return _by_name(dict(_tensors(body)), query)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{text!r} is not a finite number")
    return value


def _pairs(body: str) -> list[float]:
    """The values of `X_0, X_1, …` of the 1.0 format."""
    if body.count("(") != body.count(")"):
        raise InputError("the parentheses of the assignment do not match; was it cut off?")
    rest = _PAIR.sub("", body).replace("(", "").replace(")", "").split()
    if rest:
        raise InputError(f"{rest[0]!r} is no pair of a variable and a number, like (X_0 0.5)")
    values: dict[int, float] = {}
    for letter, index, number in _PAIR.findall(body):
        if letter == "X":
            if int(index) in values:
                raise InputError(f"X_{index} is assigned twice")
            values[int(index)] = _number(number)
    missing = [index for index in range(len(values)) if index not in values]
    if missing:
        raise InputError(f"X_{missing[0]} is not assigned, but later ones are")
    return [values[index] for index in range(len(values))]


def _split(values: list[float], query: Query) -> dict[str, np.ndarray]:
    sizes = [math.prod(variable.shape) for variable in query.input_variables]
    if sum(sizes) != len(values):
        raise InputError(
            f"{len(values)} inputs are assigned, but the query declares {sum(sizes)}; does the "
            "counterexample belong to this query?"
        )
    flat = np.array(values)
    return {
        variable.name: flat[variable.start : variable.start + size].reshape(variable.shape)
        for variable, size in zip(query.input_variables, sizes, strict=True)
    }


def _tensors(body: str) -> Iterator[tuple[str, np.ndarray]]:
    """Name and array of each block of the 2.0 format."""
    lines = body.splitlines()
    at = 0
    while at < len(lines):
        header = _HEADER.fullmatch(lines[at].strip())
        if header is None:
            raise InputError(
                f"line {lines[at][:40]!r} is not a variable with type and shape, like "
                "X float32 [1,4]"
            )
        shape = tuple(int(size) for size in header[3].split(",") if size.strip())
        numbers = lines[at + 1 : at + 1 + math.prod(shape)]
        if len(numbers) < math.prod(shape):
            raise InputError(f"{header[1]} has fewer numbers than its shape; was it cut off?")
        yield header[1], np.array([_number(line.strip()) for line in numbers]).reshape(shape)
        at += 1 + len(numbers)


def _by_name(found: dict[str, np.ndarray], query: Query) -> dict[str, np.ndarray]:
    return {
        variable.name: fitting(found.get(variable.name), variable)
        for variable in query.input_variables
    }


def fitting(array: np.ndarray | None, variable: Variable) -> np.ndarray:
    """The array, if it is what the variable declares. **Raises** `InputError`."""
    if array is None:
        raise InputError(f"the input {variable.name} is not assigned")
    if array.shape != tuple(variable.shape):
        raise InputError(
            f"{variable.name} has shape {list(array.shape)}, but the query declares "
            f"{list(variable.shape)}"
        )
    return array
