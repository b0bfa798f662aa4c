"""The gate: nothing is `sat` or `unsat` before it has passed here.

This is the only module that builds a `Witness` or a `CheckedCertificate`.

**A witness** is accepted when

1. the candidate, rounded to the model's element type, lies in the query's own input set, exactly
   (rationals). One liberty, for float queries only: a coordinate that the query fixes to a single
   number may take the element-type number nearest to it, since no other exists;
2. onnxruntime, on the original file, gives outputs for which every constraint of some case holds,
   evaluated in exact rationals on the numbers that the runtime returned; equality counts where
   the constraint is not strict;
3. this package's own float64 fixpoint at the same input agrees. Constraints that hold strictly in
   the runtime must do so here: a violation that only one of the two sees is smaller than rounding
   errors. Where the runtime returns equality, the own value may differ from it by the row's error,
   so no case that has such a witness can ever be refuted (that takes more than the error).
   For queries about exact (`real`) arithmetic the constraints must hold by more than every error
   that this package may make, or for the exact fixpoint in rationals (`system.exact`).

A case without constraints is violated by every input of its set; only step 1 and a successful
run apply. What a case says beside its rows (`Case.checked`: the bound of a norm network, polynomial
constraints) must hold for the runtime's numbers too, and polynomials for the own fixpoint.

**A certificate** is accepted when the function registered for its type, which shares no code with
the engine that made it, proves a positive margin for every case of every obligation, and the
obligations cover the query: every case left out has a certainly empty input set.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np

from vnn_mondeq.candidate import (
    Violation,
    as_floats_read,
    polynomials_agree,
    round_into,
    violation_of,
)
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.errors import ModelError
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.query.input_set import AbstractInputSet
from vnn_mondeq.query.query import Case, PolynomialConstraint, Variable
from vnn_mondeq.result import AbstractCertificate, CheckedCertificate, Reason, Witness
from vnn_mondeq.rounding import SAFETY
from vnn_mondeq.statement import certainly_empty, runtime_unit
from vnn_mondeq.system.exact import exact_outputs
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.row_error import bound_row_error
from vnn_mondeq.system.solve import FixpointSolver

_DTYPES = {"float32": np.float32, "float64": np.float64}


class Runtime(Protocol):
    """Something that runs the original file; `vnn_mondeq.onnx_io.replay.Replay` does."""

    runtime: str
    inputs: Mapping[str, tuple[int, ...]]

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name for inputs by name. **Raises** `ModelError` when it fails."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What a runtime of this name returned, flattened."""

    runtime: str
    outputs: np.ndarray


