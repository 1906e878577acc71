"""Handing over on request, on the model EC2 in its own time: what is ordered, when it is done, and what is left."""

import socket
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from floatingip.commands.handing_over import VALID_FOR, Gap
from floatingip.commands.handover import HandoverRefused, instance_named, plan
from floatingip.core import timing
from floatingip.core.decision.order import ANYBODY, Order
from floatingip.core.errors import CloudError, ConfigurationError, Denied
from floatingip.core.model import Carry
from floatingip.core.word import Status
from floatingip.runtime import status_server
from tests.edges.handed_over import ADDRESS, NAME, Observed, Vpc, interrupt
from tests.edges.observers import ASKER, TARGET, Start
from tests.fakes.ec2 import Delays


@pytest.fixture(name="vpc")
def _vpc() -> Vpc:
    return Vpc()


def test_what_is_held_elsewhere_is_handed_over(vpc: Vpc) -> None:
    """With the attachment that it is to leave; what the named node has already is left alone."""
    (move,) = vpc.plan()
    assert (move.target, move.source, move.eni.id, move.to) == (ADDRESS, vpc.workers[0], vpc.enis[0], ANYBODY)
    assert vpc.plan(vpc.workers[1]) != ()
    assert vpc.plan(vpc.workers[0]) == ()


def test_what_nobody_holds_cannot_be_handed_over(vpc: Vpc) -> None:
    """That is a failover, and under way; nor does an interface of the other way to carry count."""
    with pytest.raises(ConfigurationError, match="no node holds it now"):
        plan(vpc.ours, (IPv4Address("127.0.0.101"),))
    with pytest.raises(ConfigurationError, match="has it in the other way to carry"):
        plan(replace(vpc.ours, carry=Carry.ENI), (ADDRESS,))


@pytest.mark.parametrize("carry", Carry)
def test_a_handover_is_ordered_waited_for_and_taken_back(carry: Carry) -> None:
    """The order names the node, and is gone at the end; EC2 shows who has the address then."""
    vpc = Vpc(carry=carry)
    seen: list[Order | None] = []

    def obey() -> None:
        seen.append(vpc.order())
        vpc.move()

    vpc.then[12.0] = obey
    vpc.carry_out(vpc.workers[1])
    (told,) = seen
    assert told is not None
    assert told.names(vpc.workers[1])
    assert not told.names(vpc.workers[0])
    assert vpc.holder().id == vpc.enis[-1]
    assert vpc.order() is None
    assert vpc.plan(vpc.workers[1]) == (), "it has it already"
    assert vpc.said[0] == f"{ADDRESS}: asked {vpc.workers[0]} to hand it over to {vpc.workers[1]}"
    assert vpc.said[1].startswith(f"{ADDRESS}: {vpc.workers[1]} has it, ")
    assert vpc.said[1].endswith("no observer to ask for the gap")


@pytest.mark.parametrize("carry", Carry)
def test_a_handover_that_nobody_carries_out_ends_and_is_taken_back(carry: Carry) -> None:
    """With the time it was waited for; nothing has moved, and nothing will."""
    vpc = Vpc(carry=carry)
    with pytest.raises(CloudError, match=f"not handed over within {VALID_FOR:g} s"):
        vpc.carry_out()
    assert vpc.holder().id == vpc.enis[0]
    assert vpc.order() is None


def test_an_interrupted_handover_is_taken_back(vpc: Vpc) -> None:
    vpc.then[vpc.ec2.now + 1.0] = interrupt
    with pytest.raises(KeyboardInterrupt):
        vpc.carry_out()
    assert vpc.order() is None
    assert vpc.said[-1] == f"{ADDRESS}: no longer asked for"


def test_a_handover_that_nobody_is_told_of_is_taken_back(vpc: Vpc) -> None:
    """Whoever reads has enough as soon as it is ordered."""

    class Closed(list[str]):
        def append(self, line: str) -> None:
            raise BrokenPipeError

    vpc.said = Closed()
    with pytest.raises(BrokenPipeError):
        vpc.carry_out()
    assert vpc.order() is None


