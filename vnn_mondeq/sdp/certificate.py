"""The certificate of the robustness model: a proved box, and multipliers for each case."""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import ObligationProof, Refutation
from vnn_mondeq.result import AbstractCertificate


@final
@dataclass(frozen=True, slots=True, eq=False)
class ShorRefutation:
    """Multipliers of the strengthened Shor relaxation of one combined row (`shor.py`).

    - `weights`: `(number of rows of the case,)`, non-negative, not all zero.
    - `sigma`: `(n,)` over the inputs of positive width of the obligation's proof box.
    - `products`: `(3 k,)`, `t, ρ, ν` over the neurons that the box leaves undecided.
    - `beyond`: `(m,)`, one for each part of the proof set that is not a box, in the order of
      `set_constraints.parts_beyond_boxes`.
    - `scale_z`, `scale_s`: `(k,)`, upper bounds used as units, not below the box's.
    """

    weights: np.ndarray
    sigma: np.ndarray
    products: np.ndarray
    beyond: np.ndarray
    scale_z: np.ndarray
    scale_s: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class PairRefutation:
    """The same with products of two neurons (`pairs.py`).

    - `plain`: all other multipliers.
    - `left`, `right`: `(P,)` integers, the atoms of each product: of the `k` undecided neurons
      `ẑ_i` is number `i`, `ŝ_i` number `k + i`, `1 - ẑ_i - ŝ_i` number `2 k + i`.
    - `prices`: `(P,)`, the multipliers.
    """

    plain: ShorRefutation
    left: np.ndarray
    right: np.ndarray
    prices: np.ndarray


AnyRefutation = Refutation | ShorRefutation | PairRefutation


@final
@dataclass(frozen=True, slots=True, eq=False)
class ShorProof:
    """For one obligation: a box with its proof, and one refutation for each case.

    The `refutations` inside `box` are not used.
    """

    box: ObligationProof
    refutations: tuple[AnyRefutation, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class ShorCertificate(AbstractCertificate):
    """One proof for each obligation of the problem, in order."""

    proofs: tuple[ShorProof, ...]

    def summary(self) -> str:
        kinds = [type(r) for proof in self.proofs for r in proof.refutations]
        shor = kinds.count(ShorRefutation) + kinds.count(PairRefutation)
        return (
            f"{len(self.proofs)} inductive boxes; {shor} cases refuted by semidefinite "
            f"multipliers, {len(kinds) - shor} by linear ones"
        )
