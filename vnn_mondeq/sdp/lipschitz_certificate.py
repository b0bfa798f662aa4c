"""The certificate of the Lipschitz engine: a proved box, and multipliers for each case."""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import ObligationProof
from vnn_mondeq.result import AbstractCertificate


@final
@dataclass(frozen=True, slots=True, eq=False)
class LipschitzRefutation:
    """One row of a case stays positive: its value at the centre exceeds how far it can move.

    - `row`: a row position of the obligation, one of the case's.
    - `sigma`: one multiplier for each group of inputs of the obligation's region.
    - `sector`: one for each neuron that the box leaves undecided (all, without a box).
    """

    row: int
    sigma: np.ndarray
    sector: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class LipschitzProof:
    """For one obligation: bounds on the fixpoints (or none), and a refutation for each case.

    The `refutations` inside `box` are not used.
    """

    box: ObligationProof | None
    refutations: tuple[LipschitzRefutation, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class LipschitzCertificate(AbstractCertificate):
    """One proof for each obligation of the problem, in order."""

    proofs: tuple[LipschitzProof, ...]

    def summary(self) -> str:
        cases = sum(len(proof.refutations) for proof in self.proofs)
        boxes = sum(proof.box is not None for proof in self.proofs)
        return (
            f"{cases} cases refuted by margin and Lipschitz bound over {len(self.proofs)} input "
            f"sets, {boxes} of them with an inductive box"
        )
