"""Waiting: for what must happen soon, and for what one prober finds."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from floatingip.core.ports import Prober
from floatingip.core.probe import ProbeResult


def until(condition: Callable[[], object], within: float = 120.0) -> float:
    """Wait for what must happen, in so many seconds at most; the seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within, "it did not come true in time"
        time.sleep(0.02)
    return time.monotonic() - began


def collect(prober: Prober, until: float) -> list[ProbeResult]:
    """Wait until some result is known, until the monotonic time `until` at most."""
    while not (results := prober.collect()) and (now := time.monotonic()) < until:
        poll = select.poll()
        for file, events in prober.files():
            poll.register(file, events)
        poll.poll(max(0.0, min(until, prober.due_at()) - now) * 1000)
    return results
