"""EC2 gives a new standing ENI whatever address of its subnet is free: that may be a floating one."""

from ipaddress import IPv4Address

from floatingip.core.model import Carry
from tests.sim.fleet import INSTANT, Fleet

NEXT = IPv4Address("10.0.0.4")
"""The address that EC2 gives to the next interface of the subnet."""

WITHIN = 60.0
"""Seconds in which another ENI is made, and then the one that is in the way is given back."""


def fleet() -> Fleet:
    """Nobody has started yet."""
    return Fleet(1, profile=INSTANT, carry=Carry.ADDRESS, targets=(NEXT,))


def test_a_standing_eni_that_got_the_floating_address_as_its_own_is_replaced() -> None:
    """It cannot carry that, nor let another one have it; attach waits, and what takes its place gets another one."""
    vpc = fleet()
    first, second = vpc.workers
    attach = first.attach()
    vpc.wait(lambda: [eni.address for eni in vpc.standing(first)] == [NEXT], 5, "the first one's ENI has it")
    vpc.wait(lambda: attach.end is not None, WITHIN, "attach ends")
    assert attach.end is not None
    assert attach.end.error is None
    assert vpc.serving(NEXT) is first
    second.start()
    vpc.run(vpc.now + WITHIN)
    assert [[eni.address != NEXT for eni in vpc.standing(worker)] for worker in vpc.workers] == [[True], [True]]
    assert len(vpc.enis(NEXT)) == 1


def test_an_address_that_a_dead_nodes_standing_eni_got_as_its_own_is_freed_by_another_node() -> None:
    """It ended before it could replace that."""
    vpc = fleet()
    first, second = vpc.workers
    first.start()
    vpc.wait(lambda: bool(vpc.standing(first)), 5, "its ENI is there")
    first.cut_power()
    vpc.ec2.terminate(first.id)
    observer = second.start()
    vpc.wait(lambda: bool(observer.logged(reason="CANNOT_CLAIM")), 10, "the other one cannot take it")
    said = observer.published.not_ready()
    assert f"EC2 gave {NEXT} to {vpc.standing(first)[0].id}, a standing ENI, as its own" in said
    vpc.wait(lambda: vpc.serving(NEXT) is second, WITHIN, "it serves")
    assert not vpc.standing(first)
