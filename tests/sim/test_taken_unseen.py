"""An IPv6 address is taken off our interface, whose link stays: IMDS tells so sooner than EC2 does."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.core.errors import LookAgain
from floatingip.core.model import Carry
from tests.sim.fleet import Fleet
from tests.sim.invariants import REMOVED_WITHIN
from tests.sim.line import Call

ADDRESS = IPv6Address("2001:db8:0:1::100")


def in_use(call: Call) -> None:
    """What EC2 answers where something has the address that it does not show."""
    if any(isinstance(arg, IPv4Address | IPv6Address) for arg in call.args):
        raise LookAgain(f"InvalidIPAddress.InUse: Address {ADDRESS} is in use.")


@pytest.mark.parametrize("carry", Carry)
@pytest.mark.parametrize("lag", [0.0, 2.0, 5.0])
def test_what_ec2_shows_late_does_not_bring_it_back(carry: Carry, lag: float) -> None:
    """EC2 leads it to whoever has it now, and this node's own connections to it would end at itself."""
    fleet = Fleet(1, targets=(ADDRESS,), carry=carry)
    holder, _ = fleet.observers()
    for worker in fleet.workers:
        worker.cloud.lag = lag
    fleet.at_calls("create_eni", "assign", before=in_use)
    fleet.ec2.unassign(fleet.eni(ADDRESS).id, ADDRESS)
    fleet.wait(lambda: not fleet.carrying(ADDRESS), REMOVED_WITHIN, "the holder lets go")
    fleet.holds_for(lambda: not fleet.carrying(ADDRESS), 60.0, "it stays off")
    assert holder.is_alive


@pytest.mark.parametrize("carry", Carry)
def test_it_comes_back_when_ec2_gives_it_back(carry: Carry) -> None:
    """Nobody has moved it meanwhile: who had it last claims it, or finds it there."""
    fleet = Fleet(1, targets=(ADDRESS,), carry=carry)
    holder, _ = fleet.observers()
    eni, trouble = fleet.eni(ADDRESS), fleet.at_calls("create_eni", "assign", before=in_use)
    fleet.ec2.unassign(eni.id, ADDRESS)
    fleet.wait(lambda: not fleet.carrying(ADDRESS), REMOVED_WITHIN, "the holder lets go")
    fleet.ec2.assign(eni.id, ADDRESS, reassign=False)
    fleet.wait(lambda: fleet.serving(ADDRESS) is holder.worker, 20.0, "it carries it again")
    trouble.end()


@pytest.mark.parametrize("carry", Carry)
def test_an_imds_that_lacks_it_for_a_moment_costs_no_more_than_ec2s_two_answers(carry: Carry) -> None:
    """Nothing was taken off: IMDS shows it again, so nobody waits until EC2 can have shown what IMDS told before."""
    fleet = Fleet(1, targets=(ADDRESS,), carry=carry)
    holder, _ = fleet.observers()
    fleet.run(fleet.now + 60.0)
    holder.worker.imds_lacks = frozenset({ADDRESS})
    fleet.wait(lambda: not fleet.carrying(ADDRESS), REMOVED_WITHIN, "the holder lets go")
    holder.worker.imds_lacks = frozenset()
    fleet.wait(lambda: fleet.serving(ADDRESS) is holder.worker, 4.0, "it carries it again")
