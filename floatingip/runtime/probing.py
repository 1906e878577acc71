"""Sends and collects the probes of all addresses and NodePorts, from one thread."""

from __future__ import annotations

import contextlib
import math
import select
import socket
from collections.abc import Callable

from floatingip.agent.effects import Probing
from floatingip.agent.events import Probed
from floatingip.core import timing
from floatingip.core.ports import Prober
from floatingip.core.probe import ProbeOutcome
from floatingip.edges import background, clock
from floatingip.runtime.pulse import Pulse


class Probes:
    """The probes of one ``probing``; ``told`` is called with what came of each."""

    def __init__(self, probing: Probing, prober: Prober, told: Callable[[Probed], None]) -> None:
        self.prober = prober
        self._probing = probing
        self._told = told
        self._calm = True
        self._sent_at: float | None = None

    def due_at(self) -> float:
        """When the next probe is to be sent."""
        if self._sent_at is None:
            return -math.inf
        probing = self._probing
        return next_in_peace(self._sent_at, probing.interval) if self._calm else self._sent_at + probing.fast_interval

    def send(self, now: float) -> None:
        """Send one."""
        self._sent_at = now
        self.prober.send()

    def collect(self) -> None:
        """Pass on what came of the probes, in the order of sending."""
        for result in self.prober.collect():
            # The result itself sets the pace here.  If the agent set it, the next probe would be sent too late, since
            # the agent hears of the result only after a while.  A probe that could not be sent changes no pace.
            if result.outcome is not ProbeOutcome.FAILED_HERE:
                self._calm = result.outcome is ProbeOutcome.ANSWERED
            self._told(Probed(self._probing, result))


def next_in_peace(sent_at: float, interval: float) -> float:
    """When to send the next probe after one sent at ``sent_at``: ``interval`` seconds later, or up to a quarter less.

    The time is rounded, so that the probes of many addresses are soon sent together: waking up costs ten times what
    sending does.
    """
    step = interval / 4
    return (sent_at + interval) // step * step


class ProbeLoop:
    """Sends the probes; ``prober`` makes a prober for each probing, ``told`` is called in the loop's thread with each
    result.

    ``pulse`` tells whether that goes on.
    """

    def __init__(self, prober: Callable[[Probing], Prober], told: Callable[[Probed], None]) -> None:
        self._prober = prober
        self._told = told
        self._followed: dict[Probing, Probes] = {}
        self._ear, self._bell = socket.socketpair()
        self.pulse = Pulse("probes", timing.LIVE_WITHIN)
        self._ear.setblocking(False)
        self._bell.setblocking(False)

    def start(self) -> None:
        """Begin."""
        background.start("probe", self._run)

    def follow(self, probings: frozenset[Probing]) -> None:
        """From now on probe these, and nothing else; called by the deciding thread."""
        followed = self._followed
        self._followed = {
            probing: followed.get(probing) or Probes(probing, self._prober(probing), self._told) for probing in probings
        }
        with contextlib.suppress(BlockingIOError):  # The socket is full, so the loop is about to wake up anyway.
            self._bell.send(b"!")

    def _run(self) -> None:
        while True:
            self.pulse.works()
            now = clock.now()
            followed = self._followed.values()
            for probes in followed:
                if probes.due_at() <= now:
                    probes.send(now)
            self._wait(tuple(followed))

    def _wait(self, followed: tuple[Probes, ...]) -> None:
        """Wait until the next probe is due, or a result is there, and collect what is known by then."""
        poll = select.poll()
        poll.register(self._ear, select.POLLIN)
        until, awaited = math.inf, dict[int, Probes]()
        for probes in followed:
            collect_at = probes.prober.due_at()
            until = min(until, probes.due_at(), collect_at)
            if collect_at < math.inf:
                for file, events in probes.prober.files():
                    poll.register(file, events)
                    awaited[file] = probes
        self.pulse.rests()
        ready = poll.poll(None if until == math.inf else max(0.0, until - clock.now()) * 1000)
        self.pulse.works()
        called = {awaited[file] for file, _ in ready if file in awaited}
        now = clock.now()
        for probes in followed:
            if probes in called or probes.prober.due_at() <= now:
                probes.collect()
        if self._ear.fileno() in (file for file, _ in ready):
            self._ear.recv(4096)
