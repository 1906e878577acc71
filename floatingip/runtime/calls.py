"""
How the calls to EC2 of one look, or of one write, are made: with a little patience where EC2 refuses for the moment.

What a job learns or does by them is in look.py and performing.py.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeVar

from floatingip.core.errors import CloudError, CloudUnavailable, Throttled
from floatingip.edges import background, clock

RETRY_AFTER = (0.1, 0.3)
"""Seconds, at random between these, after which a question that EC2 refused for the moment is put once more: the
questions of one look are put side by side, and one that is throttled must not spoil what the others learned.
"""

REFUSED_WITHIN = 1.0
"""Seconds within which a question must have failed to be put once more: what took longer is left to the next look."""

WRITES_AGAIN_AFTER = ((0.03, 0.1), (0.2, 0.4))
"""Seconds, at random between these, after which a write that EC2 throttled is made a second and a third time.  The
first pause is short, so that no question comes between: where EC2 throttles every second call, the write would be
throttled again.
"""

THROTTLED_WITHIN = 0.5
"""Seconds within which EC2 must have throttled a write for it to be made again: what it was decided by gets old."""

T = TypeVar("T")


class Calls:
    """Makes the calls of one look, or of one write.

    A question that EC2 refuses at once and for the moment, as it does when it throttles, is put a second time soon.
    ``made`` has one entry for each call that was made: a list, since calls are made from several threads.
    """

    def __init__(self) -> None:
        self.made: list[None] = []

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask, and wait for the answer."""
        return self._make(ask, (RETRY_AFTER,), CloudUnavailable, REFUSED_WITHIN)

    def insist(self, write: Callable[[], None]) -> None:
        """Make a write, and make it again only while EC2 throttles it: after any other failure it may have been done
        (R8).  It is tried more than once since, where EC2 throttles every second call, a look ends with one that was
        not throttled, and the write that follows is.
        """
        self._make(write, WRITES_AGAIN_AFTER, Throttled, THROTTLED_WITHIN)

    def _make(
        self, call: Callable[[], T], pauses: Iterable[tuple[float, float]], passing: type[CloudError], within: float
    ) -> T:
        """Make the call, and make it again after each of these pauses while it fails like that, and so soon."""
        for pause in pauses:
            began = clock.now()
            self.made.append(None)
            try:
                return call()
            except passing:
                if clock.now() - began > within:
                    raise
            time.sleep(random.uniform(*pause))
        self.made.append(None)
        return call()

    def begin(self, ask: Callable[[], T]) -> Future[T]:
        """Begin to ask, beside the other calls."""
        return background.begin("look-beside", functools.partial(self.patiently, ask))
