"""The node to which an address is handed over: it can obey no more, or has the address and does not carry it."""

import re
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from floatingip.commands import successor
from floatingip.commands.handing_over import CARRIED_WITHIN, VALID_FOR
from floatingip.commands.handover import HandoverRefused, check
from floatingip.commands.observers import TOO_FAR_AHEAD
from floatingip.core.decision.order import ANYBODY
from floatingip.core.ec2 import AttachmentStatus, Eni
from floatingip.core.errors import CloudError, ConfigurationError
from floatingip.core.model import Carry
from floatingip.core.word import Held
from floatingip.runtime import status_server
from tests.edges.handed_over import ADDRESS, Observed, Vpc
from tests.edges.observers import Start
from tests.fakes.ec2 import Delays

BEGAN = 10.0
"""When a handover is asked for, by EC2's clock."""

Ended = Callable[[Vpc, Observed], None]


@pytest.fixture(name="vpc")
def _vpc() -> Vpc:
    return Vpc()


@pytest.fixture(name="observed")
def _observed(vpc: Vpc, port: int, start: Start, monkeypatch: pytest.MonkeyPatch) -> Observed:
    """Both workers have observers, and know the one on which the handover is asked for."""
    monkeypatch.setattr(status_server, "PLACE_RESTS", 0.0)  # EC2's time goes faster here than the server's
    observed = Observed(vpc, start)
    observed.know("i-b")
    vpc.port, vpc.me = port, "i-b"
    return observed


def leave(_vpc: Vpc, observed: Observed) -> None:
    """Its node is about to end, as its observer says."""
    standby = observed.observers[1]
    standby.status = replace(standby.status, leaving=True)


def die(vpc: Vpc, observed: Observed) -> None:
    """It is terminated, and tells nobody."""
    observed.observers[1].server.stop()
    vpc.ec2.terminate(vpc.workers[1])


@pytest.mark.parametrize(
    ("ends", "why"),
    [(leave, "its node is about to end"), (die, "EC2 says that its instance is (shutting-down|terminated)")],
)
def test_a_named_node_that_ends_is_not_waited_for(vpc: Vpc, observed: Observed, ends: Ended, why: str) -> None:
    """Nobody else obeys that order: it is taken back, and the reason is told."""
    vpc.then[12.0] = lambda: ends(vpc, observed)
    with pytest.raises(CloudError, match=f"{ADDRESS}: not handed over to {vpc.workers[1]}: {why}") as told:
        vpc.carry_out(vpc.workers[1])
    assert told.value.exit_code == 3
    assert vpc.ec2.now < 12.0 + 2 * successor.LASTS + 2 * successor.ASKED_EVERY < BEGAN + VALID_FOR
    assert vpc.order() is None
    assert vpc.said[-1] == f"{ADDRESS}: no longer asked for"


def test_a_node_that_ends_where_no_observer_can_be_asked_is_known_by_ec2(vpc: Vpc) -> None:
    """As from a workstation."""
    vpc.then[12.0] = lambda: vpc.ec2.terminate(vpc.workers[1])
    with pytest.raises(CloudError, match="EC2 says that its instance is "):
        vpc.carry_out(vpc.workers[1])
    assert vpc.order() is None


def test_what_a_node_says_of_its_end_may_be_taken_back(vpc: Vpc, observed: Observed) -> None:
    """As one that Kubernetes had written off for a moment."""
    standby = observed.observers[1]

    def stay() -> None:
        standby.status = replace(standby.status, leaving=False)

    vpc.then.update({12.0: lambda: leave(vpc, observed), 14.0: stay, 30.0: observed.obey})
    vpc.carry_out(vpc.workers[1])
    assert f"{ADDRESS}: {vpc.workers[1]} has it, " in vpc.said[-1]


def test_a_named_node_that_ends_while_it_takes_the_address_is_waited_for(vpc: Vpc, observed: Observed) -> None:
    """EC2 has promised it, as it says, though EC2 shows it where it was."""
    standby = observed.observers[1]

    def take() -> None:
        standby.status = replace(standby.status, leaving=True, claiming=(str(ADDRESS),))

    vpc.then.update({12.0: take, 30.0: observed.obey})
    vpc.carry_out(vpc.workers[1])
    assert f"{ADDRESS}: {vpc.workers[1]} has it, " in vpc.said[-1]


def test_a_named_node_that_ends_after_it_has_fenced_the_address_is_waited_for() -> None:
    """EC2 shows that nobody has it: whoever has fenced it goes on."""
    vpc = Vpc(carry=Carry.ENI)
    first = vpc.attachment().id
    vpc.then[12.0] = lambda: vpc.cloud.detach_eni(first, force=False)
    vpc.then[13.0] = lambda: vpc.ec2.terminate(vpc.workers[1])
    with pytest.raises(CloudError, match=r"not handed over within .* s: on no instance"):
        vpc.carry_out(vpc.workers[1])


