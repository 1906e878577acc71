"""
The VPC: one namespace that routes between ports, one port per ENI.

What it does as EC2's network does it, because failover depends on it:

- Frames follow the ENI: each address is a /32 or /128 route to its ENI's port, with that ENI's MAC as a permanent
  neighbour.
- It answers ARP for every address itself and at once (proxy ARP), so that no guest answers for another ENI's address.
- It answers NDP as fe80:ec2::1 on every port, and for nothing else: proxy NDP would need an entry per address and port,
  also for what nobody owns.  So a guest must not believe that the subnet is on its link: it has its IPv6 address as a
  /128, as DHCPv6 gives it on EC2, and a default route, but not the prefix that EC2 advertises beside it.  Its frames
  have the router's MAC either way.
- Source/destination check: what an ENI sends with a source address that it does not own is dropped, and counted.  What
  is of the link alone (NDP) passes, and ends here.
- Silence for what nobody owns: an error sent back at once would flatter every failure detection.
- An Elastic IP is a 1:1 translation on the way from and to the outside; everything here sees the private address only.

Names in namespace `vpc`: `p1`, `p2`, ... are ENIs' ports, `router` leads outside, `void` swallows the IPv4 packets to
what nobody owns (those of IPv6 end in a blackhole route).
"""

import itertools
import json
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Self

from lab.netns import Namespace

VPC_CIDR = "10.0.0.0/16"
SUBNET_PREFIX = 24
GATEWAY = "10.0.0.1"
EC2_ADDRESS = "192.0.2.2"
CLIENT_IN_ADDRESS = "10.0.0.200"
CLIENT_OUT_ADDRESS = "198.51.100.10"
OUTSIDE_CIDR = "198.51.100.0/24"
OUTSIDE_GATEWAY = "198.51.100.1"

VPC_IPV6_CIDR = "2001:db8::/56"
IPV6_GATEWAY = "fe80:ec2::1"
"""The VPC router's link-local address on every link, beside one made from its MAC (VPC user guide)."""
CLIENT_IN_IPV6 = "2001:db8:0:1::200"
CLIENT_OUT_IPV6 = "2001:db8:ffff::10"

MTU = 9001
"""Bytes; what EC2 gives to a primary interface."""
BARE_MTU = 1500
"""Bytes; what a hot-plugged interface has until somebody copies the primary's."""

EVERYTHING = "0.0.0.0/0"

# A partition is one of both families.  NDP stays, as ARP does: it is not in 2000::/3, which is all of global unicast.
_IPV6_TWIN = {EVERYTHING: "2000::/3", VPC_CIDR: VPC_IPV6_CIDR}

_TABLE = """
table {family} fabric {{
    set owned {{ type ifname . {address}; }}
    set blocked {{ type ifname . {address}; flags interval; }}
    set icmp_closed {{ type {address}; }}
    set dropped {{ type ifname . {address}; size 4096; flags dynamic; }}
    chain ingress {{
        type filter hook prerouting priority raw; policy accept;
        {unchecked}
        iifname "p*" iifname . {family} saddr != @owned add @dropped {{ iifname . {family} saddr counter }} drop
        iifname . {family} daddr @blocked drop
        {family} daddr @icmp_closed {icmp} type echo-request drop
    }}
    chain egress {{
        type filter hook postrouting priority filter; policy accept;
        oifname . {family} saddr @blocked drop
    }}
    chain own_errors {{
        type filter hook output priority filter; policy accept;
        {icmp} type {too_big} accept
        {icmp} type {{ destination-unreachable, time-exceeded, parameter-problem, {redirect} }} drop
    }}
}}
"""
_IPV4_TABLE = _TABLE.format(
    family="ip",
    address="ipv4_addr",
    unchecked="",
    icmp="icmp",
    too_big="destination-unreachable icmp code frag-needed",
    redirect="redirect",
)
_IPV6_TABLE = _TABLE.format(
    family="ip6",
    address="ipv6_addr",
    # The unspecified address: duplicate address detection, and multicast listener reports before there is an address.
    unchecked='iifname "p*" ip6 saddr { ::, fe80::/10 } ip6 daddr { fe80::/10, ff02::/16 } accept',
    icmp="icmpv6",
    too_big="packet-too-big",
    redirect="nd-redirect",
)
# Without conntrack, which would go on translating a connection, and answer a new one, by an association that is gone.
_ELASTIC_IPS = """
table ip elastic-ips {
    map inbound { type ipv4_addr : ipv4_addr; }
    map outbound { type ipv4_addr : ipv4_addr; }
    chain enter {
        type filter hook prerouting priority raw - 1; policy accept;
        iifname "router" ip daddr set ip daddr map @inbound
    }
    chain leave {
        type filter hook postrouting priority filter + 1; policy accept;
        oifname "router" ip saddr set ip saddr map @outbound
    }
}
"""


