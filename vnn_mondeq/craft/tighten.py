"""Tightening after containment: further steps preserve the fixpoints (theorems 4.2, A.1).

Every pre-activation set `u` contains `z* - αs*` of all fixpoints, so its bounds bound `z*` and
`s*`: `z* <= max(u, 0)` and `s* <= max(-u, 0)/α`. With `intersect` the best ones cut every later
pre-activation, and the bounds never grow (not in the paper, where "the set may grow again").
"""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.craft.certificate import TighteningStep
from vnn_mondeq.craft.contain import Contained, consolidation_of
from vnn_mondeq.craft.iteration import AbstractIteration, ForwardBackwardIteration
from vnn_mondeq.craft.margins import MarginLedger
from vnn_mondeq.craft.operators import ForwardBackward
from vnn_mondeq.craft.settings import CraftSettings, Splitting
from vnn_mondeq.craft.slopes import FixpointRelaxation
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.rounding import SAFETY
from vnn_mondeq.sets.activation import relu_strip
from vnn_mondeq.sets.consolidation import NO_WIDENING
from vnn_mondeq.sets.mixed_zonotope import MixedZonotope
from vnn_mondeq.system.implicit import ImplicitSystem


@final
@dataclass(frozen=True, slots=True, eq=False)
class FixpointBounds:
    """Valid bounds on all fixpoints: `z <= upper`, `s <= slack`, both `(p,)`."""

    upper: np.ndarray
    slack: np.ndarray

    @classmethod
    def unknown(cls, neurons: int) -> "FixpointBounds":
        return cls(np.full(neurons, np.inf), np.full(neurons, np.inf))

    def tightened(self, lower: np.ndarray, upper: np.ndarray, alpha: float) -> "FixpointBounds":
        """With what bounds of a pre-activation `z - αs` say."""
        return FixpointBounds(
            np.minimum(self.upper, np.maximum(upper, 0.0)),
            np.minimum(self.slack, np.maximum(-lower, 0.0) / alpha * SAFETY),
        )

    def cut(
        self, lower: np.ndarray, upper: np.ndarray, alpha: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The bounds of a pre-activation, cut with `[-αS, Z]`."""
        return (
            np.maximum(lower, -alpha * self.slack * SAFETY),
            np.minimum(upper, self.upper),
        )


@final
@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What is known after a number of tightening steps.

    - `image`: pre-activation set with its cut bounds `lower`, `upper`.
    - `neurons`: set of `z`.
    """

    image: MixedZonotope
    lower: np.ndarray
    upper: np.ndarray
    bounds: FixpointBounds
    neurons: MixedZonotope

    @classmethod
    def of(
        cls, image: MixedZonotope, alpha: float, bounds: FixpointBounds, intersect: bool
    ) -> "View":
        lower, upper = image.bounds()
        bounds = bounds.tightened(lower, upper, alpha)
        if intersect:
            lower, upper = bounds.cut(lower, upper, alpha)
        return cls(image, lower, upper, bounds, relu_strip(lower, upper).apply(image))


@final
@dataclass(eq=False)
class Tightening:
    """The tightening phase of one input set. `steps` records what the certificate replays."""

    system: ImplicitSystem
    settings: CraftSettings
    ledger: MarginLedger
    constants: MixedZonotope
    contained: Contained
    deadline: Deadline
    steps: list[TighteningStep] = field(init=False, default_factory=list)
    view: View = field(init=False)
    _since_consolidation: int = field(init=False, default=0)
    _consolidations: int = field(init=False, default=0)
    _basis: np.ndarray | None = field(init=False, default=None)

    def run(self) -> None:
        """Tighten until every case is refuted, the gains stop, or the steps are spent.

        **Raises** `DeadlineExceeded`.
        """
        settings, iteration = self.settings, self.contained.iteration
        unknown = FixpointBounds.unknown(self.system.neurons)
        self.view = View.of(
            self.contained.preactivation, iteration.alpha, unknown, settings.intersect
        )
        self._measure()
        if settings.only_contained or self._settled():
            return
        state = None
        further = settings.further_pr_steps
        if settings.tighten_with is Splitting.PR:
            further += settings.tighten_steps
        if not isinstance(iteration, ForwardBackwardIteration):
            for _ in range(further):
                if state is None:
                    state = self._state_of(iteration)
                state = self._step(iteration, state)
                if self._settled():
                    return
        if settings.tighten_with is Splitting.FB:
            self._run_forward_backward()
        else:
            self._optimise()

    def _state_of(self, iteration: AbstractIteration) -> MixedZonotope:
        return iteration.activate(self.view.image, self.view.lower, self.view.upper)

    def _run_forward_backward(self) -> None:
        settings, ledger = self.settings, self.ledger
        iteration = self._choose_step_size()
        state = self.view.neurons
        self._since_consolidation = 0
        best, idle, checked = ledger.worst(), 0, ledger.worst()
        for count in range(1, settings.tighten_steps + 1):
            state = self._step(iteration, state)
            if count % settings.slope_every == 0:
                self._optimise()
            if self._settled():
                return
            idle = 0 if ledger.worst() > best + settings.least_gain else idle + 1
            best = max(best, ledger.worst())
            if idle >= settings.patience:
                break
            if count % settings.slope_every == 0:
                if best + settings.extrapolate * (best - checked) < 0.0:
                    return
                checked = best
        self._optimise()

    def _step(self, iteration: AbstractIteration, state: MixedZonotope) -> MixedZonotope:
        self.deadline.check()
        state, basis = self._consolidate(state)
        self.view = View.of(
            iteration.advance(state), iteration.alpha, self.view.bounds, self.settings.intersect
        )
        self.steps.append(TighteningStep(iteration.kind, iteration.alpha, basis))
        self.ledger.read(self.view.neurons, len(self.steps))
        return self._state_of(iteration)

    def _consolidate(self, state: MixedZonotope) -> tuple[MixedZonotope, np.ndarray | None]:
        """Every `r'` steps; the basis is renewed at every second consolidation (appendix B)."""
        self._since_consolidation += 1
        if self._since_consolidation <= self.settings.consolidate_tightening:
            return state, None
        self._since_consolidation = 1
        joint = state.dimension != self.system.neurons
        consolidation = consolidation_of(self.settings, joint=joint)
        basis = consolidation.basis(state)
        reduced = consolidation.reduce(state, basis, NO_WIDENING)
        return reduced, basis.directions if basis is not None else None

    def _choose_step_size(self) -> ForwardBackwardIteration:
        """Line search: the step size after whose few steps the worst margin is best."""
        settings = self.settings
        limit = 2.0 * self.system.proof.modulus / self.system.proof.norm**2
        single = settings.alpha_tighten is not None
        parts = (settings.alpha_tighten,) if single else settings.line_search
        candidates = [
            ForwardBackwardIteration(ForwardBackward(self.system, part * limit, self.constants))
            for part in parts
        ]
        if len(candidates) == 1:
            return candidates[0]
        scores = []
        for candidate in candidates:
            trial = MarginLedger(self.ledger.obligation, self.ledger.symbols)
            view = self.view
            state = view.neurons
            for _ in range(settings.line_search_steps):
                self.deadline.check()
                image = candidate.advance(state)
                view = View.of(image, candidate.alpha, view.bounds, settings.intersect)
                state = view.neurons
            trial.read(view.neurons, 0)
            scores.append(trial.worst())
        return candidates[int(np.argmax(scores))]

    def _measure(self) -> None:
        self.ledger.read(self.view.neurons, 0)
        if not self._settled() and self.settings.slope_every <= self.settings.tighten_steps:
            self._optimise()

    def _optimise(self) -> None:
        settings, ledger = self.settings, self.ledger
        if not self.system.neurons:
            return  # nothing is relaxed
        if not settings.slopes or self._settled() or ledger.worst() < settings.slope_margin:
            return
        bounds = self.view.bounds
        relaxation = FixpointRelaxation(self.system, ledger.symbols, bounds.upper, bounds.slack)
        ledger.optimise(
            relaxation,
            settings.slope_steps,
            settings.slope_margin_close,
            settings.slope_steps_close,
            self.deadline,
        )

    def _settled(self) -> bool:
        return self.ledger.worst() > 0.0
