"""
Another node has the address: watch it, or judge it and take the address over.

The ladder of rules.py says what the holder is charged with, and conviction.py whether it loses the address for that.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from floatingip.core import pace, timing
from floatingip.core.decision.conviction import convict, in_doubt
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.decision.evidence import (
    REACHED_TAG,
    reached_by_tag,
    should_answer,
    was_reached,
)
from floatingip.core.decision.free import free
from floatingip.core.decision.rules import charge_against, r13_force
from floatingip.core.decision.situation import Situation
from floatingip.core.decision.view import Memory, View
from floatingip.core.ec2 import AttachmentStatus, Owner
from floatingip.core.health import HealthState
from floatingip.core.model import ping_protocol
from floatingip.core.peer import WordState
from floatingip.core.plumbing import Extent
from floatingip.core.writes import Tag


def elsewhere(situation: Situation) -> Decision:
    """Another node holds the address: judge it, and take over only from the attachment that was judged."""
    memory, owner, attachment = situation.memory, situation.owner, situation.attachment
    decision = _judge(situation)
    if memory.fenced == attachment.id and _may_have_fenced(memory, situation.view):
        # The holder may have lost the address already, whatever is seen of it meanwhile.
        decision = replace(decision, obliged=True)
    since = memory.away_since
    if since is not None and owner.asked_at - since >= timing.CONFIRM_AFTER:
        return replace(decision, extent=Extent.NOTHING, attachment_id=attachment.id)
    confirm_at = (owner.asked_at if since is None else since) + timing.CONFIRM_AFTER
    return replace(decision, look_at=min(decision.look_at, confirm_at), attachment_id=attachment.id)


def _judge(situation: Situation) -> Decision:
    memory, view, settings = situation.memory, situation.view, situation.settings
    owner, attachment = situation.owner, situation.attachment
    way = situation.way
    if way.is_claiming(memory, view, owner):
        return Decision(State.TAKEOVER, Reason.ASSIGNING, memory.fenced_rule, owner.asked_at + timing.LOOK_WHILE_MOVING)
    if attachment.status is AttachmentStatus.DETACHING:
        if way.is_free(owner):
            return free(memory, view, settings, owner)
        soon = owner.asked_at + timing.LOOK_WHILE_MOVING
        forced = r13_force(situation, is_silent=situation.is_silent)
        if forced is not None:
            return replace(forced, look_at=soon, obliged=bool(memory.fenced))
        state = State.TAKEOVER if memory.fenced else State.STANDBY
        return Decision(
            state, Reason.DETACHING, Rule.R11, soon, detail=attachment.instance_id, obliged=bool(memory.fenced)
        )
    charge = charge_against(situation)
    if charge is None:
        return _watch(situation)
    return convict(situation, charge)


def _watch(situation: Situation) -> Decision:
    """There is no charge: say what is seen, and ask EC2 at once if there is doubt."""
    memory, view, owner = situation.memory, situation.view, situation.owner
    attachment = situation.attachment
    who, word, health = attachment.instance_id, view.word, view.health
    ping = ping_protocol(situation.eni.address_of(view.target))
    if not health.in_doubt:
        peace = _in_peace(memory, view, owner)
        if health.recovered_at is not None and owner.asked_at < health.recovered_at:
            # It may answer again because another node has taken it over: EC2 has to say which holder is judged next.
            peace = health.recovered_at
        if attachment.status is AttachmentStatus.ATTACHING:
            peace = min(peace, owner.asked_at + timing.LOOK_IN_DOUBT)
        if health.state is not HealthState.UP:
            return Decision(State.STANDBY, Reason.SETTLING, Rule.R6, peace, detail=who)
        # A move that was recorded just now may be made already: that the address was UP before does not count for it.
        since = max(memory.attachment_since, memory.moves_grew_at)
        healthy_for = view.now - (since if health.changed_at is None else max(health.changed_at, since))
        clear = _clearance(situation) if healthy_for >= timing.CLEARED_BY_UP else None
        if clear is None and healthy_for >= timing.REACHED_FOR:
            clear = _reaching(situation, view.wall - healthy_for + timing.REACHED_FOR)
        reason, rule = (Reason.PING_BLOCKED, Rule.R4) if health.by_tcp else (Reason.ANSWERS, Rule.R10)
        return Decision(State.STANDBY, reason, rule, peace, detail=who, ping=ping, write=clear)
    asked_since_loss = health.first_lost_at is not None and owner.asked_at >= health.first_lost_at
    look_at = in_doubt(owner) if asked_since_loss else view.now
    if health.state is HealthState.DOWN and word.vouches:
        peace = _in_peace(memory, view, owner)
        return Decision(State.STANDBY, Reason.PROBE_BLOCKED, Rule.R4, peace, detail=who, ping=ping)
    if health.state is HealthState.DOWN and should_answer(situation):
        return Decision(State.DOUBT, Reason.NOT_VOUCHED, Rule.R4, look_at, detail=who)
    if health.state is HealthState.UP:
        return Decision(State.DOUBT, Reason.PROBE_LOST, Rule.R3, look_at, detail=f"asking EC2 and {who}")
    unheard_for = view.now - max(memory.attachment_since, word.since)
    if word.state is WordState.SILENT and unheard_for >= timing.UNREACHED_TOLD and not was_reached(situation):
        detail = _unreached(situation)
        return Decision(State.DOUBT, Reason.UNREACHED, Rule.R6, look_at, detail=detail)
    return Decision(State.STANDBY, Reason.SETTLING, Rule.R6, look_at, detail=who)


def _unreached(situation: Situation) -> str:
    """What this node never reached, and what most likely is in the way, as a sentence."""
    view, settings, owner = situation.view, situation.settings, situation.owner
    eni, attachment = situation.eni, situation.attachment
    address, holder = eni.address_of(view.target), owner.instances.get(attachment.instance_id)
    at = f" ({holder.address}:{settings.port})" if holder is not None and holder.address is not None else ""
    lives = f", though EC2 says it is {holder.state}" if holder is not None else ""
    return (
        f"neither {address} nor {attachment.instance_id}{at} ever answered{lives}: does the security group admit"
        f" {ping_protocol(address)} and TCP {settings.port} among the workers?"
    )


def _reaching(situation: Situation, reached_at: float) -> Tag | None:
    """The tag to write so that observers that have just started know that workers reach each other, as they did at
    ``reached_at`` (Unix seconds); None if the tag says so already.
    """
    eni, way, target, came_at = situation.eni, situation.way, situation.view.target, situation.came_at
    before = max(situation.last_move, -inf if came_at is None else came_at)
    if reached_by_tag(eni, way, target) > before:
        return None
    # This node's clock may be behind the clocks by which the times before were written.
    return Tag(eni.id, way.of_one(REACHED_TAG, target), str(int(max(reached_at, before + 1.0))))


def _clearance(situation: Situation) -> Tag | None:
    """After five minutes of UP: the empty tag that clears the ration of the next ENI; None once all are clear."""
    key, records = situation.ration_key, situation.way.records(situation.view, situation.eni)
    recorded = sorted(eni_id for eni_id, value in records.items() if value)
    return Tag(recorded[0], key, "") if recorded else None


def _in_peace(memory: Memory, view: View, owner: Owner) -> float:
    """When to ask EC2 again while the address answers, or the holder vouches for it.

    Sooner if the holder's observer is quiet, as then nobody tells how its node is; soonest to confirm an answer by
    which its instance has ended (R2).
    """
    peace, word = owner.asked_at + timing.LOOK_IN_PEACE, view.word
    if memory.dead_answers:
        return owner.asked_at + timing.LOOK_BEFORE_TAKING
    if not word.is_quiet:
        return peace
    pause = min(pace.SLOWEST, max(timing.QUIET_PAUSE, (owner.asked_at - word.since) / 2))
    return min(peace, max(owner.asked_at + pause, word.since + (0.0 if word.ending else timing.QUIET_FOR)))


def _may_have_fenced(memory: Memory, view: View) -> bool:
    """Fencing by this node may have succeeded: it is under way, EC2 has not answered since, or its answers may lag."""
    if view.written.is_unseen(memory.asked_at):
        return True
    retry_at = view.retry_at.get(type(memory.last_write), -inf) if memory.last_write is not None else -inf
    return view.now >= retry_at and view.now - memory.last_write_at < timing.CONFIRM_AFTER
