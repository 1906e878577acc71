"""
What goes wrong one thing after the other: misfortunes that need several steps, some time, or an end.

As in nemesis.py they act on the world only.  Where a holder dies after all that led to it, that moment is told as the
`blow`: the checker counts detection from there.
"""

import sys
import time
from collections.abc import Callable, Collection
from enum import StrEnum
from functools import partial
from ipaddress import ip_address

from botocore.exceptions import ClientError

from floatingip.core.model import Carry
from lab.ec2.transport import Effect
from lab.history import Event
from lab.kubernetes.cluster import Kind
from lab.network.fabric import VPC_CIDR
from lab.network.worker import BACKEND_PORT
from lab.run import nemesis
from lab.run.machine import Machine
from lab.run.region import Region
from lab.run.scenario import Nemesis

OBSERVER = "observer"
"""The container that watches, and serves."""

CLAIMS = ("AttachNetworkInterface", "AssignPrivateIpAddresses", "AssignIpv6Addresses")
"""The calls by which a node gets the address."""

RETURNS_WITHIN = 120.0
"""Seconds that a machine may take until it is back with its pods."""

STARTS_WITHIN = 40.0
"""Seconds that a container may take until it runs again: its back-off is 10 s."""

HELD_WITHIN = 20.0
"""Seconds for which nobody may have the address, while EC2 moves it."""

ELSEWHERE = "kube-ipvs0"
"""The link on which kube-proxy in ipvs mode keeps the addresses that it serves."""

LATE = 4.5
"""Seconds that a late answer is behind: more than a holder takes to notice that it has lost the address."""

SLOW = 10.0
"""Seconds; what ends faster does so by itself."""

SLOW_POD = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels:
    app: slow
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: {seconds}
  containers:
    - name: netexec
      image: registry.k8s.io/e2e-test-images/agnhost:2.53
      args: ["netexec", "--http-port=8081", "--udp-port=-1", "--delay-shutdown={seconds}"]
"""

STALL = 0.8
"""Seconds; an observer survives 0.9."""


class End(StrEnum):
    """How EC2 ends an instance, or lets it end itself."""

    TERMINATE = "terminate"
    STOP = "stop"
    REBOOT = "reboot"


def die(region: Region, machine: Machine) -> None:
    """The holder loses power, after all that went before."""
    _blow(region, machine)
    nemesis.cut_power(region, machine)


def end(how: End, seconds: float, *, returns: bool = False) -> Nemesis:
    """
    EC2 ends the instance, whose kubelet shuts down gracefully and whose slowest pod takes so many seconds.

    returns: wait until it is back with its pods; one that was stopped is started.
    """

    def strike(region: Region, machine: Machine) -> None:
        machine.graceful = seconds
        if region.kubernetes is Kind.REAL and seconds > SLOW:
            _add_slow_pod(region, machine, seconds)
        ids = [machine.instance.instance_id]
        _blow(region, machine)
        match how:
            case End.TERMINATE:
                region.administrator.terminate_instances(InstanceIds=ids)
            case End.STOP:
                region.administrator.stop_instances(InstanceIds=ids)
            case End.REBOOT:
                region.administrator.reboot_instances(InstanceIds=ids)
        if returns:
            if how is End.STOP:
                _wait(lambda: _state(region, machine) == "stopped", RETURNS_WITHIN, f"{machine.name} is not stopped")
                region.administrator.start_instances(InstanceIds=ids)
            _wait(lambda: not machine.ending, RETURNS_WITHIN, f"{machine.name} is not back")
            region.cluster.wait_ready(RETURNS_WITHIN)

    return strike


def _add_slow_pod(region: Region, machine: Machine, seconds: float) -> None:
    """A pod that a real kubelet waits for."""
    name = f"slow-{len(region.history.events())}"
    region.cluster.apply(SLOW_POD.format(name=name, node=machine.name, seconds=f"{seconds:g}"))

    def runs() -> bool:
        return any(pod.name == name and pod.is_ready for pod in region.cluster.pods("slow"))

    _wait(runs, STARTS_WITHIN, f"{name} does not run")


def after_notice(notice: Nemesis, seconds: float) -> Nemesis:
    """The end is announced, and comes so many seconds later; the real one lets two minutes pass, or an hour."""

    def strike(region: Region, machine: Machine) -> None:
        notice(region, machine)
        time.sleep(seconds)
        end(End.TERMINATE, 1.0)(region, machine)

    return strike


def taint(region: Region, machine: Machine) -> None:
    """`kubectl taint nodes NODE node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`."""
    region.cluster.taint(machine.name)


def close_group(region: Region) -> None:
    """A security group lets nothing through among the workers: neither pings nor the observers' port."""
    for floating in region.floating:
        region.fabric.close_icmp(region.carried(floating))
    for machine in region.machines.values():
        machine.worker.namespace.nft(
            "table inet closed { chain in { type filter hook input priority 0;\n"
            f"ip saddr {VPC_CIDR} ip saddr != {machine.worker.address} tcp dport 9807 drop\n"
            "}\n}\n"
        )