def test_anybody_is_waited_for_though_the_only_standby_ends(vpc: Vpc, observed: Observed) -> None:
    """Another one may come; that nobody is left until then is told, once."""
    vpc.then.update({12.0: lambda: leave(vpc, observed), 40.0: observed.obey})
    vpc.carry_out(ANYBODY)
    [line] = [line for line in vpc.said if "nobody is left" in line]
    assert line.startswith(f"{ADDRESS}: nobody is left who could take it, until another observer comes: ")
    assert line.endswith(
        f"{vpc.workers[1]} (ip-127-0-0-12.us-west-2.compute.internal, 127.0.0.12): its node is about to end"
    )
    assert f"{ADDRESS}: {vpc.workers[1]} has it, " in vpc.said[-1]


def test_that_nobody_is_left_is_told_of_a_standby_that_has_died(vpc: Vpc, observed: Observed) -> None:
    """EC2 says so; as the holder serves on, the order stands as long as any."""
    vpc.then[12.0] = lambda: die(vpc, observed)
    with pytest.raises(CloudError, match=f"not handed over within .* s: attached to {vpc.workers[0]}"):
        vpc.carry_out(ANYBODY)
    [line, *_] = [line for line in vpc.said if "nobody is left" in line]
    assert re.search(r"\): EC2 says that its instance is (shutting-down|terminated)$", line)


def test_while_one_that_could_take_it_is_there_nobody_is_missed(vpc: Vpc, observed: Observed) -> None:
    """The only standby is not ready for a while, which is told; a holder that is about to end is why one hands over."""

    def lack() -> None:
        holder, standby = observed.observers
        holder.status = replace(holder.status, leaving=True)
        standby.not_ready = "nft is missing"

    vpc.then.update({12.0: lack, 40.0: observed.obey})
    vpc.carry_out(ANYBODY)
    assert not [line for line in vpc.said if "nobody is left" in line]
    assert len([line for line in vpc.said if "its observer is not ready: 10.0.0.100: nft is missing" in line]) == 1


def test_a_named_node_that_is_no_longer_ready_says_why(vpc: Vpc, observed: Observed) -> None:
    """Once for each cause; it is waited for, as that may pass."""
    standby = observed.observers[1]

    def lack() -> None:
        standby.not_ready = "nft is missing"

    vpc.then.update({12.0: lack, 30.0: observed.obey})
    vpc.carry_out(vpc.workers[1])
    lacking = [line for line in vpc.said if "not ready" in line]
    assert len(lacking) == 1
    assert lacking[0].startswith(f"{vpc.workers[1]} (")
    assert lacking[0].endswith("its observer is not ready: 10.0.0.100: nft is missing")


# It has the address.


@pytest.mark.parametrize(
    ("holds", "why"),
    [
        ({str(ADDRESS): Held("a2", "nft is missing")}, "nft is missing"),
        ({}, "its observer does not say yet that it holds it"),
    ],
    ids=["badly", "not yet"],
)
def test_an_address_that_its_new_holder_does_not_carry_was_not_handed_over(
    vpc: Vpc, observed: Observed, holds: dict[str, Held], why: str
) -> None:
    """EC2 shows it there, but no client is answered: whoever is about to end the old node goes by the exit code."""

    def obey() -> None:
        observed.obey()
        standby = observed.observers[1]
        standby.status = replace(standby.status, holds=holds)

    vpc.then[12.0] = obey
    with pytest.raises(CloudError, match=f"{ADDRESS} on {vpc.workers[1]}: handed over, but not carried there") as told:
        vpc.carry_out()
    assert told.value.exit_code == 3
    assert f"{ADDRESS}: {vpc.workers[1]} has it, " in vpc.said[-1]
    assert vpc.said[-1].endswith(f"; but does not carry it: {why}")
    assert vpc.ec2.now > BEGAN + CARRIED_WITHIN
    assert vpc.order() is None


def test_what_its_new_holder_says_counts_though_the_address_was_carried_for_a_moment(
    vpc: Vpc, observed: Observed
) -> None:
    """It said so once, or another one did, by which the gap is known; now it tells that it does not."""

    def fail() -> None:
        vpc.move()
        standby = observed.observers[1]
        standby.status = replace(standby.status, holds={str(ADDRESS): Held("a2", "nft is missing")})

    vpc.then.update({12.0: lambda: observed.hold(1), 14.0: fail})
    with pytest.raises(CloudError, match=f"{ADDRESS} on {vpc.workers[1]}: handed over, but not carried there"):
        vpc.carry_out()
    assert vpc.said[-1].endswith("; but does not carry it: nft is missing")


def test_a_slow_device_is_waited_for(vpc: Vpc, observed: Observed) -> None:
    """It takes up to 20 s; meanwhile it is told where the address is."""

    def obey() -> None:
        observed.obey()
        standby = observed.observers[1]
        standby.status = replace(standby.status, holds={})

    vpc.then.update({12.0: obey, 30.0: lambda: observed.hold(1)})
    vpc.carry_out()
    assert "a gap of at most 1" in vpc.said[-1]
    assert f"waiting for {ADDRESS} (attached to {vpc.workers[1]})" in vpc.awaited[-1]


# Nobody has it just now.


