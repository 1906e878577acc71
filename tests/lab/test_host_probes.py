"""The way of a standby's probes to the floating address, on a real kernel."""

import re
from dataclasses import replace
from ipaddress import ip_address

import pytest

from floatingip.core.errors import HostError
from floatingip.core.plumbing import Extent, Plumbing
from tests.lab.plumbed import BOTH, IPV4, Node, ip


def test_probes_go_by_the_gateway(node: Node) -> None:
    """On a standby the next hop to the floating address is the router, not the address itself, until that is undone."""
    before = node.everything()
    for _ in range(2):
        node.route_probes()
        assert node.route_to("10.0.0.100") == ("10.0.0.1", "eth0")
    for _ in range(2):
        node.unroute_probes()
        assert node.everything() == before


def test_probes_go_by_the_primary_link_s_own_gateway_in_another_subnet(node: Node) -> None:
    """The gateway of the ENI's subnet cannot be reached from a primary link in another one."""
    node.route_probes(replace(IPV4, gateway=ip_address("10.0.7.1")))
    (route,) = node.namespace.show("route get 10.0.0.100")
    assert route["gateway"] == "10.0.0.1"


def test_the_probe_route_replaces_another_one_of_ours(node: Node) -> None:
    """Such as a leftover by another link."""
    node.namespace.ip("link set ens6 up", "route add 10.0.0.100 dev ens6 proto 102")
    node.route_probes()
    assert node.route_to("10.0.0.100") == ("10.0.0.1", "eth0")


@BOTH
@pytest.mark.parametrize("metric", ["", "metric 7"])
def test_a_route_of_others_to_the_address_stays_and_is_named(node: Node, plumbing: Plumbing, metric: str) -> None:
    """It is neither replaced nor, by and by, removed."""
    address, version = plumbing.address, plumbing.address.version
    node.namespace.ip("link set ens6 up")
    ip(node, plumbing, f"route add {address} dev ens6 proto static {metric}")
    before = node.namespace.show(f"-{version} route show {address}")
    said = f"the main table has a route of others to {address} ({address}/{address.max_prefixlen} proto static)"
    with pytest.raises(HostError, match=re.escape(f"{said}; remove that route")):
        node.route_probes(plumbing)
    node.unroute_probes(plumbing)
    assert node.namespace.show(f"-{version} route show {address}") == before
    assert before


def test_the_holder_does_not_route_its_own_address_away(node: Node) -> None:
    """An address of this node needs no route."""
    node.plumb()
    before = node.everything()
    node.route_probes()
    assert node.everything() == before


@BOTH
def test_a_standby_that_is_plumbed_ahead_probes_by_its_primary_link(node: Node, plumbing: Plumbing) -> None:
    """What it sends to the address leaves by the gateway and eth0, though a second link stands ready for it."""
    node.namespace.ip("address add 2001:db8:0:1::10/128 dev eth0", "route add default via fe80:ec2::1 dev eth0 onlink")
    node.plumb(plumbing, Extent.AHEAD)
    node.route_probes(plumbing)
    (route,) = node.namespace.show(f"route get {plumbing.address}")
    gateway = "10.0.0.1" if plumbing.address.version == 4 else "fe80:ec2::1"
    assert (route["gateway"], route["dev"]) == (gateway, "eth0")


def test_without_a_primary_link_probes_cannot_be_routed(node: Node) -> None:
    """Said in an error of one line, which names the MAC."""
    elsewhere = replace(IPV4, primary_mac="02:00:00:00:00:99")
    with pytest.raises(HostError, match=r"^no link has the primary MAC 02:00:00:00:00:99$"):
        node.route_probes(elsewhere)
    assert node.plumb(elsewhere).problem == "mtu: no link has the primary MAC 02:00:00:00:00:99"
