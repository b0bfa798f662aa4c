"""The schedule of the attack: a quick look at every case, then restarts on the closest ones."""

from dataclasses import dataclass
from typing import final

import numpy as np

from vnn_mondeq.attack.descent import descend
from vnn_mondeq.attack.objective import Objective
from vnn_mondeq.attack.region import AbstractRegion
from vnn_mondeq.deadline import Deadline
from vnn_mondeq.system.solve import FixpointSolver

_BATCH_ENTRIES = 3_000_000
"""Numbers held for one array of a batch (24 MB)."""

_LATER_SIZES = np.array([1.0, 0.5, 1.0, 0.2, 0.05])
"""First step sizes of the restarts in later rounds, in turn; the last one polishes."""

_FEW_INPUTS = 16

_HOPELESS = 0.5


@final
@dataclass(frozen=True, slots=True)
class Schedule:
    """How much the attack tries.

    - `steps`: descent steps of a restart; the first look takes half of them.
    - `restarts`: starts for each of the closest cases in each round.
    - `rounds`: rounds of restarts; the later ones start near the best points found.
    - `focus`: how many of the closest cases get restarts.
    - `seed`: of the random starts.
    """

    steps: int = 40
    restarts: int = 6
    rounds: int = 3
    focus: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "restarts", "focus"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.rounds < 0:
            raise ValueError(f"rounds must not be negative, not {self.rounds}")


@final
@dataclass(eq=False, slots=True)
class Findings:
    """The best point of each case so far; grows while the search runs.

    - `points (C, d)`: rounded to float32, `margins (C,)`: their worst rows, evaluated accurately.
    - `proved (C,)`: the violation exceeds the solver's error bound and the rows' errors.
    - `initial (C,)`: worst rows at the middle of the set.
    """

    points: np.ndarray
    margins: np.ndarray
    proved: np.ndarray
    initial: np.ndarray
    steps: int = 0


@final
@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """A search over one region. `stop_early`: end at the first violation beyond rounding."""

    solver: FixpointSolver
    objective: Objective
    region: AbstractRegion
    schedule: Schedule
    deadline: Deadline
    stop_early: bool

    def run(self) -> Findings:
        """Never longer than the deadline by more than one descent step of a batch."""
        count = self.objective.cases
        center = self.region.center()
        findings = Findings(
            np.repeat(self.region.round(center[None]), count, axis=0),
            np.full(count, np.inf),
            np.zeros(count, dtype=bool),
            np.full(count, np.inf),
        )
        generator = np.random.default_rng(self.schedule.seed)
        everything = np.arange(count)
        first = np.repeat(center[None], min(count, self._batch()), axis=0)
        for part in self._parts(everything):
            sizes = self._sizes(np.ones(part.size), 0.5)
            self._attempt(findings, first[: part.size], part, sizes)
            if self._over(findings):
                return findings
        for round_index in range(self.schedule.rounds):
            closest = self._closest(findings)
            for part in self._parts(np.repeat(closest, self.schedule.restarts)):
                starts, largest = self._restart(findings, part, round_index, generator)
                self._attempt(findings, starts, part, self._sizes(largest, 1.0))
                if self._over(findings):
                    return findings
        return findings

    def _closest(self, findings: Findings) -> np.ndarray:
        """The cases that get restarts. In a search for a counterexample, not those where the
        first descent left more than `_HOPELESS` of what it gained: where the way is smooth,
        restarts gain little more (on FC87 at 0.05 this loses none of the 95 counterexamples)."""
        order = np.argsort(findings.margins, kind="stable")
        if self.stop_early and self._corners_matter:
            gained = findings.initial - findings.margins
            order = order[(findings.margins <= _HOPELESS * gained)[order]]
        return order[: self.schedule.focus]

    def _restart(
        self,
        findings: Findings,
        cases: np.ndarray,
        round_index: int,
        generator: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Starts `(N, d)` and first step sizes `(N,)` of one round."""
        if round_index == 0:
            return self.region.random(cases.size, generator), np.ones(cases.size)
        largest = _LATER_SIZES[np.arange(cases.size) % _LATER_SIZES.size]
        best = findings.points[cases]
        moved = self.region.perturb(best, generator)
        # The smallest steps polish the best point itself.
        return np.where((largest == _LATER_SIZES[-1])[:, None], best, moved), largest

    def _batch(self) -> int:
        widest = max(self.solver.system.input_size, self.solver.system.neurons, 1)
        return max(1, min(4096, _BATCH_ENTRIES // widest))

    def _parts(self, cases: np.ndarray) -> list[np.ndarray]:
        size = self._batch()
        return [cases[start : start + size] for start in range(0, cases.size, size)]

    def _sizes(self, largest: np.ndarray, share: float) -> np.ndarray:
        """Step sizes `(steps, N)`, falling geometrically to a fiftieth of the largest."""
        return np.geomspace(largest, largest / 50.0, max(2, int(self.schedule.steps * share)))

    @property
    def _corners_matter(self) -> bool:
        """Whether sign steps suffice: single rows, so no ridges, and many inputs."""
        return self.objective.members.shape[1] == 1 and self.solver.system.input_size > _FEW_INPUTS

    def _smooth(self, count: int) -> np.ndarray:
        """Which points follow the gradient: two of four where corners are not all that matters."""
        return (np.arange(count) % 4 >= 2) & (not self._corners_matter)

    def _over(self, findings: Findings) -> bool:
        return self.deadline.expired or (self.stop_early and bool(findings.proved.any()))

    def _attempt(
        self, findings: Findings, starts: np.ndarray, cases: np.ndarray, sizes: np.ndarray
    ) -> None:
        descent = descend(
            self.solver,
            self.objective,
            self.region,
            starts,
            cases,
            sizes,
            self._smooth(cases.size),
            self.deadline,
            self.stop_early,
        )
        findings.steps += descent.steps
        unseen = np.isinf(findings.initial[cases])
        findings.initial[cases[unseen]] = descent.initial[unseen]
        order = np.argsort(descent.margins, kind="stable")
        chosen, first = np.unique(cases[order], return_index=True)
        points = self.region.round(descent.points[order[first]])
        solution = self.solver.solve(points)
        values = self.objective.values(solution.value, points, chosen)
        worst = values.max(axis=1)
        # Coefficient errors and evaluation are in `error`; the distance in z is added here.
        doubt = self.objective.slack(chosen)
        doubt = doubt + self.objective.row_norms(chosen) * solution.error_bound[:, None]
        proved = (values + doubt).max(axis=1) < 0.0
        better = (worst < findings.margins[chosen]) | (proved & ~findings.proved[chosen])
        target = chosen[better]
        findings.points[target] = points[better]
        findings.margins[target] = worst[better]
        findings.proved[target] = proved[better]
