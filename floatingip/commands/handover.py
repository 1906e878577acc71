"""
Move addresses on request: order a handover by a tag, wait until it is done, and report the gap.

The order is written to the ENI that has the address (order.py): the standby that it names takes over, while the holder
serves on, as when a node announces its end.  Observers see the tag when they ask EC2, at the latest after a minute; one
that can be reached is asked to look at once.  The order is taken back at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from floatingip.agent.looks import cluster_name
from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.errors import CloudError, CloudUnavailable, ConfigurationError, FloatingIPError
from floatingip.core.model import Address, Attachment, AttachmentStatus, Carry, Eni, Target
from floatingip.core.ports import Cloud
from floatingip.core.word import PEERS_AT_MOST, RESERVED, Answer, Status, is_instance_id
from floatingip.runtime.look import read_in_full
from floatingip.runtime.peers import ask, ask_once, not_ready

VALID_FOR = 180.0
"""Seconds for which an order is obeyed: observers in peace look once a minute, and EC2 takes up to one for a move."""

LOOK_EVERY = 0.5
"""Seconds between two questions to EC2 whether the address has moved."""

LISTEN_EVERY = 0.1
"""Seconds between two rounds of questions to the observers."""

GAP_TOLD_WITHIN = 5.0
"""Seconds for which the observers' words on a move that EC2 shows are waited for."""

TOLD_EVERY = 10.0
"""Seconds after which what is waited for is told again."""

INTRODUCED_WITHIN = 3.0
"""Seconds for which an observer may take to find out from EC2 who asks."""


class HandoverRefused(FloatingIPError):
    """Nobody would take the addresses over now: nothing was ordered."""

    exit_code = 8


@dataclass(frozen=True, slots=True)
class Handover:
    """One address that is to leave the attachment by which ``eni`` has it, for ``to``: an instance id, or anybody."""

    target: Target
    eni: Eni
    to: str

    @property
    def source(self) -> str:
        """The instance that holds the address."""
        return self.eni.attachment.instance_id if self.eni.attachment is not None else ""

    @property
    def attachment(self) -> str:
        """The attachment that it is to leave."""
        return self.eni.attachment.id if self.eni.attachment is not None else ""


def plan(
    cloud: Cloud, name: str, targets: Iterable[Target], carry: Carry, to: str = order.ANYBODY
) -> tuple[Handover, ...]:
    """The addresses that are held by another instance than ``to``.  Raises ``ConfigurationError`` when one is held by
    nobody: there is nothing to hand over.
    """
    enis = read_in_full(cloud.describe_enis(name))
    moves = []
    for target in targets:
        eni = next(_carriers(enis, target, carry), None)
        if eni is None or eni.attachment is None or eni.attachment.status is not AttachmentStatus.ATTACHED:
            raise ConfigurationError(f"{target}: no node holds it now; nothing to hand over")
        if eni.attachment.instance_id != to:
            moves.append(Handover(target, eni, to))
    return tuple(moves)


def instance_named(cloud: Cloud, node: str) -> str:
    """The id of the instance that ``node`` names: its id, its primary address, or its private DNS name.  Raises
    ``ConfigurationError`` when there is none that lives.
    """
    found = cloud.describe_instances(frozenset((node,))).get(node) if is_instance_id(node) else None
    if found is not None and found.state.announces_death:
        raise ConfigurationError(f"--to {node}: EC2 says that this instance is {found.state}")
    if found is None and not is_instance_id(node):
        found = cloud.find_instance(node)
    if found is None:
        raise ConfigurationError(f"--to {node}: no instance of this VPC has that id, address or private DNS name")
    return found.id


