"""The standing ENIs of this node, one in every subnet that has a floating address; none with `carry: eni`."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from floatingip.agent.address import FloatingAddress
from floatingip.agent.backoff import Chance
from floatingip.agent.events import Wrote
from floatingip.agent.looks import Seen
from floatingip.agent.outbox import Outbox
from floatingip.agent.shared import Shared
from floatingip.agent.standing_eni import StandingEni


class Standings:
    """The standing ENIs of this node; ``by_subnet`` has them by the subnet's id."""

    def __init__(self, addresses: Collection[FloatingAddress], shared: Shared, out: Outbox, chance: Chance) -> None:
        self.by_subnet: dict[str, StandingEni] = {}
        self._addresses = addresses
        self._shared = shared
        self._out = out
        self._chance = chance

    def looks_due(self) -> Iterable[float]:
        """When each standing ENI wants EC2 to be asked again."""
        return (standing.now.look_at for standing in self.by_subnet.values())

    def wrote(self, wrote: Wrote, now: float) -> None:
        """A write for one of them has ended."""
        if (standing := self.by_subnet.get(wrote.writer)) is not None:
            standing.writing.wrote(wrote, now)

    def looked(self, seen: Seen, now: float) -> None:
        """EC2 answered."""
        if not self._shared.way.has_standing_enis:
            return
        self._forget_subnets_that_are_gone()
        for subnet in filter(None, (address.where.subnet() for address in self._addresses)):
            if subnet.id not in self.by_subnet:
                self.by_subnet[subnet.id] = StandingEni(subnet, self._shared, self._out, now=now, chance=self._chance)
            self.by_subnet[subnet.id].subnet = subnet  # It may have other networks by now.
        # An ENI that could not be read may be this node's own: without it, its ENI would be taken for gone.
        if any(eni.standing_for in ("", self._shared.me.instance_id) for eni in seen.unread):
            return
        for standing in self.by_subnet.values():
            standing.looked(seen)
        self.step(now)

    def _forget_subnets_that_are_gone(self) -> None:
        """Forget deleted subnets: EC2 would refuse a standing ENI in one for ever, and one made anew has another id."""
        known = {subnet.id for subnet in self._shared.subnets or ()}
        for subnet_id in self.by_subnet.keys() - known:
            del self.by_subnet[subnet_id]
            self._shared.standings.pop(subnet_id, None)

    def step(self, now: float) -> None:
        """Decide about each standing ENI.  The addresses in its subnet know whether its device is there."""
        if not self.by_subnet:
            return
        holds = any(address.is_here() for address in self._addresses)
        for standing in self.by_subnet.values():
            here = [each for each in self._addresses if each.where.subnet() == standing.subnet]
            # An Elastic IP without an ENI has no address yet, so nobody has looked for a link because of it.
            found = {each.has_device() for each in here if each.where.address() is not None}
            device = True if True in found or not found else False if False in found else None
            serves = any(each.is_shown_here(now) for each in here)
            standing.step(now=now, holds=holds, device=device, serves=serves)
