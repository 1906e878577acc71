"""Things that the lab makes for a while and then removes, also if making them fails half-way."""

from abc import ABC, abstractmethod
from typing import Self


class Resource(ABC):
    """A context manager: entering makes all of it; after leaving, or if entering failed, nothing of it is left."""

    @abstractmethod
    def _build(self) -> None:
        """Make all of it.  If this raises, `close` removes what was made so far."""

    @abstractmethod
    def close(self) -> None:
        """Remove whatever has been made.  Idempotent."""

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
