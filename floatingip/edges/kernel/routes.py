"""Routes: put ours into a table, and find and describe those of others."""

from __future__ import annotations

import errno
import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from floatingip.core.model import Address
from floatingip.core.plumbing import Plumbing
from floatingip.edges.kernel.netlink import ADD, Message, Netlink, attribute, family, tolerated

PROTOCOL = 102
"""The origin (rtm_protocol) of our routes and rules: not in /etc/iproute2/rt_protos, so nobody else claims them."""

MAIN = 254
"""The main table (RT_TABLE_MAIN)."""

LOCAL = 255
"""The table of addresses that are this node's own (RT_TABLE_LOCAL)."""

ONLINK = 0x4
"""The flag of a route whose gateway need not be reachable by another one (RTNH_F_ONLINK)."""

ASKED_AT_MOST = 32
"""At most this many routes of others by our link are looked at, the widest first: each costs a question or two."""

# linux/rtnetlink.h
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
# family, lengths of destination and source, tos, table, protocol, scope, type, flags
_ROUTE = struct.Struct("=BBBBBBBBI")
_RTA_DST, _RTA_SRC, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_MULTIPATH, _RTA_TABLE = (
    1, 2, 4, 5, 6, 7, 9, 15,
)  # fmt: skip
_NEXT_HOP = struct.Struct("=HBBi")  # length, flags, weight, link index
_RTN_UNICAST, _RTN_LOCAL = 1, 2
_RTNH_F_DEAD = 0x1
_RTM_F_FIB_MATCH = 0x2000
_KERNELS = 2
_SCOPE_LINK, _SCOPE_HOST = 253, 254
_PROTOCOLS = {1: "redirect", 2: "kernel", 3: "boot", 4: "static", 9: "ra", 16: "dhcp"}


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route: everything about it that decides where a packet goes.  ``destination`` is None for the default
    route, ``gateway`` is None for a route without one.
    """

    destination: str | None
    prefix: int
    gateway: str | None
    link_index: int


def wanted(plumbing: Plumbing, link_index: int) -> set[Route]:
    """The routes of the floating address' own table: to the gateway, and by the gateway to everything."""
    gateway = str(plumbing.gateway)
    return {
        Route(gateway, plumbing.gateway.max_prefixlen, None, link_index),
        Route(None, 0, gateway, link_index),
    }


def in_table(netlink: Netlink, address: Address, table: int) -> list[Message]:
    """All routes of one table, in the address' family.  Raises OSError, struct.error."""
    question = _ROUTE.pack(family(address.version), 0, 0, 0, 0, 0, 0, 0, 0) + attribute(_RTA_TABLE, table)
    try:
        messages = netlink.dump(_RTM_GETROUTE, question, _ROUTE.size)
    except FileNotFoundError:  # There is no such table.
        return []
    return [message for message in messages if message.number(_RTA_TABLE) == table]


def by_table(netlink: Netlink, address: Address, link_index: int) -> dict[int, list[Message]]:
    """Our routes by that link, in the address' family, by table.  Raises OSError, struct.error."""
    found: dict[int, list[Message]] = {}
    for message in ours(_by_link(netlink, address, link_index)):
        if (table := message.number(_RTA_TABLE)) is not None:
            found.setdefault(table, []).append(message)
    return found


def former(netlink: Netlink, plumbing: Plumbing, link_index: int, used: Collection[int | None]) -> list[Message]:
    """Ours by that link in tables that no rule uses any more: an observer with other settings has left them here.

    Raises OSError, struct.error.
    """
    tables = by_table(netlink, plumbing.address, link_index)
    left = tables.keys() - used - {plumbing.table, MAIN}
    return [message for table in left for message in tables[table]]


def of_others(netlink: Netlink, plumbing: Plumbing, link_index: int) -> list[Message]:
    """The routes of others that lead out by that link.  Raises OSError, struct.error."""
    return [message for message in foreign(_by_link(netlink, plumbing.address, link_index)) if leads_out(message)]


