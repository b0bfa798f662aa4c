"""Independent check of a `CraftCertificate`: replay, containment, margins.

The arithmetic is that of `vnn_mondeq.craft.replay`, which shares no code with the engine.

**Containment.** Let `Φ_x` be one exact step of the splitting for input `x`; from every start its
iterates converge to the one state that belongs to the fixpoint of `x`. If `s` steps map a compact,
non-empty set `S` into itself, for every `x` of the input set, the iterates that start in `S`
return to `S` at every `s`-th step, so the limit lies in `S`, and in the image of `S` under `s`
steps too (theorems 4.1, A.2). Peaceman-Rachford converges for every `α > 0` as `M` is strongly
monotone; forward-backward for `α < 2m/L²`, which is checked with the proved `m`, `L`.

**Tightening.** A step maps the fixpoint's state to itself (theorems 4.2, A.1), so the image of a
set that contains the states of all fixpoints contains them. Every pre-activation is `z - αs`.

**Margins.** A row is bounded on the last set, or from the bounds on `z` and `s` and any
multipliers `y` (`vnn_mondeq.craft.slopes` has the formula).
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.craft.certificate import (
    Containment,
    CraftCertificate,
    ObligationTrace,
    RowClaim,
)
from vnn_mondeq.craft.replay import (
    ReplayInputs,
    ReplaySet,
    ReplayStep,
    add,
    combine,
    constant_terms,
    forward_step,
    lies_within,
    magnitude,
    reduce,
    reflection_step,
    relu,
    transform,
)
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.rounding import SAFETY, UNDERFLOW, are_float64, gamma
from vnn_mondeq.system.implicit import ImplicitSystem

_KINDS = ("reflected", "joint", "forward-backward")


@final
@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a certificate was not confirmed."""

    reason: str


def check_craft(
    problem: Problem, certificate: CraftCertificate, deadline: Deadline
) -> float | Rejection:
    """The smallest proved margin over all cases of the problem (positive), or why there is none.

    For each case one of its rows exceeds its `rows.error` by at least the margin on the whole
    proof set, in exact real arithmetic. Nothing in the certificate is trusted.

    **Raises** `DeadlineExceeded`.
    """
    if len(certificate.traces) != len(problem.obligations):
        return Rejection(
            f"{len(certificate.traces)} traces for {len(problem.obligations)} obligations"
        )
    smallest = np.inf
    for number, (obligation, trace) in enumerate(
        zip(problem.obligations, certificate.traces, strict=True)
    ):
        if not obligation.cases:
            continue
        fault = _fault(problem.system, obligation, trace)
        with np.errstate(all="ignore"):  # what is not finite is refused where it matters
            margin = fault or _Replay(problem.system, obligation, trace, deadline).margin()
        if isinstance(margin, Rejection):
            return Rejection(f"input set {number}: {margin.reason}")
        smallest = min(smallest, margin)
    return float(smallest)


def _fault(
    system: ImplicitSystem, obligation: Obligation, trace: ObligationTrace
) -> Rejection | None:
    """What is wrong with the form of a trace."""
    start = trace.containment
    if start is None:
        return Rejection("there is no contained state")
    p, d = system.neurons, system.input_size
    n = 2 * p if start.kind == "joint" else p
    if start.kind not in _KINDS or not 0.0 < start.alpha < np.inf or start.steps < 1:
        return Rejection("the containment has an unknown kind, step size or number of steps")
    if start.center.shape != (n,) or start.radius.shape != (n,):
        return Rejection(f"the contained state has {start.center.shape[0]} dimensions, not {n}")
    if start.generators.shape not in ((n, n), (n, 0)):
        return Rejection(f"the contained state has generators {start.generators.shape}")
    arrays: list[object] = [start.center, start.generators, start.radius]
    if trace.row_space is not None:
        if trace.row_space.ndim != 2 or trace.row_space.shape[0] != d:
            return Rejection("the row space does not fit the inputs")
        arrays.append(trace.row_space)
    for step in trace.tightening:
        size = 2 * p if step.kind == "joint" else p
        if step.kind not in _KINDS or not 0.0 < step.alpha < np.inf:
            return Rejection("a tightening step has an unknown kind or step size")
        if step.basis is not None:
            if step.basis.shape != (size, size):
                return Rejection("a consolidation basis has the wrong shape")
            arrays.append(step.basis)
    for claim in trace.claims:
        if not 0 <= claim.case < len(obligation.cases):
            return Rejection("a claim names a case that is not there")
        if claim.row not in obligation.cases[claim.case]:
            return Rejection("a claim names a row that its case does not have")
        if not 0 <= claim.step <= len(trace.tightening):
            return Rejection("a claim names a step that is not there")
        if claim.multipliers is not None:
            if claim.multipliers.shape != (p,):
                return Rejection("multipliers have the wrong shape")
            arrays.append(claim.multipliers)
    if {claim.case for claim in trace.claims} != set(range(len(obligation.cases))):
        return Rejection("not every case has a claim")
    if not are_float64(*arrays):
        return Rejection("an array is not float64")
    if not all(np.all(np.isfinite(array)) for array in arrays) or np.any(start.radius < 0.0):
        return Rejection("a number is not finite, or a radius is negative")
    lower, upper = obligation.proof_inputs.bounds()
    if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
        return Rejection("the input set is not bounded")
    return None


