"""One standing ENI of this node over time: what is known of it, what is decided (standing.py), what is asked for."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from floatingip.agent.backoff import Chance
from floatingip.agent.effects import Clear, Making
from floatingip.agent.looks import Seen
from floatingip.agent.outbox import Outbox
from floatingip.agent.shared import Shared
from floatingip.agent.standing import Standing, StandingMemory, StandingView, keep
from floatingip.agent.writing import Writing
from floatingip.core.decision.carry_address import spares
from floatingip.core.decision.room import lacks_slot
from floatingip.core.ec2 import STANDING_TAG, Subnet
from floatingip.core.model import Address, Allocation
from floatingip.core.plumbing import Plumbing
from floatingip.core.writes import Unassign


class StandingEni:
    """The standing ENI of this node in ``subnet``.

    ``now`` is the last decision about it, ``writing`` are its writes to EC2.
    """

    def __init__(self, subnet: Subnet, shared: Shared, out: Outbox, *, now: float, chance: Chance) -> None:
        self.subnet = subnet
        self._shared = shared
        self._out = out
        self.writing = Writing(subnet.id, out, shared.found_full, chance)
        self._memory = StandingMemory()
        self._seen = Seen(float("-inf"))
        self.now = Standing(now, problem="EC2 has not answered yet")

    def looked(self, seen: Seen) -> None:
        """EC2 answered."""
        self._seen = seen

    def step(self, *, now: float, holds: bool, device: bool | None, serves: bool = False) -> None:
        """Decide once, log what is worth it, and ask for what follows.

        ``holds``: this node has a floating address.  ``device``: whether the ENI's device is on this node, None while
        nobody has looked.  ``serves``: a floating address is configured on that device, and IMDS shows it.
        """
        shared, before = self._shared, self.now
        view = replace(self._view(now), holds=holds, device=device, serves=serves)
        self._memory, self.now = keep(self._memory, view)
        if self.now.eni is None and self.writing.final is not None:
            self.now = replace(self.now, problem=str(self.writing.final))
        shared.standings[self.subnet.id] = self.now
        if (self.now.eni is None) != (before.eni is None):
            shared.slots_change(now)
        if self.now.problem != before.problem:
            eni = self.now.eni.id if self.now.eni is not None else "none"
            self._out.info("standing", self.now.problem or "the standing ENI is attached", eni=eni)
        if self.now.gives_its_device_up:
            bound = self.now.bound.id if self.now.bound is not None else "none"
            self._out.warning("no-device", f"{self.now.problem}: detaching it, to try again", eni=bound)
        if isinstance(self.now.write, Unassign):
            self._clear(self.now.write.address)
        if self.now.write is not None:
            me = shared.me.instance_id
            tags = shared.tags(f"standing {me}") | {STANDING_TAG: me}
            token = shared.token(f"standing {me} {self.subnet.id}", self._memory.token.generation)
            making = Making(None, self.subnet, tags, token, shared.taken())
            self.writing.begin(self.now.write, making, now)

    def _view(self, now: float) -> StandingView:
        """What is known now, without what the addresses in the subnet know."""
        shared, seen, targets = self._shared, self._seen, self._shared.settings.floating_ips
        me = shared.me.instance_id
        standing = tuple(eni for eni in seen.standing if eni.subnet_id == self.subnet.id)
        is_known = isfinite(seen.asked_at) and shared.name and not shared.mixed
        in_use = frozenset(eni.id for eni in standing if any(map(eni.has, targets)))
        withholding = frozenset(eni.id for eni in standing if any(map(eni.withholds, targets)))
        return StandingView(
            now=now,
            me=me,
            asked_at=seen.asked_at,
            standing=standing if is_known else None,
            instances=None if seen.undescribed else seen.instances,
            in_use=in_use,
            withholding=withholding - in_use,
            spares=self._spares(),
            groups=shared.groups_of(next((eni for eni in standing if eni.standing_for == me), None)),
            barrier=self._barrier(now),
            written=self.writing.written,
            retry_at=self.writing.retry_at,
            calls=seen.calls,
        )

    def _clear(self, address: Address) -> None:
        """Take an address that is given back to EC2 off this node's kernel, before EC2 can give it to a pod.

        It may be configured here since before this process began, when FLOATING_IP named it.
        """
        eni, network = self.now.eni, self.subnet.network_of(address)
        if eni is None or network is None:
            return
        settings, count = self._shared.settings, len(self._shared.settings.floating_ips)
        plumbing = Plumbing(
            address=address,
            mac=eni.mac,
            gateway=network[1],
            primary_mac=self._shared.me.mac,
            # No address uses these numbers: what is to be removed is found by the address.
            table=settings.table + count,
            priority=settings.priority + 2 * count,
            mark=0,
            mark_mask=settings.mark,
        )
        self._out.add(Clear(plumbing))

    def _spares(self) -> tuple[Unassign, ...]:
        """The writes that remove addresses from this node's ENI which were made for Elastic IPs, once every Elastic IP
        has an ENI.
        """
        settings, mine = self._shared.settings, self.now.eni
        elastic = {target for target in settings.floating_ips if isinstance(target, Allocation)}
        if mine is None or elastic - self._seen.enis.keys():
            return ()
        return tuple(Unassign(mine.id, address) for address in spares(mine, settings))

    def _barrier(self, now: float) -> str:
        """Why this node can have no ENI in this subnet; empty if it can."""
        shared = self._shared
        if self.subnet.zone != shared.me.zone:
            return f"{self.subnet.id} is in zone {self.subnet.zone}, this node is in zone {shared.me.zone}"
        if self.subnet.outpost != shared.outpost():
            return f"{self.subnet.id} is on {self.subnet.outpost or 'no Outpost'}, unlike this node"
        if now < shared.full_until:
            return lacks_slot(shared.me.instance_id)
        return ""
