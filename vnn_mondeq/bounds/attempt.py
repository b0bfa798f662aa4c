"""What an attempt at a proof left, and a place to keep attempts during one run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.bounds.certificate import ObligationProof
from vnn_mondeq.problem import Obligation
from vnn_mondeq.result import NoAnswer


@final
@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A proof for one obligation, complete only where all `margins` of its cases are positive."""

    proof: ObligationProof
    margins: np.ndarray

    @property
    def margin(self) -> float:
        """The smallest one."""
        return float(np.min(self.margins, initial=np.inf))


@final
@dataclass(frozen=True, slots=True, eq=False)
class KeptAttempts:
    """Attempts by obligation, for the engines of one run: each of them starts from the same box.

    Made by whoever runs several engines on one problem, and forgotten with the run. An attempt
    that its deadline ended is not kept: a later stage may have more time.
    """

    found: dict[Obligation, Attempt | NoAnswer] = field(default_factory=dict)

    def recall(
        self, obligation: Obligation, attempt: Callable[[], Attempt | NoAnswer]
    ) -> Attempt | NoAnswer:
        """What was found for this obligation (the same object), or a new attempt at it."""
        if obligation not in self.found:
            self.found[obligation] = attempt()
        return self.found[obligation]