@final
@dataclass(eq=False)
class _Replay:
    """One trace, replayed. `upper`, `slack`: valid bounds on `z` and `s` so far."""

    system: ImplicitSystem
    obligation: Obligation
    trace: ObligationTrace
    deadline: Deadline

    def margin(self) -> float | Rejection:
        """The smallest margin of the trace's claims."""
        trace = self.trace
        self.inputs = ReplayInputs.enclose(self.obligation.proof_inputs, trace.row_space)
        self.constants = constant_terms(self.system, self.inputs)
        self.steps: dict[tuple[str, float], ReplayStep] = {}
        self.upper = np.full(self.system.neurons, np.inf)
        self.slack = np.full(self.system.neurons, np.inf)
        image = self._contained(trace.containment)
        if isinstance(image, Rejection):
            return image
        alpha = trace.containment.alpha
        low, high = self._learn(image, alpha)
        margins = self._read(image, low, high, 0)
        for number, step in enumerate(trace.tightening, start=1):
            self.deadline.check()
            if step.kind != "forward-backward" and step.alpha != alpha:
                return Rejection(f"step {number} changes the step size of Peaceman-Rachford")
            state = self._state(step.kind, image, low, high)
            if step.basis is not None:
                state = reduce(state, step.basis)
                if state is None:
                    return Rejection(f"the basis of step {number} is singular")
            image, alpha = self._advance(step.kind, step.alpha, state), step.alpha
            low, high = self._learn(image, alpha)
            margins += self._read(image, low, high, number)
        margins += [self._dual(c) for c in trace.claims if c.multipliers is not None]
        if len(margins) != len(trace.claims):
            return Rejection("a claim was not read")
        smallest = float(np.min(margins))
        if not 0.0 < smallest < np.inf:
            return Rejection(f"a case is not refuted: its margin is {smallest:.3g}")
        return smallest

    def _contained(self, start: Containment) -> ReplaySet | Rejection:
        """The pre-activations after the contained steps; they include all fixpoints'."""
        proof = self.system.proof
        if start.kind == "forward-backward" and not (
            start.alpha * proof.norm * proof.norm * SAFETY < 2.0 * proof.modulus
        ):
            return Rejection("the step size of forward-backward does not ensure convergence")
        empty = np.zeros((start.center.shape[0], self.constants.inputs.shape[1]))
        outer = ReplaySet(start.center, empty, start.generators, start.radius)
        state = outer
        for _ in range(start.steps):
            self.deadline.check()
            image = self._advance(start.kind, start.alpha, state)
            state = self._state(start.kind, image, *image.interval())
            if start.generators.shape[1] == 0:
                state = _hull(state, start.kind, *image.interval())
        if not lies_within(state, outer):
            return Rejection("the state is not contained in itself after its steps")
        return image

    def _advance(self, kind: str, alpha: float, state: ReplaySet) -> ReplaySet:
        key = ("fb" if kind == "forward-backward" else "pr", alpha)
        if key not in self.steps:
            make = forward_step if key[0] == "fb" else reflection_step
            self.steps[key] = make(self.system, alpha, self.constants)
        return self.steps[key](_reflected(state) if kind == "joint" else state)

    @staticmethod
    def _state(kind: str, image: ReplaySet, low: np.ndarray, high: np.ndarray) -> ReplaySet:
        if kind == "reflected":
            return magnitude(image, low, high)
        neurons = relu(image, low, high)
        if kind == "forward-backward":
            return neurons
        return ReplaySet(
            np.concatenate([neurons.center, image.center]),
            np.vstack([neurons.inputs, image.inputs]),
            np.vstack([neurons.own, image.own]),
            np.concatenate([neurons.radius, image.radius]),
        )

    def _learn(self, image: ReplaySet, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of `z - αs` for all fixpoints; improves those on `z` and `s`."""
        low, high = image.interval()
        self.upper = np.minimum(self.upper, np.maximum(high, 0.0))
        self.slack = np.minimum(self.slack, np.maximum(-low, 0.0) / alpha * SAFETY + UNDERFLOW)
        if not self.trace.intersect:
            return low, high
        return np.maximum(low, -alpha * self.slack * SAFETY), np.minimum(high, self.upper)

    def _read(
        self, image: ReplaySet, low: np.ndarray, high: np.ndarray, number: int
    ) -> list[float]:
        """Margins of the claims that are read off the set of this step."""
        claims = [c for c in self.trace.claims if c.multipliers is None and c.step == number]
        if not claims:
            return []
        rows = np.array([claim.row for claim in claims])
        chosen = self.obligation.rows.coefficients.take(rows)
        on_inputs = self.inputs.map(chosen.on_x, chosen.offset)
        values = add(transform(chosen.on_z, None, relu(image, low, high)), on_inputs)
        return list(np.nextafter(values.interval()[0] - self.obligation.rows.error[rows], -np.inf))

    def _dual(self, claim: RowClaim) -> float:
        """A margin from multipliers, with all rounding errors on the unfavourable side."""
        system, y = self.system, claim.multipliers
        row = self.obligation.rows.coefficients.take(np.array([claim.row]))
        c, d, o = row.on_z[0], row.on_x[0], float(row.offset[0])
        weight = np.abs(y)
        low, high = self.obligation.proof_inputs.bounds()
        x_size = np.maximum(np.abs(low), np.abs(high))
        p = system.neurons
        # (c - Mᵀy), (d + Uᵀy) and y·b, each with its error.
        on_z = c - y + y @ system.W
        on_z_error = gamma(p + 6) * (np.abs(c) + weight + weight @ np.abs(system.W))
        on_x = d + y @ system.U
        on_x_error = gamma(p + 6) * (np.abs(d) + weight @ np.abs(system.U))
        constant_error = gamma(p + 6) * (weight @ np.abs(system.b) + abs(o))
        radius = system.preactivation.radius
        if radius is not None:
            on_z_error = on_z_error + weight @ radius.on_z
            on_x_error = on_x_error + weight @ radius.on_x
            constant_error = constant_error + weight @ radius.offset
        on_z_low = on_z - on_z_error * SAFETY - UNDERFLOW
        terms = np.minimum(0.0, np.minimum(self.upper * on_z_low, self.slack * y))
        terms_error = gamma(p + 6) * float(np.abs(terms).sum())
        support = self._support(-on_x) + float(on_x_error @ x_size) * SAFETY
        error = float(constant_error + terms_error) + gamma(8) * (abs(support) + weight.sum())
        value = float(terms.sum()) - support + float(y @ system.b) + o
        total = abs(float(terms.sum())) + abs(support) + weight @ np.abs(system.b) + abs(o)
        error = (error + gamma(8) * total + UNDERFLOW * (p + 8)) * SAFETY
        return value - error - float(self.obligation.rows.error[claim.row])

    def _support(self, direction: np.ndarray) -> float:
        """An upper bound on `direction · x` over the proof set."""
        direct = float(self.obligation.proof_inputs.support(direction[None])[0])
        enclosed = self.inputs.map(direction[None], np.zeros(1)).interval()[1]
        return min(direct, float(enclosed[0]))


def _hull(state: ReplaySet, kind: str, low: np.ndarray, high: np.ndarray) -> ReplaySet:
    """The box of the next states of pre-activations in `[low, high]`; `state` gives the shape."""
    least, most = np.maximum(low, 0.0), np.maximum(high, 0.0)
    if kind == "reflected":
        least, most = np.maximum(least, -high), np.maximum(-low, most)
    elif kind == "joint":
        least, most = np.concatenate([least, low]), np.concatenate([most, high])
    center = 0.5 * least + 0.5 * most
    radius = np.maximum(most - center, center - least) * SAFETY + UNDERFLOW
    return ReplaySet(center, 0.0 * state.inputs, state.own[:, :0], radius)


def _reflected(state: ReplaySet) -> ReplaySet:
    """`t = 2z - u` for the states `[z, u]`."""
    p = state.center.shape[0] // 2
    two, minus = np.full(p, 2.0), np.full(p, -1.0)
    parts = [
        ReplaySet(state.center[s], state.inputs[s], state.own[s], state.radius[s])
        for s in (slice(0, p), slice(p, 2 * p))
    ]
    return combine(parts[0], parts[1], two, minus)
