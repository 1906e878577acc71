"""
The blow: the moment at which a holder is struck, after all that led to it.

The checker counts detection from there.
"""

import time
from collections.abc import Callable

from lab.run import nemesis
from lab.run.machine import Machine
from lab.run.region import Region


def blow(region: Region, machine: Machine) -> None:
    """It falls on this machine now."""
    region.history.record({"source": "nemesis", "event": "blow", "target": machine.name})


def die(region: Region, machine: Machine) -> None:
    """The holder loses power, after all that went before."""
    blow(region, machine)
    nemesis.cut_power(region, machine)


def until(condition: Callable[[], bool], within: float, otherwise: str) -> None:
    """What leads to it, or follows, takes its time: wait for that.  Raises TimeoutError."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} after {within:g} s")
        time.sleep(0.02)
