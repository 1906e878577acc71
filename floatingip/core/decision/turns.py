"""Who goes first where several observers could take the address, and who may have it before EC2 shows that."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from floatingip.core import timing
from floatingip.core.decision import served
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.view import Memory, View, attachment_of, unmet
from floatingip.core.ec2 import Attachment
from floatingip.core.settings import Settings


def remember_rivals(memory: Memory, view: View, settings: Settings) -> Memory:
    """Remember since when another observer has said that the address is its own, though EC2 shows it elsewhere."""
    if way_to(settings.carry).first_wins or view.owner is None:
        return memory
    if not rivals(view, attachment_of(view.owner)):
        return memory if memory.rival_since is None else replace(memory, rival_since=None)
    return memory if memory.rival_since is not None else replace(memory, rival_since=view.now)


def are_believed(memory: Memory, view: View) -> bool:
    """Whether the word of rivals counts: only until EC2 has answered a question asked some seconds after that word was
    first heard, since EC2 may show a rival's claim late.

    After that EC2 is right: a former holder that cannot ask EC2 may go on saying that it has the address.
    """
    asked_at = view.owner.asked_at if view.owner is not None else -inf
    return memory.rival_since is not None and asked_at - memory.rival_since < timing.CLAIM_SHOWN


def taking_step(memory: Memory) -> float:
    """Seconds that each observer before this one in rank gets to take the address from the judged standing ENI: more
    if EC2 is slow, since its answer to that observer may be under way.
    """
    return timing.TAKING_STEP + max(0.0, memory.answered_at - memory.asked_at)


def rivals(view: View, judged: Attachment | None) -> list[str]:
    """The observers that say that they have the address by another attachment than the judged one, or that they are
    claiming it: when this node asked EC2, it may not have shown that yet.
    """
    target, judged_id = str(view.target), judged.id if judged is not None else ""
    return [
        peer.instance_id
        for peer in view.peers
        if view.now - peer.heard_at <= timing.PEER_HEARD
        and (target in peer.claiming or peer.holds.get(target, judged_id) != judged_id)
    ]


def ranked_before(memory: Memory, view: View, settings: Settings, judged: str = "") -> list[str]:
    """The living observers that come before this one.

    First come those whose node is not about to end; of these, those on whose node a NodePort answers; then those that
    did not have the address last, since that one may be about to end; then those with fewer addresses; then by instance
    id.

    If EC2 would not refuse the second of two claims, observers that were last heard some seconds ago count as living,
    too.  For a node that is about to end they always do.
    """
    is_told = way_to(settings.carry).first_wins or not judged
    heard = timing.PEER_HEARD if is_told and not view.leaving else timing.PEER_EXISTS

    def rank(instance_id: str, burden: int, *, leaving: bool) -> tuple[bool, bool, bool, int, str]:
        is_unserved = not served.ports_on(view, instance_id)
        return leaving, is_unserved, instance_id == memory.last_holder, burden, instance_id

    mine = rank(view.me, view.burden, leaving=bool(view.leaving))
    return sorted(
        peer.instance_id
        for peer in view.peers
        if view.now - peer.heard_at <= heard
        and peer.free_slots != 0
        and peer.instance_id != judged
        and rank(peer.instance_id, len(peer.holds.keys() - {str(view.target)}), leaving=peer.leaving) < mine
    )


def unmet_before(memory: Memory, view: View, judged: str) -> set[str]:
    """The observers that may come before this one, and that it has not heard yet since it has just begun.  It ranks
    them by what it knows of them: whether they had the address last, and their ids.
    """
    mine = (view.me == memory.last_holder, view.me)
    return {each for each in unmet(view, judged) if view.leaving or (each == memory.last_holder, each) < mine}


def served_before(view: View, judged: str) -> list[str]:
    """The living observers that could take over, and on whose node a NodePort answers; empty if one answers here."""
    if served.ports_on(view, view.me):
        return []
    able = (peer for peer in view.peers if view.now - peer.heard_at <= timing.PEER_HEARD and peer.free_slots != 0)
    return sorted(
        peer.instance_id
        for peer in able
        if peer.instance_id != judged and not peer.leaving and served.ports_on(view, peer.instance_id)
    )
