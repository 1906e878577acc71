"""What a security group has to admit is named as it is called there: by IPv6 pings are another protocol."""

from ipaddress import IPv6Address

import pytest

from floatingip.commands.doctor import fleet
from floatingip.commands.doctor.fleet import Reached
from floatingip.core.decision.decision import Reason
from floatingip.core.model import Address
from tests.core.deciders import ADDRESS
from tests.core.movers import Mover

IPV6 = IPv6Address("2001:db8:0:1::100")
BOTH = pytest.mark.parametrize(("address", "ping"), [(ADDRESS, "ICMP"), (IPV6, "ICMPv6")], ids=str)


def observer(address: Address) -> Mover:
    """One that has seen this address answer."""
    made = Mover(target=address)
    made.see(0.0, Mover.began_by)
    return made


@BOTH
def test_a_blocked_probe_names_the_protocol_that_is_to_be_admitted(address: Address, ping: str) -> None:
    """The holder vouches for the address, which answers neither by ping nor by TCP."""
    blocked = observer(address)
    for at in (10.0, 10.2, 10.4, 10.6, 10.8):
        blocked.see(at, "ec2:i-a word:sound/seen probe:L")
    decision = blocked.see(11.5, "ec2:i-a word:sound/seen probe:L")
    assert decision.reason is Reason.PROBE_BLOCKED
    assert decision.sentence.endswith(f"let its security group admit {ping} and the observers' TCP port")


@BOTH
def test_a_blocked_ping_names_it_as_well(address: Address, ping: str) -> None:
    """It answers by TCP alone; the doctor says the same."""
    blocked = observer(address)
    blocked.see(10.0, "ec2:i-a probe:L word:sound")
    decision = blocked.see(10.2, "probe:T word:sound")
    assert decision.reason is Reason.PING_BLOCKED
    assert decision.sentence.endswith(f"let its security group admit {ping}")
    found, *_ = fleet.icmp([], [Reached(address, "i-b", pinged=False)], 9807)
    assert found.remedy == f"let its security group admit {ping}"
    found, *_ = fleet.icmp([], [Reached(address, "i-b", pinged=False, knocked=False)], 9807)
    assert found.remedy.endswith(f"let the security group admit {ping} and TCP 9807 among the workers")
