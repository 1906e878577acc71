"""
Carry out handovers: order them, wait until they are done, and take the orders back.

EC2 tells where the addresses are.  The observers, if they can be asked, tell for how long none of them held one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from floatingip.commands.console import Console
from floatingip.commands.deployment import Deployment
from floatingip.commands.observers import Observers
from floatingip.commands.orders import Handover, Orders
from floatingip.commands.successor import Successor
from floatingip.core.decision import order, pause
from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni
from floatingip.core.errors import CloudError, CloudUnavailable
from floatingip.core.model import Carry, Target
from floatingip.core.word import Status
from floatingip.edges.utc import utc
from floatingip.runtime.look import cannot_be_read

VALID_FOR = 180.0
"""Seconds for which an order is obeyed: an undisturbed observer asks EC2 once a minute, and a move takes EC2 up to a
minute.
"""

LOOK_EVERY = 0.5
"""Seconds between two questions to EC2 whether the addresses have moved."""

LISTEN_EVERY = 0.1
"""Seconds between two rounds of questions to the observers."""

GAP_TOLD_WITHIN = 5.0
"""Seconds to wait, after EC2 shows a move, for what the observers tell of it."""

CARRIED_WITHIN = 30.0
"""The same while the new holder's observer says that it does not carry the address yet: a slow device takes 20 s."""


class Gap:
    """The seconds between the old holder's last word that it holds a target and the new holder's first."""

    def __init__(self) -> None:
        self._left_at: float | None = None
        self._taken_at: float | None = None

    def hear(self, now: float, *, source_holds: bool, successor_holds: bool) -> None:
        """Take up which of the two observers said at ``now`` that its node holds the address."""
        if source_holds:
            self._left_at = now
        if successor_holds and self._taken_at is None:
            self._taken_at = now

    def seconds(self) -> float | None:
        """The gap in seconds; None until both observers have been heard."""
        if self._left_at is None or self._taken_at is None:
            return None
        return max(0.0, self._taken_at - self._left_at)


def carry_out(ours: Deployment, moves: tuple[Handover, ...], console: Console) -> None:
    """Order the handovers, wait until they are done, and remove the orders.

    Observers tell only their peers who holds what.  If this does not run on an instance, they are not asked, and see
    the orders when they next ask EC2 by themselves, up to a minute later.  Raises ``CloudError`` if an address has not
    moved in time, has moved to another node than the one asked for, or can move no more, or if its new holder's
    observer says that it does not carry it.
    """
    work, now = _Work(ours, moves, console), console.now
    try:
        work.order()
        look_at = now()
        while work.left:
            work.listen()
            if now() < look_at:
                console.sleep(LISTEN_EVERY)
                continue
            look_at, is_over = now() + LOOK_EVERY, work.is_over  # taken before EC2 is asked: this may have slept since
            if not is_over:
                console.wait(work.awaited())
            work.look(is_over=is_over)
            work.give_up(is_over=is_over)
        work.complain()
    finally:
        work.take_back()


