"""
How a command repeats a call that EC2 throttles, as it does while a whole fleet is in trouble: it waits, says so, and
calls again.

Only what EC2 surely has not done is repeated: a throttled call, and where the caller says so, one that names what is
gone.  After any other failure EC2 may have done it (R8).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from floatingip.commands.complaint import complain
from floatingip.core.errors import CloudError, Throttled

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds between the tries: EC2 admits some calls each second, and nobody at a terminal waits for much longer."""

T = TypeVar("T")


def aloud(text: str) -> None:
    """Say ``text`` on standard error: standard output is for what was done."""
    complain("", text)


def insist(
    call: Callable[[], T],
    say: Callable[[str], None] = aloud,
    sleep: Callable[[float], None] = time.sleep,
    after: type[CloudError] = Throttled,
) -> T:
    """What the call returns; it is repeated ``after`` that error, and ``say`` is called with each pause.  Raises the
    error if the last try ended with it.
    """
    for pause in PAUSES:
        try:
            return call()
        except after as error:
            say(f"{error}; trying again in {pause:g} s")
        sleep(pause)
    return call()