@pytest.mark.parametrize("status", [AttachmentStatus.DETACHING, AttachmentStatus.ATTACHING])
def test_what_is_on_its_way_is_named_with_where(status: AttachmentStatus) -> None:
    """It is not that nobody holds it, and nothing to do."""
    vpc = Vpc(carry=Carry.ENI)
    vpc.ec2.delays = Delays(detach=5.0, attach=5.0)
    vpc.cloud.detach_eni(vpc.attachment().id, force=False)
    where = f"detaching from {vpc.workers[0]}"
    if status is AttachmentStatus.ATTACHING:
        vpc.ec2.advance(vpc.ec2.now + 6.0)
        vpc.cloud.attach_eni(vpc.enis[0], vpc.workers[1], frozenset())
        where = f"attaching to {vpc.workers[1]}"
    with pytest.raises(ConfigurationError, match=f"{ADDRESS}: EC2 shows it {where}; run it again once that has ended"):
        vpc.plan()


def test_a_named_node_whose_clock_is_ahead_is_refused(vpc: Vpc, observed: Observed) -> None:
    """The order would be over before it is read: nobody would obey, nor say so."""
    standby = observed.observers[1]
    for ahead in (-3600.0, 0.0, TOO_FAR_AHEAD - 5.0):
        standby.wall = vpc.ours.wall() + ahead
        assert vpc.check(vpc.workers[1]) == ""
    standby.wall = vpc.ours.wall() + 245.0
    with pytest.raises(
        HandoverRefused, match=f"--to {vpc.workers[1]}: its clock is 4 min [0-9]+ s ahead of this one's"
    ):
        vpc.check(vpc.workers[1])


# EC2 does not tell.


def test_how_long_ec2_has_not_told_is_said() -> None:
    """Where it showed the address last may be long ago: also at the end."""
    vpc = Vpc()

    def fall_silent() -> None:
        vpc.cloud.reachable = False

    vpc.then[20.0] = fall_silent
    with pytest.raises(CloudError) as told:
        vpc.carry_out()
    assert re.search(r"attached to i-\d+; EC2 has not told for 17\d s: ", str(told.value))
    assert "EC2 has not told" not in vpc.awaited[0]
    assert re.search(r"; EC2 has not told for \d\d s: ", vpc.awaited[100])


def test_what_cannot_be_read_is_not_told_as_on_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interface that has the address is shown, but not in full."""
    vpc = Vpc()
    describe_enis = vpc.cloud.describe_enis

    def shown(name: str) -> tuple[Eni, ...]:
        odd = 15.0 < vpc.ec2.now < 40.0
        return tuple(replace(eni, unread="no MacAddress" if odd else "") for eni in describe_enis(name))

    monkeypatch.setattr(vpc.cloud, "describe_enis", shown)
    vpc.then[50.0] = vpc.move
    vpc.carry_out()
    assert [line for line in vpc.said if "on no instance" in line] == []
    assert any(f"{vpc.enis[0]} cannot be read: no MacAddress" in line for line in vpc.awaited)
    assert f"{ADDRESS}: {vpc.workers[1]} has it, " in vpc.said[-1]


# Before it.


@pytest.mark.parametrize("is_named", [True, False])
def test_nothing_is_ordered_where_there_is_room_for_some_of_the_addresses(
    vpc: Vpc, observed: Observed, is_named: bool
) -> None:
    """The others would be detached, be attached again where they were, and waited for for three minutes; where only
    addresses move it tells no number.  Those that have one interface together move together.
    """
    standby, [move] = observed.observers[1], vpc.plan(vpc.workers[1] if is_named else ANYBODY)
    apart = (move, replace(move, target=IPv4Address("127.0.0.101"), eni=replace(move.eni, id="eni-other")))
    assert check(vpc.ours, apart) == ""
    standby.status = replace(standby.status, free_slots=1)
    assert check(vpc.ours, (move, replace(apart[1], eni=move.eni))) == ""
    who = f"--to {vpc.workers[1]}: it has" if is_named else f"from {vpc.workers[0]}: the others have"
    said = f"{who} room for 1 of the 2 interfaces that have the addresses; name fewer by FLOATING_IP"
    with pytest.raises(HandoverRefused, match=said):
        check(vpc.ours, apart)


def test_those_who_change_places_make_room_for_each_other(vpc: Vpc, observed: Observed) -> None:
    """Each has one slot, and gives away as many interfaces as it gets."""
    for observer in observed.observers:
        observer.status = replace(observer.status, free_slots=1)
    [move] = vpc.plan()
    there, back = (each.attachment for each in (move.eni, vpc.ec2.state.enis[vpc.enis[1]]))
    moves = [
        replace(move, target=IPv4Address(f"127.0.0.{last}"), eni=replace(move.eni, id=f"eni-{last}", attachment=bound))
        for last, bound in ((101, there), (102, there), (103, back), (104, back))
    ]
    assert check(vpc.ours, tuple(moves)) == ""
    with pytest.raises(HandoverRefused, match="room for 2 of the 3 interfaces"):
        check(vpc.ours, (*moves[:3], replace(moves[0], eni=replace(move.eni, id="eni-105", attachment=there))))
