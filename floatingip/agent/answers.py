"""Whether a floating address, and the NodePorts at it, answer this node: what is probed, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from floatingip.agent.effects import Probing
from floatingip.agent.recent import RecentProbes
from floatingip.agent.shared import Shared
from floatingip.core import health as probing_health
from floatingip.core import timing
from floatingip.core.health import Health, HealthState
from floatingip.core.model import Address
from floatingip.core.plumbing import PlumbingReport
from floatingip.core.probe import NodePort, ProbeOutcome, ProbeResult


class Answers:
    """
    What this node sees of one floating address, which is ``whose`` in the probings.

    ``address`` is what is probed, None before that is known; ``on``: it is being probed.  ``health`` says how the
    address answers, ``services`` how each checked NodePort answers at it, by port.  ``recent`` is for people to look
    at.  For ``health`` and ``services`` only probes count that were sent under the address' present attachment.
    ``blind`` is why this node, which should probe the address, cannot; empty if it can.
    """

    def __init__(self, whose: str, shared: Shared, now: float) -> None:
        self._whose = whose
        self._shared = shared
        self.address: Address | None = None
        self.on = False
        self.health = Health()
        self.services: dict[int, Health] = {}
        self.recent = RecentProbes()
        self.blind = ""
        self._node_ports: tuple[NodePort, ...] = ()
        self._answered_at: dict[int, float] = {}
        self._since = now
        self._unsent = ""
        self._unsent_since: float | None = None
        self._told_at = self._followed_at = now

    # What is probed.

    def probe(self, address: Address | None) -> None:
        """Probe this address from now on; None changes nothing.  An Elastic IP may move to another private address."""
        if address is None or address == self.address:
            return
        self.address = address
        self.check(())

    def check(self, node_ports: Sequence[NodePort]) -> None:
        """From now on check these NodePorts, as far as they serve the address' IP version, and no others."""
        address = self.address
        if address is None:
            return
        wanted = tuple(each for each in node_ports if address.version in each.versions)
        for gone in self._node_ports:
            if gone not in wanted:
                self.services.pop(gone.port, None)
                self._answered_at.pop(gone.port, None)
        for new in wanted:
            if new not in self._node_ports:
                self.services[new.port] = Health(self.health.attachment_id)
        self._node_ports = wanted

    def probings(self) -> frozenset[Probing]:
        """What is to be probed now."""
        address, settings, whose = self.address, self._shared.settings, self._whose
        if address is None or not self.on:
            return frozenset()
        pings = Probing(whose, address, settings.probe_interval, settings.probe_fast_interval)
        every = settings.service_interval
        return frozenset({pings, *(Probing(whose, address, every, every, each) for each in self._node_ports)})

    def turn(self, *, on: bool) -> None:
        """Probe the address from now on, or stop that: then forget for how long no probe could be sent."""
        self.on = on
        if not on:
            self._unsent_since = None

    # What came of it.

    def probed(self, probing: Probing, result: ProbeResult) -> bool:
        """Take up what came of a probe; return whether that is news."""
        if probing.address != self.address:
            return False
        if probing.node_port is None:
            return self._pinged(result)
        return probing.node_port in self._node_ports and self._checked(probing.node_port.port, result)

    def _pinged(self, result: ProbeResult) -> bool:
        settings, before = self._shared.settings, self.health
        self._told_at = max(self._told_at, result.known_at)
        result = probing_health.counted(before, result)
        if result.outcome is not ProbeOutcome.FAILED_HERE:
            self._unsent_since = None
        elif self._unsent_since is None:
            self._unsent, self._unsent_since = result.detail, result.sent_at
        self.recent.add(result)
        if result.sent_at >= self._since:
            rise, fall, timeout = settings.rise, settings.fall, settings.probe_timeout
            self.health = probing_health.observe(before, result, rise=rise, fall=fall, timeout=timeout)
        return probing_health.is_news(before, self.health)

    def _checked(self, port: int, result: ProbeResult) -> bool:
        settings, before = self._shared.settings, self.services.get(port)
        if before is None or result.sent_at < self._since:
            return False
        if result.outcome is ProbeOutcome.ANSWERED:
            self._answered_at[port] = result.sent_at
        rise, fall, timeout = settings.service_rise, settings.service_fall, settings.service_timeout
        after = self.services[port] = probing_health.observe(before, result, rise=rise, fall=fall, timeout=timeout)
        return after.state is not before.state or after.in_doubt is not before.in_doubt

    def look(self, report: PlumbingReport | None, now: float) -> None:
        """Find out whether this node can probe, by the last report on its kernel and by what became of its probes.

        A node that goes blind forgets what it has seen: that is no evidence any more, for itself or for its peers.
        """
        self._follow(now)
        before, self.blind = self.blind, self.why_blind(report, now)
        if self.blind and not before:
            self.forget(now)

    def why_blind(self, report: PlumbingReport | None, now: float) -> str:
        """Why this node, which should probe the address, cannot tell whether it answers; empty if it can."""
        if report is None or report.is_here:
            return ""
        return report.blind or self._unsent_for_long(now)

    def _follow(self, now: float) -> None:
        """Notice for how long probes could have told something; called at least once in each `timing.CALM_TICK`."""
        stood_still = now - self._followed_at > 2 * timing.CALM_TICK
        self._followed_at = now
        if stood_still or not self.on or self.address is None:
            # Then nothing could come of probes, or there were none.
            self._told_at = now

    def _unsent_for_long(self, now: float) -> str:
        """Why this node could not send any probe for a while, or heard nothing of any; empty if it did."""
        settings = self._shared.settings
        if now - self._told_at > timing.UNSENT_FOR + settings.probe_interval + settings.probe_timeout:
            return self._unseen("the thread that probes tells nothing", "restart this observer")
        if self._unsent_since is None or now - self._unsent_since < timing.UNSENT_FOR:
            return ""
        remedy = "does a firewall, a policy or NAT of this node drop or divert what goes to it, or is conntrack full?"
        return self._unseen(self._unsent, remedy)

    def _unseen(self, why: str, remedy: str) -> str:
        return f"{self.address} cannot be probed from here: {why}; {remedy}"

    def are_new(self, now: float) -> bool:
        """Whether this node has just begun to look: it cannot tell yet whether the address answers, but soon will."""
        health = self.health
        return (
            bool(health.attachment_id) and health.state is HealthState.INIT and now - self._since < timing.TOLD_WITHIN
        )

    def served(self, now: float) -> Mapping[int, bool]:
        """The NodePorts that have just answered at the address, each with True: the form in which peers are told."""
        settings = self._shared.settings
        since = now - 2 * settings.service_interval - settings.service_timeout
        return {port: True for port, at in self._answered_at.items() if at >= since}

    # What is no evidence any more.

    def come_under(self, attachment_id: str, now: float) -> None:
        """EC2 shows the address under this attachment (empty: under none): forget what was seen under another one."""
        if attachment_id != self.health.attachment_id:
            self.health = probing_health.under(self.health, attachment_id)
            self._forget_services()
            self._since = now

    def begin_anew(self) -> None:
        """The address is on this node, which does not probe it: what was seen before says nothing of later."""
        self.health = Health(self.health.attachment_id)
        self._forget_services()

    def forget(self, now: float) -> None:
        """The node has gone blind: forget all that it saw, except that the address once answered."""
        self.health = Health(self.health.attachment_id, ever_up=self.health.ever_up, by_ping=self.health.by_ping)
        self._forget_services()
        self._since = now

    def _forget_services(self) -> None:
        """Forget how NodePorts answered, except whether each ever did under this attachment."""
        attachment_id = self.health.attachment_id
        self.services = {
            port: Health(attachment_id, ever_up=service.ever_up and service.attachment_id == attachment_id)
            for port, service in self.services.items()
        }
        self._answered_at.clear()
