"""
The writes to EC2, as values: a decision names one of them, and the runtime (performing.py) makes it.

They have EC2's own verbs as names.  Each is safe to repeat: EC2 refuses it if things are no longer as they were judged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from floatingip.core import timing
from floatingip.core.ec2 import Eni
from floatingip.core.model import Address


@dataclass(frozen=True, slots=True)
class Create:
    """Create the ENI for the target, or the standing ENI.

    For each ``generation`` of the client token EC2 creates only one ENI, however many observers ask and how often.
    """

    generation: int = 0


@dataclass(frozen=True, slots=True)
class Attach:
    """Attach the free ENI to this node."""

    eni_id: str


@dataclass(frozen=True, slots=True)
class Detach:
    """Detach exactly this attachment."""

    attachment_id: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a free ENI."""

    eni_id: str


@dataclass(frozen=True, slots=True)
class Assign:
    """Give the ENI the address as a secondary one; ``reassign``: even if another ENI has it, not possible for IPv6."""

    eni_id: str
    address: Address
    reassign: bool = False


@dataclass(frozen=True, slots=True)
class AssignAny:
    """Give the ENI one more private address, of EC2's choice, for an Elastic IP."""

    eni_id: str


@dataclass(frozen=True, slots=True)
class Unassign:
    """Take the address from exactly this ENI."""

    eni_id: str
    address: Address


@dataclass(frozen=True, slots=True)
class Tag:
    """Write a tag of the ENI: what all observers must remember."""

    eni_id: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Associate:
    """Associate the Elastic IP with this private address of our ENI."""

    allocation_id: str
    eni_id: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class SetGroups:
    """Give the ENI the security groups that it should have."""

    eni_id: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeepAfterTermination:
    """Let the ENI outlive the instance it is attached to."""

    eni_id: str
    attachment_id: str


@dataclass(frozen=True, slots=True)
class CheckSource:
    """Switch the ENI's source/destination check on."""

    eni_id: str


Write = (
    Create
    | Attach
    | Detach
    | Delete
    | Assign
    | AssignAny
    | Unassign
    | Tag
    | Associate
    | SetGroups
    | KeepAfterTermination
    | CheckSource
)


def is_upkeep(write: Write) -> bool:
    """Whether the write is upkeep: it only keeps an ENI, or a tag on it, as it should be.  It changes nothing that a
    move depends on, so no move waits for EC2's answer to it.
    """
    return isinstance(write, Tag | SetGroups | KeepAfterTermination | CheckSource)


def aim(write: Write) -> object:
    """What a write is for: two writes with the same aim count as the same write, even if a time in them differs."""
    match write:
        case Create():
            return Create
        case Tag(eni_id, key):
            return Tag, eni_id, key
        case _:
            return write


@dataclass(frozen=True, slots=True)
class Written:
    """What one writer has written to EC2: whether a write is ``under_way``, when the last one ended, and that one, if
    EC2 has accepted it.
    """

    under_way: bool = False
    ended_at: float = float("-inf")
    accepted: Write | None = None

    def is_unseen(self, asked_at: float) -> bool:
        """Whether what it comes to cannot be known from an answer of EC2 to a question asked then (R8)."""
        return self.under_way or asked_at <= self.ended_at


@dataclass(frozen=True, slots=True)
class Token:
    """The ``generation`` of the client token by which an ENI is created.

    If a token is used again, EC2 answers for ever that it has created the ENI, even if that was deleted.  So a
    generation is spent, and the next one is used, in two cases:

    - EC2 said yes to a creation, and no answer has shown the ENI for a while since.  Only the first yes counts: a
      refusal created nothing, and after a timeout the same token may safely be used again.
    - The ENI was shown for a while, and then it is not shown any more.

    ``accepted_at`` is when EC2 first said yes.  ``shown_since`` and ``shown_at`` are when the first and the last
    question were asked whose answers showed the ENI, and ``lacked_since`` is the first one after these whose answer did
    not.
    """

    generation: int = 0
    accepted_at: float | None = None
    shown_since: float | None = None
    shown_at: float = float("-inf")
    lacked_since: float | None = None

    def accepted(self, write: Write | None, at: float) -> Token:
        """The token after EC2 has accepted this write, which may be its creation; None for no write."""
        is_first = self.accepted_at is None and at > self.shown_at
        return replace(self, accepted_at=at) if is_first and write == Create(self.generation) else self

    def shown(self, asked_at: float) -> Token:
        """The token after an answer that shows the ENI."""
        since = asked_at if self.shown_since is None else self.shown_since
        return replace(self, accepted_at=None, shown_since=since, shown_at=asked_at, lacked_since=None)

    def lacked(self, asked_at: float) -> Token:
        """The token after an answer that does not show the ENI."""
        return self if self.lacked_since is not None else replace(self, lacked_since=asked_at)

    def creation(self, asked_at: float) -> Create:
        """The write that creates the ENI, which an answer to a question of that time does not show."""
        spent = self.accepted_at is not None and asked_at - self.accepted_at > timing.FORGOTTEN_AFTER
        return Create(self.generation + 1 if spent or self._is_gone(asked_at) else self.generation)

    def _is_gone(self, asked_at: float) -> bool:
        if self.shown_since is None or self.lacked_since is None:
            return False
        return (
            self.lacked_since - self.shown_since > timing.FORGOTTEN_AFTER
            and asked_at - self.lacked_since >= timing.GONE_AFTER
        )

    def used(self, creation: Create) -> Token:
        """The token after this creation was begun."""
        return self if creation.generation == self.generation else Token(creation.generation, shown_at=self.shown_at)


def mended(eni: Eni, groups: tuple[str, ...]) -> Write | None:
    """The write that mends an attached ENI of ours; None if nothing is wrong with it.

    The ENI may lack its security groups (``groups``) or its source check, or would be deleted with its instance.
    """
    if eni.delete_on_termination and eni.attachment is not None:
        return KeepAfterTermination(eni.id, eni.attachment.id)
    if groups and sorted(eni.security_groups) != sorted(groups):
        return SetGroups(eni.id, groups)
    return None if eni.source_check else CheckSource(eni.id)
