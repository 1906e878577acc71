"""Whether probes would leave this node by its primary link: whatever they are, and just after it has booted, too."""

from contextlib import suppress

import pytest

from floatingip.core.errors import HostError
from floatingip.core.plumbing import Plumbing
from tests.lab.plumbed import BOTH, IPV4, IPV6, Node, ip

pytestmark = pytest.mark.usefixtures("with_ipv6")
PROTOCOLS = {4: {"icmp": 1, "tcp": 6}, 6: {"icmp": 58, "tcp": 6}}
UNSEEN = "{a} cannot be probed from here: "
DOWN = "the primary link eth0 is down; bring it up"
NO_ROUTE = "there is no route; give this node its default route by eth0, and the rule that leads to the table main"


@pytest.fixture(name="with_ipv6")
def _with_ipv6(node: Node) -> None:
    """IPv6 has an address and a default route, too."""
    node.namespace.ip("address add 2001:db8:0:1::10/64 dev eth0", "route add default via fe80:ec2::1 dev eth0 onlink")


def blind(node: Node, plumbing: Plumbing) -> str:
    """What a standby says of its probes, once they are routed as far as they can be."""

    def ask() -> str:
        with suppress(HostError):  # a link that is down takes no route
            node.host.route_probes(plumbing)
        return node.host.blind(plumbing)

    return node.namespace.call(ask).replace(UNSEEN.format(a=plumbing.address), "")


@BOTH
@pytest.mark.parametrize("protocol", ["icmp", "tcp"])
def test_a_rule_for_one_kind_of_probes_is_found(node: Node, plumbing: Plumbing, protocol: str) -> None:
    """They are pings, and TCP connections once one is lost."""
    assert blind(node, plumbing) == ""
    number = PROTOCOLS[plumbing.address.version][protocol]
    for command in ("route add default dev ens6 table 77", f"rule add priority 100 ipproto {number} table 77"):
        node.namespace.ip("link set ens6 up")
        ip(node, plumbing, command)
    assert blind(node, plumbing) == "probes would leave by ens6, not by eth0; remove that route or rule of others"


@BOTH
def test_a_node_that_is_not_up_yet_is_not_told_to_remove_what_others_have(node: Node, plumbing: Plumbing) -> None:
    """There is nothing to be removed; once its link, address and route are there it sees."""
    node.namespace.ip("link set eth0 down", "address flush dev eth0")
    assert blind(node, plumbing) == DOWN
    node.namespace.ip("link set eth0 up", "address add 10.0.0.10/24 dev eth0", "route add default via 10.0.0.1")
    node.namespace.ip("address add 2001:db8:0:1::10/64 dev eth0", "route add default via fe80:ec2::1 dev eth0 onlink")
    assert blind(node, plumbing) == ""


def test_a_node_without_any_rule_to_its_routes_is_told_what_it_lacks(node: Node) -> None:
    """As after `ip rule flush`, which takes more than whoever types it expects."""
    node.namespace.ip("rule flush")
    assert blind(node, IPV4) == NO_ROUTE
    node.namespace.ip("rule add priority 32766 lookup main")
    assert blind(node, IPV4) == ""


@BOTH
def test_a_node_that_has_no_address_to_probe_from_is_told_so(node: Node, plumbing: Plumbing) -> None:
    """The kernel would send them from a link-local one, which no router passes on: nobody ever answers then."""
    assert blind(node, plumbing) == ""
    node.namespace.ip("address flush dev eth0 scope global", "address add 169.254.20.10/32 dev lo")
    node.namespace.ip("route add default via 10.0.0.1 dev eth0 onlink")
    assert blind(node, plumbing) == f"eth0 has no IPv{plumbing.address.version} address; give it one"


def test_a_node_whose_primary_link_has_no_ipv6_is_told_what_switched_it_off(node: Node) -> None:
    """The kernel then only says that there is no route, and that it permits none."""
    node.namespace.sysctl({"ipv6/conf/eth0/disable_ipv6": 1})
    assert blind(node, IPV6) == "net.ipv6.conf.eth0.disable_ipv6 is 1; set it to 0"
    with pytest.raises(HostError, match="disable_ipv6 is 1; set it to 0"):
        node.route_probes(IPV6)
    assert blind(node, IPV4) == ""
