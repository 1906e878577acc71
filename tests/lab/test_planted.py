"""
Planted faults: `floatingip doctor`, `/readyz` and the log name each, with the same cause and the same remedy.

Each fault is one node's, or everybody's, and has nothing to do with the others; so one region has them all.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from floatingip.core.model import Carry
from lab.ec2 import PROFILES
from lab.ec2.imds import ROLE, Imds, Trouble
from lab.history import History
from lab.kubernetes.cluster import OBSERVERS
from lab.run.asking import in_pod
from lab.run.floating import FLOATING_IP
from lab.run.machine import Machine
from lab.run.region import FEW, Region
from tests.lab.planted import PATIENCE, Fault, Planted, readyz
from tests.waiting import until

FOREIGN, ELSEWHERE = "10.0.0.150", "10.0.9.100"
"""Addresses that somebody else has, and of a subnet in another zone."""


# A region, each of whose nodes but one lacks something of its own.

FAULTS = [
    Fault("denied", "permissions", "IAM denies ec2:{claim}", "allow ec2:{claim} to this pod's role"),
    Fault("full", "slots", " has no free ENI slot", "keep one free (the VPC CNI's MAX_ENI)"),
    Fault("bare", "credentials", "no AWS credentials", "give the pod a role"),
    Fault("deaf", "imds", "IMDS does not answer", "is the instance's metadata endpoint enabled"),
    Fault("holder", "kube-proxy", f", not at {FLOATING_IP}", "set its nodePortAddresses to [0.0.0.0/0]"),
    Fault("denied", "owner", "has the address and is not ours", "free it there or choose another address"),
    Fault("denied", "place", f"{ELSEWHERE} is in subnet-", "run on nodes of us-west-2-lax-1b only"),
]
CLAIM = {Carry.ENI: "AttachNetworkInterface", Carry.ADDRESS: "AssignPrivateIpAddresses"}


@pytest.fixture(
    name="afflicted",
    scope="module",
    params=[pytest.param(Carry.ENI, marks=pytest.mark.more), pytest.param(Carry.ADDRESS, marks=pytest.mark.long)],
)
def _afflicted(in_sandbox: None, request: pytest.FixtureRequest) -> Iterator[Planted]:
    carry = request.param
    with ExitStack() as stack:
        history = stack.enter_context(History())
        region = stack.enter_context(
            Region(
                PROFILES["instant"],
                history,
                workers=5,
                addresses=(FLOATING_IP, FOREIGN, ELSEWHERE),
                settings={"service": "tcp:30007", "carry": str(carry)},
                instance_type=FEW,
            )
        )
        holder, denied, full, bare, deaf = region.machines.values()
        client = region.administrator
        client.create_network_interface(SubnetId=region.ec2.subnet_id, PrivateIpAddress=FOREIGN)
        region.ec2.add_subnet("10.0.9.0/24", "us-west-2-lax-1b")
        region.ec2.faults.deny({CLAIM[carry]}, denied.instance.instance_id)
        for index in (1, 2):
            made = client.create_network_interface(SubnetId=region.ec2.subnet_id)["NetworkInterface"]
            client.attach_network_interface(
                NetworkInterfaceId=made["NetworkInterfaceId"], InstanceId=full.instance.instance_id, DeviceIndex=index
            )
        withhold_credentials(bare.imds)
        # The one node that can take the address takes it before there are others.
        for machine in (denied, full, bare, deaf):
            region.cluster.cordon(machine.name)
        region.cluster.apply(region.text("floating-ip.yaml"))
        until(lambda: bool(region.logged(event="decision", reason="HELD_HERE", address=FLOATING_IP)))
        for machine in (denied, full, bare, deaf):
            region.cluster.uncordon(machine.name)
        region.cluster.scale(OBSERVERS, 5)
        serve_primary_only(holder)
        # Before it knows which node it is, its observer would end for want of IMDS.
        until(lambda: ELSEWHERE in readyz(deaf, region))
        deaf.imds.trouble = Trouble.DOWN
        yield Planted(region, {"holder": holder, "denied": denied, "full": full, "bare": bare, "deaf": deaf})


def withhold_credentials(imds: Imds) -> None:
    """The instance has no role."""
    imds.notices["iam/security-credentials/"] = imds.notices[f"iam/security-credentials/{ROLE}"] = ""


def serve_primary_only(machine: Machine) -> None:
    """kube-proxy in nftables mode, with nodePortAddresses as by default."""
    machine.worker.namespace.nft(
        "table ip kube-proxy {\n set nodeport-ips {\n"
        f" type ipv4_addr; elements = {{ {machine.worker.address} }}\n }}\n}}\n"
    )


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.check)
def test_a_fault_of_one_node_or_of_an_address_is_named_everywhere(afflicted: Planted, fault: Fault) -> None:
    claim = CLAIM[Carry(afflicted.region.carry)]
    afflicted.expect(Fault(fault.where, fault.check, fault.cause.format(claim=claim), fault.remedy.format(claim=claim)))


# What keeps `attach` from coming up: there is no observer, and its own last lines are the doctor's.


@pytest.mark.parametrize(
    ("address", "code", "check", "cause", "remedy"),
    [
        (FOREIGN, 5, "owner", "has the address and is not ours", "free it there or choose another address"),
        (ELSEWHERE, 2, "place", f"{ELSEWHERE} is in subnet-", "run on nodes of us-west-2-lax-1b only"),
    ],
    ids=["foreign", "zone"],
)
def test_an_attach_that_cannot_go_on_ends_with_cause_and_remedy(
    afflicted: Planted, address: str, code: int, check: str, cause: str, remedy: str
) -> None:
    """By its own error, and by the doctor's line after it."""
    process = in_pod(afflicted.region, afflicted.at["holder"], "attach", environment={"FLOATING_IP": address})
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    [error, *others] = [line for line in err.splitlines() if line.startswith("floatingip attach: ")]
    [told] = [line for line in others if line.startswith(f"floatingip attach: doctor: fail  {check}: ")]
    for line in (error, told):
        assert cause in line
        assert remedy in line


def test_an_attach_without_imds_names_cause_and_remedy_at_once_and_goes_on_when_it_answers(afflicted: Planted) -> None:
    """It ends only after minutes: kubelet would start it again after longer and longer pauses."""
    machine = afflicted.at["holder"]
    machine.imds.trouble = Trouble.DOWN
    try:
        process = in_pod(afflicted.region, machine, "attach", environment={"FLOATING_IP": FOREIGN})
        assert process.stdout is not None
        told = next(line for line in process.stdout if "event=imds" in line)
    finally:
        machine.imds.trouble = None
    assert "IMDS does not answer" in told
    assert "is the instance's metadata endpoint enabled" in told
    out, _ = process.communicate(timeout=PATIENCE)
    assert "IMDS answers again" in out
