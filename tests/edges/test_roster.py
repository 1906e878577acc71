"""Who is a peer, in virtual time: whom EC2 has shown, and what it is asked at most, whoever comes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest

from floatingip.core import timing
from floatingip.core.ec2 import Instance, InstanceState
from floatingip.core.word import PEERS_AT_MOST
from floatingip.runtime.roster import QUESTIONS_AT_ONCE, REFUSED_AT_MOST, Roster
from tests.edges.observers import instance, instances

ME, B, C = "10.0.0.10", "10.0.0.11", "10.0.0.12"
POD = "10.0.0.66"


@dataclass
class Vpc:
    """A roster of i-a, what EC2 shows, and the questions that it was asked."""

    shown: dict[str, Instance] = field(default_factory=lambda: instances(a=ME, b=B, c=C))
    now: float = 1000.0
    silent: bool = False
    questions: list[frozenset[str]] = field(default_factory=list)
    waiting: int = 0

    def __post_init__(self) -> None:
        self.roster = Roster("i-a", self._waits)

    def _waits(self) -> None:
        self.waiting += 1

    def asks(self, instance_id: str, source: str) -> bool:
        """A question comes; whether it is a peer's."""
        return self.roster.is_peer(instance_id, source, self.now)

    def ec2(self) -> None:
        """Ask EC2 what is to be asked."""
        asked = self.roster.question(self.now)
        if not asked:
            return
        self.questions.append(asked)
        if self.silent:
            self.roster.unanswered(self.now)
        else:
            self.roster.answered(asked, self.now, {i: self.shown[i] for i in asked if i in self.shown})

    def meet(self, instance_id: str, source: str) -> bool:
        """It asks, EC2 is asked, it asks again."""
        self.asks(instance_id, source)
        self.ec2()
        return self.asks(instance_id, source)

    def follow(self, known: Iterable[str] = ()) -> dict[str, str]:
        """The peers by now."""
        return {peer: str(address) for peer, address in self.roster.follow(known, self.now).items()}


@pytest.fixture(name="vpc")
def _vpc() -> Vpc:
    return Vpc()


def test_an_observer_that_asks_is_a_peer_once_ec2_has_shown_it(vpc: Vpc) -> None:
    """At its first question it is nobody yet; EC2 is asked at once, and only once."""
    assert not vpc.asks("i-b", B)
    assert vpc.waiting == 1
    vpc.ec2()
    assert vpc.asks("i-b", B)
    assert vpc.roster.has(B)
    assert vpc.follow() == {"i-b": B}
    for _ in range(100):
        vpc.now += 0.5
        assert vpc.asks("i-b", B)
        vpc.ec2()
    assert len(vpc.questions) == 1


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        ("a made-up id", {}),
        ("another's id", {"i-b": instance("i-b", B)}),
        ("an instance without an address", {"i-b": instance("i-b", None)}),
        ("one that has ended", {"i-b": instance("i-b", POD, InstanceState.TERMINATED)}),
        ("one that is about to", {"i-b": instance("i-b", POD, InstanceState.SHUTTING_DOWN)}),
        ("one of another cluster", {"i-b": instance("i-b", POD, tags={"kubernetes.io/cluster/other": "owned"})}),
        ("one of no cluster", {"i-b": instance("i-b", POD, tags={})}),
    ],
)
def test_who_is_not_who_it_says_is_no_peer(vpc: Vpc, who: str, shown: Mapping[str, Instance]) -> None:
    """Its source must be the primary address that EC2 shows for that instance, alive and in our cluster."""
    vpc.shown = {**instances(a=ME), **shown}
    assert not vpc.meet("i-b", POD), who
    assert not vpc.roster.has(POD)
    assert vpc.follow() == {}


@pytest.mark.parametrize("text", ["", "i-x", "b", "i-" + "0" * 60_000, "i-b&x=1", "*", "i-a"])
def test_what_is_no_id_is_not_asked_about(vpc: Vpc, text: str) -> None:
    """Nor is this node itself."""
    assert not vpc.asks(text, POD)
    vpc.ec2()
    assert vpc.questions == []


def test_where_our_own_instance_names_no_cluster_none_is_compared(vpc: Vpc) -> None:
    """The settings' `name` was set by hand."""
    vpc.shown = {"i-a": instance("i-a", ME, tags={}), "i-b": instance("i-b", B, tags={})}
    assert vpc.meet("i-b", B)


def test_nobody_is_believed_before_our_own_cluster_is_known(vpc: Vpc) -> None:
    """EC2 may not show this instance yet: that is no refusal either."""
    del vpc.shown["i-a"]
    assert not vpc.meet("i-b", B)
    vpc.shown |= instances(a=ME)
    vpc.now += 1.0
    assert vpc.meet("i-b", B)


def test_a_peers_name_from_elsewhere_is_nobodys(vpc: Vpc) -> None:
    """EC2 need not be asked for that."""
    assert vpc.meet("i-b", B)
    assert not vpc.asks("i-b", POD)
    vpc.ec2()
    assert len(vpc.questions) == 1
    assert vpc.asks("i-b", B)


def test_a_pod_with_ever_new_names_costs_one_question_a_minute(vpc: Vpc) -> None:
    """And makes one entry."""
    began = vpc.now
    while vpc.now - began < 2 * timing.PEER_REFUSED_FOR:
        for number in range(100):
            assert not vpc.asks(f"i-{number:x}{int(vpc.now * 10):x}", POD)
        vpc.ec2()
        vpc.now += 0.5
    assert len(vpc.questions) == 2
    assert all(len(asked) <= 2 for asked in vpc.questions)


