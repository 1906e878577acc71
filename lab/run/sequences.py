"""
Misfortunes that need several steps, some time, or an end.

As in nemesis.py, they act on the world only.  How instances end is in endings.py, what goes wrong at EC2 in
ec2_trouble.py.
"""

import sys
import time
from collections.abc import Collection
from functools import partial
from ipaddress import ip_address

from lab.network.fabric import VPC_CIDR
from lab.network.worker import BACKEND_PORT
from lab.run import nemesis
from lab.run.blow import blow, die, until
from lab.run.machine import Machine
from lab.run.region import Region
from lab.run.scenario import Nemesis

OBSERVER = "observer"
"""The name of the container in which an observer runs."""

STARTS_WITHIN = 40.0
"""Seconds that a container may take until it runs again: its back-off is 10 s."""

ELSEWHERE = "kube-ipvs0"
"""The link to which kube-proxy in ipvs mode adds the addresses that it serves."""

STALL = 0.8
"""Seconds that a short stall lasts; an observer survives one of 0.9."""


def taint(region: Region, machine: Machine) -> None:
    """`kubectl taint nodes NODE node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`."""
    region.cluster.taint(machine.name)


def close_group(region: Region) -> None:
    """A security group lets nothing through among the workers: neither pings nor the observers' port."""
    for floating in region.floating:
        region.fabric.close_icmp(region.carried(floating))
    nemesis.close_port(region)


def cut_off_standby(seconds: float) -> Nemesis:
    """For a while, a standby's primary interface reaches EC2 and IMDS, but neither the VPC nor the API server."""

    def strike(region: Region, _machine: Machine) -> None:
        interface = region.standbys()[0].worker.eni_id
        region.fabric.block(interface, [VPC_CIDR])
        time.sleep(seconds)
        region.fabric.unblock(interface)

    return strike


def kill_observers_twice(region: Region, machine: Machine) -> None:
    """All observers are killed, and again as soon as they run; when they run again, the holder dies."""
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
        until(partial(_observes, region, standby.name), STARTS_WITHIN, f"no observer on {standby.name}")
    die(region, machine)


def close_icmp_and(then: Nemesis, after: float) -> Nemesis:
    """ICMP to the address is closed; so many seconds later something else happens."""

    def strike(region: Region, machine: Machine) -> None:
        nemesis.close_icmp(region, machine)
        time.sleep(after)
        then(region, machine)

    return strike


def stall(seconds: float) -> Nemesis:
    """The pods of the holder's node, and its kubelet, stand still for a while."""

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
    An address is added to another link of the standbys; `after` seconds later `then` happens.  By default that is so
    late that kubelet has noticed which pods are not ready.

    address: the floating one, unless named.
    length: that of its prefix.  Without, the prefix is the address alone and the link is down, as `kube-ipvs0` is; the
    address is local all the same.
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


def partition(seconds: float) -> Nemesis:
    """The holder is cut off from everybody for a while, and comes back as it was."""

    def strike(region: Region, machine: Machine) -> None:
        blow(region, machine)
        nemesis.partition(region, machine)
        time.sleep(seconds)
        region.fabric.unsilence(region.fabric.plugged(machine.worker.namespace))

    return strike


def hang(seconds: float) -> Nemesis:
    """The holder's kernel hangs for a while, and goes on as if nothing had happened."""

    def strike(region: Region, machine: Machine) -> None:
        blow(region, machine)
        nemesis.hang_kernel(region, machine)
        time.sleep(seconds)
        nemesis.thaw_kernel(region, machine)

    return strike


def lose(percent: int, then: Nemesis = nemesis.nothing, after: float = 0.0) -> Nemesis:
    """`percent` of the observers' packets are lost; the clients' are not."""

    def strike(region: Region, machine: Machine) -> None:
        region.fabric.lose(percent, [region.backends.node_port, BACKEND_PORT])
        time.sleep(after)
        then(region, machine)

    return strike


def compute(processes: int, seconds: float) -> Nemesis:
    """For a while, so many processes take processor time beside the observers."""

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


def _observes(region: Region, node: str) -> bool:
    """Whether an observer runs on the node, in a pod that is not being deleted."""
    try:
        return _runs(region, region.cluster.pod_on(node).name)
    except LookupError:
        return False


def _runs(region: Region, pod: str, but: int = 0) -> bool:
    """Whether an observer runs in this pod, as another process than `but`."""
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
        until(partial(_runs, region, pod, process), STARTS_WITHIN, f"no observer in {pod}")
