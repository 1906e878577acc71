"""The address is on somebody's ENI: all that a verdict on the holder, this node or another one, rests on."""

from __future__ import annotations

from dataclasses import dataclass

from floatingip.core.decision import order as orders
from floatingip.core.decision import ration
from floatingip.core.decision.view import Memory, View, moves
from floatingip.core.model import Attachment, Eni, Instance, Owner, WordState
from floatingip.core.settings import Settings


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known and remembered, with EC2's answer taken apart: ``eni`` has the address, by ``attachment``."""

    memory: Memory
    view: View
    settings: Settings
    owner: Owner
    eni: Eni
    attachment: Attachment

    @property
    def who(self) -> str:
        """The holder's instance."""
        return self.attachment.instance_id

    @property
    def holder(self) -> Instance | None:
        """What EC2 says of it, if it was asked."""
        return self.owner.instances.get(self.who)

    @property
    def is_silent(self) -> bool:
        """The holder's observer says nothing."""
        return self.view.word.state is WordState.SILENT

    @property
    def recorded(self) -> str:
        """The moves that the ration's tag tells of."""
        return moves(self.view, self.settings.carry, self.eni)

    @property
    def ration_key(self) -> str:
        """The ration's tag."""
        return ration.key(self.view.target, self.settings.carry)

    @property
    def order(self) -> orders.Order | None:
        """What somebody asked for, of this attachment."""
        told = self.eni.tags.get(orders.key(self.view.target, self.settings.carry), "")
        return orders.parse(told, self.attachment.id, self.view.wall)
