"""What the observers of other nodes say: each of itself, and the holder's observer of the address."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from floatingip.core.probe import Served


class WordState(StrEnum):
    """What the judged holder's observer says of itself.

    ``UNASKED``: it was not asked yet.  ``SILENT``: it did not answer, or the connection was refused.  ``OTHER``: it
    answered, but not about the judged attachment, so that it vouches for nothing.  ``LEAVING``: it asks to be relieved.
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
    """The holder's word about the judged attachment.

    ``since`` is when ``state``, ``written_off`` and ``ending`` got their present values; infinite while that is not
    known, so that they have lasted no time.  ``sight`` is whether the holder reaches this node from the address.
    ``detail`` is its problem, or why it asks to be relieved.  ``refused``: its node refused the connection, so the node
    is alive, but has no observer.  ``written_off``: it asks to be relieved only because Kubernetes has given its node
    up.  ``ending``: its observer is about to end, and will say no more.  ``asked_at`` is when the last question was
    asked, whether or not it was answered; infinite if there is nobody to ask.
    """

    state: WordState = WordState.UNASKED
    since: float = float("inf")
    sight: Sight = Sight.UNTRIED
    detail: str = ""
    refused: bool = False
    written_off: bool = False
    ending: bool = False
    asked_at: float = math.inf

    @property
    def vouches(self) -> bool:
        """The holder serves, and reaches this node from the address, whether or not it asks to be relieved."""
        return self.state in (WordState.SOUND, WordState.LEAVING) and self.sight is Sight.SEEN

    @property
    def is_quiet(self) -> bool:
        """The holder's observer does not say how its node is, or is about to end and will say no more."""
        return self.state is WordState.SILENT or self.ending


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node's observer, by its last answer.

    ``heard_at`` is when that answer came, and ``asked_at`` when its question was asked: it says nothing of later times.
    ``sees_up`` are sightings of addresses that it sees UP (`Way.of_one`), ``unsure`` those of which it cannot tell yet,
    as it has just begun to look.  ``free_slots`` is how many more ENIs its node could take, None if it does not tell.
    ``holds`` has the attachments by which its node holds addresses, by target.  ``served`` says where NodePorts
    answered it.  ``leaving``: its node is about to end.  ``claiming`` are the targets that EC2 has accepted for its
    node but does not show there yet, and those that EC2 is being asked for.
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
    unsure: tuple[str, ...] = ()
