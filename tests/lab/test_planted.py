"""
Planted faults: `floatingip doctor`, `/readyz` and the log name each, with the same cause and the same remedy.

Each fault is one node's, or everybody's, and has nothing to do with the others; so a few regions have them all.
"""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from floatingip.core.model import Carry
from lab.ec2 import PROFILES
from lab.ec2.imds import ROLE, Imds, Trouble
from lab.history import History
from lab.kubernetes.cluster import OBSERVERS
from lab.network.fabric import VPC_CIDR
from lab.run.asking import in_pod
from lab.run.region import FEW, FLOATING_IP, Machine, Region
from lab.run.scenarios import WITHOUT_NFT

PATIENCE = 120.0
"""Seconds within which all three must have said so: what lasts for 30 s is warned of, and this machine may be busy."""

FOREIGN, ELSEWHERE = "10.0.0.150", "10.0.9.100"
"""Addresses that somebody else has, and of a subnet in another zone."""

GROUP = "security group admit"


@dataclass(frozen=True)
class Fault:
    """What must be said on the node ``where``: by the doctor's ``check``, at `/readyz` and in the log."""

    where: str
    check: str
    cause: str
    remedy: str


@dataclass
class Planted:
    """A region in trouble; ``at`` are its machines by what is wrong there."""

    region: Region
    at: dict[str, Machine]

    def expect(self, fault: Fault) -> None:
        """Wait until all three name the fault."""
        deadline = time.monotonic() + PATIENCE
        while lacking := self._lacking(fault):
            if time.monotonic() > deadline:
                pytest.fail("\n".join(lacking))
            time.sleep(1.0)

    def _lacking(self, fault: Fault) -> list[str]:
        machine = self.at[fault.where]
        logged = [e["fields"].get("msg", "") for e in self.region.logged() if e["node"] == machine.name]
        # The doctor comes last: it costs most.
        for name, said in (
            ("/readyz", lambda: [readyz(machine, self.region)]),
            ("the log", lambda: logged),
            ("the doctor", lambda: doctor(self.region, machine, fault.check)),
        ):
            lines = said()
            if not any(fault.cause in line and fault.remedy in line for line in lines):
                return [f"{name} of {machine.name} lacks {fault.cause!r} with {fault.remedy!r}:", *lines]
        return []


def readyz(machine: Machine, region: Region) -> str:
    """What its observer answers the kubelet."""

    def ask() -> str:
        connection = http.client.HTTPConnection(machine.worker.address, 9807, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    try:
        return machine.worker.namespace.call(ask)
    except OSError as error:
        return f"{type(error).__name__}: {[pod.phase for pod in region.cluster.pods()]}"


def doctor(region: Region, machine: Machine, check: str) -> list[str]:
    """What a check says that fails there, with what to do."""
    try:
        process = in_pod(region, machine, "doctor", "--json", "--within=60")
    except LookupError as error:
        return [str(error)]
    out, err = process.communicate(timeout=PATIENCE)
    assert out, err
    found = json.loads(out)
    assert process.returncode == any(each["verdict"] == "fail" for each in found)
    return [f"{e['what']} -> {e['remedy']}" for e in found if (e["check"], e["verdict"]) == (check, "fail")]


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


@pytest.fixture(name="afflicted", scope="module", params=list(Carry))
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
        wait(lambda: bool(region.logged(event="decision", reason="HELD_HERE", address=FLOATING_IP)))
        for machine in (denied, full, bare, deaf):
            region.cluster.uncordon(machine.name)
        region.cluster.scale(OBSERVERS, 5)
        serve_primary_only(holder)
        # Before it knows which node it is, its observer would end for want of IMDS.
        wait(lambda: ELSEWHERE in readyz(deaf, region))
        deaf.imds.trouble = Trouble.DOWN
        yield Planted(region, {"holder": holder, "denied": denied, "full": full, "bare": bare, "deaf": deaf})


def wait(condition: Callable[[], bool]) -> None:
    """Until this is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


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
    """By all who are asked there."""
    claim = CLAIM[Carry(afflicted.region.carry)]
    afflicted.expect(Fault(fault.where, fault.check, fault.cause.format(claim=claim), fault.remedy.format(claim=claim)))


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


# What keeps `attach` from coming up: there is no observer, and its own last lines are the doctor's.


@pytest.mark.parametrize(
    ("address", "plant", "code", "check", "cause", "remedy"),
    [
        pytest.param(
            FOREIGN,
            lambda _: None,
            5,
            "owner",
            "has the address and is not ours",
            "free it there or choose another address",
            id="foreign",
        ),
        pytest.param(
            ELSEWHERE,
            lambda _: None,
            2,
            "place",
            f"{ELSEWHERE} is in subnet-",
            "run on nodes of us-west-2-lax-1b only",
            id="zone",
        ),
        pytest.param(
            FLOATING_IP,
            lambda machine: setattr(machine.imds, "trouble", Trouble.DOWN),
            7,
            "imds",
            "IMDS does not answer",
            "is the instance's metadata endpoint enabled",
            id="imds",
        ),
    ],
)
def test_an_attach_that_cannot_go_on_ends_with_cause_and_remedy(
    afflicted: Planted,
    address: str,
    plant: Callable[[Machine], None],
    code: int,
    check: str,
    cause: str,
    remedy: str,
) -> None:
    """By its own error, and by the doctor's line after it."""
    region, machine = afflicted.region, afflicted.at["holder"]
    plant(machine)
    try:
        process = in_pod(region, machine, "attach", environment={"FLOATING_IP": address})
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        machine.imds.trouble = None
    assert process.returncode == code, err
    [error, *others] = [line for line in err.splitlines() if line.startswith("floatingip attach: ")]
    [told] = [line for line in others if line.startswith(f"floatingip attach: doctor: fail  {check}: ")]
    for line in (error, told):
        assert cause in line
        assert remedy in line
