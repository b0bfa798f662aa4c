"""The certificate of this room: an inductive box, rounds that shrink it, and final multipliers."""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.result import AbstractCertificate


@final
@dataclass(frozen=True, slots=True, eq=False)
class BoxRound:
    """A claim `z <= upper_z, s <= upper_s` and the multipliers that prove it from a premise.

    - `upper_z`, `upper_s`: `(p,)`.
    - `for_z`: `(p, p)`; row `k` bounds `z_k` on the branch `s_k = 0`.
    - `for_s`: `(p, p)`; row `k` bounds `s_k` on the branch `z_k = 0`.

    The premise of the first round is its own claim (an induction along paths in the input set);
    the premise of every later round is the claim of the round before.
    """

    upper_z: np.ndarray
    upper_s: np.ndarray
    for_z: np.ndarray
    for_s: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class Refutation:
    """Why one case has no counterexample: a non-negative combination of its rows stays positive.

    - `weights`: `(number of rows of the case,)`, non-negative, not all zero.
    - `multipliers`: `(p,)`, the dual vector of the combined row.
    """

    weights: np.ndarray
    multipliers: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class ObligationProof:
    """The proof for one obligation (one input set).

    - `anchor`: `(d,)`, a point at which the first box is checked directly.
    - `rounds`: at least one unless `p == 0`.
    - `refutations`: one for each case of the obligation.
    """

    anchor: np.ndarray
    rounds: tuple[BoxRound, ...]
    refutations: tuple[Refutation, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class InductiveBoxCertificate(AbstractCertificate):
    """One `ObligationProof` for each obligation of the problem, in order."""

    proofs: tuple[ObligationProof, ...]

    def summary(self) -> str:
        rounds = sum(len(proof.rounds) for proof in self.proofs)
        cases = sum(len(proof.refutations) for proof in self.proofs)
        return f"{len(self.proofs)} inductive boxes, {rounds} rounds, {cases} refuted cases"
