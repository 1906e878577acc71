"""Why a node could neither serve a floating address nor take it over: in words for people, by a name for metrics."""

from __future__ import annotations

from floatingip.agent.shared import Shared
from floatingip.core import timing
from floatingip.core.decision.decision import Decision, Reason, State
from floatingip.core.lack import Lack, Shortcoming
from floatingip.core.plumbing import PlumbingReport, PlumbingState
from floatingip.core.wording import span


def shortcoming(
    decision: Decision,
    obstacle: Shortcoming,
    report: PlumbingReport | None,
    shared: Shared,
    *,
    blind: str,
    unsound_before: str,
    refused: str,
    answer_age: float,
) -> Shortcoming:
    """What is missing, the most important thing first.

    ``obstacle`` is why this node could not carry the address at all, or not now.  ``blind`` is why it cannot probe the
    address, empty if it can.  ``unsound_before`` is why it did not carry the address when it last held it, empty if it
    did.  ``refused`` is the lasting cause for which EC2 refused its last write, or did not do what it had accepted;
    empty if there is none.  ``answer_age`` is how many seconds ago EC2 was asked for its last answer on the address.
    """
    name = decision.reason.name
    if decision.reason is Reason.EC2_SILENT and shared.unanswered:
        return Shortcoming(name, f"{decision.sentence}: {shared.unanswered}")
    if decision.state in (State.START, State.REFUSED) or decision.reason is Reason.UNREACHED:
        return Shortcoming(name, decision.sentence)
    if decision.state is State.HOLDER:
        kept_off = report.kept_off if report is not None and shared.wants_node_ports else ""
        # The Elastic IP was given up, or somebody uses it elsewhere: the address that is carried here gets no traffic.
        lost = obstacle.words if obstacle.name == Lack.IMPOSSIBLE else ""
        found = [
            Shortcoming(name, problem_here(decision)),
            Shortcoming(Lack.IMPOSSIBLE, lost),
            Shortcoming(Lack.KEPT_OFF, kept_off),
        ]
    else:
        found = [
            obstacle,
            Shortcoming(Lack.BLIND, blind),
            Shortcoming(Lack.UNSOUND, _unsound(report, unsound_before)),
            Shortcoming(Lack.DENIED, shared.denial()),
            Shortcoming(Lack.CLAIM_REFUSED, _refused(decision, refused)),
            Shortcoming(Lack.EC2_UNANSWERED, _unanswered(shared, answer_age)),
        ]
    return next((each for each in found if each.words), Shortcoming())


def problem_here(decision: Decision) -> str:
    """Why this node, which holds the address, does not carry it; empty if it does."""
    carries = decision.reason in (Reason.HELD_HERE, Reason.UNSHOWN_HERE)
    return "" if carries else decision.sentence


def _refused(decision: Decision, why: str) -> str:
    """Why EC2 does not give this node the address that it is taking; empty if EC2 does, or if it is taking none."""
    is_taking = decision.state in (State.CLAIMING, State.TAKEOVER)
    return f"EC2 does not give this node the address: {why}" if why and is_taking else ""


def _unanswered(shared: Shared, answer_age: float) -> str:
    """A sentence that EC2 has told this node nothing for long, so that it could take nothing over; empty if it has."""
    if not shared.unanswered or answer_age < timing.UNANSWERED_FOR:
        return ""
    since = span(timing.UNANSWERED_FOR)
    return f"EC2 has not told this node for over {since} who has the address: {shared.unanswered}"


def _unsound(report: PlumbingReport | None, before: str) -> str:
    """Why this node would not carry the address if it got it now; empty if it would.

    ``before`` is why it did not when it last held the address, empty if it did.
    """
    if report is not None and report.state is PlumbingState.UNSOUND:
        return f"this node could not carry the address: {report.problem}"
    return f"this node held the address, but did not carry it: {before}; mend that, and restart it" if before else ""