@pytest.mark.parametrize("ends", ["done", "in vain", "by Ctrl-C"])
def test_an_order_that_cannot_be_taken_back_hides_nothing(vpc: Vpc, ends: str) -> None:
    """What has moved has, and what has not says why; the order, which ends by itself, is told of."""

    def end() -> None:
        vpc.cloud.denied.add("CreateTags")
        if ends == "done":
            vpc.move()
        if ends == "by Ctrl-C":
            raise KeyboardInterrupt

    vpc.then[12.0] = end
    if ends == "done":
        vpc.carry_out()
    else:
        with pytest.raises(CloudError if ends == "in vain" else KeyboardInterrupt) as caught:
            vpc.carry_out()
        assert "not handed over within" in str(caught.value) or ends == "by Ctrl-C"
    told = f"{ADDRESS}: what was asked for could not be taken back, and may be obeyed until 2025-11-24T16:03:10Z: "
    assert vpc.said[-1].startswith(f"{told}IAM denies ec2:CreateTags")


def test_what_could_not_be_asked_for_is_not_taken_back(vpc: Vpc) -> None:
    """Nobody has it to obey."""
    vpc.cloud.denied.add("CreateTags")
    with pytest.raises(Denied):
        vpc.carry_out()
    assert vpc.said == []


def test_an_outage_of_ec2_in_between_is_waited_for(vpc: Vpc) -> None:
    """What EC2 does not answer is not taken for a move."""

    def end() -> None:
        vpc.cloud.reachable = True
        vpc.move()

    def begin() -> None:
        vpc.cloud.reachable = False

    vpc.then.update({11.0: begin, 20.0: end})
    vpc.carry_out()
    assert vpc.holder().id == vpc.enis[1]


def test_a_node_is_named_by_its_id_its_address_or_its_name(vpc: Vpc) -> None:
    """Whatever kubectl shows; one that is not there is an error at once."""
    worker = vpc.workers[1]
    by_id = f"{worker}.us-west-2.compute.internal"
    for name in (worker, "127.0.0.12", "ip-127-0-0-12.us-west-2.compute.internal", by_id):
        assert instance_named(vpc.cloud, "--to", name) == worker
    for name in ("127.0.0.99", "i-0123456789abcdef0", "i-pad"):
        with pytest.raises(ConfigurationError, match=f"--to {name}: no instance of this VPC"):
            instance_named(vpc.cloud, "--to", name)
    vpc.ec2.terminate(worker)
    with pytest.raises(ConfigurationError, match=f"--to {worker}: EC2 says that this instance is terminated"):
        instance_named(vpc.cloud, "--to", worker)


def test_what_is_waited_for_is_told_when_it_changes_and_all_the_time(vpc: Vpc) -> None:
    """With the seconds so far and those that are left: nobody stares at a silent terminal for three minutes."""
    attachment = vpc.attachment()
    vpc.ec2.delays = Delays(detach=2.5)
    vpc.then[15.0] = lambda: vpc.cloud.detach_eni(attachment.id, force=False)
    with pytest.raises(CloudError, match=f"not handed over within {VALID_FOR:g} s: on no instance; see"):
        vpc.carry_out()
    assert vpc.said[1:-1] == [f"{ADDRESS}: detaching from {vpc.workers[0]}", f"{ADDRESS}: on no instance"]
    assert vpc.awaited[0] == (
        f"waiting for {ADDRESS} (attached to {vpc.workers[0]}): 0 s so far, up to {VALID_FOR:.0f} s more"
    )
    assert vpc.awaited[-1].startswith(f"waiting for {ADDRESS} (on no instance): {VALID_FOR:.0f} s so far, up to ")


