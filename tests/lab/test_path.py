"""What else on a node keeps packets from leaving, arriving or finding their way back, on a real kernel."""

import re
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest

from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport
from floatingip.edges.kernel.netlink import Message, Netlink, attribute
from floatingip.edges.kernel.path import FAR
from floatingip.edges.kernel.routes import MAIN
from tests.lab.plumbed import BOTH, IPV4, IPV6, SOUND, UNSOUND, Node, ip
from tests.lab.test_host_odd import ALL_LINKS, OddKernel, interrupted

ALL_ROUTES = 26  # RTM_GETROUTE
THE_MAIN_TABLE = attribute(15, MAIN)  # RTA_TABLE


def blind(node: Node, plumbing: Plumbing = IPV4) -> str:
    """What a standby says of its probes, once they are routed as well as it can."""

    def ask() -> str:
        node.host.route_probes(plumbing)
        return node.host.blind(plumbing)

    return node.namespace.call(ask)


@pytest.fixture(autouse=True)
def connected(node: Node) -> None:
    """IPv6 has a default route, too, and there is another link, up, as of a pod or a proxy."""
    node.namespace.ip(
        "address add 2001:db8:0:1::10/64 dev eth0",
        "route add default via fe80:ec2::1 dev eth0 onlink",
        "link add other0 type veth peer name other1",
        "link set other1 up",
        "link set other0 up",
    )


@BOTH
@pytest.mark.parametrize("extent", [Extent.NOTHING, Extent.AHEAD])
def test_a_standby_sees_unless_something_is_in_the_way(node: Node, plumbing: Plumbing, extent: Extent) -> None:
    """With and without a link of its own, and it changes nothing."""
    if extent is Extent.AHEAD:
        assert node.plumb(plumbing, extent).state is SOUND
    assert blind(node, plumbing) == ""


LOCAL = {
    "on kube-ipvs0, which is down": ("link set other0 name kube-ipvs0 down", "address add {a}/{n} dev kube-ipvs0"),
    "alone on another link": ("address add {a}/{n} dev other0",),
    "as one of a prefix on another link": ("address add {a}/{p} dev other0",),
    "on the primary link": ("address add {a}/{n} dev eth0",),
    "on the loopback": ("address add {a}/{n} dev lo",),
    "on its own link, with a prefix": ("address add {a}/{p} dev ens6",),
}


@BOTH
@pytest.mark.parametrize("where", LOCAL)
def test_an_address_that_is_this_node_s_own_is_found_wherever_it_is(node: Node, plumbing: Plumbing, where: str) -> None:
    """A probe would hear this node, and see the address UP for ever; when it is gone there all is well again."""
    node.plumb(plumbing, Extent.AHEAD)
    address, whole = plumbing.address, plumbing.address.max_prefixlen
    prefix = 28 if plumbing.address.version == 4 else 96
    commands = [command.format(a=address, n=whole, p=prefix) for command in LOCAL[where]]
    link = commands[-1].rsplit(maxsplit=1)[1]
    node.namespace.ip(*commands)
    shown = f"{address}/{prefix if '{p}' in LOCAL[where][-1] else whole} is on {link} of this node"
    assert blind(node, plumbing).startswith(f"{shown}, so {address} cannot be probed from here: take it off there")
    node.namespace.ip(commands[-1].replace(" add ", " del ", 1))
    assert blind(node, plumbing) == ""


def test_an_address_that_just_becomes_this_node_s_own_is_no_route_of_others(node: Node) -> None:
    """The kernel makes the route to a new IPv6 address some time before the one in the table local, which wins."""
    node.namespace.ip(f"route add {IPV6.address}/128 dev other0 proto kernel")
    assert "other0" in blind(node, IPV6)
    node.namespace.ip(f"route del {IPV6.address}/128 dev other0 proto kernel")
    assert blind(node, IPV6) == ""


