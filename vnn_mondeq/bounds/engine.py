"""The engine of this room: one inductive box for each input set, then one bound for each row."""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.bounds.attempt import Attempt, KeptAttempts
from vnn_mondeq.bounds.certificate import (
    BoxRound,
    InductiveBoxCertificate,
    ObligationProof,
    Refutation,
)
from vnn_mondeq.bounds.inductive import InductiveSettings, find_inductive_box
from vnn_mondeq.bounds.prove_each import prove_each
from vnn_mondeq.bounds.relaxation import AbstractProjection, StripRelaxation, project
from vnn_mondeq.bounds.triangle import TriangleOptimum, TriangleProgram
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.result import AbstractEngine, NoAnswer, Outcome, Reason
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolver

_EMPTY = np.zeros(0)


@final
@dataclass(frozen=True, slots=True)
class InductiveBox(AbstractEngine):
    """Proves by inductive boxes and dual multipliers; milliseconds on the papers' networks.

    - `settings`: how the box grows.
    - `exact_within`: rows whose strip bound misses by less than this are tried again with the
      exact triangle LP (HiGHS), then cases of several rows with an LP over their combinations; 0
      switches that off. In output units.
    - `kept`: what was found before, for stages of one run that share this value; none: nothing is
      remembered.

    Incomplete: a query that holds may stay unproved, and nothing is ever refuted.
    """

    settings: InductiveSettings = field(default_factory=InductiveSettings)
    exact_within: float = 1.5
    kept: KeptAttempts | None = None

    @property
    def name(self) -> str:
        return "inductive"

    def run(self, problem: Problem, deadline: Deadline, observer: AbstractObserver) -> Outcome:
        observer.phase("inductive boxes")
        late = "while bounding the fixpoints"
        return prove_each(
            problem, self._prove_one, InductiveBoxCertificate, deadline, observer, late
        )

    def _prove_one(
        self, system: ImplicitSystem, obligation: Obligation, deadline: Deadline
    ) -> tuple[ObligationProof, float] | NoAnswer:
        attempt = self.prove(system, obligation, deadline)
        return attempt if isinstance(attempt, NoAnswer) else (attempt.proof, attempt.margin)

    def prove(
        self, system: ImplicitSystem, obligation: Obligation, deadline: Deadline
    ) -> Attempt | NoAnswer:
        """Box and refutations for one obligation; `Attempt.margin` may be negative.

        **Raises** `DeadlineExceeded`.
        """
        if self.kept is None:
            return self._prove(system, obligation, deadline)
        return self.kept.recall(obligation, lambda: self._prove(system, obligation, deadline))

    def _prove(
        self, system: ImplicitSystem, obligation: Obligation, deadline: Deadline
    ) -> Attempt | NoAnswer:
        inputs = obligation.proof_inputs
        lower, upper = inputs.bounds()
        if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
            return NoAnswer(Reason.UNBOUNDED_INPUT)
        # Inside the set: the middle of a ball's bounding box may be far outside, once clipped.
        anchor = inputs.project(0.5 * (lower + upper)[None])[0]
        projection = project(system, inputs)
        z = FixpointSolver(system).solve(anchor[None, :], deadline=deadline).value[0]
        z = np.maximum(z, 0.0)
        # Complementary in floating point as well: whichever is larger is the phase.
        slack = z - (system.W @ z + system.U @ anchor + system.b)
        start_z, start_s = np.where(z > slack, z, 0.0), np.where(slack >= z, slack, 0.0)
        rounds: tuple[BoxRound, ...] | None = ()
        if system.neurons:
            rounds = find_inductive_box(
                system, projection, start_z, np.maximum(start_s, 0.0), self.settings, deadline
            )
        if rounds is None:
            return NoAnswer(Reason.NOT_CONTAINED, "no inductive box was found")
        refutations, margins = self._refute(system, obligation, projection, rounds, deadline)
        return Attempt(ObligationProof(anchor, rounds, refutations), margins)

    def _refute(
        self,
        system: ImplicitSystem,
        obligation: Obligation,
        projection: AbstractProjection,
        rounds: tuple[BoxRound, ...],
        deadline: Deadline,
    ) -> tuple[tuple[Refutation, ...], np.ndarray]:
        """The best single row of each case, or a combination, and the margins of the cases."""
        rows = obligation.rows
        box_z, box_s = (rounds[-1].upper_z, rounds[-1].upper_s) if rounds else (_EMPTY, _EMPTY)
        relaxation = StripRelaxation.of(system, projection, box_z, box_s)
        on_z, on_x = -rows.coefficients.on_z, -rows.coefficients.on_x
        multipliers = relaxation.row_multipliers(on_z)
        allowed = rows.coefficients.offset - rows.error
        margins = allowed - relaxation.row_bounds(on_z, on_x, multipliers)
        program = TriangleProgram.over(system, obligation.proof_inputs, (box_z, box_s))
        for row in _nearly_refuting(obligation.cases, margins, self.exact_within):
            optimum = program.maximise(on_z[row], on_x[row], deadline)
            if not isinstance(optimum, TriangleOptimum):
                break
            exact = optimum.multipliers
            value = relaxation.row_bounds(on_z[row : row + 1], on_x[row : row + 1], exact[None, :])
            if allowed[row] - value[0] > margins[row]:
                margins[row], multipliers[row] = allowed[row] - value[0], exact
            if not margins[row] > 0.0 and _alone(obligation.cases, row):
                break
        best = [case[int(np.argmax(margins[list(case)]))] for case in obligation.cases if case]
        if len(best) < len(obligation.cases):
            # A case without rows holds everywhere: nothing refutes it.
            return (), np.full(len(obligation.cases), -np.inf)
        refutations = [
            Refutation(np.equal(case, row).astype(np.float64), multipliers[row])
            for case, row in zip(obligation.cases, best, strict=True)
        ]
        found = margins[best]
        for position, case in enumerate(obligation.cases):
            if len(case) > 1 and -self.exact_within < found[position] <= 0.0:
                combined = _combined(obligation, case, program, relaxation, deadline)
                if combined is not None and combined[1] > found[position]:
                    refutations[position], found[position] = combined
        return tuple(refutations), found


