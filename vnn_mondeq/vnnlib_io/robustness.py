"""Local robustness as a property: which inputs around an image, which outputs are unsafe."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import numpy as np

from vnn_mondeq.errors import InputError


@final
@dataclass(frozen=True, slots=True)
class Ball:
    """`{x : ‖x - center‖_q <= radius}` for `q` in {1, 2}, over all inputs."""

    q: int
    center: tuple[Fraction, ...]
    radius: Fraction


@final
@dataclass(frozen=True, slots=True)
class Robustness:
    """Unsafe: an input in the box (and the ball) with a class that scores `label` or more.

    - `lower`, `upper`: one rational for each input; decimal fractions, so that a text can state
      them exactly.
    - `classes`: number of outputs.
    - `ball`: `None` when the box is all; otherwise the box contains the ball (clipped).
    - `input_shape`, `output_shape`: as the model declares them.
    - `element_type`: as VNN-LIB 2.0 spells it; 1.0 has none.
    """

    lower: tuple[Fraction, ...]
    upper: tuple[Fraction, ...]
    label: int
    classes: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    element_type: str = "float32"
    ball: Ball | None = None

    def __post_init__(self) -> None:
        size = math.prod(self.input_shape)
        if not len(self.lower) == len(self.upper) == size:
            raise InputError(
                f"the input has {len(self.lower)} numbers, but the model's input shape "
                f"{list(self.input_shape)} has {size}"
            )
        if math.prod(self.output_shape) != self.classes:
            raise InputError(
                f"{self.classes} classes do not fit the output shape {list(self.output_shape)}"
            )
        if not 0 <= self.label < self.classes:
            raise InputError(f"label {self.label} is not among the classes 0 to {self.classes - 1}")
        if self.classes < 2:
            raise InputError("robustness needs at least two classes")
        empty = [i for i in range(size) if self.lower[i] > self.upper[i]]
        if empty:
            raise InputError(
                f"no value of input {empty[0]} is within eps of the image and the clip range; "
                "check that the image and --clip are in the same units"
            )


def exact_decimal(number: float | str | Fraction) -> Fraction:
    """A user's number as the decimal it was written as: `0.05` is 5/100, not the nearest float.

    **Raises** `InputError` where it is not a finite number.
    """
    if isinstance(number, Fraction):
        return number
    try:
        return Fraction(str(number))
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(f"{number!r} is not a finite decimal number") from error


def robustness_around(
    x: np.ndarray,
    label: int,
    norm: float,
    eps: float | str | Fraction,
    *,
    classes: int,
    clip: Sequence[float | str | Fraction] | None = None,
    input_shape: tuple[int, ...] | None = None,
    output_shape: tuple[int, ...] | None = None,
    element_type: str = "float32",
) -> Robustness:
    """Robustness within distance `eps` of `x`; bounds computed exactly.

    **Arguments:**

    - `x`: the image, any shape, in the model's units; its floats are taken as exact numbers.
    - `norm`: 1, 2 or `math.inf`.
    - `eps`: radius; a float counts as the decimal that Python prints for it.
    - `clip`: `(low, high)`: inputs outside are not considered.
    - `input_shape`, `output_shape`: by default `x.shape` and `(1, classes)`.

    **Raises** `InputError` for numbers that are not finite, a negative radius, an unknown norm,
    an image outside `clip` by more than `eps`, and shapes that do not fit.
    """
    x = np.asarray(x)
    if not (np.issubdtype(x.dtype, np.number) and np.all(np.isfinite(x))):
        raise InputError("the input is not an array of finite numbers")
    if norm not in (1, 2, math.inf):
        raise InputError(f"norm {norm} is not supported; use 1, 2 or inf")
    radius = exact_decimal(eps)
    if radius < 0:
        raise InputError(f"eps is negative ({eps})")
    center = tuple(Fraction(value) for value in x.reshape(-1).tolist())
    lower = [value - radius for value in center]
    upper = [value + radius for value in center]
    if clip is not None:
        low, high = map(exact_decimal, clip)
        lower = [max(value, low) for value in lower]
        upper = [min(value, high) for value in upper]
    return Robustness(
        lower=tuple(lower),
        upper=tuple(upper),
        label=label,
        classes=classes,
        input_shape=tuple(x.shape) if input_shape is None else input_shape,
        output_shape=(1, classes) if output_shape is None else output_shape,
        element_type=element_type,
        ball=None if norm == math.inf else Ball(int(norm), center, radius),
    )
