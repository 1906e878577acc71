"""
On which other nodes the service answers, seen from here.

A node's own check of its own address proves nothing: kube-proxy sends what comes from the node itself to pods of the
whole cluster.  So each observer checks the others, at their primary addresses, and tells what it saw (R7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from floatingip.model import Address, ProbeOutcome, ProbeResult
from floatingip.ports import Prober
from floatingip.threads import ProbeLoop, Probes

CHECK_EVERY = 3.0
"""Seconds between two checks of one node."""

SEEN_FOR = 10.0
"""Seconds for which a check that passed is told to others."""


class Serving:
    """Checks the nodes that it is told of.  Everything but ``post`` runs on the deciding thread."""

    def __init__(
        self,
        prober: Callable[[Address], Prober],
        probe_loop: ProbeLoop,
        post: Callable[[Callable[[], None]], None],
        interval: float,
    ) -> None:
        self._prober = prober
        self._probe_loop = probe_loop
        self._post = post
        self._interval = max(CHECK_EVERY, interval)
        self._checks: dict[str, tuple[Address, Probes]] = {}
        self._seen_at: dict[str, float] = {}

    def follow(self, nodes: Mapping[str, Address]) -> None:
        """Check these nodes from now on: primary addresses, as EC2 shows them, by instance id."""
        for instance_id, (address, probes) in list(self._checks.items()):
            if nodes.get(instance_id) != address:
                probes.stop()
                del self._checks[instance_id]
                self._seen_at.pop(instance_id, None)
        for instance_id, address in nodes.items():
            if instance_id not in self._checks:
                prober, found = self._prober(address), self._receive(instance_id)
                probes = self._probe_loop.follow(prober, self._interval, self._interval, found)
                self._checks[instance_id] = (address, probes)
                probes.switch(on=True)

    def seen(self, now: float) -> tuple[str, ...]:
        """The instances on which the service answered lately."""
        return tuple(sorted(instance_id for instance_id, at in self._seen_at.items() if now - at <= SEEN_FOR))

    def _receive(self, instance_id: str) -> Callable[[ProbeResult], None]:
        def passed(result: ProbeResult) -> None:
            if result.outcome is ProbeOutcome.ANSWERED:
                self._post(lambda: self._passed(instance_id, result.sent_at))

        return passed

    def _passed(self, instance_id: str, at: float) -> None:
        if instance_id in self._checks:
            self._seen_at[instance_id] = at
