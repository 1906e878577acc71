"""
Ask the kernel which way a packet would take.

The kernel's answer accounts for addresses on any link in any prefix, routes of every type and table, rules of others
with their priorities, and the reverse path filter for incoming packets, so nothing has to be inferred from lists of
these.  It does not account for what looks at packets themselves (rules of nft and iptables, tc, security groups): only
a real packet shows that.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from floatingip.core.model import Address
from floatingip.edges.kernel.netlink import Netlink, attribute, family

UNICAST, LOCAL = 1, 2
"""Types of routes (linux/rtnetlink.h): to others, and to this node itself."""

FAR: Mapping[int, Address] = {4: IPv4Address("192.0.2.1"), 6: IPv6Address("3fff::1")}
"""By IP version, an address outside the VPC: from the ranges for documentation, so the default route leads there."""

NEW_ADDRESS_TRIES, NEW_ADDRESS_PAUSE = 10, 0.02
"""How often, and after how many seconds, the kernel is asked again about a new IPv6 address: only some time after the
address came it has its own route, and can be a source.
"""

NO_ROUTE = "there is no route"

_TYPES = {6: "blackhole", 7: "unreachable", 8: "prohibit"}
_ERRORS = {
    errno.EINVAL: "it is dropped (blackhole)",
    errno.EHOSTUNREACH: "unreachable",
    errno.EACCES: "prohibited",
    errno.ENETUNREACH: NO_ROUTE,
    errno.EXDEV: "the reverse path filter drops it (rp_filter)",
}

# linux/rtnetlink.h, netconf.h
_RTM_GETROUTE, _RTM_GETNETCONF = 26, 82
_ROUTE = struct.Struct("=BBBBBBBBI")
_RTA_DST, _RTA_SRC, _RTA_IIF, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_MARK, _RTA_IP_PROTO = 1, 2, 3, 4, 5, 7, 16, 27
_NETCONF = struct.Struct("=Bxxx")
_NETCONFA_IFINDEX, _NETCONFA_FORWARDING = 1, 2
_EVERY_LINK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Way:
    """The kernel's answer: which way a packet would take.

    ``kind`` is UNICAST, LOCAL or another type of route.  ``link_index`` is the link by which the packet would leave, 0
    for none; ``gateway`` is the gateway that it would go to, None for none; ``source`` is the source address that it
    would get.  ``refusal`` says why there is no way, empty if there is one.
    """

    kind: int
    link_index: int = 0
    source: Address | None = None
    refusal: str = ""
    gateway: Address | None = None


def way(
    netlink: Netlink, to: Address, *, source: Address | None = None, mark: int = 0, by: int = 0, protocol: int = 0
) -> Way:
    """Which way a packet to an address would take: one that this node sends, or one that comes in ``by`` a link.

    ``source`` is its source address, None to let the kernel choose; ``mark`` is its firewall mark; ``protocol`` is the
    number of the protocol that it carries, 0 for any, since rules may look at that.  Raises OSError if the kernel does
    not tell.
    """
    content = _ROUTE.pack(family(to.version), to.max_prefixlen, to.max_prefixlen if source else 0, 0, 0, 0, 0, 0, 0)
    content += attribute(_RTA_DST, to.packed)
    content += attribute(_RTA_SRC, source.packed) if source else b""
    content += attribute(_RTA_MARK, mark) if mark else b""
    content += attribute(_RTA_IIF, by) if by else b""
    content += attribute(_RTA_IP_PROTO, bytes([protocol])) if protocol else b""
    try:
        answer = netlink.get(_RTM_GETROUTE, content, _ROUTE.size)
    except OSError as error:
        if error.errno not in _ERRORS:
            raise
        # Newer kernels give the same error for every incoming packet that is dropped.
        dropped = "it is dropped (blackhole, or the reverse path filter, rp_filter)"
        return Way(0, refusal=dropped if by and error.errno == errno.EINVAL else _ERRORS[error.errno])
    kind = _ROUTE.unpack_from(answer.content)[7]
    preferred, gateway = answer.attributes.get(_RTA_PREFSRC), answer.attributes.get(_RTA_GATEWAY)
    return Way(
        kind,
        answer.number(_RTA_OIF) or 0,
        ip_address(preferred) if preferred else None,
        _TYPES.get(kind, "") or ("" if kind in (UNICAST, LOCAL) else f"a route of type {kind}"),
        ip_address(gateway) if gateway else None,
    )


def forwards(netlink: Netlink, version: int) -> bool:
    """Whether this node forwards packets of that IP version: net.ipv4.ip_forward, or net.ipv6.conf.all.forwarding.

    Raises OSError.
    """
    question = _NETCONF.pack(family(version)) + attribute(_NETCONFA_IFINDEX, _EVERY_LINK)
    return bool(netlink.get(_RTM_GETNETCONF, question, _NETCONF.size).number(_NETCONFA_FORWARDING))
