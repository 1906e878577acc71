"""
Keep this node's standing ENI: one for each subnet that has a floating address, attached ahead of time.

Pure, as decide.py is, and level-triggered in the same way: each look at EC2 gives the one write that is missing.  It
is found again by its tag, which names the instance, so that it survives a restart of the node and is never made twice.
It is not deleted with its instance (A4): a dead holder's ENI keeps the address from being handed out to a pod, until
whoever took the address over deletes the orphan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from floatingip.model import AttachmentStatus, Eni, Instance, InstanceState
from floatingip.writes import Attach, Create, Delete, Unassign, Write, mended

LOOK_SOON = 0.5
"""Seconds between two questions to EC2 while the ENI is on its way."""

LOOK_IN_PEACE = 66.0
"""Seconds, longer than those of the addresses, which look for all: what they see is enough."""

FORGOTTEN_AFTER = 10.0
"""Seconds after which an ENI that was created but is still not shown must have been deleted: Describes lag less."""

UNUSED_FOR = 30.0
"""Seconds for which an address or an ENI must have been of no use to anybody before it is given back."""

REPEAT_AFTER = 3.0
"""Seconds until the same write is made again: Describes lag, so the last one's effect may not be visible yet."""


@dataclass(frozen=True, slots=True)
class StandingView:
    """What is known at one moment.

    ``standing`` are all standing ENIs of ours in the subnet, None before EC2 answered; ``spares`` are those addresses
    of this node's that nothing needs; ``in_use`` are ENIs that have a floating address; ``holds``: this node has one;
    ``bound`` says why this node can have no ENI here (another zone, IAM, no slot), or nothing.
    """

    now: float
    me: str
    asked_at: float
    standing: tuple[Eni, ...] | None
    instances: Mapping[str, Instance]
    in_use: frozenset[str] = frozenset()
    spares: tuple[Unassign, ...] = ()
    holds: bool = False
    groups: tuple[str, ...] = ()
    bound: str = ""
    writing: bool = False
    wrote_at: float = float("-inf")
    retry_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class StandingMemory:
    """What one decision leaves to the next; ``unused_since`` is by what would be given back."""

    generation: int = 0
    created_at: float | None = None
    unused_since: Mapping[Write, float] | None = None
    last_write: Write | None = None
    last_write_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Standing:
    """What to do now.  ``eni`` is this node's standing ENI once it is attached, ``problem`` why it is not yet."""

    look_at: float
    eni: Eni | None = None
    problem: str = ""
    write: Write | None = None


def keep(memory: StandingMemory, view: StandingView) -> tuple[StandingMemory, Standing]:
    """The next memory, and what to do about the view."""
    if view.standing is None:
        return memory, Standing(view.now, problem="EC2 has not answered yet")
    mine = _mine(view)
    if mine is not None:
        memory = replace(memory, created_at=None)
    memory = _remember_unused(memory, view, mine)
    standing = _judge(memory, view, mine)
    if standing.write is None:
        return memory, standing
    repeated = standing.write == memory.last_write and view.now - memory.last_write_at < REPEAT_AFTER
    if view.writing or view.asked_at <= view.wrote_at or view.now < view.retry_at or repeated:
        return memory, replace(standing, write=None)
    memory = replace(memory, last_write=standing.write, last_write_at=view.now)
    if isinstance(standing.write, Create):
        again = standing.write.generation != memory.generation or memory.created_at is None
        created_at = view.now if again else memory.created_at
        memory = replace(memory, generation=standing.write.generation, created_at=created_at)
    return memory, standing


def _mine(view: StandingView) -> Eni | None:
    """That of this node: the attached one, should there be several."""
    mine = [eni for eni in view.standing or () if eni.standing_for == view.me]
    return min(mine, key=lambda eni: (not _is_here(eni, view.me), eni.id), default=None)


def _is_here(eni: Eni, me: str) -> bool:
    return eni.attachment is not None and eni.attachment.instance_id == me


def _judge(memory: StandingMemory, view: StandingView, mine: Eni | None) -> Standing:
    soon = view.asked_at + LOOK_SOON
    if mine is None:
        if view.bound:
            return Standing(view.asked_at + LOOK_IN_PEACE, problem=view.bound)
        forgotten = memory.created_at is not None and view.now - memory.created_at > FORGOTTEN_AFTER
        creation = Create(memory.generation + 1 if forgotten else memory.generation)
        return Standing(soon, problem="its standing ENI is being created", write=creation)
    attachment = mine.attachment
    if attachment is None or attachment.status is AttachmentStatus.DETACHED:
        if view.bound:
            return Standing(view.asked_at + LOOK_IN_PEACE, problem=view.bound)
        return Standing(soon, problem=f"its standing ENI {mine.id} is being attached", write=Attach(mine.id))
    if attachment.instance_id != view.me:
        problem = f"its standing ENI {mine.id} is attached to {attachment.instance_id}; detach it there"
        return Standing(view.asked_at + LOOK_IN_PEACE, problem=problem)
    if attachment.status is AttachmentStatus.DETACHING:
        return Standing(soon, problem=f"its standing ENI {mine.id} is being detached")
    if attachment.status is AttachmentStatus.ATTACHING:
        return Standing(soon, problem=f"its standing ENI {mine.id} is being attached")
    unused = memory.unused_since or {}
    gone = [write for write, since in unused.items() if view.asked_at - since >= UNUSED_FOR]
    write = mended(mine, view.groups) or (gone[0] if gone else None)
    return Standing(view.asked_at + LOOK_IN_PEACE, eni=mine, write=write)


def _remember_unused(memory: StandingMemory, view: StandingView, mine: Eni | None) -> StandingMemory:
    """Since when each thing has been of no use: seen so in every answer of EC2 since."""
    before, now = memory.unused_since or {}, set(_unused(view, mine))
    return replace(memory, unused_since={write: before.get(write, view.asked_at) for write in sorted(now, key=repr)})


def _unused(view: StandingView, mine: Eni | None) -> list[Write]:
    """Addresses that no Elastic IP needs any more; a second ENI of this node; the free ENIs of instances that ended."""
    unused: list[Write] = list(view.spares)
    for eni in view.standing or ():
        if eni.attachment is not None or eni.id in view.in_use or (mine is not None and eni.id == mine.id):
            continue
        owner = view.instances.get(eni.standing_for)
        ended = owner is None or owner.state is InstanceState.TERMINATED
        if eni.standing_for == view.me or (view.holds and ended):
            unused.append(Delete(eni.id))
    return unused
