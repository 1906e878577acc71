"""What others do to a part of the replies, or to this node's own packets now and then, on a real kernel."""

from contextlib import closing

import pytest

from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport
from floatingip.edges.kernel import links, rules
from floatingip.edges.kernel.astray import Ways
from floatingip.edges.kernel.netlink import Message, Netlink, attribute
from tests.lab.plumbed import BOTH, IPV6, SOUND, UNSOUND, Node, ip

RTA_IIF = 3  # linux/rtnetlink.h
POD = {4: "10.0.0.55", 6: "2001:db8:0:1::55"}
OWN = {4: "10.0.0.10", 6: "2001:db8:0:1::10"}
NODES = {4: "10.0.0.0/27", 6: "2001:db8:0:1::/122"}
NETWORK = {4: "172.16.0.0/12", 6: "2001:db8:f000::/36"}
OUT, WITHIN = "route add default via {gateway} dev eth0 onlink table 11", "route add default dev pod0 table 11"
HOSTS = "of pods on the host's network, from {own}, "
ASIDE = " would not leave by ens6: it would leave by eth0; is there a rule of others before ours (`priority`)?"


@pytest.fixture(autouse=True)
def connected(node: Node) -> None:
    """IPv6 has a default route, too, and there is a pod behind a link of its own."""
    node.namespace.ip(
        "address add 2001:db8:0:1::10/64 dev eth0",
        "route add default via fe80:ec2::1 dev eth0 onlink",
        "link add pod0 type veth peer name pod1",
        "link set pod1 up",
        "link set pod0 up",
        f"route add {POD[4]} dev pod0",
        f"route add {POD[6]} dev pod0",
    )


RULES = {
    "of a pod, as Cilium's for another ENI": ("rule add priority 111 from {pod} table 11", OUT, "of the pod {pod} "),
    "of pods, by their network": ("rule add priority 111 from {pods} table 11", OUT, "of the pod "),
    "of pods, by one of them and a prefix": ("rule add priority 111 from {pod}/{prefix} table 11", OUT, "of the pod "),
    "of the node itself": ("rule add priority 111 from {own} table 11", OUT, HOSTS),
    "of the node's neighbours, too": ("rule add priority 111 from {nodes} table 11", OUT, HOSTS),
    "to a network": ("rule add priority 111 to {network} table 11", OUT, ""),
    "of a pod to a network": ("rule add priority 111 from {pod} to {network} table 11", OUT, "of the pod {pod} "),
    "at our own priority": ("rule add priority 900 to {network} table 11", OUT, ""),
    "behind ours, as the VPC CNI's": ("rule add priority 1536 from {pod} table 11", OUT, None),
    "to a pod, as the VPC CNI's": ("rule add priority 512 to {pod} table main", OUT, None),
    "to a network of pods": ("rule add priority 111 to {network} table 11", WITHIN, None),
    "to the link's own network": ("rule add priority 111 to {link_local} table 11", OUT, None),
    "of a node, or nobody": ("rule add priority 111 from {gateway} table 11", OUT, None),
    "by another mark": ("rule add priority 111 from {pod} fwmark 0x80/0x80 table 11", OUT, None),
    "for UDP": ("rule add priority 111 from {pod} ipproto udp table 11", OUT, None),
}


@BOTH
@pytest.mark.parametrize("which", RULES)
@pytest.mark.parametrize("extent", [Extent.AHEAD, Extent.ALL])
def test_a_rule_of_others_that_leads_some_replies_elsewhere_is_told(
    node: Node, plumbing: Plumbing, extent: Extent, which: str
) -> None:
    """Ours is in place, and most replies find it, so the node carries the address; the kernel tells whose do not."""
    node.plumb(plumbing, extent)
    rule, route, said = RULES[which]
    pod = POD[plumbing.address.version]
    pods = "10.0.0.48/28" if plumbing.address.version == 4 else "2001:db8:0:1::50/124"
    names = {"pod": pod, "pods": pods, "gateway": plumbing.gateway, "network": NETWORK[plumbing.address.version]}
    names |= {"own": OWN[plumbing.address.version], "nodes": NODES[plumbing.address.version]}
    names["prefix"] = pods.partition("/")[2]
    names["link_local"] = "169.254.0.0/16" if plumbing.address.version == 4 else "fe80::/10"
    if which.startswith("of pods"):
        ip(node, plumbing, f"route add {pods} dev pod0")
    for command in (route, rule):
        ip(node, plumbing, command.format(**names))
    report = node.plumb(plumbing, extent)
    assert report.state is SOUND
    if said is None:
        assert report.problem == ""
    elif which == "at our own priority":
        assert report.problem.startswith("rule: there is a rule of others at priority")
    else:
        assert report.problem.startswith(f"path: marked replies {said.format(**names)}")
        assert report.problem.endswith(ASIDE)


