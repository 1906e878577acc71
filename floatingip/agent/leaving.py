"""
Whether this node is about to end, by what AWS announces, by SIGTERM, and by what Kubernetes says of this pod; and when
its agent ends.

A node that is about to end asks to be relieved of the addresses that it holds, and comes last in taking others.

The API server tells why SIGTERM came (pod.py).  A holder whose pod is replaced ends at once, and its plumbing goes on
serving; a holder whose node ends waits until another node has taken over.  None ends in the middle of what only it can
finish.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from floatingip.agent import pod
from floatingip.agent.address import FloatingAddress
from floatingip.agent.effects import AskNotice, AskPod
from floatingip.agent.outbox import Outbox
from floatingip.agent.shared import Shared
from floatingip.agent.trouble import Trouble
from floatingip.core import timing
from floatingip.core.decision.decision import Reason, State
from floatingip.core.node import Notice, OwnPod

COMES = frozenset({Reason.ATTACHING_HERE, Reason.PLUMBING})
"""Reasons of decisions while EC2 already leads the address to this node, but the node does not carry it yet."""

UNKNOWN = "not known whether Kubernetes ends this pod, or has written its node off"
"""What is said while the API server tells nothing of this pod."""


class Leaving:
    """Whether this node is about to end, and why."""

    def __init__(self, shared: Shared, out: Outbox, *, observes: bool) -> None:
        self._shared = shared
        self._out = out
        self._observes = observes
        self._pod = pod.PodMemory()
        self._asked_every: float | None = None
        self._relieves_since = float("-inf")
        self._notice = ""
        self._noticed_at = float("-inf")
        self._ready_since: float | None = None
        self._unheard, self._told = Trouble(), Trouble()

    @property
    def stop_at(self) -> float | None:
        """When SIGTERM came; None before."""
        return self._pod.stop_at

    @property
    def problem(self) -> str:
        """Why the API server's word on this pod is not known; empty if it is known."""
        return self._pod.problem

    # What happened.

    def terminated(self, now: float) -> None:
        """SIGTERM came.  Only the first one counts, as the container's grace period began with it."""
        if self.stop_at is None:
            self._pod = replace(self._pod, stop_at=now)

    def noticed(self, notice: Notice | None, asked_at: float) -> None:
        """AWS announces the end of this node, or no longer does (None)."""
        self._noticed_at = asked_at
        self._date_what_is_told()
        self._notice = f"{notice.kind}: {notice.detail}" if notice is not None else ""

    def shown(self, own: OwnPod, now: float) -> bool:
        """The API server was asked about this pod; return whether its answer is news."""
        before, shared, was_owed = self._pod, self._shared, self._is_owed(now)
        self._pod = pod.learn(before, own)
        shared.witness_at, shared.ready_at = self._pod.witness_at, pod.ready_at(self._pod)
        self._date_what_is_told()
        problem = self._pod.problem
        if self._unheard.is_due(problem, now):
            self._out.warning("kubernetes", f"{UNKNOWN}: {problem}")
        elif self._unheard.is_over:
            self._out.info("kubernetes", "the API server tells of this pod again")
        is_awaited = self.stop_at is not None or was_owed
        return problem != before.problem or is_awaited or self._pod.against != before.against

    def found_ready(self, ready: bool, now: float) -> None:
        """Take up whether the observer calls itself ready."""
        self._ready_since = None if not ready else now if self._ready_since is None else self._ready_since

    # What follows.

    def follow(self, now: float) -> bool:
        """Find out whether the node is leaving, and why; return whether that has changed."""
        shared = self._shared
        before = shared.leaving, shared.written_off
        ends = [cause for cause in (pod.leaving(self._pod), self._notice) if cause]
        off = self._written_off(now)
        why = shared.leaving = "; ".join([*ends, off] if off else ends)
        shared.written_off = bool(off and not ends)
        if self._told.is_due(why, now):
            self._out.warning("leaving", why)
        elif self._told.is_over:
            self._out.info("leaving", "no longer")
        return (shared.leaving, shared.written_off) != before

    def ask(self, now: float, *, in_doubt: bool, relieves_since: float) -> None:
        """Have the API server asked more often when its answer matters more.

        ``in_doubt``: the last probe of an address was lost.  ``relieves_since``: since when this node has known that a
        holder is leaving; minus infinity if none is.  While this node is written off, others may take its addresses at
        any time, so the end of that state must be known soon.
        """
        if self._observes and relieves_since > max(self._relieves_since, self._noticed_at):
            self._out.add(AskNotice())
        self._relieves_since = relieves_since
        awaited = self.stop_at is not None or pod.is_suspect(self._pod) or self._is_owed(now)
        often = in_doubt or self._shared.written_off
        every = timing.POD_AWAITED if awaited else timing.POD_IN_DOUBT if often else timing.POD_EVERY
        if self._observes and every != self._asked_every:
            self._asked_every = every
            self._out.add(AskPod(every))

    def may_end(self, addresses: Collection[FloatingAddress], now: float) -> bool:
        """Whether SIGTERM has come, and nothing is left that only this process can finish."""
        if self.stop_at is None:
            return False
        since, memory = now - self.stop_at, self._pod
        obliged = [each.decision for each in addresses if each.decision.obliged]
        if not self._observes:
            # Between a detach and its attach `attach` goes on, but not for an address that EC2 leads here already: the
            # next pod plumbs that.
            return since > timing.OBLIGED_AT_MOST or all(each.reason in COMES for each in obliged)
        if obliged:
            return since > timing.OBLIGED_AT_MOST
        holds = any(each.decision.state is State.HOLDER or each.is_here() for each in addresses)
        if not holds or pod.is_replaced(memory):
            return True
        if pod.leaving(memory) or self._written_off(now):
            return since > timing.EVICTED_AT_MOST
        # A refusal may be the API server's trouble: it takes no token that it cannot look up just then.
        asks_on = pod.has_answered(memory) and not pod.is_refused(memory)
        if since <= (timing.ENDS_HALF_TOLD if asks_on else timing.ENDS_UNTOLD):
            return False
        latest = memory.latest
        problem = latest.problem if latest is not None and latest.problem else "the API server has not answered"
        self._out.warning("kubernetes", f"not known whether this pod's node ends: {problem}")
        return True

    def _date_what_is_told(self) -> None:
        """Both Kubernetes and AWS tell whether this node is to end: what is known is as old as the older answer."""
        self._shared.told_at = min(pod.told_at(self._pod), self._noticed_at)

    def _is_owed(self, now: float) -> bool:
        """Whether this node waits for Kubernetes to tell if it is about to end itself, before it relieves a holder."""
        return self._relieves_since > max(pod.told_at(self._pod), now - timing.END_TOLD_WITHIN)

    def _written_off(self, now: float) -> str:
        return pod.written_off(self._pod, now, self._ready_since)
