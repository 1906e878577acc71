"""
On which workers NodePorts answer, as this node sees it: it checks each known worker, itself included, at its primary
address.

Observers tell each other what they see; core/decision/served.py says what follows from that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from floatingip.agent.effects import Probing
from floatingip.core import timing
from floatingip.core.model import Address
from floatingip.core.probe import NodePort, ProbeOutcome, ProbeResult

CHECKED_AT_MOST = 4
"""At most this many NodePorts are checked.  Each costs a connection a second from each standby, and more between the
workers."""


def chosen(listed: Sequence[NodePort], before: Collection[int], answered: Collection[int]) -> tuple[NodePort, ...]:
    """Which NodePorts to check of those that are ``listed``.

    One that has ever ``answered`` stays.  One that never has, though it was checked ``before``, gives way to others.
    """
    order = sorted(listed, key=lambda each: (each.port not in answered, each.port in before, each.port))
    return tuple(sorted(order[:CHECKED_AT_MOST], key=lambda each: each.port))


class Serving:
    """Checks the NodePorts on nodes every ``interval`` seconds; a check that takes longer than ``timeout`` is lost.

    ``probings`` are the checks to run now.
    """

    def __init__(self, interval: float, timeout: float) -> None:
        self._interval = max(timing.SERVED_CHECK_EVERY, interval)
        self._believed_for = 2 * self._interval + timeout
        self.probings: frozenset[Probing] = frozenset()
        self._last: dict[Probing, tuple[float, bool]] = {}
        self._passed: set[Probing] = set()

    def follow(self, nodes: Mapping[str, Address], node_ports: Collection[NodePort]) -> None:
        """From now on check these, and nothing else; ``nodes`` are primary addresses by instance id."""
        self.probings = frozenset(
            Probing(instance_id, address, self._interval, self._interval, each)
            for instance_id, address in nodes.items()
            for each in node_ports
            if address.version in each.versions
        )
        self._last = {probing: last for probing, last in self._last.items() if probing in self.probings}
        self._passed &= self.probings

    def probed(self, probing: Probing, result: ProbeResult) -> None:
        """Take up what came of a check."""
        if probing in self.probings and result.outcome is not ProbeOutcome.FAILED_HERE:
            passed = result.outcome is ProbeOutcome.ANSWERED
            self._last[probing] = (result.sent_at, passed)
            if passed:
                self._passed.add(probing)

    def told(self, now: float) -> dict[str, dict[int, bool]]:
        """Whether each last check was answered, by instance id and port; without checks that are too old."""
        told: dict[str, dict[int, bool]] = {}
        for probing, (sent_at, passed) in self._last.items():
            if probing.node_port is not None and now - sent_at <= self._believed_for:
                told.setdefault(probing.whose, {})[probing.node_port.port] = passed
        return told

    def answered(self) -> frozenset[int]:
        """The NodePorts that have answered on any node since they have been checked."""
        return frozenset(each.node_port.port for each in self._passed if each.node_port is not None)
