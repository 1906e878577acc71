"""
How a command insists on what EC2 throttles, as it does while a whole fleet is in trouble: it waits, says so, and asks
again.

Only what EC2 says it has not done is done again: after any other failure it may have been done (R8).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from floatingip.commands.complaint import complain
from floatingip.core.errors import Throttled

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between the tries: EC2 lets some calls pass each second, and nobody at a terminal waits for much longer."""

T = TypeVar("T")


def aloud(text: str) -> None:
    """Say it on standard error: the output is for what was done."""
    complain("", text)


def insist(call: Callable[[], T], say: Callable[[str], None] = aloud, sleep: Callable[[float], None] = time.sleep) -> T:
    """What the call returns; ``say`` is told of each pause.  Raises ``Throttled`` when none of them has helped."""
    for pause in PAUSES:
        try:
            return call()
        except Throttled as error:
            say(f"{error}; trying again in {pause:g} s")
        sleep(pause)
    return call()
