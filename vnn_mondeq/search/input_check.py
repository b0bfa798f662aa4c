"""Independent check of an `InputSplitCertificate`: the tree is walked again, every leaf re-proved.

Soundness of the walk: the root is the box `bounds()` of the obligation's proof set, which contains
the set; a cut at a float strictly inside a side gives two closed boxes that cover their parent; the
boxes are formed here, none is read from the certificate. Bounds proved over a region hold over its
sub-boxes, so a leaf may use those of an ancestor. Leaves are proved by `bounds/check.py` and
`sdp/check.py` over their part of the input set, with the rows and errors of the whole obligation
(the errors were computed for the larger set, so they are large enough).
"""

import dataclasses
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import numpy as np

from vnn_mondeq.bounds.check import CheckedBox, Rejection, check_box
from vnn_mondeq.bounds.rejection import smallest_margin
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation, Problem
from vnn_mondeq.query.input_set import AbstractInputSet, HalfSpace, Intersection, Quadratic
from vnn_mondeq.rounding import are_float64
from vnn_mondeq.sdp.check import CaseJudge
from vnn_mondeq.search.input_certificate import (
    BoxClaim,
    Cut,
    Empty,
    InputSplitCertificate,
    Refuted,
    Region,
    expanded,
    restricted,
)
from vnn_mondeq.system.implicit import ImplicitSystem


def check_input_split(
    problem: Problem, certificate: InputSplitCertificate, deadline: Deadline
) -> float | Rejection:
    """The smallest proved margin over all leaves and cases, or why there is none.

    Infinite where every leaf is empty. **Raises** `DeadlineExceeded`.
    """
    return smallest_margin(problem, certificate.trees, _check_tree, deadline)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _PartInputs:
    """`bounds.check.ProofInputs` without an anchor: the boxes are confirmed already, so rows need
    be bounded on the set alone."""

    proof_set: AbstractInputSet
    magnitude: np.ndarray

    @classmethod
    def of(cls, proof_set: AbstractInputSet) -> "_PartInputs":
        lower, upper = proof_set.bounds()
        return cls(proof_set, np.maximum(np.abs(lower), np.abs(upper)))

    def support(self, directions: np.ndarray) -> np.ndarray:
        return self.proof_set.support(directions)


Bounds = tuple[np.ndarray, np.ndarray]
"""`(Z, S)`: confirmed for all fixpoints of a region."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A region on the list: its box, and the bounds that hold there already."""

    region: Region
    lower: np.ndarray
    upper: np.ndarray
    held: Bounds | None


def _check_tree(
    system: ImplicitSystem, obligation: Obligation, tree: Region, deadline: Deadline
) -> float | Rejection:
    lower, upper = obligation.proof_inputs.bounds()
    if not (np.all(np.isfinite(lower)) and np.all(np.isfinite(upper))):
        return Rejection("the input set is not bounded")
    smallest = np.inf
    waiting = [_Waiting(tree, lower, upper, None)]
    while waiting:
        deadline.check()
        here = waiting.pop()
        match here.region.end:
            case Cut():
                ended = _cut(system, obligation, here, waiting)
            case end:
                part = _part(obligation, here)
                ended = check_leaf(system, part, end, here.region.box, here.held)
        if isinstance(ended, Rejection):
            return ended
        smallest = min(smallest, ended)
    return smallest


def _part(obligation: Obligation, here: _Waiting) -> Obligation:
    inside = restricted(obligation.proof_inputs, here.lower, here.upper)
    return dataclasses.replace(obligation, proof_inputs=inside)


