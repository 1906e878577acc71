"""A holder was relieved of an address, and IMDS goes on showing it there: the new holder's word has EC2 asked."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.core.model import Address, Carry
from floatingip.core.node import Notice
from tests.sim.fleet import Fleet
from tests.sim.invariants import REMOVED_WITHIN

LATE = 30.0
"""Seconds by which IMDS is late: so long that it tells nothing within this test."""

CALM_AFTER = 25.0
"""Seconds after which EC2 is asked once a minute only."""


def relieved(address: Address, late: float = LATE) -> Fleet:
    """Some standby has just taken the address from a worker whose end is announced, and says so."""
    fleet = Fleet(1, workers=3, targets=(address,), carry=Carry.ADDRESS)
    (holder, *_) = fleet.observers()
    fleet.run(fleet.now + CALM_AFTER)
    for worker in fleet.workers:
        worker.imds_lag = late
    holder.worker.notice = Notice("spot", "terminate")
    fleet.wait(lambda: fleet.serving(address) not in (None, holder.worker), 20, "a standby has it")
    return fleet


@pytest.mark.parametrize("address", [IPv4Address("10.0.0.100"), IPv6Address("2001:db8:0:1::100")])
def test_a_holder_that_hears_of_another_one_lets_go_though_imds_is_late(address: Address) -> None:
    """Its own connections to the address would end at itself for as long as IMDS is late, else up to a minute."""
    fleet = relieved(address)
    fleet.wait(lambda: len(fleet.carrying(address)) == 1, REMOVED_WITHIN, "the old holder lets go")


def test_what_another_observer_says_takes_an_address_from_nobody() -> None:
    """EC2 shows it here: then it stays, and EC2 is asked less and less often."""
    address = IPv4Address("10.0.0.100")
    fleet = relieved(address, late=120.0)
    old, new = fleet.workers[0], fleet.serving(address)
    assert new is not None
    old.cloud.reachable = False  # So it goes on saying that it has the address.
    fleet.holds_for(lambda: fleet.serving(address) is new, 50.0, "the new holder keeps it")
    before = len(fleet.calls("describe_enis", by=new))
    fleet.holds_for(lambda: fleet.serving(address) is new, 20.0, "the new holder keeps it")
    assert 1 <= len(fleet.calls("describe_enis", by=new)) - before <= 4, "one a second would be twenty"
