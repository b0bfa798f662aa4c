"""A time limit as a value that is passed to everything that loops."""

import math
import time
from dataclasses import dataclass
from typing import Self, final

from vnn_mondeq.errors import DeadlineExceeded


@final
@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock (seconds) after which work must stop."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """The deadline `seconds` from now; `math.inf` means none."""
        return cls(time.monotonic() + seconds)

    @classmethod
    def never(cls) -> Self:
        return cls(math.inf)

    def remaining(self) -> float:
        """Seconds left; negative once it has passed."""
        return self.at - time.monotonic()

    @property
    def expired(self) -> bool:
        return self.remaining() <= 0.0

    def check(self) -> None:
        """Raises `DeadlineExceeded` once the deadline has passed."""
        if self.expired:
            raise DeadlineExceeded("the time limit was reached")

    def sooner(self, seconds: float) -> "Deadline":
        """The earlier of this deadline and `seconds` from now."""
        return Deadline(min(self.at, time.monotonic() + seconds))
