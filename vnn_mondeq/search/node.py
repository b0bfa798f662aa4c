"""What is known at one node of a phase search: its box tightened, its bounds, its linear program.

Plain float64; `check.py` proves what is claimed here.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import BoxRound, Refutation
from vnn_mondeq.bounds.check import CheckedBox, ProofInputs
from vnn_mondeq.bounds.relaxation import AbstractProjection, StripRelaxation, dual_bounds, project
from vnn_mondeq.bounds.triangle import TriangleEmpty, TriangleOptimum, TriangleProgram
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation
from vnn_mondeq.sdp.ascent import AscentSettings
from vnn_mondeq.sdp.check import CaseJudge
from vnn_mondeq.sdp.engine import AIR, CaseBound, bound_case
from vnn_mondeq.sdp.phases import ScaledForm, scaled_form
from vnn_mondeq.search.warm_start import Place
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolver

THIN = 1e-7
"""A phase is decided by a hair-thin triangle, this part of the largest bound, and not by a bound of
zero: at zero the neuron would be eliminated, and with it the sign of what remains (`z_i >= 0` of an
active neuron, `s_i >= 0` of an inactive one), which a relaxation over the whole input set needs."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class PhaseBox:
    """Upper bounds `(p,)` on the fixpoints of a node, and the neurons whose phase was decided on
    the way there."""

    upper_z: np.ndarray
    upper_s: np.ndarray
    fixed: frozenset[int]

    def decided(self, neuron: int, *, is_active: bool) -> "PhaseBox":
        """The part in which a neuron is active, or inactive."""
        upper_z, upper_s = self.upper_z.copy(), self.upper_s.copy()
        thin = upper_s if is_active else upper_z
        thin[neuron] = THIN * float(np.max(thin))
        return PhaseBox(upper_z, upper_s, self.fixed | {neuron})

    def after(self, rounds: tuple[BoxRound, ...]) -> "PhaseBox":
        """With the bounds of the last round."""
        if not rounds:
            return self
        return PhaseBox(rounds[-1].upper_z, rounds[-1].upper_s, self.fixed)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Tightened:
    """Rounds that follow from a box; `vacant`: a neuron that shows the box to hold no fixpoint."""

    rounds: tuple[BoxRound, ...]
    vacant: int | None


