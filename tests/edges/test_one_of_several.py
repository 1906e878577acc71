"""
What concerns one address keeps nobody from another one: an interface of ours that cannot be read, as by an answer of
EC2's that is odd, and is neither absent nor free for that; or an address that nobody has.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from floatingip.commands import pause, status
from floatingip.commands.handover import plan
from floatingip.core.decision import pause as pauses
from floatingip.core.ec2 import Eni
from floatingip.core.errors import CloudUnavailable, ConfigurationError
from floatingip.core.model import Carry
from floatingip.core.overview import Verdict
from floatingip.core.settings import Settings
from tests.edges.handed_over import ADDRESS, NAME, WALL, Vpc

Unread = Callable[[str], None]

ODD = "attachment's status 'odd'"


@pytest.fixture(name="vpc", params=Carry)
def _vpc(request: pytest.FixtureRequest) -> Vpc:
    vpc = Vpc(carry=request.param)
    if vpc.carry is Carry.ENI:  # one of another address
        vpc.enis.append(vpc.cloud.create_eni(None, vpc.subnet, {"floatingip": NAME}, "two").id)
    return vpc


@pytest.fixture(name="unread")
def _unread(vpc: Vpc, monkeypatch: pytest.MonkeyPatch) -> Unread:
    """Have EC2 show this interface so from now on."""
    describe_enis = vpc.cloud.describe_enis

    def have(eni_id: str) -> None:
        def shown(name: str) -> tuple[Eni, ...]:
            found = describe_enis(name)
            return tuple(replace(eni, attachment=None, unread=ODD) if eni.id == eni_id else eni for eni in found)

        monkeypatch.setattr(vpc.cloud, "describe_enis", shown)

    return have


def paused(vpc: Vpc) -> list[bool]:
    """Of each interface."""
    return [pauses.ends_at(vpc.ec2.state.enis[eni].tags, WALL) > WALL for eni in vpc.enis]


def test_another_ones_address_can_be_handed_over(vpc: Vpc, unread: Unread) -> None:
    """With the one that has the address it cannot, and that is said."""
    unread(vpc.enis[1])
    assert [move.source for move in vpc.plan()] == [vpc.workers[0]]
    unread(vpc.enis[0])
    with pytest.raises(CloudUnavailable, match=rf"{vpc.enis[0]} cannot be read: {ODD}"):
        vpc.plan()


def test_a_node_hands_over_what_it_has_and_gets_nothing_for_it() -> None:
    """As before its maintenance: of two workers that have an address each, both would change places otherwise."""
    vpc, other = Vpc(carry=Carry.ENI), ADDRESS + 1
    eni = vpc.cloud.create_eni(other, vpc.subnet, {"floatingip": NAME}, "two").id
    vpc.cloud.attach_eni(eni, vpc.workers[1], frozenset())
    vpc.ec2.advance(vpc.ec2.now + 10.0)
    assert [move.target for move in plan(vpc.ours, (ADDRESS, other))] == [ADDRESS, other]
    for worker, target in zip(vpc.workers, (ADDRESS, other), strict=True):
        assert [move.target for move in plan(vpc.ours, (ADDRESS, other), source=worker)] == [target]
        assert plan(vpc.ours, (ADDRESS, other), to=worker, source=worker) == ()


def test_what_cannot_be_read_can_be_paused(vpc: Vpc, unread: Unread) -> None:
    """A tag needs the interface's id; and what is ended is ended there, too."""
    for eni in vpc.enis:
        unread(eni)
        pause.begin(vpc.ours, [ADDRESS], 600.0, vpc.console)
        assert paused(vpc) == [True, vpc.carry is Carry.ADDRESS]
        assert pause.end(vpc.ours, [ADDRESS], vpc.console)
        assert not any(paused(vpc))
    assert vpc.said == []


def test_one_of_which_nothing_can_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be another node's, to which the address moves: whoever waits for a pause has to know."""
    vpc = Vpc(carry=Carry.ADDRESS)
    describe_enis = vpc.cloud.describe_enis

    def shown(name: str) -> tuple[Eni, ...]:
        one, other = describe_enis(name)
        return one, replace(other, tags={}, unread="no tag floatingip")

    monkeypatch.setattr(vpc.cloud, "describe_enis", shown)
    pause.begin(vpc.ours, [ADDRESS], 600.0, vpc.console)
    assert paused(vpc) == [True, False]
    assert vpc.said == [f"{vpc.enis[1]} cannot be read: no tag floatingip, so it is as it was; run it again"]


def test_status_does_not_call_down_what_may_be_there(vpc: Vpc, unread: Unread) -> None:
    """It called the address nobody's; what is on another interface is known."""
    settings = Settings((ADDRESS,), name=NAME, carry=vpc.carry)
    unread(vpc.enis[1])
    shown = status.look(settings, None, lambda: vpc.cloud)
    assert (shown.verdict, shown.addresses[0].holder) == (Verdict.HEALTHY, vpc.workers[0])
    unread(vpc.enis[0])
    shown = status.look(settings, None, lambda: vpc.cloud)
    assert shown.verdict is Verdict.UNKNOWN
    assert f"what EC2 says now: {vpc.enis[0]} cannot be read: {ODD}" in shown.unknown


def test_an_address_that_nobody_has_need_not_keep_anybody_from_the_others(vpc: Vpc) -> None:
    """As in the night: which command does without it is said."""
    nobodys = ADDRESS + 7
    with pytest.raises(ConfigurationError) as told:
        plan(vpc.ours, (nobodys, ADDRESS))
    does = f"to leave it out: `env FLOATING_IP={ADDRESS} floatingip"
    assert str(told.value) == f"{nobodys}: no node holds it now; nothing to hand over; {does} handover`"
    with pytest.raises(ConfigurationError) as told:
        pause.begin(vpc.ours, [nobodys, ADDRESS], 600.0)
    assert str(told.value) == f"{nobodys}: no interface of {NAME} has it; nothing to pause; {does} pause`"
