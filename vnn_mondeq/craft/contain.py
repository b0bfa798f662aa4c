"""The containment phase: iterate on sets until one lies in an earlier one (theorems 4.1, A.2)."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np

from vnn_mondeq.craft.inputs import InputSymbols
from vnn_mondeq.craft.iteration import (
    AbstractIteration,
    ForwardBackwardIteration,
    JointIteration,
    ReflectedIteration,
)
from vnn_mondeq.craft.operators import ForwardBackward, PeacemanRachford, SplittingMatrices
from vnn_mondeq.craft.settings import (
    Components,
    CraftSettings,
    Splitting,
    State,
    WideningRule,
)
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.sets.consolidation import (
    AbstractConsolidation,
    BoxConsolidation,
    PcaConsolidation,
    Widening,
)
from vnn_mondeq.sets.containment import ContainmentTest
from vnn_mondeq.sets.mixed_zonotope import MixedZonotope
from vnn_mondeq.system.implicit import ImplicitSystem

_CONTAINED = 1.0 - 1e-6
"""The engine asks for a little more than containment, so that the checker's own rounding, which
differs, does not decide."""

_ALPHA_GRID = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Step sizes tried, in units of one over the mean diagonal of `M`."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Contained:
    """`outer` maps, by `steps` steps of `iteration`, to a state inside it.

    - `preactivation`: the last step's pre-activation set, with all fixpoints' in it.
    """

    iteration: AbstractIteration
    outer: MixedZonotope
    preactivation: MixedZonotope
    steps: int
    total_steps: int


def consolidation_of(settings: CraftSettings, *, joint: bool) -> AbstractConsolidation:
    """The order reduction that the settings name; `joint` where the state is `[z, u]`, which alone
    has two parts to consolidate apart."""
    if settings.components is Components.ONLY_BOX:
        return BoxConsolidation()
    blocks = 2 if joint and not settings.joint_consolidation else 1
    return PcaConsolidation(blocks, settings.components is Components.BOTH)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One choice of what table 4 tunes by hand."""

    settings: CraftSettings
    alpha: float


def plan_attempts(system: ImplicitSystem, settings: CraftSettings) -> Iterator[Attempt]:
    """Step sizes and rhythms to try, the most promising first; one only where `alpha` is given.

    Found on the reference networks and on drawn ones. Peaceman-Rachford contracts boxes where the
    spectral radius of `|T|` is below one, and the zonotopes follow it, so the step with the least
    radius comes first. It puts the diagonal of `T` near zero, at about one over the mean diagonal
    of `M`.
    """
    if settings.contain_with is Splitting.FB:
        limit = 2.0 * system.proof.modulus / system.proof.norm**2
        parts = (0.9, 0.5) if settings.alpha is None else (settings.alpha / limit,)
        # It contracts slowly, so a consolidation must be paid by many steps.
        slow = replace(settings, consolidate_every=6 * settings.consolidate_every)
        for part in parts:
            if part < 1.0:
                yield Attempt(slow, part * limit)
        return
    if settings.alpha is not None:
        yield Attempt(settings, settings.alpha)
        return
    yield Attempt(settings, _contracting_alpha(system))
    # Where boxes do not contract, the exact steps still do, fastest near 1/sqrt(mL): let many
    # of them pass between two consolidations.
    fastest = 1.0 / math.sqrt(system.proof.modulus * system.proof.norm)
    rare = replace(settings, consolidate_every=4 * settings.consolidate_every)
    rarer = replace(settings, consolidate_every=8 * settings.consolidate_every)
    yield Attempt(rare, 0.5 * fastest)
    yield Attempt(rarer, 0.5 * fastest)
    yield Attempt(replace(rarer, widening=WideningRule.EXPONENTIAL), fastest)


