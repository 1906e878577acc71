"""
Writes to EC2, one at a time, and what came of them.

There are two :class:`Writing` for each floating address, one of them for upkeep, so that no move waits for upkeep; and
one for each standing ENI.  None repeats a write by itself: a failure changes the view, and the next decision goes by
that (R8, R9).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from floatingip.agent.backoff import Backoff, Chance
from floatingip.agent.effects import Making, Perform
from floatingip.agent.events import Wrote
from floatingip.agent.outbox import Outbox
from floatingip.agent.trouble import Trouble
from floatingip.core import timing
from floatingip.core.errors import (
    AddressTaken,
    CloudError,
    CloudUnavailable,
    Denied,
    Exhausted,
    LookAgain,
    NoFreeSlot,
    TokenSpent,
)
from floatingip.core.writes import Assign, AssignAny, Associate, Create, Write, Written, aim


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that EC2 did not accept, the reason, and when that was known (``at``)."""

    write: Write
    error: CloudError
    at: float

    def is_recent(self, now: float) -> bool:
        """Whether the refusal is recent enough to say something of what is written now."""
        return now - self.at <= timing.REFUSED_AGAIN

    def is_again(self, write: Write, error: CloudError, now: float) -> bool:
        """Whether EC2 refuses another write of this kind for the same reason as then, which is no accident any more.

        After a recent refusal that is so whatever the two writes name.  A denial of the same write counts however old
        the last one is, since a thing that was gone then never comes back by its id.  Other refusals may repeat by
        chance: another node may win a race for an interface again.
        """
        if isinstance(error, Denied):
            return isinstance(self.error, Denied) and (self.is_recent(now) or aim(self.write) == aim(write))
        return isinstance(self.error, type(error)) and self.is_recent(now)


class Writing:
    """The writes of one ``writer``: a floating address' text or a subnet's id.

    ``full`` is called with the time when EC2 says that this instance has no room.  ``under_way`` is the write that is
    being made, None while none is.  ``wrote_at`` is when the last one ended, and ``accepted`` is that write, None if
    EC2 did not accept it.  ``retry_at`` has, by kind, the time before which no such write should be made.  ``taken_at``
    is when EC2 last refused a claim because something has the address, and ``taken`` what it said then.  ``final`` is a
    refusal that waiting does not mend, unless it is ``Exhausted``; None if there is none.

    Each kind of write has a back-off of its own: one kind that succeeds again and again does not shorten the pauses of
    another kind that is refused again and again.
    """

    def __init__(self, writer: str, out: Outbox, full: Callable[[float], None], chance: Chance) -> None:
        self._writer = writer
        self._out = out
        self._full = full
        self._backoffs: defaultdict[type[Write], Backoff] = defaultdict(lambda: Backoff(timing.BACKOFF_FIRST, chance))
        self._refused: dict[type[Write], Refusal] = {}
        self._complaint = Trouble()
        self._began_at = float("-inf")
        self._about: dict[str, object] = {}
        self.under_way: Write | None = None
        self.wrote_at = self.taken_at = float("-inf")
        self.retry_at: Mapping[type[Write], float] = {}
        self.taken = ""
        self.accepted: Write | None = None
        self.final: CloudError | None = None

    @property
    def written(self) -> Written:
        """All that decides when the next write may be made, but for ``retry_at``."""
        return Written(self.under_way is not None, self.wrote_at, self.accepted)

    @property
    def is_tried_again(self) -> bool:
        """Whether the write that is under way is of a kind that EC2 has just refused."""
        last = self._refused.get(type(self.under_way)) if self.under_way is not None else None
        return last is not None and last.is_recent(self._began_at)

    def begin(self, write: Write, making: Making, now: float, **about: object) -> None:
        """Ask for the write; its lines in the log have the fields ``about``."""
        self.under_way, self.accepted, self._began_at = write, None, now
        self._about = {"write": str(write), **about}
        self._out.add(Perform(self._writer, write, making, decided_at=now))

    def wrote(self, wrote: Wrote, now: float) -> None:
        """The write has ended: EC2 accepted it, or did not."""
        self.under_way, self.wrote_at = None, now
        if wrote.error is None:
            self._succeeded(wrote.write)
        else:
            self._failed(wrote.write, wrote.error)

    def _succeeded(self, write: Write) -> None:
        self.accepted = write
        self._backoffs.pop(type(write), None)
        self._retry(write, float("-inf"))
        self._refused.pop(type(write), None)
        self._complaint = Trouble()
        self.final = None
        self._out.info("write", "EC2 accepted", **self._about, seconds=self.wrote_at - self._began_at)

    def _failed(self, write: Write, error: CloudError) -> None:
        now = self.wrote_at
        backoff, last = self._backoffs[type(write)], self._refused.get(type(write))
        self._refused[type(write)] = Refusal(write, error, now)
        is_again = last is not None and last.is_again(write, error, now)
        if last is not None and not last.is_recent(now):
            backoff.reset()
        if isinstance(error, LookAgain | AddressTaken) and isinstance(write, Create | Assign | AssignAny | Associate):
            # The next look shows who has the address: another observer, which is fine, or somebody else, which is
            # refused.  If it shows nobody, something has the address that this account cannot see.
            self.taken_at, self.taken = now, str(error)
        match error:
            case TokenSpent():
                # As good as created.  If no look shows the interface for a while, the next token is used.
                self.accepted, self.taken_at = write, float("-inf")
                self._complain(error)
            case LookAgain() | Denied() if not is_again and not isinstance(write, Create):
                # A lost race, most likely; or what is to be written to is gone, which a policy that goes by tags
                # denies: the next look shows it.
                if isinstance(error, Denied):
                    self._retry(write, now + backoff.pause(timing.BACKOFF_LAST))
                self._out.info("write", f"{error}; looking again", **self._about)
            case NoFreeSlot():
                self._full(now)
                self._out.warning("write", str(error), **self._about)
            case CloudUnavailable():
                self._retry(write, now + backoff.pause(timing.BACKOFF_MOVING))
                self._complain(error)
            case _:
                self._retry(write, now + backoff.pause(timing.BACKOFF_LAST))
                self._tell(error, now)

    def _tell(self, error: CloudError, now: float) -> None:
        """Log why EC2 refuses a write that is tried again after a pause, and keep what waiting does not mend."""
        match error:
            case LookAgain() | AddressTaken():
                self._complain(error)
            case Exhausted():
                self.final = error
                self._complain(error)
            case Denied():
                self.final = error
                if self._complaint.is_due(error.action, now):
                    self._out.error("denied", str(error), action=error.action)
            case _:
                self.final = error
                if self._complaint.is_due(str(error), now):
                    self._out.error("write", f"{error}; looking again", **self._about)

    def _retry(self, write: Write, at: float) -> None:
        """The next write of this kind should not be made before ``at``."""
        self.retry_at = {**self.retry_at, type(write): at}

    def _complain(self, error: CloudError) -> None:
        """Warn of an error that may pass by itself: once, and now and then while it lasts, but not with each retry."""
        if self._complaint.is_due(str(error), self.wrote_at):
            self._out.warning("write", f"{error}; looking again", **self._about)