@dataclass
class _Port:
    """Where an ENI is plugged in.  It outlives its link after a power cut: for EC2 the ENI is attached still."""

    name: str
    mac: str
    namespace: Namespace
    addresses: set[str] = field(default_factory=set)
    blocked: set[str] = field(default_factory=set)
    powered: bool = True
    silent: bool = False


class Fabric:
    """
    The VPC and its two clients; a context manager that makes them and removes all that it made.

    Addresses are written as text, without a prefix length, of either family.  All methods may be called from any
    thread.
    """

    def __init__(self) -> None:
        self.vpc = Namespace("vpc")
        self.client_in = Namespace("client-in")
        self.client_out = Namespace("client-out")
        self._ports: dict[str, _Port] = {}
        self._eni_of_port: dict[str, str] = {}
        self._associations: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the namespaces of the VPC and the clients, with all ports.  Idempotent."""
        with self._lock:
            self._ports.clear()
            for namespace in (self.client_in, self.client_out, self.vpc):
                namespace.delete()

    def _build(self) -> None:
        for namespace in (self.vpc, self.client_in, self.client_out):
            namespace.create()
            # No link is up yet: each takes over what `default` says.
            namespace.sysctl({"ipv6/conf/default/accept_dad": 0, "ipv6/conf/default/accept_ra": 0})
        self.vpc.sysctl(
            {
                "ipv4/ip_forward": 1,
                "ipv4/conf/all/rp_filter": 0,
                "ipv4/conf/default/rp_filter": 0,
                "ipv4/conf/all/send_redirects": 0,
                "ipv4/conf/default/send_redirects": 0,
                "ipv4/conf/default/proxy_arp": 1,
                "ipv6/conf/all/forwarding": 1,
            }
        )
        self.vpc.ip(
            f"address add {EC2_ADDRESS}/32 dev lo",
            # A device without ARP whose other end stays down swallows everything; a blackhole route would do that too,
            # but proxy ARP answers only for what is routed to a device.
            f"link add void mtu {MTU} type veth peer name void-end",
            "link set void arp off up",
            f"route add {VPC_CIDR} dev void",
            f"route add {OUTSIDE_CIDR} dev void",
            "route add blackhole default",
            "route add blackhole ::/0",
        )
        self.vpc.nft(_IPV4_TABLE + _IPV6_TABLE + _ELASTIC_IPS)
        self.plug(
            "eni-client-in",
            "02:00:00:00:00:c8",
            [CLIENT_IN_ADDRESS, CLIENT_IN_IPV6],
            self.client_in,
            "eth0",
            up=True,
        )
        self.client_in.ip(
            f"address add {CLIENT_IN_ADDRESS}/{SUBNET_PREFIX} dev eth0",
            f"address add {CLIENT_IN_IPV6}/128 dev eth0",
            f"route add default via {GATEWAY}",
            f"route add default via {IPV6_GATEWAY} dev eth0",
        )
        self.vpc.ip(
            f"link add router mtu {BARE_MTU} type veth peer name eth0 mtu {BARE_MTU} netns {self.client_out.name}",
            f"address add {IPV6_GATEWAY}/64 dev router",
            "link set router up",
            f"route add {CLIENT_OUT_ADDRESS} dev router",
            f"route add {CLIENT_OUT_IPV6} dev router",
        )
        self._answer_arp_at_once("router")
        self.client_out.ip(
            f"address add {CLIENT_OUT_ADDRESS}/24 dev eth0",
            f"address add {CLIENT_OUT_IPV6}/128 dev eth0",
            "link set eth0 up",
            f"route add default via {OUTSIDE_GATEWAY}",
            f"route add default via {IPV6_GATEWAY} dev eth0",
        )

    # -- ENIs

    def plug(
        self, eni_id: str, mac: str, addresses: Sequence[str], namespace: Namespace, ifname: str, *, up: bool = False
    ) -> None:
        """
        Make the ENI appear in `namespace` as `ifname`: up with EC2's MTU, or as a hot plug leaves it, DOWN and bare.

        The link is born in its namespace with its name and MAC, so whoever listens there sees one event.

        Raises ValueError if the ENI is plugged in somewhere, CommandFailed if the link cannot be made.
        """
        with self._lock:
            if eni_id in self._ports:
                raise ValueError(f"{eni_id} is plugged into {self._ports[eni_id].namespace.name} already")
            port = _Port(f"p{next(self._numbers)}", mac, namespace)
            guest_mtu = MTU if up else BARE_MTU
            self.vpc.ip(
                f"link add {port.name} mtu {MTU} type veth"
                f" peer name {ifname} address {mac} mtu {guest_mtu} netns {namespace.name}",
                f"address add {IPV6_GATEWAY}/64 dev {port.name}",
                f"link set {port.name} up",
            )
            self._ports[eni_id] = port
            self._eni_of_port[port.name] = eni_id
            self._answer_arp_at_once(port.name)
            self._lead(port, addresses)
            if up:
                namespace.ip(f"link set {ifname} up")

    def unplug(self, eni_id: str) -> None:
        """Take the ENI's link away, and its addresses off the VPC.  Idempotent, also after a power cut."""
        with self._lock:
            port = self._ports.get(eni_id)
            if port is None:
                return
            self._cut(port)
            self.unblock(eni_id)
            self._elements("delete", "owned", port.name, port.addresses)
            del self._ports[eni_id]

    def assign(self, eni_id: str, address: str) -> None:
        """
        Let `address` lead to the ENI from now on, and no longer to another one.

        An ENI that is not plugged in has no port to lead to: then the address only leaves where it was.
        """
        with self._lock:
            self._lead(self._ports.get(eni_id), [address])

    def unassign(self, eni_id: str, address: str) -> None:
        """Let nobody own `address`, if it was this ENI's.  Idempotent."""
        address = _canonical(address)
        with self._lock:
            port = self._ports.get(eni_id)
            if port is None or address not in port.addresses:
                return
            if port.powered:
                self.vpc.ip(f"route delete {address} dev {port.name}", f"neigh delete {address} dev {port.name}")
            self._elements("delete", "owned", port.name, [address])
            port.addresses.remove(address)

    def plugged(self, namespace: Namespace) -> list[str]:
        """The ENIs that are plugged into `namespace`, oldest first."""
        with self._lock:
            return [eni_id for eni_id, port in self._ports.items() if port.namespace is namespace]

    def source_check_drops(self) -> dict[tuple[str, str], int]:
        """Packets that the source/destination check has dropped so far, by ENI and foreign source address."""
        drops = {}
        for family in ("ip", "ip6"):
            listing = json.loads(self.vpc.run(["nft", "-j", "list", "set", family, "fabric", "dropped"]))
            described: dict[str, Any] = next(item["set"] for item in listing["nftables"] if "set" in item)
            for element in described.get("elem", []):
                port, source = element["elem"]["val"]["concat"]
                drops[self._eni_of_port[port], source] = int(element["elem"]["counter"]["packets"])
        return drops

    # -- Elastic IPs

    def associate(self, public: str, private: str) -> None:
        """
        Let the outside reach `private` as `public`, and see it as that; both moved away from their earlier partners.

        Acts at once, on connections under way too.  As behind an internet gateway, the outside no longer gets answers
        from `private` by its own name.  ICMP errors about a translated packet are not translated inside: the outside
        ignores them.
        """
        with self._lock:
            kept = {one: other for one, other in self._associations.items() if private != other}
            self._translate(kept | {public: private})

    def disassociate(self, public: str) -> None:
        """Let nobody answer at `public`.  Idempotent."""
        with self._lock:
            self._translate({one: other for one, other in self._associations.items() if public != one})

    def _translate(self, associations: dict[str, str]) -> None:
        elements = "".join(
            f"add element ip elastic-ips inbound {{ {public} : {private} }}\n"
            f"add element ip elastic-ips outbound {{ {private} : {public} }}\n"
            for public, private in associations.items()
        )
        self.vpc.nft(f"flush map ip elastic-ips inbound\nflush map ip elastic-ips outbound\n{elements}")
        self._associations = associations

    # -- failures

    def silence(self, eni_ids: Collection[str]) -> None:
        """
        Drop everything to and from these ENIs, ARP and NDP too, with the carrier left on, as when a kernel hangs.

        Idempotent; an ENI that is not plugged in (EC2 may detach at any time) is passed over, here and below.
        """
        with self._lock:
            for eni_id in eni_ids:
                port = self._ports.get(eni_id)
                if port is not None and port.powered and not port.silent:
                    self.vpc.nft(
                        f"table netdev silence-{port.name} {{\n"
                        f"chain ingress {{ type filter hook ingress device {port.name} priority -500; policy drop; }}\n"
                        f"chain egress {{ type filter hook egress device {port.name} priority -500; policy drop; }}\n"
                        "}\n"
                    )
                    port.silent = True

    def unsilence(self, eni_ids: Collection[str]) -> None:
        """Undo `silence`.  Idempotent."""
        with self._lock:
            for eni_id in eni_ids:
                port = self._ports.get(eni_id)
                if port is not None and port.silent:
                    self.vpc.nft(f"delete table netdev silence-{port.name}")
                    port.silent = False

    def cut(self, eni_ids: Collection[str]) -> None:
        """Cut these ENIs' power: the links go, the addresses stay assigned and lead nowhere.  Idempotent."""
        with self._lock:
            for port in [self._ports[eni_id] for eni_id in eni_ids if eni_id in self._ports]:
                self._cut(port)

    def block(self, eni_id: str, addresses: Collection[str]) -> None:
        """
        Drop everything between the ENI and `addresses` (addresses or networks that do not overlap), both ways.

        [EVERYTHING] partitions it from all, [EC2_ADDRESS] from EC2 only, [VPC_CIDR] from its peers only; the networks
        among these stand for their IPv6 counterparts too.
        """
        wanted = {*addresses, *(_IPV6_TWIN[address] for address in addresses if address in _IPV6_TWIN)}
        with self._lock:
            port = self._ports[eni_id]
            self._elements("add", "blocked", port.name, wanted - port.blocked)
            port.blocked |= wanted

    def unblock(self, eni_id: str) -> None:
        """Undo every `block` of the ENI.  Idempotent."""
        with self._lock:
            port = self._ports.get(eni_id)
            if port is not None:
                self._elements("delete", "blocked", port.name, port.blocked)
                port.blocked.clear()

    def close_icmp(self, address: str) -> None:
        """Let no ping reach `address`, as a security group without ICMP does.  Idempotent."""
        self.vpc.nft(f"add element {_family(address)} fabric icmp_closed {{ {address} }}")

    def open_icmp(self, address: str) -> None:
        """Undo `close_icmp`.  Raises CommandFailed if it was not closed."""
        self.vpc.nft(f"delete element {_family(address)} fabric icmp_closed {{ {address} }}")

    # -- parts

    def _lead(self, port: _Port | None, addresses: Collection[str]) -> None:
        """Take these addresses off every other port, and lead those to `port` that it does not have."""
        wanted = {_canonical(address) for address in addresses}
        for eni_id, other in self._ports.items():
            if other is not port:
                for address in other.addresses & wanted:
                    self.unassign(eni_id, address)
        if port is None:
            return
        new = sorted(wanted - port.addresses)
        if port.powered:
            self.vpc.ip(
                *(f"neigh replace {address} lladdr {port.mac} nud permanent dev {port.name}" for address in new),
                *(f"route replace {address} dev {port.name}" for address in new),
            )
        self._elements("add", "owned", port.name, new)
        port.addresses.update(new)

    def _cut(self, port: _Port) -> None:
        # The link first: what was silent must not be heard of again in between.
        if port.powered:
            self.vpc.ip(f"link delete {port.name}")
            port.powered = False
        if port.silent:
            self.vpc.nft(f"delete table netdev silence-{port.name}")
            port.silent = False

    def _answer_arp_at_once(self, port: str) -> None:
        """The default would be up to 0.8 s later; it cannot be changed for all devices, save in the first namespace."""
        self.vpc.sysctl({f"ipv4/neigh/{port}/proxy_delay": 0})

    def _elements(self, verb: str, set_name: str, port: str, addresses: Collection[str]) -> None:
        if addresses:
            commands = (
                f'{verb} element {_family(address)} fabric {set_name} {{ "{port}" . {address} }}\n'
                for address in sorted(addresses)
            )
            self.vpc.nft("".join(commands))


def _family(address: str) -> str:
    """nft's name for the family of an address or network."""
    return "ip6" if ":" in address else "ip"


def _canonical(address: str) -> str:
    """The one way to write an address: of IPv6 there are many."""
    return str(ip_address(address))
