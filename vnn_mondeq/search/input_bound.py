"""Bounds over one sub-box of the inputs: what proves it, or which input to cut.

Plain float64; `input_check.py` proves what is claimed here.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import Refutation
from vnn_mondeq.bounds.inductive import InductiveSettings, find_inductive_box
from vnn_mondeq.bounds.relaxation import (
    BoxProjection,
    StripRelaxation,
    dual_bounds,
    project,
)
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation
from vnn_mondeq.query.input_set import AbstractInputSet, Box, Intersection, LqBall
from vnn_mondeq.sdp.ascent import AscentSettings
from vnn_mondeq.sdp.certificate import ShorRefutation
from vnn_mondeq.sdp.engine import AIR, bound_case
from vnn_mondeq.sdp.phases import scaled_form
from vnn_mondeq.search.input_certificate import BoxClaim, Empty
from vnn_mondeq.search.input_check import is_apart
from vnn_mondeq.system.implicit import ImplicitSystem
from vnn_mondeq.system.solve import FixpointSolver

_EMPTY = np.zeros(0)

INDIRECT = 0.25
"""Weight of an input's unsigned effect on the neurons beside its effect on the bound itself: the
part of the bound that comes from undecided neurons has no sign yet."""


@final
@dataclass(frozen=True, slots=True)
class BoundSettings:
    """- `growth`: how boxes on the fixpoints are found.
    - `semidefinite_below`: sub-boxes with at most this many undecided neurons that miss their proof
      get semidefinite bounds before they are cut; 0 switches that off. On `fc100_hcas` that leaves
      a third to all of the sub-boxes, in about the same time.
    - `ascent`: how those are found.
    """

    growth: InductiveSettings = field(default_factory=lambda: InductiveSettings(rounds=60))
    semidefinite_below: int = 20
    ascent: AscentSettings = field(default_factory=AscentSettings)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Bounds on the fixpoints of a sub-box, valid for the sub-boxes in it, with what follows from
    them for all of those.

    - `box_z`, `box_s` `(p,)`; `multipliers (n, p)`: dual vectors of the obligation's rows.
    - `response (p, d)`: unsigned effect of the inputs on the neurons.
    """

    claim: BoxClaim
    box_z: np.ndarray
    box_s: np.ndarray
    multipliers: np.ndarray
    response: np.ndarray

    @property
    def undecided(self) -> int:
        """Number of neurons whose phase is open."""
        return int(np.count_nonzero((self.box_z > 0.0) & (self.box_s > 0.0)))

    def size(self) -> int:
        """Bytes that a certificate keeps of it."""
        return 8 * (2 * len(self.claim.bounds) * self.box_z.size + self.claim.anchor.size)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """What is known about a sub-box.

    - `held`: the best bounds on its fixpoints, its own or inherited; `None`: there are none.
    - `is_own`: whether `held` was found for this sub-box.
    - `refutations`, `margins`: of every case; a case is refuted where its margin is positive. None
      without bounds.
    - `scores (d,)`: how much each input's width costs the bound.
    - `worst (k, d)`: inputs at which the bounds of the open cases are attained.
    """

    held: Held | None
    is_own: bool
    refutations: tuple[Refutation | ShorRefutation, ...]
    margins: np.ndarray
    scores: np.ndarray
    worst: np.ndarray

    @property
    def is_closed(self) -> bool:
        """Whether all cases are refuted."""
        return self.held is not None and bool(np.all(self.margins > 0.0))

    @property
    def margin(self) -> float:
        """Of the worst case; minus infinity without bounds."""
        return -np.inf if self.held is None else float(np.min(self.margins, initial=np.inf))