def cut_off_standby(seconds: float) -> Nemesis:
    """A standby's primary interface reaches neither the VPC nor the API server for a while, but EC2 and IMDS."""

    def strike(region: Region, _machine: Machine) -> None:
        interface = region.standbys()[0].worker.eni_id
        region.fabric.block(interface, [VPC_CIDR])
        time.sleep(seconds)
        region.fabric.unblock(interface)

    return strike


def kill_observers_twice(region: Region, machine: Machine) -> None:
    """All observers are killed, and again as soon as they run; when they run once more, the holder dies."""
    for _ in range(2):
        _restart_observers(region, list(region.machines.values()))
    die(region, machine)


def roll_out(region: Region, machine: Machine) -> None:
    """A rollout has replaced all pods; the last observer has just started when the holder dies."""
    region.cluster.delete_pod(region.cluster.pod_on(machine.name).name)
    region.cluster.wait_ready(STARTS_WITHIN)
    for standby in region.standbys():
        old = region.cluster.pod_on(standby.name)
        region.cluster.delete_pod(old.name)
        _wait(partial(_observes, region, standby.name), STARTS_WITHIN, f"no observer on {standby.name}")
    die(region, machine)


def close_icmp_and(then: Nemesis, after: float) -> Nemesis:
    """ICMP to the address is closed; so many seconds later something else happens."""

    def strike(region: Region, machine: Machine) -> None:
        nemesis.close_icmp(region, machine)
        time.sleep(after)
        then(region, machine)

    return strike


def stall(seconds: float) -> Nemesis:
    """The pods of the holder's node stand still for a while, and its kubelet."""

    def strike(region: Region, machine: Machine) -> None:
        region.cluster.freeze_node(machine.name)
        time.sleep(seconds)
        region.cluster.thaw_node(machine.name)

    return strike


def stall_again_and_again(region: Region, machine: Machine) -> None:
    """Ten short stalls of each node, one after the other."""
    for each in (machine, *region.standbys()):
        for _ in range(10):
            stall(STALL)(region, each)
            time.sleep(STALL)


def put_elsewhere(
    address: str = "", length: int | None = None, *, everywhere: bool = False, then: Nemesis = die, after: float = 8.0
) -> Nemesis:
    """
    An address is on another link of the standbys; so many seconds later something else happens: by default so late that
    the kubelet has noticed what is not ready.

    address: the floating one, unless named.
    length: of its prefix.  Without, it is alone, and the link is down, as `kube-ipvs0` is: it is local all the same.
    everywhere: on the holder as well.
    """

    def strike(region: Region, machine: Machine) -> None:
        local = address or region.carried(region.floating[0])
        for each in region.machines.values() if everywhere else region.standbys():
            each.worker.namespace.ip(
                f"link add {ELSEWHERE} type veth peer name kube-ipvs1",
                f"address add {local}/{length or ip_address(local).max_prefixlen} dev {ELSEWHERE}",
                *([f"link set {ELSEWHERE} up", "link set kube-ipvs1 up"] if length else []),
            )
        time.sleep(after)
        then(region, machine)

    return strike


def throttle(region: Region, machine: Machine) -> None:
    """EC2 refuses every second call for want of tokens; then the holder dies."""
    region.ec2.faults.throttle(every=2)
    time.sleep(5.0)
    die(region, machine)


def refuse_claims(seconds: float, *, throttled: bool = False) -> Nemesis:
    """The holder dies, and for a while EC2 lets nobody claim: for want of a permission, or of tokens."""

    def strike(region: Region, machine: Machine) -> None:
        faults = region.ec2.faults
        with faults.throttle(CLAIMS) if throttled else faults.deny(CLAIMS):
            die(region, machine)
            time.sleep(seconds)

    return strike


def take_ec2_down(seconds: float) -> Nemesis:
    """EC2 is down when the holder dies, and comes back."""

    def strike(region: Region, machine: Machine) -> None:
        with region.ec2.faults.refuse():
            time.sleep(1.0)
            die(region, machine)
            time.sleep(seconds)

    return strike


def answer_stale(seconds: float) -> Nemesis:
    """EC2's Describes are so many seconds behind from now on; then the holder dies."""

    def strike(region: Region, machine: Machine) -> None:
        region.ec2.faults.stale(seconds)
        time.sleep(2 * seconds)
        die(region, machine)

    return strike


def describe_late(region: Region, machine: Machine) -> None:
    """
    The address moves by request; the second Describe of the old holder after that, about when it lets go, is answered
    as of when it still had the address.  Then the new holder dies.
    """
    faults, instance = region.ec2.faults, machine.instance.instance_id
    # EC2's past is known only as long as somebody wants it.
    faults.stale(RETURNS_WITHIN, caller="nobody")
    moved: list[Event] = []

    def fool(event: Event) -> None:
        has = event["event"] in {"address", "attachment"} and event["status"] in {"assigned", "attached"}
        if has and event["instance"] != instance and not moved:
            moved.append(event)
            asked = ["DescribeNetworkInterfaces"]
            faults.begin(Effect.STALE, asked, instance, count=1, seconds=LATE, every=2)

    region.history.subscribe(fool)
    nemesis.hand_over(region, machine)
    _wait(lambda: bool(moved), STARTS_WITHIN, f"{machine.name} keeps the address")
    time.sleep(2 * LATE)
    die(region, region.holder())


