"""From a system and a query to a `Problem`: what fits together, and rows with their errors.

`build_problem` is where exact rationals end. Each constraint `a_x · x + a_y · y + c <= 0` becomes a
float64 row over the system's `(z, x)`; everything that this loses, and everything that a runtime
may err (`vnn_mondeq.budget`), goes into `Rows.error`. An engine or a checker that proves
`row(z*(x), x) > error` for the exact fixpoint `z*` of the stored float64 arrays, for all `x` of
`Obligation.proof_inputs`, has refuted every case that contains the row.

The rule is `>` for strict and non-strict constraints alike.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import final

import numpy as np

from vnn_mondeq.budget import UNITS, ModelError, bound_model_error
from vnn_mondeq.errors import MismatchError, QueryError
from vnn_mondeq.problem import Obligation, Problem, Rows
from vnn_mondeq.query.embedding import with_coordinates
from vnn_mondeq.query.input_set import AbstractInputSet
from vnn_mondeq.query.interval import RationalInterval
from vnn_mondeq.query.query import (
    Case,
    LinearConstraint,
    PolynomialConstraint,
    Query,
    Variable,
)
from vnn_mondeq.query.relaxation import Factor, linear_lower_bound
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, fraction_up, norm_up, product_error
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.value_range import output_range

_REAL = "real"


def build_problem(
    system: ImplicitSystem,
    query: Query,
    element_type: str,
    output_types: Mapping[str, str] | None = None,
) -> Problem:
    """Pair a system with a query about it.

    **Arguments:**

    - `query`: about one model (`Query.is_about_one_model`).
    - `element_type`: of the model's inputs and outputs, in ONNX lower case (`"float32"`).
    - `output_types`: output name → element type, where some outputs are integers or booleans.

    **Returns:** a problem with one obligation for each input set. Cases whose set is certainly
    empty, as a float32 reader sees it too, are left out.

    **Raises** `MismatchError` when the two do not fit, `QueryError` for numbers beyond float64.

    An unbounded input makes `Rows.error` infinite; see `unbounded_inputs`.
    """
    if not query.is_about_one_model:
        raise MismatchError(
            "the query is about several networks, hidden tensors or tied inputs, which one model "
            "does not have; vnn_mondeq.networks puts together what it is about"
        )
    check_fit(query, query.variables, system.inputs, system.outputs, element_type, output_types)
    return state_problem(system, query, element_type)


def state_problem(system: ImplicitSystem, query: Query, element_type: str) -> Problem:
    """`build_problem` for a system that is known to have the query's inputs and outputs, by number.

    **Raises** `QueryError` for numbers beyond float64.
    """
    unit = runtime_unit(query, element_type)
    obligations = []
    for cases in _by_input_set(query.cases):
        inputs = cases[0].inputs
        if not certainly_empty(inputs):
            obligations.append(_obligation(system, inputs, cases, unit))
    return Problem(system, query, tuple(obligations))


def runtime_unit(query: Query, element_type: str) -> float | None:
    """The unit roundoff of the runtime that the query speaks of; `None` for real arithmetic.

    VNN-LIB 1.0 declares everything `Real`, yet its users run the model in the file's own element
    type, and so does every scorer: such queries are read as float queries.
    """
    if not _is_version_1(query) and _declared_types(query) == {_REAL}:
        return None
    return UNITS[element_type]


def certainly_empty(inputs: AbstractInputSet) -> bool:
    """Whether the set is provably empty even after its bounds have been rounded to float32.

    Sees boxes with a lower bound above the upper one, and half-spaces and quadratic sets that miss
    the box; other empty sets are not recognised.
    """
    lower, upper = inputs.widened().bounds()
    return bool(np.any(lower > upper)) or inputs.misses(lower, upper)


def input_hull(query: Query) -> tuple[np.ndarray, np.ndarray]:
    """Bounds `(d,)` of everything that proofs about the query have to cover."""
    size = query.input_count
    sets = {id(case.inputs): case.inputs for case in query.cases}.values()
    bounds = [inputs.widened().bounds() for inputs in sets if not certainly_empty(inputs)]
    if not bounds:
        return np.zeros(size), np.zeros(size)
    return np.min([low for low, _ in bounds], axis=0), np.max([high for _, high in bounds], axis=0)


def unbounded_inputs(obligation: Obligation) -> np.ndarray:
    """Flattened positions of the inputs without two finite bounds."""
    lower, upper = obligation.proof_inputs.bounds()
    return np.flatnonzero(~(np.isfinite(lower) & np.isfinite(upper)))


def _is_version_1(query: Query) -> bool:
    return query.version.startswith("1")


def _declared_types(query: Query) -> set[str]:
    return {variable.element_type.lower() for variable in query.variables}


def check_fit(
    query: Query,
    variables: Sequence[Variable],
    inputs: Mapping[str, tuple[int, ...]],
    outputs: Mapping[str, tuple[int, ...]],
    element_type: str,
    output_types: Mapping[str, str] | None = None,
) -> None:
    """Whether the variables of one network fit a model; hidden ones are left aside.

    **Raises** `MismatchError`.
    """
    _check_types(query, variables, element_type, output_types)
    for kind, tensors in (("input", inputs), ("output", outputs)):
        _check_shapes(kind, query, [v for v in variables if v.kind == kind], tensors)


def _check_types(
    query: Query,
    variables: Sequence[Variable],
    element_type: str,
    output_types: Mapping[str, str] | None,
) -> None:
    if element_type not in UNITS:
        raise MismatchError(
            f"the model computes in {element_type}, for which no sound analysis is implemented; "
            f"export it in one of {', '.join(UNITS)}"
        )
    declared = _declared_types(query)
    if _REAL in declared and len(declared) > 1:
        raise MismatchError(
            "the query mixes real with other element types; VNN-LIB wants real for every variable "
            "or for none"
        )
    expected = dict.fromkeys((v.name for v in variables), element_type)
    outputs = zip(
        (v.name for v in variables if v.kind == "output"),
        (output_types or {}).values(),
        strict=False,
    )
    expected |= dict(outputs)
    for variable in variables:
        kind, right = variable.element_type.lower(), expected[variable.name]
        if kind not in (_REAL, right):
            raise MismatchError(
                f"the query declares {kind} for {variable.name}, but the model computes it in "
                f"{right}; declare {right}, or real for a statement about exact arithmetic"
            )


def _check_shapes(
    kind: str, query: Query, variables: Sequence[Variable], tensors: dict[str, tuple[int, ...]]
) -> None:
    """Variables match the model's tensors by position; shapes must be equal.

    VNN-LIB 1.0 knows only flattened numbers, so there the total size must be equal.
    """
    shapes = list(tensors.values())
    described = ", ".join(f"{name} {list(shape)}" for name, shape in tensors.items())
    if _is_version_1(query):
        declared = sum(_size(variable.shape) for variable in variables)
        expected = sum(_size(shape) for shape in shapes)
        if declared != expected:
            letter = "X" if kind == "input" else "Y"
            raise MismatchError(
                f"the query declares {declared} {kind}s ({letter}_0 to {letter}_{declared - 1}), "
                f"but the model has {expected}: {described}"
            )
        return
    found = ", ".join(f"{variable.name} {list(variable.shape)}" for variable in variables)
    if [variable.shape for variable in variables] != shapes:
        raise MismatchError(
            f"the query declares the {kind}s {found}, but the model has, in this order, "
            f"{described}; shapes must be equal, dimensions of size 1 included"
        )


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def _by_input_set(cases: Sequence[Case]) -> list[list[Case]]:
    """Cases grouped by the identity of their input set, in order of first appearance."""
    groups: dict[int, list[Case]] = {}
    for case in cases:
        groups.setdefault(id(case.inputs), []).append(case)
    return list(groups.values())


def _obligation(
    system: ImplicitSystem, inputs: AbstractInputSet, cases: list[Case], unit: float | None
) -> Obligation:
    spread = system.auxiliary_lower, system.auxiliary_upper
    proof_inputs = with_coordinates(inputs.widened(), *spread)
    lower, upper = proof_inputs.bounds()
    error = bound_model_error(system, lower, upper, unit)
    ranges = _Ranges(system, (lower, upper), error)
    constraints, positions = [], []
    for case in cases:
        start = len(constraints)
        constraints.extend(case.constraints)
        constraints.extend(ranges.implied_rows(case))
        positions.append(tuple(range(start, len(constraints))))
    rows = _rows(system, constraints, np.maximum(np.abs(lower), np.abs(upper)), error)
    middle = np.zeros(system.auxiliary_size)
    searched = with_coordinates(inputs, middle, middle)
    return Obligation(searched, proof_inputs, rows, tuple(positions), inputs)


def implied_rows(
    system: ImplicitSystem, inputs: AbstractInputSet, cases: Sequence[Case], unit: float | None
) -> list[list[LinearConstraint]]:
    """For each case, what its polynomial constraints say linearly on an input set."""
    proof_inputs = with_coordinates(
        inputs.widened(), system.auxiliary_lower, system.auxiliary_upper
    )
    box = proof_inputs.bounds()
    ranges = _Ranges(system, box, bound_model_error(system, *box, unit))
    return [ranges.implied_rows(case) for case in cases]


@final
class _Ranges:
    """Ranges of inputs and outputs on a box; of outputs as a runtime may compute them."""

    def __init__(
        self, system: ImplicitSystem, box: tuple[np.ndarray, np.ndarray], error: ModelError
    ):
        self._system, self._box, self._error = system, box, error
        self._outputs: tuple[np.ndarray, np.ndarray] | None = None

    def implied_rows(self, case: Case) -> list[LinearConstraint]:
        """What the case's polynomial constraints say linearly on the box."""
        polynomials = [row for row in case.checked if isinstance(row, PolynomialConstraint)]
        rows = [linear_lower_bound(polynomial, self._range) for polynomial in polynomials]
        return [row for row in rows if row is not None]

    def _range(self, factor: Factor) -> RationalInterval:
        is_output, position = factor
        if is_output and self._outputs is None:
            self._outputs = self._output_range()
        lower, upper = self._outputs if is_output else self._box
        return RationalInterval.of(lower[position], upper[position])

    def _output_range(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = output_range(self._system, *self._box)
        each = [
            LinearConstraint({}, {i: Fraction(1)}, Fraction(0), False)
            for i in range(self._system.output_size)
        ]
        error = _rows(self._system, each, np.maximum(*map(np.abs, self._box)), self._error).error
        return np.nextafter(low - error, -np.inf), np.nextafter(high + error, np.inf)


def _rows(
    system: ImplicitSystem,
    constraints: Sequence[LinearConstraint],
    x_abs: np.ndarray,
    model: ModelError,
) -> Rows:
    """`t = a_y (G z + H x + g) + a_x x + c`, rounded, and how far that may be off on the box."""
    count = len(constraints)
    on_y, on_y_error = _to_floats([c.y for c in constraints], system.output_size)
    on_x, on_x_error = _to_floats([c.x for c in constraints], system.input_size)
    offset, offset_error = _to_floats([{0: c.offset} for c in constraints], 1)
    map_ = system.output.coefficients
    stored = Coefficients(
        on_y @ map_.on_z, on_y @ map_.on_x + on_x, on_y @ map_.offset + offset[:, 0]
    )
    if not np.all(np.isfinite(x_abs)):
        return Rows(stored, np.full(count, np.inf))

    def spread(part: np.ndarray) -> np.ndarray:
        """Elementwise error of `on_y @ part`, the conversion of `on_y` included."""
        magnitude = np.abs(part)
        return product_error(np.abs(on_y), magnitude, on_y.shape[1]) + on_y_error @ magnitude

    z_spread = spread(map_.on_z)
    # The addition of on_x (or of the offset) is one more rounding of each sum.
    x_spread = spread(map_.on_x) + on_x_error + 2.0 * UNIT * np.abs(stored.on_x)
    c_spread = spread(map_.offset) + offset_error[:, 0] + 2.0 * UNIT * np.abs(stored.offset)
    # Norms that survive tiny coefficients: their squares would underflow, and the error vanish.
    z_effect = norm_up(z_spread, axis=1) * model.z_norm
    error = (
        (z_effect + x_spread @ x_abs + c_spread)
        + (np.abs(on_y) + on_y_error) @ model.output
        + model.row_shifts(stored.on_z, z_spread)
    )
    return Rows(stored, error * SAFETY + UNDERFLOW)


def _to_floats(rows: list[dict[int, Fraction]], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Sparse rational rows as float64 `(n, width)`, and elementwise bounds on the rounding."""
    values = np.zeros((len(rows), width))
    errors = np.zeros_like(values)
    for index, row in enumerate(rows):
        for position, exact in row.items():
            try:
                near = float(exact)
            except OverflowError:
                raise QueryError(
                    f"a coefficient of about 10^{len(str(abs(int(exact)))) - 1} is beyond float64"
                ) from None
            values[index, position] = near
            errors[index, position] = fraction_up(abs(exact - Fraction(near)))
    return values, errors