def test_a_standby_sees_however_fast_others_change_their_addresses(node: Node) -> None:
    """As kube-proxy does with thousands in ipvs mode, while which no list of them is a whole one."""
    assert blind(node) == ""
    odd = node.host._netlink = OddKernel(interrupted)
    with pytest.raises(OSError, match="interrupted"):
        node.namespace.call(lambda: odd.dump(ALL_LINKS, bytes(16), 16))
    assert node.namespace.call(lambda: node.host.blind(IPV4)) == ""


@BOTH
def test_a_probes_route_that_is_there_takes_no_list_of_all_routes(node: Node, plumbing: Plumbing) -> None:
    """A node may have thousands, and an event of the kernel for each pod that comes or goes."""
    assert blind(node, plumbing) == ""
    node.host._netlink = Unlisted()
    assert blind(node, plumbing) == ""
    ip(node, plumbing, f"route del {plumbing.address}")
    with pytest.raises(AssertionError, match="all routes"):
        blind(node, plumbing)


class Unlisted(Netlink):
    """The kernel's rtnetlink, to which nobody should come for all routes of the main table."""

    def dump(self, kind: int, content: bytes, head: int, wanted: Callable[[Message], object] = bool) -> list[Message]:
        assert (kind, content[head:]) != (ALL_ROUTES, THE_MAIN_TABLE), "all routes"
        return super().dump(kind, content, head, wanted)


def test_a_local_route_is_found_without_any_address(node: Node) -> None:
    """As of proxies that answer for a whole prefix."""
    node.plumb(IPV4, Extent.AHEAD)
    node.namespace.ip("route add local 10.0.0.96/28 dev lo")
    said = "10.0.0.100 cannot be probed from here: a local route on lo of this node takes it in; remove that route"
    assert blind(node).startswith(said)


ROUTED = {
    "a rule to another link": ("default", "rule add priority 100 table 77"),
    "a rule for what this node sends": ("default", "rule add priority 100 from {primary} table 77"),
    "a prefix by another link": ("{net}", "rule add priority 100 to {net} table 77"),
}
REFUSED = {"blackhole": "it is dropped (blackhole)", "unreachable": "unreachable", "prohibit": "prohibited"}


@BOTH
@pytest.mark.parametrize("how", ROUTED)
def test_probes_that_would_leave_by_another_link_are_found(node: Node, plumbing: Plumbing, how: str) -> None:
    """By whatever others have put before the route of ours."""
    primary = "10.0.0.10" if plumbing.address.version == 4 else "2001:db8:0:1::10"
    net = "10.0.0.96/28" if plumbing.address.version == 4 else "2001:db8:0:1::/96"
    where, rule = (each.format(primary=primary, net=net) for each in ROUTED[how])
    ip(node, plumbing, f"route add {where} dev other0 table 77")
    ip(node, plumbing, rule)
    said = f"{plumbing.address} cannot be probed from here: probes would leave by other0, not by eth0; remove that"
    assert blind(node, plumbing).startswith(said)


@BOTH
@pytest.mark.parametrize("kind", REFUSED)
def test_probes_that_nothing_lets_out_are_found(node: Node, plumbing: Plumbing, kind: str) -> None:
    """The kernel refuses them, or drops them in silence."""
    ip(node, plumbing, f"rule add priority 100 to {plumbing.address} {kind}")
    said = blind(node, plumbing)
    assert re.match(rf"{plumbing.address} cannot be probed from here: .*; remove that route or rule of others$", said)


@BOTH
def test_a_wider_route_of_others_is_not_in_the_way(node: Node, plumbing: Plumbing) -> None:
    """Ours to exactly the address is before it: nobody need be told."""
    net = "10.0.0.96/28" if plumbing.address.version == 4 else "2001:db8:0:1::/96"
    ip(node, plumbing, f"route add {net} dev other0")
    assert blind(node, plumbing) == ""


