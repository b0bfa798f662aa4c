"""What a run tells the outside while it works. Nothing here prints."""

from abc import ABC, abstractmethod
from typing import final


class AbstractObserver(ABC):
    """Receives the events of a run. Observing never changes a result."""

    @abstractmethod
    def phase(self, name: str) -> None:
        """A new part of the work begins."""

    @abstractmethod
    def progress(self, done: float, total: float) -> None:
        """`done` of `total` units of the current phase are finished."""

    @abstractmethod
    def event(self, kind: str, **fields: object) -> None:
        """Something worth a line in a log."""


@final
class NullObserver(AbstractObserver):
    """Ignores everything."""

    def phase(self, name: str) -> None:
        pass

    def progress(self, done: float, total: float) -> None:
        pass

    def event(self, kind: str, **fields: object) -> None:
        pass
