"""What an observer counts over time: answers under one attachment, and calls to EC2."""

from ipaddress import IPv4Address

import pytest

from floatingip.agent.allowance import Allowance
from floatingip.agent.answers import Answers
from floatingip.core import pace
from floatingip.core.health import HealthState
from floatingip.core.probe import ProbeOutcome, ProbeResult
from tests.core.deciders import ADDRESS, SETTINGS


def test_what_was_sent_before_the_address_came_says_nothing_of_its_new_holder() -> None:
    """The old one's answer, under way as EC2 shows the move, does not count; the new one's do."""
    answers = Answers(str(ADDRESS), SETTINGS, 0.0)
    answers.probe(IPv4Address(ADDRESS))
    answers.on = True
    [probing] = answers.probings()
    answers.are_under("a1", 10.0)
    for sent_at in (9.99, *(10.0 + 0.25 * n for n in range(SETTINGS.rise))):
        assert answers.health.state is HealthState.INIT
        answers.probed(probing, ProbeResult(sent_at, sent_at + 0.02, ProbeOutcome.ANSWERED))
    assert answers.health.state is HealthState.UP


def test_what_was_spent_comes_back_with_time() -> None:
    """Calls at once are free, the next question then waits for its own; and none that waits pays for more than that."""
    allowance = Allowance(1)
    most = int(pace.AT_ONCE + pace.FOR_EACH)
    allowance.spend(most - 1, 100.0)
    assert allowance.due() == 100.0
    allowance.spend(11, 100.0)
    assert allowance.due() == pytest.approx(100.0 + 11 / pace.A_SECOND)
    allowance.spend(1, allowance.due())
    assert allowance.due() == pytest.approx(100.0 + 12 / pace.A_SECOND)
    allowance.spend(most - 1, 100_000.0)
    assert allowance.due() == 100_000.0, "no more is saved than that"