def test_the_gap_is_the_time_in_which_neither_node_said_that_it_holds_the_address() -> None:
    """None when both did for a while, and not known while one was never heard of."""
    gap = Gap()
    gap.hear(1.0, source_holds=True, successor_holds=False)
    assert gap.seconds() is None
    for now in (1.1, 1.2):
        gap.hear(now, source_holds=False, successor_holds=False)
    gap.hear(1.5, source_holds=False, successor_holds=True)
    gap.hear(9.0, source_holds=False, successor_holds=True)
    assert gap.seconds() == 0.5
    gap = Gap()
    gap.hear(1.0, source_holds=True, successor_holds=True)
    gap.hear(1.1, source_holds=True, successor_holds=True)
    assert gap.seconds() == 0.0


@pytest.fixture(name="observed")
def _observed(vpc: Vpc, port: int, start: Start) -> Observed:
    """Both workers have observers, and know the one on which the handover is asked for."""
    observed = Observed(vpc, start)
    observed.know("i-b")
    vpc.port, vpc.me = port, "i-b"
    return observed


def test_the_observers_are_asked_to_look_and_for_the_gap(vpc: Vpc, observed: Observed) -> None:
    """The holder's, and the one that it names, at the addresses that EC2 shows."""
    vpc.then[12.0] = observed.obey
    vpc.carry_out()
    assert "a gap of at most" in vpc.said[1]
    assert [observer.looks for observer in observed.observers] == [1, 1]