def test_a_link_that_does_not_forward_is_made_to(node: Node) -> None:
    """Hardened nodes have net.ipv4.conf.default.forwarding at 0, so that a hot-plugged link drops what is for pods."""
    node.namespace.sysctl({"ipv4/conf/ens6/forwarding": 0})
    report = node.plumb()
    assert report.state is SOUND
    assert "forwarding" in report.repaired
    assert node.namespace.run(["cat", "/proc/sys/net/ipv4/conf/ens6/forwarding"]).strip() == "1"


@BOTH
@pytest.mark.parametrize("extent", [Extent.AHEAD, Extent.ALL])
def test_a_node_that_does_not_forward_is_unsound(node: Node, plumbing: Plumbing, extent: Extent) -> None:
    """The switch is the operator's, and is named."""
    path = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}[plumbing.address.version]
    node.namespace.sysctl({path: 0})
    said = f"forwarding: net.{path.replace('/', '.')} is 0, so that no pod can be reached"
    report = node.plumb(plumbing, extent)
    assert (report.state, report.problem.startswith(said)) == (UNSOUND, True)
    node.namespace.sysctl({path: 1})
    assert node.plumb(plumbing, extent).state is SOUND


@pytest.mark.parametrize("setting", ["all", "default", "ens6"])
def test_strict_filters_let_in_what_comes(node: Node, setting: str) -> None:
    """Whatever a hardened node has set: of the link's own value and that of `all` the larger counts, and loose is 2."""
    node.namespace.sysctl({f"ipv4/conf/{setting}/rp_filter": 1})
    assert node.plumb().state is SOUND


NETS = {
    4: {"half": "10.0.0.0/25", "other_half": "10.0.0.128/25", "vpc": "10.0.0.0/16"},
    6: {"half": "2001:db8:0:1::/65", "other_half": "2001:db8:0:1:8000::/65", "vpc": "2001:db8::/56"},
}
BY_ETH0 = "marked replies to .* would not leave by ens6: it would leave by eth0; is there a rule"
OWN_TRAFFIC = "this node's own traffic to .* leaves by ens6; remove"
ASTRAY = {
    "a rule before ours": ("rule add priority 100 table main", BY_ETH0),
    "a rule for what is near": ("rule add priority 100 table main suppress_prefixlength 0", BY_ETH0),
    "a goto over ours": ("rule add priority 100 goto 32766", BY_ETH0),
    "a rule for TCP": ("rule add priority 100 ipproto tcp table main", BY_ETH0),
    "a rule that drops replies": (
        "rule add priority 100 fwmark 0x40/0x40 blackhole",
        "marked replies to .* would not leave by ens6: ",
    ),
    "a default route by our link": (
        "route replace default via {gateway} dev ens6 onlink",
        "this node's own traffic leaves by ens6; remove the default route of others by it",
    ),
    "a route to the subnet by our link": (
        "route add {half} dev ens6",
        f"{OWN_TRAFFIC} the subnet route of others by it",
    ),
    "a route to a part of the subnet by our link": (
        "route add {other_half} dev ens6",
        f"{OWN_TRAFFIC} that route of others",
    ),
    "a route to the VPC by our link": (
        "route add {vpc} via {gateway} dev ens6 onlink",
        f"{OWN_TRAFFIC} that route of others",
    ),
}


@BOTH
@pytest.mark.parametrize("cause", ASTRAY)
@pytest.mark.parametrize("extent", [Extent.AHEAD, Extent.ALL])
def test_what_leads_replies_astray_is_named(node: Node, plumbing: Plumbing, cause: str, extent: Extent) -> None:
    """All of ours is in place, so reading it back shows nothing; the kernel tells where packets would go."""
    node.plumb(plumbing, extent)
    command, said = ASTRAY[cause]
    ip(node, plumbing, command.format(gateway=plumbing.gateway, **NETS[plumbing.address.version]))
    for _ in range(2):
        report = node.plumb(plumbing, extent)
        assert report.state is UNSOUND
        assert re.match(f"path: {said}", report.problem), report.problem