@final
@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a candidate is no evidence."""

    reason: Reason
    detail: str


@final
@dataclass(frozen=True, slots=True)
class NothingToRefute(AbstractCertificate):
    """The certificate of a query whose cases all have certainly empty input sets (or that has no
    cases: its constraints contradict each other)."""

    def summary(self) -> str:
        return "no input satisfies the query's own constraints on inputs"


Checker = Callable[[Problem, AbstractCertificate, Deadline], object]
"""Returns the smallest proved margin over all cases (a positive float), or anything else, with a
`reason` that says why there is none."""


@final
@dataclass(frozen=True, slots=True)
class _NotProved:
    reason: str


def _check_nothing_to_refute(
    problem: Problem, certificate: AbstractCertificate, deadline: Deadline
) -> float | _NotProved:
    return _NotProved("there are obligations to refute") if problem.obligations else math.inf


def checkers() -> dict[type[AbstractCertificate], Checker]:
    """Certificate type → its checker. A new engine with proofs adds one line."""
    from vnn_mondeq.bounds import certificate as inductive
    from vnn_mondeq.bounds.check import check_inductive_box
    from vnn_mondeq.craft.certificate import CraftCertificate
    from vnn_mondeq.craft.check import check_craft
    from vnn_mondeq.sdp.certificate import ShorCertificate
    from vnn_mondeq.sdp.check import check_shor
    from vnn_mondeq.sdp.ellipsoid_certificate import EllipsoidCertificate
    from vnn_mondeq.sdp.ellipsoid_rows import check_ellipsoid_certificate
    from vnn_mondeq.sdp.lipschitz_certificate import LipschitzCertificate
    from vnn_mondeq.sdp.lipschitz_margin import check_lipschitz
    from vnn_mondeq.search.certificate import TreeCertificate
    from vnn_mondeq.search.check import check_tree
    from vnn_mondeq.search.input_certificate import InputSplitCertificate
    from vnn_mondeq.search.input_check import check_input_split

    return {
        NothingToRefute: _check_nothing_to_refute,
        inductive.InductiveBoxCertificate: check_inductive_box,
        CraftCertificate: check_craft,
        ShorCertificate: check_shor,
        LipschitzCertificate: check_lipschitz,
        TreeCertificate: check_tree,
        InputSplitCertificate: check_input_split,
        EllipsoidCertificate: check_ellipsoid_certificate,
    }


@final
@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """Turns candidates about one problem into evidence, or says why not.

    - `element_type`: of the model, in ONNX lower case.
    - `open_runtime`: loads the original file into a runtime; called for witnesses only.
    - `problem_on`: the same problem with a system compiled for the inputs in a box `[lower (d,),
      upper (d,)]` only, where it has auxiliary inputs; on one point they are as good as known.
    """

    problem: Problem
    element_type: str
    open_runtime: Callable[[], Runtime]
    problem_on: Callable[[np.ndarray, np.ndarray], Problem] | None = None

    def confirm_witness(self, x: np.ndarray) -> Witness | Rejection:
        """Check a candidate input `x (d,)`, any float64 numbers. Auxiliary inputs behind those of
        the file are ignored: what they stand for is evaluated."""
        x = x[: self.problem.system.file_input_size]
        dtype = _DTYPES[self.element_type]
        outside, runs = True, {}
        rejection = Rejection(Reason.WITNESS_REJECTED, "the runtime returned no finite numbers")
        for obligation in self.problem.obligations:
            readable = self._as_read(obligation.asked)
            point = round_into(readable, x, dtype)
            if not readable.contains(point.astype(np.float64)):
                continue
            outside = False
            # Sets that share a point are many where cases were cut into pieces.
            key = point.tobytes()
            if key not in runs:
                runs[key] = self._run(point)
            found = self._judged(obligation, point, runs[key])
            if isinstance(found, Witness):
                return found
            rejection = found
        if outside:
            return Rejection(
                Reason.WITNESS_REJECTED,
                f"rounded to {self.element_type}, the candidate lies outside the input set",
            )
        return rejection

    def is_inside(self, point: np.ndarray) -> bool:
        """Whether a point `(d,)` of the model's element type lies in the query's input set, by
        rule 1 of the module's docstring; `confirm_witness` moves candidates into it first."""
        wide = point.astype(np.float64)
        return any(self._as_read(o.asked).contains(wide) for o in self.problem.obligations)

    def confirm_certificate(
        self, certificate: AbstractCertificate, deadline: Deadline
    ) -> CheckedCertificate | Rejection:
        """Have a certificate checked by code that did not make it.

        **Raises** `DeadlineExceeded` when the deadline passes first.
        """
        uncovered = self._uncovered_case()
        if uncovered is not None:
            return Rejection(Reason.CERTIFICATE_REJECTED, uncovered)
        checker = checkers().get(type(certificate))
        if checker is None:
            name = type(certificate).__name__
            return Rejection(Reason.CERTIFICATE_REJECTED, f"no checker is registered for {name}")
        margin = checker(self.problem, certificate, deadline)
        if not isinstance(margin, float):
            reason = str(getattr(margin, "reason", margin))
            return Rejection(Reason.CERTIFICATE_REJECTED, reason)
        if not margin > 0.0:
            return Rejection(Reason.CERTIFICATE_REJECTED, f"the proved margin is {margin:g}")
        return CheckedCertificate(certificate, margin, checker.__module__)

    def _uncovered_case(self) -> str | None:
        covered = {id(obligation.asked): obligation for obligation in self.problem.obligations}
        counts = dict.fromkeys(covered, 0)
        for number, case in enumerate(self.problem.query.cases):
            if id(case.inputs) in covered:
                counts[id(case.inputs)] += 1
            elif not certainly_empty(case.inputs):
                return f"case {number} of the query is in no obligation"
        for key, obligation in covered.items():
            if counts[key] != len(obligation.cases):
                return "an obligation and the query disagree in the number of cases"
        return None

    def _as_read(self, inputs: AbstractInputSet) -> AbstractInputSet:
        """The set as a float query's reader sees it (rule 1 of the module's docstring)."""
        if runtime_unit(self.problem.query, self.element_type) is None:
            return inputs
        return as_floats_read(inputs)

    def _run(self, point: np.ndarray) -> "_Run | Rejection":
        inputs = _split(point, self.problem.system.inputs)
        runtime = self.open_runtime()
        try:
            outputs = runtime.run(inputs)
        except ModelError as error:
            return Rejection(Reason.WITNESS_REJECTED, str(error))
        flat = _flattened([np.asarray(outputs[name]) for name in self.problem.system.outputs])
        if flat is None:
            return Rejection(
                Reason.WITNESS_REJECTED, "the runtime returned no finite numbers that float64 has"
            )
        return _Run(runtime.runtime, flat)

    def _judged(
        self, obligation: Obligation, point: np.ndarray, run: "_Run | Rejection"
    ) -> Witness | Rejection:
        if isinstance(run, Rejection):
            return run
        best = -math.inf
        for number, case in enumerate(self._cases(obligation)):
            violation = violation_of(case, point, run.outputs)
            best = max(best, violation.margin)
            agrees = violation.holds and self._own_fixpoint_agrees(
                obligation, number, case, point, violation
            )
            if agrees:
                inputs, others = [], []
                for variable in self.problem.query.variables:
                    (inputs if variable.kind == "input" else others).append(variable)
                return Witness(
                    inputs=_by_variable(inputs, point, self.element_type),
                    outputs=_by_variable(others, run.outputs, self.element_type),
                    margin=violation.margin,
                    replayed_by=run.runtime,
                )
        if best > 0.0:
            return Rejection(
                Reason.WITNESS_REJECTED,
                f"{run.runtime} sees a violation of {best:.3g} that the exact fixpoint "
                "does not confirm",
            )
        return Rejection(
            Reason.WITNESS_REJECTED, f"{run.runtime} sees no violation (margin {best:.3g})"
        )

    def _cases(self, obligation: Obligation) -> list[Case]:
        return [case for case in self.problem.query.cases if case.inputs is obligation.asked]

    def _own_fixpoint_agrees(
        self,
        obligation: Obligation,
        number: int,
        case: Case,
        point: np.ndarray,
        violation: Violation,
    ) -> bool:
        x = point.astype(np.float64)
        problem = self.problem
        if problem.system.auxiliary_size and self.problem_on is not None:
            index = problem.obligations.index(obligation)
            problem = self.problem_on(x, x)
            obligation = problem.obligations[index]
        x = np.concatenate([x, np.zeros(problem.system.auxiliary_size)])
        solution = FixpointSolver(problem.system).solve(x[None])
        z = solution.value[0]
        # Rows beyond the constraints' own are derived from `checked`, which is looked at below.
        chosen = np.asarray(obligation.cases[number][: len(case.constraints)], dtype=np.intp)
        c = obligation.rows.coefficients.take(chosen)
        error = obligation.rows.error[chosen]
        value = c.on_z @ z + c.on_x @ x + c.offset
        off = bound_row_error(problem.system, c, x, solution)
        if runtime_unit(problem.query, self.element_type) is not None:
            # What is known by bounds only may differ from the middle by as much.
            slack = off if problem.system.auxiliary_size else 0.0
            own = problem.system.output(z[None], x[None])[0]
            agree = np.where(violation.ties, value <= error + slack, value - slack < 0.0)
            return bool(np.all(agree)) and polynomials_agree(case, x, own, violation)
        # A statement about exact arithmetic: no error may decide it.
        certain = bool(np.all(value + off + error * SAFETY < 0.0)) and not any(
            row.y for row in case.checked if isinstance(row, PolynomialConstraint)
        )
        return certain or _holds_exactly(problem.system, case, x)


