"""
The blow: the moment at which a holder is struck, after all preparations.

The checker counts detection from that moment.
"""

import time
from collections.abc import Callable

from lab.run import nemesis
from lab.run.machine import Machine
from lab.run.region import Region


def blow(region: Region, machine: Machine) -> None:
    """Record that the blow falls on this machine now."""
    region.history.record({"source": "nemesis", "event": "blow", "target": machine.name})


def die(region: Region, machine: Machine) -> None:
    """The holder loses power, which is the blow."""
    blow(region, machine)
    nemesis.cut_power(region, machine)


def until(condition: Callable[[], bool], within: float, otherwise: str) -> None:
    """Wait until the condition is true.  Raises TimeoutError if it is not so `within` so many seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} after {within:g} s")
        time.sleep(0.02)
