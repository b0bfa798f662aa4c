"""The semidefinite models of Chen, Lasserre, Magron and Pauwels (NeurIPS 2021), in cvxpy.

For small systems only: these statements are the oracle against which the structured solvers are
tested, and a place to read what the models are. Letters: `W, U, b` of the system, `M = I - W`,
`z` fixpoint, `s = Mz - Ux - b` slack, `p` neurons, `d` inputs; a *moment matrix* `P ⪰ 0` stands for
`φφᵀ`, `φ = (1, x, z, ...)`, with `P₀₀ = 1` (Shor's relaxation), so a product of two linear
functions `l·φ` and `r·φ` becomes `lᵀPr`.

**Not proofs.** A value here is what a floating-point solver returned, its status is what the
solver says of itself; nothing on the way to a verdict may use either. Differences from the
authors' code, which are deliberate: the output bias is kept (they drop it), the bounds of appendix
A.2 on `r` and `y` are replaced by provable ones, and the pairwise slope restriction, which their
code declares but never uses, is there.

Needs the extra `sdp` (cvxpy with Clarabel and SCS); MOSEK is preferred where cvxpy finds it.
"""

import warnings
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, final

import numpy as np
from scipy.linalg import null_space

from vnn_mondeq.errors import VnnMondeqError
from vnn_mondeq.query.input_set import AbstractInputSet, Box, HalfSpace, Intersection, LqBall
from vnn_mondeq.system.implicit import ImplicitSystem

if TYPE_CHECKING:
    import cvxpy


@final
@dataclass(frozen=True, slots=True, eq=False)
class ReferenceSolution:
    """What the solver returned: `value` (NaN without one), its `status` and its name.

    `arrays`: named solution arrays, such as the `Q` and `b` of an ellipsoid.
    """

    value: float
    status: str
    solver: str
    arrays: dict[str, np.ndarray]


@final
@dataclass(frozen=True, slots=True, eq=False)
class UpperBounds:
    """Proved `z <= upper_z`, `s <= upper_s`, each `(p,)`; they strengthen a relaxation."""

    upper_z: np.ndarray
    upper_s: np.ndarray


def robustness(
    system: ImplicitSystem,
    inputs: AbstractInputSet,
    on_z: np.ndarray,
    on_x: np.ndarray,
    offset: float,
    bounds: UpperBounds | None = None,
) -> ReferenceSolution:
    """The robustness model: an upper bound on `on_z·z + on_x·x + offset` over the input set.

    - without `bounds`: Shor's relaxation, equation (CertMON-i) and section 3.1;
    - with `bounds`: the strengthened one of algorithms.md, section 5: `z_i (Z_i - z_i) >= 0`,
      `s_i (S_i - s_i) >= 0`, `-z_i s_i >= 0` and the input products, which imply the linear
      constraints; `Z_i = 0` and `S_i = 0` are equations multiplied by everything, so `P` lives
      on the space where they hold (facial reduction; without it no `P` is definite, and solvers
      lose digits).
    """
    import cvxpy as cp

    forms = _Forms.of(system, extra=0)
    basis = np.eye(forms.size)
    if bounds is not None:
        closed = np.vstack([forms.z[bounds.upper_z == 0.0], forms.slack[bounds.upper_s == 0.0]])
        basis = null_space(closed) if closed.size else basis
    inner = cp.Variable((basis.shape[1], basis.shape[1]), PSD=True)
    P = basis @ inner @ basis.T
    rules = [P[0, 0] == 1, *_input_rules(P, forms, inputs), *_fixpoint_rules(P, forms, bounds)]
    objective = P[0] @ np.concatenate([[offset], on_x, on_z])
    return _solve(cp.Problem(cp.Maximize(objective), rules), {})


