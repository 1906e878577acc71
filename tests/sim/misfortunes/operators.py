"""What people do to interfaces of ours, and ask for."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

from floatingip.commands import pause
from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.pause import TAG as PAUSED
from floatingip.core.ec2 import OWNER_TAG, Eni
from floatingip.core.errors import CloudError, ConfigurationError, LookAgain
from floatingip.core.model import Address, Allocation
from tests.sim.fleet import Fleet
from tests.sim.line import Call
from tests.sim.misfortunes.misfortune import End, some


def _operated(fleet: Fleet, draw: random.Random, act: Callable[[Eni], object]) -> End:
    """Somebody does this to an interface of ours, as far as EC2 lets them."""
    ours = [eni for eni in fleet.ec2.state.enis.values() if eni.tags.get(OWNER_TAG) == fleet.settings.name]
    if ours:
        eni = draw.choice(ours)
        with suppress(CloudError):
            act(eni)
    return lambda: None


def detached_by_hand(fleet: Fleet, draw: random.Random) -> End:
    force = draw.random() < 0.5

    def detach(eni: Eni) -> None:
        if eni.attachment is not None:
            fleet.ec2.detach(eni.attachment.id, force=force)

    return _operated(fleet, draw, detach)


def moved_by_hand(fleet: Fleet, draw: random.Random) -> End:
    there = some(fleet, draw)

    def move(eni: Eni) -> None:
        if not eni.standing_for:
            if eni.attachment is not None:
                fleet.ec2.detach(eni.attachment.id, force=True)
            fleet.after(fleet.profile.delays.force_detach + 0.1, lambda: attach(eni))
            return
        standing = fleet.standing(there)
        if standing and standing[0].id != eni.id:
            for address in eni.secondary:
                fleet.ec2.assign(standing[0].id, address, reassign=True)
            for ipv6 in eni.ipv6s:
                fleet.ec2.unassign(eni.id, ipv6)

    def attach(eni: Eni) -> None:
        with suppress(CloudError):
            fleet.cloud.attach_eni(eni.id, there.id, frozenset())

    return _operated(fleet, draw, move)


def handed_over(fleet: Fleet, draw: random.Random) -> End:
    """Somebody orders it, to one node or to any, and takes the order back."""
    key, there = (
        way_to(fleet.settings.carry).of_one(order.TAG, draw.choice(fleet.settings.floating_ips)),
        some(fleet, draw),
    )
    to = draw.choice((order.ANYBODY, there.id))
    ordered: list[str] = []

    def ask(eni: Eni) -> None:
        if eni.attachment is not None:
            ordered.append(eni.id)
            fleet.cloud.tag_eni(eni.id, {key: order.render(eni.attachment.id, to, fleet.wall + 30.0)})

    def end() -> None:
        for eni_id in ordered:
            with suppress(CloudError):
                fleet.cloud.tag_eni(eni_id, {key: ""})

    _operated(fleet, draw, ask)
    return end


def moves_paused(fleet: Fleet, draw: random.Random) -> End:
    """For longer than this lasts, when somebody resumes them, or for a few seconds; where an address has no interface
    then, nothing is paused.
    """
    settings, seconds = fleet.settings, draw.choice((600.0, draw.uniform(5.0, 20.0)))
    with suppress(ConfigurationError):
        pause.begin(fleet.cloud, settings.name, settings.floating_ips, settings.carry, seconds, wall=lambda: fleet.wall)

    def end() -> None:
        for eni in fleet.ec2.state.enis.values():
            if eni.tags.get(PAUSED):
                fleet.cloud.tag_eni(eni.id, {PAUSED: ""})

    return end


def disassociated_by_hand(fleet: Fleet, draw: random.Random) -> End:
    for target in fleet.settings.floating_ips:
        if isinstance(target, Allocation) and fleet.address_of(target) is not None:
            fleet.ec2.disassociate(target.id)
    return lambda: None


def unassigned_by_hand(fleet: Fleet, draw: random.Random) -> End:
    """All that can be taken off an interface is, and given to nobody."""

    def unassign(eni: Eni) -> None:
        addresses: tuple[Address, ...] = (*eni.secondary, *eni.ipv6s)
        for address in addresses:
            fleet.ec2.unassign(eni.id, address)

    return _operated(fleet, draw, unassign)


def taken_unseen(fleet: Fleet, draw: random.Random) -> End:
    """What is taken off an interface of ours, or is on none for another cause, is in use by whom EC2 does not show:
    another account's interface, a delegated prefix.
    """
    draw.choice((deleted_by_hand, unassigned_by_hand))(fleet, draw)

    def is_in_use(call: Call) -> None:
        wanted = [arg for arg in call.args if isinstance(arg, IPv4Address | IPv6Address)]
        if any(fleet.ec2.state.owner(address) is None for address in wanted):
            raise LookAgain(f"InvalidIPAddress.InUse: Address {wanted[0]} is in use.")

    return fleet.at_calls("create_eni", "assign", before=is_in_use).end


def elastic_elsewhere(fleet: Fleet, draw: random.Random) -> End:
    """Somebody uses an Elastic IP for an interface that is not ours, and gives it back."""
    used: list[tuple[str, str]] = []
    for target in fleet.settings.floating_ips:
        if isinstance(target, Allocation) and fleet.address_of(target) is not None:
            eni = fleet.ec2.create(None, fleet.subnet, (), {}, f"somebody's {draw.random()}")
            assert eni.address is not None, "the subnet has IPv4 addresses"
            fleet.ec2.disassociate(target.id)
            fleet.ec2.associate(target.id, eni.id, eni.address)
            used.append((target.id, eni.id))

    def end() -> None:
        for allocation_id, eni_id in used:
            if fleet.ec2.state.allocations[allocation_id].eni_id == eni_id:
                fleet.ec2.disassociate(allocation_id)
            fleet.ec2.delete(eni_id)

    return end


def deleted_by_hand(fleet: Fleet, draw: random.Random) -> End:
    def delete(eni: Eni) -> None:
        if eni.attachment is not None:
            fleet.ec2.detach(eni.attachment.id, force=True)
        fleet.after(fleet.profile.delays.force_detach + 0.1, lambda: go_on(eni))

    def go_on(eni: Eni) -> None:
        with suppress(CloudError):
            fleet.ec2.delete(eni.id)

    return _operated(fleet, draw, delete)


def retagged(fleet: Fleet, draw: random.Random) -> End:
    retagged: list[str] = []

    def retag(eni: Eni) -> None:
        retagged.append(eni.id)
        fleet.cloud.tag_eni(eni.id, {OWNER_TAG: "somebody-else"})

    def end() -> None:
        for eni_id in retagged:
            with suppress(CloudError):
                fleet.cloud.tag_eni(eni_id, {OWNER_TAG: fleet.settings.name})

    _operated(fleet, draw, retag)
    return end
