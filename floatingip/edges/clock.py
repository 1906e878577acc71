"""
The clock by which everything here is timed: its seconds never jump, and it goes on while the machine sleeps.

Linux' monotonic clock stands still while a machine is suspended or hibernated.  By that clock an answer of EC2 from
before the sleep would be a moment old on waking, and a write that was decided by it might be made hours later, when
another node has the address.  So CLOCK_BOOTTIME is used, which counts the sleep.  Systems without it (macOS, on which
the commands may be run) use the monotonic clock.  Threads that wait in the kernel, for an event or a lock, wait by the
monotonic clock nevertheless: after a sleep they wake late, and then find that their time is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

now: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""The time, in seconds since some moment."""
