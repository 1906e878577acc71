"""What others are told of one floating address: a snapshot value, made of what the agent knows at this moment."""

from __future__ import annotations

from math import isfinite

from floatingip.agent.address import FloatingAddress
from floatingip.core.decision import pause, ration
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.decision import State
from floatingip.core.decision.situation import Situation
from floatingip.core.ec2 import Attachment
from floatingip.core.report import OrderReport
from floatingip.core.settings import Settings
from floatingip.core.snapshot import AddressSnapshot


def shown(address: FloatingAddress, settings: Settings, now: float, wall: float) -> AddressSnapshot:
    """The address at the time ``now``, which is ``wall`` in Unix seconds.

    The agent keeps times by the clock that never jumps, since the wall clock may be set, as after a boot.
    """
    decision, owner, answers = address.decision, address.where.owner, address.answers
    attachment, lack = address.where.attachment(), address.lack
    since_wall, at_least = _since(address, settings, attachment, wall - now)
    order, rationed_until = _orders(address, settings, attachment, wall)
    return AddressSnapshot(
        target=address.text,
        is_holder=decision.state is State.HOLDER,
        health=address.answers.health.state,
        source=address.where.address(),
        not_ready=lack.words,
        mac_at_risk=address.mac_at_risk(),
        lack=lack.name,
        state=decision.state,
        rule=decision.rule,
        reason=decision.reason.name,
        sentence=decision.sentence,
        holder=attachment.instance_id if attachment is not None else "",
        asked_at=owner.asked_at if owner is not None else None,
        since_wall=since_wall,
        since_at_least=at_least,
        down_since_wall=_down_since(address),
        unready_since_wall=wall - now + address.unready_since if address.unready_since is not None else None,
        blind=address.blind(),
        up_as=way_to(settings.carry).of_one(attachment.id, address.target) if attachment is not None else "",
        round_trip=answers.recent.round_trip,
        probes=answers.recent.told(),
        node_ports={port: service.state for port, service in answers.services.items()},
        word=address.hearing.word.state,
        order=order,
        moves=tuple(address.moves.last),
        rationed_until_wall=rationed_until,
        paused_until_wall=pause.ends_at(owner.eni.tags, wall) if owner is not None and owner.eni is not None else 0.0,
    )


def _since(
    address: FloatingAddress, settings: Settings, attachment: Attachment | None, offset: float
) -> tuple[float | None, bool]:
    """When the holder got the address (Unix seconds), and whether it may have had it for longer.

    That is as EC2 tells, or else when this node first saw the holder; None while nobody has the address.  ``offset``:
    Unix time minus the time of this node's own clock, in seconds.
    """
    came_at = way_to(settings.carry).came_at(attachment) if attachment is not None else None
    if came_at is not None and isfinite(came_at):
        return came_at, False
    since = address.moves.since
    return offset + since if since is not None else None, address.moves.was_first


def _down_since(address: FloatingAddress) -> float | None:
    """When the address stopped answering this node, in Unix seconds; None while it answers, or if it never did."""
    health, view = address.answers.health, address.view
    if view is None or not health.fell or health.first_lost_at is None:
        return None
    return view.wall - (view.now - health.first_lost_at)


def _orders(
    address: FloatingAddress, settings: Settings, attachment: Attachment | None, wall: float
) -> tuple[OrderReport | None, float]:
    """The handover that was asked for (None: none was), and when the ration allows the next move, in Unix seconds."""
    view, owner = address.view, address.where.owner
    if view is None or owner is None or owner.eni is None:
        return None, wall
    if attachment is None:
        recorded = way_to(settings.carry).recorded(view, owner.eni)
        return None, wall + ration.wait(recorded, wall, "")
    situation = Situation(address.memory, view, settings, owner, owner.eni, attachment)
    asked = situation.order
    order = OrderReport(asked.to, float(asked.deadline)) if asked is not None else None
    return order, wall + ration.wait(situation.recorded, wall, attachment.id, situation.move_since)
