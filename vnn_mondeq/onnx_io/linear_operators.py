"""Operators with arithmetic that are affine in the network's tensors."""

import numpy as np
from scipy.sparse import csr_array, eye_array, kron

from vnn_mondeq.onnx_io.affine_form import (
    Form,
    Matrix,
    add,
    apply,
    concatenate,
    constant,
    multiply,
    negate,
    select,
)
from vnn_mondeq.onnx_io.node import Node
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT


def _expanded(form: Form, shape: tuple[int, ...]) -> Form:
    index = np.arange(form.size).reshape(form.shape)
    return select(form, np.broadcast_to(index, shape)) if form.shape != shape else form


def broadcast(node: Node, *forms: Form) -> list[Form]:
    """The tensors in their common shape. **Raises** `UnsupportedModelError`."""
    try:
        shape = np.broadcast_shapes(*(form.shape for form in forms))
    except ValueError:
        described = " and ".join(str(list(form.shape)) for form in forms)
        node.require(False, f"shapes {described} do not broadcast")
    return [_expanded(form, shape) for form in forms]


def _broadcast(node: Node) -> list[Form]:
    return broadcast(node, node.form(0), node.form(1))


def add_node(node: Node) -> Form:
    left, right = _broadcast(node)
    return add(left, right, node.unit)


def subtract(node: Node) -> Form:
    left, right = _broadcast(node)
    return add(left, negate(right), node.unit)


def negate_node(node: Node) -> Form:
    return negate(node.form(0))


def multiply_node(node: Node) -> Form:
    left, right = _broadcast(node)
    node.require(left.is_constant or right.is_constant, "is a product of two non-constant tensors")
    return (
        multiply(left, right, node.unit) if left.is_constant else multiply(right, left, node.unit)
    )


def divide(node: Node) -> Form:
    node.stored(1)
    left, right = _broadcast(node)
    divisor = right.array()
    node.require(bool(np.all(divisor != 0.0)), "divides by zero")
    with np.errstate(over="ignore"):
        inverse = 1.0 / divisor
    node.require(bool(np.all(np.isfinite(inverse))), "divides by a subnormal number")
    exact = np.abs(np.frexp(divisor)[0]) == 0.5
    error = np.where(exact, 0.0, np.abs(inverse) * (UNIT * SAFETY) + UNDERFLOW)
    # Two roundings, for runtimes that multiply by a rounded reciprocal.
    return _scaled(left, inverse, error, node.unit, extra=0 if np.all(exact) else 1)


def _scaled(form: Form, weights: np.ndarray, error: np.ndarray, unit: float, extra: int) -> Form:
    """Entries times constants `weights` known to within `error`."""
    count = np.arange(form.size)

    def diagonal(values: np.ndarray) -> csr_array:
        return csr_array((values.reshape(-1), (count, count)), shape=(form.size, form.size))

    radius = diagonal(error) if np.any(error) else None
    return apply(Matrix(diagonal(weights), radius), form, form.shape, unit, extra)


def matmul(node: Node) -> Form:
    left, right = node.form(0), node.form(1)
    node.require(
        left.is_stored_constant or right.is_stored_constant,
        "one of the factors must be a constant of the file",
    )
    node.require(
        len(left.shape) >= 2 and len(right.shape) >= 2 and left.shape[-1] == right.shape[-2],
        f"cannot multiply {list(left.shape)} and {list(right.shape)}",
    )
    if right.is_stored_constant and not (left.is_stored_constant and len(right.shape) > 2):
        node.require(len(right.shape) == 2, "a constant factor must be a matrix")
        rows = int(np.prod(left.shape[:-1], dtype=np.int64))
        weights = csr_array(kron(eye_array(rows), right.array().T, format="csr"))
        return apply(Matrix(weights), left, (*left.shape[:-1], right.shape[1]), node.unit)
    node.require(len(left.shape) == 2, "a constant factor must be a matrix")
    batch = int(np.prod(right.shape[:-2], dtype=np.int64))
    inner = kron(left.array(), eye_array(right.shape[-1]))
    weights = csr_array(kron(eye_array(batch), inner, format="csr"))
    shape = (*right.shape[:-2], left.shape[0], right.shape[-1])
    return apply(Matrix(weights), right, shape, node.unit)


def gemm(node: Node) -> Form:
    left, weights = node.form(0), node.stored(1)
    node.require(len(left.shape) == 2 and len(weights.shape) == 2, "factors must be matrices")
    if node.attribute("transA", 0):
        left = select(left, np.arange(left.size).reshape(left.shape).T)
    B = weights.array().T if node.attribute("transB", 0) else weights.array()
    node.require(left.shape[1] == B.shape[0], f"cannot multiply {left.shape} and {B.shape}")
    alpha, beta = float(node.attribute("alpha", 1.0)), float(node.attribute("beta", 1.0))
    rows = left.shape[0]
    matrix = Matrix(csr_array(kron(eye_array(rows), B.T, format="csr")))
    result = apply(matrix, left, (rows, B.shape[1]), node.unit)
    if alpha != 1.0:
        result = multiply(constant(np.full(result.shape, alpha), result.unit), result, node.unit)
    if not node.has(2):
        return result
    bias = _expanded(node.form(2), result.shape)
    if beta != 1.0:
        bias = multiply(constant(np.full(bias.shape, beta), bias.unit), bias, node.unit)
    return add(result, bias, node.unit)


