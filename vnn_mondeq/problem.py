"""The statement to decide: a system and a query that fit each other, in the engines' numbers.

An engine sees `Obligation`s: for one input set, a list of cases, each a set of rows `t(z, x)`;
the case is a violation where all its rows are `<= 0`. To refute a case it suffices to prove one
row above its `error` on the whole input set, for the exact fixpoint of the stored float64 arrays
(`vnn_mondeq.statement` says why that suffices).
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.query.input_set import AbstractInputSet
from vnn_mondeq.query.query import Query
from vnn_mondeq.system.affine import Coefficients
from vnn_mondeq.system.implicit import ImplicitSystem


@final
@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Linear functions `t = on_z z + on_x x + offset` of the system's `(z, x)`.

    - `coefficients`: `n` rows, float64.
    - `error`: `(n,)`, bounds for all points of the obligation's input set on the distance between
      the stored rows and what they stand for: rounding of the coefficients and, for float
      queries, what a runtime may err (see `vnn_mondeq.budget`).
    """

    coefficients: Coefficients
    error: np.ndarray


@final
@dataclass(frozen=True, slots=True, eq=False)
class Obligation:
    """One input set and what must be refuted on it.

    - `inputs`: where to look for witnesses: the query's own set, auxiliary inputs of the system at
      zero, the middle of their boxes.
    - `proof_inputs`: the set widened for proofs (`AbstractInputSet.widened`), auxiliary inputs
      anywhere in their boxes.
    - `rows`: all constraint rows of all cases, one below the other.
    - `cases`: for each case, its row positions.
    - `query_inputs`: the query's own set, in which witnesses must lie; `None` where it is `inputs`.
    """

    inputs: AbstractInputSet
    proof_inputs: AbstractInputSet
    rows: Rows
    cases: tuple[tuple[int, ...], ...]
    query_inputs: AbstractInputSet | None = None

    @property
    def asked(self) -> AbstractInputSet:
        """The query's own set."""
        return self.inputs if self.query_inputs is None else self.query_inputs


@final
@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A system, the query about it, and the query's obligations (one for each input set)."""

    system: ImplicitSystem
    query: Query
    obligations: tuple[Obligation, ...]