@final
@dataclass(frozen=True, slots=True, eq=False)
class RegionBounds:
    """Bounds sub-boxes of one system."""

    system: ImplicitSystem
    settings: BoundSettings
    solver: FixpointSolver

    def attempt(self, part: Obligation, held: Held | None, deadline: Deadline) -> Tried:
        """Refute all cases on a part of the obligation's inputs, or say where to cut.

        - `held`: bounds that hold there already. They are tried first, and they are the last word
          where they decide all phases: the rows are affine in the inputs then.

        **Raises** `DeadlineExceeded`.
        """
        inherited = None
        if held is not None:
            inherited = self._rows(part, held, is_own=False)
            if inherited.is_closed or held.undecided == 0:
                return inherited
        own = self._own(part, deadline)
        if own is None:
            return inherited or self._unbounded(part)
        tried = self._rows(part, own, is_own=True)
        if not tried.is_closed and 0 < own.undecided <= self.settings.semidefinite_below:
            return self._semidefinite(part, tried, deadline)
        return tried

    def _own(self, part: Obligation, deadline: Deadline) -> Held | None:
        """Bounds found for this part. The box around the part is used, so that the anchor is in
        the set: a check takes the convex hull of both."""
        lower, upper = part.proof_inputs.bounds()
        projection = BoxProjection.of(self.system, Box.from_floats(lower, upper))
        anchor = 0.5 * lower + 0.5 * upper
        claim: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
        box_z = box_s = _EMPTY
        if self.system.neurons:
            start_z, start_s = self._at(anchor, deadline)
            rounds = find_inductive_box(
                self.system, projection, start_z, start_s, self.settings.growth, deadline
            )
            if rounds is None:
                return None
            claim = tuple((step.upper_z, step.upper_s) for step in rounds)
            box_z, box_s = claim[-1]
        try:
            relaxation = StripRelaxation.of(self.system, projection, box_z, box_s)
        except np.linalg.LinAlgError:
            return None
        return Held(
            BoxClaim(anchor, claim),
            box_z,
            box_s,
            relaxation.row_multipliers(-part.rows.coefficients.on_z),
            np.abs((relaxation.inverse * box_z) @ self.system.U),
        )

    def _at(self, anchor: np.ndarray, deadline: Deadline) -> tuple[np.ndarray, np.ndarray]:
        """Fixpoint and slack at a point, complementary in floating point as well."""
        z = self.solver.solve(anchor[None], deadline=deadline).value[0]
        slack = z - (self.system.W @ z + self.system.U @ anchor + self.system.b)
        start_s = np.where(slack >= z, np.maximum(slack, 0.0), 0.0)
        return np.where(z > slack, z, 0.0), start_s

    def _rows(self, part: Obligation, held: Held, *, is_own: bool) -> Tried:
        """The best single row of each case under bounds that hold."""
        rows, Y = part.rows, held.multipliers
        on_z, on_x = -rows.coefficients.on_z, -rows.coefficients.on_x
        projection = project(self.system, part.proof_inputs)
        upper = dual_bounds(self.system, projection, (held.box_z, held.box_s), on_z, on_x, Y)
        allowed = rows.coefficients.offset - rows.error
        margins = allowed - upper - AIR * (1.0 + np.abs(rows.coefficients.offset))
        best = [case[int(np.argmax(margins[list(case)]))] for case in part.cases]
        refutations = tuple(
            Refutation(np.equal(case, row).astype(np.float64), Y[row])
            for case, row in zip(part.cases, best, strict=True)
        )
        lower, top = part.proof_inputs.bounds()
        missing = [row for row in best if not margins[row] > 0.0]
        direction = on_x[missing] + Y[missing] @ self.system.U
        effect = np.abs(direction) + INDIRECT * (np.abs(on_z[missing]) @ held.response)
        scores = effect.sum(axis=0) * (top - lower)
        worst = np.where(direction > 0.0, top, lower)
        return Tried(held, is_own, refutations, margins[best], scores, worst)

    def _unbounded(self, part: Obligation) -> Tried:
        """No bounds at all: cut where the inputs move the neurons most."""
        lower, upper = part.proof_inputs.bounds()
        scores = np.linalg.norm(self.system.U, axis=0) * (upper - lower)
        return Tried(None, False, (), _EMPTY, scores, np.zeros((0, upper.size)))

    def _semidefinite(self, part: Obligation, tried: Tried, deadline: Deadline) -> Tried:
        """Semidefinite bounds for the cases that the box leaves open; all or nothing."""
        held = tried.held
        form = scaled_form(self.system, *part.proof_inputs.bounds(), held.box_z, held.box_s)
        refutations, margins = list(tried.refutations), tried.margins.copy()
        for case in map(int, np.argsort(tried.margins)):
            if margins[case] > 0.0:
                break
            deadline.check()
            weights = tried.refutations[case].weights
            found = bound_case(part, form, case, weights, self.settings.ascent, deadline)
            if found is None or not found.margin > 0.0:
                return tried
            refutations[case], margins[case] = found.refutation, found.margin
        return dataclasses.replace(tried, refutations=tuple(refutations), margins=margins)


def find_empty(inputs: AbstractInputSet) -> Empty | None:
    """Why the box of a part of an input set misses the set, if that is provable here."""
    if not isinstance(inputs, Intersection):
        return None
    lower, upper = inputs.parts[0].bounds()
    for position, part in enumerate(inputs.parts[1:], start=1):
        claim = Empty(position, _normal(part, lower, upper))
        if is_apart(inputs, claim):
            return claim
    return None


def _normal(part: AbstractInputSet, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """A direction that may separate a ball from a box: from its centre to the nearest point."""
    normal = np.zeros(lower.size)
    if isinstance(part, LqBall):
        near, _ = part.center_floats()
        at = part.coordinates
        offset = np.clip(near, lower[at], upper[at]) - near
        normal[at] = np.sign(offset) if part.q == 1 else offset
    return normal
