"""What tests of planned moves have in common: a fleet, what Kubernetes and IMDS tell it, and checks of what it does."""

from dataclasses import replace

import pytest

from floatingip.core.model import Carry, Target
from floatingip.core.node import Notice, OwnPod
from tests.fakes.ec2 import Delays
from tests.sim.fleet import INSTANT, Fleet
from tests.sim.invariants import Invariants
from tests.sim.observer import Observer
from tests.sim.worker import LIVING

QUICK = replace(INSTANT, delays=Delays(attach=0.2, detach=0.2, assign=0.2, unassign=0.1, shutdown=30.0, release=20.0))
BOTH = pytest.mark.parametrize("carry", Carry)
SPOT = Notice("spot instance-action", "terminate at 2026-01-01T00:00:00Z")
DRAIN = "EvictionByEvictionAPI"
SILENT = OwnPod(0.0, problem="no answer in time")
DENIED = OwnPod(
    0.0, answered=True, problem="403 for default/floating-ip: the role must allow to get pods", refused=True
)
BUSY = OwnPod(0.0, answered=True, problem="429 for default/floating-ip")
WRITTEN_OFF = replace(LIVING, ready=False)
GONE = OwnPod(0.0, answered=True, gone=True)
SOON = 7.0
"""Seconds within which an observer knows what IMDS or the API server tells."""

RELIEVED_KNOWN = 3.0
"""Seconds within which a former holder knows that it is relieved: by two answers of EC2, 2 s apart."""


def quick(carry: Carry, workers: int = 2) -> Fleet:
    """A fleet whose EC2 acts fast, but only some time after it has answered a call."""
    return Fleet(1, workers=workers, profile=QUICK, carry=carry)


def serves(fleet: Fleet, observer: Observer, within: float) -> None:
    """Wait until the observer's worker serves the address."""
    fleet.wait(lambda: fleet.serving() is observer.worker, within, f"{observer.worker.name} serves")


def stays(fleet: Fleet, observer: Observer, seconds: float) -> None:
    """The observer's worker serves the address all that time."""
    fleet.holds_for(lambda: fleet.serving() is observer.worker, seconds, f"{observer.worker.name} serves")


def ends(fleet: Fleet, observer: Observer, within: float) -> None:
    """The observer ends with exit code 0."""
    fleet.wait(lambda: observer.end is not None, within, "it ends")
    assert observer.end is not None
    assert (observer.end.code, observer.end.error) == (0, None)


def outlasts(fleet: Fleet, invariants: Invariants, target: Target, seconds: float, *, out_at_most: float) -> None:
    """For so many ``seconds`` no invariant is broken, and the target is never out for longer than ``out_at_most``."""
    served_at, ends_at = fleet.now, fleet.now + seconds
    while fleet.now < ends_at:
        fleet.run(fleet.now + 0.1)
        invariants.look()
        served_at = fleet.now if fleet.serving(target) is not None else served_at
        assert fleet.now - served_at <= out_at_most, "\n".join(fleet.lines)
    assert not invariants.faults, "\n".join(fleet.lines)


def moved(*observers: Observer) -> list[str]:
    """The names of these observers' workers, as `Fleet.stays` returns them."""
    return [observer.worker.name for observer in observers]
