"""A thread that hangs in the midst of its work is told, and one that waits for work is not."""

import threading
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from floatingip.agent.effects import Keep, Wanted
from floatingip.core import timing
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport
from floatingip.core.probe import ProbeOutcome
from floatingip.edges import clock
from floatingip.runtime.keeping import HostKeeper
from floatingip.runtime.probing import ProbeLoop
from floatingip.runtime.pulse import Pulse
from tests.edges.test_keeping import PATIENCE, Kernel, plumbing
from tests.edges.test_probe_loop import Script, probing
from tests.waiting import until


class Stuck:
    """What waits in the kernel until the test is over."""

    def __init__(self) -> None:
        self.entered, self.over = threading.Event(), threading.Event()

    def wait(self) -> None:
        self.entered.set()
        self.over.wait(60)


class StuckKernel(Kernel):
    """As where another process keeps the kernel's lock for what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck_at = Stuck()

    def plumb(self, plumbing: Plumbing, extent: Extent) -> PlumbingReport:
        if plumbing.address == IPv4Address("10.0.0.101"):
            self.stuck_at.wait()
        return super().plumb(plumbing, extent)


class StuckProber(Script):
    """One that the kernel does not let send."""

    def __init__(self) -> None:
        super().__init__(ProbeOutcome.ANSWERED)
        self.stuck_at = Stuck()

    def send(self) -> None:
        self.stuck_at.wait()
        super().send()


def later(seconds: float) -> float:
    return clock.now() + seconds


def test_the_keeper_of_the_kernel_hangs_where_the_kernel_does_not_let_it_go_on() -> None:
    """Not while it waits for an event; and no longer once the kernel has answered."""
    kernel = StuckKernel()
    keeper = HostKeeper(kernel, lambda target, report: None)
    keeper.start()
    keeper.take_up(Keep(IPv4Address("10.0.0.100"), Wanted(plumbing(), Extent.ALL)))
    kernel.until("plumb")
    until(lambda: keeper.pulse.trouble(later(3600)) == "")
    keeper.take_up(Keep(IPv4Address("10.0.0.101"), Wanted(plumbing(IPv4Address("10.0.0.101")), Extent.ALL)))
    assert kernel.stuck_at.entered.wait(PATIENCE)
    assert keeper.pulse.trouble(later(timing.KEEPER_LIVE_WITHIN - 10.0)) == ""
    assert keeper.pulse.trouble(later(timing.KEEPER_LIVE_WITHIN + 10.0)).startswith(
        "the thread that keeps the kernel has hung for "
    )
    kernel.stuck_at.over.set()
    until(lambda: keeper.pulse.trouble(later(3600)) == "")
    keeper.end(PATIENCE)


def test_the_thread_that_probes_hangs_where_nothing_can_be_sent() -> None:
    """Not while there is nothing to probe."""
    prober = StuckProber()
    loop = ProbeLoop(lambda _: prober, lambda probed: None)
    loop.start()
    until(lambda: loop.pulse.trouble(later(3600)) == "")
    loop.follow(frozenset({probing()}))
    assert prober.stuck_at.entered.wait(PATIENCE)
    assert loop.pulse.trouble(later(timing.LIVE_WITHIN + 2.0)).startswith("the thread that probes has hung for ")
    prober.stuck_at.over.set()
    until(lambda: loop.pulse.trouble(later(3600)) == "")
    loop.follow(frozenset())


@pytest.mark.parametrize(("is_at_work", "seconds", "hangs"), [(False, 3600, False), (True, 9, False), (True, 12, True)])
def test_only_work_that_takes_too_long_is_told(*, is_at_work: bool, seconds: float, hangs: bool) -> None:
    """A piece that begins ends the one before."""
    pulse = Pulse("works", 10.0)
    steps: list[Callable[[], None]] = [pulse.works, pulse.works, *([] if is_at_work else [pulse.rests])]
    for step in steps:
        step()
    assert (pulse.trouble(later(seconds)) == "the thread that works has hung for 12 s") == hangs
