"""What an answer is: verdict, reason, and the evidence without which no verdict can be built."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    import numpy as np

    from vnn_mondeq.problem import Problem


class Verdict(Enum):
    """The answers; the values are the words of VNN-LIB 2.0."""

    SAT = "sat"
    UNSAT = "unsat"
    UNKNOWN = "unknown"
    TIMED_OUT = "timed-out"


class Reason(Enum):
    """Why there is no verdict. The values are the messages for the user."""

    NONE = ""
    TIMED_OUT = "the time limit was reached; raise --timeout"
    BOUND_TOO_LOOSE = (
        "no counterexample was found and the bounds are too loose for a proof; "
        "a stronger backend or a smaller input set may decide it"
    )
    NOT_CONTAINED = (
        "the abstract iteration found no inductive set; the input set may be too large for it"
    )
    NO_COUNTEREXAMPLE = "the attack found no counterexample, and the attack alone proves nothing"
    WITNESS_REJECTED = (
        "a candidate counterexample did not survive its replay in onnxruntime; "
        "the violation is smaller than rounding errors"
    )
    CERTIFICATE_REJECTED = (
        "a proof was found but its independent check did not confirm it; please report this"
    )
    CERTIFICATE_REFUSED = "the certificate does not prove this query about this model"
    ROUNDING = "the margin is smaller than the rounding errors that a runtime may make"
    UNBOUNDED_INPUT = "an input has no finite bound; give every input a lower and an upper bound"
    UNBOUNDED_TENSOR = (
        "an operator that is not piecewise linear has no finite bounds on the whole input set; "
        "bound the inputs more tightly"
    )
    OUT_OF_MEMORY = "the memory did not suffice"
    NO_ENGINE = "no engine applies to this problem"


@final
@dataclass(frozen=True, slots=True)
class Witness:
    """A counterexample that onnxruntime has confirmed. Only `vnn_mondeq.gate` builds it.

    - `inputs`: name of each declared input → array in the declared shape, model element type.
    - `outputs`: the same for the outputs, as the runtime computed them.
    - `margin`: by how much the least violated constraint is violated, in output units; zero where
      one holds with equality.
    - `replayed_by`: the runtime and its version.
    """

    inputs: Mapping[str, "np.ndarray"]
    outputs: Mapping[str, "np.ndarray"]
    margin: float
    replayed_by: str


class AbstractCertificate(ABC):
    """Evidence that no input of the query's set is a counterexample."""

    @abstractmethod
    def summary(self) -> str:
        """One line for a person."""


@final
@dataclass(frozen=True, slots=True)
class CheckedCertificate:
    """A certificate confirmed by code that did not make it. Only `vnn_mondeq.gate` builds it.

    - `margin`: the smallest proved distance to the unsafe set, over all cases (positive).
    """

    certificate: AbstractCertificate
    margin: float
    checked_by: str

    def __post_init__(self) -> None:
        # Written so that NaN is refused too.
        if not self.margin > 0.0:
            raise ValueError(f"a checked certificate has a positive margin, not {self.margin}")


@final
@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a problem. A verdict without its evidence cannot be built.

    **Raises** `ValueError` for SAT without a witness, UNSAT without a checked certificate, and
    UNKNOWN or TIMED_OUT without a reason.
    """

    verdict: Verdict
    reason: Reason = Reason.NONE
    detail: str = ""
    witness: Witness | None = None
    certificate: CheckedCertificate | None = None
    engine: str = ""
    statistics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        required = {
            Verdict.SAT: (self.witness is not None, "SAT needs a replayed witness"),
            Verdict.UNSAT: (self.certificate is not None, "UNSAT needs a checked certificate"),
            Verdict.UNKNOWN: (self.reason is not Reason.NONE, "UNKNOWN needs a reason"),
            Verdict.TIMED_OUT: (self.reason is Reason.TIMED_OUT, "TIMED_OUT needs its reason"),
        }
        holds, message = required[self.verdict]
        if not holds:
            raise ValueError(message)


@final
@dataclass(frozen=True, slots=True)
class WitnessCandidate:
    """A point that an engine believes to be a counterexample; the gate decides.

    - `x`: flattened input, shape `(d,)`.
    """

    x: "np.ndarray"


@final
@dataclass(frozen=True, slots=True)
class CertificateCandidate:
    """A certificate that an engine believes in; the gate decides."""

    certificate: AbstractCertificate


@final
@dataclass(frozen=True, slots=True)
class NoAnswer:
    """An engine gave up."""

    reason: Reason
    detail: str = ""


Candidate = WitnessCandidate | CertificateCandidate | NoAnswer
"""What an engine may return. None of these is a verdict."""


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """What an engine's run gave: the candidate, and numbers for the log (seconds, margins)."""

    candidate: Candidate
    statistics: Mapping[str, float] = field(default_factory=dict)


class AbstractEngine(ABC):
    """Tries to decide a problem.

    Engines never say `sat` or `unsat`: they return candidates, and the gate checks them.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """A short word, used by `--backend`."""

    @abstractmethod
    def run(self, problem: "Problem", deadline: object, observer: object) -> Outcome:
        """Must return soon after the deadline, with `NoAnswer(Reason.TIMED_OUT)` at the latest."""
