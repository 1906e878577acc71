"""A handover is waited for by a machine that sleeps meanwhile, as a laptop does: what it wakes up to is asked for."""

import pytest

from floatingip.commands.handover import VALID_FOR
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
