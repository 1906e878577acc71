"""When giving our interfaces back is refused: while observers live that would take them again."""

import functools
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from ipaddress import IPv4Address
from types import MappingProxyType

import pytest

from floatingip.commands.console import Console
from floatingip.commands.release import COMES_BACK_WITHIN, ReleaseRefused, refuse_while_observed, stay_gone
from floatingip.core import timing
from floatingip.core.ec2 import OWNER_TAG, Eni, Instance, InstanceState
from floatingip.core.errors import CloudUnavailable
from floatingip.core.word import Held, Status
from tests.edges.observers import Observer, free_port
from tests.edges.test_release import ADDRESS, NAME, OTHER, WORKER, Vpc, standing
from tests.fakes.cloud import FakeCloud


@pytest.fixture(name="vpc")
def _vpc() -> Vpc:
    return Vpc()


Observe = Callable[[Status], int]
POD = "i-b"
"""Where the command runs as a peer's."""


@pytest.fixture(name="observe")
def _observe() -> Iterator[Observe]:
    """Start observers on the worker's address, which know the pod's node; the answer is their port."""
    with ExitStack() as ended:

        def observe(status: Status) -> int:
            observer = Observer(WORKER, free_port(), status)
            ended.callback(observer.server.stop)
            observer.meet(**{POD.removeprefix("i-"): "127.0.0.1"})
            return observer.port

        yield observe


def test_a_release_is_refused_while_the_holders_observer_answers(vpc: Vpc, observe: Observe) -> None:
    """It would attach them again; the refusal names the node and says what to do, and nothing was touched."""
    vpc.eni(ADDRESS)
    before = vpc.ec2.state
    with pytest.raises(ReleaseRefused) as caught:
        vpc.refuse(vpc.plan(), observe(Status(NAME, vpc.worker)), POD)
    assert caught.value.exit_code == 8
    assert vpc.worker in str(caught.value)
    assert "kubectl scale deployment floating-ip --replicas 0" in str(caught.value)
    assert vpc.ec2.state == before


def test_an_observer_of_another_cluster_is_no_reason_to_refuse(vpc: Vpc, observe: Observe) -> None:
    """It does not know of our interfaces; but to who asks from outside of its cluster it does not tell whose it is."""
    vpc.eni(ADDRESS)
    port = observe(Status("other", vpc.worker))
    vpc.refuse(vpc.plan(), port, POD)
    with pytest.raises(ReleaseRefused):
        vpc.refuse(vpc.plan(), port)


def test_what_is_unused_is_released_where_an_observer_says_that_it_holds_something_else(
    vpc: Vpc, observe: Observe
) -> None:
    """It would attach what its own settings name; to strangers it does not say: the remedy is to ask as a worker."""
    orphan = vpc.eni(OTHER)
    port = observe(_holding(vpc, ADDRESS))
    assert vpc.refuse(vpc.plan(unused=True), port, POD) == ()
    with pytest.raises(ReleaseRefused, match="run release on a worker"):
        vpc.refuse(vpc.plan(unused=True), port)
    with pytest.raises(ReleaseRefused, match=orphan):
        vpc.refuse(vpc.plan(unused=True), observe(_holding(vpc, OTHER)), POD)


def _holding(vpc: Vpc, address: IPv4Address) -> Status:
    return Status(NAME, vpc.worker, holds={str(address): Held("eni-attach-1")})


def test_where_nobody_answers_nothing_is_refused(vpc: Vpc, observe: Observe) -> None:
    """The Deployment was scaled to 0, or the node is dead."""
    vpc.eni(ADDRESS)
    with socket.socket() as unheard:
        unheard.bind((WORKER, 0))
        assert vpc.refuse(vpc.plan(), int(unheard.getsockname()[1])) == ()


