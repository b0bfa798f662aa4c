"""Interval bounds of tensors over a box of inputs.

A bound here holds for the exact value of a `Form` and for what a runtime computes for it, for
every input of the box: it counts the form's radius and its runtime weights.
"""

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from vnn_mondeq.onnx_io.affine_form import Form
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, gamma

Interval = tuple[np.ndarray, np.ndarray]
"""Lower and upper bounds `(n,)`; infinite where there is none."""


def enclose(form: Form, bounds: Callable[[int], Interval], unit: float) -> Interval:
    """Bounds `(size,)` of a tensor.

    - `bounds`: source → the interval of its variables.
    - `unit`: the unit roundoff of the form's runtime weights.

    An entry that only copies a variable, or is a constant of the file, gets its exact interval.
    A sum without negative terms is not below zero, however a runtime rounds it.
    """
    lower, upper, size, negative = (np.zeros(form.size) for _ in range(4))
    count = np.zeros(form.size, dtype=np.intp)
    plain = np.ones(form.size, dtype=bool)
    with np.errstate(invalid="ignore", over="ignore"):
        for source, matrix in form.value.items():
            low, high = bounds(source)
            above, below = csr_array(matrix.maximum(0.0)), csr_array(matrix.minimum(0.0))
            above.eliminate_zeros()
            below.eliminate_zeros()
            lower += above @ low + below @ high
            upper += above @ high + below @ low
            size += abs(matrix) @ _largest(low, high)
            negative += abs(above.sign()) @ (low < 0.0) + abs(below.sign()) @ (high > 0.0)
            count += matrix.count_nonzero(axis=1)
            plain &= _copies(matrix)
        slack = _slack(form, bounds, unit)
        # Every term, and the sum over sources, is rounded at most once for each addition.
        table = np.array([gamma(int(n) + 4) for n in range(int(count.max(initial=0)) + 2)])
        rounding = table[count + 1] * size * SAFETY + UNDERFLOW
        exact = plain & (count <= 1) & (slack == 0.0)
        width = np.where(exact, 0.0, slack + rounding)
        floor = np.where((negative == 0.0) & (slack == 0.0), 0.0, -np.inf)
        least = np.maximum(lower - width, floor)
        return _settled(least, -np.inf), _settled(upper + width, np.inf)


def _largest(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(low), np.abs(high))


def _settled(values: np.ndarray, otherwise: float) -> np.ndarray:
    """Where bounds were infinite, arithmetic may have given no number at all."""
    return np.where(np.isnan(values), otherwise, values)


def _copies(matrix: csr_array) -> np.ndarray:
    """Which rows have no entry other than 0 and powers of two."""
    odd = (np.abs(np.frexp(matrix.data)[0]) != 0.5) & (matrix.data != 0.0)
    marked = csr_array((odd.astype(float), matrix.indices, matrix.indptr), shape=matrix.shape)
    return marked.sum(axis=1) == 0


def _slack(form: Form, bounds: Callable[[int], Interval], unit: float) -> np.ndarray:
    total = np.zeros(form.size)
    for terms, factor in ((form.radius, 1.0), (form.runtime, unit)):
        for source, matrix in terms.items():
            weights = csr_array(matrix)
            weights.eliminate_zeros()
            total += (weights @ _largest(*bounds(source))) * (factor * SAFETY)
    return total * SAFETY
