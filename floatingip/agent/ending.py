"""
When an agent ends after SIGTERM: not in the middle of what only it can finish, nor before the next holder is there.

The API server tells why SIGTERM came (pod.py).  A holder whose pod is replaced ends at once, and its plumbing goes on
serving; a holder whose node ends waits until another node has taken over.
"""

from __future__ import annotations

from collections.abc import Collection

from floatingip.agent import pod
from floatingip.agent.address import FloatingAddress
from floatingip.agent.outbox import Outbox
from floatingip.agent.pod import PodMemory
from floatingip.core import timing
from floatingip.core.decision.decision import Reason, State

COMES = frozenset({Reason.ATTACHING_HERE, Reason.PLUMBING})
"""Reasons of decisions while EC2 already leads the address to this node, but the node does not carry it yet."""


def is_obliged(addresses: Collection[FloatingAddress], since: float) -> bool:
    """Whether ``attach``, which got SIGTERM ``since`` seconds ago, is between a detach and its attach, and goes on.

    It does not wait for an address that EC2 leads here already: the next pod plumbs that.
    """
    obliged = any(each.decision.obliged and each.decision.reason not in COMES for each in addresses)
    return obliged and since <= timing.OBLIGED_AT_MOST


def may_end(
    addresses: Collection[FloatingAddress], memory: PodMemory, stop_at: float, now: float, out: Outbox, *, off: bool
) -> bool:
    """Whether an observer that got SIGTERM at ``stop_at`` may end; ``off``: Kubernetes has written its node off."""
    since = now - stop_at
    if any(each.decision.obliged for each in addresses):
        return since > timing.OBLIGED_AT_MOST
    if not any(each.decision.state is State.HOLDER or each.is_here() for each in addresses):
        return True
    if pod.is_replaced(memory, stop_at):
        return True
    if pod.leaving(memory, stop_at) or off:
        return since > timing.EVICTED_AT_MOST
    # A refusal may be the API server's trouble: it takes no token that it cannot look up just then.
    asks_on = pod.has_answered(memory, stop_at) and not pod.is_refused(memory, stop_at)
    if since <= (timing.ENDS_HALF_TOLD if asks_on else timing.ENDS_UNTOLD):
        return False
    latest = memory.latest
    problem = latest.problem if latest is not None and latest.problem else "the API server has not answered"
    out.warning("kubernetes", f"not known whether this pod's node ends: {problem}")
    return True