def networks(messages: Iterable[Message], plumbing: Plumbing) -> list[IPv4Network | IPv6Network]:
    """The networks to which the routes lead, without link-local ones and the default: the widest `ASKED_AT_MOST`.

    Raises ValueError.
    """
    found = set[IPv4Network | IPv6Network]()
    for message in messages:
        destination = _shown(message, _RTA_DST)
        if destination is not None and not is_of_an_address(message, plumbing.address):
            network = ip_network((destination, prefix(message)))
            if not network.is_link_local and not network.is_multicast:
                found.add(network)
    return sorted(found, key=lambda network: (network.prefixlen, network.network_address.packed))[:ASKED_AT_MOST]


def is_as_good(message: Message, chosen: Message) -> bool:
    """Whether both are default routes of the same table and metric: the kernel takes the one whose gateway answers."""
    metrics = {(prefix(each), each.number(_RTA_TABLE), each.number(_RTA_PRIORITY) or 0) for each in (message, chosen)}
    return len(metrics) == 1 and prefix(message) == 0


def _by_link(netlink: Netlink, address: Address, link_index: int) -> list[Message]:
    """All routes by that link, in all tables.  Raises OSError, struct.error."""
    # The kernel filters, as it may have thousands of others; filtered again here for a kernel that cannot.
    question = _ROUTE.pack(family(address.version), 0, 0, 0, 0, 0, 0, 0, 0) + attribute(_RTA_OIF, link_index)
    messages = netlink.dump(_RTM_GETROUTE, question, _ROUTE.size)
    return [message for message in messages if link_index in links(message)]


def links(message: Message) -> set[int]:
    """The indexes of the links by which a route leads.  There are several if it has several next hops, each of which
    gets a part of the packets.

    Raises struct.error.
    """
    found, hops = set[int](), message.attributes.get(_RTA_MULTIPATH, b"")
    if (only := message.number(_RTA_OIF)) is not None:
        found.add(only)
    while len(hops) >= _NEXT_HOP.size:
        length, _, _, index = _NEXT_HOP.unpack_from(hops)
        if length < _NEXT_HOP.size:
            raise struct.error(f"a next hop of {length} bytes")
        found.add(index)
        hops = hops[(length + 3) & ~3 :]
    return found


def chosen(netlink: Netlink, address: Address, source: Address | None = None) -> Message | None:
    """The route by which the kernel would send to the address; None if it shows none.  Raises OSError."""
    source_length = source.max_prefixlen if source else 0
    question = _ROUTE.pack(
        family(address.version), address.max_prefixlen, source_length, 0, 0, 0, 0, 0, _RTM_F_FIB_MATCH
    )
    question += attribute(_RTA_DST, address.packed) + (attribute(_RTA_SRC, source.packed) if source else b"")
    try:
        return netlink.get(_RTM_GETROUTE, question, _ROUTE.size)
    except OSError as error:
        if error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL):
            raise
        return None


def read(message: Message) -> Route | None:
    """The route; None if it is no plain unicast route by one link, or is dead.  Raises struct.error, ValueError."""
    link_index = message.number(_RTA_OIF)
    if not leads_out(message) or link_index is None:
        return None
    return Route(_shown(message, _RTA_DST), prefix(message), _shown(message, _RTA_GATEWAY), link_index)


def put(netlink: Netlink, plumbing: Plumbing, there: Iterable[Message], routes: set[Route]) -> None:
    """Have exactly these ``routes`` in the plumbing's table, in which ``there`` are now.  Raises OSError."""
    kept: set[Route] = set()
    for message in there:
        route = read(message)
        if route in routes and route is not None:
            kept.add(route)
        else:
            delete(netlink, message)
    # The route to the gateway first: the default route needs it.
    for route in sorted(routes - kept, key=lambda route: route.gateway is not None):
        add(netlink, plumbing.address, plumbing.table, route)


def add(netlink: Netlink, address: Address, table: int, route: Route, flags: int = 0) -> None:
    """Add a route of ours.  Raises OSError."""
    scope = 0 if route.gateway else _SCOPE_LINK
    content = _ROUTE.pack(family(address.version), route.prefix, 0, 0, 0, PROTOCOL, scope, _RTN_UNICAST, flags)
    content += attribute(_RTA_TABLE, table) + attribute(_RTA_OIF, route.link_index)
    for kind, value in ((_RTA_DST, route.destination), (_RTA_GATEWAY, route.gateway)):
        content += attribute(kind, ip_address(value).packed) if value else b""
    netlink.change(_RTM_NEWROUTE, content, ADD)


