"""The ports of an observer on a simulated worker: probes, the kernel, IMDS and the API server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from floatingip.agent.effects import Probing
from floatingip.core.errors import MetadataError
from floatingip.core.model import Address
from floatingip.core.node import Identity, Interface, Notice, OwnPod
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport, PlumbingState
from floatingip.core.probe import ProbeOutcome, ProbeResult

if TYPE_CHECKING:
    from tests.sim.worker import Worker

ROUND_TRIP = 0.001
"""Seconds until a probe or a question is answered within a zone."""

PROBES, QUESTIONS = "probes", "questions"
"""The two kinds of packets between workers."""


class SimulatedProber:
    """`ports.Prober`.  A ping is answered if the worker that has the address by EC2 carries it; a probe of a NodePort,
    at a floating address or a worker's own, if that worker also serves NodePorts there.
    """

    def __init__(self, worker: Worker, probing: Probing, sent: list[float]) -> None:
        self._worker = worker
        self._address = probing.address
        self._is_node_port = probing.node_port is not None
        settings = worker.fleet.settings
        self._timeout = settings.service_timeout if self._is_node_port else settings.probe_timeout
        self._under_way: deque[ProbeResult] = deque()
        self._sent = sent

    def send(self) -> None:
        """See `ports.Prober`."""
        fleet, now = self._worker.fleet, self._worker.fleet.now
        there = fleet.having(self._address) if self._is_node_port else fleet.serving(self._address)
        self._sent.append(now)
        takes = ROUND_TRIP + fleet.delay
        answers = there is not None and (
            there.serves_at(self._address) if self._is_node_port else not there.drops_pings
        )
        reached = answers and there is not None and fleet.passes(self._worker, there, PROBES)
        if reached and takes < self._timeout:
            self._under_way.append(ProbeResult(now, now + takes, ProbeOutcome.ANSWERED))
        else:
            self._under_way.append(ProbeResult(now, now + self._timeout, ProbeOutcome.LOST))

    def collect(self) -> list[ProbeResult]:
        """See `ports.Prober`."""
        now = self._worker.fleet.now
        known = []
        while self._under_way and self._under_way[0].known_at <= now:
            result = self._under_way.popleft()
            known.append(result if result.known_at == now else replace(result, known_at=now))
        return known

    def due_at(self) -> float:
        """See `ports.Prober`."""
        return self._under_way[0].known_at if self._under_way else float("inf")

    def files(self) -> list[tuple[int, int]]:
        """See `ports.Prober`.  None: in simulated time there is no file to wait for."""
        return []


class Kernel:
    """`ports.Host`, `ports.Metadata` and `ports.Orders` of a worker: it does what it is asked for, and answers
    truthfully.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def plumb(self, plumbing: Plumbing, extent: Extent) -> PlumbingReport:
        """See `ports.Host`."""
        plumbed, address, mac = self._worker.plumbed, plumbing.address, plumbing.mac
        if mac not in self._worker.devices:
            return PlumbingReport(PlumbingState.NO_LINK, extent=extent)
        is_there = plumbed.get(address) == mac
        if extent is Extent.AS_LEFT and not is_there:
            return PlumbingReport(PlumbingState.NO_LINK, extent=Extent.NOTHING)
        if extent in (Extent.AS_FOUND, Extent.AS_LEFT):
            extent = Extent.ALL if is_there else Extent.AHEAD
        if self._worker.problem:
            return PlumbingReport(PlumbingState.UNSOUND, problem=self._worker.problem, extent=extent)
        if extent is Extent.AHEAD:
            removed = self._drop(address)
            return PlumbingReport(PlumbingState.SOUND, removed=removed, extent=extent)
        plumbed[address] = mac
        if not is_there:
            self._worker.came_at[address] = self._worker.fleet.now
        return PlumbingReport(PlumbingState.SOUND, () if is_there else ("address",), extent=extent)

    def unplumb(self, plumbing: Plumbing) -> tuple[str, ...]:
        """See `ports.Host`."""
        return self._drop(plumbing.address)

    def _drop(self, address: Address) -> tuple[str, ...]:
        if self._worker.plumbed.pop(address, None) is None:
            return ()
        self._worker.fleet.dropped(self._worker, address)
        return ("address",)

    def announce(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""

    def route_probes(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""

    def unroute_probes(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""

    def blind(self, plumbing: Plumbing) -> str:
        """See `ports.Host`."""
        return self._worker.blind

    def watch(self, wake: Callable[[], None]) -> None:
        """See `ports.Host`.  Nothing to do: the worker itself tells its observer of changes."""

    def identity(self) -> Identity:
        """See `ports.Metadata`."""
        return self._worker.identity()

    def interface_with(self, address: Address) -> Interface | None:
        """See `ports.Metadata`."""
        network = self._worker.fleet.subnet.network_of(address)
        assert network is not None, "the subnet has addresses of both kinds"
        self._answer()
        found = (Interface(eni.mac, network) for eni in self._worker.enis() if eni.occupies(address))
        return next(found, None)

    def addresses_of(self, mac: str) -> frozenset[Address] | None:
        """See `ports.Metadata`."""
        self._answer()
        for eni in self._worker.enis(self._worker.imds_lag):
            if eni.mac == mac:
                shown = frozenset[Address](filter(None, (eni.address, *eni.secondary, *eni.ipv6s)))
                return shown - self._worker.imds_lacks
        return None

    def _answer(self) -> None:
        if self._worker.is_imds_silent:
            raise MetadataError("IMDS does not answer")

    def notice(self) -> Notice | None:
        """See `ports.Metadata`."""
        self._answer()
        return self._worker.notice

    def own_pod(self) -> OwnPod:
        """See `ports.Orders`."""
        told = self._worker.told_pod
        assert told is not None, "the crew asks, and waits for no answer"
        return replace(told, asked_at=self._worker.fleet.now)


def no_prober(address: Address) -> SimulatedProber:
    """Stands for the function that makes probers, which nobody calls here: the crew probes."""
    raise AssertionError(f"{address} is probed by the crew")
