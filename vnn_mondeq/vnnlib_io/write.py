"""Robustness properties as VNN-LIB text, in constructs that every known reader accepts.

For 1.0 that means one statement a line, `<=` and `>=` of a variable and a constant or of two
outputs, and a single `or` of `and`s. For 2.0: decimals with a point and without exponent
(`1.0`, never `1`), lower-case types, no blank after an opening parenthesis.
"""

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction

from vnn_mondeq.errors import InputError
from vnn_mondeq.vnnlib_io.robustness import Ball, Robustness

NORM_NETWORK = "norm"
"""Declared name of the norm network in written queries."""

Name = Callable[[int], str]
"""Flattened position → how the text names that element."""


def decimal_text(value: Fraction) -> str:
    """The number as a finite decimal, exactly.

    **Raises** `InputError` where there is none: the denominator has another prime factor than 2
    and 5.
    """
    twos = (value.denominator & -value.denominator).bit_length() - 1
    rest = value.denominator >> twos
    fives = 0
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    if rest != 1:
        raise InputError(f"{value} has no finite decimal expansion, so no text can state it")
    places = max(twos, fives, 1)
    digits = str(abs(value.numerator) * (10**places // value.denominator)).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


def write_v1(property_: Robustness) -> str:
    """A VNN-LIB 1.0 text.

    **Raises** `InputError` for a property with a ball, which 1.0 cannot state.
    """
    if property_.ball is not None:
        raise InputError(f"VNN-LIB 1.0 cannot state an L{property_.ball.q} ball; write version 2.0")
    lines = [f"(declare-const X_{i} Real)" for i in range(len(property_.lower))]
    lines += [f"(declare-const Y_{i} Real)" for i in range(property_.classes)]
    lines += ["", *_box_lines(property_, "X_{}".format), ""]
    lines += _unsafe_lines(property_, "Y_{}".format)
    return "\n".join([*_remark(property_), *lines]) + "\n"


def write_v2(property_: Robustness, norm_output_shape: tuple[int, ...] = ()) -> str:
    """A VNN-LIB 2.0 text.

    An L2 ball is written as a sum of squares; an L1 ball needs a second model file, given as
    `--network norm=FILE.onnx`, that computes the L1 distance from the image (docs/vnnlib.md).

    **Arguments:**

    - `norm_output_shape`: of that second model's output; one element.
    """
    name_x = _element_names("X", property_.input_shape)
    name_y = _element_names("Y", property_.output_shape)
    ball = property_.ball
    kind = property_.element_type
    lines = [
        "(vnnlib-version <2.0>)",
        "",
        *_remark(property_),
        "(declare-network f",
        f"(declare-input X {kind} {_shape_text(property_.input_shape)})",
        f"(declare-output Y {kind} {_shape_text(property_.output_shape)})",
        ")",
    ]
    if ball is not None and ball.q == 1:
        lines += [
            f"(declare-network {NORM_NETWORK}",
            f"(declare-input XN {kind} {_shape_text(property_.input_shape)})",
            f"(declare-output N {kind} {_shape_text(norm_output_shape)})",
            ")",
        ]
    lines += ["", *_box_lines(property_, name_x)]
    if ball is not None:
        lines += ["", *_ball_lines(ball, property_, name_x, norm_output_shape)]
    lines += ["", *_unsafe_lines(property_, name_y)]
    return "\n".join(lines) + "\n"


def _remark(property_: Robustness) -> list[str]:
    return [f"; Unsafe: some class scores at least as much as class {property_.label}.", ""]


def _box_lines(property_: Robustness, name: Name) -> Iterator[str]:
    for i, (low, high) in enumerate(zip(property_.lower, property_.upper, strict=True)):
        yield f"(assert (>= {name(i)} {decimal_text(low)}))"
        yield f"(assert (<= {name(i)} {decimal_text(high)}))"


def _unsafe_lines(property_: Robustness, name: Name) -> list[str]:
    label = name(property_.label)
    others = [j for j in range(property_.classes) if j != property_.label]
    if len(others) == 1:
        return [f"(assert (<= {label} {name(others[0])}))"]
    return [
        "(assert (or",
        *(f"    (and (<= {label} {name(j)}))" for j in others),
        "))",
    ]


def _ball_lines(
    ball: Ball, property_: Robustness, name: Name, norm_output_shape: tuple[int, ...]
) -> Iterator[str]:
    if ball.q == 1:
        tied = _element_names("XN", property_.input_shape)
        for i in range(len(ball.center)):
            yield f"(assert (== {tied(i)} {name(i)}))"
        output = _element_names("N", norm_output_shape)(0)
        yield f"(assert (<= {output} {decimal_text(ball.radius)}))"
        return
    yield "(assert (<= (+"
    for i, middle in enumerate(ball.center):
        difference = f"(- {name(i)} {decimal_text(middle)})"
        yield f"    (* {difference} {difference})"
    yield f") {decimal_text(ball.radius**2)}))"


def _shape_text(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _element_names(name: str, shape: tuple[int, ...]) -> Name:
    """Names of a tensor's elements by row-major position; the bare name of a scalar."""
    if not shape:
        return lambda _: name
    indices = list(itertools.product(*map(range, shape)))
    return lambda i: f"{name}[{','.join(map(str, indices[i]))}]"
