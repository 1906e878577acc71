"""
How the calls to EC2 of one look or one write are made: they are repeated if EC2 refuses them only for the moment.

Which calls are made is in look.py and performing.py.
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
"""Seconds, at random between these, after which a question that EC2 refused for the moment is asked once more.  The
questions of one look are asked side by side, and one that is throttled must not make the others' answers useless.
"""

REFUSED_WITHIN = 1.0
"""Seconds within which a question must have failed to be asked once more; if it took longer, the next look asks it."""

WRITES_AGAIN_AFTER = ((0.03, 0.1), (0.2, 0.4))
"""Seconds, at random between these, after which a write that EC2 throttled is made a second and a third time.  The
first pause is short, so that no question comes in between: if EC2 throttles every second call, the write would be
throttled again.
"""

THROTTLED_WITHIN = 0.5
"""Seconds within which EC2 must have throttled a write for it to be made again: what it was decided on gets old."""

T = TypeVar("T")


class Calls:
    """Makes the calls of one look, or of one write.

    A question that EC2 refuses at once and for the moment, as when it throttles, is asked a second time soon.  ``made``
    has one entry for each call that was made: a list, since several threads add to it.
    """

    def __init__(self) -> None:
        self.made: list[None] = []

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask, and wait for the answer."""
        return self._make(ask, (RETRY_AFTER,), CloudUnavailable, REFUSED_WITHIN)

    def insist(self, write: Callable[[], None]) -> None:
        """Make a write, and make it again only while EC2 throttles it: after any other failure it may have been done
        (R8).

        One try is not enough.  If EC2 throttles every second call, each look ends with a call that was not throttled,
        and so the write that follows is throttled.
        """
        self._make(write, WRITES_AGAIN_AFTER, Throttled, THROTTLED_WITHIN)

    def _make(
        self, call: Callable[[], T], pauses: Iterable[tuple[float, float]], passing: type[CloudError], within: float
    ) -> T:
        """Make the call; after each of the ``pauses`` make it again if it failed with ``passing``, soon enough."""
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
