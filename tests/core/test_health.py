"""Rise and fall: when an address counts as up, as down, and what is no evidence at all."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from floatingip.agent.answers import Answers
from floatingip.agent.shared import Shared
from floatingip.core import timing
from floatingip.core.health import Health, HealthState, counted, is_news, observe, under
from floatingip.core.probe import ProbeOutcome, ProbeResult
from tests.core.deciders import ADDRESS, SETTINGS
from tests.core.nodes import IDENTITY

RISE, FALL, TIMEOUT, INTERVAL = 2, 5, 0.5, 0.25


@dataclass
class Probing:
    """An address under attachment ``a1``, probed every quarter of a second."""

    health: Health = field(default_factory=lambda: Health("a1"))
    sent_at: float = 100.0

    def see(self, outcomes: str, late: float = 0.0) -> Health:
        """One letter a probe: A answered, L lost, F failed here; each known ``late`` seconds after it should be."""
        for letter in outcomes:
            outcome = {"A": ProbeOutcome.ANSWERED, "L": ProbeOutcome.LOST, "F": ProbeOutcome.FAILED_HERE}[letter]
            takes = TIMEOUT if outcome is ProbeOutcome.LOST else 0.001
            result = ProbeResult(self.sent_at, self.sent_at + takes + late, outcome)
            self.health = observe(self.health, result, rise=RISE, fall=FALL, timeout=TIMEOUT)
            self.sent_at += INTERVAL
        return self.health


@pytest.fixture(name="probing")
def _probing() -> Probing:
    return Probing()


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ("", HealthState.INIT),
        ("A", HealthState.INIT),
        ("AA", HealthState.UP),
        ("ALA", HealthState.INIT),
        ("ALAA", HealthState.UP),
        ("LLLL", HealthState.INIT),
        ("LLLLL", HealthState.DOWN),
        ("LLLLLLLL", HealthState.DOWN),
        ("LLLLALLLL", HealthState.INIT),
        ("AALLLL", HealthState.UP),
        ("AALLLLL", HealthState.DOWN),
        ("AALLLLALLLL", HealthState.UP),
        ("AALLLLALLLLA", HealthState.UP),
        ("AALLLLALLLLL", HealthState.DOWN),
        ("AALLLLLA", HealthState.DOWN),
        ("AALLLLLAA", HealthState.UP),
        ("AALLLLLALALA", HealthState.DOWN),
        ("AALALALALALAL", HealthState.UP),
    ],
)
def test_the_state_changes_only_after_enough_probes_agree(probing: Probing, outcomes: str, state: HealthState) -> None:
    """Two answers in a row make it up, five losses in a row make it down, whatever it was before."""
    assert probing.see(outcomes).state is state


FALLS = {
    "one lost probe is doubt and no more": ("AAL", True, False),
    "an answer ends the doubt": ("AALLLLA", False, False),
    "an address that never answered did not fall: its node may be booting": ("LLLLLLLL", True, False),
    "a single stray answer does not count as having been up": ("ALLLLL", True, False),
    "an address that answered and stopped fell": ("AALLLLL", True, True),
    "it fell until it is up again": ("AALLLLLAA", False, False),
    "and may fall again": ("AALLLLLAALLLLL", True, True),
}


@pytest.mark.parametrize(("outcomes", "in_doubt", "fell"), FALLS.values(), ids=FALLS)
def test_doubt_and_fall(probing: Probing, outcomes: str, in_doubt: bool, fell: bool) -> None:
    """Doubt makes the probes faster and EC2 asked; a fall is what convicts a holder."""
    health = probing.see(outcomes)
    assert (health.in_doubt, health.fell) == (in_doubt, fell)


def test_first_lost_at_is_when_the_first_of_the_lost_probes_was_sent(probing: Probing) -> None:
    """EC2's answer is evidence only if it was asked for after that; a loss before the last answer dates nothing."""
    probing.see("AA")
    first_lost = probing.sent_at
    assert probing.see("L").first_lost_at == first_lost
    assert probing.see("LLLLLL").first_lost_at == first_lost
    probing.see("AALA")
    assert probing.health.first_lost_at is None
    again = probing.sent_at
    assert probing.see("LL").first_lost_at == again


def test_changed_at_is_when_the_state_was_known(probing: Probing) -> None:
    """And stays, while further probes agree."""
    probing.see("A")
    known = probing.sent_at + 0.001
    assert probing.see("A").changed_at == known
    assert probing.see("AAAA").changed_at == known
    probing.see("LLLL")
    known = probing.sent_at + TIMEOUT
    assert probing.see("L").changed_at == known
    assert probing.see("LLL").changed_at == known


