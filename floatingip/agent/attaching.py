"""What the command ``attach`` waits for, and when it leaves the rest to ``observe``."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from floatingip.agent.address import FloatingAddress
from floatingip.agent.outbox import Outbox
from floatingip.agent.shared import Shared
from floatingip.agent.standing_eni import StandingEni
from floatingip.core import timing
from floatingip.core.decision.decision import Reason, State
from floatingip.core.ec2 import AttachmentStatus
from floatingip.core.errors import AddressTaken, ConfigurationError, Exhausted, FloatingIPError
from floatingip.core.model import Target
from floatingip.core.plumbing import PlumbingState


class Attaching:
    """Which of the ``addresses`` ``attach`` still waits for; it began at ``started_at``.

    ``standing`` has this node's standing ENIs by the subnet's id.
    """

    def __init__(
        self,
        addresses: Collection[FloatingAddress],
        standing: Mapping[str, StandingEni],
        shared: Shared,
        out: Outbox,
        started_at: float,
    ) -> None:
        self._addresses = addresses
        self._standing = standing
        self._shared = shared
        self._out = out
        self._started_at = started_at
        self._open = list(addresses)
        self._unsound_since: dict[Target, float] = {}

    def has_ended(self, now: float) -> bool:
        """There is nothing more that ``attach`` could do."""
        self._open = [each for each in self._open if not self._ended(each, now)]
        return not self._open

    def failure(self) -> FloatingIPError | None:
        """The error to end with: there is one if no address can be served, and waiting cannot mend that.  If some can,
        the errors of the others are only logged.
        """
        failures = [failure for each in self._addresses if (failure := self._hopeless(each)) is not None]
        if len(failures) == len(self._addresses):
            return failures[0]
        for failure in failures:
            self._out.error("attach", f"{failure}; the others are served")
        return None

    def _hopeless(self, address: FloatingAddress) -> FloatingIPError | None:
        """Why this address cannot be served, if waiting cannot mend that; None if it may."""
        decision, subnet = address.decision, address.where.subnet()
        standing = self._standing.get(subnet.id) if subnet is not None else None
        refusal = standing.writing.final if standing is not None and address.where.attachment() is None else None
        for final in (address.final, refusal):
            if final is not None and not isinstance(final, Exhausted):  # Somebody may give back what is exhausted.
                return final
        if decision.state is State.REFUSED:
            return AddressTaken(f"{address.target}: {decision.sentence}")
        if decision.reason is Reason.NAME_UNKNOWN:
            return ConfigurationError(decision.sentence)
        cannot = decision.reason in (Reason.NO_SUBNET, Reason.CANNOT_CLAIM)
        if cannot and address.where.is_known() and (impossible := address.where.impossible()):
            return ConfigurationError(impossible)
        return None

    def _ended(self, address: FloatingAddress, now: float) -> bool:
        decision, attachment, target = address.decision, address.where.attachment(), address.target
        if self._hopeless(address) is not None or decision.reason is Reason.HELD_HERE:
            return True
        if address.where.owner is None and now - self._started_at > timing.ATTACH_GIVES_UP:
            said = f"{address.lack.words}; the observer goes on trying"
            self._out.warning("attach", said, address=target, seconds=timing.ATTACH_GIVES_UP)
            return True
        if now - self._started_at > timing.ATTACH_AT_MOST:
            said = "not done yet; the observer goes on trying"
            self._out.warning("attach", said, address=target, problem=decision.sentence)
            return True
        unsound = address.report is not None and address.report.state is PlumbingState.UNSOUND
        if decision.reason is Reason.UNSOUND_HERE or unsound:
            since = self._unsound_since.setdefault(target, now)
            if now - since > timing.UNSOUND_ATTACH_ENDS:
                said = "not plumbed; the observer goes on trying"
                problem = address.report.problem if address.report is not None else ""
                self._out.warning("attach", said, address=target, problem=problem)
                return True
        held = (AttachmentStatus.ATTACHING, AttachmentStatus.ATTACHED)
        me = self._shared.me.instance_id
        if attachment is None or attachment.instance_id == me or attachment.status not in held:
            return False
        return self._is_ready_ahead(address, now)

    def _is_ready_ahead(self, address: FloatingAddress, now: float) -> bool:
        """Whether all that a later takeover needs on this node is there, or has been waited for long enough."""
        if not self._shared.way.has_standing_enis:
            return True
        lacks = address.obstacle() or ("" if address.is_plumbed_ahead() else "it is not plumbed yet")
        if lacks and now - self._started_at > timing.AHEAD_GIVES_UP:
            said = "this node could not take the address over; the observer goes on trying"
            self._out.warning("attach", said, address=address.target, problem=lacks)
            return True
        return not lacks
