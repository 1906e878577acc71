"""What the agent publishes for people: who has it, since when, what moved, what was seen of its probes."""

from dataclasses import replace
from ipaddress import IPv4Address
from itertools import pairwise

import pytest

from floatingip.agent.effects import Probing
from floatingip.agent.events import Heard, LookFailed, MetadataTroubled, PeersChosen, Probed, Reported
from floatingip.agent.recent import SPAN, SPANS, RecentProbes
from floatingip.core.decision import order, pause, ration
from floatingip.core.ec2 import OWNER_TAG
from floatingip.core.errors import CloudUnavailable
from floatingip.core.model import Carry
from floatingip.core.move import Result
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.report import Report
from floatingip.core.snapshot import AddressSnapshot, ProbeSpan
from floatingip.core.word import Answer, Status
from tests.core.agents import Node
from tests.core.nodes import ADDRESS, ME, NAME, OTHER, WALL

THIRD = "i-c"


def shown(node: Node) -> AddressSnapshot:
    """The address, a moment later."""
    node.handle(after=1.1)
    (address,) = node.published.addresses
    return address


def test_the_holder_is_shown_since_it_was_seen_first() -> None:
    """EC2 tells no time here, so it may have had the address for longer; once it was seen to move, it has not."""
    node = Node()
    node.looked(OTHER)
    seen = WALL + node.now
    address = shown(node)
    assert (address.holder, address.since_wall, address.since_at_least) == (OTHER, seen, True)
    node.looked(THIRD)
    assert shown(node).since_wall == pytest.approx(WALL + node.now, abs=3.0)
    assert not shown(node).since_at_least


def test_a_move_between_others_is_seen_and_one_while_nobody_had_it_too() -> None:
    """Not the first sight of a holder, nor one that is attached again to the same."""
    node = Node()
    for holder in (OTHER, "", OTHER, "", THIRD):
        node.looked(holder)
        node.looked(holder)
    (move,) = (move for move in shown(node).moves if move.result is Result.SEEN)
    assert (move.source, move.to, move.rule) == (OTHER, THIRD, "")


def test_an_own_move_is_shown_with_its_phases_once() -> None:
    """By the node that made it, from the wall's time of its begin on."""
    node = Node()
    node.looked()
    began = WALL + node.now
    node.hold()
    (move,) = shown(node).moves
    assert (move.rule, move.source, move.to, move.result) == ("R1", "", ME, Result.MOVED)
    assert move.began_at == pytest.approx(began, abs=0.5)
    assert {"duration", "attach", "plumb"} <= move.seconds.keys()


@pytest.mark.parametrize("carry", list(Carry))
def test_an_order_and_the_ration_are_shown_by_what_the_tags_say(carry: Carry) -> None:
    """As the rules read them: of this attachment, and not over."""
    node = Node(carry=carry)
    node.looked(OTHER)
    assert (shown(node).order, shown(node).rationed_until_wall <= WALL + node.now) == (None, True)
    if carry is Carry.ADDRESS:
        return  # a standing ENI is another test's
    wall = WALL + node.now
    tags = {OWNER_TAG: NAME, order.TAG: order.render("a1", ME, wall + 60), ration.TAG: f"R6@{int(wall)}/a0"}
    node.looked(OTHER, **tags)
    address = shown(node)
    assert address.order is not None
    assert (address.order.to, address.order.until) == (ME, int(wall + 60))
    assert address.rationed_until_wall == pytest.approx(wall + 60, abs=2.0)


def test_a_pause_is_told_by_all_while_it_lasts() -> None:
    """Also by those who ask whether this observer is ready, which it is."""
    node = Node()
    node.looked(OTHER, **{OWNER_TAG: NAME, pause.TAG: str(int(WALL + node.now + 90))})
    ends_at = shown(node).paused_until_wall
    assert ends_at == pytest.approx(WALL + node.now + 90, abs=2.0)
    assert pause.told(ends_at) in node.published.note
    node.looked(OTHER, **{OWNER_TAG: NAME, pause.TAG: ""})
    shown(node)
    assert "resume" not in node.published.note