def stick(region: Region, machine: Machine) -> None:
    """
    The interface is detached by hand, and stays `detaching`.  Where it is a standing one, another node gets the
    address.  When all could be well again, the holder dies.
    """
    region.ec2.hang_detaches()
    nemesis.detach_eni(region, machine)
    if region.carry == Carry.ADDRESS:
        # A few lost pings are enough for a standby to claim what EC2 calls attached to nobody.
        nemesis.close_icmp(region, machine)
        time.sleep(1.0)
        region.fabric.open_icmp(region.carried(region.floating[0]))
    time.sleep(28.0)
    die(region, _next_holder(region))


def _next_holder(region: Region) -> Machine:
    """Who has the address, or gets it next.  Raises LookupError when nobody does."""
    deadline = time.monotonic() + HELD_WITHIN
    while True:
        try:
            return region.holder()
        except LookupError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def delete_eni(region: Region, machine: Machine) -> None:
    """The interface that has the address is deleted by hand; the answers to its first new creations are lost."""
    floating = region.floating[0]
    eni = next(e["eni"] for e in reversed(region.attachments()) if e["instance"] == machine.instance.instance_id)
    shown = region.administrator.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]
    region.ec2.faults.lose_answers(["CreateNetworkInterface"], count=2)
    _blow(region, machine)
    region.administrator.detach_network_interface(AttachmentId=shown["Attachment"]["AttachmentId"], Force=True)

    def deleted() -> bool:
        try:
            region.administrator.delete_network_interface(NetworkInterfaceId=eni)
        except ClientError:
            return False  # attached still
        return True

    _wait(deleted, RETURNS_WITHIN, f"{eni} cannot be deleted")
    floating.deleted.add(eni)


def partition(seconds: float) -> Nemesis:
    """The holder is cut off from everybody for a while, and comes back as it was."""

    def strike(region: Region, machine: Machine) -> None:
        _blow(region, machine)
        nemesis.partition(region, machine)
        time.sleep(seconds)
        region.fabric.unsilence(region.fabric.plugged(machine.worker.namespace))

    return strike


def hang(seconds: float) -> Nemesis:
    """The holder's kernel hangs for a while, and goes on as if nothing had happened."""

    def strike(region: Region, machine: Machine) -> None:
        _blow(region, machine)
        nemesis.hang_kernel(region, machine)
        time.sleep(seconds)
        nemesis.thaw_kernel(region, machine)

    return strike


def lose(percent: int, then: Nemesis = nemesis.nothing, after: float = 0.0) -> Nemesis:
    """So many of a hundred packets of the observers are lost; the clients' are not."""

    def strike(region: Region, machine: Machine) -> None:
        region.fabric.lose(percent, [region.backends.node_port, BACKEND_PORT])
        time.sleep(after)
        then(region, machine)

    return strike


def compute(processes: int, seconds: float) -> Nemesis:
    """So many processes compute beside the observers for a while."""

    def strike(region: Region, _machine: Machine) -> None:
        workers = [machine.worker for machine in region.machines.values()]
        busy = [
            workers[number % len(workers)].popen([sys.executable, "-c", "while True: pass"])
            for number in range(processes)
        ]
        time.sleep(seconds)
        for process in busy:
            process.kill()
        for process in busy:
            process.wait()

    return strike


def _blow(region: Region, machine: Machine) -> None:
    region.history.record({"source": "nemesis", "event": "blow", "target": machine.name})


def _state(region: Region, machine: Machine) -> str:
    found = region.administrator.describe_instances(InstanceIds=[machine.instance.instance_id])
    return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])


def _observes(region: Region, node: str) -> bool:
    """Whether an observer runs in the pod that is there to stay."""
    try:
        return _runs(region, region.cluster.pod_on(node).name)
    except LookupError:
        return False


def _runs(region: Region, pod: str, but: int = 0) -> bool:
    """Whether an observer runs in this pod, as another process than that."""
    try:
        return region.cluster.container_process(pod, OBSERVER) != but
    except LookupError:
        return False


def _restart_observers(region: Region, machines: Collection[Machine]) -> None:
    pods = [region.cluster.pod_on(machine.name).name for machine in machines]
    old = [region.cluster.container_process(pod, OBSERVER) for pod in pods]
    for pod in pods:
        region.cluster.kill_container(pod, OBSERVER)
    for pod, process in zip(pods, old, strict=True):
        _wait(partial(_runs, region, pod, process), STARTS_WITHIN, f"no observer in {pod}")


def _wait(condition: Callable[[], bool], within: float, otherwise: str) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} after {within:g} s")
        time.sleep(0.02)
