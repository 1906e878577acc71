"""When EC2 is asked where the addresses are, and what is logged while it does not answer."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from math import inf

from floatingip.agent.address import FloatingAddress
from floatingip.agent.backoff import Backoff, Chance
from floatingip.agent.effects import Look
from floatingip.agent.looks import Question, Seen
from floatingip.agent.outbox import Outbox
from floatingip.agent.shared import Shared
from floatingip.agent.trouble import Trouble
from floatingip.core import pace, timing
from floatingip.core.decision.decision import State
from floatingip.core.errors import CloudError, Denied
from floatingip.core.model import Target
from floatingip.core.token_bucket import TokenBucket


class Looking:
    """The questions to EC2, one at a time, each for all ``addresses``.

    ``answered_at`` is when the last question was asked that EC2 has answered, None before the first answer.  ``denied``
    is the IAM action that the last question was denied, empty if none was.
    """

    def __init__(self, addresses: Collection[FloatingAddress], shared: Shared, out: Outbox, chance: Chance) -> None:
        self._addresses = addresses
        self._shared = shared
        self._out = out
        self._chance = chance
        self._backoff = Backoff(timing.BACKOFF_FIRST, chance)
        self._calls = TokenBucket(pace.AT_ONCE + pace.FOR_EACH * len(addresses), pace.A_SECOND)
        self._complaint = Trouble()
        self._looking = False
        self._again_at = self._again_in_peace_at = float("-inf")
        self._asked_at = self._requested_at = float("-inf")
        self._creation_refused = False
        self._known: Collection[Target] = ()
        self.denied = ""
        self.answered_at: float | None = None

    def due(self, also: Iterable[float], now: float) -> float:
        """When the next question is to be asked, infinite while one is under way.

        ``also`` are the times at which standing ENIs want an answer.
        """
        if self._looking:
            return inf
        known = [each for each in self._addresses if each.target in self._known]
        others = [each for each in self._addresses if each.target not in self._known]
        dues = [*(each.look_due() for each in others), *also]
        if self._requested_at > (-inf if self.answered_at is None else self.answered_at):
            dues.append(self._requested_at)
        changed_at = self._shared.slots_changed_at
        if changed_at is not None:
            dues.append(self._asked_at + pace.pause(now - changed_at))
        again_at = self._again_at if _are_troubled(others) else self._again_in_peace_at
        due = min((max(min(dues, default=inf), again_at), *(each.look_due() for each in known)))
        return max(due, self._calls.due(1))

    def begin(self, now: float) -> None:
        """Ask."""
        shared = self._shared
        me, known = shared.me.instance_id, frozenset(shared.instances)
        judging = shared.slots_changed_at is not None or any(each.is_judging() for each in self._addresses)
        judged = frozenset({me, *(each.where.holder() for each in self._addresses)} - {""}) if judging else frozenset()
        self._asked_at, self._looking = now, True
        # Subnets come and go, if seldom.
        need, want = shared.subnets is None, self._creation_refused or self._lacks_subnet()
        self._creation_refused = False
        question = Question(now, me, shared.name, known, judged, need_subnets=need, want_subnets=want)
        self._out.add(Look(question, metadata=self.answered_at is None))

    def _lacks_subnet(self) -> bool:
        """EC2 has shown no subnet for some address: perhaps its CIDR is associated with the subnet only later."""
        return any(each.where.owner is not None and each.where.subnet() is None for each in self._addresses)

    def creation_refused(self) -> None:
        """EC2 refused to create an interface: perhaps the subnets have changed since it showed them."""
        self._creation_refused = True

    def spend(self, calls: int, now: float) -> None:
        """Count ``calls`` to EC2 that were made for a question or a write.

        If there were too many, the next question waits, but no write does.  (Without an answer no write follows, R8.)
        """
        self._calls = self._calls.take(calls, now)

    def request(self, now: float) -> bool:
        """Somebody says that EC2 has news; return whether EC2 is asked for that, which it is only now and then."""
        if now - self._requested_at <= timing.LOOKS_ON_REQUEST_EVERY:
            return False
        self._requested_at = now
        return True

    def answered(self, seen: Seen, now: float) -> None:
        """EC2 answered.  What it did not tell, or IAM did not allow to ask, is asked again after growing pauses (R9).
        These pauses do not delay questions about addresses of which EC2 did tell.
        """
        unread = sorted({*seen.unknown.values(), *(f"{eni.id}: {eni.unread}" for eni in seen.unread)})
        denied = next(iter(seen.refused.values()), None)
        refused = (str(denial) for denial in seen.refused.values())
        problem = "; ".join(dict.fromkeys(filter(None, (*refused, *unread, seen.undescribed))))
        self._looking, self.answered_at = False, seen.asked_at
        self._known = {each.target for each in self._addresses} - seen.unknown.keys()
        self._tell(problem, denied, now)
        if denied is not None or unread:
            self._put_off(timing.BACKOFF_LAST, now)
        else:
            self._backoff.reset()
            self._again_at = self._again_in_peace_at = float("-inf")

    def failed(self, error: CloudError, now: float) -> None:
        """EC2 did not answer, or refused to."""
        self._looking, self._known = False, ()
        denied = error if isinstance(error, Denied) else None
        self._tell(str(error), denied, now)
        self._put_off(timing.BACKOFF_LAST if denied is None else timing.BACKOFF_DENIED, now)

    def _tell(self, problem: str, denied: Denied | None, now: float) -> None:
        """Log a problem, now and then while it lasts, and that EC2 answers as it should again (no problem)."""
        if not self._complaint.is_due(problem, now):
            if self._complaint.is_over:
                self._out.info("ec2", "EC2 answers again")
        elif denied is not None:
            self._out.error("denied", problem, action=denied.action)
        else:
            self._out.warning("ec2", f"{problem}; trying again")
        self._shared.unanswered = problem
        self.denied = denied.action if denied is not None else ""

    def _put_off(self, longest: float, now: float) -> None:
        """Ask again after a pause that grows with each failure, but stays short where an address may have to move."""
        pause = self._backoff.pause(longest)
        self._again_in_peace_at = now + pause
        self._again_at = now + min(pause, timing.BACKOFF_MOVING * self._chance(0.8, 1.2))


def _are_troubled(addresses: Iterable[FloatingAddress]) -> bool:
    """Whether something may have to be done about one of these now, so that EC2's answer is needed soon."""
    waiting = (State.START, State.REFUSED)
    return any(
        each.lacks_witness() or (not each.is_calm() and each.decision.state not in waiting) for each in addresses
    )
