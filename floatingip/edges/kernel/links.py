"""Network links of this node: find them by MAC, read them, and configure them."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass

from floatingip.edges.kernel.netlink import Message, Netlink, attribute, attributes

IPV4_FORWARDING, IPV4_RP_FILTER = 1, 8
"""Numbers of a link's own IPv4 settings (linux/ip.h)."""

# linux/rtnetlink.h, if_link.h
_RTM_GETLINK, _RTM_SETLINK = 18, 19
_LINK = struct.Struct("=BxHiII")  # family, type, index, flags, which flags change
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_AF_SPEC, _IFLA_EXT_MASK = 1, 3, 4, 5, 10, 26, 29
_IFLA_LINK_NETNSID = 37
_IFLA_LINKINFO, _IFLA_INFO_KIND = 18, 1
_DEVICES = (b"", b"veth")  # Hardware has no kind; in a network namespace a veth stands for it.
_IFLA_INET_CONF = 1
_IFLA_INET6_CONF, _DEVCONF_DISABLE_IPV6 = 2, 27  # counted from 1, as IPv4's are
_BRIEF = attribute(_IFLA_EXT_MASK, 8)  # without statistics (RTEXT_FILTER_SKIP_STATS)
_IFF_UP = 0x1
_IFF_NOARP = 0x80
_IFF_LOWER_UP = 0x10000


@dataclass(frozen=True, slots=True)
class Link:
    """A link as the kernel shows it.

    ``resolves``: it asks for neighbours' MACs, by ARP and NDP.  ``rp_filter`` and ``forwarding`` are the link's own
    IPv4 settings, None without IPv4; ``ipv6_off`` is its ``disable_ipv6``.  ``master`` is the index of the bridge, bond
    or VRF that it is a part of, which sends and receives its packets; ``below`` is the index of the link that it is
    built on.  ``made``: it is no device, but a bridge, a VLAN or the like, which may have been given any MAC.
    """

    index: int
    name: str
    mac: str
    mtu: int
    up: bool
    resolves: bool
    carrier: bool
    rp_filter: int | None
    forwarding: int | None
    ipv6_off: bool
    master: int | None = None
    below: int | None = None
    made: bool = False


def find(netlink: Netlink, mac: str, indexes: MutableMapping[str, int]) -> Link | None:
    """The device with this MAC; the oldest if there are several.  It is never a bridge, a VLAN or the like: these keep
    the MAC of a device that is gone, or may have been given it.

    ``indexes`` remembers the link's index by MAC, since a node has a link for every pod.  Raises OSError, struct.error,
    ValueError.
    """
    wanted = bytes.fromhex(mac.replace(":", ""))
    if (index := indexes.get(mac)) is not None:
        try:
            known = _get(netlink, index)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
        else:
            if known.mac == wanted.hex(":") and not known.made:
                return known
    devices = [link for link in _with_mac(netlink, wanted) if not link.made]
    if not devices:
        indexes.pop(mac, None)
        return None
    link = min(devices, key=lambda link: link.index)
    indexes[mac] = link.index
    return link


def in_front(netlink: Netlink, link: Link) -> Link:
    """The link that sends and receives the packets of a link.

    That is the bridge or bond that has borrowed its MAC; or, if a switch such as Open vSwitch has its packets, that
    switch's link with the MAC; otherwise the link itself.  Raises OSError, struct.error, ValueError.
    """
    if link.master is None:
        return link
    links = _with_mac(netlink, bytes.fromhex(link.mac.replace(":", "")))
    whole = [each for each in links if each.master is None and each.below not in _indexes(links)]
    return min(whole, key=lambda each: (each.index != link.master, each.index), default=link)


def on_top(netlink: Netlink, index: int) -> list[Link]:
    """The links that are built on a link: VLANs and macvlans.  (A macvlan in mode passthru receives all its packets.)

    Raises OSError, struct.error.
    """
    return [link for link in map(_read, _all(netlink)) if link.made and link.below == index]


def _with_mac(netlink: Netlink, mac: bytes) -> list[Link]:
    return [_read(message) for message in _all(netlink) if message.attributes.get(_IFLA_ADDRESS) == mac]


def _all(netlink: Netlink) -> list[Message]:
    return netlink.dump(_RTM_GETLINK, _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _BRIEF, _LINK.size)


def _indexes(links: Iterable[Link]) -> set[int]:
    return {link.index for link in links}


def name_of(index: int) -> str:
    """The present name of the link; names change."""
    with contextlib.suppress(OSError):
        return socket.if_indextoname(index)
    return f"link {index}"


def set_up(netlink: Netlink, link: Link) -> None:
    """Bring the link up, with ARP and NDP: without these it sends packets for others to itself.  Raises OSError."""
    _set(netlink, link, flags=_IFF_UP, changed=_IFF_UP | _IFF_NOARP)


def set_mtu(netlink: Netlink, link: Link, mtu: int) -> None:
    """Set the link's MTU.  Raises OSError."""
    _set(netlink, link, attribute(_IFLA_MTU, mtu))


def configure(netlink: Netlink, link: Link, setting: int, value: int) -> None:
    """Set one of the link's IPv4 settings by netlink, which needs no writable /proc/sys.  Raises OSError."""
    conf = attribute(_IFLA_INET_CONF, attribute(setting, value))
    _set(netlink, link, attribute(_IFLA_AF_SPEC, attribute(socket.AF_INET, conf)))


def _get(netlink: Netlink, index: int) -> Link:
    return _read(netlink.get(_RTM_GETLINK, _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + _BRIEF, _LINK.size))


def _set(netlink: Netlink, link: Link, wish: bytes = b"", *, flags: int = 0, changed: int = 0) -> None:
    netlink.change(_RTM_SETLINK, _LINK.pack(socket.AF_UNSPEC, 0, link.index, flags, changed) + wish)


def _read(message: Message) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(message.content)
    families = dict(attributes(message.attributes.get(_IFLA_AF_SPEC, b"")))
    conf = dict(attributes(families.get(socket.AF_INET, b""))).get(_IFLA_INET_CONF, b"")
    conf6 = dict(attributes(families.get(socket.AF_INET6, b""))).get(_IFLA_INET6_CONF, b"")
    info = dict(attributes(message.attributes.get(_IFLA_LINKINFO, b"")))
    return Link(
        index=index,
        name=message.attributes.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        mac=message.attributes.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=message.number(_IFLA_MTU) or 0,
        up=bool(flags & _IFF_UP),
        resolves=not flags & _IFF_NOARP,
        carrier=bool(flags & _IFF_LOWER_UP),
        rp_filter=_setting(conf, IPV4_RP_FILTER),
        forwarding=_setting(conf, IPV4_FORWARDING),
        ipv6_off=bool(_setting(conf6, _DEVCONF_DISABLE_IPV6)),
        master=message.number(_IFLA_MASTER),
        below=None if _IFLA_LINK_NETNSID in message.attributes else message.number(_IFLA_LINK),
        made=info.get(_IFLA_INFO_KIND, b"").rstrip(b"\0") not in _DEVICES,
    )


def _setting(conf: bytes, number: int) -> int | None:
    """One of a link's settings, None if the kernel does not show it."""
    if len(conf) < 4 * number:
        return None
    (value,) = struct.unpack_from("=I", conf, 4 * (number - 1))
    return int(value)