def _combined(
    obligation: Obligation,
    case: tuple[int, ...],
    program: TriangleProgram,
    relaxation: StripRelaxation,
    deadline: Deadline,
) -> tuple[Refutation, float] | None:
    """The combination of a case's rows with the largest margin in the triangle relaxation."""
    rows = np.array(case, dtype=int)
    chosen = obligation.rows.coefficients.take(rows)
    allowed = chosen.offset - obligation.rows.error[rows]
    game = program.maximise_least(-chosen.on_z, -chosen.on_x, -allowed, deadline)
    if game is None:
        return None
    on_z, on_x = -(game.weights @ chosen.on_z), -(game.weights @ chosen.on_x)
    value = relaxation.row_bounds(on_z[None], on_x[None], game.multipliers[None])
    return Refutation(game.weights, game.multipliers), float(game.weights @ allowed - value[0])


def _nearly_refuting(
    cases: tuple[tuple[int, ...], ...], margins: np.ndarray, within: float
) -> list[int]:
    """The best row of every case that is not refuted, if all of them miss by little.

    Worst first: where one case stays open the others need no work.
    """
    best = [case[int(np.argmax(margins[list(case)]))] for case in cases if case]
    missing = sorted({row for row in best if not margins[row] > 0.0}, key=lambda r: margins[r])
    return missing if missing and margins[missing[0]] > -within else []


def _alone(cases: tuple[tuple[int, ...], ...], row: int) -> bool:
    """Whether some case has no other row to be refuted by."""
    return any(case == (row,) for case in cases)
