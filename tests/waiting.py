"""What tests do with one prober, where the product has a loop for all of them."""

from __future__ import annotations

import select
import time

from floatingip.core.ports import Prober
from floatingip.core.probe import ProbeResult


def collect(prober: Prober, until: float) -> list[ProbeResult]:
    """Wait until some result is known, until the monotonic time `until` at most."""
    while not (results := prober.collect()) and (now := time.monotonic()) < until:
        poll = select.poll()
        for file, events in prober.files():
            poll.register(file, events)
        poll.poll(max(0.0, min(until, prober.due_at()) - now) * 1000)
    return results
