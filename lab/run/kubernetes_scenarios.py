"""
What Kubernetes does to the product, or what goes wrong in Kubernetes; ALL has these and the lab's other scenarios.

Some need the real Kubernetes: the small one raises NotModelled for these.
"""

import time
from collections import ChainMap
from collections.abc import Callable
from dataclasses import replace

from lab.ec2 import Profile
from lab.kubernetes.cluster import OBSERVERS, Part, Setup
from lab.run import nemesis
from lab.run.machine import Machine
from lab.run.region import Region
from lab.run.scenario import (
    DETECTION,
    Nemesis,
    Scenario,
    nothing_moves,
    one_failover,
    relieved,
    served_again_after,
    service_moves,
)
from lab.run.scenarios import SCENARIOS, SERVICE_WATCHED_FOR
from lab.run.verdict import Expectation

NOT_READY_AFTER = 40.0
"""Seconds from a kubelet's last report until its node is not ready."""

WRITTEN_OFF = 100.0
"""Seconds for which a kubelet is silent: its node is not ready, and its pods have been evicted, well before."""

API_AWAY = 20.0
"""Seconds for which the API server hangs: longer than the product believes its last answers, and so short that
Kubernetes writes no node off afterwards, though a kubelet's last report may have been ten seconds old.
"""

API_LONG_AWAY = 60.0
"""Seconds after which Kubernetes writes all nodes off at once, until their kubelets are heard again."""

HEARD_AGAIN = 15.0
"""Seconds within which the kubelets are heard again."""

REGISTRY_AWAY = 30.0
"""Seconds within which an observer must be back without the registry."""

SERVED_AGAIN = 5.0
"""Seconds, without EC2's own time, from when Kubernetes says that a node is not ready until a standby serves."""

WITHIN = 90.0
"""Seconds for what Kubernetes has to do in the course of a scenario."""

LEASE_RENEWED = 10.0
"""Seconds between two reports of a kubelet."""

WITHOUT_ROLE = Setup(has_role=False)

RESTARTED = 2.0
"""Seconds after which the end of a container is known."""


def away(part: Part, seconds: float, *, hung: bool = False) -> Nemesis:
    """A part of the holder's node, or of the control plane, is killed or hangs, and is back after so many seconds."""

    def strike(region: Region, machine: Machine) -> None:
        cluster = region.cluster
        node = machine.name if part in {Part.KUBELET, Part.CONTAINERD, Part.KUBE_PROXY, Part.VPC_CNI} else None
        stop, again = (cluster.hang, cluster.resume) if hung else (cluster.kill, cluster.start)
        stop(part, node)
        time.sleep(seconds)
        again(part, node)

    return strike


def kill_observers(*, holder: bool, standbys: bool) -> Nemesis:
    """SIGKILL to these observers."""

    def strike(region: Region, machine: Machine) -> None:
        machines = [*([machine] if holder else []), *(region.standbys() if standbys else [])]
        for one in machines:
            nemesis.kill_observer(region, one)

    return strike


def scale_to_none(region: Region, _machine: Machine) -> None:
    """`kubectl scale` to 0, and back."""
    region.cluster.scale(OBSERVERS, 0)
    _until(lambda: not region.cluster.pods(), "there are observers still")
    region.cluster.scale(OBSERVERS, 2)
    region.cluster.wait_ready(WITHIN)


def drain_observer(region: Region, machine: Machine) -> None:
    """`kubectl drain` of the observer alone: the service's pod stays."""
    region.cluster.drain(machine.name, OBSERVERS)


def without_registry(region: Region, _machine: Machine) -> None:
    """An observer dies while the registry is away, and is back all the same.  Raises TimeoutError if it is not.

    The registry is not killed, as it would then lose its images.
    """
    region.cluster.hang(Part.REGISTRY)
    try:
        nemesis.kill_observer(region, region.standbys()[0])
        time.sleep(RESTARTED)
        region.cluster.wait_ready(REGISTRY_AWAY)
    finally:
        region.cluster.resume(Part.REGISTRY)


def drain(region: Region, machine: Machine) -> None:
    """`kubectl drain`: the service's pod is evicted at the same moment as the observer, and ends sooner."""
    region.cluster.drain(machine.name)


def delete_node(region: Region, machine: Machine) -> None:
    """`kubectl delete node`, by hand or by an autoscaler: its pods are deleted, and the machine runs on."""
    region.cluster.delete_node(machine.name)
    # A pod that is gone from the API server gets a second to end, and no new one comes to that node.
    machine.ending = True


def kill_for_good(part: Part) -> Nemesis:
    """A part of the holder's node is killed, and nobody starts it again."""

    def strike(region: Region, machine: Machine) -> None:
        region.cluster.kill(part, machine.name)

    return strike