@BOTH
def test_a_route_by_our_link_that_the_kernel_does_not_choose_is_nobody_s_concern(
    node: Node, plumbing: Plumbing
) -> None:
    """A network manager gives each link its subnet, and the primary one the better metric."""
    node.namespace.ip("route add 10.0.0.0/24 dev eth0 metric 512", "address add 10.0.0.57/32 dev ens6")
    node.plumb(plumbing)
    net = "10.0.0.0/24" if plumbing.address.version == 4 else "2001:db8:0:1::/64"
    ip(node, plumbing, f"route add {net} dev ens6 metric 1000")
    assert node.plumb(plumbing) == PlumbingReport(SOUND)


@BOTH
def test_replies_from_the_address_itself_are_looked_at_too(node: Node, plumbing: Plumbing) -> None:
    """A pod of the host's network answers without any mark."""
    node.plumb(plumbing)
    ip(node, plumbing, f"rule add priority 100 from {plumbing.address} table main")
    report = node.plumb(plumbing)
    assert report.state is UNSOUND
    assert report.problem.startswith(f"path: replies from {plumbing.address} to ")


def test_a_link_that_is_a_port_of_a_bridge_is_named(node: Node) -> None:
    """What comes in by it comes by the bridge; which has its MAC, and is not taken for it."""
    node.namespace.ip("link add br0 type bridge", "link set br0 up", "link set ens6 master br0")
    for _ in range(2):
        report = node.plumb()
        assert report.state is UNSOUND
        assert report.problem == "master: ens6 is a part of br0, which has its packets; take it out there"
    assert {link for link, address, _ in node.addresses() if address == "10.0.0.100"} == {"ens6"}
    node.namespace.ip("link set ens6 nomaster")
    assert node.plumb().state is SOUND


def goes_by(node: Node, link: str) -> None:
    """Probes leave by this link, and none of them would be heard by the node itself."""
    assert blind(node) == ""
    (route,) = node.namespace.show("route show 10.0.0.100")
    assert route["dev"] == link


def test_where_the_primary_link_is_a_port_of_a_bridge_probes_go_by_the_bridge(node: Node) -> None:
    """As proxies and CNIs make it, with the MAC and the addresses of the link."""
    node.namespace.ip(
        f"link add br-ex address {IPV4.primary_mac} type bridge",
        "link set br-ex up",
        "link set eth0 master br-ex",
        "address flush dev eth0",
        "address add 10.0.0.10/24 dev br-ex",
        "route add default via 10.0.0.1",
    )
    goes_by(node, "br-ex")


def test_where_a_switch_of_its_own_has_the_primary_link_probes_go_by_its_link_with_the_mac(node: Node) -> None:
    """As Open vSwitch does, whose parts have a master with another MAC; only the switch's own link gets answers."""
    node.namespace.ip(
        "link add ovs-system address 02:00:00:00:00:77 type bridge",
        "link set eth0 master ovs-system",
        "address flush dev eth0",
        f"link add br-ex address {IPV4.primary_mac} type veth peer name far-br-ex",
        "link set far-br-ex up",
        "link set br-ex up",
        "address add 10.0.0.10/24 dev br-ex",
        "route add default via 10.0.0.1",
    )
    goes_by(node, "br-ex")


def test_a_port_of_a_bridge_with_the_mac_is_not_taken_for_the_link_that_had_it_before(node: Node) -> None:
    """A link of a container or a VLAN: that it is a part of something does not make it the ENI's."""
    node.plug("younger")
    node.namespace.ip("link add br0 type bridge", "link set br0 up", "link set younger master br0")
    assert node.plumb().state is SOUND
    assert {link for link, address, _ in node.addresses() if address == "10.0.0.100"} == {"ens6"}


@pytest.mark.parametrize(
    "default", ["nexthop via 10.0.0.7 dev eth0 nexthop via 10.0.0.7 dev eth0 weight 2", "nhid 5"], ids=["several", "id"]
)
def test_probes_go_by_the_gateway_however_it_is_given(node: Node, default: str) -> None:
    """Several next hops, or one that has a number of its own; the primary link is in another subnet than the ENI."""
    node.namespace.ip("nexthop add id 5 via 10.0.0.7 dev eth0", f"route replace default {default}")
    node.namespace.sysctl({"ipv4/nexthop_compat_mode": 0})
    node.route_probes(replace(IPV4, gateway=ip_address("10.0.7.1")))
    (route,) = node.namespace.show("route show 10.0.0.100")
    assert (route["gateway"], route["dev"]) == ("10.0.0.7", "eth0")


