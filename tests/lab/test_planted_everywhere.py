"""Planted faults that all nodes of a region have: the doctor, `/readyz` and the log name cause and remedy alike."""

from contextlib import ExitStack

import pytest

from floatingip.core.model import Carry
from lab.ec2 import PROFILES
from lab.history import History
from lab.run import nemesis
from lab.run.region import Region
from lab.run.scenario import Nemesis
from lab.run.scenarios import WITHOUT_NFT
from tests.lab.planted import Fault, Planted


@pytest.mark.parametrize("carry", [pytest.param(Carry.ENI, marks=pytest.mark.more), Carry.ADDRESS])
def test_a_missing_nft_is_named_everywhere(in_sandbox: None, carry: Carry) -> None:
    """By the holder; where addresses move, by a standby beforehand, too."""
    settings = {"carry": str(carry)}
    with (
        History() as history,
        Region(PROFILES["instant"], history, environment={"PATH": WITHOUT_NFT}, settings=settings) as region,
    ):
        region.deploy(ready=False)
        planted = Planted(region, {"holder": region.holder()})
        if carry is Carry.ADDRESS:
            planted.at["standby"] = region.standbys()[0]
        for where in planted.at:
            planted.expect(Fault(where, "nft", "nft: command not found", "the image must contain nftables"))


ICMP = Fault("standby", "icmp", "probe blocked", "security group admit ICMP")
PORT = Fault("standby", "workers", "no other observer answers on TCP 9807", "security group admit TCP 9807 from itself")


@pytest.mark.more
@pytest.mark.parametrize(
    ("closed", "fault"),
    [pytest.param(nemesis.close_icmp, ICMP, id="icmp"), pytest.param(nemesis.close_port, PORT, id="port")],
)
def test_a_closed_security_group_is_named_everywhere(in_sandbox: None, closed: Nemesis, fault: Fault) -> None:
    """By a standby, while nothing moves."""
    with ExitStack() as stack:
        history = stack.enter_context(History())
        region = stack.enter_context(Region(PROFILES["instant"], history))
        region.deploy()
        holder = region.holder()
        closed(region, holder)
        Planted(region, {"standby": region.standbys()[0]}).expect(fault)
        assert region.holder() is holder


@pytest.mark.more
def test_a_security_group_that_never_admitted_anything_is_named_everywhere(in_sandbox: None) -> None:
    """By a standby, until it tries whether it is the holder that is dead."""
    with ExitStack() as stack:
        history = stack.enter_context(History())
        region = stack.enter_context(Region(PROFILES["instant"], history))
        nemesis.close_icmp(region, region.machines["worker-a"])
        nemesis.close_port(region)
        region.deploy(ready=False)
        both = "security group admit ICMP and TCP 9807 among the workers"
        standby = region.standbys()[0]
        Planted(region, {"standby": standby}).expect(Fault("standby", "icmp", "nobody was reached: ", both))
