"""Whether what this node claims comes to it: EC2 may accept a claim and not do it, or somebody may undo it at once."""

from __future__ import annotations

from floatingip.core import timing
from floatingip.core.ec2 import Attachment, AttachmentStatus
from floatingip.core.writes import Assign, Associate, Attach, Write


class Claims:
    """Counts those that EC2 has accepted in a row while it has shown the address attached to nobody."""

    def __init__(self) -> None:
        self._in_vain = 0

    def accepted(self, write: Write) -> None:
        """EC2 accepted this write."""
        if isinstance(write, Attach | Assign | Associate):
            self._in_vain += 1

    def shown(self, attachment: Attachment | None) -> None:
        """By this attachment EC2 shows the address as held, None for none: then it has done what was claimed, whoever
        did so.
        """
        if attachment is not None and attachment.status is AttachmentStatus.ATTACHED:
            self._in_vain = 0

    @property
    def problem(self) -> str:
        """Why no more is to be expected of the next one; empty while they may just take their time."""
        if self._in_vain < timing.CLAIMS_IN_VAIN:
            return ""
        return (
            "it has accepted that again and again, and then has not done it; is this instance well (its status checks),"
            " and does nobody undo it?"
        )
