"""What IMDS says of an address that is configured on this node: R10's second witness, beside EC2."""

from __future__ import annotations

from floatingip.core import timing

LACKED_BY_IMDS = 3
"""So many answers of IMDS, a second apart, must lack the address before it counts as lost (R10)."""


class ShownByImds:
    """
    What IMDS says of one address.  Answers to questions from before it was configured here do not count.  Nor does
    it count any more that IMDS lacked the address once IMDS shows it again, though it was taken off here meanwhile.

    ``carried_since`` is when the address was configured here, None while it is not.  ``shown``: whether IMDS shows it
    on this node, None while IMDS has not said.  ``lost_until_asked_at``: IMDS says for sure that this node no longer
    has the address, and that counts more than EC2's answers to what was asked before this time; None while IMDS does
    not say that.
    """

    def __init__(self) -> None:
        self.carried_since: float | None = None
        self.shown: bool | None = None
        self.lost_until_asked_at: float | None = None
        self._answered_at = float("-inf")
        self._at_once = self._was_shown = False
        self._lacked = 0
        self._lacked_since: float | None = None

    def carried(self, now: float, *, at_once: bool) -> None:
        """The address was configured here; ``at_once``: IMDS should show it from its first answer on."""
        self.carried_since, self._at_once, self._was_shown = now, at_once, False
        self._forget()

    def claimed(self, now: float) -> None:
        """EC2 accepted the address for this node: what IMDS said before is of the past, and it shows this late."""
        if self.carried_since is None:
            self._forget()
        else:
            self.carried(now, at_once=False)

    def dropped(self) -> None:
        """The address is not configured here."""
        self.carried_since = None

    def found(self) -> None:
        """IMDS shows the address on this node; it was asked because EC2 has told nothing."""
        self.shown = self._was_shown = True

    def told(self, is_shown: bool, asked_at: float) -> bool:
        """IMDS, asked at ``asked_at``, shows the address on the interface or does not; return whether that is news."""
        before, is_newer = (self.shown, self.lost_until_asked_at), asked_at > self._answered_at
        self._answered_at = max(self._answered_at, asked_at)
        if self.carried_since is None:
            if self.lost_until_asked_at is not None and is_shown and is_newer:
                self._forget()
        elif asked_at >= self.carried_since:
            self._take_up(is_shown, asked_at)
        return (self.shown, self.lost_until_asked_at) != before

    def _take_up(self, is_shown: bool, asked_at: float) -> None:
        """Take up an answer of IMDS about the address while it is configured here."""
        if is_shown:
            self._forget()
            self.shown = self._was_shown = True
            return
        self.shown = False
        self._lacked += 1
        since = self._lacked_since = asked_at if self._lacked_since is None else self._lacked_since
        if self._lacked >= LACKED_BY_IMDS:
            if self._was_shown:
                # EC2 may still show the address here, as it was: its answers are late, too.
                self.lost_until_asked_at = asked_at + timing.CLAIM_SHOWN
            elif self._at_once or asked_at - since >= timing.IMDS_LATE:
                # IMDS may never have shown the address, since it is late.  Its answer is then taken to be as old as
                # IMDS can be late, so that what EC2 has said since that time counts more.
                self.lost_until_asked_at = max(since, asked_at - timing.IMDS_LATE)

    def is_doubted(self, now: float) -> bool:
        """IMDS took the address off here, and an answer of EC2 does not count yet: IMDS should be asked again."""
        return self.carried_since is None and self.lost_until_asked_at is not None and now < self.lost_until_asked_at

    def is_silent(self, now: float) -> bool:
        """The address is configured here, and IMDS has not answered for a while."""
        since = self.carried_since
        return since is not None and now - max(since, self._answered_at) > timing.IMDS_SILENT_FOR

    def _forget(self) -> None:
        """Begin anew: what IMDS said before does not count."""
        self.shown, self._lacked = None, 0
        self._lacked_since = self.lost_until_asked_at = None
