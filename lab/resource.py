"""What the lab makes for a while, and removes again, also when it fails in the middle of making it."""

from abc import ABC, abstractmethod
from typing import Self


class Resource(ABC):
    """A context manager: all of it is there when it is entered, and nothing when it is left or could not be entered."""

    @abstractmethod
    def _build(self) -> None:
        """Make all of it; what is there when this raises is removed by `close`."""

    @abstractmethod
    def close(self) -> None:
        """Remove what there is of it.  Idempotent."""

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
