"""What is logged about one address: each decision once, and again and again what only a person can mend.  Kubernetes
is told of the latter as well.
"""

from __future__ import annotations

from collections.abc import Collection

from floatingip.agent.outbox import Outbox
from floatingip.agent.trouble import Complaints, Trouble
from floatingip.core import timing
from floatingip.core.decision.decision import Decision, Reason, State
from floatingip.core.model import Address
from floatingip.core.news import Remark
from floatingip.core.plumbing import PlumbingReport, PlumbingState
from floatingip.core.token_bucket import TokenBucket

LOUD = frozenset({Reason.TAKEN, Reason.NO_DEVICE})
"""Reasons that have an event of their own in the log, repeated while they last: a person has to mend them, or may
have to.
"""

BARRED = frozenset({Reason.CANNOT_CLAIM, Reason.PAUSED, Reason.RATIONED})
"""Reasons that keep a takeover which is due from happening: a warning, repeated while they last."""

NOTED = frozenset({Reason.NOT_SERVED_HERE, Reason.PING_BLOCKED, Reason.PROBE_BLOCKED, Reason.UNSHOWN_HERE})
"""Reasons that move nothing, but that somebody should know of: a warning, repeated while they last."""


class Telling:
    """Writes the log of ``address``.  Its methods are told how things are, and log that only when it is news."""

    def __init__(self, address: str, out: Outbox) -> None:
        self._address = address
        self._out = out
        self._loud, self._blind, self._warned = Trouble(), Trouble(), Trouble()
        self._node_ports = Trouble()
        self._plumbing, self._undone = Complaints(timing.KERNEL_CALM), Complaints(timing.KERNEL_CALM)
        self._last_undone = ""
        self._repairs = TokenBucket(timing.REPAIRS_TOLD, timing.REPAIRS_TOLD / timing.KERNEL_CALM)
        self._unready, self._astray = Trouble(timing.NOT_READY_FOR), Trouble(timing.ASTRAY_FOR)
        self._is_unready = False

    def decided(self, before: Decision, after: Decision, not_ready: str, loss: str, now: float, wall: float) -> None:
        """The decision ``after`` followed ``before``.

        ``not_ready`` is why this node could neither serve nor take over, empty if it could; ``loss`` is the id of the
        failover by which it would lose the address.
        """
        warns = after.reason in NOTED or (after.state is State.DOUBT and after.reason in BARRED)
        is_another = _is_another(before, after)
        if self._warned.is_due(after.sentence if warns else "", now) or (warns and is_another):
            self._out.warning("decision", after.sentence, **_about(before, after, loss))
        elif is_another:
            self._out.info("decision", after.sentence, **_about(before, after, loss))
        is_loud = after.reason in LOUD
        if self._loud.is_due(after.sentence if is_loud else "", now):
            if after.reason is Reason.TAKEN:
                self._out.error("taken", after.sentence)
            else:
                self._out.warning("no-device", after.sentence)
            self._warn_kubernetes(after, after.sentence, wall)
        if self._unready.is_due("" if is_loud else not_ready, now):
            self._is_unready = True
            self._out.warning("not-ready", not_ready)
            self._warn_kubernetes(after, not_ready, wall)
        if self._is_unready and not not_ready:
            self._is_unready = False
            self._out.info("not-ready", "ready again")

    def _warn_kubernetes(self, decision: Decision, why: str, wall: float) -> None:
        note = f"{self._address}: {why}"
        holds = decision.state is State.HOLDER
        reason, action = ("CannotServe", "Serve") if holds else ("CannotTakeOver", "TakeOver")
        self._out.tell_kubernetes(Remark(f"{reason} {note}", wall, True, reason, action, note))

    def reconciled(self, report: PlumbingReport, loss: str, now: float) -> None:
        """The kernel was brought to what it should be; ``loss`` is the failover by which the address left, if any."""
        if report.removed:
            removed = ",".join(report.removed)
            self._out.info("unplumbed", "the address is not here any more", removed=removed, failover=loss)
        if report.repaired:
            if self._repairs.held(now) >= 1:
                self._repairs = self._repairs.take(1, now)
                repaired = ",".join(report.repaired)
                self._out.info("plumbed", "brought the kernel to what it should be", repaired=repaired)
            else:
                for what in report.repaired:
                    self._repaired_again(what, now)
        self.kernel(report, now)

    def _repaired_again(self, what: str, now: float) -> None:
        """Warn that somebody takes ``what`` away each time it is put back: the address does not work in between."""
        why = f"somebody on this node takes away {what} again and again: a network manager, a firewall, another agent?"
        self._last_undone = why
        if self._undone.is_news(why, now):
            self._out.warning("undone", why)

    @property
    def undone(self) -> str:
        """What somebody takes away again and again; empty while nobody does."""
        return self._last_undone if self._undone.go_on else ""

    def kernel(self, report: PlumbingReport, now: float) -> None:
        """Log what is wrong in the kernel by the last report; an uncertain state is not logged as wrong."""
        problem = "" if report.state is PlumbingState.UNCERTAIN else report.problem
        if not problem:
            self._plumbing.are_over(now)
        elif self._plumbing.is_news(problem, now):
            if report.state is PlumbingState.SOUND:  # The address is carried all the same, for most clients.
                self._out.warning("plumbing", problem)
            else:
                self._out.error("plumbing", problem)
        if self._undone.are_over(now):
            self._out.info("undone", "nobody takes it away any more")
        if self._node_ports.is_due(report.kept_off, now):
            self._out.error("nodeports", report.kept_off)

    def blind(self, why: str, address: Address | None, now: float, *, is_here: bool) -> None:
        """``why`` this node cannot probe the address; empty if it can, or need not since it ``is_here``."""
        if self._blind.is_due(why, now):
            self._out.error("blind", why)
        elif self._blind.is_over and not is_here:
            self._out.info("blind", f"{address} can be probed from here again")

    def astray(self, ports: Collection[int], holder: str, address: Address | None, now: float) -> None:
        """Warn of ``ports`` that answer at the holder's own address, but not at the floating one.

        Something on the holder diverts packets then, which can be seen only from outside.
        """
        told = _told_of(ports, holder, address) if ports else ""
        if self._astray.is_due(told, now):
            self._out.warning("astray", told)


def _told_of(ports: Collection[int], holder: str, address: Address | None) -> str:
    return (
        f"NodePorts that answer at {holder}'s own address, but not at {address}: {', '.join(map(str, ports))};"
        " there, what drops or diverts what comes in by the other interface: others' chains in nft or iptables, tc,"
        " a firewall, kube-proxy's nodePortAddresses; or does that one's security group not admit them?"
    )


def _about(before: Decision, after: Decision, loss: str) -> dict[str, object]:
    return {
        "state": after.state,
        "rule": after.rule,
        "reason": after.reason.name,
        "attachment": after.attachment_id or "none",
        **({"failover": loss} if _is_loss(before, after) else {}),
    }


def _is_loss(before: Decision, after: Decision) -> bool:
    """The address was this node's, and is being taken away."""
    gone = after.attachment_id != before.attachment_id or after.reason is Reason.DETACHING_HERE
    return before.state is State.HOLDER and gone


def _is_another(before: Decision, after: Decision) -> bool:
    """Whether the two decisions differ in what is logged, apart from details of the sentence."""
    return (after.state, after.reason, after.rule, after.attachment_id) != (
        before.state,
        before.reason,
        before.rule,
        before.attachment_id,
    )