def _contracting_alpha(system: ImplicitSystem) -> float:
    identity = np.eye(system.neurons)
    M = identity - system.W
    unit = 1.0 / float(np.diag(M).mean()) if system.neurons else 1.0
    best, least = unit, np.inf
    for part in _ALPHA_GRID:
        absolute = np.abs(2.0 * np.linalg.inv(identity + part * unit * M) - identity)
        vector = np.ones(system.neurons)
        growth = np.inf
        for _ in range(30):
            image = absolute @ vector
            growth = float(image.max(initial=0.0))
            if growth == 0.0:
                break
            vector = image / growth
        if growth < least:
            best, least = part * unit, growth
    return best


@final
@dataclass(frozen=True, slots=True, eq=False)
class Containment:
    """The containment phase of one attempt on one input set."""

    system: ImplicitSystem
    symbols: InputSymbols
    constants: MixedZonotope
    attempt: Attempt
    iteration: AbstractIteration = field(init=False, repr=False)

    def __post_init__(self) -> None:
        settings, alpha = self.attempt.settings, self.attempt.alpha
        if settings.contain_with is Splitting.FB:
            iteration: AbstractIteration = ForwardBackwardIteration(
                ForwardBackward(self.system, alpha, self.constants)
            )
        else:
            operator = PeacemanRachford(SplittingMatrices(self.system, alpha), self.constants)
            kinds = {State.REFLECTED: ReflectedIteration, State.JOINT: JointIteration}
            iteration = kinds[settings.state](operator)
        object.__setattr__(self, "iteration", iteration)

    def run(self, z: np.ndarray, deadline: Deadline) -> Contained | None:
        """Iterate from the fixpoint `z (p,)` of the centre; `None`: not contained.

        **Raises** `DeadlineExceeded`.
        """
        settings = self.attempt.settings
        consolidation = consolidation_of(settings, joint=self.iteration.kind == "joint")
        slack = z - self.system.W @ z - self.constants.center
        state = self.iteration.start(z, slack)
        stored: deque[tuple[int, ContainmentTest]] = deque(maxlen=settings.stored_states)
        basis, renewed, rounds = None, -settings.renew_basis_every, 0
        for step in range(settings.max_steps):
            deadline.check()
            if step % settings.consolidate_every == 0 and step > 0:
                if step - renewed >= settings.renew_basis_every:
                    basis, renewed = consolidation.basis(state), step
                scale = _widening_unit(state) if settings.relative_widening else 1.0
                state = consolidation.reduce(state, basis, widening_at(settings, rounds, scale))
                rounds += 1
                stored.append((step, ContainmentTest(state)))
            image = self.iteration.advance(state)
            lower, upper = image.bounds()
            if not float((upper - lower).max(initial=0.0)) < settings.max_width:
                return None
            if settings.components is Components.ONLY_BOX:
                state = self.iteration.activate_box(lower, upper)
            else:
                state = self.iteration.activate(image, lower, upper)
            for start, test in reversed(stored):
                # Containment needs the bounding boxes to be contained; that is cheap to see.
                if _may_contain(test.outer, state) and test.worst_coefficient(state) < _CONTAINED:
                    return Contained(self.iteration, test.outer, image, step + 1 - start, step + 1)
        return None


def _widening_unit(state: MixedZonotope) -> float:
    """The mean spread; never so small that rounding errors could not be contained."""
    return float(state.spread.mean() + 1e-6 * state.magnitude().mean()) if state.dimension else 0.0


def _may_contain(outer: MixedZonotope, inner: MixedZonotope) -> bool:
    gap = np.abs(inner.center - outer.center) + inner.spread
    return bool(np.all(gap <= outer.spread * (1.0 + 1e-9)))


def widening_at(settings: CraftSettings, rounds: int, scale: float = 1.0) -> Widening:
    """The widening of the consolidation number `rounds`, counted from 0 (table 4).

    `scale`: unit of the addition.
    """
    if settings.widening is WideningRule.NONE:
        return Widening()
    multiplier, addition = settings.widening_multiplier, scale * settings.widening_addition
    if settings.widening is WideningRule.EXPONENTIAL:
        # The part above 1 grows: a factor of 1.1 on the multiplier itself would explode.
        multiplier = 1.0 + (multiplier - 1.0) * 1.1 ** (rounds // 2)
        addition = addition * 1.2 ** (rounds // 2)
    return Widening(multiplier, addition)
