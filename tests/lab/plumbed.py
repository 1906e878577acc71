"""A node reduced to its links, in a namespace of its own, and the plumbing of one address on it."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport, PlumbingState
from floatingip.edges.kernel import marks
from floatingip.edges.kernel.host import KernelHost
from floatingip.edges.kernel.mark_table import table_name
from lab.network.netns import Namespace

SOUND, UNSOUND, NO_LINK = PlumbingState.SOUND, PlumbingState.UNSOUND, PlumbingState.NO_LINK

IPV4 = Plumbing(
    address=ip_address("10.0.0.100"),
    mac="02:00:00:00:00:64",
    gateway=ip_address("10.0.0.1"),
    primary_mac="02:00:00:00:00:0a",
    table=1064,
    priority=900,
    mark=0x40,
    mark_mask=0x40,
)
IPV6 = replace(IPV4, address=ip_address("2001:db8:0:1::64"), gateway=ip_address("fe80:ec2::1"))
MARKS = table_name(IPV4.address)
BOTH = pytest.mark.parametrize("plumbing", [IPV4, IPV6], ids=["IPv4", "IPv6"])


class Node:
    """A worker reduced to its links; `plumb` and the others run `host` in a thread inside, as the agent would."""

    def __init__(self, namespace: Namespace, host: KernelHost) -> None:
        self.namespace = namespace
        self.host = host

    def plumb(self, plumbing: Plumbing = IPV4, extent: Extent = Extent.ALL) -> PlumbingReport:
        return self.namespace.call(lambda: self.host.plumb(plumbing, extent))

    def unplumb(self, plumbing: Plumbing = IPV4) -> tuple[str, ...]:
        return self.namespace.call(lambda: self.host.unplumb(plumbing))

    def route_probes(self, plumbing: Plumbing = IPV4) -> None:
        self.namespace.call(lambda: self.host.route_probes(plumbing))

    def unroute_probes(self, plumbing: Plumbing = IPV4) -> None:
        self.namespace.call(lambda: self.host.unroute_probes(plumbing))

    def announce(self, plumbing: Plumbing = IPV4) -> None:
        self.namespace.call(lambda: self.host.announce(plumbing))

    def watch(self, wake: Callable[[], None]) -> None:
        self.namespace.call(lambda: self.host.watch(wake))

    def route_to(self, address: object) -> tuple[str, str]:
        """By which gateway and link a packet for the address would leave."""
        (route,) = self.namespace.show(f"route get {address}")
        return route["gateway"], route["dev"]

    def rules(self, plumbing: Plumbing) -> list[dict[str, Any]]:
        """Those of the plumbing's family."""
        return self.namespace.show(f"-{plumbing.address.version} rule show")

    def plug(self, name: str = "ens6") -> None:
        """The ENI appears as EC2 shows it: down and bare; the other end stays in the fabric's place."""
        self.namespace.ip(
            f"link add {name} address {IPV4.mac} type veth peer name far-{name}", f"link set far-{name} up"
        )

    def unplug(self, name: str = "ens6") -> None:
        self.namespace.ip(f"link del {name}")

    def table(self, plumbing: Plumbing) -> list[dict[str, object]]:
        """The routes of the plumbing's own table."""
        return self.namespace.show(f"-{plumbing.address.version} route show table {plumbing.table}")

    def nft(self) -> str:
        return self.namespace.run(["nft", "list", "ruleset"])

    def everything(self) -> tuple[object, ...]:
        """All that this module may change, and its neighbourhood."""
        shown = ("rule show", "-6 rule show", "-4 route show table all")
        return *(self.namespace.show(what) for what in shown), self.routes6(), self.addresses(), self.nft()

    def routes6(self) -> list[dict[str, object]]:
        """Without the kernel's own for link-local and multicast, which come some time after a link is up."""
        routes = self.namespace.show("-6 route show table all")
        return [route for route in routes if route.get("protocol") != "kernel"]

    def addresses(self) -> list[tuple[object, ...]]:
        """Without the link-local ones, which come some time after a link is up."""
        return [
            (link["ifname"], info["local"], info["prefixlen"])
            for link in self.namespace.show("address show")
            for info in link["addr_info"]
            if info["scope"] == "global"
        ]


def ip(node: Node, plumbing: Plumbing, command: str) -> None:
    """Somebody else's `ip`, in the address' family."""
    (node.namespace.ip if plumbing.address.version == 4 else node.namespace.ip6)(command)


def plumbed_node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node with its primary link, and an ENI that was just plugged in; on a busy machine nft may take a while."""
    monkeypatch.setattr(marks, "PATIENCE", 5.0)
    namespace = Namespace("node")
    namespace.create()
    # Duplicate detection would let IPv6 addresses and routes come a second late, in the midst of a test.
    namespace.sysctl({"ipv6/conf/all/accept_dad": 0, "ipv6/conf/default/accept_dad": 0})
    namespace.sysctl({"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1})
    namespace.ip(
        f"link add eth0 address {IPV4.primary_mac} mtu 9001 type veth peer name far-eth0",
        "link set far-eth0 up",
        "link set eth0 up",
        "address add 10.0.0.10/24 dev eth0",
        "route add default via 10.0.0.1",
    )
    host = KernelHost()
    node = Node(namespace, host)
    node.plug()
    yield node
    host.close()
    namespace.delete()


def settle(woken: threading.Event) -> None:
    """Wait until nothing has happened for 0.1 s: links that have just come up still get addresses and routes."""
    while woken.is_set() or woken.wait(0.1):
        woken.clear()


def rules_of_ours(node: Node, plumbing: Plumbing) -> dict[int, tuple[str, str | None, str]]:
    """Source, mark and table of the rules at our priorities."""
    ours = (rule for rule in node.rules(plumbing) if rule["priority"] in (900, 901))
    return {rule["priority"]: (rule["src"], rule.get("fwmark"), rule["table"]) for rule in ours}
