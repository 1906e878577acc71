"""
Whether a floating address works between two nodes: its holder asks the other node's observer from that very address.

An observer in doubt asks for the result of the last check; if that is old, a new check begins in the background.
"""

from __future__ import annotations

import functools
import threading

from floatingip.core import timing
from floatingip.core.model import Address
from floatingip.core.peer import Sight
from floatingip.edges import background, clock
from floatingip.runtime.peers import reaches

CHECKS_AT_MOST = 64
"""At most this many checks are under way at a time."""


class Sights:
    """The checks made from this node: it asks observers, which listen on ``port``."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._found: dict[tuple[Address, Address], tuple[Sight, float]] = {}
        self._checking: set[tuple[Address, Address]] = set()
        self._lock = threading.Lock()

    def of(self, asker: Address, source: Address) -> Sight:
        """Whether the observer at ``asker`` can be reached from the floating address ``source``, as far as is known.

        Both are of the same IP version.
        """
        key, now = (source, asker), clock.now()
        with self._lock:
            self._found = {
                checked: found for checked, found in self._found.items() if now - found[1] <= timing.SIGHT_TOLD_FOR
            }
            sight, at = self._found.get(key, (Sight.UNTRIED, float("-inf")))
            if (
                now - at > timing.SIGHT_CHECKED_EVERY
                and key not in self._checking
                and len(self._checking) < CHECKS_AT_MOST
                # Else the next question begins it.
                and background.starts("sight", functools.partial(self._check, *key))
            ):
                self._checking.add(key)
        return sight

    def _check(self, source: Address, asker: Address) -> None:
        sight = Sight.SEEN if reaches(asker, self._port, source) else Sight.UNSEEN
        with self._lock:
            self._found[source, asker] = (sight, clock.now())
            self._checking.discard((source, asker))
