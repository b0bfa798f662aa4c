"""Scalar functions that are not piecewise linear, as `vnn_mondeq.onnx_io.relaxation` needs them.

Each knows bounds on its second derivative over intervals. Between its `breaks` a curve is
continuously differentiable with a bounded second derivative almost everywhere, so that it leaves
the chord over `[a, b]` by at most `(b - a)²/8` times these bounds.

Letters: `a <= b` arrays of interval ends, `s` the sigmoid.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

import numpy as np

Bounds = tuple[np.ndarray, np.ndarray]


@final
@dataclass(frozen=True, slots=True)
class Tail:
    """Beyond `start` the curve is within `excess` of the line of this slope through its value at
    `start`."""

    start: float
    slope: float
    excess: float


@final
@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A function of one variable.

    - `value`: float64 values, off by at most `2**-40 (1 + |value|)`: numpy's and the C library's
      elementary functions err by a few units in the last place, 2**13 times less.
    - `curvature`: `(a, b)` → lower and upper bounds on `f''` over `[a, b]`.
    - `domain`: closed interval where all of this holds.
    - `monotone`: whether it is monotone between breaks.
    - `turns`: where else it may have extrema.
    - `span`: bounds of all values, where these are better than none.
    """

    value: Callable[[np.ndarray], np.ndarray]
    curvature: Callable[[np.ndarray, np.ndarray], Bounds]
    domain: tuple[float, float] = (-math.inf, math.inf)
    breaks: tuple[float, ...] = ()
    below: Tail | None = None
    above: Tail | None = None
    monotone: bool = True
    turns: tuple[float, ...] = ()
    span: tuple[float, float] = (-math.inf, math.inf)

    def hull(self, a: np.ndarray, b: np.ndarray) -> Bounds:
        """Bounds of the values over `[a, b]`."""
        low, high = self.span
        if self.monotone or self.turns:
            points = [self.value(np.clip(t, a, b)) for t in (*self.breaks, *self.turns)]
            near, far = _hull(self.value(a), self.value(b), *points)
            low, high = np.maximum(near, low), np.minimum(far, high)
        return np.broadcast_to(low, a.shape), np.broadcast_to(high, b.shape)


def _hull(*arrays: np.ndarray) -> Bounds:
    return np.minimum.reduce(arrays), np.maximum.reduce(arrays)


def _over(
    f: Callable[[np.ndarray], np.ndarray], critical: tuple[float, ...]
) -> Callable[[np.ndarray, np.ndarray], Bounds]:
    """Bounds of `f` over intervals, for an `f` whose extrema are at `critical` or at the ends;
    widened by what evaluating it may err."""

    def bounds(a: np.ndarray, b: np.ndarray) -> Bounds:
        points = [f(a), f(b)] + [f(np.clip(c, a, b)) for c in critical]
        low, high = _hull(*points)
        slack = 2.0**-30 * (np.abs(low) + np.abs(high)) + 2.0**-60
        return low - slack, high + slack

    return bounds


def _constant(low: float, high: float) -> Callable[[np.ndarray, np.ndarray], Bounds]:
    return lambda a, b: (np.full(a.shape, low), np.full(b.shape, high))


# --- the sigmoid and its relatives -----------------------------------------------------------


def _sigmoid(t: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(t))
    return np.where(t >= 0, 1.0, small) / (1.0 + small)


def _sigmoid_second(t: np.ndarray) -> np.ndarray:
    s = _sigmoid(t)
    return s * (1.0 - s) * (1.0 - 2.0 * s)


_SIGMOID_TURN = math.log(2.0 + math.sqrt(3.0))
"""Where `s''` has its extrema: `s = 1/2 ± √3/6`."""


def _tanh_second(t: np.ndarray) -> np.ndarray:
    value = np.tanh(t)
    return -2.0 * value * (1.0 - value * value)


def _softplus(t: np.ndarray) -> np.ndarray:
    return np.maximum(t, 0.0) + np.log1p(np.exp(-np.abs(t)))


def _softplus_second(t: np.ndarray) -> np.ndarray:
    s = _sigmoid(t)
    return s * (1.0 - s)


_FLAT = 12.0
"""`1 - s(12)`, `log(1 + exp(-12))` and the like are below 6.2e-6."""
_EXCESS = 6.2e-6

SIGMOID = Curve(
    _sigmoid,
    _over(_sigmoid_second, (-_SIGMOID_TURN, _SIGMOID_TURN)),
    below=Tail(-_FLAT, 0.0, _EXCESS),
    above=Tail(_FLAT, 0.0, _EXCESS),
)
TANH = Curve(
    np.tanh,
    _over(_tanh_second, (-_SIGMOID_TURN / 2.0, _SIGMOID_TURN / 2.0)),
    below=Tail(-_FLAT, 0.0, _EXCESS),
    above=Tail(_FLAT, 0.0, _EXCESS),
)
SOFTPLUS = Curve(
    _softplus,
    _over(_softplus_second, (0.0,)),
    below=Tail(-_FLAT, 0.0, _EXCESS),
    above=Tail(_FLAT, 1.0, _EXCESS),
)


