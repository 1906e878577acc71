"""
The clock by which everything here is timed: seconds that never jump, nor stand still while the machine sleeps.

Linux' monotonic clock stands still while a machine is suspended or hibernated.  By that clock an answer of EC2 from
before the sleep is a moment old on waking, and a write that was decided by it may still be made: hours later, when
another node has the address.  So it is the clock that counts that time, too; where there is none (macOS, from which the
commands may be run) the monotonic one does.  Whatever waits in the kernel, as for an event or on a lock, waits by the
monotonic clock nevertheless: after a sleep it wakes late, and finds then that its time is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

now: Callable[[], float] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
"""The time, in seconds since some moment."""
