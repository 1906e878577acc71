"""A pause: for as long as it lasts, nobody takes the address from its holder."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from floatingip.commands.console import Console
from floatingip.commands.deployment import Deployment
from floatingip.commands.pause import begin, end
from floatingip.core.decision import order, pause
from floatingip.core.decision.decision import Decision
from floatingip.core.ec2 import OWNER_TAG, STANDING_TAG
from floatingip.core.errors import ConfigurationError
from floatingip.core.model import Carry
from floatingip.core.wording import clock
from floatingip.core.writes import Detach
from tests.core.deciders import WALL, Observer, shown
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import Delays, FakeEc2

UNTIL = WALL + 600


def see(observer: Observer, now: float, words: str, tags: dict[str, str]) -> Decision:
    """What the observer decides once EC2 shows these tags, too."""
    owner = observer._owner(now, "a1@i-a", "", "cluster")
    assert owner.eni is not None
    shown_now = replace(owner, eni=replace(owner.eni, tags={**owner.eni.tags, **tags}))
    return observer.see(now, words, owner=shown_now)


def test_a_dead_holder_keeps_the_address_until_the_pause_is_over() -> None:
    """It ends by itself, and then the address is taken over at once."""
    observer, paused = Observer().fall(), {pause.TAG: str(UNTIL)}
    decision = see(observer, 10.1, "probe:L", paused)
    assert shown(decision) == "doubt PAUSED R3"
    assert decision.look_at <= 600
    assert f"nothing is to move before {clock(UNTIL)}" in decision.sentence
    assert shown(late := see(observer, 599.0, "probe:L", paused)) == "doubt PAUSED R3"
    assert late.sentence == decision.sentence
    assert see(observer, 600.1, "probe:L", paused).write == Detach("a1")


def test_a_pause_that_is_taken_back_is_over() -> None:
    """By an empty tag, as `resume` leaves it."""
    observer = Observer().fall()
    assert shown(see(observer, 10.1, "probe:L", {pause.TAG: str(UNTIL)})) == "doubt PAUSED R3"
    assert see(observer, 12.0, "probe:L", {pause.TAG: ""}).write == Detach("a1")


def test_a_handover_that_somebody_asks_for_is_no_move_by_itself() -> None:
    """It is made in a pause as well: whoever orders it has the same right."""
    observer = Observer()
    observer.see(0.0, "ec2:a1@i-a link:none probe:AA word:sound")
    asked = {order.TAG: order.render("a1", order.ANYBODY, UNTIL), pause.TAG: str(UNTIL)}
    assert see(observer, 5.0, "probe:A word:sound", asked).write == Detach("a1")


@pytest.mark.parametrize(
    "value", ["", "soon", "-1", str(WALL - 1), str(WALL + int(pause.LONGEST) + 60), "9" * 40, "１２３"]
)
def test_what_is_no_end_within_a_day_is_no_pause(value: str) -> None:
    """Whatever somebody wrote there."""
    assert pause.ends_at({pause.TAG: value}, WALL) == float("-inf")


NAME, ADDRESS = "cluster", IPv4Address("10.0.0.100")


def deployment(cloud: FakeCloud, carry: Carry) -> Deployment:
    """What a command has found out."""
    return Deployment(cloud, NAME, "vpc-1", carry, 9807, wall=lambda: WALL)


@pytest.mark.parametrize("carry", Carry)
def test_a_pause_is_on_every_interface_that_can_have_the_address(carry: Carry) -> None:
    """With `address` that is each node's own; and it is taken off again, once."""
    ec2 = FakeEc2(Delays())
    subnet, cloud = ec2.add_subnet("10.0.0.0/24"), FakeCloud(ec2)
    tags = {OWNER_TAG: NAME}
    if carry is Carry.ENI:
        enis = [cloud.create_eni(ADDRESS, subnet, tags, "token")]
    else:
        workers = [ec2.add_instance(f"10.0.0.{last}", subnet) for last in (11, 12)]
        enis = [cloud.create_eni(None, subnet, tags | {STANDING_TAG: each}, each) for each in workers]
        cloud.assign(enis[0].id, ADDRESS, reassign=False)
    ec2.advance(10.0)
    ours = deployment(cloud, carry)
    ends_at = begin(ours, [ADDRESS], 600)
    assert ends_at == UNTIL
    assert [pause.ends_at(eni.tags, WALL) for eni in cloud.describe_enis(NAME)] == [UNTIL] * len(enis)
    assert end(ours, [ADDRESS])
    assert not end(ours, [ADDRESS])


def test_a_pause_of_one_address_that_is_one_of_all_says_so() -> None:
    """With `address` the others are on the same interfaces, and who names one only has to know."""
    ec2 = FakeEc2(Delays())
    subnet, cloud, told = ec2.add_subnet("10.0.0.0/24"), FakeCloud(ec2), list[str]()
    worker = ec2.add_instance("10.0.0.11", subnet)
    standing = cloud.create_eni(None, subnet, {OWNER_TAG: NAME, STANDING_TAG: worker}, worker)
    for address in (ADDRESS, ADDRESS + 1):
        cloud.assign(standing.id, address, reassign=False)
    cloud.attach_eni(standing.id, worker, frozenset())
    ec2.advance(10.0)
    for targets in ([ADDRESS], [ADDRESS, ADDRESS + 1]):
        begin(deployment(cloud, Carry.ADDRESS), targets, 600, Console(told.append))
        end(deployment(cloud, Carry.ADDRESS), targets, Console(told.append))
    assert told == ["with `carry: address` that holds for all addresses: for 10.0.0.101, too"] * 2


def test_an_address_that_no_interface_has_cannot_be_paused() -> None:
    """Said in one line, before anything is tagged."""
    with pytest.raises(ConfigurationError, match=r"10\.0\.0\.100: no interface of cluster has it"):
        begin(deployment(FakeCloud(FakeEc2(Delays())), Carry.ENI), [ADDRESS], 600)