def lipschitz(
    system: ImplicitSystem, rows: np.ndarray, inputs: AbstractInputSet, norm: float
) -> ReferenceSolution:
    """The Lipschitz model LipMON-c (appendix A.2) of `x -> rows @ z`, norms 2 and infinity.

    `φ = (1, x, z, t, s, y, r, v, w)` with the letters of the paper: `t` direction, `s` a
    subgradient, `r - Wᵀy = rowsᵀ v`, `y = s ∘ r`, `w` the dual of `v`. The bounds on `r` and `y`
    are `‖y‖ <= ‖rows‖ ‖v‖ / m` and `‖r‖ <= (1 + ‖W‖/m) ‖rows‖ ‖v‖`.
    """
    import cvxpy as cp

    p, d, n = system.neurons, system.input_size, rows.shape[0]
    forms = _Forms.of(system, extra=d + 3 * p + 2 * n)
    names = _Slices.after(1 + d + p, {"t": d, "s": p, "y": p, "r": p, "v": n, "w": n})
    t, s, y, r, v, w = (forms.unit(names[name]) for name in ("t", "s", "y", "r", "v", "w"))
    P = cp.Variable((forms.size, forms.size), PSD=True)
    pre = forms.preactivation
    equation = r - system.W.T @ y - rows.T @ v
    rules = [P[0, 0] == 1, *_input_rules(P, forms, inputs), *_fixpoint_rules(P, forms, None)]
    rules += [_products(P, s, forms.one - s) >= 0, _products(P, s, pre) >= 0]
    rules += [_products(P, s - forms.one, pre) >= 0]
    rules += [P[0] @ equation.T == 0, P[0] @ y.T == _products(P, s, r)]
    rules += [_products(P, factor, equation) == 0 for factor in (s, forms.z, y, r)]
    rules += _norm_rules(P, t, norm) + _norm_rules(P, w, norm)
    rules += [cp.sum(_products(P, w, v)) <= 1]
    m, W_norm, C_norm = system.proof.modulus, np.linalg.norm(system.W, 2), np.linalg.norm(rows, 2)
    v_square = cp.trace(v @ P @ v.T)
    rules += [v_square <= 1]  # ‖v‖₂ <= ‖v‖₁ = dual norm for L∞
    rules += [cp.trace(y @ P @ y.T) <= (C_norm / m) ** 2 * v_square]
    rules += [cp.trace(r @ P @ r.T) <= ((1 + W_norm / m) * C_norm) ** 2 * v_square]
    objective = cp.sum(_products(P, t, system.U.T @ y))
    return _solve(cp.Problem(cp.Maximize(objective), rules), {})


def ellipsoid(
    system: ImplicitSystem,
    inputs: AbstractInputSet,
    *,
    bounds: UpperBounds | None = None,
    pairs: bool = True,
) -> ReferenceSolution:
    """The ellipsoid model of lemma 2: `{ξ : ‖Q ξ + b‖ <= 1}` contains all outputs.

    Maximises `log det Q`, which is the value; `arrays` has `Q (q, q)` and `b (q,)`.

    - `pairs`: with the slope restriction `(z_j - z_i)(v_j - v_i) >= (z_j - z_i)²` (M6).
    - `bounds`: further terms `z (Z - z)` and `s (S - s)`, not in the paper.
    """
    import cvxpy as cp

    forms = _Forms.of(system, extra=0)
    q, one = system.output_size, forms.one
    terms = _input_terms(forms, inputs)
    each = np.tile(one, (system.neurons, 1))
    terms += [_Term(forms.z, forms.slack, free=True)]
    terms += [_Term(forms.slack, each), _Term(forms.z, each)]
    if bounds is not None:
        for form, upper in ((forms.z, bounds.upper_z), (forms.slack, bounds.upper_s)):
            terms.append(_Term(form, upper[:, None] * one - form))
    if pairs and system.neurons > 1:
        first, second = np.array(list(combinations(range(system.neurons), 2))).T
        rise_z = forms.z[second] - forms.z[first]
        rise_v = forms.preactivation[second] - forms.preactivation[first]
        terms.append(_Term(rise_z, rise_v - rise_z))
    Q, b = cp.Variable((q, q), PSD=True), cp.Variable(q)
    map_ = system.output.coefficients
    outputs = np.hstack([map_.offset[:, None], map_.on_x, map_.on_z])
    image = Q @ outputs + cp.reshape(b, (q, 1), order="C") @ one
    rest = one.T @ one
    for term in terms:
        if len(term.left) == 0:
            continue
        count = len(term.left)
        if term.summed:
            multiplier = cp.Variable(nonneg=True) * np.ones(count)
        else:
            multiplier = cp.Variable(count, nonneg=not term.free)
        gram = term.left.T @ cp.diag(multiplier) @ term.right
        rest = rest - 0.5 * (gram + gram.T)
    # 1 - ‖image φ‖² - Σ terms >= 0 for all φ, by a Schur complement.
    whole = cp.bmat([[rest, image.T], [image, np.eye(q)]])
    problem = cp.Problem(cp.Maximize(cp.log_det(Q)), [0.5 * (whole + whole.T) >> 0])
    return _solve(problem, {"Q": Q, "b": b})


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Forms:
    """Linear functions of `φ` as rows: `one` (a single row), `x`, `z`, `preactivation`, `slack`."""

    size: int
    one: np.ndarray
    x: np.ndarray
    z: np.ndarray
    preactivation: np.ndarray
    slack: np.ndarray

    @classmethod
    def of(cls, system: ImplicitSystem, extra: int) -> "_Forms":
        p, d = system.neurons, system.input_size
        size = 1 + d + p + extra
        eye = np.eye(size)
        one, x, z = eye[:1], eye[1 : 1 + d], eye[1 + d : 1 + d + p]
        v = system.W @ z + system.U @ x + system.b[:, None] * eye[:1]
        return cls(size, one, x, z, v, z - v)

    def unit(self, where: slice) -> np.ndarray:
        return np.eye(self.size)[where]


