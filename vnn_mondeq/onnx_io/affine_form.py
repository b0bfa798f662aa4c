"""Tensors as affine functions of the network's inputs and neurons.

A `Form` says what a tensor of the graph is: rows (one for each entry, row-major) of coefficients
on *sources*. Source `UNITY` is the constant 1 (one column), source `INPUT` the flattened input,
source `k >= 0` the kept neurons of block `k`, source `AUXILIARY - j` the `j`-th group of auxiliary
inputs (`vnn_mondeq.onnx_io.builder`). A tensor without other sources than `UNITY` is a constant.

Three coefficient sets go together, with the meaning of `vnn_mondeq.system.affine.AffineMap`:

- `value`: float64 coefficients;
- `radius`: elementwise bounds on their distance from the exact ones; an absent source is exact;
- `runtime`: non-negative weights of what a runtime with unit roundoff `u` may err, in units of
  `u`, evaluated at the values that the runtime itself holds for the sources. `u` belongs to the
  model's inputs and outputs and is an argument here; `Form.unit` is the unit roundoff of the
  tensor's own element type, with which the runtime computes.

Error bounds follow Higham, section 3.1; letters in comments: `A` a constant matrix, `f` a form.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np
from scipy.sparse import csr_array, diags_array, vstack

from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, UNIT32, gamma

INPUT = -1
UNITY = -2
AUXILIARY = -3

Terms = Mapping[int, csr_array]

_SMALL = 2.0**-500
"""Products of two numbers at least this large cannot underflow."""

_SMALLEST = {UNIT32: 2.0**-125, UNIT: 2.0**-1000}
"""Unit roundoff → more than the underflow error of one operation, flush-to-zero included."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A tensor of `shape`; see the module's docstring. `len(rows) == prod(shape)`."""

    shape: tuple[int, ...]
    value: Terms
    radius: Terms = field(default_factory=dict)
    runtime: Terms = field(default_factory=dict)
    unit: float = UNIT32

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_constant(self) -> bool:
        return all(source == UNITY for source in self.value)

    @property
    def is_stored_constant(self) -> bool:
        """Whether it is a constant that the file holds, with no arithmetic behind it."""
        return self.is_constant and not self.radius and not self.runtime

    def reshaped(self, shape: tuple[int, ...]) -> "Form":
        return dataclasses.replace(self, shape=shape)

    def array(self) -> np.ndarray:
        """The values of a constant. **Raises** `ValueError` for other forms."""
        if not self.is_constant:
            raise ValueError("not a constant")
        return dense(self.value, UNITY, self.size, 1).reshape(self.shape)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A constant matrix `A` with its radius and runtime weights (see `Form`), or `None`."""

    value: csr_array
    radius: csr_array | None = None
    runtime: csr_array | None = None


def dense(terms: Terms, source: int, rows: int, columns: int) -> np.ndarray:
    """The coefficients on one source as an array `(rows, columns)`."""
    if source not in terms:
        return np.zeros((rows, columns))
    return terms[source].toarray()


def constant(array: np.ndarray, unit: float | None = None) -> Form:
    """The form of an exactly stored floating-point constant; its `unit` follows from the array's
    type where it is not given."""
    column = np.asarray(array, dtype=np.float64).reshape(-1, 1)
    own = UNIT32 if array.dtype == np.float32 else UNIT
    value = {UNITY: csr_array(column)}
    return Form(tuple(np.shape(array)), value, unit=own if unit is None else unit)


def source_form(
    source: int,
    size: int,
    positions: np.ndarray,
    shape: tuple[int, ...],
    unit: float,
    runtime: Terms | None = None,
) -> Form:
    """The tensor whose entries `positions` are the source's `size` variables, the rest zero."""
    rows = int(np.prod(shape, dtype=np.int64))
    ones = np.ones(size)
    value = csr_array((ones, (positions, np.arange(size))), shape=(rows, size))
    return Form(shape, {source: value}, {}, runtime or {}, unit)


# --- sums of terms -----------------------------------------------------------------------


def _add(*many: Terms) -> dict[int, csr_array]:
    total: dict[int, csr_array] = {}
    for terms in many:
        for source, matrix in terms.items():
            total[source] = total[source] + matrix if source in total else matrix
    return total


def _map(terms: Terms, change: Callable[[csr_array], csr_array]) -> dict[int, csr_array]:
    return {source: csr_array(change(matrix)) for source, matrix in terms.items()}


def magnitude(form: Form) -> dict[int, csr_array]:
    """Coefficients that bound the exact value: `|f| <= magnitude · |sources|`."""
    return _add(_map(form.value, abs), form.radius)


def _scale(terms: Terms, weights: np.ndarray) -> dict[int, csr_array]:
    """Rows times `weights (n,)`, rounded up a little."""
    left = diags_array(weights * SAFETY).tocsr()
    return _map(terms, lambda matrix: left @ matrix)


def _drop_zeros(terms: Terms) -> dict[int, csr_array]:
    kept = {}
    for source, matrix in terms.items():
        matrix.eliminate_zeros()
        if matrix.nnz:
            kept[source] = matrix
    return kept


