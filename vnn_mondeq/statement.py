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

import numpy as np

from vnn_mondeq.budget import UNITS, ModelError, bound_model_error
from vnn_mondeq.errors import MismatchError, QueryError
from vnn_mondeq.problem import Obligation, Problem, Rows
from vnn_mondeq.query.embedding import with_coordinates
from vnn_mondeq.query.input_set import AbstractInputSet
from vnn_mondeq.query.query import Case, LinearConstraint, Query, Variable
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, UNIT, fraction_up, norm_up, product_error
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem

_REAL = "real"


def build_problem(
    system: ImplicitSystem,
    query: Query,
    element_type: str,
    output_types: Mapping[str, str] | None = None,
) -> Problem:
    """Pair a system with a query about it.

    **Arguments:**

    - `query`: with norm bounds resolved (`vnn_mondeq.query.norm.resolve_norms`).
    - `element_type`: of the model's inputs and outputs, in ONNX lower case (`"float32"`).
    - `output_types`: output name → element type, where some outputs are integers or booleans.

    **Returns:** a problem with one obligation for each input set. Cases whose set is certainly
    empty, as a float32 reader sees it too, are left out.

    **Raises** `MismatchError` when the two do not fit, `QueryError` for numbers beyond float64.

    An unbounded input makes `Rows.error` infinite; see `unbounded_inputs`.
    """
    _check_networks(query)
    _check_types(query, element_type, list((output_types or {}).values()))
    _check_shapes("input", query, query.input_variables, system.inputs)
    _check_shapes("output", query, query.output_variables, system.outputs)
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
    size = sum(_size(variable.shape) for variable in query.input_variables)
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


def _check_networks(query: Query) -> None:
    models = [name for name in query.networks if name not in query.norm_networks]
    if len(models) != 1:
        raise MismatchError(
            f"the query declares {len(models)} networks under test ({', '.join(models)}); "
            "this version decides queries about one network (supports "
            "--multiple-network-theories: SNET)"
        )
    hidden = [variable.name for variable in query.variables if variable.kind == "hidden"]
    if hidden:
        raise MismatchError(
            f"the query declares hidden nodes ({', '.join(hidden)}); this version decides queries "
            "without them (supports --hidden-node-theories: NH)"
        )


def _check_types(query: Query, element_type: str, output_types: Sequence[str]) -> None:
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
    expected = dict.fromkeys((v.name for v in query.variables), element_type)
    outputs = zip(query.output_variables, output_types, strict=False)
    expected |= {variable.name: kind for variable, kind in outputs}
    for variable in query.variables:
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
        if case.norm_bounds:
            raise MismatchError(
                "the query states an Lq ball through a norm network whose model file is not given"
            )
        groups.setdefault(id(case.inputs), []).append(case)
    return list(groups.values())


def _obligation(
    system: ImplicitSystem, inputs: AbstractInputSet, cases: list[Case], unit: float | None
) -> Obligation:
    spread = system.auxiliary_lower, system.auxiliary_upper
    proof_inputs = with_coordinates(inputs.widened(), *spread)
    lower, upper = proof_inputs.bounds()
    error = bound_model_error(system, lower, upper, unit)
    constraints, positions = [], []
    for case in cases:
        start = len(constraints)
        constraints.extend(case.constraints)
        positions.append(tuple(range(start, len(constraints))))
    rows = _rows(system, constraints, np.maximum(np.abs(lower), np.abs(upper)), error)
    middle = np.zeros(system.auxiliary_size)
    searched = with_coordinates(inputs, middle, middle)
    return Obligation(searched, proof_inputs, rows, tuple(positions), inputs)


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