@BOTH
def test_such_a_rule_is_told_however_many_pods_there_are(node: Node, plumbing: Plumbing) -> None:
    """Cilium has a rule for what goes to each pod before that for what comes from one, as the VPC CNI has."""
    pods = (f"10.0.1.{pod}" if plumbing.address.version == 4 else f"2001:db8:0:2::{pod}" for pod in range(1, 41))
    commands = [f"rule add priority 20 to {pod} table main" for pod in pods]
    for command in (*commands, RULES["to a network"][0].format(network=NETWORK[plumbing.address.version])):
        ip(node, plumbing, command)
    ip(node, plumbing, OUT.format(gateway=plumbing.gateway))
    assert node.plumb(plumbing).problem.endswith(ASIDE)


class PodEnds(Netlink):
    """By which the kernel is asked while a pod ends: its link is gone before anything is asked of what comes by it."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self._asks_by_pod = attribute(RTA_IIF, node.namespace.show("link show pod0")[0]["ifindex"])

    def get(self, kind: int, content: bytes, head: int) -> Message:
        if self._asks_by_pod in content:
            self._node.namespace.ip("link del pod0")
        return super().get(kind, content, head)


@BOTH
def test_a_pod_that_ends_while_the_kernel_is_asked_is_no_fault(node: Node, plumbing: Plumbing) -> None:
    """The kernel knows no such link any more, which says nothing of this node."""
    node.plumb(plumbing)
    ip(node, plumbing, f"rule add priority 111 from {POD[plumbing.address.version]} table 11")

    def astray() -> str:
        with closing(PodEnds(node)) as netlink:
            link, primary = (links.find(netlink, mac, {}) for mac in (plumbing.mac, plumbing.primary_mac))
            assert link is not None
            all_rules = rules.of_family(netlink, plumbing)
            return Ways(netlink, plumbing, link, primary, Extent.ALL, all_rules).partly_astray()

    assert node.namespace.call(astray) == ""
    assert "pod0" not in [link["ifname"] for link in node.namespace.show("link show")]


def test_a_default_route_of_others_that_is_as_good_as_the_primary_s_is_named(node: Node) -> None:
    """The kernel takes the one whose gateway has answered last, so the one that it shows now says nothing of later."""
    node.plumb()
    node.namespace.ip("route append default via 10.0.0.1 dev ens6 onlink")
    report = node.plumb()
    said = "path: this node's own traffic may leave by ens6, whose default route is as good as the other one; remove"
    assert (report.state, report.problem.startswith(said)) == (UNSOUND, True), report
    node.namespace.ip("route del default dev ens6", "route append default via 10.0.0.1 dev ens6 onlink metric 2000")
    assert node.plumb() == PlumbingReport(SOUND)


@pytest.mark.parametrize(
    "cause", ["address del 2001:db8:0:1::10/64 dev eth0", f"address add {IPV6.address}/128 dev eth0"]
)
def test_an_address_that_is_the_source_of_the_node_s_own_packets_is_named(node: Node, cause: str) -> None:
    """They leave by its link then, which is not the fault of any route by it."""
    node.plumb(IPV6)
    node.namespace.ip(cause)
    report = node.plumb(IPV6)
    said = f"path: this node's own traffic is sent from {IPV6.address}; give eth0 an address of its own, and take"
    assert (report.state, report.problem.startswith(said)) == (UNSOUND, True), report
