"""
Two clusters in one account, VPC and subnet, each with a deployment of its own; and nodes with names of every kind.

What tells them apart is the instances' tag `kubernetes.io/cluster/NAME`, and nothing else.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

import pytest

from lab.ec2 import PROFILES
from lab.history import Event, History
from lab.kubernetes.small.cluster import Cluster
from lab.run import nemesis
from lab.run.floating import FLOATING_IP, Floating
from lab.run.machine import Machine
from lab.run.region import READY_WITHIN, Region
from tests.waiting import until

NAMES = (
    "ip-10-0-0-10.us-west-2.compute.internal",  # by the address
    "i-00000000000000000.us-west-2.compute.internal",  # resource-based, but of no instance
    "worker-1.k8s.example.com",  # a domain of its own
    "i-11111111111111111",  # the bare id, but of no instance
)
"""What nodes are called: the first two are cluster `lab`, the others cluster `other`."""

OTHER_IP = "10.0.0.101"

WRITES = frozenset(
    {"CreateNetworkInterface", "AttachNetworkInterface", "DetachNetworkInterface", "DeleteNetworkInterface"}
    | {"CreateTags", "ModifyNetworkInterfaceAttribute", "AssociateAddress"}
)


class Clusters:
    """The two, side by side in one region."""

    def __init__(self, region: Region) -> None:
        self.region = region
        machines = list(region.machines.values())
        self.lab, self.other = machines[:2], machines[2:]
        ids = [machine.instance.instance_id for machine in self.other]
        region.administrator.delete_tags(Resources=ids, Tags=[{"Key": "kubernetes.io/cluster/lab"}])
        region.administrator.create_tags(Resources=ids, Tags=[{"Key": "kubernetes.io/cluster/other", "Value": "owned"}])
        self.first, self.second = (self._cluster(machines) for machines in (self.lab, self.other))
        region.use(self.first)

    def _cluster(self, machines: Sequence[Machine]) -> Cluster:
        endpoint = {"AWS_ENDPOINT_URL_EC2": self.region.ec2.endpoint_url}
        labels = {machine.name: {"floatingip": "true"} for machine in machines}
        workers = [machine.worker for machine in machines]
        return Cluster(workers, self.region.history, extra_env=endpoint, labels=labels)

    def apply(self, cluster: Cluster, address: str) -> None:
        """`kubectl apply` with this floating address."""
        cluster.apply(self.region.manifests.parsed("floating-ip.yaml", address))

    def writes(self, machines: Sequence[Machine]) -> list[Event]:
        """The calls of these machines that could change something, whether they did or not."""
        ids = {machine.instance.instance_id for machine in machines}
        return [
            event
            for event in self.region.history.events()
            if event["event"] == "call"
            and event["caller"] in ids
            and event["action"] in WRITES
            and event["params"].get("DryRun") != "true"
        ]

    def touched(self, machines: Sequence[Machine]) -> set[str]:
        """The interfaces that these machines wrote to, by whatever the calls named."""
        enis = {
            event["attachment"]: event["eni"]
            for event in self.region.history.events()
            if event["event"] == "attachment"
        }
        named: set[str] = set()
        for event in self.writes(machines):
            params: Mapping[str, str] = event["params"]
            named |= {params[key] for key in ("NetworkInterfaceId", "ResourceId.1") if key in params}
            named |= {enis[params[key]] for key in ("AttachmentId",) if key in params}
        return named


@contextmanager
def two_clusters(*addresses: str) -> Iterator[Clusters]:
    """Nothing is deployed yet."""
    with History() as history, ExitStack() as resources:
        region = Region(PROFILES["instant"], history, names=NAMES, seed=1, addresses=addresses)
        clusters = Clusters(resources.enter_context(region))
        resources.callback(clusters.second.stop_all, grace=1.0)
        yield clusters


def holds(region: Region, floating: Floating, machine: Machine) -> Callable[[], bool]:

    def held() -> bool:
        with suppress(LookupError):
            return region.holder(floating) is machine
        return False

    return held


def fail_over(clusters: Clusters, floating: Floating) -> None:
    """Cut the power of cluster `lab`'s holder, and wait until its other node has the address."""
    region = clusters.region
    holder = region.holder(floating)
    [standby] = [machine for machine in clusters.lab if machine is not holder]
    until(lambda: bool(answers_seen_by(region, standby)), 10)
    nemesis.cut_power(region, holder)
    until(holds(region, floating, standby), 10)


def answers_seen_by(region: Region, machine: Machine) -> list[Event]:
    """The machine's decisions that the address answers: from then on it is ready to take it over."""
    return [event for event in region.logged(event="decision", reason="ANSWERS") if event["node"] == machine.name]


def test_two_clusters_never_touch_each_others_interfaces(in_sandbox: None) -> None:
    """Neither at first placement nor when a node of one of them dies; whatever the nodes are called."""
    with two_clusters(FLOATING_IP, OTHER_IP) as clusters:
        region = clusters.region
        ours, theirs = region.floating
        clusters.apply(clusters.first, FLOATING_IP)
        clusters.apply(clusters.second, OTHER_IP)
        clusters.first.wait_ready(READY_WITHIN)
        clusters.second.wait_ready(READY_WITHIN)
        assert region.holder(ours) in clusters.lab
        assert region.holder(theirs) in clusters.other
        fail_over(clusters, ours)
        assert len(region.attachments(theirs)) == 2, "attaching and attached, once"
        assert clusters.touched(clusters.lab) == ours.enis
        assert clusters.touched(clusters.other) == theirs.enis
        shown = region.administrator.describe_network_interfaces(NetworkInterfaceIds=[*ours.enis, *theirs.enis])
        owners = {
            tag["Value"]
            for interface in shown["NetworkInterfaces"]
            for tag in interface["TagSet"]
            if tag["Key"] == "floatingip"
        }
        assert owners == {"lab", "other"}


@pytest.mark.more
def test_an_address_that_another_cluster_has_is_refused(in_sandbox: None) -> None:
    """Configured twice by mistake: who came second ends with code 5, names the interface, and never writes."""
    with two_clusters(FLOATING_IP) as clusters:
        region = clusters.region
        [floating] = region.floating
        clusters.apply(clusters.first, FLOATING_IP)
        clusters.first.wait_ready(READY_WITHIN)
        [eni] = {event["eni"] for event in region.attachments(floating)}
        clusters.apply(clusters.second, FLOATING_IP)
        theirs = {machine.name for machine in clusters.other}

        def ends() -> list[Event]:
            return [e for e in region.history.events() if e["event"] == "exit" and e["node"] in theirs]

        until(lambda: {end["node"] for end in ends()} == theirs, 20)
        assert {end["code"] for end in ends()} == {5}
        said = {node: [e["line"] for e in region.logged() if e["node"] == node] for node in theirs}
        assert all(any(eni in line for line in lines) for lines in said.values()), said
        fail_over(clusters, floating)
        assert clusters.writes(clusters.other) == []
