"""One floating address as others may know it: a value of this moment, made of what the agent has anyway."""

from __future__ import annotations

from math import isfinite

from floatingip.agent.address import FloatingAddress
from floatingip.core.decision import ration
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.decision import State
from floatingip.core.decision.situation import Situation
from floatingip.core.model import Attachment
from floatingip.core.report import Order
from floatingip.core.settings import Settings
from floatingip.core.snapshot import AddressSnapshot


def shown(address: FloatingAddress, settings: Settings, wall: float) -> AddressSnapshot:
    """All of it at ``wall``, in Unix seconds."""
    decision, owner, answers = address.decision, address.owner, address.answers
    attachment = address.attachment()
    since_wall, at_least = _since(address, settings, attachment)
    order, rationed_until = _orders(address, settings, attachment, wall)
    return AddressSnapshot(
        target=address.text,
        is_holder=decision.state is State.HOLDER,
        health=address.health.state,
        source=address.address(),
        not_ready=address.not_ready(),
        mac_at_risk=address.mac_at_risk(),
        figures=address.figures(),
        state=decision.state,
        rule=decision.rule,
        reason=decision.reason.name,
        sentence=decision.sentence,
        holder=attachment.instance_id if attachment is not None else "",
        asked_at=owner.asked_at if owner is not None else None,
        since_wall=since_wall,
        since_at_least=at_least,
        blind=address.blind(),
        round_trip=answers.recent.round_trip,
        probes=answers.recent.told(),
        node_ports={port: service.state for port, service in answers.services.items()},
        word=address.word.state,
        order=order,
        moves=tuple(address.moves.last),
        rationed_until_wall=rationed_until,
    )


def _since(address: FloatingAddress, settings: Settings, attachment: Attachment | None) -> tuple[float | None, bool]:
    """When the holder got the address, by EC2 where it tells, or when this node saw that; and whether it may have had
    it for longer.
    """
    came_at = way_to(settings.carry).came_at(attachment) if attachment is not None else None
    if came_at is not None and isfinite(came_at):
        return came_at, False
    return address.moves.since_wall, address.moves.was_first


def _orders(
    address: FloatingAddress, settings: Settings, attachment: Attachment | None, wall: float
) -> tuple[Order | None, float]:
    """A handover that was asked for, and when the ration allows a move: by the same rules by which that is decided."""
    view, owner = address.view, address.owner
    if view is None or owner is None or owner.eni is None:
        return None, wall
    if attachment is None:
        recorded = way_to(settings.carry).recorded(view, owner.eni)
        return None, wall + ration.wait(recorded, wall, "")
    situation = Situation(address.memory, view, settings, owner, owner.eni, attachment)
    asked = situation.order
    order = Order(asked.to, float(asked.deadline)) if asked is not None else None
    return order, wall + ration.wait(situation.recorded, wall, attachment.id, situation.move_since)
