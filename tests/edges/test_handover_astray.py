"""A handover to one node, and a failover to another one in the midst of it."""

import pytest

from floatingip.core.decision.order import ANYBODY
from floatingip.core.errors import CloudError
from floatingip.core.model import Carry
from tests.edges.handed_over import ADDRESS, Vpc


@pytest.mark.parametrize("carry", Carry)
def test_an_address_that_another_node_has_taken_was_not_handed_over(carry: Carry) -> None:
    """Whoever is about to end that one's node goes by the exit code."""
    vpc = Vpc(carry=carry)
    named = vpc.ec2.add_instance("127.0.0.13", vpc.subnet)
    vpc.then[12.0] = vpc.move
    with pytest.raises(CloudError, match=f"{ADDRESS} on {vpc.workers[1]}: not handed over to {named}"):
        vpc.carry_out(named)
    assert vpc.said[1].startswith(f"{ADDRESS}: {vpc.workers[1]} has it, ")
    assert vpc.order() is None
    assert vpc.plan(ANYBODY)[0].source == vpc.workers[1]
