"""Two people who hand the same address over at the same time: neither takes back what the other one asks for."""

import errno
import signal
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from floatingip.commands.handover import plan
from floatingip.commands.orders import SHOWN_WITHIN, Orders
from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.ec2 import OWNER_TAG, Eni
from floatingip.core.errors import CloudError, Denied
from floatingip.core.model import Carry
from tests.edges.handed_over import ADDRESS, NAME, WALL, Vpc, interrupt

OTHER = IPv4Address("127.0.0.101")


def ask_also(vpc: Vpc, to: str) -> None:
    """Somebody else has it handed over, as another `floatingip handover` writes it."""
    ordered = order.render(vpc.attachment().id, to, WALL + 600.0)
    vpc.cloud.tag_eni(vpc.enis[0], {way_to(vpc.carry).of_one(order.TAG, ADDRESS): ordered})


@pytest.mark.parametrize("carry", Carry)
def test_whoever_goes_leaves_the_order_that_came_after_his_own(carry: Carry) -> None:
    """By Ctrl-C here; the other one would wait for three minutes for what nobody knows of any more."""
    vpc = Vpc(carry=carry)
    vpc.then[12.0] = lambda: ask_also(vpc, vpc.workers[1])
    vpc.then[14.0] = interrupt
    with pytest.raises(KeyboardInterrupt):
        vpc.carry_out()
    left = vpc.order()
    assert left is not None
    assert left.to == vpc.workers[1]
    overruled = f"{ADDRESS}: by now somebody else asks for it, to go to {vpc.workers[1]} until 2025-11-24T16:10:00Z"
    assert vpc.said[1:] == [overruled]


def test_whoever_has_what_he_asked_for_leaves_what_is_asked_for_onwards() -> None:
    """The address is there, and the first one only waits for the end: its interface has another attachment by now."""
    vpc = Vpc(carry=Carry.ENI)

    def move_and_ask() -> None:
        vpc.move()
        vpc.ec2.advance(vpc.ec2.now + 5.0)
        ask_also(vpc, vpc.workers[0])

    vpc.then[12.0] = move_and_ask
    vpc.carry_out()
    left = vpc.order()
    assert left is not None
    assert left.to == vpc.workers[0]
    assert (
        f"{ADDRESS}: by now somebody else asks for it, to go to {vpc.workers[0]} until 2025-11-24T16:10:00Z" in vpc.said
    )


def test_what_no_observer_understands_is_left_to_whoever_wrote_it() -> None:
    """It may be an order of another version's."""
    vpc = Vpc()
    tag = way_to(vpc.carry).of_one(order.TAG, ADDRESS)
    vpc.then[12.0] = lambda: vpc.cloud.tag_eni(vpc.enis[0], {tag: "soon"})
    vpc.then[14.0] = interrupt
    with pytest.raises(KeyboardInterrupt):
        vpc.carry_out()
    assert vpc.holder().tags[tag] == "soon"
    assert f"{ADDRESS}: by now somebody else asks for it, by `soon`, which says nothing to an observer" in vpc.said


def test_an_order_that_stood_there_before_is_told_and_replaced() -> None:
    """Two who see that talk to each other."""
    vpc = Vpc()
    ask_also(vpc, vpc.workers[1])
    vpc.then[12.0] = interrupt
    with pytest.raises(KeyboardInterrupt):
        vpc.carry_out()
    before = f"{ADDRESS}: replaced: somebody has asked for it, to go to {vpc.workers[1]} until 2025-11-24T16:10:00Z"
    assert before in vpc.said
    assert vpc.order() is None
    assert vpc.said[-1] == f"{ADDRESS}: no longer asked for"


def test_an_answer_of_before_does_not_hide_ones_own_order() -> None:
    """EC2 shows tags late: what it showed before the order was written is not somebody else's of after it."""
    vpc = Vpc()
    ask_also(vpc, vpc.workers[1])
    (move,) = vpc.plan()
    orders = Orders(vpc.ours, WALL + 180.0, vpc.console)
    before = vpc.cloud.describe_enis(vpc.ours.name)
    orders.give(move)
    orders.compare(before)
    assert orders.take_back() == {}
    assert vpc.order() is None


