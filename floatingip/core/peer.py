"""What the observers of other nodes tell: each of itself, and the holder's of the address."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from floatingip.core.probe import Served


class WordState(StrEnum):
    """What the judged holder's observer says of itself.

    ``UNASKED``: nobody asked yet.  ``SILENT``: no answer, which a refused connection is too.  ``OTHER``: an answer,
    but not of the judged attachment, so that it vouches for nothing.  ``LEAVING``: it asks to be relieved.
    """

    UNASKED = "unasked"
    SILENT = "silent"
    OTHER = "other"
    SOUND = "sound"
    UNSOUND = "unsound"
    LEAVING = "leaving"


class Sight(StrEnum):
    """Whether the holder could fetch the asker's status from the floating address."""

    UNTRIED = "untried"
    SEEN = "seen"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Word:
    """The holder's word on the judged attachment; ``since`` is when it began to be in this state, infinite before
    that is known, so that it has lasted no time; ``refused``: the node itself said that no observer is there, so the
    node is alive; ``written_off``: it asks to be relieved for nothing but what Kubernetes thinks of its node;
    ``ending``: it is its observer's last.
    """

    state: WordState = WordState.UNASKED
    since: float = float("inf")
    sight: Sight = Sight.UNTRIED
    detail: str = ""
    refused: bool = False
    written_off: bool = False
    ending: bool = False

    @property
    def vouches(self) -> bool:
        """The holder serves, and reaches this node from the address; whether it asks to be relieved does not matter."""
        return self.state in (WordState.SOUND, WordState.LEAVING) and self.sight is Sight.SEEN

    @property
    def is_quiet(self) -> bool:
        """The holder's observer does not say how its node is, or is about to end and will say no more."""
        return self.state is WordState.SILENT or self.ending


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node's observer: when it answered last, under which attachments it sees addresses UP, how many more
    ENIs its node could take, which targets it holds by which attachment, what NodePorts answered it where, whether its
    own node is leaving, and which targets EC2 has accepted for it but does not show there yet.

    ``asked_at`` is when the last question was asked that it answered: it says nothing of what happened later.
    """

    instance_id: str
    heard_at: float
    sees_up: tuple[str, ...] = ()
    free_slots: int | None = None
    holds: Mapping[str, str] = field(default_factory=dict)
    served: Served = field(default_factory=dict)
    leaving: bool = False
    claiming: tuple[str, ...] = ()
    asked_at: float = -math.inf