def _until(condition: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + WITHIN
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {WITHIN:g} s {problem}")
        time.sleep(0.1)


def _served_elsewhere(bare: Expectation, profile: Profile) -> Expectation:
    """The holder's service is gone, whatever ended it."""
    ec2 = profile.detach + profile.attach + profile.device if bare.carry == "eni" else profile.assign
    return replace(bare, max_outage_s=SERVED_AGAIN + ec2, min_moves=1, max_moves=1)


def _sent_to_the_dead(bare: Expectation, profile: Profile) -> Expectation:
    """With policy Cluster, kube-proxy sends every second connection to the dead node's pod until that is not ready."""
    expected = served_again_after(NOT_READY_AFTER + LEASE_RENEWED)(bare, profile)
    return replace(expected, max_detection_s=DETECTION)


def _all_written_off(bare: Expectation, _: Profile) -> Expectation:
    """Kubernetes sends nobody anything then; another node is no better."""
    return replace(bare, max_outage_s=HEARD_AGAIN, max_moves=0)


def _abandoned(bare: Expectation, _: Profile) -> Expectation:
    """No observer hears of the drain: the address stays where the service has no pod."""
    return replace(bare, max_moves=0, served=False)


def _drained(bare: Expectation, profile: Profile) -> Expectation:
    """The service's pod has ended before the address has moved, however fast that is."""
    expected = relieved(bare, profile)
    return replace(expected, max_outage_s=(expected.max_outage_s or 0.0) + profile.assign)


CLUSTER = (
    Scenario(
        "observer-killed",
        "the holder's observer is killed",
        kill_observers(holder=True, standbys=False),
        nothing_moves,
        lasts=8.0,
        agent_exits=1,
    ),
    Scenario(
        "standby-killed",
        "the standby's observer is killed",
        kill_observers(holder=False, standbys=True),
        nothing_moves,
        lasts=8.0,
        agent_exits=1,
    ),
    Scenario(
        "observers-killed",
        "all observers are killed at once",
        kill_observers(holder=True, standbys=True),
        nothing_moves,
        lasts=10.0,
        agent_exits=2,
    ),
    Scenario("scale-to-none", "from two replicas to none and back", scale_to_none, nothing_moves, lasts=8.0),
    Scenario("kubelet-restarted", "the holder's kubelet is killed and started", away(Part.KUBELET, 5.0), nothing_moves),
    Scenario(
        "kubelet-hung",
        "the holder's kubelet hangs until its node has been written off",
        away(Part.KUBELET, WRITTEN_OFF, hung=True),
        _served_elsewhere,
        strikes_for=WRITTEN_OFF,
    ),
    Scenario(
        "kubelet-killed",
        "the holder's kubelet is killed",
        kill_for_good(Part.KUBELET),
        _served_elsewhere,
        lasts=WRITTEN_OFF,
    ),
    Scenario(
        "containerd-killed",
        "the holder's containerd is killed: nobody reads what the service writes of each request, and so it hangs",
        kill_for_good(Part.CONTAINERD),
        service_moves,
        # A client can connect all the same, since the kernel accepts connections.
        settings={"service": "http:30007/hostname"},
        watched_for=SERVICE_WATCHED_FOR,
        lasts=WRITTEN_OFF,
    ),
    Scenario(
        "containerd-restarted",
        "the holder's containerd is killed, and started after 10 s",
        away(Part.CONTAINERD, 10.0),
        nothing_moves,
        strikes_for=10.0,
        lasts=10.0,
    ),
    Scenario("cni-restarted", "the holder's ipamd is killed and started", away(Part.VPC_CNI, 5.0), nothing_moves),
    Scenario(
        "api-hung",
        "the API server hangs for 20 s",
        away(Part.API_SERVER, API_AWAY, hung=True),
        nothing_moves,
        strikes_for=API_AWAY,
        lasts=10.0,
    ),
    Scenario(
        "api-long-hung",
        "the API server hangs for a minute; when it is back Kubernetes writes all nodes off at once",
        away(Part.API_SERVER, API_LONG_AWAY, hung=True),
        _all_written_off,
        strikes_for=API_LONG_AWAY,
        lasts=20.0,
    ),
    Scenario(
        "api-restarted",
        "the API server is gone for 10 s, and comes back with an empty watch cache",
        away(Part.API_SERVER, 10.0),
        nothing_moves,
        strikes_for=10.0,
        lasts=10.0,
    ),
    Scenario(
        "registry-gone",
        "an observer dies while the registry is away",
        without_registry,
        nothing_moves,
        strikes_for=REGISTRY_AWAY,
        lasts=8.0,
        agent_exits=1,
    ),
    Scenario("node-deleted", "the holder's Node object is deleted", delete_node, _served_elsewhere, lasts=60.0),
    Scenario("drain", "the holder is drained, its service's pod as well", drain, _drained),
    Scenario(
        "observer-drained",
        "the observer is drained from the holder, the service stays",
        drain_observer,
        relieved,
    ),
    Scenario(
        "policy-cluster",
        "the holder loses power, and its pods are not the only ones that the NodePort leads to",
        nemesis.cut_power,
        _sent_to_the_dead,
        setup=Setup(policy="Cluster"),
    ),
    Scenario(
        "proxy-nftables",
        "the holder loses power, where kube-proxy is in nftables mode",
        nemesis.cut_power,
        one_failover,
        setup=Setup(proxy={"mode": "nftables", "nodePortAddresses": ["0.0.0.0/0"]}),
    ),
    Scenario(
        "cni-by-default",
        "the holder loses power, where the VPC CNI may attach as many interfaces as it likes",
        nemesis.cut_power,
        one_failover,
        setup=Setup(cni={}),
    ),
    Scenario(
        "without-role",
        "the holder loses power, and no observer has its Role",
        nemesis.cut_power,
        one_failover,
        setup=WITHOUT_ROLE,
    ),
    Scenario(
        "without-role-drained",
        "the holder is drained, and no observer has its Role",
        drain,
        _abandoned,
        setup=WITHOUT_ROLE,
        clients=(),
        lasts=15.0,
    ),
)

ALL = ChainMap({scenario.name: scenario for scenario in CLUSTER}, SCENARIOS)
