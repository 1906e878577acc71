"""Planted faults, each named by `floatingip doctor` with its cause and its remedy, in the lab's VPC."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from lab.ec2 import PROFILES
from lab.ec2.imds import Trouble
from lab.history import History
from lab.run import nemesis
from lab.run.asking import in_pod
from lab.run.floating import FLOATING_IP
from lab.run.machine import Machine
from lab.run.region import Region
from lab.run.scenarios import WITHOUT_NFT

PATIENCE = 60.0
"""Seconds within which the doctor must have said so: on a busy machine what it asks for may not come in time."""

FOREIGN, ELSEWHERE = "10.0.0.150", "10.0.9.100"
"""Addresses that somebody else has, and of a subnet in another zone."""

Findings = list[dict[str, str]]
Plant = Callable[[Region, Machine], AbstractContextManager[object]]


@pytest.fixture(name="region", scope="module")
def _region(in_sandbox: None) -> Iterator[Region]:
    with History() as history, Region(PROFILES["instant"], history, settings={"service": "tcp:30007"}) as region:
        region.deploy()
        yield region


def doctor(region: Region, machine: Machine, environment: Mapping[str, str] | None = None) -> Findings:
    """`kubectl exec POD -c observer -- floatingip doctor --json` on this machine, with more in its environment."""
    process = in_pod(region, machine, "doctor", "--json", f"--within={PATIENCE}", environment=environment)
    out, err = process.communicate()
    assert out, err
    found: Findings = json.loads(out)
    assert process.returncode == any(each["verdict"] == "fail" for each in found)
    return found


def until(region: Region, enough: Callable[[Findings], bool], environment: Mapping[str, str] | None = None) -> Findings:
    """What the doctor finds on the standby, once that is enough."""
    deadline = time.monotonic() + PATIENCE
    while not enough(found := doctor(region, region.standbys()[0], environment)):
        if time.monotonic() > deadline:
            pytest.fail("\n".join(map(str, found)))
    return found


def failing(found: Findings, check: str) -> str:
    """What a check says that fails, and what to do about it."""
    mine = (each for each in found if (each["check"], each["verdict"]) == (check, "fail"))
    return "\n".join(f"{each['what']} -> {each['remedy']}" for each in mine)


def test_nothing_is_wrong_where_all_is_well(region: Region) -> None:
    """Nor is anything unknown, on the holder and on the standby, beside their observers."""
    for machine in region.machines.values():
        deadline = time.monotonic() + PATIENCE
        while wrong := [each for each in doctor(region, machine) if each["verdict"] != "ok"]:
            assert time.monotonic() < deadline, wrong


@contextmanager
def port_closed(region: Region, _standby: Machine) -> Iterator[None]:
    """The workers' security group admits no TCP 9807 among them."""
    nemesis.close_port(region)
    yield
    nemesis.open_port(region)


@contextmanager
def icmp_closed(region: Region, _standby: Machine) -> Iterator[None]:
    """It admits no ICMP."""
    region.fabric.close_icmp(FLOATING_IP)
    yield
    region.fabric.open_icmp(FLOATING_IP)


def permission_missing(region: Region, standby: Machine) -> AbstractContextManager[object]:
    """IAM denies what a takeover begins with."""
    return region.ec2.faults.deny({"AttachNetworkInterface"}, standby.instance.instance_id)


@contextmanager
def no_slot(region: Region, standby: Machine) -> Iterator[None]:
    """Others have all of the standby's interfaces."""
    client, attached = region.administrator, []
    for index in (1, 2):
        eni = client.create_network_interface(SubnetId=region.ec2.subnet_id)["NetworkInterface"]["NetworkInterfaceId"]
        attached.append(
            client.attach_network_interface(
                NetworkInterfaceId=eni, InstanceId=standby.instance.instance_id, DeviceIndex=index
            )["AttachmentId"]
        )
    yield
    for attachment in attached:
        client.detach_network_interface(AttachmentId=attachment)