def test_a_probe_that_could_not_be_sent_says_nothing(probing: Probing) -> None:
    """No route, no buffer: that is about this node, not about the holder."""
    before = probing.see("AAL")
    assert probing.see("F" * 20) == before
    assert probing.see("LLL").state is HealthState.UP
    assert probing.see("L").state is HealthState.DOWN


def test_losses_noticed_by_a_stalled_observer_say_nothing(probing: Probing) -> None:
    """A paused virtual machine wakes up with every probe overdue."""
    before = probing.see("AA")
    assert probing.see("LLLLLLLLLL", late=timing.STALL + 0.01) == before


def test_a_loss_noticed_a_little_late_counts(probing: Probing) -> None:
    """A busy node is no stalled one."""
    assert probing.see("AA" + "L" * FALL, late=timing.STALL - 0.01).fell


def test_an_answer_read_after_a_stall_counts(probing: Probing) -> None:
    """It waited in the socket, and was an answer all the time."""
    assert probing.see("AA", late=10.0).state is HealthState.UP


def test_a_new_attachment_starts_anew_and_the_same_one_keeps_its_history(probing: Probing) -> None:
    """What was seen of an earlier holder says nothing of this one; to ask EC2 again makes no fallen address young."""
    fallen = probing.see("AALLLLL")
    assert under(fallen, "a2") == Health("a2")
    assert under(fallen, "a1") is fallen


def test_nothing_is_changed_in_place(probing: Probing) -> None:
    """The same input always gives the same output."""
    before = Health("a1")
    result = ProbeResult(1.0, 1.5, ProbeOutcome.LOST)
    first = observe(before, result, rise=RISE, fall=FALL, timeout=TIMEOUT)
    assert first == observe(before, result, rise=RISE, fall=FALL, timeout=TIMEOUT)
    assert before == Health("a1")


@pytest.mark.parametrize(
    ("before", "outcome", "news"),
    [
        ("AAA", "A", False),
        ("A", "A", True),
        ("AAA", "L", True),
        ("AAAL", "L", True),
        ("AAAL", "A", True),
        ("AAALA", "A", False),
        ("AAA", "F", False),
    ],
    ids=["one more answer", "up", "a loss", "one more loss", "the end of a doubt", "after it", "no evidence"],
)
def test_one_more_answer_is_no_news_and_whatever_concerns_a_loss_is(
    probing: Probing, before: str, outcome: str, news: bool
) -> None:
    """What is no news is not judged until its time has come."""
    known = probing.see(before)
    assert is_news(known, probing.see(outcome)) is news


def test_what_was_sent_before_the_address_came_says_nothing_of_its_new_holder() -> None:
    """The old one's answer, under way as EC2 shows the move, does not count; the new one's do."""
    answers = Answers(str(ADDRESS), Shared(IDENTITY, SETTINGS), 0.0)
    answers.probe(IPv4Address(ADDRESS))
    answers.turn(on=True)
    [probing] = answers.probings()
    answers.come_under("a1", 10.0)
    for sent_at in (9.99, *(10.0 + 0.25 * n for n in range(SETTINGS.rise))):
        assert answers.health.state is HealthState.INIT
        answers.probed(probing, ProbeResult(sent_at, sent_at + 0.02, ProbeOutcome.ANSWERED))
    assert answers.health.state is HealthState.UP


PINGED, KNOCKED = (ProbeResult(100.0, 100.001, ProbeOutcome.ANSWERED, by_tcp=by_tcp) for by_tcp in (False, True))


@pytest.mark.parametrize(
    ("answers", "moves", "is_missed"),
    [((), False, False), ((PINGED,), False, True), ((PINGED, KNOCKED), False, False), ((PINGED, PINGED), True, False)],
    ids=["nobody was heard", "pings were answered", "the last answer was no ping's", "another one's pings were"],
)
def test_where_this_node_answers_tcp_itself_only_who_answered_pings_is_missed_by_them(
    answers: tuple[ProbeResult, ...], *, moves: bool, is_missed: bool
) -> None:
    """Whoever has this node reject what goes to that port would keep a dead one's address where it is.  But a holder
    that lets no pings in, after one that did, would be convicted of that.
    """
    health = Health("a1")
    for answer in answers:
        health = observe(health, answer, rise=RISE, fall=FALL, timeout=TIMEOUT)
    health = under(health, "a2" if moves else "a1")
    rejected = ProbeResult(101.0, 101.5, ProbeOutcome.FAILED_HERE, "rejected", ping_lost=True)
    assert counted(health, rejected).outcome is (ProbeOutcome.LOST if is_missed else ProbeOutcome.FAILED_HERE)
    unsent = ProbeResult(101.0, 101.5, ProbeOutcome.FAILED_HERE)
    assert counted(health, unsent) is unsent