def test_what_could_not_be_learned_is_shown() -> None:
    """EC2's last failure, and IMDS', until they answer."""
    node = Node()
    node.looked(OTHER)
    answered_at = node.published.answered_at
    node.handle(LookFailed(CloudUnavailable("throttled"), {}), MetadataTroubled("IMDS is silent"), after=1.0)
    assert (node.published.unanswered, node.published.unknown) == ("throttled", ("IMDS is silent",))
    assert node.published.answered_at == answered_at
    node.handle(after=20.0)
    node.looked(OTHER)
    assert (node.published.unanswered, node.published.unknown) == ("", ())


def test_peers_are_shown_with_what_they_said_last() -> None:
    """Also one that never answered, and one that fell silent."""
    node = Node()
    address, told = IPv4Address("10.0.0.10"), Status(NAME, OTHER, free_slots=2)
    node.handle(PeersChosen({OTHER: address, THIRD: address}), Heard(OTHER, Answer(node.now, node.now, told)))
    node.handle(Reported(OTHER, Report(0.0, OTHER, node="worker-a")), after=1.0)
    node.handle(Heard(OTHER, Answer(node.now, node.now, None)), after=1.0)
    first, second = node.published.peers
    assert (first.instance_id, first.is_silent, first.status, first.heard_at) == (OTHER, True, told, 100.0)
    assert first.report is not None
    assert first.report.node == "worker-a"
    assert (second.instance_id, second.is_silent, second.heard_at) == (THIRD, False, None)


# Probes.


def result(sent_at: float, outcome: ProbeOutcome = ProbeOutcome.ANSWERED, took: float = 0.001) -> ProbeResult:
    """One probe's."""
    return ProbeResult(sent_at, sent_at + took, outcome)


def test_probes_are_counted_by_spans_and_no_more_than_five_minutes_of_them() -> None:
    """However long an observer runs, it keeps as much."""
    recent = RecentProbes()
    assert recent.told() == ()
    for number in range(1, 4 * SPANS):
        recent.add(result(number * SPAN))
        recent.add(result(number * SPAN + 0.25, took=0.002))
        recent.add(result(number * SPAN + 0.5, ProbeOutcome.LOST))
        recent.add(result(number * SPAN + 0.75, ProbeOutcome.FAILED_HERE))
    told = recent.told()
    assert len(told) == SPANS
    assert (told[-1].began_at, told[-1].answered, told[-1].lost) == ((4 * SPANS - 1) * SPAN, 2, 1)
    assert told[-1].slowest == pytest.approx(0.002)
    assert [after.began_at - before.began_at for before, after in pairwise(told)] == [SPAN] * 149
    assert recent.round_trip == pytest.approx(0.002)


def test_a_span_without_probes_is_left_out() -> None:
    """As while this node holds the address."""
    recent = RecentProbes()
    recent.add(result(10.0))
    recent.add(result(50.0, ProbeOutcome.LOST))
    assert [(span.began_at, span.answered, span.lost) for span in recent.told()] == [(10.0, 1, 0), (50.0, 0, 1)]


def test_the_agent_publishes_its_probes_and_their_round_trip() -> None:
    """NodePorts' checks are others."""
    node = Node()
    node.looked(OTHER)
    probing = Probing(str(ADDRESS), ADDRESS, 0.25, 0.1)
    node.handle(Probed(probing, result(node.now, took=0.0004)), after=0.1)
    address = shown(node)
    assert address.round_trip == pytest.approx(0.0004)
    assert [span.answered for span in address.probes] == [1]
    assert replace(address.probes[0], began_at=0.0) == ProbeSpan(0.0, 1, 0, address.round_trip or 0.0)
