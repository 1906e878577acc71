"""Whether a floating address answers: what is counted of its probes."""

from ipaddress import IPv4Address

from floatingip.agent.answers import Answers
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
