"""A finding: what was looked at, how it is, and what to do about it."""

from dataclasses import dataclass
from enum import Enum
from typing import final


class State(Enum):
    """How something is.

    - `OK`: as needed.
    - `ABSENT`: an optional part is not there; nothing is wrong.
    - `WRONG`: something that every user needs does not work.
    """

    OK = "ok"
    ABSENT = "absent"
    WRONG = "WRONG"


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    - `subject`: what was looked at, a few words.
    - `detail`: what was found; where the state is not `OK`, also what to do next.
    """

    state: State
    subject: str
    detail: str
