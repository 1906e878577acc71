"""Calls to EC2 in simulated time: each is answered at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from floatingip.core.errors import CloudError
from floatingip.runtime.calls import Calls

T = TypeVar("T")


class Inline(Calls):
    """The calls of one look, without threads: all at the same moment, and each only once."""

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask once."""
        self.made.append(None)
        return ask()

    def insist(self, write: Callable[[], None]) -> None:
        """Write once."""
        self.made.append(None)
        write()

    def begin(self, ask: Callable[[], T]) -> Future[T]:
        """Ask at once."""
        answer: Future[T] = Future()
        try:
            answer.set_result(self.patiently(ask))
        except CloudError as error:
            answer.set_exception(error)
        return answer
