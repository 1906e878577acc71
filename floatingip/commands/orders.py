"""
The orders of one `floatingip handover` (core/decision/order.py): written, and taken back at its end.

Somebody else may order another handover of the same address meanwhile.  A tag has one value, so the last order counts;
a command whose order was replaced says so, and leaves the newer order there.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from math import inf

from floatingip.commands.console import Console
from floatingip.commands.deployment import Deployment
from floatingip.core import timing
from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import Eni
from floatingip.core.errors import CloudError, LookAgain
from floatingip.core.model import Target
from floatingip.edges.utc import utc

SHOWN_WITHIN = timing.CLAIM_SHOWN
"""Seconds for which EC2 may still show what was there before an order, though it has shown the order already."""


@dataclass(frozen=True, slots=True)
class Handover:
    """One address, and the ``eni`` that has it: it is to move from there to the instance ``to``, or to anybody."""

    target: Target
    eni: Eni
    to: str

    @property
    def source(self) -> str:
        """The instance that holds the address."""
        return self.eni.attachment.instance_id if self.eni.attachment is not None else ""

    @property
    def attachment(self) -> str:
        """The attachment that the address is to leave."""
        return self.eni.attachment.id if self.eni.attachment is not None else ""


@dataclass(slots=True)
class _Given:
    """An order that was given: ``value`` is its tag's, ``before`` the one that was there.  ``replaced_by`` is what
    stands there since somebody else has written it, as last shown: another order, or nothing; None while ours counts.
    ``shown_at`` is when EC2 showed ours last.
    """

    move: Handover
    value: str
    before: str
    replaced_by: str | None = None
    shown_at: float = inf


class Orders:
    """The orders given, each obeyed until ``deadline`` (Unix seconds)."""

    def __init__(self, ours: Deployment, deadline: float, console: Console) -> None:
        self._cloud = ours.cloud
        self._name = ours.name
        self._way = way_to(ours.carry)
        self._deadline = deadline
        self._console = console
        self._wall = ours.wall
        self._given: dict[Target, _Given] = {}

    def give(self, move: Handover) -> None:
        """Order a handover.  Raises CloudError if EC2 does not accept the tag."""
        eni = next((eni for eni in self._ask() if eni.id == move.eni.id), move.eni)  # others may just have ordered
        before, value = self._shown(move, eni), _rendered(move, self._deadline)
        if before == value:  # the same order of this very second: make ours differ
            value = _rendered(move, self._deadline - 1.0)
        self._given[move.target] = _Given(move, value, before)  # before it is given: the answer may get lost
        try:
            self._write(move, value)
        except CloudError as error:
            if not error.may_be_made:
                del self._given[move.target]
            raise
        if order.parse(before, move.attachment, self._wall()):
            self._console.say(f"{move.target}: replaced: somebody has asked for it, {_words(before)}")
        to = "any standby" if move.to == order.ANYBODY else move.to
        self._console.say(f"{move.target}: asked {move.source} to hand it over to {to}")

    def compare(self, enis: Iterable[Eni]) -> None:
        """See in an answer of EC2 whether somebody else has ordered something since.

        The newer order may name another attachment: an ENI keeps its tags when it moves, and another handover may be
        ordered at once.  EC2 may show tags late, so the value that was there before our order does not count as a newer
        one until EC2 has shown ours, and then not for a while; and if our own order is shown after another one, ours is
        the last.
        """
        shown, now = {eni.id: eni for eni in enis}, self._console.now()
        for target, given in self._given.items():
            if given.move.eni.id not in shown:
                continue
            value, before = self._shown(given.move, shown[given.move.eni.id]), given.replaced_by
            if value == given.value:
                given.replaced_by, given.shown_at = None, now
            elif before is not None or value not in ("", given.before) or now - given.shown_at > SHOWN_WITHIN:
                given.replaced_by = value
            if before is not None and given.replaced_by is None:
                self._console.say(f"{target}: that was before: what was asked for here counts")
            elif before is None and given.replaced_by:
                self._console.say(f"{target}: by now somebody else asks for it, {_words(value)}")

    def take_back(self) -> dict[Target, str]:
        """Remove the orders; return, by target, why some stay: errors here must not hide what has moved, or why not.

        It works without a reader, too: a handover often ends because its terminal or its output's reader is gone.
        """
        self._console = replace(self._console, say=partial(_even_unheard, self._console.say))
        stays = dict[Target, str]()
        left = list(self._given)
        try:
            self.compare(self._ask())
            while left:
                target = left[0]
                try:
                    if self.lasting(target):
                        self._write(self._given[target].move, "")
                except LookAgain:
                    pass  # the interface is gone, and so is the order
                except CloudError as error:
                    stays[target] = str(error)
                left.pop(0)
        except KeyboardInterrupt as ended:  # a second Ctrl-C: the user wants to leave now
            if signal.SIGHUP in ended.args:  # not the user: the signal of a closed terminal, after its failed write
                return self.take_back()
            return stays | {target: "broken off" for target in left if self.lasting(target)}
        return stays

    def lasting(self, target: Target) -> bool:
        """Whether its order was given, and not replaced by another."""
        return target in self._given and self._given[target].replaced_by is None

    def stands_none(self, target: Target) -> bool:
        """Whether its order, or the one that replaced it, was taken back by somebody else."""
        return target in self._given and self._given[target].replaced_by == ""

    def _ask(self) -> tuple[Eni, ...]:
        try:
            return self._console.insist(partial(self._cloud.describe_enis, self._name))
        except CloudError:  # then it is not known whether there is another order
            return ()

    def _write(self, move: Handover, value: str) -> None:
        tag = {self._way.of_one(order.TAG, move.target): value}
        self._console.insist(partial(self._cloud.tag_eni, move.eni.id, tag))

    def _shown(self, move: Handover, eni: Eni) -> str:
        """The value of the order's tag, in an answer of EC2."""
        return eni.tags.get(self._way.of_one(order.TAG, move.target), "")


def _rendered(move: Handover, deadline: float) -> str:
    return order.render(move.attachment, move.to, deadline)


def _even_unheard(say: Callable[[str], None], text: str) -> None:
    with suppress(OSError):
        say(text)


def _words(value: str) -> str:
    """What a tag's value asks for, in words, whichever attachment it names."""
    ordered = order.parse(value, value.partition(">")[0], -inf)
    if ordered is None:
        return f"by `{value}`, which says nothing to an observer"
    to = "any standby" if ordered.to == order.ANYBODY else ordered.to
    return f"to go to {to} until {utc(ordered.deadline)}"