@pytest.mark.parametrize("shows_late", [False, True])
def test_an_order_that_came_since_the_plan_is_replaced(shows_late: bool) -> None:
    """Between the two this looks for whoever would obey.  EC2 may show it only after our own was written."""
    vpc = Vpc()
    (move,) = vpc.plan()
    vpc.ec2.advance(vpc.ec2.now + 5.0)
    ask_also(vpc, vpc.workers[1])
    others = vpc.cloud.describe_enis(vpc.ours.name)
    vpc.cloud.lag = 2.0 if shows_late else 0.0
    orders = Orders(vpc.ours, WALL + 180.0, vpc.console)
    orders.give(move)
    vpc.cloud.lag = 0.0
    orders.compare(others)
    orders.compare(vpc.cloud.describe_enis(vpc.ours.name))
    assert orders.lasting(ADDRESS)
    assert orders.take_back() == {}
    assert vpc.order() is None
    words = f"to go to {vpc.workers[1]} until 2025-11-24T16:10:00Z"
    asked = f"{ADDRESS}: asked {vpc.workers[0]} to hand it over to any standby"
    if shows_late:
        counts = f"{ADDRESS}: that was before: what was asked for here counts"
        assert vpc.said == [asked, f"{ADDRESS}: by now somebody else asks for it, {words}", counts]
    else:
        assert vpc.said == [f"{ADDRESS}: replaced: somebody has asked for it, {words}", asked]


def test_two_who_ask_for_the_same_in_one_second_are_told_apart() -> None:
    """Whoever was first would take the other one's order back for his own."""
    vpc = Vpc()
    (move,) = vpc.plan()
    first, second = (Orders(vpc.ours, WALL + 180.0, vpc.console) for _ in range(2))
    first.give(move)
    second.give(move)
    assert first.take_back() == {}
    left = vpc.order()
    assert left is not None
    assert second.lasting(ADDRESS)
    assert second.take_back() == {}
    assert vpc.order() is None


def test_an_order_that_could_not_be_replaced_is_not_told_as_replaced() -> None:
    vpc = Vpc()
    ask_also(vpc, vpc.workers[1])
    vpc.cloud.denied.add("CreateTags")
    with pytest.raises(Denied):
        vpc.carry_out()
    assert vpc.said == []


