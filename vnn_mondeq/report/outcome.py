"""What a report is made from: groups of runs, whatever file they came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import final


class Outcome(Enum):
    """How a run ended, as the report counts it.

    - `OPEN`: `unknown` and `timed-out`, answers after the time limit included.
    - `MISCLASSIFIED`: counted, not verified: there is no robustness to speak of.
    - `FAILED`: no answer: a crash, or files that cannot be used.
    """

    CERTIFIED = "unsat"
    FALSIFIED = "sat"
    OPEN = "open"
    MISCLASSIFIED = "misclassified"
    FAILED = "failed"


@final
@dataclass(frozen=True, slots=True)
class Run:
    """One instance under one backend, all repeats together.

    - `identity`: equal for runs about the same files and the same question, whatever these are
      called.
    - `claimed`: what any repeat said about the instance, answers after the time limit included:
      a wrong verdict is wrong also where it does not count.
    - `seconds`: wall clock; `None` where nothing ran.
    - `upper`: the smallest score difference that an attack found, `lower`: the largest that was
      proved; the true minimum lies between. `None` where unknown.
    - `reason`: why there is no verdict, for people.
    - `expected`: the verdict that the instance list expects, or `None`.
    """

    instance: str
    identity: str
    outcome: Outcome
    seconds: float | None
    claimed: frozenset[Outcome] = frozenset()
    engine: str = ""
    upper: float | None = None
    lower: float | None = None
    reason: str = ""
    expected: Outcome | None = None


@final
@dataclass(frozen=True, slots=True)
class Ball:
    """The input set of a robustness benchmark, for the comparison with published figures.

    - `norm`: `"inf"`, `"2"` or `"1"`. `radius`: in pixel units.
    - `clipped`: intersected with the range of pixels. The two regions are different problems.
    """

    norm: str
    radius: Fraction
    clipped: bool

    def matches(self, other: "Ball") -> bool:
        """Equal up to the six digits to which 2/255 is usually written."""
        return self.same_size(other) and self.clipped == other.clipped

    def same_size(self, other: "Ball") -> bool:
        near = abs(self.radius - other.radius) <= Fraction(1, 10**6)
        return self.norm == other.norm and near

    def __str__(self) -> str:
        norm = "L∞" if self.norm == "inf" else f"L{self.norm}"
        return f"{norm} {_radius(self.radius)} {'clipped' if self.clipped else 'unclipped'}"


def _radius(radius: Fraction) -> str:
    """`0.05`, and `2/255` also where it was written with six digits."""
    steps = round(radius * 255)
    short = len(f"{float(radius):.6g}") < len("0.00784")
    if steps and not short and abs(radius - Fraction(steps, 255)) <= Fraction(1, 10**6):
        return f"{steps}/255"
    return f"{float(radius):.6g}"


@final
@dataclass(frozen=True, slots=True)
class Group:
    """Runs that belong in one row of a table.

    - `subject`: what the instances are: the ball, or the instance list's name.
    - `timeout`: seconds for an instance; `None` where instances differ.
    - `manifest`: what the runs were made with, name → value, for people.
    """

    model: str
    subject: str
    backend: str
    timeout: float | None
    runs: tuple[Run, ...]
    ball: Ball | None
    manifest: Mapping[str, str]

    def count(self, outcome: Outcome) -> int:
        return sum(run.outcome is outcome for run in self.runs)

    @property
    def seconds(self) -> list[float]:
        """Of every run that was timed, sorted."""
        return sorted(run.seconds for run in self.runs if run.seconds is not None)

    @property
    def name(self) -> str:
        return f"{self.model}, {self.subject}"

    def attack_leaves(self) -> int:
        """Instances that are classified correctly and that no counterexample refutes."""
        out = (Outcome.FALSIFIED, Outcome.MISCLASSIFIED)
        return len(self.runs) - sum(self.count(outcome) for outcome in out)


DECIDED = (Outcome.CERTIFIED, Outcome.FALSIFIED)
"""Outcomes that say something about the instance."""


def contradictions(groups: Sequence[Group]) -> list[str]:
    """Instances with both a proof and a counterexample, and verdicts other than expected ones.

    Any of these means that some verdict is wrong.
    """
    decided: dict[str, dict[Outcome, str]] = {}
    found = []
    for group in groups:
        for run in group.runs:
            place = f"{group.name}, {run.instance}"
            seen = decided.setdefault(run.identity, {})
            before = len(seen)
            for outcome in (o for o in DECIDED if o in run.claimed):
                if run.expected not in (None, outcome):
                    found.append(
                        f"{place}: {outcome.value} by {group.backend}, but the list expects "
                        f"{run.expected.value}"
                    )
                seen.setdefault(outcome, group.backend)
            if before < len(seen) == len(DECIDED):
                found.append(f"{place}: {', '.join(f'{o.value} by {b}' for o, b in seen.items())}")
    return found
