"""
Where NodePorts answer, seen from here: on each worker that is known, this one included, at its primary address.

What each observer sees it tells the others; what follows from all of it is for the core (served.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from floatingip.core.decision.served import CHECK_EVERY
from floatingip.core.model import Address, NodePort, ProbeOutcome, ProbeResult
from floatingip.core.ports import Prober
from floatingip.runtime.threads import ProbeLoop, Probes

CHECKED_AT_MOST = 4
"""NodePorts that are checked: each costs a connection a second from each standby, and those among the workers."""


def chosen(listed: Sequence[NodePort], before: Collection[int], answered: Collection[int]) -> tuple[NodePort, ...]:
    """Which to check of those that there are.

    What has ever answered stays; what has not, though it was checked ``before``, gives way to what was not yet.
    """
    order = sorted(listed, key=lambda each: (each.port not in answered, each.port in before, each.port))
    return tuple(sorted(order[:CHECKED_AT_MOST], key=lambda each: each.port))


@dataclass
class _Check:
    """Of one NodePort on one node; ``last`` is when the last one that says anything was sent, and whether it passed."""

    node_port: NodePort
    address: Address
    probes: Probes | None = None
    last: tuple[float, bool] | None = None
    ever_passed: bool = False

    def take(self, result: ProbeResult) -> None:
        """Called from the thread that probes."""
        if result.outcome is not ProbeOutcome.FAILED_HERE:
            passed = result.outcome is ProbeOutcome.ANSWERED
            self.last = (result.sent_at, passed)
            self.ever_passed = self.ever_passed or passed


class Serving:
    """Checks the NodePorts that it is told of on the nodes that it is told of; for the deciding thread."""

    def __init__(
        self,
        prober: Callable[[NodePort, Address], Prober],
        probe_loop: ProbeLoop,
        interval: float,
        timeout: float,
    ) -> None:
        self._prober = prober
        self._probe_loop = probe_loop
        self._interval = max(CHECK_EVERY, interval)
        self._believed_for = 2 * self._interval + timeout
        self._checks: dict[tuple[str, int], _Check] = {}

    def follow(self, nodes: Mapping[str, Address], node_ports: Collection[NodePort]) -> None:
        """Check these from now on, and nothing else; nodes are primary addresses by instance id."""
        wanted = {
            (instance_id, each.port): (each, address)
            for instance_id, address in nodes.items()
            for each in node_ports
            if address.version in each.versions
        }
        for key, check in list(self._checks.items()):
            if wanted.get(key) != (check.node_port, check.address):
                if check.probes is not None:
                    check.probes.stop()
                del self._checks[key]
        for key, (node_port, address) in wanted.items():
            if key not in self._checks:
                check = self._checks[key] = _Check(node_port, address)
                prober = self._prober(node_port, address)
                check.probes = self._probe_loop.follow(prober, self._interval, self._interval, check.take)
                check.probes.switch(on=True)

    def told(self, now: float) -> dict[str, dict[int, bool]]:
        """What the last checks found, as far as they are not too old."""
        told: dict[str, dict[int, bool]] = {}
        for (instance_id, port), check in self._checks.items():
            last = check.last
            if last is not None and now - last[0] <= self._believed_for:
                told.setdefault(instance_id, {})[port] = last[1]
        return told

    def answered(self) -> frozenset[int]:
        """The NodePorts that answered anywhere, since they are checked."""
        return frozenset(port for (_, port), check in self._checks.items() if check.ever_passed)
