"""Bounds of tensors by linear bounds walked backwards, as `vnn_mondeq.layered_bounds` has them for
assembled systems; here for forms, while the graph is still read.

Neurons of a ReLU block are replaced by lines in their pre-activations, these by what the block's
argument says, until only the input, auxiliary inputs and equilibrium blocks are left, whose
intervals end the walk. As in `enclosure.py`, bounds hold for the exact value and for a runtime's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.layered_bounds import relu_lines
from vnn_mondeq.onnx_io.affine_form import Form, Terms
from vnn_mondeq.onnx_io.enclosure import Interval
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, gamma

MAX_ENTRIES = 20_000_000
"""No walk where the coefficients on the input and on all neurons would be more than this."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """What a walk may use.

    - `arguments`: of each block, the form under the activation, or `None` where the walk ends.
    - `preactivations`: block → bounds of its argument; `bounds`: source → interval.
    """

    arguments: Sequence[Form | None]
    preactivations: Callable[[int], Interval]
    bounds: Callable[[int], Interval]
    unit: float


def enclose_backward(form: Form, layers: Layers) -> Interval | None:
    """Bounds `(size,)`; `None` where the walk would be too large or nothing is finite."""
    width = sum(matrix.shape[1] for matrix in form.value.values())
    width += sum(a.size for a in layers.arguments if a is not None)
    if 2 * form.size * width > MAX_ENTRIES:
        return None
    terms = {
        source: np.vstack([matrix.toarray(), -matrix.toarray()])
        for source, matrix in form.value.items()
    }
    slack = _perturbation(form, layers, layers.unit)
    upper = _walked(terms, np.concatenate([slack, slack]), layers)
    high, low = upper[: form.size], -upper[form.size :]
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def _largest(interval: Interval) -> np.ndarray:
    return np.maximum(np.abs(interval[0]), np.abs(interval[1]))


def _perturbation(form: Form, layers: Layers, unit: float) -> np.ndarray:
    """Bounds `(size,)` on the radius and on a runtime's error of a form."""
    total = np.full(form.size, UNDERFLOW)
    for part, factor in ((form.radius, 1.0), (form.runtime, unit)):
        for source, matrix in part.items():
            total += (matrix @ _largest(layers.bounds(source))) * (factor * SAFETY)
    return total * SAFETY


def _walked(terms: dict[int, np.ndarray], slack: np.ndarray, layers: Layers) -> np.ndarray:
    """Upper bounds on `Σ terms[s] s`; the dictionary is used up."""
    ends = np.zeros(slack.size)
    while terms:
        source = max(terms)
        c = terms.pop(source)
        argument = layers.arguments[source] if source >= 0 else None
        if argument is None:
            low, high = layers.bounds(source)
            ends = ends + _products(np.maximum(c, 0.0), high) + _products(np.minimum(c, 0.0), low)
            size = _products(np.abs(c), _largest((low, high)))
            slack = slack + gamma(2 * c.shape[1] + 8) * size + gamma(8) * np.abs(ends)
            continue
        interval = layers.preactivations(source)
        slope, intercept, beneath = relu_lines(*interval)
        above, below = np.maximum(c, 0.0), np.minimum(c, 0.0)
        on_v = above * slope + below * beneath
        ends = ends + above @ intercept
        size = np.abs(on_v)
        slack = slack + gamma(c.shape[1] + 8) * (above @ np.abs(intercept) + np.abs(ends))
        slack = slack + gamma(4) * (size @ _largest(interval))
        slack = slack + size @ _perturbation(argument, layers, layers.unit) * SAFETY
        slack = slack + _substitute(terms, on_v, argument.value, layers)
    return ends + slack * SAFETY


def _substitute(
    terms: dict[int, np.ndarray], on_v: np.ndarray, value: Terms, layers: Layers
) -> np.ndarray:
    """Add `on_v · value` to the coefficients; returns a bound on what that rounds off."""
    slack = np.zeros(on_v.shape[0])
    size, count = np.abs(on_v), on_v.shape[1]
    for source, matrix in value.items():
        bound = _largest(layers.bounds(source))
        fresh = on_v @ matrix
        rounding = gamma(count + 4) * (size @ abs(matrix))
        if source in terms:
            rounding = rounding + gamma(4) * np.abs(terms[source])
            fresh = terms[source] + fresh
        terms[source] = fresh
        slack = slack + _products(rounding, bound) * SAFETY + UNDERFLOW
    return slack


def _products(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`weights @ values` where values may be infinite, but not where their weight is zero."""
    if np.all(np.isfinite(values)):
        return weights @ values
    with np.errstate(invalid="ignore"):
        return np.where(weights == 0.0, 0.0, weights * values).sum(axis=1)
