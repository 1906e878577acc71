"""Whether claims that EC2 accepts take effect: EC2 may accept one and not do it, or somebody may undo it at once."""

from __future__ import annotations

from floatingip.core import timing
from floatingip.core.ec2 import Attachment, AttachmentStatus
from floatingip.core.writes import Assign, Associate, Attach, Write


class Claims:
    """Counts the claims that EC2 has accepted in a row while it went on showing the address as attached to nobody."""

    def __init__(self) -> None:
        self._in_vain = 0

    def accepted(self, write: Write) -> None:
        """EC2 accepted this write."""
        if isinstance(write, Attach | Assign | Associate):
            self._in_vain += 1

    def shown(self, attachment: Attachment | None) -> None:
        """EC2 shows the address as held by this attachment (None: by none).  Any holder ends the count, since then EC2
        has done what some node claimed.
        """
        if attachment is not None and attachment.status is AttachmentStatus.ATTACHED:
            self._in_vain = 0

    @property
    def problem(self) -> str:
        """Why the next claim would be in vain, too; empty while claims may just take their time."""
        if self._in_vain < timing.CLAIMS_IN_VAIN:
            return ""
        return (
            "it has accepted that again and again, and then has not done it; is this instance well (its status checks),"
            " and does nobody undo it?"
        )