def test_an_observer_may_find_out_first_who_asks(
    vpc: Vpc, port: int, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first word is that it is there: it is asked again, or nobody would look before a minute is over."""
    monkeypatch.setattr(status_server, "PLACE_RESTS", 0.0)  # EC2's time goes faster here than the server's
    observed = Observed(vpc, start)
    vpc.port, vpc.me = port, "i-b"
    vpc.then.update({11.0: lambda: observed.know("i-b"), 14.0: observed.obey})
    vpc.carry_out()
    assert "a gap of at most" in vpc.said[1]
    assert [observer.looks for observer in observed.observers] == [1, 1]


def test_from_outside_nobody_can_be_asked_for_the_gap(vpc: Vpc, port: int, start: Start) -> None:
    """The order is obeyed all the same."""
    observed = Observed(vpc, start)
    vpc.port = port
    vpc.then[12.0] = observed.obey
    vpc.carry_out()
    assert vpc.said[1].endswith("no observer to ask for the gap")
    assert [observer.looks for observer in observed.observers] == [0, 0]


# Before it: whether anybody would obey.


@pytest.mark.usefixtures("observed")
def test_where_a_standby_is_ready_a_handover_would_work(vpc: Vpc) -> None:
    """To the named one, or to any; and it is told who holds what, and who would take it."""
    holder, standby = vpc.workers
    for to in (ANYBODY, standby):
        vpc.said.clear()
        assert vpc.check(to) == ""
        where = (
            "ip-127-0-0-11.us-west-2.compute.internal, 127.0.0.11",
            "ip-127-0-0-12.us-west-2.compute.internal, 127.0.0.12",
        )
        assert vpc.said == [f"{ADDRESS}: {holder} ({where[0]}) holds it", f"{standby} ({where[1]}): would take it"]
    assert vpc.order() is None


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"status": {"leaving": True}}, "its node is about to end"),
        ({"status": {"free_slots": 0}}, "its standing ENI is not there"),
        ({"status": {"name": "other"}}, "is not one of cluster"),
        ({"status": {"instance_id": "i-c"}}, "is not one of cluster"),
        ({"not_ready": "nft is missing"}, f"its observer is not ready: {TARGET}: nft is missing"),
    ],
    ids=lambda told: str(next(iter(told))) if isinstance(told, dict) else "",
)
@pytest.mark.parametrize("named", [True, False], ids=["named", "any"])
def test_a_standby_that_would_not_take_over_is_refused_with_its_reason(
    vpc: Vpc, observed: Observed, told: dict[str, Any], reason: str, named: bool
) -> None:
    """Instead of three minutes of waiting; nothing was ordered."""
    standby = observed.observers[1]
    standby.status = replace(standby.status, **told.get("status", {}))
    standby.not_ready = told.get("not_ready", "")
    with pytest.raises(HandoverRefused, match=reason) as caught:
        vpc.check(vpc.workers[1] if named else ANYBODY)
    assert caught.value.exit_code == 8
    assert vpc.workers[1] in str(caught.value)
    assert vpc.order() is None
    assert reason in vpc.said[-1]


def test_a_node_without_an_observer_is_refused(vpc: Vpc, observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node refuses the connection, or another observer answers from where this one is silent."""
    observed.observers[1].server.stop()
    with pytest.raises(HandoverRefused, match=f"no observer answers at 127.0.0.12:{vpc.port}"):
        vpc.check(vpc.workers[1])
    with pytest.raises(HandoverRefused, match=f"{vpc.workers[1]}: no observer answers"):
        vpc.check()
    monkeypatch.setattr(timing, "ASK_TIMEOUT", 0.2)  # however long it is
    with socket.create_server(("127.0.0.12", vpc.port), backlog=0), pytest.raises(HandoverRefused):
        vpc.check(vpc.workers[1])


def test_observers_are_asked_from_this_node_s_primary_address(vpc: Vpc, observed: Observed) -> None:
    """The kernel may prefer another one of its addresses, by which nobody would know who asks."""
    vpc.address = IPv4Address("127.0.0.9")
    for observer in observed.observers:
        observer.meet(b=str(vpc.address))
    assert vpc.check(vpc.workers[1]) == ""
    vpc.then[12.0] = observed.obey
    vpc.carry_out(vpc.workers[1])
    assert "; a gap of at most " in vpc.said[-1]


def test_a_holder_that_is_alone_is_told_so(vpc: Vpc, observed: Observed, port: int, start: Start) -> None:
    for observer in observed.observers:
        observer.server.stop()
    start("127.0.0.11", Status(NAME, vpc.workers[0])).meet(b=ASKER)
    with pytest.raises(HandoverRefused, match=f"from {vpc.workers[0]}: no other observer answers"):
        vpc.check()


def test_an_instance_of_another_cluster_is_refused(vpc: Vpc, observed: Observed) -> None:
    """It is there, but nobody of ours is on it: EC2 says so, whoever can be reached."""
    other = vpc.ec2.add_instance("127.0.0.13", vpc.subnet, tags={"kubernetes.io/cluster/other": "owned"})
    with pytest.raises(HandoverRefused, match=f"--to {other}: it is no living worker of the holder's cluster"):
        vpc.check(other)
    for observer in observed.observers:
        observer.server.stop()
    with pytest.raises(HandoverRefused, match=f"--to {other}: it is no living worker of the holder's cluster"):
        vpc.check(other)


def test_where_no_observer_can_be_reached_silence_is_no_refusal(
    vpc: Vpc, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a workstation nobody answers, whoever is there: that is said, and the order is written."""
    monkeypatch.setattr(timing, "ASK_TIMEOUT", 0.05)  # however long it is
    vpc.port = port
    with socket.create_server(("127.0.0.11", port), backlog=0), socket.create_server(("127.0.0.12", port), backlog=0):
        assert "no observer can be reached from here" in vpc.check(vpc.workers[1])
        assert "no observer tells who else is there" in vpc.check()


def test_a_stranger_is_told_at_least_whether_the_named_observer_is_ready(vpc: Vpc, port: int, start: Start) -> None:
    """From elsewhere in the VPC; who else is there is not for a stranger to know."""
    observed = Observed(vpc, start)
    vpc.port = port
    assert vpc.check(vpc.workers[1]) == ""
    assert "no observer tells who else is there" in vpc.check()
    observed.observers[1].not_ready = "nft is missing"
    # The loopback from which it is asked here is that node itself, which is told why.
    with pytest.raises(HandoverRefused, match=r"its observer is not ready: 10\.0\.0\.100: nft is missing"):
        vpc.check(vpc.workers[1])
