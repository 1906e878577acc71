"""Some node has the address, this one or another: all that a verdict on it needs."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from floatingip.core.decision import order as orders
from floatingip.core.decision import pause, ration
from floatingip.core.decision.carry import Way, way_to
from floatingip.core.decision.view import Memory, View
from floatingip.core.ec2 import Attachment, Eni, Instance, Owner
from floatingip.core.peer import WordState
from floatingip.core.settings import Settings
from floatingip.core.writes import Tag, aim


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known and remembered, with EC2's answer taken apart: ``eni`` has the address, attached by
    ``attachment``.
    """

    memory: Memory
    view: View
    settings: Settings
    owner: Owner
    eni: Eni
    attachment: Attachment

    @property
    def way(self) -> Way:
        """How the address is carried."""
        return way_to(self.settings.carry)

    @property
    def who(self) -> str:
        """The holder's instance."""
        return self.attachment.instance_id

    @property
    def holder(self) -> Instance | None:
        """What EC2 says of that instance; None where its last answer does not describe it."""
        return self.owner.instances.get(self.who)

    @property
    def is_silent(self) -> bool:
        """The holder's observer says nothing."""
        return self.view.word.state is WordState.SILENT

    @property
    def recorded(self) -> str:
        """The moves that the ration's tag tells of."""
        return self.way.recorded(self.view, self.eni)

    @property
    def move_since(self) -> float:
        """From when on (Unix seconds) a record of the judged attachment is of the move that is being made."""
        return move_since(self.memory, self.view, self.way)

    @property
    def last_move(self) -> float:
        """When the last move before this one was recorded, in Unix seconds; minus infinity for never.

        Records of moves away from the judged attachment, while that has had the address, do not count: none succeeded.
        """
        return ration.last_at(self.recorded, self.attachment.id, self._tried_since, wall=self.view.wall)

    def moves_since(self, reached_at: float) -> int:
        """How many moves before this one are recorded that were made after this time, in Unix seconds."""
        view = self.view
        return ration.times_since(reached_at, self.recorded, self.attachment.id, self._tried_since, wall=view.wall)

    def was_moved_by(self, rule: str, time: float) -> bool:
        """Whether one of these was made by this rule after this time, in Unix seconds."""
        view = self.view
        return ration.was_moved_by(rule, time, self.recorded, self.attachment.id, self._tried_since, wall=view.wall)

    @property
    def _tried_since(self) -> float:
        """From when on (Unix seconds) a record of the judged attachment is of a move that has not succeeded."""
        view = self.view
        return min(self.move_since, view.wall - (view.now - self.memory.attachment_since))

    @property
    def came_at(self) -> float | None:
        """From when on (Unix seconds) what a tag of the ENI says is of this attachment; None while that is unknown."""
        return self.way.came_at(self.attachment)

    @property
    def ration_key(self) -> str:
        """The ration's tag."""
        return self.way.of_one(ration.TAG, self.view.target)

    def record(self, eni_id: str, rule: str, attachment_id: str, since: float = -inf) -> Tag:
        """The tag of this ENI by which the move away from an attachment is recorded.

        ``since``: from when on (Unix seconds) a record of that attachment is of this move.  It is the tag that EC2 has
        accepted where that records the move, although EC2 may not show it yet: its value has the time in it.
        """
        accepted = self.view.tended
        write = Tag(eni_id, self.ration_key, ration.record(self.recorded, rule, self.view.wall, attachment_id))
        if not isinstance(accepted, Tag) or aim(accepted) != aim(write):
            return write
        return accepted if ration.recorded(accepted.value, attachment_id, since) else write

    @property
    def order(self) -> orders.Order | None:
        """The handover that somebody asked for, away from this attachment; None for none."""
        told = self.eni.tags.get(self.way.of_one(orders.TAG, self.view.target), "")
        return orders.parse(told, self.attachment.id, self.view.wall)

    @property
    def paused_for(self) -> float:
        """Seconds until moves that nobody asked for are allowed again; 0 or less where they are."""
        return pause.ends_at(self.eni.tags, self.view.wall) - self.view.wall


def move_since(memory: Memory, view: View, way: Way) -> float:
    """From when on (Unix seconds) a record of the attachment that loses the address is of the move that is being made.

    However long EC2 has refused that move, what was written since it became due is no earlier one.
    """
    return way.move_since(view.wall, 0.0 if memory.due_since is None else view.now - memory.due_since)