def _cut(
    system: ImplicitSystem, obligation: Obligation, here: _Waiting, waiting: list[_Waiting]
) -> float | Rejection:
    """Puts both sides of a cut on the list."""
    cut = here.region.end
    # Exact types: True as an index would mean all inputs, an array as a value several cuts.
    if type(cut.coordinate) is not int or not 0 <= cut.coordinate < here.lower.size:
        return Rejection("a cut names no input")
    if type(cut.value) is not float:
        return Rejection("a cut is not at a float64 number")
    # Also false for NaN.
    if not here.lower[cut.coordinate] < cut.value < here.upper[cut.coordinate]:
        return Rejection("a cut does not lie inside its region")
    held = here.held
    if here.region.box is not None:
        confirmed = confirm_box(system, _part(obligation, here), here.region.box)
        if isinstance(confirmed, Rejection):
            return confirmed
        held = confirmed
    below, above = here.upper.copy(), here.lower.copy()
    below[cut.coordinate] = above[cut.coordinate] = cut.value
    waiting.append(_Waiting(cut.below, here.lower, below, held))
    waiting.append(_Waiting(cut.above, above, here.upper, held))
    return np.inf


def confirm_box(system: ImplicitSystem, part: Obligation, claim: BoxClaim) -> Bounds | Rejection:
    """The last bounds of a claim, proved on the part's proof set."""
    p = system.neurons
    sides = [side for box in claim.bounds for side in box]
    if not are_float64(*sides) or any(side.shape != (p,) for side in sides):
        return Rejection("a box of a region has the wrong shape")
    if not all(np.all((side >= 0.0) & (side < np.inf)) for side in sides):
        return Rejection("a box of a region is negative or not finite")
    proof = expanded(system, part.proof_inputs, claim)
    if proof is None:
        return Rejection("no multipliers were found for a box of a region")
    box = check_box(system, part, proof)
    if isinstance(box, Rejection):
        return box
    return (box.upper_z, box.upper_s)


def check_leaf(
    system: ImplicitSystem,
    part: Obligation,
    end: Refuted | Empty,
    claim: BoxClaim | None,
    held: Bounds | None,
) -> float | Rejection:
    """The proved margin of a leaf (infinite for an empty one), or why there is none.

    - `part`: the obligation with the leaf's part of the proof set.
    - `claim`: the leaf's own box, if it has one; else `held`, confirmed above it, is used.
    """
    if isinstance(end, Empty):
        if is_apart(part.proof_inputs, end):
            return np.inf
        return Rejection("a region is not empty")
    if claim is not None:
        held = confirm_box(system, part, claim)
        if isinstance(held, Rejection):
            return held
    if held is None:
        return Rejection("a leaf has no box")
    if len(end.refutations) != len(part.cases):
        return Rejection(f"{len(end.refutations)} refutations for {len(part.cases)} cases")
    judge = CaseJudge(system, part, CheckedBox(_PartInputs.of(part.proof_inputs), *held))
    smallest = np.inf
    for case, refutation in zip(part.cases, end.refutations, strict=True):
        margin = judge.margin(case, refutation)
        if isinstance(margin, Rejection):
            return margin
        smallest = min(smallest, margin)
    return smallest


def is_apart(inputs: AbstractInputSet, claim: Empty) -> bool:
    """Whether the box of an `Intersection` provably misses one of its parts."""
    if not isinstance(inputs, Intersection) or not 0 < claim.part < len(inputs.parts):
        return False
    box, part = inputs.parts[0], inputs.parts[claim.part]
    if isinstance(part, HalfSpace):
        return _misses(part, *box.bounds())
    if isinstance(part, Quadratic):
        least = part.least(*box.bounds())
        return least is not None and least > 0
    direction = claim.direction
    if (
        not are_float64(direction)
        or direction.shape != (inputs.dimension,)
        or not np.all(np.isfinite(direction))
    ):
        return False
    least = -float(box.support(-direction[None])[0])
    most = float(part.support(direction[None])[0])
    return least > most


def _misses(part: HalfSpace, lower: np.ndarray, upper: np.ndarray) -> bool:
    """Whether no point of the box satisfies the half-space; exact rationals."""
    least = part.offset
    for position, coefficient in part.coefficients.items():
        bound = float(lower[position] if coefficient > 0 else upper[position])
        if coefficient and not math.isfinite(bound):
            return False
        least += coefficient * Fraction(bound) if coefficient else 0
    return least >= 0 if part.strict else least > 0
