"""All that a verdict on the address' holder needs, whether that is this node or another one."""

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
    """What is known and remembered while some node has the address.

    ``owner`` is EC2's last answer, ``eni`` the ENI that has the address by it, ``attachment`` that ENI's attachment.
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
        """A record of the judged attachment from this time on (Unix seconds) is of the move that is being made now."""
        return move_since(self.memory, self.view, self.way)

    @property
    def last_move(self) -> float:
        """When the last move before this one was recorded, in Unix seconds; minus infinity for never.

        Moves away from the judged attachment, recorded while that has had the address, do not count: none succeeded.
        """
        return ration.last_at(self.recorded, self.attachment.id, self._tried_since, wall=self.view.wall)

    def moves_since(self, reached_at: float) -> int:
        """How many moves before this one were recorded after ``reached_at``, in Unix seconds."""
        view = self.view
        return ration.times_since(reached_at, self.recorded, self.attachment.id, self._tried_since, wall=view.wall)

    def was_moved_by(self, rule: str, time: float) -> bool:
        """Whether a move before this one, by this rule, was recorded after ``time``, in Unix seconds."""
        view = self.view
        return ration.was_moved_by(rule, time, self.recorded, self.attachment.id, self._tried_since, wall=view.wall)

    @property
    def _tried_since(self) -> float:
        """A record of the judged attachment from this time on (Unix seconds) is of a move that has not succeeded."""
        view = self.view
        return min(self.move_since, view.wall - (view.now - self.memory.attachment_since))

    @property
    def came_at(self) -> float | None:
        """What the ENI's tags say of times after this one (Unix seconds) is of this attachment; None while unknown."""
        return self.way.came_at(self.attachment)

    @property
    def ration_key(self) -> str:
        """The key of the ration's tag for this address."""
        return self.way.of_one(ration.TAG, self.view.target)

    def record(self, eni_id: str, rule: str, attachment_id: str, since: float = -inf) -> Tag:
        """The tag to write to this ENI to record the move away from an attachment.

        ``since``: a record of that attachment from this time on (Unix seconds) is of this move.  If EC2 has accepted
        such a tag already, though it may not show it yet, the same one is returned: a new one would have another time
        in its value.
        """
        accepted = self.view.tended.accepted
        write = Tag(eni_id, self.ration_key, ration.record(self.recorded, rule, self.view.wall, attachment_id))
        if not isinstance(accepted, Tag) or aim(accepted) != aim(write):
            return write
        return accepted if ration.recorded(accepted.value, attachment_id, since) else write

    @property
    def order(self) -> orders.Order | None:
        """The handover away from this attachment that somebody asked for; None if nobody did."""
        told = self.eni.tags.get(self.way.of_one(orders.TAG, self.view.target), "")
        return orders.parse(told, self.attachment.id, self.view.wall)

    @property
    def paused_for(self) -> float:
        """Seconds until moves that nobody asked for are allowed again; 0 or less if they are allowed now."""
        return pause.ends_at(self.eni.tags, self.view.wall) - self.view.wall


def move_since(memory: Memory, view: View, way: Way) -> float:
    """A record of the attachment that loses the address, from this time on (Unix seconds), is of the move being made.

    Whatever was recorded since that move became due is of that move, however long EC2 has refused it.
    """
    return way.move_since(view.wall, 0.0 if memory.due_since is None else view.now - memory.due_since)
