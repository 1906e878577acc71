"""
What only `floatingip doctor` asks the kernel: what others have on our links, before our rules, and on our mark bits.

A part of ``kernel``.  It changes nothing.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from floatingip.core.model import Address
from floatingip.edges.kernel import extensions, kube_proxy, links
from floatingip.edges.kernel.extensions import Marking
from floatingip.edges.kernel.legacy import tables_with_rules
from floatingip.edges.kernel.links import Link
from floatingip.edges.kernel.mark_table import PREFIX
from floatingip.edges.kernel.netlink import NETFILTER, Message, Netlink, mapped
from floatingip.edges.kernel.nft import Nft, NftTooLong
from floatingip.edges.kernel.path import FAR, forwards, way
from floatingip.edges.kernel.routes import MAIN, PROTOCOL, in_table, ours, read

IPVS_LINK = "kube-ipvs0"
"""The link on which kube-proxy in ipvs mode puts Services' addresses."""

# linux/rtnetlink.h, if_addr.h, fib_rules.h
_RTM_GETADDR, _RTM_GETROUTE, _RTM_GETRULE = 22, 26, 34
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE, _RULE = struct.Struct("=BBBBBBBBI"), struct.Struct("=BBBBBxxBI")
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_TABLE = 1, 4, 15
_FRA_PRIORITY, _FRA_TABLE, _FRA_FWMASK, _FRA_PROTOCOL = 6, 15, 16, 21
_KERNELS = 2
_MANAGERS = {3: "boot", 4: "static, as systemd-networkd's", 9: "ra", 16: "dhcp"}
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def rp_filter(link: str) -> int | None:
    """The setting `rp_filter` of a link, or of `all`; None if it cannot be read."""
    with suppress(OSError, ValueError):
        return int(Path(f"/proc/sys/net/ipv4/conf/{link}/rp_filter").read_text(encoding="ascii"))
    return None


def conntrack() -> tuple[int, int]:
    """How many connections conntrack has here, and how many it can have.  Raises HostError."""
    with mapped("conntrack"):
        used, most = (Path(f"/proc/sys/net/netfilter/nf_conntrack_{which}") for which in ("count", "max"))
        return int(used.read_text(encoding="ascii")), int(most.read_text(encoding="ascii"))