def _holds_exactly(system: ImplicitSystem, case: Case, x: np.ndarray) -> bool:
    outputs = None if system.auxiliary_size else exact_outputs(system, x)
    return outputs is not None and violation_of(case, x, outputs).holds


def _split(flat: np.ndarray, tensors: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """A flattened point as the model's tensors, in the file's order."""
    found, start = {}, 0
    for name, shape in tensors.items():
        size = math.prod(shape)
        found[name] = flat[start : start + size].reshape(shape)
        start += size
    return found


def _flattened(values: Sequence[np.ndarray]) -> np.ndarray | None:
    """All numbers as float64, or `None` where one is not finite or no float64 number."""
    for value in values:
        if value.dtype.kind in "iu" and np.any(np.abs(value.astype(object)) > 2**53):
            return None
    flat = np.concatenate([value.reshape(-1) for value in values]).astype(np.float64)
    return flat if np.all(np.isfinite(flat)) else None


def _by_variable(
    variables: Sequence[Variable], flat: np.ndarray, element_type: str
) -> dict[str, np.ndarray]:
    """The variables' arrays in their element types; those declared `real` in the models'."""
    found = {}
    for variable in variables:
        kind = variable.element_type.lower()
        array = flat[np.array(variable.places, dtype=np.intp)].reshape(variable.shape)
        found[variable.name] = array.astype(element_type if kind == "real" else kind)
    return found