def batch_normalization(node: Node) -> Form:
    node.require(not node.attribute("training_mode", 0), "training mode is not supported")
    # Before opset 9 and 14, `spatial` and further outputs told of other modes.
    plain = node.attribute("spatial", 1) == 1 and len(node.proto.output) == 1
    node.require(plain, "only one output with one mean for each channel is supported")
    x = node.form(0)
    scale, bias, mean, variance = (node.stored(i).array() for i in (1, 2, 3, 4))
    epsilon = float(node.attribute("epsilon", 1e-5))
    spread = variance + epsilon
    node.require(bool(np.all(spread > 0.0)), "variance + epsilon is not positive")
    # Otherwise the sum cancels, and a runtime's rounding of it is not relative to the result.
    node.require(bool(np.all(variance >= 0.0)) and epsilon >= 0.0, "the variance is negative")
    # scale / sqrt(variance + epsilon): four float64 roundings.
    factor = scale / np.sqrt(spread)
    error = 4.0 * UNIT * np.abs(factor) * SAFETY + UNDERFLOW
    column = (-1,) + (1,) * (len(x.shape) - 2)

    def spatial(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(values.reshape(column), x.shape)

    # A runtime may compute (x - mean) factor + bias or x factor + (bias - mean factor), the
    # factor itself with up to four roundings; six extra roundings on every product cover both.
    moved = _scaled(x, spatial(factor), spatial(error), node.unit, extra=6)
    centre = _scaled(
        constant(spatial(mean), x.unit), spatial(factor), spatial(error), node.unit, extra=6
    )
    shift = add(constant(spatial(bias), x.unit), negate(centre), node.unit)
    return add(moved, shift, node.unit)


def sum_node(node: Node) -> Form:
    """`Sum`, of any number of tensors; added from left to right or in another order, each addition
    is one rounding of partial sums that the bounds of `add` cover."""
    forms = broadcast(node, *(node.form(i) for i in range(len(node.inputs))))
    return _summed(forms, node.unit)


def mean_node(node: Node) -> Form:
    total = sum_node(node)
    count = len(node.inputs)
    rows = np.arange(total.size)
    return averaged(total, rows, rows, count, total.shape, node.unit)


def _summed(forms: list[Form], unit: float) -> Form:
    """One row of ones for each entry, so that every order of summation is covered."""
    stacked = concatenate([form.reshaped((1, form.size)) for form in forms], 0)
    size = forms[0].size
    columns = np.arange(stacked.size)
    return averaged(stacked, columns % size, columns, 1, forms[0].shape, unit)


def reduce_sum(node: Node) -> Form:
    return _reduce(node, mean=False, axes_are_input=node.opset >= 13)


def reduce_mean(node: Node) -> Form:
    return _reduce(node, mean=True, axes_are_input=node.opset >= 18)


def reduced_axes(
    node: Node, shape: tuple[int, ...], *, axes_are_input: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes that a reduction removes, and the shape of its result; no axes for none at all."""
    if axes_are_input:
        given = node.integers(1).reshape(-1) if node.has(1) else []
    else:
        given = node.attribute("axes", [])
    rank = len(shape)
    fits = all(-rank <= int(a) < rank for a in given)
    node.require(fits, f"reduces axes {[int(a) for a in given]} of a tensor of {rank}")
    axes = tuple(sorted({int(a) % rank for a in given}))
    if not axes:
        if node.attribute("noop_with_empty_axes", 0):
            return (), shape
        axes = tuple(range(rank))
    if node.attribute("keepdims", 1):
        return axes, tuple(1 if i in axes else n for i, n in enumerate(shape))
    return axes, tuple(n for i, n in enumerate(shape) if i not in axes)


def _reduce(node: Node, *, mean: bool, axes_are_input: bool) -> Form:
    x = node.form(0)
    axes, shape = reduced_axes(node, x.shape, axes_are_input=axes_are_input)
    if not axes:
        return x
    kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
    target = np.broadcast_to(np.arange(int(np.prod(kept))).reshape(kept), x.shape).reshape(-1)
    count = x.size // int(np.prod(kept))
    return averaged(x, target, np.arange(x.size), count if mean else 1, shape, node.unit)


def averaged(
    x: Form,
    rows: np.ndarray,
    columns: np.ndarray,
    counts: np.ndarray | int,
    shape: tuple[int, ...],
    unit: float,
) -> Form:
    """Entry `r` of the result is the sum of `x[columns[rows == r]]` divided by `counts` (one for
    each pair, or one for all)."""
    size = int(np.prod(shape, dtype=np.int64))
    divisors = np.broadcast_to(np.asarray(counts, dtype=np.float64), rows.shape)
    weights = csr_array((1.0 / divisors, (rows, columns)), shape=(size, x.size))
    exact = bool(np.all(np.abs(np.frexp(divisors)[0]) == 0.5))
    radius = None if exact else csr_array(weights * (UNIT * SAFETY))
    return apply(Matrix(weights, radius), x, shape, unit, extra=0 if np.all(divisors == 1) else 2)
