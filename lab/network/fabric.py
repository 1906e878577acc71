"""
The VPC: one namespace that routes between ports, one port per ENI.

It does these things as EC2's network does, because failover depends on them:

- It answers ARP and NDP itself (neighbours.py), so that no guest answers for another ENI's address: with the MAC of the
  ENI that owns the address now, with the router's own MAC for the gateway, and not at all for an address that nobody
  owns.
- Frames follow the MAC: a frame to the router's MAC goes to the ENI that owns the address, by a /32 or /128 route; a
  frame to an ENI's MAC goes to that ENI, or nowhere if another ENI owns the address by now.  (The old owner could do
  nothing good with it: its answer would fail the source check.)  So a guest with a stale neighbour entry loses what it
  sends by that entry.
- All other guests hear an announcement if the ENI that makes it owns the address, and `carry_announcements` is on.
- Source/destination check: what an ENI sends with a source address that it does not own is dropped, and counted.
  Link-local packets (NDP) pass, and go no further than the router.
- An address that nobody owns is silent: an error that comes back at once would flatter every failure detection.
- An Elastic IP is a 1:1 translation on the way from and to the outside; inside the VPC only the private address is
  seen.

Names in namespace `vpc`: `p1`, `p2`, ... are ENIs' ports, `router` leads outside, and `void` swallows IPv4 packets from
outside to addresses that nobody owns (all other such packets end in a blackhole route).
"""

import itertools
import json
import threading
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, ip_network
from typing import Any

from lab.network import tables
from lab.network.neighbours import Neighbours
from lab.network.netns import Namespace
from lab.network.owners import Owners, Port, canonical
from lab.network.tables import ROUTER_MAC
from lab.resource import Resource

VPC_CIDR = "10.0.0.0/16"
SUBNET_PREFIX = 24
GATEWAY = "10.0.0.1"
EC2_ADDRESS = "192.0.2.2"
CLIENT_IN_ADDRESS = "10.0.0.200"
CLIENT_OUT_ADDRESS = "198.51.100.10"
OUTSIDE_CIDR = "198.51.100.0/24"
OUTSIDE_GATEWAY = "198.51.100.1"

VPC_IPV6_CIDR = "2001:db8::/56"
SUBNET_IPV6_PREFIX = 64
IPV6_GATEWAY = "fe80:ec2::1"
"""The VPC router's link-local address on every link, beside one made from its MAC (VPC user guide)."""
CLIENT_IN_IPV6 = "2001:db8:0:1::200"
CLIENT_OUT_IPV6 = "2001:db8:ffff::10"

MTU = 9001
"""Bytes; what EC2 gives to a primary interface."""
BARE_MTU = 1500
"""Bytes; what a hot-plugged interface has until somebody copies the primary's."""

EVERYTHING = "0.0.0.0/0"

# A partition cuts both families.  NDP goes on, as ARP does: it does not use 2000::/3, which is all of global unicast.
_IPV6_TWIN = {EVERYTHING: "2000::/3", VPC_CIDR: VPC_IPV6_CIDR}


