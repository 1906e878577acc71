"""
The node's kernel networking: make an ENI's link carry the floating address, with a way back, and notice every change.

A second ENI does not work by itself.  The reply of a NodePort connection gets its source address back only after it
was routed, so it would leave by the primary ENI with the floating address as its source, and the VPC's source check
drops it.  Hence conntrack remembers in a mark which connections came in by the ENI, nft puts that mark on their
replies (mark_table.py), and a rule sends marked packets to a routing table of the ENI's own.

What is ours in the kernel: routes and rules of our protocol, the nft tables of our name, and the floating address on
the ENI's link.  Nothing else is ever replaced or removed: where somebody else's is in the way, it is named.

Netlink and nft accept some requests without doing them, so whatever is configured is read back, and only what was read
counts.  Links are known by MAC and index, never by name: names change right after the hot plug, also while a link is
up.  It needs CAP_NET_ADMIN and nft, but no writable /proc/sys.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from floatingip.core.errors import HostError
from floatingip.core.model import Address, Extent, Plumbing, PlumbingReport, PlumbingState
from floatingip.edges import background
from floatingip.edges.kernel import changes
from floatingip.edges.kernel.announce import announce
from floatingip.edges.kernel.kube_proxy import kept_off
from floatingip.edges.kernel.mark_table import table_name, wanted_marks
from floatingip.edges.kernel.marks import Known, Marks
from floatingip.edges.kernel.netlink import ADD, Message, Netlink, attribute, attributes
from floatingip.edges.kernel.path import FAR, LOCAL, UNICAST, Way, forwards, way

PROTOCOL = 102
"""The origin (rtm_protocol) of our routes and rules: none of /etc/iproute2/rt_protos, so nobody else claims them."""

LOOSE = 2
"""rp_filter: the source must be reachable, by whatever link.  The kernel uses the larger of this and `all`."""

# linux/rtnetlink.h, if_link.h, if_addr.h, fib_rules.h
_RTM_NEWLINK, _RTM_GETLINK, _RTM_SETLINK = 16, 18, 19
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_RTM_NEWRULE, _RTM_DELRULE, _RTM_GETRULE = 32, 33, 34
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, which flags change
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, link index
_ROUTE = struct.Struct(
    "=BBBBBBBBI"
)  # family, lengths of destination and source, tos, table, protocol, scope, type, flags
_RULE = struct.Struct("=BBBBBxxBI")  # family, lengths of destination and source, tos, table, action, flags
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_AF_SPEC, _IFLA_EXT_MASK = 1, 3, 4, 26, 29
_IFLA_INET_CONF, _IPV4_DEVCONF_FORWARDING, _IPV4_DEVCONF_RP_FILTER = 1, 1, 8
_IFLA_INET6_CONF, _DEVCONF_DISABLE_IPV6 = 2, 27  # counted from 1, as IPv4's are
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_FRA_SRC, _FRA_PRIORITY, _FRA_FWMARK, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, _FRA_FWMASK, _FRA_PROTOCOL = (
    2, 6, 10, 14, 15, 16, 21,
)  # fmt: skip
_SKIP_STATISTICS = 8  # RTEXT_FILTER_SKIP_STATS
_MAIN = 254  # RT_TABLE_MAIN
_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000
_IFA_F_NODAD = 0x2
_RTN_UNICAST = 1
_RTNH_F_DEAD = 0x1
_RTNH_F_ONLINK = 0x4
_SCOPE_LINK = 253
_FR_ACT_TO_TBL = 1
_NO_SUPPRESSION = 0xFFFFFFFF
_PROTOCOLS = {1: "redirect", 2: "kernel", 3: "boot", 4: "static", 9: "ra", 16: "dhcp"}

_TAKE_IT_OFF = "take it off there (kube-proxy in ipvs mode puts the externalIPs of Services on every node's kube-ipvs0)"

_ASIDE = "is there a rule of others before ours (`priority`)?"

_SILENT = "still missing, though the kernel reported no error"


@dataclass(frozen=True, slots=True)
class _Link:
    """A link as the kernel shows it.  `rp_filter` and `forwarding` are IPv4's and its own settings, None without IPv4;
    `ipv6_off` is its `disable_ipv6`.
    """

    index: int
    name: str
    mac: str
    mtu: int
    up: bool
    carrier: bool
    rp_filter: int | None
    forwarding: int | None
    ipv6_off: bool


@dataclass(frozen=True, slots=True)
class _Route:
    """A unicast route: everything about it that decides where a packet goes.  `destination` is None for the default."""

    destination: str | None
    prefix: int
    gateway: str | None
    link_index: int


_Rules = dict[frozenset[tuple[str | int, bytes | int]], bytes]
"""Rules: what each says, by `_rule_says`, and the message that adds or deletes it."""


@dataclass(frozen=True, slots=True)
class _Defect:
    """Something missing: how to repair it, by doing nothing if that is beyond us, and what to say if it stays."""

    repair: Callable[[], object] = lambda: None
    problem: str = _SILENT


class KernelHost:
    """`ports.Host` in the network namespace of the calling thread; to be used from one thread."""

    def __init__(self, nft: str = "nft") -> None:
        """`nft`: the command's name or path."""
        self._netlink = Netlink()
        self._marks = Marks(nft)
        self._indexes: dict[str, int] = {}

    def close(self) -> None:
        """Close the netlink socket; it opens again by itself."""
        self._netlink.close()

    # What ports.Host promises.

    def plumb(self, plumbing: Plumbing, extent: Extent = Extent.ALL) -> PlumbingReport:
        """Configure what is missing, remove what is too much, read all of it back; see `ports.Host`.

        `repaired` names things out of: link-up, mtu, address, rp_filter, forwarding, route, rule, marks.  `problem`
        begins with such a name, or with `carrier` or `path`, for which nothing can be done here.  A link that is not
        there is not touched any further: what an earlier one left behind is for `unplumb`.  Ahead of the address there
        is no address, and of the rules only the mark's: a node that had the other one would only ever hear itself.
        `Extent.NOTHING` is for `unplumb`.
        """
        refused: dict[str, str] = {}
        removed: tuple[str, ...] = ()
        try:
            link = self._link(plumbing.mac)
            if link is None:
                return PlumbingReport(PlumbingState.NO_LINK, extent=extent)
            # nft takes as long as all the rest, so it runs meanwhile.
            self._marks.want(table_name(plumbing.address), wanted_marks(plumbing, link.index))
            with _mapped():
                if extent is Extent.AS_FOUND:
                    extent = Extent.ALL if self._has_address(plumbing.address, link) else Extent.AHEAD
                if extent is Extent.AHEAD and self._remove_address(plumbing):
                    removed = ("address",)
            before = after = self._missing(plumbing, link, extent)
            for name, defect in before.items():
                try:
                    with _mapped():
                        defect.repair()
                except HostError as error:
                    refused[name] = str(error)
            if before:
                link = self._link(plumbing.mac)
                if link is None:
                    return PlumbingReport(PlumbingState.NO_LINK, extent=extent)
                after = self._missing(plumbing, link, extent)
            astray = "" if after else self._astray(plumbing, link, extent)
            foreign_rule = self._foreign_rule(plumbing)
        except HostError as error:
            return PlumbingReport(PlumbingState.UNSOUND, problem=str(error), removed=removed, extent=extent)
        marks = self._marks.verdict(table_name(plumbing.address))
        repaired = tuple(name for name in before if name not in after) + (("marks",) if marks.changed else ())
        for name, defect in after.items():
            problem = f"{name}: {refused.get(name, defect.problem)}"
            return PlumbingReport(PlumbingState.UNSOUND, repaired, problem, removed, extent)
        if astray:
            return PlumbingReport(PlumbingState.UNSOUND, repaired, f"path: {astray}", removed, extent)
        problem = f"marks: {marks.problem}" if marks.problem else foreign_rule
        address, unserved = plumbing.address, ""
        if extent is Extent.ALL:
            unserved = kept_off(address, self._marks.node_ports_at(address.version))
        return PlumbingReport(_STATES[marks.known], repaired, problem, removed, extent, kept_off=unserved)

    def unplumb(self, plumbing: Plumbing) -> tuple[str, ...]:
        """Remove marks, rule, route and address, as far as they are there; see `ports.Host`.

        The link stays as it is.  Everything is tried before a HostError tells of the first thing that could not be
        removed.
        """
        name = table_name(plumbing.address)
        self._marks.want(name, None)
        removers = {"rule": self._remove_rules, "route": self._remove_routes, "address": self._remove_address}
        removed: list[str] = []
        problems: list[HostError] = []
        for what, remove in removers.items():
            try:
                with _mapped(what):
                    if remove(plumbing):
                        removed.append(what)
            except HostError as error:
                problems.append(error)
        marks = self._marks.verdict(name)
        if marks.known is not Known.AS_WANTED:
            problems.append(HostError(f"marks: {marks.problem}"))
        if problems:
            raise problems[0]
        return ("marks", *removed) if marks.changed else tuple(removed)

    def announce(self, plumbing: Plumbing) -> None:
        """Announce the address once; see `ports.Host`."""
        # Best effort: whoever does not hear it asks by ARP or NDP, sooner or later.
        with contextlib.suppress(OSError, HostError):
            link = self._link(plumbing.mac)
            if link is not None:
                announce(plumbing.address, link.index, link.mac)

    def route_probes(self, plumbing: Plumbing) -> None:
        """Route the floating address by the primary link's gateway; see `ports.Host`.

        That gateway is the one of the link's default route, so that it is right in every subnet; without a default
        route it is the plumbing's.  Where the address is this node's own nothing is done: the local table would win.
        """
        self._route_probes(plumbing)
        with _mapped():
            if said := _refusal(plumbing, self._routes(plumbing.address, plumbing.table)):
                raise HostError(said)

    def blind(self, plumbing: Plumbing) -> str:
        """Why a probe of the address would not leave this node by its primary link; see `ports.Host`."""
        address = plumbing.address
        with _mapped("probe route"):
            primary = self._link(plumbing.primary_mac)
            if primary is None:
                return f"{address} cannot be probed from here: no link has the primary MAC {plumbing.primary_mac}"
            # Asked first, as an IPv6 address has no route for a moment, in which its prefix' is all that can be seen.
            for message in self._addresses(address):
                if _address_of(message) == address.packed:
                    name = _name(_ADDRESS.unpack_from(message.content)[4])
                    where = f"{address}/{_prefix(message)} is on {name} of this node"
                    return f"{where}, so {address} cannot be probed from here: {_TAKE_IT_OFF}"
            taken = way(self._netlink, address)
            if taken.kind == UNICAST and taken.source is not None:
                # A connection is routed once more, with the source that it got: rules may look at that.
                taken = way(self._netlink, address, source=taken.source)
            if taken.kind == UNICAST and taken.link_index == primary.index:
                return ""
            if taken.kind == LOCAL:
                where = f"a local route on {_name(taken.link_index)} of this node takes it in"
            else:
                where = taken.refusal or f"probes would leave by {_name(taken.link_index)}, not by {primary.name}"
            return f"{address} cannot be probed from here: {where}; remove that route or rule of others"

    def in_the_way(self, plumbing: Plumbing) -> tuple[str, ...]:
        """What others have at our table and priorities, in sentences; nothing is changed.  Raises HostError."""
        with _mapped():
            table = _refusal(plumbing, self._routes(plumbing.address, plumbing.table))
        return tuple(filter(None, (table, self._foreign_rule(plumbing))))

    def unroute_probes(self, plumbing: Plumbing) -> None:
        """Remove the route that `route_probes` made; see `ports.Host`."""
        address = plumbing.address
        with _mapped("probe route"):
            for message in _ours(_to(address, self._routes(address, _MAIN))):
                self._delete_route(message)

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` for each batch of changes, also for lost ones; see `ports.Host`.

        Whoever has returned from here misses nothing.  `wake` must not raise, and should be quick.  Raises HostError.
        """
        with _mapped("watch"):
            sockets = changes.listen()
            self._marks.follow(wake)
            background.start("host-watch", partial(changes.follow, sockets, self._marks.touched, wake))

    # What is missing, and how to add it.

    def _missing(self, plumbing: Plumbing, link: _Link, extent: Extent) -> dict[str, _Defect]:
        """What of the plumbing but the marks the kernel lacks, in the order in which to repair it, each with its
        repair.
        """
        address = plumbing.address
        missing: dict[str, _Defect] = {}
        with _mapped():
            if not link.up:
                missing["link-up"] = _Defect(partial(self._set_link, link, flags=_IFF_UP))
            elif not link.carrier:
                missing["carrier"] = _Defect(problem=f"link {link.name} has none")
            primary = self._link(plumbing.primary_mac)
            if primary is None:
                missing["mtu"] = _Defect(problem=f"no link has the primary MAC {plumbing.primary_mac}")
            elif link.mtu != primary.mtu:
                missing["mtu"] = _Defect(partial(self._set_link, link, attribute(_IFLA_MTU, primary.mtu)))
            if address.version == 6 and link.ipv6_off:
                said = (
                    f"net.ipv6.conf.{link.name}.disable_ipv6 is 1; set it and net.ipv6.conf.default.disable_ipv6 to 0"
                )
                missing["address"] = _Defect(problem=said)
            elif extent is Extent.ALL and not self._has_address(address, link):
                missing["address"] = _Defect(partial(self._add_address, address, link))
            if address.version == 4 and link.rp_filter != LOOSE:
                missing["rp_filter"] = _Defect(partial(self._configure, link, _IPV4_DEVCONF_RP_FILTER, LOOSE))
            if address.version == 6 or not link.forwarding:
                if not forwards(self._netlink, address.version):
                    switch = "net.ipv4.ip_forward" if address.version == 4 else "net.ipv6.conf.all.forwarding"
                    said = f"{switch} is 0, so that no pod can be reached by {link.name}; set it to 1"
                    missing["forwarding"] = _Defect(problem=said)
                elif address.version == 4:
                    missing["forwarding"] = _Defect(partial(self._configure, link, _IPV4_DEVCONF_FORWARDING, 1))
            routes, wanted_routes = self._routes(address, plumbing.table), _wanted_routes(plumbing, link)
            if said := _refusal(plumbing, routes):
                # Our rules would send packets by them.
                return missing | {"route": _Defect(problem=said)}
            if {_read_route(message) for message in routes} != wanted_routes:
                missing["route"] = _Defect(partial(self._set_routes, plumbing, routes, wanted_routes))
            there, wanted_rules = self._rules(plumbing), _wanted_rules(plumbing, extent)
            ours = {says: message for says, (message, is_ours) in there.items() if is_ours}
            surplus = [message for says, message in ours.items() if says not in wanted_rules]
            lacking = [message for says, message in wanted_rules.items() if says not in there]
            if surplus or lacking:
                missing["rule"] = _Defect(partial(self._set_rules, surplus, lacking))
        return missing

    def _astray(self, plumbing: Plumbing, link: _Link, extent: Extent) -> str:
        """Why packets would not find their way in or back, though all of the plumbing is there, or nothing."""
        far: Address = FAR[plumbing.address.version]
        ask = partial(way, self._netlink)
        with _mapped("path"):
            # A network manager that has configured our link as well, say: the VPC drops what leaves by it.
            if ask(far).link_index == link.index:
                return f"this node's own traffic leaves by {link.name}; remove the default route of others by it"
            # IPv6's router has a link-local address, which leads nowhere without its link.
            for to in (far, plumbing.gateway) if far.version == 4 else (far,):
                back = {"marked replies": ask(to, mark=plumbing.mark)}
                if extent is Extent.ALL:
                    back[f"replies from {plumbing.address}"] = ask(to, source=plumbing.address)
                for what, taken in back.items():
                    if taken.kind != UNICAST or taken.link_index != link.index:
                        return f"{what} to {to} would not leave by {link.name}: {_whither(taken)}; {_ASIDE}"
            # IPv6 has no reverse path filter, and a new address' own route comes some time after the address.
            if extent is Extent.ALL and far.version == 4:
                arriving = ask(plumbing.address, source=far, by=link.index)
                if arriving.kind != LOCAL:
                    return f"what comes in by {link.name} does not reach {plumbing.address}: {_whither(arriving)}"
        return ""

    # Links.

    def _link(self, mac: str) -> _Link | None:
        """The link with this MAC: of several the oldest, since VLANs and the like borrow the MAC of the link below.

        A node has a link for every pod: the index is remembered.
        """
        with _mapped("link"):
            wanted, head = bytes.fromhex(mac.replace(":", "")), _LINK.size
            brief = attribute(_IFLA_EXT_MASK, _SKIP_STATISTICS)
            if (index := self._indexes.get(mac)) is not None:
                try:
                    found = [
                        self._netlink.get(_RTM_GETLINK, _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + brief, head)
                    ]
                except OSError as error:
                    if error.errno != errno.ENODEV:
                        raise
                else:
                    if found[0].attributes.get(_IFLA_ADDRESS) == wanted:
                        return _read_link(found[0])
            found = self._netlink.dump(_RTM_GETLINK, _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + brief, head)
            links = [_read_link(message) for message in found if message.attributes.get(_IFLA_ADDRESS) == wanted]
            if not links:
                self._indexes.pop(mac, None)
                return None
            link = min(links, key=lambda link: link.index)
            self._indexes[mac] = link.index
            return link

    def _set_link(self, link: _Link, wish: bytes = b"", *, flags: int = 0) -> None:
        self._netlink.change(_RTM_SETLINK, _LINK.pack(socket.AF_UNSPEC, 0, link.index, flags, flags) + wish)

    def _configure(self, link: _Link, setting: int, value: int) -> None:
        """Set one of a link's IPv4 settings by netlink, which needs no writable /proc/sys."""
        conf = attribute(_IFLA_INET_CONF, attribute(setting, value))
        self._set_link(link, attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET, conf)))

    # Addresses.

    def _addresses(self, address: Address, link: _Link | None = None) -> list[Message]:
        """All of the address' family, or those of one link."""
        index = link.index if link is not None else 0
        messages = self._netlink.dump(_RTM_GETADDR, _ADDRESS.pack(_family(address), 0, 0, 0, index), _ADDRESS.size)
        return [message for message in messages if index in (0, _ADDRESS.unpack_from(message.content)[4])]

    def _has_address(self, address: Address, link: _Link) -> bool:
        return any(
            _prefix(message) == address.max_prefixlen and _address_of(message) == address.packed
            for message in self._addresses(address, link)
        )

    def _add_address(self, address: Address, link: _Link) -> None:
        # Nobody else can have the address, so duplicate detection would only delay it by a second.
        flags = _IFA_F_NODAD if address.version == 6 else 0
        self._netlink.change(_RTM_NEWADDR, _address_message(address, link, flags), ADD)

    def _remove_address(self, plumbing: Plumbing) -> bool:
        link = self._link(plumbing.mac)
        if link is None or not self._has_address(plumbing.address, link):
            return False
        with _tolerated(errno.EADDRNOTAVAIL):
            self._netlink.change(_RTM_DELADDR, _address_message(plumbing.address, link))
        return True

    # Routes.

    def _routes(self, address: Address, table: int) -> list[Message]:
        """All of one table, in the address' family."""
        question = _ROUTE.pack(_family(address), 0, 0, 0, 0, 0, 0, 0, 0) + attribute(_RTA_TABLE, table)
        try:
            messages = self._netlink.dump(_RTM_GETROUTE, question, _ROUTE.size)
        except FileNotFoundError:  # there is no such table
            return []
        return [message for message in messages if message.number(_RTA_TABLE) == table]

    def _set_routes(self, plumbing: Plumbing, there: list[Message], wanted: set[_Route]) -> None:
        kept: set[_Route] = set()
        for message in there:
            route = _read_route(message)
            if route in wanted and route is not None:
                kept.add(route)
            else:
                self._delete_route(message)
        # The gateway's own route first: the default needs it.
        for route in sorted(wanted - kept, key=lambda route: route.gateway is not None):
            self._add_route(plumbing.address, plumbing.table, route)

    def _remove_routes(self, plumbing: Plumbing) -> bool:
        ours = _ours(self._routes(plumbing.address, plumbing.table))
        for message in ours:
            self._delete_route(message)
        return bool(ours)

    def _add_route(self, address: Address, table: int, route: _Route, flags: int = 0) -> None:
        family, scope = _family(address), 0 if route.gateway else _SCOPE_LINK
        content = _ROUTE.pack(family, route.prefix, 0, 0, 0, PROTOCOL, scope, _RTN_UNICAST, flags)
        content += attribute(_RTA_TABLE, table) + attribute(_RTA_OIF, route.link_index)
        for kind, value in ((_RTA_DST, route.destination), (_RTA_GATEWAY, route.gateway)):
            content += attribute(kind, ip_address(value).packed) if value else b""
        self._netlink.change(_RTM_NEWROUTE, content, ADD)

    def _delete_route(self, message: Message) -> None:
        """Delete exactly what was shown."""
        with _tolerated(errno.ESRCH):
            self._netlink.change(_RTM_DELROUTE, message.content)

    def _route_probes(self, plumbing: Plumbing) -> None:
        address = plumbing.address
        with _mapped("probe route"):
            if any(_address_of(message) == address.packed for message in self._addresses(address)):
                return
            link = self._link(plumbing.primary_mac)
            if link is None:
                raise HostError(f"no link has the primary MAC {plumbing.primary_mac}")
            main = self._routes(address, _MAIN)
            defaults = [route for message in main if _prefix(message) == 0 and (route := _read_route(message))]
            gateways = [route.gateway for route in defaults if route.link_index == link.index]
            gateway = next((gateway for gateway in gateways if gateway), str(plumbing.gateway))
            wanted = _Route(str(address), address.max_prefixlen, gateway, link.index)
            there = _to(address, main)
            if others := _foreign(there):
                shown = _describe(others)
                raise HostError(f"the main table has a route of others to {address} ({shown})", "remove that route")
            if [_read_route(message) for message in there] == [wanted]:
                return
            for message in there:
                self._delete_route(message)
            self._add_route(address, _MAIN, wanted, flags=_RTNH_F_ONLINK)
            if wanted not in [_read_route(message) for message in self._routes(address, _MAIN)]:
                raise HostError(f"{address} via {gateway} is {_SILENT}")

    # Rules.

    def _rules(self, plumbing: Plumbing) -> dict[frozenset[tuple[str | int, bytes | int]], tuple[bytes, bool]]:
        """Those at our two priorities: what each says, the message that deletes it, and whether it is ours."""
        question = _RULE.pack(_family(plumbing.address), 0, 0, 0, 0, 0, 0)
        rules: dict[frozenset[tuple[str | int, bytes | int]], tuple[bytes, bool]] = {}
        for message in self._netlink.dump(_RTM_GETRULE, question, _RULE.size):
            if message.number(_FRA_PRIORITY) in (plumbing.priority, plumbing.priority + 1):
                is_ours = message.attributes.get(_FRA_PROTOCOL) == bytes([PROTOCOL])
                says = _rule_says(message)
                if is_ours or says not in rules:
                    rules[says] = message.content, is_ours
        return rules

    def _foreign_rule(self, plumbing: Plumbing) -> str:
        """What to tell of a rule of somebody else's at one of our priorities, or nothing."""
        with _mapped():
            for says, (_, is_ours) in self._rules(plumbing).items():
                if not is_ours and says not in _wanted_rules(plumbing, Extent.ALL):
                    at = f"{plumbing.priority} or {plumbing.priority + 1}"
                    return f"rule: there is a rule of others at priority {at}; set `priority` to free ones"
        return ""

    def _set_rules(self, surplus: Iterable[bytes], lacking: Iterable[bytes]) -> None:
        for message in surplus:
            self._delete_rule(message)
        for message in lacking:
            self._netlink.change(_RTM_NEWRULE, message, ADD)

    def _remove_rules(self, plumbing: Plumbing) -> bool:
        ours = [message for message, is_ours in self._rules(plumbing).values() if is_ours]
        for message in ours:
            self._delete_rule(message)
        return bool(ours)

    def _delete_rule(self, message: bytes) -> None:
        with _tolerated(errno.ENOENT):
            self._netlink.change(_RTM_DELRULE, message)


_STATES = {
    Known.AS_WANTED: PlumbingState.SOUND,
    Known.UNKNOWN: PlumbingState.UNCERTAIN,
    Known.NOT_AS_WANTED: PlumbingState.UNSOUND,
}


def _wanted_routes(plumbing: Plumbing, link: _Link) -> set[_Route]:
    gateway = str(plumbing.gateway)
    return {
        _Route(gateway, plumbing.gateway.max_prefixlen, None, link.index),
        _Route(None, 0, gateway, link.index),
    }


def _wanted_rules(plumbing: Plumbing, extent: Extent) -> _Rules:
    first, second = plumbing.priority, plumbing.priority + 1
    mark = attribute(_FRA_FWMARK, plumbing.mark) + attribute(_FRA_FWMASK, plumbing.mark_mask)
    wanted = [_rule_message(plumbing, second, mark)]
    if extent is Extent.ALL:
        source = attribute(_FRA_SRC, plumbing.address.packed)
        wanted.append(_rule_message(plumbing, first, source, plumbing.address.max_prefixlen))
    return {_rule_says(Message(message, dict(attributes(message[_RULE.size :])))): message for message in wanted}


def _rule_message(plumbing: Plumbing, priority: int, selector: bytes, source_length: int = 0) -> bytes:
    head = _RULE.pack(_family(plumbing.address), 0, source_length, 0, 0, _FR_ACT_TO_TBL, 0)
    at = attribute(_FRA_PRIORITY, priority) + attribute(_FRA_TABLE, plumbing.table)
    return head + at + attribute(_FRA_PROTOCOL, bytes([PROTOCOL])) + selector


def _rule_says(message: Message) -> frozenset[tuple[str | int, bytes | int]]:
    """All that a rule selects and does, whoever made it."""
    family, destination, source, tos, _, action, flags = _RULE.unpack_from(message.content)
    head = {
        "family": family,
        "destination": destination,
        "source": source,
        "tos": tos,
        "action": action,
        "flags": flags,
    }
    idle = {_FRA_PROTOCOL: message.attributes.get(_FRA_PROTOCOL), _FRA_SUPPRESS_PREFIXLEN: b"\xff\xff\xff\xff"}
    says = {kind: value for kind, value in message.attributes.items() if idle.get(kind) != value}
    return frozenset({*head.items(), *says.items()})


def _read_link(message: Message) -> _Link:
    _, _, index, flags, _ = _LINK.unpack_from(message.content)
    families = dict(attributes(message.attributes.get(_IFLA_AF_SPEC, b"")))
    conf = dict(attributes(families.get(socket.AF_INET, b""))).get(_IFLA_INET_CONF, b"")
    conf6 = dict(attributes(families.get(socket.AF_INET6, b""))).get(_IFLA_INET6_CONF, b"")
    return _Link(
        index=index,
        name=message.attributes.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        mac=message.attributes.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=message.number(_IFLA_MTU) or 0,
        up=bool(flags & _IFF_UP),
        carrier=bool(flags & _IFF_LOWER_UP),
        rp_filter=_setting(conf, _IPV4_DEVCONF_RP_FILTER),
        forwarding=_setting(conf, _IPV4_DEVCONF_FORWARDING),
        ipv6_off=bool(_setting(conf6, _DEVCONF_DISABLE_IPV6)),
    )


def _setting(conf: bytes, number: int) -> int | None:
    """One of a link's settings, None where the kernel shows none."""
    if len(conf) < 4 * number:
        return None
    (value,) = struct.unpack_from("=I", conf, 4 * (number - 1))
    return int(value)


def _whither(taken: Way) -> str:
    """Where a packet would go instead, in words."""
    if taken.kind == LOCAL:
        return "it is this node's own"
    return taken.refusal or f"it would leave by {_name(taken.link_index)}"


def _name(link_index: int) -> str:
    """A link's name of the moment."""
    with contextlib.suppress(OSError):
        return socket.if_indextoname(link_index)
    return f"link {link_index}"


def _address_of(message: Message) -> bytes | None:
    """The own address: of a point-to-point link IFA_ADDRESS is the other end's."""
    return message.attributes.get(_IFA_LOCAL, message.attributes.get(_IFA_ADDRESS))


def _address_message(address: Address, link: _Link, flags: int = 0) -> bytes:
    head = _ADDRESS.pack(_family(address), address.max_prefixlen, flags, 0, link.index)
    return head + attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)


def _prefix(message: Message) -> int:
    """The length of an address' prefix, or of a route's destination."""
    return message.content[1]


def _read_route(message: Message) -> _Route | None:
    """None for what is no plain unicast route by one link, or a dead one."""
    _, prefix, _, _, _, _, _, kind, flags = _ROUTE.unpack_from(message.content)
    link_index = message.number(_RTA_OIF)
    if kind != _RTN_UNICAST or flags & _RTNH_F_DEAD or link_index is None:
        return None
    return _Route(_shown(message, _RTA_DST), prefix, _shown(message, _RTA_GATEWAY), link_index)


def _shown(message: Message, kind: int) -> str | None:
    value = message.attributes.get(kind)
    return str(ip_address(value)) if value is not None else None


def _to(address: Address, messages: list[Message]) -> list[Message]:
    """The routes to exactly this address."""
    return [
        message
        for message in messages
        if _prefix(message) == address.max_prefixlen and message.attributes.get(_RTA_DST) == address.packed
    ]


def _protocol(message: Message) -> int:
    return int(_ROUTE.unpack_from(message.content)[5])


def _ours(messages: list[Message]) -> list[Message]:
    return [message for message in messages if _protocol(message) == PROTOCOL]


def _foreign(messages: list[Message]) -> list[Message]:
    return [message for message in messages if _protocol(message) != PROTOCOL]


def _refusal(plumbing: Plumbing, routes: list[Message]) -> str:
    """What to say of a table with routes of others, or nothing."""
    if not (others := _foreign(routes)):
        return ""
    return f"table {plumbing.table} has routes of others ({_describe(others)}); set `table` to a free one"


def _describe(messages: list[Message]) -> str:
    """Routes in words, the first of them only: a table may be long."""
    first, protocol = messages[0], _protocol(messages[0])
    destination = f"{_shown(first, _RTA_DST)}/{_prefix(first)}" if _prefix(first) else "default"
    more = f", and {len(messages) - 1} more" if len(messages) > 1 else ""
    return f"{destination} proto {_PROTOCOLS.get(protocol, protocol)}{more}"


def _family(address: Address) -> int:
    return int(socket.AF_INET if address.version == 4 else socket.AF_INET6)


@contextmanager
def _mapped(what: str = "") -> Iterator[None]:
    """Turn what netlink and the system raise, and what cannot be read of an answer, into a HostError of one line."""
    prefix = f"{what}: " if what else ""
    try:
        yield
    except OSError as error:
        raise HostError(f"{prefix}{error.strerror or error}") from error
    except (struct.error, LookupError, ValueError) as error:
        raise HostError(f"{prefix}netlink: an answer that cannot be read ({error})") from error
    except RuntimeError as error:  # no thread can be started
        raise HostError(f"{prefix}{error}") from error


@contextmanager
def _tolerated(code: int) -> Iterator[None]:
    """What is to be removed may be gone already."""
    try:
        yield
    except OSError as error:
        if error.errno != code:
            raise
