"""
Ask whether an address can be reached: by ICMP echo and, once one was lost, by TCP as well.

A security group may close ICMP while the address serves all the same.  Any answer to a TCP connection shows that the
address is alive, even a refusal: the kernel of the node that has the address gives it, whatever its observer does.  So
a probe counts as lost only if both are silent, and an address that is closed to pings alone is not moved (R4).

A firewall, or a kernel by net.ipv4.icmp_ratemask, may let some pings pass, one a second for example.  So pings count as
blocked until many in a row were answered: otherwise the address would be in doubt each second, and EC2 be asked.

If this node itself rejects the connection, for example by kube-proxy's rules for somebody's Service, TCP tells nothing.
Then lost pings count only if pings were answered before by the present holder; otherwise nobody is convicted.  This
module does not know whether they were: core/health.py does.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from floatingip.core.ports import Prober
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.edges.socket_filter import OWN_ANSWER

CALM = 40
"""Echoes in a row that must be answered, since one was lost, until none is sent with a knock any more: ten seconds."""


@dataclass(slots=True)
class _Pair:
    """An echo, and, if ``knocked``, the knock (a TCP connection) sent with it; their results are None until known."""

    knocked: bool
    echo: ProbeResult | None = None
    knock: ProbeResult | None = None

    def result(self) -> ProbeResult | None:
        """The result of the two together; None while that is not decided."""
        if not self.knocked or (self.echo is not None and self.echo.outcome is ProbeOutcome.ANSWERED):
            return self.echo
        if self.echo is None or self.knock is None:
            return None
        if self.knock.outcome is ProbeOutcome.ANSWERED:
            return replace(self.knock, by_tcp=True)
        # An echo or a knock that this node could not even send says nothing of the address.
        if self.knock.outcome is not ProbeOutcome.FAILED_HERE:
            return self.echo
        if self.echo.outcome is ProbeOutcome.LOST and self.knock.detail.startswith(OWN_ANSWER):
            return replace(self.echo, outcome=ProbeOutcome.FAILED_HERE, detail=self.knock.detail, ping_lost=True)
        return self.knock


class ReachProber:
    """`ports.Prober` by ``echo``; after a lost echo, each is sent with a ``knock``, until `CALM` in a row are answered.

    Once an answer came by TCP alone, all are told as such until then.
    """

    def __init__(self, echo: Prober, knock: Prober) -> None:
        self._echo = echo
        self._knock = knock
        self._answered_echoes = CALM
        self._are_blocked = False
        self._untold: deque[_Pair] = deque()
        self._echoes: deque[_Pair] = deque()
        self._knocks: deque[_Pair] = deque()

    def send(self) -> None:
        """Send one echo, and knock if that is due; see `ports.Prober`."""
        pair = _Pair(self._answered_echoes < CALM)
        self._untold.append(pair)
        self._echoes.append(pair)
        self._echo.send()
        if pair.knocked:
            self._knocks.append(pair)
            self._knock.send()

    def collect(self) -> list[ProbeResult]:
        """What is known of the probes; see `ports.Prober`."""
        for result in self._echo.collect():
            self._echoes.popleft().echo = result
            if result.outcome is not ProbeOutcome.FAILED_HERE:
                self._answered_echoes = self._answered_echoes + 1 if result.outcome is ProbeOutcome.ANSWERED else 0
        for result in self._knock.collect():
            self._knocks.popleft().knock = result
        results: list[ProbeResult] = []
        while self._untold and (told := self._untold[0].result()):
            self._are_blocked = told.by_tcp or (self._are_blocked and self._answered_echoes < CALM)
            results.append(replace(told, by_tcp=self._are_blocked and told.outcome is ProbeOutcome.ANSWERED))
            self._untold.popleft()
        return results

    def due_at(self) -> float:
        """When the first of both is due; see `ports.Prober`."""
        return min(self._echo.due_at(), self._knock.due_at())

    def files(self) -> list[tuple[int, int]]:
        """The sockets of both; see `ports.Prober`."""
        return [*self._echo.files(), *self._knock.files()]