FORMS = [(IPV4, "{a} peer 10.0.0.101"), (IPV6, "{a} peer 2001:db8:0:1::65"), (IPV6, "{a}/64")]


@pytest.mark.parametrize(("plumbing", "form"), FORMS, ids=["IPv4-peer", "IPv6-peer", "IPv6-prefix"])
def test_an_address_that_others_have_put_on_our_link_is_ours(node: Node, plumbing: Plumbing, form: str) -> None:
    """In whatever form: nothing can be put beside it, and what is lost is taken off as it is there."""
    command = f"address add {form.format(a=plumbing.address)} dev ens6"
    node.plumb(plumbing, Extent.AHEAD)
    before = node.everything()
    ip(node, plumbing, command)
    report = node.plumb(plumbing, Extent.AHEAD)
    assert (report.state, report.removed) == (SOUND, ("address",))
    assert node.everything() == before
    ip(node, plumbing, command)
    assert node.plumb(plumbing) == PlumbingReport(SOUND, ("address", "rule"))
    assert ("ens6", str(plumbing.address), plumbing.address.max_prefixlen) in node.addresses()


def test_an_mtu_that_is_too_small_for_ipv6_is_named(node: Node) -> None:
    """Ours is that of the primary link; the kernel says no more than that an argument is invalid."""
    node.namespace.ip("link set eth0 mtu 1200")
    report = node.plumb(IPV6)
    said = "address: the MTU of eth0, 1200, is below the 1280 that IPv6 needs; raise it"
    assert (report.state, report.problem) == (UNSOUND, said)


@BOTH
def test_two_addresses_do_not_take_each_other_for_others(node: Node, plumbing: Plumbing) -> None:
    """Neither of the same family nor of both: each has its own rules, and is on the way of none."""
    for one in (IPV4, IPV6):
        assert node.plumb(one).state is SOUND
    assert node.plumb(plumbing).problem == ""


@BOTH
def test_what_arrives_is_asked_for_by_our_link(node: Node, plumbing: Plumbing) -> None:
    """Without the rule for the node's own addresses it is not delivered, and to add it again would help nobody."""
    assert node.plumb(plumbing).state is SOUND
    address, elsewhere = plumbing.address, "eth0" if plumbing.address.version == 4 else "ens6"
    ip(node, plumbing, "rule del priority 0")
    report = node.plumb(plumbing)
    said = f"path: what comes in by ens6 does not reach {address}: it would leave by {elsewhere}"
    assert (report.state, report.repaired, report.problem) == (UNSOUND, (), said)


@BOTH
def test_a_pod_cannot_send_in_the_address_name(node: Node, plumbing: Plumbing) -> None:
    """By our link it could, to anybody: there the VPC lets it pass.  By the primary one the source check drops it."""
    node.namespace.ip("link add pod type veth peer name far-pod", "link set far-pod up", "link set pod up")
    node.namespace.sysctl({"ipv4/conf/pod/accept_local": 1, "ipv4/conf/pod/rp_filter": 0})
    assert node.plumb(plumbing).state is SOUND
    far = FAR[plumbing.address.version]
    (route,) = node.namespace.show(f"route get {far} from {plumbing.address} iif pod")
    assert route["dev"] == "eth0"
    # A pod's reply that has got its source back already, as IPVS may route it once more, is marked.
    (route,) = node.namespace.show(f"route get {far} from {plumbing.address} iif pod mark {plumbing.mark:#x}")
    assert route["dev"] == "ens6"
    (route,) = node.namespace.show(f"route get {far} from {plumbing.address}")
    assert route["dev"] == "ens6"
