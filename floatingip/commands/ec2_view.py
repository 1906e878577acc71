"""What `floatingip status` learns from EC2 itself: where the addresses are, and where there may be observers.

If an interface of ours cannot be read, it may have any address that EC2 shows on no other interface: it is not known
then where that address is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, replace
from math import inf, isfinite

from floatingip.agent.looks import cluster_name
from floatingip.commands.place import stranger
from floatingip.core.decision import order as orders
from floatingip.core.decision import pause, ration
from floatingip.core.decision.carry import carried_otherwise, way_to
from floatingip.core.decision.view import attachment_of
from floatingip.core.ec2 import Eni, Instance, InstanceState, Owner
from floatingip.core.errors import CloudError
from floatingip.core.model import Address, Allocation, Carry, Target
from floatingip.core.overview import Ec2View
from floatingip.core.ports import Cloud
from floatingip.core.report import AddressReport, OrderReport
from floatingip.core.settings import Settings
from floatingip.core.status import RECENT
from floatingip.runtime.calls import Calls
from floatingip.runtime.look import cannot_be_read


@dataclass(frozen=True, slots=True)
class Shown:
    """What EC2 answered, and where there may be observers: primary addresses by instance id."""

    view: Ec2View
    addresses: Mapping[str, Address]


def ask_ec2(cloud: Cloud, settings: Settings, me: str, wall: float, left: Callable[[], float] = lambda: inf) -> Shown:
    """Where EC2 shows the addresses, and the instances that carry them or could.

    If EC2 does not describe the instances within the seconds that are ``left``, the addresses are returned without.
    Raises CloudError.
    """
    name, calls = settings.name, Calls()
    if not name and me:
        mine = calls.patiently(lambda: cloud.describe_instances(frozenset((me,)))).get(me)
        name = cluster_name(mine.tags) if mine is not None else ""
    if not name:
        return Shown(Ec2View("whose interfaces are meant is not known; set `name` in the settings"), {})
    ours = calls.patiently(lambda: cloud.describe_enis(name))
    shown, unread = tuple(eni for eni in ours if not eni.unread), tuple(map(cannot_be_read, filter(_is_unread, ours)))
    enis = way_to(settings.carry).usable(shown)
    bound = {eni.attachment.instance_id for eni in enis if eni.attachment is not None}
    ids = frozenset({*bound, *(eni.standing_for for eni in enis)} - {""})
    instances, undescribed = _described(calls.begin(lambda: cloud.describe_instances(ids)), left()) if ids else ({}, "")
    seen = list[AddressReport]()
    for target in settings.floating_ips:
        eni = _carrier(target, enis)
        if eni is not None and isinstance(target, Allocation) and target.id not in eni.elastic.values():
            said = f"EC2 says: {eni.id}, which is for it, is not associated with it"
            shown_so = _address(target, eni, shown, instances, settings.carry, wall)
            seen.append(replace(shown_so, holder="", since=None, state="", sentence=said, problem=""))
        elif eni is not None:
            seen.append(_address(target, eni, shown, instances, settings.carry, wall))
        elif not unread:
            said = carried_otherwise(shown, target, settings.carry) or stranger(cloud, name, target, calls.patiently)
            said = said or "no interface of ours has the address"
            seen.append(AddressReport(str(target), answer_age=0.0, sentence=f"EC2 says: {said}"))
    holders = {each.holder for each in seen} - {""}
    unknown = sorted(each for each in holders if each not in instances or instances[each].state is InstanceState.UNREAD)
    if unknown and not undescribed:
        undescribed = f"DescribeInstances: {', '.join(unknown)}: not shown, or what is shown cannot be read"
    nodes = {each.id: each.node for each in instances.values()}
    living = (each for each in instances.values() if not each.state.announces_death)
    asked = {each.id: each.address for each in living if each.address is not None}
    elastic = frozenset(str(target) for target in settings.floating_ips if isinstance(target, Allocation))
    view = Ec2View(addresses=tuple(seen), nodes=nodes, unread=unread, undescribed=undescribed, elastic=elastic)
    return Shown(view, asked)


def _described(answer: Future[Mapping[str, Instance]], seconds: float) -> tuple[Mapping[str, Instance], str]:
    """The instances that EC2 describes within so many seconds, and why it does not describe them; empty if it does."""
    try:
        return answer.result(timeout=max(0.0, seconds) if isfinite(seconds) else None), ""
    except Late:
        return {}, f"DescribeInstances: no answer within {max(0.0, seconds):.1f} s"
    except CloudError as error:
        return {}, str(error)


def _is_unread(eni: Eni) -> bool:
    return bool(eni.unread)


def _carrier(target: Target, usable: Iterable[Eni]) -> Eni | None:
    """The interface that has the target; if several have it, an attached one."""
    having = (eni for eni in usable if eni.has(target))
    return min(having, key=lambda eni: (eni.attachment is None, eni.id), default=None)


def _address(
    target: Target, eni: Eni, enis: Sequence[Eni], instances: Mapping[str, Instance], carry: Carry, wall: float
) -> AddressReport:
    """One address, as EC2 alone shows it on this interface."""
    way = way_to(carry)
    paused_until = pause.ends_at(eni.tags, wall)
    attachment, recorded = attachment_of(Owner(0.0, eni)), _recorded(way.of_one(ration.TAG, target), eni, enis)
    since = way.move_since(wall, 0.0) if attachment is not None else -inf
    wait = ration.wait(recorded, wall, attachment.id if attachment is not None else "", since)
    free = AddressReport(
        str(target),
        answer_age=0.0,
        sentence=f"EC2 says: {eni.id} is attached to nobody",
        moves_in_ten_minutes=sum(wall - move.wall <= RECENT for move in ration.parse(recorded)),
        rationed_until=wall + wait if wait > 0 else None,
        paused_until=paused_until if paused_until > wall else None,
    )
    if attachment is None:
        return free
    holder = instances.get(attachment.instance_id)
    dead = holder is not None and holder.state.announces_death
    came_at = way.came_at(attachment)
    asked = orders.parse(eni.tags.get(way.of_one(orders.TAG, target), ""), attachment.id, wall)
    is_read = holder is not None and holder.state is not InstanceState.UNREAD
    return replace(
        free,
        holder=attachment.instance_id,
        since=came_at if came_at is not None and isfinite(came_at) else None,
        state=attachment.status,
        sentence=f"EC2 says: {attachment.where}" + (f", which is {holder.state}" if holder and is_read else ""),
        problem=f"EC2 says that its instance is {holder.state}" if holder is not None and dead else "",
        order=OrderReport(asked.to, float(asked.deadline)) if asked is not None else None,
    )


def _recorded(key: str, eni: Eni, enis: Iterable[Eni]) -> str:
    """The moves in all ration tags as one value: a node records a move on the ENI that it took, or its standing ENI."""
    return ration.merged(each.tags.get(key, "") for each in enis if each is eni or each.standing_for)