def test_a_new_observer_does_not_wait_because_a_pod_floods(vpc: Vpc) -> None:
    """It is known with the next question, which comes at once."""
    for number in range(100):
        vpc.asks(f"i-{number:x}", POD)
    vpc.ec2()
    vpc.now += 0.1
    assert vpc.meet("i-b", B)
    vpc.now += 0.1
    assert vpc.meet("i-c", C)


def test_however_many_come_ec2_is_asked_now_and_then(vpc: Vpc) -> None:
    """All who wait together."""
    began = vpc.now
    while vpc.now - began < 60.0:
        for number in range(200):
            vpc.asks(f"i-{number:x}", f"10.1.{int(vpc.now) % 256}.{number}")
        vpc.ec2()
        vpc.now += 0.1
    assert len(vpc.questions) <= QUESTIONS_AT_ONCE + 60.0 / timing.PEERS_CONFIRMED_EVERY + 1
    assert max(map(len, vpc.questions)) <= 17
    assert len(vpc.roster._refused) <= REFUSED_AT_MOST


def test_while_ec2_is_silent_it_is_asked_again_after_a_while_and_peers_stay(vpc: Vpc) -> None:
    """R9: what was known goes on."""
    assert vpc.meet("i-b", B)
    vpc.silent = True
    vpc.now += timing.PEER_CONFIRMED_FOR + 1.0
    asked = len(vpc.questions)
    for _ in range(100):
        assert vpc.asks("i-b", B)
        vpc.asks("i-c", C)
        vpc.ec2()
        vpc.now += 0.1
    assert len(vpc.questions) - asked <= 10.0 / timing.PEERS_CONFIRMED_EVERY + 1
    vpc.silent = False
    vpc.now += timing.PEERS_CONFIRMED_EVERY
    assert vpc.meet("i-c", C)


def test_one_question_is_under_way_at_a_time(vpc: Vpc) -> None:
    """A hanging EC2 does not collect threads."""
    vpc.asks("i-b", B)
    assert vpc.roster.question(vpc.now)
    vpc.asks("i-c", C)
    vpc.now += 100.0
    assert not vpc.roster.question(vpc.now)


def test_a_peer_is_confirmed_anew_now_and_then(vpc: Vpc) -> None:
    """A dead worker's address may be a pod's by now."""
    assert vpc.meet("i-b", B)
    del vpc.shown["i-b"]
    vpc.now += timing.PEER_CONFIRMED_FOR - 1.0
    vpc.ec2()
    assert vpc.asks("i-b", B)
    vpc.now += 2.0
    vpc.ec2()
    assert not vpc.asks("i-b", B)


def test_a_peer_whose_instance_has_ended_by_any_answer_is_none(vpc: Vpc) -> None:
    """At once; an answer that is older than what is known changes nothing."""
    assert vpc.meet("i-b", B)
    ended = {"i-b": instance("i-b", B, InstanceState.TERMINATED)}
    vpc.roster.shown(vpc.now - 1.0, ended)
    assert vpc.asks("i-b", B)
    vpc.roster.shown(vpc.now + 1.0, ended)
    assert not vpc.asks("i-b", B)
    assert vpc.follow() == {}


def test_of_whom_a_peer_tells_ec2_is_asked_too(vpc: Vpc) -> None:
    """Its address is what EC2 says; who asked no longer than a minute ago is told to others."""
    assert vpc.follow(["i-c", "i-a", "i-77", "worker", "i-" + "0" * 99]) == {}
    vpc.ec2()
    assert vpc.questions == [frozenset({"i-a", "i-77", "i-c"})]
    assert vpc.follow(["i-c", "i-77"]) == {"i-c": C}
    assert vpc.roster.askers(vpc.now) == {}
    assert vpc.asks("i-c", C)
    assert {*vpc.roster.askers(vpc.now)} == {"i-c"}
    vpc.ec2()
    assert len(vpc.questions) == 1, "a refusal by EC2 is remembered"


def test_who_neither_asks_nor_is_told_of_is_forgotten(vpc: Vpc) -> None:
    """An observer that was scaled away."""
    assert vpc.meet("i-b", B)
    vpc.now += timing.PEER_ASKED_FOR + 1.0
    assert vpc.roster.askers(vpc.now) == {}
    assert vpc.follow(["i-b"]) == {"i-b": B}
    assert vpc.follow() == {}
    assert not vpc.roster.has(B)


def test_there_are_no_more_than_so_many_peers(vpc: Vpc) -> None:
    """A worker too many is a stranger, and those that are peers stay so."""
    many = {f"{number:02x}": f"10.0.1.{number}" for number in range(40)}
    vpc.shown |= instances(**many)
    for name, address in many.items():
        vpc.meet(f"i-{name}", address)
        vpc.now += timing.PEERS_CONFIRMED_EVERY
        vpc.follow([f"i-{other}" for other in many])
    assert len(vpc.follow([f"i-{name}" for name in many])) == PEERS_AT_MOST
    assert vpc.asks("i-00", "10.0.1.0")


def test_who_asks_counts_more_than_who_is_only_told_of(vpc: Vpc) -> None:
    """A peer that tells of workers without an observer must not keep an observer out."""
    many = {f"{number:02x}": f"10.0.1.{number}" for number in range(PEERS_AT_MOST)}
    vpc.shown |= instances(**many)
    told = [f"i-{name}" for name in many]
    vpc.follow(told)
    vpc.ec2()
    assert {*vpc.follow(told)} == {*told}
    vpc.now += 1.0
    assert vpc.meet("i-b", B)
    assert vpc.asks("i-b", B)
    assert len(vpc.follow(told)) == PEERS_AT_MOST
