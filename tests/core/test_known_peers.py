"""What this node goes by of another observer that has answered, and now does not, or is another one."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from floatingip.agent.peers import Peers
from floatingip.core.peer import Peer
from floatingip.core.word import RESERVED, Answer, Held, Status

NAME, OTHER = "cluster", "i-c"
WORD = Status(
    NAME, OTHER, {"10.0.0.101": Held("a2")}, sees_up=("a1",), free_slots=0, leaving=True, claiming=("10.0.0.100",)
)


def known(*answers: Answer) -> tuple[Peer, ...]:
    """What is known of i-c after these."""
    peers = Peers()
    peers.ask({OTHER: IPv4Address("10.0.0.12")})
    for answer in answers:
        peers.heard(OTHER, answer)
    return peers.others(NAME)


def silent_at(time: float) -> Answer:
    return Answer(time, time + 0.5, None)


def test_one_lost_question_takes_nothing_back_of_what_was_said() -> None:
    """That it sees the address, that EC2 has promised it one, that it has no room: all count as long as it is new."""
    told = Answer(10.0, 10.1, WORD)
    (before,) = known(told)
    assert (before.sees_up, before.free_slots, before.leaving, before.claiming) == (("a1",), 0, True, ("10.0.0.100",))
    assert (before.heard_at, before.asked_at) == (10.1, 10.0)
    assert known(told, silent_at(10.5)) == (before,)


def test_what_was_said_before_a_restart_is_void_but_it_is_there() -> None:
    """First its node refuses the question; then it has started anew, and does not know this node yet."""
    told, refused = Answer(10.0, 10.1, WORD), Answer(10.5, 10.5, None, refused=True)
    assert known(told, refused) == (Peer(OTHER, 10.1),)
    assert known(told, refused, Answer(11.0, 11.1, RESERVED)) == (Peer(OTHER, 11.1),)


@pytest.mark.parametrize("other", [replace(WORD, instance_id="i-d"), replace(WORD, name="another")])
def test_whoever_else_answers_there_is_not_it(other: Status) -> None:
    """Nor has it said what was said there before."""
    assert known(Answer(10.0, 10.1, WORD), Answer(11.0, 11.1, other)) == ()


def test_a_silent_one_of_another_deployment_is_not_waited_for() -> None:
    """It would not take over."""
    assert known(Answer(10.0, 10.1, replace(WORD, name="another")), silent_at(11.0)) == ()
