"""An address of the node's own, or of a pod on it, as FLOATING_IP: refused, and nothing on the node is touched."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.ec2 import PROFILES
from lab.history import History
from lab.run.machine import Machine
from lab.run.region import Region

ROOT = Path(__file__).resolve().parents[2]
POD = "10.0.0.50"


@pytest.fixture(name="region", scope="module")
def _region(in_sandbox: None) -> Iterator[Region]:
    """One worker, whose primary interface has the address of a pod beside its own."""
    with History() as history, Region(PROFILES["instant"], history, workers=1) as region:
        [machine] = region.machines.values()
        region.administrator.assign_private_ip_addresses(
            NetworkInterfaceId=machine.instance.eni_id, PrivateIpAddresses=[POD]
        )
        yield region


def refuse(
    region: Region, machine: Machine, settings: Path, carry: str, address: object, owner: str = "", tag: str = ""
) -> None:
    """Run `attach`, which refuses the address and says so: an ENI has it, by default the primary one, with that tag."""
    settings.write_text(f"port: 20998\ncarry: {carry}\n", encoding="utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "FLOATING_IP": str(address),
        "AWS_ENDPOINT_URL_EC2": region.ec2.endpoint_url,
    }
    process = machine.worker.namespace.popen(
        [sys.executable, "-m", "floatingip", "attach", "--settings", str(settings)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 5, said
    owner = owner or machine.instance.eni_id
    assert f"{owner} (tag floatingip={tag}) has the address and is not ours: nothing is touched" in said


def shown(machine: Machine, what: str) -> str:
    """What the node shows of itself by some commands."""
    return machine.worker.namespace.run(["sh", "-c", what])


def given(machine: Machine, whose: str) -> object:
    """The address of that kind."""
    return {"own": machine.instance.address, "own-ipv6": machine.instance.ipv6, "pod": POD}[whose]


ADDRESSES = "ip -oneline address show dev eth0"
ALL = f"{ADDRESSES}; ip rule; ip -6 rule; nft list tables"


@pytest.mark.parametrize("whose", ["own", "own-ipv6", "pod"])
@pytest.mark.parametrize(("carry", "what"), [("eni", ALL), ("address", ADDRESSES)])
def test_an_address_that_the_node_needs_stays_as_it_is(
    region: Region, tmp_path: Path, carry: str, what: str, whose: str
) -> None:
    """IMDS shows it here before EC2 has said whose it is; then a kubelet's IPv6 address was taken off its link.

    Standing interfaces are made and plumbed ahead, whosever the address is now, but on their own links.
    """
    [machine] = region.machines.values()
    before = shown(machine, what)
    refuse(region, machine, tmp_path / "settings.yaml", carry, given(machine, whose))
    assert shown(machine, what) == before