class _Work:
    """Handovers under way: ``left`` are those that are not done yet, by target."""

    def __init__(self, ours: Deployment, moves: Sequence[Handover], console: Console) -> None:
        self.left = {move.target: move for move in moves}
        self._ours = ours
        self._moves = moves
        self._console = console
        self._say, self._now, self._wall = console.say, console.now, ours.wall
        self._began, self._deadline = self._now(), self._wall() + VALID_FOR
        self._gaps = {move.target: Gap() for move in moves}
        self._moved_at: dict[Target, float] = {}
        self._shown = {move.target: _before(move) for move in moves}
        self._observers = Observers(ours, console)
        named = frozenset(move.to for move in moves) - {order.ANYBODY}
        self._observers.find(frozenset(move.source for move in moves), named)
        self._to = next(iter(named), order.ANYBODY)
        could = named or {each for each in self._observers.telling if any(each != move.source for move in moves)}
        tell = console.say if len(could) == 1 else None  # if there are several, what one of them lacks does not matter
        self._successors = [Successor(ours, self._observers, each, tell, console.now) for each in could]
        self._nobody = ""  # why nobody could take the addresses that are left, as last said
        self._orders = Orders(ours, self._deadline, console)
        self._answered_at = self._began
        self._is_answered, self._unanswered = True, ""
        self._dropped: list[str] = []  # targets that another order overruled, which was then taken back
        self._astray: list[str] = []  # targets that another node than the one asked for took, as when the holder died
        self._uncarried: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether the orders have expired."""
        return self._wall() > self._deadline

    def order(self) -> None:
        """Give the orders, and have the observers look.  Raises ``CloudError``."""
        for move in self._moves:
            self._orders.give(move)
        self._observers.look()
        self._answered_at = self._now()

    def awaited(self) -> str:
        """The sentence that says what is not handed over yet."""
        where = ", ".join(f"{target} ({self._shown[target]})" for target in self.left)
        waited, at_most = self._now() - self._began, self._deadline - self._wall()
        return f"waiting for {where}: {waited:.0f} s so far, up to {at_most:.0f} s more{self._silence()}"

    def _silence(self) -> str:
        """For how long EC2 has not told where all addresses are, in words; empty if it does."""
        if not self._unanswered:
            return ""
        return f"; EC2 has not told for {self._now() - self._answered_at:.0f} s: {self._unanswered}"

    def listen(self) -> None:
        """Ask all observers who holds the addresses that are still to move."""
        holding: dict[str, set[str]] = {}
        for instance_id in self._observers.telling:
            status = self._observers.ask(instance_id)
            if status is not None:
                for text, held in status.holds.items():
                    if not held.problem:
                        holding.setdefault(text, set()).add(instance_id)
        for target, move in self.left.items():
            holders, gap = holding.get(str(target), set()), self._gaps[target]
            gap.hear(self._now(), source_holds=move.source in holders, successor_holds=bool(holders - {move.source}))

    def look(self, *, is_over: bool) -> None:
        """Ask EC2 where the addresses are.  Raises ``CloudError`` if it refuses to tell."""
        enis, self._unanswered = _shown(self._ours)
        self._is_answered = enis is not None
        if self._is_answered and not self._unanswered:
            self._answered_at = self._now()
        self._orders.compare(enis or ())
        for target in tuple(self.left) if enis is not None else ():
            self._follow(target, enis or (), is_over=is_over)

    def _follow(self, target: Target, enis: Sequence[Eni], *, is_over: bool) -> None:
        """Take up where EC2 shows this address."""
        attachment, source = _attachment(enis, target, self._ours.carry), self.left[target].source
        if attachment is None and self._unanswered:
            return  # an interface that cannot be read may have the address
        is_held = attachment is not None and attachment.status is AttachmentStatus.ATTACHED
        holder = attachment.instance_id if attachment is not None and is_held else ""
        if holder == source and self._orders.stands_none(target):
            del self.left[target]
            self._dropped.append(str(target))
            self._say(f"{target}: somebody has taken back what was asked for: no order stands any more")
            return
        before, self._shown[target] = self._shown[target], _where(attachment)
        if holder not in ("", source):
            self._arrived(target, holder, enis, is_over=is_over)
            return
        self._moved_at.pop(target, None)
        if before != self._shown[target]:
            self._say(f"{target}: {self._shown[target]}")

    def _arrived(self, target: Target, holder: str, enis: Sequence[Eni], *, is_over: bool) -> None:
        """EC2 shows another holder: the move is done once the observers have told of it, or after a short wait."""
        since = self._moved_at.setdefault(target, self._now())
        gap = self._gaps[target].seconds()
        lacks = _lacks(self._observers.heard.get(holder), target)
        is_told = gap is not None or not self._observers.telling
        within = CARRIED_WITHIN if lacks else 0.0 if is_told else GAP_TOLD_WITHIN
        if self._now() - since < within and not is_over:
            return
        told = f"a gap of at most {gap:.1f} s" if gap is not None else "no observer to ask for the gap"
        told = f"but does not carry it: {lacks}" if lacks else told
        took = self._now() - self._began
        self._say(f"{target}: {holder} has it, {took:.1f} s after it was asked for; {told}")
        if lacks:
            self._uncarried.append(f"{target} on {holder}")
        move = self.left.pop(target)
        _keep_paused(self._ours, enis, move, self._console)
        if move.to not in (order.ANYBODY, holder):
            self._astray.append(f"{target} on {holder}")

    def give_up(self, *, is_over: bool) -> None:
        """Raise ``CloudError`` if an address is not handed over in time, or the node that was named can take none."""
        if not self.left:
            return
        names, gone = ", ".join(str(target) for target in self.left), self._gone()
        waits = self._is_answered and all(self._orders.lasting(target) for target in self.left)
        if gone and waits and all(self._shown[target] == _before(move) for target, move in self.left.items()):
            if self._to != order.ANYBODY:
                raise CloudError(f"{names}: not handed over to {self._to}: {gone}", "hand over to another node")
            if gone != self._nobody:
                self._say(f"{names}: nobody is left who could take it, until another observer comes: {gone}")
            self._nobody = gone
        if is_over:
            where = "; ".join(self._shown[target] for target in self.left) + self._silence()
            raise CloudError(f"{names}: not handed over within {VALID_FOR:g} s: {where}", "see the observers' logs")

    def _gone(self) -> str:
        """Why none of the nodes that were asked can take some address any more; empty if one may, or none was asked."""
        why = {each.to: each.gone() for each in self._successors}
        for move in self.left.values():
            could = {to: gone for to, gone in why.items() if to != move.source}
            if could and all(could.values()):
                told = (f"{self._observers.nodes.get(to, to)}: {gone}" for to, gone in could.items())
                return could.get(self._to) or "; ".join(told)
        return ""

    def complain(self) -> None:
        """Raise ``CloudError`` if all is over, but not every handover ended as it was asked for."""
        for names, said, remedy in (
            (self._dropped, "not handed over: no order stands any more", "run handover again"),
            (self._astray, f"not handed over to {self._to}", "run handover again"),
            (self._uncarried, "handed over, but not carried there", "see that observer's log"),
        ):
            if names:
                raise CloudError(f"{', '.join(names)}: {said}", remedy)

    def take_back(self) -> None:
        """Take back the orders that stand, and say which could not be."""
        stays = self._orders.take_back()
        for target, why in stays.items():
            until = utc(self._deadline)
            self._say(f"{target}: what was asked for could not be taken back, and may be obeyed until {until}: {why}")
        lasting = [target for target in self.left if self._orders.lasting(target)]
        if unasked := [str(target) for target in lasting if target not in stays]:
            self._say(f"{', '.join(unasked)}: no longer asked for")
        for eni, target in ((self.left[target].eni, target) for target in lasting):
            if eni.standing_for and pause.ends_at(eni.tags, self._wall()) > self._wall():
                # From now on nothing carries the pause along (`_keep_paused`).
                self._say(f"{target}: does it move all the same, its pause may end; run `floatingip pause` again")


def _keep_paused(ours: Deployment, enis: Sequence[Eni], move: Handover, console: Console) -> None:
    """Carry a pause along with the address: a standing ENI that was created after the pause began lacks its tag.

    A user who ends or changes the pause at the same time writes to all ENIs, perhaps just before this write.  So the
    ENI that the address has left is read after this write, and what its tag says then counts.
    """
    wall, source = ours.wall(), next((eni for eni in enis if eni.id == move.eni.id), None)
    carrier = next(carriers(enis, move.target, ours.carry), None)
    if source is None or carrier is None or pause.ends_at(source.tags, wall) <= pause.ends_at(carrier.tags, wall):
        return
    value, problem = source.tags[pause.TAG], "its pause ends with this move"
    try:
        console.insist(partial(ours.cloud.tag_eni, carrier.id, {pause.TAG: value}))
        problem = "its pause was perhaps ended or changed meanwhile, and stays as it was"
        since = next((eni for eni in _shown(ours)[0] or () if eni.id == source.id), source).tags.get(pause.TAG, "")
        if since != value:
            console.insist(partial(ours.cloud.tag_eni, carrier.id, {pause.TAG: since}))
    except CloudError as error:
        console.say(f"{move.target}: {problem}: {error}; run `floatingip pause` or `resume`")


def _shown(ours: Deployment) -> tuple[tuple[Eni, ...] | None, str]:
    """Our ENIs as far as they can be read, None if EC2 does not answer; and why these are not all of them."""
    try:
        enis = ours.cloud.describe_enis(ours.name)
    except CloudUnavailable as error:
        return None, str(error)
    return tuple(eni for eni in enis if not eni.unread), "; ".join(cannot_be_read(eni) for eni in enis if eni.unread)


def _attachment(enis: Iterable[Eni], target: Target, carry: Carry) -> Attachment | None:
    """Where the target is now; None where it is nowhere."""
    return next((eni.attachment for eni in carriers(enis, target, carry) if eni.attachment is not None), None)


def carriers(enis: Iterable[Eni], target: Target, carry: Carry) -> Iterator[Eni]:
    """The ENIs that have the target, and are of the kind with which this deployment carries addresses."""
    return (eni for eni in way_to(carry).usable(enis) if eni.has(target))


def _lacks(status: Status | None, target: Target) -> str:
    """Why the observer that reported ``status`` does not carry the target; empty if it does, or was not heard."""
    if status is None:
        return ""
    held = status.holds.get(str(target))
    return "its observer does not say yet that it holds it" if held is None else held.problem


def _before(move: Handover) -> str:
    """Where EC2 shows the address as long as it has not moved, in words."""
    return f"{AttachmentStatus.ATTACHED} to {move.source}"


def _where(attachment: Attachment | None) -> str:
    """Where EC2 shows an address, in words."""
    return attachment.where if attachment is not None else "on no instance"
