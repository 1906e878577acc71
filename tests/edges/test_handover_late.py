"""What became of a handover while nobody looked: the machine slept, as a laptop does, or another node took over."""

import pytest

from floatingip.commands.handing_over import VALID_FOR
from floatingip.core.decision.order import ANYBODY
from floatingip.core.errors import CloudError
from floatingip.core.model import Carry
from tests.edges.handed_over import ADDRESS, Vpc


@pytest.mark.parametrize("carry", Carry)
def test_what_moved_while_nobody_looked_has_moved(carry: Carry) -> None:
    """The last answer of EC2 is from before."""
    vpc = Vpc(carry=carry)

    def sleep() -> None:
        vpc.move()
        vpc.ec2.advance(vpc.ec2.now + 2 * VALID_FOR)

    vpc.then[12.0] = sleep
    vpc.carry_out()
    assert vpc.said[-1].startswith(f"{ADDRESS}: {vpc.workers[1]} has it, ")
    assert vpc.order() is None


def test_what_did_not_move_ends_all_the_same() -> None:
    """Also where EC2 does not answer then."""
    vpc = Vpc()

    def sleep() -> None:
        vpc.ec2.advance(vpc.ec2.now + 2 * VALID_FOR)
        vpc.cloud.reachable = False

    vpc.then[12.0] = sleep
    with pytest.raises(CloudError, match="not handed over within"):
        vpc.carry_out()


@pytest.mark.parametrize("carry", Carry)
def test_an_address_that_another_node_has_taken_was_not_handed_over(carry: Carry) -> None:
    """A failover in the midst of it: whoever is about to end that one's node goes by the exit code."""
    vpc = Vpc(carry=carry)
    named = vpc.ec2.add_instance("127.0.0.13", vpc.subnet)
    vpc.then[12.0] = vpc.move
    with pytest.raises(CloudError, match=f"{ADDRESS} on {vpc.workers[1]}: not handed over to {named}"):
        vpc.carry_out(named)
    assert vpc.said[1].startswith(f"{ADDRESS}: {vpc.workers[1]} has it, ")
    assert vpc.order() is None
    assert vpc.plan(ANYBODY)[0].source == vpc.workers[1]