@final
@dataclass(frozen=True, slots=True)
class _Slices:
    """Consecutive named parts of `φ`."""

    starts: dict[str, slice]

    @classmethod
    def after(cls, start: int, sizes: dict[str, int]) -> "_Slices":
        starts = {}
        for name, size in sizes.items():
            starts[name] = slice(start, start + size)
            start += size
        return cls(starts)

    def __getitem__(self, name: str) -> slice:
        return self.starts[name]


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Term:
    """Functions `left_i · right_i >= 0` (`= 0` when `free`), rows over `φ`; when `summed`, one
    function, the sum of all rows."""

    left: np.ndarray
    right: np.ndarray
    free: bool = False
    summed: bool = False


def _products(P: "cvxpy.Variable", left: np.ndarray, right: np.ndarray) -> "cvxpy.Expression":
    """`left_i P right_iᵀ` for every row."""
    import cvxpy as cp

    return cp.sum(cp.multiply(left @ P, right), axis=1)


def _fixpoint_rules(P: "cvxpy.Variable", forms: _Forms, bounds: UpperBounds | None) -> list:
    z, s = forms.z, forms.slack
    if len(z) == 0:
        return []
    if bounds is None:
        return [P[0] @ z.T >= 0, P[0] @ s.T >= 0, _products(P, z, s) == 0]
    rules = []
    for form, upper in ((z, bounds.upper_z), (s, bounds.upper_s)):
        open_ = upper > 0.0
        if open_.any():
            room = upper[open_, None] * forms.one - form[open_]
            rules.append(_products(P, form[open_], room) >= 0)
    return [*rules, _products(P, z, s) <= 0]


def _input_terms(forms: _Forms, inputs: AbstractInputSet) -> list[_Term]:
    """Boxes as `(x - lower)(upper - x) >= 0`, an L2 ball as one function, half-spaces linearly.

    **Raises** `ValueError` for sets of other kinds, and for boxes that are not bounded.
    """
    one, terms = forms.one, []
    for part in inputs.parts if isinstance(inputs, Intersection) else (inputs,):
        match part:
            case Box():
                lower, upper = part.bounds()
                if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
                    raise ValueError("the reference models need bounded boxes")
                left = forms.x - lower[:, None] * one
                terms.append(_Term(left, upper[:, None] * one - forms.x))
            case LqBall(q=2):
                center, _ = part.center_floats()
                away = forms.x[part.coordinates] - center[:, None] * one
                edge = part.radius * one
                terms.append(_Term(np.vstack([edge, -away]), np.vstack([edge, away]), summed=True))
            case HalfSpace():
                normal = np.zeros(part.size)
                for position, coefficient in part.coefficients.items():
                    normal[position] = float(coefficient)
                terms.append(_Term(-(normal @ forms.x)[None, :] - float(part.offset) * one, one))
            case _:
                raise ValueError(f"the reference models have no {type(part).__name__} of this kind")
    return terms


def _input_rules(P: "cvxpy.Variable", forms: _Forms, inputs: AbstractInputSet) -> list:
    import cvxpy as cp

    rules = []
    for term in _input_terms(forms, inputs):
        values = _products(P, term.left, term.right)
        rules.append(cp.sum(values) >= 0 if term.summed else values >= 0)
    return rules


def _norm_rules(P: "cvxpy.Variable", form: np.ndarray, norm: float) -> list:
    """`‖form‖ <= 1`, squared."""
    import cvxpy as cp

    squares = _products(P, form, form)
    return [squares <= 1] if norm == np.inf else [cp.sum(squares) <= 1]


PREFERRED = ("MOSEK", "CLARABEL", "SCS")
"""Solvers that know semidefinite and exponential cones, the most accurate first."""


def _solve(problem: "cvxpy.Problem", variables: "dict[str, cvxpy.Variable]") -> ReferenceSolution:
    """**Raises** `VnnMondeqError` when cvxpy finds none of `PREFERRED`."""
    import cvxpy as cp

    installed = cp.installed_solvers()
    solver = next((name for name in PREFERRED if name in installed), None)
    if solver is None:
        raise VnnMondeqError(f"cvxpy finds none of {', '.join(PREFERRED)}; install the extra 'sdp'")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of inaccuracy: the status tells
            problem.solve(solver=solver)
    except cp.error.SolverError as error:
        return ReferenceSolution(np.nan, f"failed: {error}", solver, {})
    value = np.nan if problem.value is None else float(problem.value)
    arrays = {name: v.value for name, v in variables.items() if v.value is not None}
    return ReferenceSolution(value, problem.status, solver, arrays)