class KernelInspection:
    """The doctor's questions to the kernel, in the network namespace of the calling thread; for one thread."""

    def __init__(self) -> None:
        self._netlink = Netlink()
        self._nft = Nft("nft", in_bounds=True)

    def close(self) -> None:
        """Close the netlink socket."""
        self._netlink.close()

    def forwards(self, version: int) -> bool:
        """Whether this node forwards packets of that IP version.  Raises HostError."""
        with mapped():
            return forwards(self._netlink, version)

    def link(self, mac: str) -> Link | None:
        """The link with this MAC, as the observer finds it.  Raises HostError."""
        with mapped():
            return links.find(self._netlink, mac, {})

    def has_link(self, name: str) -> bool:
        """Whether there is a link of this name."""
        with suppress(OSError):
            return socket.if_nametoindex(name) > 0
        return False

    def of_others(self, index: int, expected: Collection[Address]) -> Iterator[str]:
        """Addresses, routes and links on a link that neither we nor the kernel have put there.  Raises HostError."""
        with mapped():
            yield from (f"the link {each.name} on top of it" for each in links.on_top(self._netlink, index))
            for family in _FAMILIES:
                for message in self._listed(_RTM_GETADDR, _ADDRESS.pack(family, 0, 0, 0, index), _ADDRESS.size):
                    raw = message.attributes.get(_IFA_LOCAL, message.attributes.get(_IFA_ADDRESS))
                    address = ip_address(raw) if raw else None
                    at = _ADDRESS.unpack_from(message.content)[4]
                    if at == index and address is not None and address not in expected and not address.is_link_local:
                        yield f"the address {address}"
                for message in self._listed(_RTM_GETROUTE, _ROUTE.pack(family, *(0,) * 8), _ROUTE.size):
                    protocol = _ROUTE.unpack_from(message.content)[5]
                    if message.number(_RTA_OIF) == index and protocol not in (PROTOCOL, _KERNELS):
                        yield f"a route to {_destination(message)} ({_MANAGERS.get(protocol, f'protocol {protocol}')})"

    def rules_on(self, bits: int) -> Iterator[str]:
        """Others' rules that look at any of these bits of the firewall mark.  Raises HostError."""
        with mapped():
            for family in _FAMILIES:
                for message in self._listed(_RTM_GETRULE, _RULE.pack(family, *(0,) * 6), _RULE.size):
                    mask = message.number(_FRA_FWMASK)
                    is_ours = message.attributes.get(_FRA_PROTOCOL) == bytes([PROTOCOL])
                    # This includes a rule for packets without any of these bits, for which the kernel shows no mark.
                    if mask is not None and mask & bits and not is_ours:
                        yield f"a rule at priority {message.number(_FRA_PRIORITY) or 0} looks at {mask & bits:#x}"

    def strays(
        self, tables: Collection[int], priorities: Collection[int], probed: Collection[Address]
    ) -> Iterator[str]:
        """Rules and routes of ours that have other numbers than these, or are for the probes of other addresses.

        Raises HostError.
        """
        with mapped():
            for family in _FAMILIES:
                for message in self._listed(_RTM_GETRULE, _RULE.pack(family, *(0,) * 6), _RULE.size):
                    at, table = message.number(_FRA_PRIORITY) or 0, message.number(_FRA_TABLE) or 0
                    is_ours = message.attributes.get(_FRA_PROTOCOL) == bytes([PROTOCOL])
                    if is_ours and not (at in priorities and table in tables):
                        yield f"a rule at priority {at} to table {table}"
                question = _ROUTE.pack(family, 0, 0, 0, 0, PROTOCOL, 0, 0, 0)
                # Filtered here as well: a kernel before 4.20 shows all.
                for message in ours(self._listed(_RTM_GETROUTE, question, _ROUTE.size)):
                    table, to = message.number(_RTA_TABLE) or 0, message.attributes.get(_RTA_DST)
                    is_probes = table == MAIN and to in {address.packed for address in probed}
                    if table not in tables and not is_probes:
                        yield f"a route to {_destination(message)} in table {table}"

    def filtered(self, mark: int) -> tuple[str, ...]:
        """Links of pods whose replies the reverse path filter drops as soon as they have this mark.  Raises HostError.

        The filter does so if src_valid_mark is 1, as WireGuard sets it: then it checks the way by the mark, which does
        not lead to the pod.
        """
        far, found = FAR[4], set[str]()
        with mapped():
            for message in in_table(self._netlink, far, MAIN):
                route = read(message)
                if route is None or route.destination is None or route.prefix != far.max_prefixlen or route.gateway:
                    continue
                reply = partial(way, self._netlink, far, source=ip_address(route.destination), by=route.link_index)
                if not reply().refusal and reply(mark=mark).refusal:
                    found.add(links.name_of(route.link_index))
        return tuple(sorted(found))

    def _listed(self, kind: int, question: bytes, head: int) -> list[Message]:
        """All things of a kind and of one family, the question's first byte.  Raises OSError, struct.error.

        A kernel without that family, as with ipv6.disable=1, refuses, or lists those of all other families instead.
        """
        try:
            listed = self._netlink.dump(kind, question, head)
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:
                raise
            return []
        return [message for message in listed if message.content[0] == question[0]]

    # nft and iptables.

    def ruleset(self) -> list[Any]:
        """All that nft lists.  Raises HostError."""
        return self._nft.list_ruleset()

    def readable(self) -> tuple[list[Any], tuple[str, ...]]:
        """As much of the ruleset as can be read, and the tables that are too long to read.

        If the whole ruleset is too long, each table is read by itself.  Raises HostError, also if none can be read.
        """
        try:
            return self.ruleset(), ()
        except NftTooLong:
            found, unread = list[Any](), list[str]()
            for family, name in self._tables():
                try:
                    found += self._nft.list_ruleset(family, name)
                except NftTooLong:
                    unread.append(f"nft's table {family} {name}")
            if not found:
                raise
            return found, tuple(unread)

    def _tables(self) -> list[tuple[str, str]]:
        with mapped("nft"), closing(Netlink(NETFILTER)) as netlink:
            return list(extensions.tables(netlink))

    def markings(self) -> tuple[Marking, ...]:
        """What rules of iptables-nft do to marks.  Raises HostError."""
        with mapped("nft"), closing(Netlink(NETFILTER)) as netlink:
            return tuple(extensions.markings(netlink))

    def legacy(self) -> tuple[str, ...]:
        """iptables' own (legacy) tables that have rules, which nft does not list.  Raises HostError."""
        with mapped("iptables"):
            return tuple(tables_with_rules())

    def try_nft(self) -> None:
        """Run nft once.  Raises HostError if it cannot be used."""
        self._nft.list_table(f"{PREFIX}doctor")

    def node_ports_at(self, version: int) -> frozenset[str] | None:
        """See `kube_proxy.node_ports_at`.  Raises HostError."""
        return kube_proxy.node_ports_at(self._nft, version)

    def node_ports_by_iptables(self, version: int) -> frozenset[str] | None:
        """See `kube_proxy.node_ports_by_iptables`.  Raises HostError."""
        return kube_proxy.node_ports_by_iptables(self._nft, version)


def _destination(message: Message) -> str:
    length = _ROUTE.unpack_from(message.content)[1]
    raw = message.attributes.get(_RTA_DST)
    return f"{ip_address(raw)}/{length}" if raw else "default"