# --- selections ---------------------------------------------------------------------------


def select(form: Form, index: np.ndarray) -> Form:
    """The tensor `form.ravel()[index]`, zero where `index` is -1. Exact, in a runtime too."""
    flat = index.reshape(-1)
    rows = np.flatnonzero(flat >= 0)
    picker = csr_array(
        (np.ones(rows.size), (rows, flat[rows])), shape=(flat.size, max(form.size, 1))
    )

    def pick(terms: Terms) -> dict[int, csr_array]:
        return _map(terms, lambda matrix: picker @ matrix)

    shape = tuple(index.shape)
    return Form(shape, pick(form.value), pick(form.radius), pick(form.runtime), form.unit)


def concatenate(forms: list[Form], axis: int) -> Form:
    """Stack along `axis`, exactly."""
    starts = np.cumsum([0] + [form.size for form in forms])
    pieces = [
        np.arange(start, start + form.size).reshape(form.shape)
        for start, form in zip(starts[:-1], forms, strict=True)
    ]
    index = np.concatenate(pieces, axis=axis)

    def stack(many: list[Terms]) -> dict[int, csr_array]:
        widths = {source: matrix.shape[1] for terms in many for source, matrix in terms.items()}
        stacked = {}
        for source, width in widths.items():
            blocks = [
                terms.get(source, csr_array((form.size, width)))
                for terms, form in zip(many, forms, strict=True)
            ]
            stacked[source] = csr_array(vstack(blocks, format="csr"))
        return stacked

    joined = Form(
        (int(starts[-1]),),
        stack([form.value for form in forms]),
        stack([form.radius for form in forms]),
        stack([form.runtime for form in forms]),
        max(form.unit for form in forms),
    )
    return select(joined, index)


# --- arithmetic ----------------------------------------------------------------------------


def _is_power_of_two(values: np.ndarray) -> bool:
    mantissas = np.abs(np.frexp(values)[0])
    return bool(np.all((mantissas == 0.5) | (values == 0.0)))


def _is_single(matrix: csr_array, axis: int) -> bool:
    """Whether every row (`axis=1`) or column (`axis=0`) has at most one entry."""
    return bool(np.all(matrix.count_nonzero(axis=axis) <= 1))


def _product(left: csr_array, right: csr_array) -> tuple[csr_array, csr_array | None]:
    """`left @ right` and its rounding error, elementwise; `None` when it is exact."""
    value = csr_array(left @ right)
    if left.nnz == 0 or right.nnz == 0:
        return value, None
    single = _is_single(left, 1) or _is_single(right, 0)
    scaling = _is_power_of_two(left.data) or _is_power_of_two(right.data)
    if single and scaling and _no_underflow(left) and _no_underflow(right):
        return value, None
    terms = (
        1
        if single
        else int(min(left.count_nonzero(axis=1).max(), right.count_nonzero(axis=0).max()))
    )
    error = csr_array(abs(left) @ abs(right)) * (gamma(terms + 1) * SAFETY)
    error.data += (terms + 1) * UNDERFLOW
    return value, error


def _no_underflow(matrix: csr_array) -> bool:
    sizes = np.abs(matrix.data[matrix.data != 0.0])
    return bool(sizes.size == 0 or sizes.min() >= _SMALL)


def apply(matrix: Matrix, form: Form, shape: tuple[int, ...], unit: float, extra: int = 0) -> Form:
    """`A f`.

    **Arguments:**

    - `unit`: the `u` of the runtime weights. The runtime computes with `form.unit`.
    - `extra`: roundings of the runtime beyond one for each product and sum (a final division,
      a rounded coefficient). Zero: rows of `A` that only copy or double count as exact, and those
      that halve as exact but for underflow.
    """
    A = matrix.value
    size = abs(A)
    bound = magnitude(form)
    value: dict[int, csr_array] = {}
    errors: list[Terms] = []
    for source, coefficients in form.value.items():
        value[source], error = _product(A, coefficients)
        if error is not None:
            errors.append({source: error})
    errors.append(_map(form.radius, lambda R: (size @ R) * SAFETY))
    if matrix.radius is not None:
        spread = matrix.radius
        errors.append(_map(bound, lambda F: (spread @ F) * SAFETY))
    radius = _drop_zeros(_add(*errors))

    # fl(A f̂): |error| <= (1 + γ) |A| u r  +  γ |A| |f|  +  u w_A (|f| + u r) (1 + γ)
    counts = size.count_nonzero(axis=1)
    if matrix.radius is not None:
        size = csr_array(size + matrix.radius)
    weights = _rounding_weights(A, counts, form.unit, extra) * (form.unit / unit)
    held = _add(bound, _map(form.runtime, lambda r: r * unit))
    parts = [
        _scale(_map(form.runtime, lambda r: size @ r), 1.0 + unit * weights),
        _scale(_map(bound, lambda F: size @ F), weights),
    ]
    if matrix.runtime is not None:
        drift = matrix.runtime
        parts.append(_scale(_map(held, lambda F: drift @ F), 1.0 + unit * weights))
    inexact = (weights > 0.0) | (_has_small(A) > 0)
    parts.append(_underflow(inexact * (counts + extra), form.unit, unit))
    return Form(shape, _drop_zeros(value), radius, _drop_zeros(_add(*parts)), form.unit)


