"""Who greps a log for what is no info finds what a person should know, and nothing that passes by itself."""

from dataclasses import replace

import pytest

from floatingip.agent.outbox import Outbox
from floatingip.agent.telling import Telling
from floatingip.core import timing
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.plumbing import PlumbingReport, PlumbingState
from tests.core.told import Told

STANDBY = Decision(State.STANDBY, Reason.ANSWERS, Rule.R10, 0.0)


def levels(out: Outbox) -> list[str]:
    """Of the lines that were told."""
    words = (word for line in Told(out).log.splitlines() for word in line.split())
    return [word.partition("=")[2] for word in words if word.startswith("level=")]


def test_a_service_that_answers_nowhere_is_warned_of() -> None:
    """Nothing moves, and nothing would help but a person; `/readyz` has it as a note."""
    out = Outbox()
    nowhere = replace(STANDBY, reason=Reason.NOT_SERVED_HERE, rule=Rule.R7)
    telling = Telling("10.0.0.100", out)
    for before, seconds in ((STANDBY, 0.0), (nowhere, 1.0), (nowhere, timing.SAID_AGAIN + 1.0)):
        telling.decided(before, nowhere, "", "none", seconds, seconds)
    assert levels(out) == ["warning", "warning"]


@pytest.mark.parametrize(("state", "told"), [(PlumbingState.UNCERTAIN, []), (PlumbingState.UNSOUND, ["error"])])
def test_what_is_not_known_yet_is_no_error(state: PlumbingState, told: list[str]) -> None:
    """nft may stand still for half a minute while kube-proxy loads its rules; after a while that is unsound."""
    out = Outbox()
    Telling("10.0.0.100", out).kernel(PlumbingReport(state, problem="marks: nft has not answered yet"), 0.0)
    assert levels(out) == told