@contextmanager
def nftables_kube_proxy(_region: Region, standby: Machine) -> Iterator[None]:
    """kube-proxy serves NodePorts at the node's primary address only."""
    namespace, address = standby.worker.namespace, standby.worker.address
    namespace.nft(
        f"table ip kube-proxy {{\n set nodeport-ips {{\n type ipv4_addr; elements = {{ {address} }}\n }}\n}}\n"
    )
    yield
    namespace.nft("delete table ip kube-proxy\n")


@contextmanager
def imds_off(_region: Region, standby: Machine) -> Iterator[None]:
    """IMDS answers nobody."""
    standby.imds.trouble = Trouble.DOWN
    yield
    standby.imds.trouble = None


@contextmanager
def taken_and_misplaced(region: Region, _standby: Machine) -> Iterator[None]:
    """An interface that is not ours has one address, the other is another zone's."""
    client = region.administrator
    eni = client.create_network_interface(SubnetId=region.ec2.subnet_id, PrivateIpAddress=FOREIGN)
    region.ec2.add_subnet("10.0.9.0/24", "us-west-2-lax-1b")
    yield
    client.delete_network_interface(NetworkInterfaceId=eni["NetworkInterface"]["NetworkInterfaceId"])


@contextmanager
def nothing(_region: Region, _standby: Machine) -> Iterator[None]:
    """The environment has it all."""
    yield


GROUP = "security group admit"


@pytest.mark.parametrize(
    ("plants", "environment", "named"),
    [
        pytest.param(
            (port_closed, permission_missing, no_slot, nftables_kube_proxy),
            {},
            {
                "port": ("answers pings, but nothing on TCP 9807", f"{GROUP} TCP 9807"),
                "permissions": ("IAM denies ec2:AttachNetworkInterface", "allow ec2:AttachNetworkInterface to this"),
                "slots": (" has no free ENI slot", "MAX_ENI"),
                "kube-proxy": (f"not at {FLOATING_IP}", "set its nodePortAddresses to [0.0.0.0/0]"),
            },
            id="port-permission-slot-kube_proxy",
        ),
        pytest.param(
            (icmp_closed,),
            {},
            {"icmp": (f"{FLOATING_IP}: probe blocked: i-", f"{GROUP} ICMP")},
            id="icmp",
        ),
        pytest.param(
            (icmp_closed, port_closed),
            {},
            {
                "icmp": ("answers neither pings nor TCP 9807", f"{GROUP} ICMP and TCP 9807"),
                "port": ("nothing on TCP 9807", f"{GROUP} TCP 9807"),
                "workers": ("no other observer answers", ""),
            },
            id="group",
        ),
        pytest.param(
            (imds_off,),
            {"PATH": WITHOUT_NFT},
            {
                "imds": ("IMDS does not answer", "is the instance's metadata endpoint enabled"),
                "nft": ("nft: command not found", "the image must contain nftables"),
            },
            id="imds-nft",
        ),
        pytest.param(
            (nothing,),
            {"AWS_EC2_METADATA_DISABLED": "true"},
            {"credentials": ("no AWS credentials", "give the pod a role")},
            id="credentials",
        ),
        pytest.param(
            (taken_and_misplaced,),
            {"FLOATING_IP": f"{FOREIGN},{ELSEWHERE}"},
            {
                "owner": (f"{FOREIGN}: eni-", "free it there or choose another address"),
                "place": (f"{ELSEWHERE} is in subnet-", "run on nodes of us-west-2-lax-1b only"),
            },
            id="owner-zone",
        ),
    ],
)
def test_each_planted_fault_is_named_with_its_cause_and_its_remedy(
    region: Region, plants: tuple[Plant, ...], environment: Mapping[str, str], named: Mapping[str, tuple[str, str]]
) -> None:
    """By the check that looks at it; several at once, where they have nothing to do with each other."""
    standby = region.standbys()[0]
    with ExitStack() as planted:
        for plant in plants:
            planted.enter_context(plant(region, standby))
        found = until(region, lambda found: all(failing(found, check) for check in named), environment)
    for check, (cause, remedy) in named.items():
        said = failing(found, check)
        assert cause in said
        assert remedy in said
