"""Jobs that are done once, by EC2 and the API server: they may block, and return events of what came of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

from floatingip.agent.effects import Look, Making, Part, Perform, Rehearse
from floatingip.agent.events import (
    Event,
    Looked,
    LookFailed,
    NodePortsListed,
    NodePortsUnknown,
    PermissionsRehearsed,
    RehearsalEnded,
    RehearsalFailed,
    ReservationsRehearsed,
    SlotsRehearsed,
    Wrote,
)
from floatingip.core import timing
from floatingip.core.errors import CloudError, CloudUnavailable, LookAgain, ServicesUnknown
from floatingip.core.model import Target
from floatingip.core.node import Interface
from floatingip.core.ports import Cloud, Services
from floatingip.core.settings import Settings
from floatingip.core.writes import (
    Assign,
    AssignAny,
    Associate,
    Attach,
    CheckSource,
    Create,
    Delete,
    Detach,
    KeepAfterTermination,
    SetGroups,
    Tag,
    Unassign,
    Write,
)
from floatingip.runtime.calls import Calls
from floatingip.runtime.look import look

Shown = Callable[[], Mapping[Target, Interface]]
"""Asks IMDS where our addresses are."""


def looked(cloud: Cloud, settings: Settings, asked: Look, shown: Shown, calls: Calls) -> Event:
    """The event of a look: what EC2 answered; or why it did not, with IMDS' view if EC2 has never answered before."""
    try:
        return Looked(look(cloud, settings, asked.question, calls))
    except CloudError as error:
        return LookFailed(error, shown() if asked.metadata else {}, len(calls.made))


def wrote(cloud: Cloud, me: str, asked: Perform, calls: Calls, now: Callable[[], float]) -> Wrote:
    """The event of a write for the instance ``me``; ``now`` is the clock by which the write was decided."""

    def make() -> None:
        late = now() - asked.decided_at
        if late > timing.DECIDED_FOR:
            raise CloudUnavailable(f"decided {late:.1f} s ago, so it is not made any more: did this node stand still?")
        _make(cloud, me, asked.write, asked.making)

    try:
        calls.insist(make)
    except CloudError as error:
        return Wrote(asked.writer, asked.write, error, len(calls.made))
    return Wrote(asked.writer, asked.write, calls=len(calls.made))


def _make(cloud: Cloud, me: str, write: Write, making: Making) -> None:
    match write:
        case Create():
            if making.subnet is None:
                raise LookAgain(f"the subnet of {making.target} is not known")
            cloud.create_eni(making.target, making.subnet, making.tags, making.token)
        case Attach(eni_id):
            cloud.attach_eni(eni_id, me, making.taken)
        case Detach(attachment_id, force):
            cloud.detach_eni(attachment_id, force=force)
        case Delete(eni_id):
            cloud.delete_eni(eni_id)
        case Assign(eni_id, address, reassign):
            cloud.assign(eni_id, address, reassign=reassign)
        case AssignAny(eni_id):
            cloud.assign_any(eni_id)
        case Unassign(eni_id, address):
            cloud.unassign(eni_id, address)
        case Tag(eni_id, key, value):
            cloud.tag_eni(eni_id, {key: value})
        case Associate(allocation_id, eni_id, private):
            cloud.associate(allocation_id, eni_id, private)
        case SetGroups(eni_id, groups):
            cloud.set_security_groups(eni_id, groups)
        case KeepAfterTermination(eni_id, attachment_id):
            cloud.keep_after_termination(eni_id, attachment_id)
        case CheckSource(eni_id):
            cloud.check_source(eni_id)


def rehearsed(cloud: Cloud, asked: Rehearse) -> Iterator[Event]:
    """An event for each part of the rehearsal, and one for its end."""
    parts: Mapping[Part, Callable[[], Event]] = {
        Part.SLOTS: functools.partial(_slots, cloud, asked),
        Part.PERMISSIONS: functools.partial(_permissions, cloud, asked),
        Part.RESERVATIONS: functools.partial(_reservations, cloud, asked),
    }
    for part in asked.parts:
        try:
            yield parts[part]()
        except CloudError as error:
            yield RehearsalFailed(part, error)
    yield RehearsalEnded()


def _slots(cloud: Cloud, asked: Rehearse) -> Event:
    slots = asked.slots or cloud.describe_slots(asked.me.type)
    return SlotsRehearsed(slots, cloud.describe_instances(frozenset((asked.me.id,))), asked.asked_at)


def _permissions(cloud: Cloud, asked: Rehearse) -> Event:
    denied = cloud.rehearse(asked.eni, asked.subnet, asked.me.id, asked.tags, asked.targets, asked.needed)
    return PermissionsRehearsed(denied, asked.eni)


def _reservations(cloud: Cloud, asked: Rehearse) -> Event:
    return ReservationsRehearsed(asked.subnet, cloud.describe_reservations(asked.subnet.id))


def listed(services: Services) -> Event:
    """The event of a list of the NodePorts."""
    try:
        return NodePortsListed(services.node_ports())
    except ServicesUnknown as error:
        return NodePortsUnknown(str(error))