class Fabric(Resource):
    """
    The VPC and its two clients; a context manager that makes them and removes all that it made.

    Addresses are written as text, without a prefix length, of either family.  All methods may be called from any
    thread.

    carry_announcements: whether guests hear announcements; can be changed at any time.
    """

    def __init__(self) -> None:
        self.vpc = Namespace("vpc")
        self.client_in = Namespace("client-in")
        self.client_out = Namespace("client-out")
        self.carry_announcements = True
        self._neighbours: Neighbours | None = None
        self._ports: dict[str, Port] = {}
        self._owners = Owners()
        self._eni_of_port: dict[str, str] = {}
        self._associations: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()

    def close(self) -> None:
        """Remove the namespaces of the VPC and the clients, with all ports.  Idempotent."""
        with self._lock:
            if self._neighbours is not None:
                self._neighbours.close()
                self._neighbours = None
            self._ports.clear()
            self._owners.clear()
            for namespace in (self.client_in, self.client_out, self.vpc):
                namespace.delete()

    def _build(self) -> None:
        for namespace in (self.vpc, self.client_in, self.client_out):
            namespace.create()
            # No link exists yet: each new one takes over the values of `default`.
            namespace.sysctl({"ipv6/conf/default/accept_dad": 0, "ipv6/conf/default/accept_ra": 0})
        self.vpc.sysctl(
            {
                "ipv4/ip_forward": 1,
                "ipv4/conf/all/rp_filter": 0,
                "ipv4/conf/default/rp_filter": 0,
                "ipv4/conf/all/send_redirects": 0,
                "ipv4/conf/default/send_redirects": 0,
                "ipv6/conf/all/forwarding": 1,
            }
        )
        self.vpc.ip(
            f"address add {EC2_ADDRESS}/32 dev lo",
            # A device without ARP whose other end stays down swallows everything; a blackhole route would do that too,
            # but proxy ARP answers only for what is routed to a device.
            f"link add void mtu {MTU} type veth peer name void-end",
            "link set void arp off up",
            f"route add {OUTSIDE_CIDR} dev void",
            "route add blackhole default",
            "route add blackhole ::/0",
        )
        self.vpc.nft(tables.VPC)
        self._neighbours = Neighbours(self.vpc, self._mac_for, self._audience)
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
            f"address add {CLIENT_IN_IPV6}/{SUBNET_IPV6_PREFIX} dev eth0",
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
        # To the outside the router answers ARP for every address.  By default that is delayed by up to 0.8 s, which can
        # be changed for all devices at once only in the first namespace.
        self.vpc.sysctl({"ipv4/conf/router/proxy_arp": 1, "ipv4/neigh/router/proxy_delay": 0})
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

        The link is created in its namespace with its name and MAC, so a listener there sees a single event.

        Raises ValueError if the ENI is plugged in somewhere, CommandFailed if the link cannot be made.
        """
        with self._lock:
            if eni_id in self._ports:
                raise ValueError(f"{eni_id} is plugged into {self._ports[eni_id].namespace.name} already")
            port = Port(f"p{next(self._numbers)}", mac, namespace)
            guest_mtu = MTU if up else BARE_MTU
            self.vpc.ip(
                f"link add {port.name} mtu {MTU} address {ROUTER_MAC} type veth"
                f" peer name {ifname} address {mac} mtu {guest_mtu} netns {namespace.name}",
                f"address add {IPV6_GATEWAY}/64 dev {port.name}",
                f"link set {port.name} up",
            )
            self._ports[eni_id] = port
            self._eni_of_port[port.name] = eni_id
            routes, owned = self._owners.lead(port, addresses)
            if routes:
                self.vpc.ip(*routes)
            # One transaction, here and in `unplug`: each takes the kernel 15 ms, which EC2 would not take.
            self.vpc.nft(tables.every_mac(port.name) + tables.end("add", port.name, port.mac) + owned)
            if up:
                namespace.ip(f"link set {ifname} up")

    def unplug(self, eni_id: str) -> None:
        """Take the ENI's link away, and its addresses off the VPC.  Idempotent, also after a power cut."""
        with self._lock:
            port = self._ports.get(eni_id)
            if port is None:
                return
            silenced = self._cut(port)
            blocked = tables.elements("delete", "blocked", port.name, port.blocked)
            _, owned = self._owners.lead(None, port.addresses)
            self.vpc.nft(silenced + blocked + owned + tables.end("delete", port.name, port.mac))
            del self._ports[eni_id]

    def assign(self, eni_id: str, address: str) -> None:
        """
        Route `address` to the ENI from now on, and no longer to another one.

        An ENI that is not plugged in has no port: then the address only leaves its former ENI.
        """
        with self._lock:
            self._lead(self._ports.get(eni_id), [address])

    def unassign(self, eni_id: str, address: str) -> None:
        """Let nobody own `address`, if it was this ENI's.  Idempotent."""
        with self._lock:
            port = self._ports.get(eni_id)
            if port is not None and self._owners.of(canonical(address)) is port:
                self._lead(None, [address])

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
        Let the outside reach `private` as `public`, and see it as `public`; earlier associations of both end.

        Acts at once, on connections under way too.  As behind an internet gateway, the outside no longer gets answers
        from the address `private` itself.  ICMP errors about a translated packet are not translated inside: the outside
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
        self.vpc.nft(tables.translation(associations))
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
                    self.vpc.nft(tables.silence(port.name))
                    port.silent = True

    def is_silent(self, eni_ids: Collection[str]) -> bool:
        """Whether any of these ENIs is silenced."""
        with self._lock:
            return any(self._ports[eni_id].silent for eni_id in eni_ids if eni_id in self._ports)

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
                self._apply(self._cut(port))

    def block(self, eni_id: str, addresses: Collection[str]) -> None:
        """
        Drop everything between the ENI and `addresses` (addresses or networks that do not overlap), both ways.

        [EVERYTHING] partitions it from all, [EC2_ADDRESS] from EC2 only, [VPC_CIDR] from its peers only; the networks
        among these stand for their IPv6 counterparts too.
        """
        wanted = {*addresses, *(_IPV6_TWIN[address] for address in addresses if address in _IPV6_TWIN)}
        with self._lock:
            port = self._ports[eni_id]
            self._apply(tables.elements("add", "blocked", port.name, wanted - port.blocked))
            port.blocked |= wanted

    def unblock(self, eni_id: str) -> None:
        """Undo every `block` of the ENI.  Idempotent."""
        with self._lock:
            port = self._ports.get(eni_id)
            if port is not None:
                self._apply(tables.elements("delete", "blocked", port.name, port.blocked))
                port.blocked.clear()

    def close_icmp(self, address: str) -> None:
        """Let no ping reach `address`, as a security group without ICMP does.  Idempotent."""
        self.vpc.nft(f"add element {tables.family(address)} fabric icmp_closed {{ {address} }}")

    def open_icmp(self, address: str) -> None:
        """Undo `close_icmp`.  Raises CommandFailed if it was not closed."""
        self.vpc.nft(f"delete element {tables.family(address)} fabric icmp_closed {{ {address} }}")

    def lose(self, percent: int, spared_ports: Collection[int] = ()) -> None:
        """
        From now on lose `percent` of the packets that guests send, except TCP from and to the spared ports: so
        observers' packets can be lost while clients' are not.  Replaces the former loss; 0 ends it.
        """
        self.vpc.nft(tables.loss(percent, spared_ports))

    # -- parts

    def _lead(self, port: Port | None, addresses: Collection[str]) -> None:
        """Take these addresses off their owners, and route them to `port`, or nowhere."""
        # One transaction, or a move of many addresses would take longer than at EC2.
        routes, elements = self._owners.lead(port, addresses)
        if routes:
            self.vpc.ip(*routes)
        self._apply(elements)

    def _mac_for(self, port: str, address: str) -> str | None:
        """The MAC that answers a port that asks for `address`.  Does not take the lock, which others hold for long."""
        if _is_gateway(address):
            return ROUTER_MAC
        owner = self._owners.of(address)
        return None if owner is None or owner.name == port else owner.mac

    def _audience(self, port: str, mac: str, address: str) -> list[str]:
        """The ports that hear that `port` announces `address` with `mac`."""
        owner = self._owners.of(address)
        if not self.carry_announcements or owner is None or (owner.name, owner.mac) != (port, mac):
            return []
        return [other.name for other in list(self._ports.values()) if other is not owner]

    def _cut(self, port: Port) -> str:
        """Delete the link; return the nft script that forgets it.  That must run after this, or a silenced link could
        be heard again.
        """
        script = ""
        if port.powered:
            self.vpc.ip(f"link delete {port.name}")
            script += f"delete table netdev every-mac-{port.name}\n"
            port.powered = False
        if port.silent:
            script += f"delete table netdev silence-{port.name}\n"
            port.silent = False
        return script

    def _apply(self, script: str) -> None:
        if script:
            self.vpc.nft(script)


def _is_gateway(address: str) -> bool:
    """Whether it is the first address of an IPv4 subnet.  (For IPv6's gateway the kernel answers.)"""
    if tables.family(address) == "ip6":
        return False
    return IPv4Address(address) == ip_network(f"{address}/{SUBNET_PREFIX}", strict=False)[1]
