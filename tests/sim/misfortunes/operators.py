"""What people do to our interfaces, and what they order."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address, IPv6Address

from floatingip.commands import pause
from floatingip.commands.console import Console
from floatingip.commands.deployment import Deployment
from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.pause import TAG as PAUSED
from floatingip.core.ec2 import OWNER_TAG, Eni
from floatingip.core.errors import CloudError, ConfigurationError, LookAgain
from floatingip.core.model import Address, Allocation
from tests.sim.fleet import Fleet
from tests.sim.line import Call
from tests.sim.misfortunes.ec2 import MOVING
from tests.sim.misfortunes.machines import boot
from tests.sim.misfortunes.misfortune import End, over, some
from tests.sim.worker import Worker


def _operated(fleet: Fleet, draw: random.Random, act: Callable[[Eni], object]) -> End:
    """Somebody does ``act`` to one of our interfaces, if EC2 allows it."""
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
    """Somebody orders a handover, to one node or to any, and later takes the order back."""
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


def handed_over_twice(fleet: Fleet, draw: random.Random) -> End:
    """Two people order a handover of the same address, to the same node or not.  Meanwhile the holder, or the node
    named in an order, may lose power.
    """
    target, ended = draw.choice(fleet.settings.floating_ips), list[bool]()
    key, there = way_to(fleet.settings.carry).of_one(order.TAG, target), some(fleet, draw)
    ordered, dead = set[str](), list[Worker]()

    def ask(to: str) -> None:
        for eni in fleet.enis(target):
            if eni.attachment is not None and not ended:
                fleet.tell("", f"somebody orders a handover of {target} to {to}")
                ordered.add(eni.id)
                fleet.cloud.tag_eni(eni.id, {key: order.render(eni.attachment.id, to, fleet.wall + 180.0)})

    def die() -> None:
        worker = draw.choice((there, fleet.at(target)))
        if worker is not None and worker.is_on and not worker.is_ended and not ended:
            worker.cut_power()
            dead.append(worker)

    def end() -> None:
        ended.append(True)
        for worker in dead:
            boot(worker)
        for eni_id in ordered:
            with suppress(CloudError):
                fleet.cloud.tag_eni(eni_id, {key: ""})

    ask(draw.choice((order.ANYBODY, there.id)))
    fleet.after(draw.uniform(0.0, draw.choice((2.0, 12.0))), partial(ask, draw.choice((order.ANYBODY, there.id))))
    if draw.random() < 0.6:
        fleet.after(draw.uniform(0.0, 14.0), die)
    return end


def moves_paused(fleet: Fleet, draw: random.Random) -> End:
    """Somebody pauses all moves: for longer than this lasts, and resumes them at its end; or for a few seconds.  If an
    address has no interface, nothing is paused.
    """
    settings, seconds = fleet.settings, draw.choice((600.0, draw.uniform(5.0, 20.0)))
    with suppress(ConfigurationError):
        ours = Deployment(fleet.cloud, settings.name, "vpc-1", settings.carry, settings.port, wall=lambda: fleet.wall)
        pause.begin(ours, settings.floating_ips, seconds, Console(say=lambda text: fleet.tell("", text)))

    def end() -> None:
        for eni in fleet.ec2.state.enis.values():
            if eni.tags.get(PAUSED):
                fleet.cloud.tag_eni(eni.id, {PAUSED: ""})

    return end


def paused_during_a_move(fleet: Fleet, draw: random.Random) -> End:
    """Somebody pauses all moves when EC2 accepts a call that moves something, or seconds later; and resumes them during
    the move or after it.
    """
    ends, ended = list[End](), list[bool]()

    def pause_them() -> None:
        if not ended:
            ends.append(moves_paused(fleet, draw))

    def strike(call: Call) -> None:
        fleet.after(draw.uniform(0.0, 3.0), pause_them)
        fleet.after(draw.uniform(3.0, 30.0), resume_them)

    def resume_them() -> None:
        over(*ends)()

    trouble = fleet.at_calls(*MOVING, after=strike, most=2)
    return over(lambda: ended.append(True), trouble.end, resume_them)


def disassociated_by_hand(fleet: Fleet, draw: random.Random) -> End:
    for target in fleet.settings.floating_ips:
        if isinstance(target, Allocation) and fleet.address_of(target) is not None:
            fleet.ec2.disassociate(target.id)
    return lambda: None


def unassigned_by_hand(fleet: Fleet, draw: random.Random) -> End:
    """Somebody takes all addresses but the primary one off one of our interfaces, and gives them to nobody."""

    def unassign(eni: Eni) -> None:
        addresses: tuple[Address, ...] = (*eni.secondary, *eni.ipv6s)
        for address in addresses:
            fleet.ec2.unassign(eni.id, address)

    return _operated(fleet, draw, unassign)


def taken_unseen(fleet: Fleet, draw: random.Random) -> End:
    """An address is taken off one of our interfaces; any address that no interface has is now in use where EC2 does not
    show it: by another account's interface, or in a delegated prefix.
    """
    draw.choice((deleted_by_hand, unassigned_by_hand))(fleet, draw)

    def is_in_use(call: Call) -> None:
        wanted = [arg for arg in call.args if isinstance(arg, IPv4Address | IPv6Address)]
        if any(fleet.ec2.state.owner(address) is None for address in wanted):
            raise LookAgain(f"InvalidIPAddress.InUse: Address {wanted[0]} is in use.")

    return fleet.at_calls("create_eni", "assign", before=is_in_use).end


def elastic_elsewhere(fleet: Fleet, draw: random.Random) -> End:
    """Somebody associates our Elastic IPs with an interface that is not ours, and later gives them back."""
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