@final
@dataclass(frozen=True, slots=True, eq=False)
class CaseNodes:
    """Bounds for the nodes of one case's tree.

    - `weights`: of the case's rows, for linear bounds and as the first of the semidefinite ones.
    """

    system: ImplicitSystem
    obligation: Obligation
    inputs: ProofInputs
    projection: AbstractProjection
    solver: FixpointSolver
    case: int
    weights: np.ndarray

    @classmethod
    def of(
        cls,
        system: ImplicitSystem,
        obligation: Obligation,
        anchor: np.ndarray,
        case: int,
        weights: np.ndarray,
    ) -> "CaseNodes":
        inputs = ProofInputs.around(obligation.proof_inputs, anchor)
        projection = project(system, obligation.proof_inputs)
        return cls(system, obligation, inputs, projection, FixpointSolver(system), case, weights)

    def tighten(self, box: PhaseBox, count: int) -> Tightened:
        """At most `count` rounds of strip bounds."""
        rounds: list[BoxRound] = []
        box_z, box_s = box.upper_z, box.upper_s
        air = 1e-9 * (1.0 + float(np.max(np.maximum(box_z, box_s))))
        for _ in range(count):
            try:
                relaxation = StripRelaxation.of(self.system, self.projection, box_z, box_s)
            except np.linalg.LinAlgError:
                break
            bounds = relaxation.neuron_bounds()
            if not (np.all(np.isfinite(bounds.for_z)) and np.all(np.isfinite(bounds.for_s))):
                break
            box_z = np.where(
                bounds.upper_z < -air, 0.0, np.minimum(box_z, np.maximum(bounds.upper_z + air, 0))
            )
            box_s = np.where(
                bounds.upper_s < -air, 0.0, np.minimum(box_s, np.maximum(bounds.upper_s + air, 0))
            )
            rounds.append(BoxRound(box_z, box_s, bounds.for_z, bounds.for_s))
            empty = np.flatnonzero((bounds.upper_z < -air) & (bounds.upper_s < -air))
            if empty.size:
                return Tightened(tuple(rounds), int(empty[0]))
        return Tightened(tuple(rounds), None)

    def strip(self, box: PhaseBox) -> tuple[Refutation, float]:
        """The strip relaxation's refutation and its margin."""
        relaxation = StripRelaxation.of(self.system, self.projection, box.upper_z, box.upper_s)
        multipliers = relaxation.row_multipliers(-self._combined().on_z)[0]
        return Refutation(self.weights, multipliers), self._margin(multipliers, box)

    def form(self, box: PhaseBox) -> ScaledForm:
        """The data of the semidefinite relaxation."""
        lower, upper = self.obligation.proof_inputs.bounds()
        return scaled_form(self.system, lower, upper, box.upper_z, box.upper_s)

    def semidefinite(
        self, form: ScaledForm, start: Place | None, settings: AscentSettings, deadline: Deadline
    ) -> CaseBound | None:
        """The semidefinite bound, its path entered at `start`."""
        entered = None if start is None else start.entered(form)
        return bound_case(
            self.obligation, form, self.case, self.weights, settings, deadline, entered
        )

    def is_confirmed(self, found: CaseBound, box: PhaseBox) -> bool:
        """Whether the check will confirm a leaf: hair-thin triangles make the plain float64 bound
        unreliable, and one refused leaf would spoil the whole tree."""
        checked = CheckedBox(self.inputs, box.upper_z, box.upper_s)
        judge = CaseJudge(self.system, self.obligation, checked)
        return isinstance(judge.margin(self.obligation.cases[self.case], found.refutation), float)

    def attained(self, form: ScaledForm, found: CaseBound) -> np.ndarray:
        """The input `(d,)` at which the relaxation attains its bound."""
        x = form.center.copy()
        x[form.varying] += form.half[form.varying] * np.clip(found.point.x, -1.0, 1.0)
        return x

    def is_violated(self, x: np.ndarray) -> bool:
        """Whether the float64 fixpoint of an input (moved into the set) violates all rows."""
        point = self.obligation.inputs.project(x[None, :])
        z = self.solver.solve(point).value[0]
        rows = self.obligation.rows.coefficients.take(self._rows())
        return bool(np.all(rows.on_z @ z + rows.on_x @ point[0] + rows.offset < 0.0))

    def program(
        self, box: PhaseBox, strip: Refutation, deadline: Deadline
    ) -> tuple[Refutation, float, np.ndarray | None] | None:
        """All phases are decided: the fixpoints of the node are a polytope, and a linear program
        settles it exactly. A refutation, its margin, and where the minimum is attained (nowhere in
        an empty polytope); `None` when time ran out."""
        combined = self._combined()
        exact = (_without_thin(box.upper_z), _without_thin(box.upper_s))
        program = TriangleProgram.over(self.system, self.obligation.proof_inputs, exact)
        optimum = program.maximise(-combined.on_z[0], -combined.on_x[0], deadline)
        match optimum:
            case TriangleOptimum(multipliers, x):
                return Refutation(self.weights, multipliers), self._margin(multipliers, box), x
            case TriangleEmpty(direction):
                return (*self._empty(strip, direction, box), None)
            case _:
                return None

    def _empty(
        self, strip: Refutation, direction: np.ndarray, box: PhaseBox
    ) -> tuple[Refutation, float]:
        """Any multiple of the multipliers of emptiness may be added to those of the row."""
        tried = (strip.multipliers + factor * direction for factor in 10.0 ** np.arange(0, 9))
        best, margin = max(((y, self._margin(y, box)) for y in tried), key=lambda pair: pair[1])
        return Refutation(strip.weights, best), margin

    def _margin(self, multipliers: np.ndarray, box: PhaseBox) -> float:
        """The margin that linear multipliers give under a box, less the air for the check."""
        combined = self._combined()
        upper = dual_bounds(
            self.system,
            self.projection,
            (box.upper_z, box.upper_s),
            -combined.on_z,
            -combined.on_x,
            multipliers[None, :],
        )
        error = float(self.weights @ self.obligation.rows.error[self._rows()])
        offset = float(combined.offset[0])
        return offset - error - float(upper[0]) - AIR * (1.0 + abs(offset))

    def _rows(self) -> np.ndarray:
        return np.array(self.obligation.cases[self.case], dtype=int)

    def _combined(self) -> Coefficients:
        chosen = self.obligation.rows.coefficients.take(self._rows())
        return chosen.combine(self.weights[None, :])


def _without_thin(upper: np.ndarray) -> np.ndarray:
    """The bounds with hair-thin ones set to zero."""
    return np.where(upper <= 2.0 * THIN * float(np.max(upper, initial=0.0)), 0.0, upper)
