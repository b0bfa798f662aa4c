"""The data of a CRAFT proof. All of it is a hint: `vnn_mondeq.craft.check` replays it.

Letters: `p` neurons, `d` inputs, `n` dimensions of the state (`p`, or `2p` for `joint`).
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.result import AbstractCertificate


@final
@dataclass(frozen=True, slots=True, eq=False)
class Containment:
    """A state whose image after `steps` steps lies in it (theorem A.2).

    - `kind`: `reflected`, `joint` or `forward-backward` (`vnn_mondeq.craft.iteration`).
    - `alpha`: step size of all these steps.
    - `center (n,)`, `generators (n, n)` or `(n, 0)`, `radius (n,)`: the state.
    """

    kind: str
    alpha: float
    center: np.ndarray
    generators: np.ndarray
    radius: np.ndarray
    steps: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class TighteningStep:
    """One step after containment.

    - `kind`: as in `Containment`; a change from Peaceman-Rachford to forward-backward converts
      the set by a ReLU.
    - `basis`: consolidate with these directions `(n, n)` before the step; `None`: do not.
    """

    kind: str
    alpha: float
    basis: np.ndarray | None = None


@final
@dataclass(frozen=True, slots=True, eq=False)
class RowClaim:
    """That one row is positive on the whole input set, which refutes its case.

    - `case`: position in the obligation's cases. `row`: position in its rows.
    - `step`: the tightening step after which the row is read off the set (0: the contained set).
    - `multipliers`: `(p,)` dual multipliers; where given, the row is proved from the bounds on
      `z` and `s` after all steps, and `step` is not used.
    """

    case: int
    row: int
    step: int
    multipliers: np.ndarray | None = None


@final
@dataclass(frozen=True, slots=True, eq=False)
class ObligationTrace:
    """The proof of one obligation.

    - `row_space`: directions `(d, k)` of the input symbols; `None`: the bounding box.
    - `containment`: `None` for an obligation without cases.
    - `intersect`: cut every pre-activation with the bounds proved so far.
    """

    row_space: np.ndarray | None
    containment: Containment | None
    tightening: tuple[TighteningStep, ...]
    intersect: bool
    claims: tuple[RowClaim, ...]


@final
@dataclass(frozen=True, slots=True, eq=False)
class CraftCertificate(AbstractCertificate):
    """One trace for each obligation of the problem, in order."""

    traces: tuple[ObligationTrace, ...]

    def summary(self) -> str:
        contained = [t.containment.steps for t in self.traces if t.containment is not None]
        tightening = sum(len(t.tightening) for t in self.traces)
        claims = sum(len(t.claims) for t in self.traces)
        return (
            f"CRAFT: {len(self.traces)} input set(s), containment after "
            f"{max(contained, default=0)} step(s), {tightening} tightening step(s), "
            f"{claims} case(s) refuted"
        )
