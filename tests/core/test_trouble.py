"""When to say that something goes wrong, and how loudly; and how long to wait until it is tried again."""

import random
from dataclasses import replace

import pytest

from floatingip.agent.backoff import Backoff
from floatingip.agent.outbox import Outbox
from floatingip.agent.telling import Telling
from floatingip.agent.trouble import Complaints, Trouble
from floatingip.core import timing
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.plumbing import PlumbingReport, PlumbingState
from tests.core.nodes import ME, SOUND, Node, held_by, now
from tests.core.told import Told


def test_what_goes_wrong_is_told_once_it_lasts_and_again_every_ten_minutes() -> None:
    """Not what is over before; another trouble, or the same after an end, begins anew."""
    trouble, again = Trouble(30.0), 30.0 + timing.SAID_AGAIN
    due = [trouble.is_due("no room", at) for at in (0.0, 29.0, 30.0, 31.0, again - 1.0, again, again + 1.0)]
    assert (due, trouble.is_told) == ([False, False, True, False, False, True, False], True)
    assert (trouble.is_due("", 1000.0), trouble.is_told) == (False, False)
    assert [trouble.is_due("no room", at) for at in (1000.0, 1030.0)] == [False, True]
    assert [trouble.is_due("no nft", at) for at in (1031.0, 1061.0)] == [False, True]


def test_what_must_be_told_at_once_is() -> None:
    """Where nothing has to last first."""
    trouble = Trouble()
    assert [trouble.is_due(text, 0.0) for text in ("a", "a", "b", "")] == [True, False, True, False]


def test_each_of_several_complaints_is_told_once_until_all_has_been_well_for_a_while() -> None:
    """One good answer in between changes nothing; that all is well is told once, too, and only after trouble."""
    complaints = Complaints(12.0)
    assert not complaints.are_over(1000.0)
    assert [complaints.is_news(said, 1000.0) for said in ("no answer", "no token", "no answer")] == [True, True, False]
    assert not complaints.are_over(1011.0)
    assert not complaints.is_news("no token", 1011.0)
    assert [complaints.are_over(at) for at in (1022.0, 1023.0, 1024.0)] == [False, True, False]
    assert complaints.is_news("no answer", 1025.0)


def test_complaints_that_differ_each_time_are_not_kept() -> None:
    """As of the pods of a node, which come and go while what others do to them goes on for ever."""
    complaints = Complaints(60.0)
    told = [complaints.is_news(f"replies of pod {number} go elsewhere", 30.0 * number) for number in range(1000)]
    assert all(told)
    assert len(complaints._told) <= timing.SAID_AGAIN / 30.0
    assert [complaints.is_news("still", 40000.0 + at) for at in (0.0, 1.0, timing.SAID_AGAIN)] == [True, False, True]


def test_pauses_grow_up_to_the_longest_and_begin_anew() -> None:
    """With some chance in each, so that agents do not retry together."""
    backoff = Backoff(0.5, random.uniform)
    for expected in (0.5, 1.0, 2.0, 4.0, 5.0, 5.0):
        assert 0.8 * expected <= backoff.pause(5.0) <= 1.2 * expected
    backoff.reset()
    assert backoff.pause(5.0) <= 0.6


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


def told_of(reports: list[PlumbingReport], every: float) -> tuple[Node, list[str]]:
    """The log of a holder in whose kernel these are found, one after the other, and then nothing more."""
    made, at = held_by(ME, SOUND), now()
    before = len(made.told.log)
    for report in reports:
        at += every
        made.address.reconciled(report, at)
    for later in (timing.KERNEL_CALM / 2, timing.KERNEL_CALM + 1):
        made.address.reconciled(SOUND, at + later)
    return made, made.told.log[before:].splitlines()


@pytest.mark.parametrize("what", [("marks",), ("address", "route")])
def test_what_is_taken_away_again_and_again_is_warned_of_once(what: tuple[str, ...]) -> None:
    """As by a firewall that flushes all chains: sound whenever it is looked at, and the log full of it."""
    _, log = told_of([replace(SOUND, repaired=what), SOUND] * 100, 0.05)
    assert sum("event=plumbed" in line for line in log) == timing.REPAIRS_TOLD
    warnings = [line for line in log if "level=warning event=undone" in line]
    assert [part in line for part, line in zip(what, warnings, strict=True)] == [True] * len(what)
    assert "event=undone" in log[-1]
    assert "nobody takes it away any more" in log[-1]


def test_what_others_do_to_a_node_that_carries_the_address_is_noted() -> None:
    """By /readyz, which is ok: what somebody takes away, as long as he does, and what they have in the way."""
    made, _ = told_of([replace(SOUND, repaired=("marks",)), SOUND] * 100, 0.05)
    assert made.address.remark() == ""
    for _ in range(timing.REPAIRS_TOLD + 1):
        made.address.reconciled(replace(SOUND, repaired=("marks",)), now() + 1000.0)
    assert made.address.remark().startswith("somebody on this node takes away marks again and again")
    made.address.reconciled(replace(SOUND, problem="rule: of others; move it"), now() + 1000.0)
    assert made.address.remark() == "rule: of others; move it"


def test_what_is_mended_now_and_then_is_told_each_time() -> None:
    """Once an hour, by somebody's job, is no fight."""
    _, log = told_of([replace(SOUND, repaired=("rule",)), SOUND] * 20, 1800.0)
    assert sum("event=plumbed" in line for line in log) == 20
    assert not any("event=undone" in line for line in log)


def test_a_fault_that_comes_and_goes_is_told_once_until_it_was_away_for_a_while() -> None:
    """Each time it comes back it would be an error of its own, several a second."""
    fault = replace(SOUND, state=PlumbingState.UNSOUND, problem="address: still missing")
    made, log = told_of([fault, SOUND] * 100, 0.05)
    assert sum("event=plumbing" in line for line in log) == 1
    made.address.reconciled(fault, now() + 1000.0)
    assert made.told.log.count("event=plumbing") == 2