def elu(alpha: float, scale: float = 1.0, stretch: float = 1.0) -> Curve:
    """`scale t` for `t >= 0`, else `scale α (exp(t/stretch) - 1)`: Elu, Selu, Celu."""

    def value(t: np.ndarray) -> np.ndarray:
        negative = alpha * np.expm1(np.minimum(t, 0.0) / stretch)
        return scale * np.where(t >= 0.0, t, negative)

    def second(t: np.ndarray) -> np.ndarray:
        return scale * alpha / stretch**2 * np.exp(np.minimum(t, 0.0) / stretch)

    def curvature(a: np.ndarray, b: np.ndarray) -> Bounds:
        # Zero on the right; 0 is a break, so an interval lies on one side.
        low, high = _over(second, ())(a, b)
        right = a >= 0.0
        return np.where(right, 0.0, low), np.where(right, 0.0, high)

    start = -_FLAT * stretch
    excess = _EXCESS * abs(scale * alpha)
    return Curve(
        value,
        curvature,
        breaks=(0.0,),
        below=Tail(start, 0.0, excess),
        above=Tail(0.0, scale, 2.0**-40 * abs(scale)),
    )


def _hard_swish(t: np.ndarray) -> np.ndarray:
    return t * np.clip(t / 6.0 + 0.5, 0.0, 1.0)


def _hard_swish_curvature(a: np.ndarray, b: np.ndarray) -> Bounds:
    inside = (b > -3.0) & (a < 3.0)
    return np.zeros(a.shape), np.where(inside, 0.334, 0.0)


HARD_SWISH = Curve(
    _hard_swish,
    _hard_swish_curvature,
    breaks=(-3.0, 3.0),
    below=Tail(-3.0, 0.0, 2.0**-40),
    above=Tail(3.0, 1.0, 2.0**-40),
    monotone=False,
    turns=(-1.5,),
)


def _erf(t: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[float])(t)


def _erf_second(t: np.ndarray) -> np.ndarray:
    return -4.0 / math.sqrt(math.pi) * t * np.exp(-t * t)


ERF = Curve(
    _erf,
    _over(_erf_second, (-math.sqrt(0.5), math.sqrt(0.5))),
    below=Tail(-4.0, 0.0, 2e-8),
    above=Tail(4.0, 0.0, 2e-8),
)


def _gelu(t: np.ndarray) -> np.ndarray:
    return 0.5 * t * (1.0 + _erf(t / math.sqrt(2.0)))


def _gelu_second(t: np.ndarray) -> np.ndarray:
    return (2.0 - t * t) * np.exp(-0.5 * t * t) / math.sqrt(2.0 * math.pi)


GELU = Curve(
    _gelu,
    _over(_gelu_second, (-2.0, 0.0, 2.0)),  # f''' = t (t² - 4) φ(t)
    below=Tail(-6.0, 0.0, 1e-8),
    above=Tail(6.0, 1.0, 1e-8),
    monotone=False,
    span=(-0.17, math.inf),
)

# --- powers, exponentials, waves -------------------------------------------------------------

EXP = Curve(np.exp, _over(np.exp, ()), domain=(-700.0, 700.0), below=Tail(-_FLAT, 0.0, _EXCESS))
LOG = Curve(np.log, _over(lambda t: -1.0 / (t * t), ()), domain=(1e-100, math.inf))
SQUARE = Curve(np.square, _constant(2.0, 2.0), monotone=False, turns=(0.0,))
_WAVE = (-1.0, 1.0)
SIN = Curve(np.sin, _constant(-1.0, 1.0), domain=(-1e6, 1e6), monotone=False, span=_WAVE)
COS = Curve(np.cos, _constant(-1.0, 1.0), domain=(-1e6, 1e6), monotone=False, span=_WAVE)


def power(exponent: float) -> Curve:
    """`t ** exponent` for a constant exponent other than 0 and 1.

    A whole exponent is defined for negative numbers too, and a negative one only above zero.
    """
    if exponent == 2.0:
        return SQUARE
    whole = exponent == int(exponent) and abs(exponent) < 64
    factor = exponent * (exponent - 1.0)

    def value(t: np.ndarray) -> np.ndarray:
        return np.power(t, int(exponent)) if whole and exponent >= 0 else np.power(t, exponent)

    def second(t: np.ndarray) -> np.ndarray:
        # Infinite at 0 for exponents below 2: the chord's own span bounds the error there.
        with np.errstate(divide="ignore"):
            return factor * np.power(t, exponent - 2.0)

    if whole and exponent > 2.0:
        return Curve(value, _over(second, (0.0,)), breaks=(0.0,))
    if exponent > 0.0:
        return Curve(value, _over(second, ()), domain=(0.0, math.inf))
    return Curve(value, _over(second, ()), domain=(1e-100, math.inf))


def exponential(base: float) -> Curve:
    """`base ** t` for `base > 0`."""
    rate = math.log(base)
    reach = 700.0 / max(abs(rate), 1e-3)
    second = _over(lambda t: rate * rate * np.power(base, t), ())
    return Curve(lambda t: np.power(base, t), second, domain=(-reach, reach))


_INVERSE_CURVATURE = _over(lambda t: 2.0 / (t * t * t), ())

RECIPROCAL: Mapping[float, Curve] = MappingProxyType(
    {
        -1.0: Curve(np.reciprocal, _INVERSE_CURVATURE, domain=(-math.inf, -1e-100)),
        1.0: Curve(np.reciprocal, _INVERSE_CURVATURE, domain=(1e-100, math.inf)),
    }
)
"""`1/t` on one side of zero, by the sign of `t`."""

UNARY: Mapping[str, Curve] = MappingProxyType(
    {
        "Cos": COS,
        "Erf": ERF,
        "Exp": EXP,
        "HardSwish": HARD_SWISH,
        "Log": LOG,
        "Sigmoid": SIGMOID,
        "Sin": SIN,
        "Softplus": SOFTPLUS,
        "Sqrt": power(0.5),
        "Tanh": TANH,
    }
)
"""Operators without attributes that are one curve."""
