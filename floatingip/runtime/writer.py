"""
Make one EC2 write at a time, in a thread of its own, and keep what came of it.

A :class:`Writer` belongs to the deciding thread (runner.py): one for each floating address, one for each standing ENI.
No write is made again here: what failed changes the view, and the decision is made anew (R8, R9).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from floatingip.agent.backoff import BACKOFF_FIRST, BACKOFF_LAST, BACKOFF_MOVING, Backoff, Chance
from floatingip.agent.trouble import Trouble
from floatingip.core.errors import AddressTaken, CloudError, CloudUnavailable, Denied, LookAgain, NoFreeSlot, TokenSpent
from floatingip.core.model import Subnet, Target
from floatingip.core.ports import Cloud
from floatingip.core.writes import (
    Assign,
    AssignAny,
    Associate,
    Attach,
    CheckSource,
    Create,
    Delete,
    Detach,
    KeepAfterTermination,
    SetGroups,
    Tag,
    Unassign,
    Write,
)
from floatingip.edges import background
from floatingip.edges.telemetry import Log


@dataclass(frozen=True, slots=True)
class Making:
    """What creating and attaching an ENI needs to know: for what, where, with which tags and client token; and which of
    this instance's device indexes are not to be used.
    """

    target: Target | None
    subnet: Subnet | None
    tags: Mapping[str, str]
    token: str
    taken: frozenset[int]


class Writer:
    """Writes for this instance, ``me``.

    ``writing``: a write is under way; ``wrote_at`` is when the last one ended, ``accepted`` that one if EC2 accepted
    it; before ``retry_at`` none of that kind should be made; ``taken_at`` is when EC2 last refused a claim since
    something has the address, and ``taken`` what it said; ``final`` is a refusal that waiting does not mend; ``full``:
    called when there is no room on this instance.

    Each kind of write has a back-off of its own, so that one that succeeds again and again does not hurry another one
    that is refused again and again.
    """

    def __init__(
        self,
        cloud: Cloud,
        me: str,
        post: Callable[[Callable[[], None]], None],
        log: Log,
        full: Callable[[float], None],
        chance: Chance,
    ) -> None:
        self._cloud = cloud
        self._me = me
        self._post = post
        self._log = log
        self._full = full
        self._backoffs: defaultdict[type[Write], Backoff] = defaultdict(lambda: Backoff(BACKOFF_FIRST, chance))
        self._refused: set[type[Write]] = set()
        self._complaint = Trouble()
        self.writing = False
        self.wrote_at = self.taken_at = float("-inf")
        self.retry_at: Mapping[type[Write], float] = {}
        self.taken = ""
        self.accepted: Write | None = None
        self.final: CloudError | None = None

    def begin(self, write: Write, making: Making) -> None:
        """Start the write; what came of it is posted."""

        def job() -> None:
            began = time.monotonic()
            try:
                self._perform(write, making)
            except CloudError as error:
                failure = error
                self._post(lambda: self._failed(write, failure))
            else:
                seconds = time.monotonic() - began
                self._post(lambda: self._succeeded(write, seconds))

        self.writing, self.accepted = True, None
        background.start("write", job)

    def _perform(self, write: Write, making: Making) -> None:
        cloud = self._cloud
        match write:
            case Create():
                if making.subnet is None:
                    raise LookAgain(f"the subnet of {making.target} is not known")
                cloud.create_eni(making.target, making.subnet, making.tags, making.token)
            case Attach(eni_id):
                cloud.attach_eni(eni_id, self._me, making.taken)
            case Detach(attachment_id, force):
                cloud.detach_eni(attachment_id, force=force)
            case Delete(eni_id):
                cloud.delete_eni(eni_id)
            case Assign(eni_id, address, reassign):
                cloud.assign(eni_id, address, reassign=reassign)
            case AssignAny(eni_id):
                cloud.assign_any(eni_id)
            case Unassign(eni_id, address):
                cloud.unassign(eni_id, address)
            case Tag(eni_id, key, value):
                cloud.tag_eni(eni_id, {key: value})
            case Associate(allocation_id, eni_id, private):
                cloud.associate(allocation_id, eni_id, private)
            case SetGroups(eni_id, groups):
                cloud.set_security_groups(eni_id, groups)
            case KeepAfterTermination(eni_id, attachment_id):
                cloud.keep_after_termination(eni_id, attachment_id)
            case CheckSource(eni_id):
                cloud.check_source(eni_id)

    def _succeeded(self, write: Write, seconds: float) -> None:
        self.writing = False
        self.wrote_at = time.monotonic()
        self.accepted = write
        self._backoffs.pop(type(write), None)
        self._retry(write, float("-inf"))
        self._refused.discard(type(write))
        self._complaint = Trouble()
        self.final = None
        self._log.info("write", "EC2 accepted", write=str(write), seconds=seconds)

    def _failed(self, write: Write, error: CloudError) -> None:
        self.writing = False
        now = self.wrote_at = time.monotonic()
        backoff, is_again = self._backoffs[type(write)], type(write) in self._refused
        self._refused.add(type(write))
        if isinstance(error, LookAgain | AddressTaken) and isinstance(write, Create | Assign | AssignAny | Associate):
            # The next look shows who has it: another observer, which is fine, or somebody else, which is refused; if
            # nobody, it is taken by what this account cannot see.
            self.taken_at, self.taken = now, str(error)
        match error:
            case TokenSpent():
                # As good as created: when no look shows the interface for a while, the next token is used.
                self.accepted, self.taken_at = write, float("-inf")
                self._complain(write, error)
            case LookAgain() if not is_again and not isinstance(write, Create):
                # A lost race, most likely: the next look shows it.
                self._log.info("write", f"{error}; looking again", write=str(write))
            case LookAgain() | AddressTaken():
                self._retry(write, now + backoff.pause(BACKOFF_LAST))
                self._complain(write, error)
            case Denied():
                self._retry(write, now + backoff.pause(BACKOFF_LAST))
                self.final = error
                if self._complaint.is_due(str(error), now):
                    self._log.error("denied", str(error), action=error.action)
            case NoFreeSlot():
                self._full(now)
                self._log.error("write", str(error), write=str(write))
            case CloudUnavailable():
                self._retry(write, now + backoff.pause(BACKOFF_MOVING))
                self._complain(write, error)
            case _:
                self.final = error
                self._retry(write, now + backoff.pause(BACKOFF_LAST))
                self._complain(write, error)

    def _retry(self, write: Write, at: float) -> None:
        """The next write of this kind should not be made before."""
        self.retry_at = {**self.retry_at, type(write): at}

    def _complain(self, write: Write, error: CloudError) -> None:
        """What goes wrong is said once, and now and then while it lasts, not with each retry."""
        if self._complaint.is_due(str(error), self.wrote_at):
            self._log.error("write", f"{error}; looking again", write=str(write))
