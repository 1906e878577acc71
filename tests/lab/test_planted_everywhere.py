"""Planted faults that all nodes of a region have: the doctor, `/readyz` and the log name cause and remedy alike."""

from collections.abc import Iterator

import pytest

from floatingip.core.model import Carry
from lab.ec2 import PROFILES
from lab.history import History
from lab.network.fabric import VPC_CIDR
from lab.run.floating import FLOATING_IP
from lab.run.machine import Machine
from lab.run.region import Region
from lab.run.scenarios import WITHOUT_NFT
from tests.lab.planted import Fault, Planted

GROUP = "security group admit"

# Nodes that do not hear each other.


@pytest.fixture(name="pair")
def _pair(in_sandbox: None) -> Iterator[Region]:
    with History() as history, Region(PROFILES["instant"], history) as region:
        region.deploy()
        yield region


def close_port(machine: Machine) -> None:
    """The workers' security group admits no TCP 9807 there from other workers."""
    machine.worker.namespace.nft(
        "table inet closed { chain in { type filter hook input priority 0;\n"
        f"ip saddr {VPC_CIDR} ip saddr != {machine.worker.address} tcp dport 9807 drop\n"
        "}\n}\n"
    )


def test_what_a_security_group_closes_is_named_everywhere(pair: Region) -> None:
    """ICMP alone, then TCP 9807 as well, then TCP 9807 alone."""

    def expect(check: str, cause: str, remedy: str) -> None:
        Planted(pair, {"standby": pair.standbys()[0]}).expect(Fault("standby", check, cause, remedy))

    pair.fabric.close_icmp(FLOATING_IP)
    expect("icmp", "probe blocked: i-", f"let its {GROUP} ICMP")
    for machine in pair.machines.values():
        close_port(machine)
    expect("icmp", "nobody was reached: ", f"{GROUP} ICMP and TCP 9807 among the workers")
    pair.fabric.open_icmp(FLOATING_IP)
    expect("workers", "no other observer answers on TCP 9807", f"{GROUP} TCP 9807 from itself")


# Nodes that cannot carry it.


@pytest.mark.parametrize("carry", list(Carry))
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