def test_a_node_from_which_no_answer_comes_is_told_of_before(vpc: Vpc, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port may be closed from here, and its observer alive: unlike a node that refuses the connection."""
    monkeypatch.setattr(timing, "ASK_TIMEOUT", 0.05)  # nobody answers, however long it takes
    vpc.eni(ADDRESS)
    with socket.create_server((WORKER, 0), backlog=0) as mute:
        port = int(mute.getsockname()[1])
        assert vpc.refuse(vpc.plan(), port) == (f"{vpc.worker} ({WORKER}:{port})",)


def test_an_instance_that_has_ended_has_no_observer(vpc: Vpc) -> None:
    """It is asked nothing: its address may be another one's by now."""
    vpc.eni(ADDRESS)
    chosen = vpc.plan()
    vpc.ec2.terminate(vpc.worker)
    with socket.create_server((WORKER, 0), backlog=0) as mute:
        assert vpc.refuse(chosen, int(mute.getsockname()[1])) == ()


# Against an observer that lives, but could not be reached.


class Observed(FakeCloud):
    """EC2, with an observer that attaches what is free, or creates what is not there, each time that somebody looks."""

    def __init__(self, vpc: Vpc, act: Callable[[FakeCloud], None]) -> None:
        super().__init__(vpc.ec2)
        self._act = act

    def describe_enis(self, name: str) -> tuple[Eni, ...]:
        """See :class:`floatingip.core.ports.Cloud`."""
        self._act(FakeCloud(self._ec2))
        return super().describe_enis(name)


@pytest.mark.parametrize("make", [Vpc.eni, standing], ids=["eni", "address"])
def test_a_release_stops_when_what_it_detached_is_attached_again(
    vpc: Vpc, make: Callable[[Vpc, IPv4Address], str]
) -> None:
    """One detach, and not one for each time that the observer attaches it."""
    held = make(vpc, ADDRESS)

    def attach(cloud: FakeCloud) -> None:
        if vpc.ec2.state.enis[held].attachment is None:
            cloud.attach_eni(held, vpc.worker, frozenset())

    cloud = Observed(vpc, attach)
    with pytest.raises(ReleaseRefused, match=f"{held} was attached to {vpc.worker} in the meantime") as caught:
        vpc.release(ADDRESS, cloud=cloud)
    assert caught.value.exit_code == 8
    assert "kubectl scale deployment floating-ip --replicas 0" in str(caught.value)
    assert cloud.calls.count("DetachNetworkInterface") == 1
    assert held in vpc.there()


def test_a_release_stops_when_one_of_several_is_made_anew(vpc: Vpc) -> None:
    """What is left is not touched any more."""
    held, free = vpc.eni(ADDRESS), vpc.eni(OTHER, attached=False)

    def create(cloud: FakeCloud) -> None:
        if free not in vpc.ec2.state.enis and not any(e.has(OTHER) for e in vpc.ec2.state.enis.values()):
            cloud.create_eni(OTHER, vpc.subnet, {OWNER_TAG: NAME}, "anew")

    with pytest.raises(ReleaseRefused, match="was made in the meantime"):
        vpc.release(ADDRESS, OTHER, cloud=Observed(vpc, create))
    assert held in vpc.there()


def test_what_is_made_anew_after_the_end_is_noticed(vpc: Vpc) -> None:
    """An observer needs a moment to see that the interface is gone; when nothing comes, that is the end."""
    vpc.eni(ADDRESS)
    chosen = vpc.plan()
    vpc.carry_out(chosen)
    began = vpc.ec2.now
    stay_gone(vpc.ours(), chosen, vpc.console)
    assert vpc.ec2.now - began == COMES_BACK_WITHIN
    vpc.cloud.create_eni(ADDRESS, vpc.subnet, {OWNER_TAG: NAME}, "anew")
    with pytest.raises(ReleaseRefused, match="was made in the meantime"):
        stay_gone(vpc.ours(), chosen, vpc.console)


def test_free_interfaces_need_no_question(vpc: Vpc) -> None:
    """No node holds them."""
    vpc.eni(ADDRESS, attached=False)
    chosen = vpc.plan()
    asked = len(vpc.cloud.calls)
    vpc.refuse(chosen, 9807)
    assert vpc.cloud.calls[asked:] == []


class Undescribed(FakeCloud):
    """EC2, which does not describe any instance, or nothing that can be read."""

    shows: Mapping[str, Instance] = MappingProxyType({})

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, Instance]:
        """See `ports.Cloud`."""
        return {each: shown for each, shown in self.shows.items() if each in instance_ids}


@pytest.mark.parametrize("state", [None, InstanceState.RUNNING, InstanceState.UNREAD])
def test_a_node_of_which_ec2_does_not_tell_the_address_is_told_of_before(vpc: Vpc, state: InstanceState | None) -> None:
    """Nobody could ask whether an observer runs there: that is no sign that none does."""
    vpc.eni(ADDRESS)
    cloud = Undescribed(vpc.ec2)
    if state is not None:
        cloud.shows = {vpc.worker: Instance(vpc.worker, state, None, "us-west-2a", frozenset({0}))}
    unknown = refuse_while_observed(vpc.ours(cloud, free_port()), vpc.plan())
    assert unknown == (f"{vpc.worker} (EC2 does not tell its address)",)


def test_ec2_is_waited_for_where_it_does_not_answer_just_at_the_end(vpc: Vpc) -> None:
    """One throttled question is no reason to call it unknown, nor to miss what was made meanwhile."""
    chosen, now, makes = vpc.plan(ADDRESS), [0.0], False

    def sleep(seconds: float) -> None:
        now[0] += seconds
        vpc.cloud.reachable = now[0] % COMES_BACK_WITHIN > 1.5
        if makes and not vpc.cloud.reachable:
            FakeCloud(vpc.ec2).create_eni(ADDRESS, vpc.subnet, {OWNER_TAG: NAME}, "anew")

    watched = functools.partial(stay_gone, vpc.ours(), chosen, Console(now=lambda: now[0], sleep=sleep))
    watched()
    assert now[0] == COMES_BACK_WITHIN + 2.0
    now[0], makes = 2.0, True
    with pytest.raises(ReleaseRefused, match="was made in the meantime"):
        watched()


def test_what_ec2_does_not_tell_after_the_end_is_not_known(vpc: Vpc) -> None:
    """An observer that still runs may have made an interface anew: without an answer nobody knows."""
    vpc.eni(ADDRESS)
    chosen, now = vpc.plan(), [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        vpc.cloud.reachable = now[0] < COMES_BACK_WITHIN / 2

    with pytest.raises(
        CloudUnavailable, match="released; whether an observer makes or attaches one again is not known"
    ):
        stay_gone(vpc.ours(), chosen, Console(now=lambda: now[0], sleep=sleep))