def _rounding_weights(A: csr_array, counts: np.ndarray, unit: float, extra: int) -> np.ndarray:
    """`γ(n)/unit` for each row of `A`, zero for rows that a runtime evaluates exactly."""
    table = np.array([0.0] + [gamma(n + extra, unit) / unit for n in range(1, counts.max() + 1)])
    weights = table[counts]
    if extra == 0:
        mantissas = np.abs(np.frexp(A.data)[0])
        odd = csr_array(((mantissas != 0.5).astype(float), A.indices, A.indptr), shape=A.shape)
        weights[(counts == 1) & (odd.sum(axis=1) == 0)] = 0.0
    return weights


def _has_small(A: csr_array) -> np.ndarray:
    """How many entries of each row are below 1: the others cannot make a product underflow."""
    small = csr_array(((np.abs(A.data) < 1.0).astype(float), A.indices, A.indptr), shape=A.shape)
    return small.sum(axis=1)


def _underflow(operations: np.ndarray, own: float, unit: float) -> Terms:
    """Offset weights for so many operations in the type of unit roundoff `own`."""
    column = (operations > 0) * (operations + 1.0) * (_SMALLEST[own] / unit)
    return {UNITY: csr_array(column.reshape(-1, 1))}


def add(left: Form, right: Form, unit: float) -> Form:
    """`left + right`, of equal shapes; one rounding for each entry."""
    total = plus(left, right)
    return rounded(
        total, _add(magnitude(left), magnitude(right)), np.ones(left.size, dtype=np.intp), unit
    )


def plus(left: Form, right: Form) -> Form:
    """The sum as mathematics: no operation of a runtime stands behind it, so that only the rounding
    of its coefficients counts. Operators like Max are exact in a runtime but written as sums here.
    """
    if left.shape != right.shape:
        raise ValueError(f"shapes {left.shape} and {right.shape} differ")
    value, errors = _add(left.value, right.value), [left.radius, right.radius]
    for source in left.value.keys() & right.value.keys():
        both = left.value[source].astype(bool).multiply(right.value[source].astype(bool))
        if both.nnz:
            size = (abs(left.value[source]) + abs(right.value[source])).multiply(both)
            errors.append({source: csr_array(size * (UNIT * SAFETY))})
    radius = _drop_zeros(_add(*errors))
    runtime = _drop_zeros(_scale(_add(left.runtime, right.runtime), np.ones(left.size)))
    return Form(left.shape, _drop_zeros(value), radius, runtime, max(left.unit, right.unit))


def times(weights: np.ndarray, form: Form) -> Form:
    """Entries times exact `weights (size,)`, as mathematics (see `plus`)."""
    return combined(diags_array(weights).tocsr(), form, form.shape)


def combined(A: csr_array, form: Form, shape: tuple[int, ...]) -> Form:
    """`A f` for an exact matrix, as mathematics (see `plus`)."""
    size = abs(A)
    value, errors = {}, [_map(form.radius, lambda R: (size @ R) * SAFETY)]
    for source, coefficients in form.value.items():
        value[source], error = _product(A, coefficients)
        if error is not None:
            errors.append({source: error})
    runtime = _drop_zeros(_map(form.runtime, lambda r: (size @ r) * SAFETY))
    return Form(shape, _drop_zeros(value), _drop_zeros(_add(*errors)), runtime, form.unit)


def rounded(form: Form, size: Terms, counts: np.ndarray, unit: float) -> Form:
    """The form as a runtime holds it after `counts (size,)` roundings (0 or 1, or a bound on more)
    of numbers that are no larger than `size`, in the form's own type."""
    own = form.unit
    table = [0.0] + [gamma(n, own) / unit for n in range(1, int(counts.max(initial=0)) + 1)]
    weights = np.array(table)[counts]
    runtime = _add(
        _scale(form.runtime, 1.0 + unit * weights),
        _scale(size, weights),
        _underflow(counts, own, unit),
    )
    return dataclasses.replace(form, runtime=_drop_zeros(runtime))


def multiply(factor: Form, form: Form, unit: float, extra: int = 0) -> Form:
    """`factor * form` elementwise for a constant `factor` of the same shape."""

    def diagonal(terms: Terms) -> csr_array | None:
        if UNITY not in terms:
            return None
        return diags_array(terms[UNITY].toarray()[:, 0]).tocsr()

    value = diagonal(factor.value)
    matrix = Matrix(
        csr_array((form.size, form.size)) if value is None else value,
        diagonal(factor.radius),
        diagonal(factor.runtime),
    )
    form = dataclasses.replace(form, unit=max(form.unit, factor.unit))
    return apply(matrix, form, form.shape, unit, extra)


def negate(form: Form) -> Form:
    return dataclasses.replace(form, value=_map(form.value, lambda m: -m))


def sources(forms: Iterable[Form]) -> set[int]:
    """The blocks and inputs that occur in any of the forms."""
    return {source for form in forms for source in form.value if source != UNITY}