def test_whoever_breaks_off_the_taking_back_is_told_only_of_his_own_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else waits for the other one."""
    vpc = Vpc()
    vpc.then[12.0] = lambda: ask_also(vpc, vpc.workers[1])

    def interrupt_twice() -> None:
        monkeypatch.setattr(vpc.cloud, "describe_enis", lambda _: interrupt())
        interrupt()

    vpc.then[14.0] = interrupt_twice
    with pytest.raises(KeyboardInterrupt):
        vpc.carry_out()
    assert not any("may be obeyed" in line for line in vpc.said)


def test_nobody_waits_once_no_order_stands() -> None:
    """The one that came after was taken back: nothing is to move any more."""
    vpc = Vpc()
    tag = way_to(vpc.carry).of_one(order.TAG, ADDRESS)
    vpc.then[12.0] = lambda: ask_also(vpc, vpc.workers[1])
    vpc.then[14.0] = lambda: vpc.cloud.tag_eni(vpc.enis[0], {tag: ""})
    with pytest.raises(CloudError, match=f"{ADDRESS}: not handed over: no order stands any more; run handover again"):
        vpc.carry_out()
    assert vpc.ec2.now < 16.0
    ended = f"{ADDRESS}: somebody has taken back what was asked for: no order stands any more"
    assert vpc.said[-1] == ended


@pytest.mark.parametrize("carry", Carry)
def test_nobody_waits_for_an_order_that_was_taken_away_by_hand(carry: Carry) -> None:
    """By `aws ec2 delete-tags`: known some seconds after EC2 has shown the order, since it may show tags late."""
    vpc = Vpc(carry=carry)
    tag = way_to(carry).of_one(order.TAG, ADDRESS)
    vpc.then[14.0] = lambda: vpc.cloud.tag_eni(vpc.enis[0], {tag: ""})
    with pytest.raises(CloudError, match=f"{ADDRESS}: not handed over: no order stands any more; run handover again"):
        vpc.carry_out()
    assert 14.0 + SHOWN_WITHIN < vpc.ec2.now < 16.0 + SHOWN_WITHIN
    assert vpc.said[-1] == f"{ADDRESS}: somebody has taken back what was asked for: no order stands any more"


def test_an_order_that_ec2_leaves_out_for_a_moment_stands() -> None:
    """One answer may be older than another that came before it."""
    vpc = Vpc()
    tag = way_to(vpc.carry).of_one(order.TAG, ADDRESS)

    def hide() -> None:
        given = vpc.holder().tags[tag]
        vpc.cloud.tag_eni(vpc.enis[0], {tag: ""})
        vpc.then[vpc.ec2.now + 2.0] = lambda: vpc.cloud.tag_eni(vpc.enis[0], {tag: given})

    vpc.then[14.0] = hide
    vpc.then[30.0] = vpc.move
    vpc.carry_out()
    assert vpc.order() is None


@pytest.mark.parametrize("carry", Carry)
def test_whoever_has_what_he_asked_for_takes_his_order_back_while_it_moves(carry: Carry) -> None:
    """The address is on its way then, or there: the one before sees it arrive."""
    vpc = Vpc(carry=carry)
    tag = way_to(vpc.carry).of_one(order.TAG, ADDRESS)
    vpc.then[12.0] = lambda: ask_also(vpc, vpc.workers[1])

    def move_and_take_back() -> None:
        vpc.move()
        vpc.cloud.tag_eni(vpc.enis[0], {tag: ""})
        if carry is Carry.ADDRESS:
            vpc.ec2.advance(vpc.ec2.now + 2.0)

    vpc.then[14.0] = move_and_take_back
    vpc.carry_out()
    assert any(f"{ADDRESS}: {vpc.workers[1]} has it" in line for line in vpc.said)


def test_a_terminal_that_is_closed_breaks_no_taking_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its signal comes second, where a word could not be written there already; nobody waits for the end."""
    vpc = Vpc()
    (move,) = vpc.plan()
    orders = Orders(vpc.ours, WALL + 180.0, vpc.console)
    orders.give(move)
    describe_enis = vpc.cloud.describe_enis

    def close(_: str) -> tuple[Eni, ...]:
        monkeypatch.setattr(vpc.cloud, "describe_enis", describe_enis)
        raise KeyboardInterrupt(signal.SIGHUP)

    monkeypatch.setattr(vpc.cloud, "describe_enis", close)
    assert orders.take_back() == {}
    assert vpc.order() is None


def test_an_order_ends_with_its_interface() -> None:
    """As where somebody releases it meanwhile: nobody can obey it any more."""
    vpc = Vpc(carry=Carry.ENI)

    def release() -> None:
        vpc.cloud.detach_eni(vpc.attachment().id, force=True)
        vpc.ec2.advance(vpc.ec2.now + 10.0)
        vpc.cloud.delete_eni(vpc.enis[0])

    vpc.then[12.0] = release
    with pytest.raises(CloudError, match="not handed over within 180 s: on no instance"):
        vpc.carry_out()
    assert not any("may be obeyed" in line for line in vpc.said)


def test_nobody_has_to_hear_that_an_order_is_taken_back() -> None:
    """Its reader, such as `head`, is gone; what is said of another order keeps this one from nothing."""
    vpc = Vpc(carry=Carry.ENI)
    vpc.cloud.create_eni(OTHER, vpc.subnet, {OWNER_TAG: NAME}, "two")
    (other,) = vpc.cloud.find_occupants(frozenset({OTHER}))
    vpc.cloud.attach_eni(other.id, vpc.workers[0], frozenset())
    vpc.ec2.advance(vpc.ec2.now + 10.0)
    moves = plan(vpc.ours, (ADDRESS, OTHER))
    heard = [f"{move.target}: asked {vpc.workers[0]} to hand it over to any standby" for move in moves]

    def say(text: str) -> None:
        if text not in heard:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    orders = Orders(vpc.ours, WALL + 180.0, replace(vpc.console, say=say))
    for move in moves:
        orders.give(move)
    ask_also(vpc, vpc.workers[1])
    assert orders.take_back() == {}
    assert not orders.lasting(ADDRESS)
    tags = vpc.ec2.state.enis[other.id].tags
    assert tags[way_to(vpc.carry).of_one(order.TAG, OTHER)] == ""
