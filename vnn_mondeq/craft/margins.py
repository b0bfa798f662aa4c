"""The margins of an obligation's rows: read off sets, optimised by slopes, and the best kept."""

from dataclasses import dataclass, field
from typing import final

import numpy as np

from vnn_mondeq.craft.certificate import RowClaim
from vnn_mondeq.craft.inputs import InputSymbols
from vnn_mondeq.craft.slopes import FixpointRelaxation
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.problem import Obligation
from vnn_mondeq.sets.mixed_zonotope import MixedZonotope

_GUARD = 1e-8
"""Relative distance that a margin must have from zero before it is claimed: the slope
optimisation is not rigorous, and the checker rounds differently."""


@final
@dataclass(eq=False)
class MarginLedger:
    """Best lower bounds on the rows, and which evidence gave them. Changes as the run goes on.

    - `margins`: `(n,)`, bound minus the row's error; a case is refuted once one of its rows has
      a positive one.
    - `steps`: the tightening step of the set that gave it; -1: multipliers did.
    """

    obligation: Obligation
    symbols: InputSymbols
    margins: np.ndarray = field(init=False)
    steps: np.ndarray = field(init=False)
    multipliers: np.ndarray = field(init=False)
    _inputs: MixedZonotope = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows = self.obligation.rows.coefficients
        count, p = rows.on_z.shape
        self.margins = np.full(count, -np.inf)
        self.steps = np.zeros(count, dtype=int)
        self.multipliers = np.zeros((count, p))
        self._inputs = self.symbols.image(rows.on_x, rows.offset)

    def read(self, neurons: MixedZonotope, step: int) -> None:
        """Take the rows off a set that contains all fixpoints."""
        rows = self.obligation.rows
        image = neurons.affine(
            rows.coefficients.on_z,
            np.zeros(len(rows.error)),
            plus=self._inputs,
            keep_as_box=np.inf,
        )
        margins = image.bounds()[0] - rows.error - _GUARD * (np.abs(image.center) + image.spread)
        better = margins > self.margins
        self.margins[better] = margins[better]
        self.steps[better] = step

    def optimise(
        self,
        relaxation: FixpointRelaxation,
        steps: int,
        close: float,
        more: int,
        deadline: Deadline,
    ) -> None:
        """Slope optimisation of all rows of the open cases, `steps` steps, then up to `more` in
        total where the worst margin is above `close`."""
        which = np.array(sorted({r for case in self.open_cases() for r in self._rows(case)}))
        if not which.size:
            return
        rows = self.obligation.rows
        chosen = rows.coefficients.take(which)
        size = np.abs(chosen.on_z) @ relaxation.upper + np.abs(chosen.offset)
        targets = rows.error[which] + _GUARD * (1.0 + 10.0 * size)
        y, value = relaxation.start(chosen)
        warm, _ = relaxation.evaluate(self.multipliers[which], chosen)
        keep = warm > value
        y[keep], value[keep] = self.multipliers[which][keep], warm[keep]
        y, value = relaxation.ascend(y, value, chosen, targets, steps, deadline)
        if more > steps and close < float((value - targets).min()) < 0.0:
            y, value = relaxation.ascend(y, value, chosen, targets, more - steps, deadline)
        self.multipliers[which] = y
        margins = value - targets
        better = margins > self.margins[which]
        self.margins[which[better]] = margins[better]
        self.steps[which[better]] = -1

    def _rows(self, case: int) -> tuple[int, ...]:
        return self.obligation.cases[case]

    def case_margin(self, case: int) -> float:
        """The best margin among the case's rows; minus infinity for a case without rows."""
        return max((float(self.margins[row]) for row in self._rows(case)), default=-np.inf)

    def open_cases(self) -> list[int]:
        """The cases that are not refuted yet."""
        return [k for k in range(len(self.obligation.cases)) if not self.case_margin(k) > 0.0]

    def worst(self) -> float:
        """The least case margin; positive once every case is refuted."""
        return min(map(self.case_margin, range(len(self.obligation.cases))), default=np.inf)

    def claims(self) -> tuple[RowClaim, ...]:
        """One claim for each case, with the row of the largest margin."""
        claims = []
        for case, rows in enumerate(self.obligation.cases):
            row = max(rows, key=lambda r: self.margins[r])
            step = int(self.steps[row])
            dual = self.multipliers[row].copy() if step < 0 else None
            claims.append(RowClaim(case, row, max(step, 0), dual))
        return tuple(claims)
