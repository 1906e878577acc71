"""What a command has of its user: where to tell what happens, and the clock by which they wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from floatingip.commands.insisting import aloud, insist
from floatingip.core.errors import CloudError, Throttled

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Console:
    """``say`` is called with what happens, and ``wait`` again and again with what is waited for."""

    say: Callable[[str], None] = aloud
    wait: Callable[[str], None] = lambda _: None
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def insist(self, call: Callable[[], T], after: type[CloudError] = Throttled) -> T:
        """What the call to EC2 returns, repeated while EC2 throttles it, or ``after`` that error.  That is said."""
        return insist(call, self.say, self.sleep, after)


ALOUD = Console()
"""The user at a terminal: told on standard error, as standard output is for what was done."""