def check(
    cloud: Cloud,
    moves: tuple[Handover, ...],
    name: str,
    carry: Carry,
    port: int,
    me: str,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Raise ``HandoverRefused`` when nobody would take the addresses over; return why that is not known, or nothing.

    Where no observer can be reached at all, as from outside of the VPC, silence says nothing of the one that matters.
    """
    observers = _Observers(cloud, port, me, now, sleep)
    observers.find(frozenset(move.source for move in moves), frozenset(move.to for move in moves) - {order.ANYBODY})
    statuses = [answer.status for answer in observers.answers.values() if answer.status is not None]
    for move in moves:
        if move.to != order.ANYBODY:
            if not statuses and observers.is_silent(move.to):
                return f"no observer can be reached from here, so whether one on {move.to} would obey is not known"
            if problem := observers.problem(move.to, name, carry):
                raise HandoverRefused(f"--to {move.to}: {problem}", "nothing was ordered")
            continue
        if all(status == RESERVED for status in statuses):
            return "no observer tells who else is there, so whether one would obey is not known"
        problems = {i: observers.problem(i, name, carry) for i in sorted(observers.answers.keys() - {move.source})}
        if all(problems.values()):
            reasons = "; ".join(f"{instance_id}: {problem}" for instance_id, problem in problems.items())
            raise HandoverRefused(
                f"no standby would take {move.target} from {move.source}: {reasons or 'no other observer answers'}",
                "nothing was ordered",
            )
    return ""


class Gap:
    """Between two observers' words that their node holds a target: seconds in which neither said so."""

    def __init__(self) -> None:
        self._left_at: float | None = None
        self._taken_at: float | None = None

    def hear(self, now: float, *, source_holds: bool, successor_holds: bool) -> None:
        """What the two said at ``now``."""
        if source_holds:
            self._left_at = now
        if successor_holds and self._taken_at is None:
            self._taken_at = now

    def seconds(self) -> float | None:
        """None while somebody has not been heard of."""
        if self._left_at is None or self._taken_at is None:
            return None
        return max(0.0, self._taken_at - self._left_at)


def carry_out(
    cloud: Cloud,
    moves: tuple[Handover, ...],
    name: str,
    carry: Carry,
    port: int,
    me: str,
    say: Callable[[str], None],
    *,
    now: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Order, wait, take the orders back.  Raises ``CloudError`` when an address has not moved in time.

    ``me`` is the instance that this runs on: observers tell who holds what to peers only.  Without one they look at EC2
    by themselves, up to a minute later.
    """
    began, deadline = now(), wall() + VALID_FOR
    left = {move.target: move for move in moves}
    gaps = {move.target: Gap() for move in moves}
    moved_at: dict[Target, float] = {}
    waiting = _Waiting(moves, say, now)
    observers = _Observers(cloud, port, me, now, sleep)
    observers.find(frozenset(move.source for move in moves))
    for move in moves:
        cloud.tag_eni(
            move.eni.id,
            {way_to(carry).of_one(order.TAG, move.target): order.render(move.attachment, move.to, deadline)},
        )
        say(f"{move.target}: asked {move.source} to hand it over to {'any standby' if move.to == '*' else move.to}")
    observers.look()
    look_at = now()
    try:
        while left:
            if wall() > deadline:
                names = ", ".join(str(target) for target in left)
                shown = "; ".join(waiting.shown[target] for target in left)
                raise CloudError(f"{names}: not handed over within {VALID_FOR:g} s: {shown}", "see the observers' logs")
            _listen(observers, left, gaps, now)
            if now() < look_at:
                sleep(LISTEN_EVERY)
                continue
            look_at = now() + LOOK_EVERY
            enis = _shown(cloud, name)
            if enis is None:
                continue
            for target in tuple(left):
                attachment, holder = _attachment(enis, target, carry), ""
                if attachment is not None and attachment.status is AttachmentStatus.ATTACHED:
                    holder = attachment.instance_id
                if holder in ("", left[target].source):
                    waiting.see(target, attachment, deadline - wall())
                    continue
                gap, since = gaps[target].seconds(), moved_at.setdefault(target, now())
                if gap is None and observers.addresses and now() - since < GAP_TOLD_WITHIN:
                    continue
                told = f"a gap of at most {gap:.1f} s" if gap is not None else "no observer to ask for the gap"
                say(f"{target}: {holder} has it, {now() - began:.1f} s after it was asked for; {told}")
                del left[target]
    finally:
        for move in moves:
            cloud.tag_eni(move.eni.id, {way_to(carry).of_one(order.TAG, move.target): ""})


def _listen(
    observers: _Observers,
    left: Mapping[Target, Handover],
    gaps: Mapping[Target, Gap],
    now: Callable[[], float],
) -> None:
    """Ask all observers who holds what is still to move."""
    holding: dict[str, set[str]] = {}
    for instance_id in observers.addresses:
        status = observers.ask(instance_id)
        if status is not None:
            for text, held in status.holds.items():
                if not held.problem:
                    holding.setdefault(text, set()).add(instance_id)
    for target, move in left.items():
        holders = holding.get(str(target), set())
        gaps[target].hear(now(), source_holds=move.source in holders, successor_holds=bool(holders - {move.source}))


def _shown(cloud: Cloud, name: str) -> tuple[Eni, ...] | None:
    """Our ENIs as far as they can be read; None where EC2 does not answer."""
    try:
        return tuple(eni for eni in cloud.describe_enis(name) if not eni.unread)
    except CloudUnavailable:
        return None


def _attachment(enis: Iterable[Eni], target: Target, carry: Carry) -> Attachment | None:
    """Where the target is now; None where it is nowhere."""
    return next((eni.attachment for eni in _carriers(enis, target, carry) if eni.attachment is not None), None)


def _carriers(enis: Iterable[Eni], target: Target, carry: Carry) -> Iterator[Eni]:
    """Those that have the target, and are of the kind by which this deployment carries it."""
    return (eni for eni in way_to(carry).usable(enis) if eni.carries(target))


class _Waiting:
    """Tells what is waited for: when EC2 shows something new, and now and then while it does not."""

    def __init__(self, moves: tuple[Handover, ...], say: Callable[[str], None], now: Callable[[], float]) -> None:
        self._say = say
        self._now = now
        self._told_at = dict.fromkeys((move.target for move in moves), now())
        self.shown = {move.target: f"{AttachmentStatus.ATTACHED} to {move.source}" for move in moves}

    def see(self, target: Target, attachment: Attachment | None, left: float) -> None:
        """EC2 shows the target there, or nowhere, ``left`` seconds before the end."""
        at = "from" if attachment is not None and attachment.status is AttachmentStatus.DETACHING else "to"
        shown = f"{attachment.status} {at} {attachment.instance_id}" if attachment is not None else "on no instance"
        if shown == self.shown[target] and self._now() - self._told_at[target] < TOLD_EVERY:
            return
        self.shown[target], self._told_at[target] = shown, self._now()
        self._say(f"{target}: {shown}; waiting for up to {left:.0f} s more")


class _Observers:
    """Those that tell what they hold: the holders', and of those that they name the ones that EC2 shows in the same
    cluster.

    ``addresses`` are theirs; ``answers`` is what came of the first question to each who was asked, them or not.
    """

    def __init__(
        self, cloud: Cloud, port: int, me: str, now: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._cloud = cloud
        self._port = port
        self._me = me
        self._now = now
        self._sleep = sleep
        self._asked_at: dict[str, Address] = {}
        self.addresses: dict[str, Address] = {}
        self.answers: dict[str, Answer] = {}

    def find(self, holders: frozenset[str], named: frozenset[str] = frozenset()) -> None:
        """Go from the holders, this node's own and the ones that are named, to those whom these name."""
        clusters, tried, waiting = set[str](), set[str](), holders | named | ({self._me} - {""})
        while waiting and len(tried) < PEERS_AT_MOST:
            asked = frozenset(sorted(waiting)[: PEERS_AT_MOST - len(tried)])
            tried |= asked
            waiting = waiting - tried
            shown = self._cloud.describe_instances(asked).values()
            clusters.update(cluster_name(instance.tags) for instance in shown if instance.id in holders)
            for instance in shown:
                ours = cluster_name(instance.tags) in clusters
                if not ours or instance.address is None or instance.state.announces_death:
                    continue
                self._asked_at[instance.id] = instance.address
                answer = self.answers[instance.id] = self._introduce_to(instance.id)
                if answer.status is not None and answer.status.instance_id == instance.id:
                    self.addresses[instance.id] = instance.address
                    waiting |= set(answer.status.peers) - tried

    def look(self) -> None:
        """Have them ask EC2 soon."""
        for address in self.addresses.values():
            ask(address, self._port, me=self._me, look=True)

    def ask(self, instance_id: str) -> Status | None:
        """What one says of itself now; nothing where it is silent, or does not know who asks."""
        status = self._ask(instance_id).status
        return status if status is not None and status.instance_id == instance_id else None

    def is_silent(self, instance_id: str) -> bool:
        """The node was asked, and not even said that no observer is there."""
        answer = self.answers.get(instance_id)
        return answer is not None and answer.status is None and not answer.refused

    def problem(self, instance_id: str, name: str, carry: Carry) -> str:
        """Why the observer there would not take an address over, or nothing."""
        if instance_id not in self.answers:
            return "it is no living worker of the holder's cluster"
        address, status = self._asked_at[instance_id], self.answers[instance_id].status
        if status is None:
            return f"no observer answers at {address}:{self._port}"
        if status != RESERVED:
            if (status.name, status.instance_id) != (name, instance_id):
                return f"the observer at {address}:{self._port} is not one of {name}"
            if status.leaving:
                return "its node is about to end"
            if status.free_slots == 0:
                return way_to(carry).lacks_room
        reason = not_ready(address, self._port)
        return f"its observer is not ready: {reason}" if reason else ""

    def _ask(self, instance_id: str) -> Answer:
        return ask_once(self._asked_at[instance_id], self._port, me=self._me)

    def _introduce_to(self, instance_id: str) -> Answer:
        """The first word of one, which may have to find out who asks."""
        until, answer = self._now() + INTRODUCED_WITHIN, self._ask(instance_id)
        while self._me and answer.status == RESERVED and self._now() < until:
            self._sleep(LISTEN_EVERY)
            answer = self._ask(instance_id)
        return answer
