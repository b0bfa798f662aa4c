"""The certificate of a search over inputs: a tree of cuts whose leaves are proved one by one.

A leaf stores its boxes, not the `2 p` multiplier vectors that prove each of them: those follow
from the box by one linear solve (`expanded`), are only hints to the check, and would be `p` times
larger.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import BoxRound, ObligationProof, Refutation
from vnn_mondeq.bounds.relaxation import StripRelaxation, project
from vnn_mondeq.query.input_set import AbstractInputSet, Box, Intersection
from vnn_mondeq.result import AbstractCertificate
from vnn_mondeq.sdp.certificate import ShorRefutation
from vnn_mondeq.system.implicit import ImplicitSystem


@final
@dataclass(frozen=True, slots=True, eq=False)
class BoxClaim:
    """Boxes `z <= Z, s <= S` over a sub-box of the inputs, each from the one before.

    - `anchor`: `(d,)`, where the first box is checked directly.
    - `bounds`: pairs `(Z, S)` of shape `(p,)`; the first is inductive. None where `p == 0`.
    """

    anchor: np.ndarray
    bounds: tuple[tuple[np.ndarray, np.ndarray], ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """The region is the union of `x_coordinate <= value` (`below`) and `>= value` (`above`)."""

    coordinate: int
    value: float
    below: "Region"
    above: "Region"


@final
@dataclass(frozen=True, slots=True, eq=False)
class Refuted:
    """All cases are refuted, in order, under the region's box or the nearest one above it."""

    refutations: tuple[Refutation | ShorRefutation, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class Empty:
    """No input of the query's set lies in the region's box.

    - `part`: position in the region's `Intersection` of the part that the box misses.
    - `direction`: `(d,)`, normal of a plane between the two; not used for half-spaces.
    """

    part: int
    direction: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A sub-box of the inputs, given by the cuts above it.

    - `box`: bounds on the fixpoints in it; `None`: those of the nearest ancestor that has some.
    """

    box: BoxClaim | None
    end: Cut | Refuted | Empty

    def leaves(self) -> int:
        """Number of leaves below; without recursion."""
        count, waiting = 0, [self]
        while waiting:
            end = waiting.pop().end
            if isinstance(end, Cut):
                waiting += [end.below, end.above]
            else:
                count += 1
        return count


@final
@dataclass(frozen=True, slots=True, eq=False)
class InputSplitCertificate(AbstractCertificate):
    """One tree for each obligation of the problem, in order."""

    trees: tuple[Region, ...]

    def summary(self) -> str:
        leaves = sum(tree.leaves() for tree in self.trees)
        return f"{len(self.trees)} input sets, all cases refuted on each of {leaves} parts of them"


def restricted(inputs: AbstractInputSet, lower: np.ndarray, upper: np.ndarray) -> AbstractInputSet:
    """The part of a set inside `[lower, upper]`, which must lie within the set's `bounds()`."""
    box = Box.from_floats(lower, upper)
    parts = inputs.parts if isinstance(inputs, Intersection) else (inputs,)
    # Boxes among the parts contain bounds(), hence the smaller box as well.
    others = tuple(part for part in parts if not isinstance(part, Box))
    return Intersection((box, *others)) if others else box


def expanded(
    system: ImplicitSystem, inputs: AbstractInputSet, claim: BoxClaim
) -> ObligationProof | None:
    """The claim with multipliers for every round; `None` where a linear solve fails.

    The multipliers of a round come from its premise, so that the numbers are those of the search.
    They need no trust: any multipliers give a valid bound.
    """
    projection = project(system, inputs)
    rounds: list[BoxRound] = []
    premise = claim.bounds[0] if claim.bounds else None
    for box in claim.bounds:
        try:
            found = StripRelaxation.of(system, projection, *premise).neuron_bounds()
        except np.linalg.LinAlgError:
            return None
        rounds.append(BoxRound(*box, found.for_z, found.for_s))
        premise = box
    return ObligationProof(claim.anchor, tuple(rounds), ())