def delete(netlink: Netlink, message: Message) -> None:
    """Delete exactly the route that was shown; it may be gone already.  Raises OSError."""
    with tolerated(errno.ESRCH):
        netlink.change(_RTM_DELROUTE, message.content)


def prefix(message: Message) -> int:
    """The prefix length of a route's destination."""
    return message.content[1]


def to(address: Address, messages: Iterable[Message]) -> list[Message]:
    """The routes to exactly this address."""
    return [
        message
        for message in messages
        if prefix(message) == address.max_prefixlen and message.attributes.get(_RTA_DST) == address.packed
    ]


def ours(messages: Iterable[Message]) -> list[Message]:
    """Our routes: those with our protocol number."""
    return [message for message in messages if _protocol(message) == PROTOCOL]


def foreign(messages: Iterable[Message]) -> list[Message]:
    """The routes of others: those with another protocol number."""
    return [message for message in messages if _protocol(message) != PROTOCOL]


def takes_in(netlink: Netlink, address: Address, link_index: int) -> bool:
    """Whether there is the local route by which this node accepts packets for the address on the link; the kernel makes
    it together with the address.

    Raises OSError, struct.error.
    """
    question = _ROUTE.pack(family(address.version), 0, 0, 0, LOCAL, 0, 0, 0, 0)
    question += attribute(_RTA_TABLE, LOCAL) + attribute(_RTA_OIF, link_index)
    there = to(address, netlink.dump(_RTM_GETROUTE, question, _ROUTE.size))
    return any(message.number(_RTA_TABLE) == LOCAL and link_index in links(message) for message in there)


def take_in(netlink: Netlink, address: Address, link_index: int) -> None:
    """Add that local route as the kernel makes it for an IPv4 address; the kernel removes it with the address.  Raises
    OSError.
    """
    content = _ROUTE.pack(
        family(address.version), address.max_prefixlen, 0, 0, LOCAL, _KERNELS, _SCOPE_HOST, _RTN_LOCAL, 0
    )
    for kind in (_RTA_DST, _RTA_PREFSRC):
        content += attribute(kind, address.packed)
    netlink.change(_RTM_NEWROUTE, content + attribute(_RTA_OIF, link_index), ADD)


def is_of_an_address(message: Message, address: Address) -> bool:
    """Whether the kernel made the route for a single address, of this one's IP version, that was put on a link.  With
    IPv6 the route in the table local, which wins, comes some time later.
    """
    return _protocol(message) == _KERNELS and prefix(message) == address.max_prefixlen


def refusal(plumbing: Plumbing, messages: Iterable[Message]) -> str:
    """A sentence on routes of others in the plumbing's table, whose routes are ``messages``; empty if it has none."""
    if not (others := foreign(messages)):
        return ""
    return f"table {plumbing.table} has routes of others ({described(others)}); set `table` to a free one"


def described(messages: list[Message]) -> str:
    """Routes in words: only the first one, and how many more there are, since a table may be long."""
    first, protocol = messages[0], _protocol(messages[0])
    destination = f"{_shown(first, _RTA_DST)}/{prefix(first)}" if prefix(first) else "default"
    more = f", and {len(messages) - 1} more" if len(messages) > 1 else ""
    return f"{destination} proto {_PROTOCOLS.get(protocol, protocol)}{more}"


def _shown(message: Message, kind: int) -> str | None:
    value = message.attributes.get(kind)
    return str(ip_address(value)) if value is not None else None


def leads_out(message: Message) -> bool:
    """Whether the route leads to other nodes, and is not dead."""
    _, _, _, _, _, _, _, kind, flags = _ROUTE.unpack_from(message.content)
    return bool(kind == _RTN_UNICAST and not flags & _RTNH_F_DEAD)


def _protocol(message: Message) -> int:
    return int(_ROUTE.unpack_from(message.content)[5])
