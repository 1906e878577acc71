"""
The node's kernel networking: make an ENI's link carry the floating address, with a way back, and notice every change.

A second ENI does not work by itself.  The reply of a NodePort connection gets its source address back only after it
was routed, so it would leave by the primary ENI with the floating address as its source, and the VPC's source check
drops it.  Hence conntrack remembers in a mark which connections came in by the ENI, nft puts that mark on their
replies, and a rule sends marked packets to a routing table of the ENI's own.

Netlink and nft accept some requests without doing them, so whatever is configured is read back, and only what was read
counts.  Links are known by MAC and index, never by name: names change right after the hot plug, also while a link is
up.  This is the only module that knows pyroute2 and nft.  It needs CAP_NET_ADMIN and nft, but no writable /proc/sys.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

from floatingip.announce import announce
from floatingip.errors import HostError
from floatingip.model import Address, Extent, Plumbing, PlumbingReport, PlumbingState

PROTOCOL = 102
"""The origin (rtm_protocol) of our routes and rules: none of /etc/iproute2/rt_protos, so nobody else claims them."""

LOOSE = 2
"""rp_filter: the source must be reachable, by whatever link.  The kernel uses the larger of this and `all`."""

NFT_SECONDS = 5.0
"""How long nft may take before it counts as hanging; it usually takes 5 ms."""

_MAIN = 254  # RT_TABLE_MAIN
_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000
_IFA_F_NODAD = 0x2
_RTN_UNICAST = 1
_RTNH_F_DEAD = 0x1
_RTM_SETLINK = 19
_NLM_F_REQUEST = 0x1
_NLM_F_ACK = 0x4
_FR_ACT_TO_TBL = 1
_NO_SUPPRESSION = 0xFFFFFFFF

_SILENT = "still missing, though the kernel reported no error"

_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_NFNLGRP_NFTABLES = 7
# linux/rtnetlink.h: link, IPv4 address, route, rule; IPv6 address, route, rule; IPv4 netconf, which tells of rp_filter.
_ROUTE_GROUPS = (1, 5, 7, 8, 9, 11, 19, 24)


@dataclass(frozen=True, slots=True)
class _Link:
    """A link as the kernel shows it; `rp_filter` is its own setting, not the effective one, None without IPv4."""

    index: int
    name: str
    mac: str
    mtu: int
    up: bool
    carrier: bool
    rp_filter: int | None


@dataclass(frozen=True, slots=True)
class _Route:
    """A unicast route: everything about it that decides where a packet goes.  `destination` is None for the default."""

    destination: str | None
    prefix: int
    gateway: str | None
    link_index: int


_Rules = dict[frozenset[tuple[str, Any]], dict[str, Any]]
"""Rules: what each says, by `_rule_says`, and the arguments by which pyroute2 adds or deletes it."""


@dataclass(frozen=True, slots=True)
class _Defect:
    """Something missing: how to repair it, by doing nothing if that is beyond us, and what to say if it stays."""

    repair: Callable[[], object] = lambda: None
    problem: str = _SILENT


class KernelHost:
    """`ports.Host` in the network namespace of the calling thread; to be used from one thread, which pyroute2 wants."""

    def __init__(self, nft: str = "nft") -> None:
        """`nft`: the command's name or path."""
        self._nft_command = nft
        self._netlink: IPRoute | None = None
        self._indexes: dict[str, int] = {}

    def close(self) -> None:
        """Close the netlink socket; it opens again by itself."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None

    # What ports.Host promises.

    def plumb(self, plumbing: Plumbing, extent: Extent = Extent.ALL) -> PlumbingReport:
        """Configure what is missing, remove what is too much, read all of it back; see `ports.Host`.

        `repaired` names things out of: link-up, mtu, address, rp_filter, route, rule, marks.  `problem` begins with
        such a name, or with `carrier`, for which nothing can be done here.  A link that is not there is not touched any
        further: what an earlier one left behind is for `unplumb`.  Ahead of the address there is no address, and of
        the rules only the mark's: a node that had the other one would only ever hear itself.  `Extent.NOTHING` is for
        `unplumb`.
        """
        refused: dict[str, str] = {}
        removed: tuple[str, ...] = ()
        try:
            link = self._link(plumbing.mac)
            if link is None:
                return PlumbingReport(PlumbingState.NO_LINK, extent=extent)
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
        except HostError as error:
            return PlumbingReport(PlumbingState.UNSOUND, problem=str(error), removed=removed, extent=extent)
        repaired = tuple(name for name in before if name not in after)
        for name, defect in after.items():
            problem = f"{name}: {refused.get(name, defect.problem)}"
            return PlumbingReport(PlumbingState.UNSOUND, repaired, problem, removed, extent)
        return PlumbingReport(PlumbingState.SOUND, repaired, "", removed, extent)

    def unplumb(self, plumbing: Plumbing) -> tuple[str, ...]:
        """Remove marks, rule, route and address, as far as they are there; see `ports.Host`.

        The link stays as it is.  Everything is tried before a HostError tells of the first thing that could not be
        removed.  Without nft there are no marks to remove, since only nft makes them.
        """
        removers = {
            "marks": self._remove_marks,
            "rule": self._remove_rules,
            "route": self._remove_routes,
            "address": self._remove_address,
        }
        removed: list[str] = []
        problems: list[HostError] = []
        for name, remove in removers.items():
            try:
                with _mapped(name):
                    if remove(plumbing):
                        removed.append(name)
            except HostError as error:
                problems.append(error)
        if problems:
            raise problems[0]
        return tuple(removed)

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
        address = plumbing.address
        with _mapped("probe route"):
            if any(message.get_attr("IFA_ADDRESS") == str(address) for message in self._addresses(address)):
                return
            link = self._link(plumbing.primary_mac)
            if link is None:
                raise HostError(f"no link has the primary MAC {plumbing.primary_mac}")
            main = [route for message in self._routes(address, _MAIN) if (route := _read_route(message))]
            gateways = [route.gateway for route in main if route.destination is None and route.link_index == link.index]
            gateway = next((gateway for gateway in gateways if gateway), str(plumbing.gateway))
            wanted = _Route(str(address), address.max_prefixlen, gateway, link.index)
            if wanted in main:
                return
            self._replace_route(address, _MAIN, wanted, flags="onlink")
            if wanted not in [_read_route(message) for message in self._routes(address, _MAIN)]:
                raise HostError(f"{address} via {gateway} is {_SILENT}")

    def unroute_probes(self, plumbing: Plumbing) -> None:
        """Remove the route that `route_probes` made; see `ports.Host`."""
        address = plumbing.address
        with _mapped("probe route"):
            destination = f"{address}/{address.max_prefixlen}"
            with _tolerated(errno.ESRCH):
                self._ip.route("del", family=_family(address), table=_MAIN, dst=destination, proto=PROTOCOL)

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` for each batch of changes, also for lost ones; see `ports.Host`.

        Whoever has returned from here misses nothing.  `wake` must not raise, and should be quick.  Raises HostError.
        """
        with _mapped("watch"):
            links = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            links.bind((0, sum(1 << (group - 1) for group in _ROUTE_GROUPS)))
            tables = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
            tables.bind((0, 0))
            tables.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NFNLGRP_NFTABLES)
        threading.Thread(target=_watch, args=((links, tables), wake), name="host-watch", daemon=True).start()

    # What is missing, and how to add it.

    def _missing(self, plumbing: Plumbing, link: _Link, extent: Extent) -> dict[str, _Defect]:
        """What of the plumbing the kernel lacks, in the order in which to repair it, each with its repair."""
        address = plumbing.address
        missing: dict[str, _Defect] = {}
        # nft takes as long as all the rest, so it runs meanwhile.
        with _mapped(), self._running_nft("list", "table", "inet", table_name(address)) as finish:
            if not link.up:
                missing["link-up"] = _Defect(lambda: self._ip.link("set", index=link.index, state="up"))
            elif not link.carrier:
                missing["carrier"] = _Defect(problem=f"link {link.name} has none")
            primary = self._link(plumbing.primary_mac)
            if primary is None:
                missing["mtu"] = _Defect(problem=f"no link has the primary MAC {plumbing.primary_mac}")
            elif link.mtu != primary.mtu:
                missing["mtu"] = _Defect(lambda: self._ip.link("set", index=link.index, mtu=primary.mtu))
            if extent is Extent.ALL and not self._has_address(address, link):
                missing["address"] = _Defect(lambda: self._add_address(address, link))
            if address.version == 4 and link.rp_filter != LOOSE:
                missing["rp_filter"] = _Defect(partial(_loosen, link))
            routes, wanted_routes = self._table(plumbing), _wanted_routes(plumbing, link)
            if routes != wanted_routes:
                missing["route"] = _Defect(lambda: self._set_routes(plumbing, routes, wanted_routes))
            rules, wanted_rules = self._rules(plumbing), _wanted_rules(plumbing, extent)
            if rules.keys() != wanted_rules.keys():
                missing["rule"] = _Defect(lambda: self._set_rules(plumbing, rules, wanted_rules))
            try:
                marks, wanted_marks = _read_marks(finish()), _wanted_marks(plumbing, link)
            except HostError as error:
                missing["marks"] = _Defect(problem=str(error))
            else:
                if marks != wanted_marks:
                    missing["marks"] = _Defect(lambda: self._set_marks(wanted_marks, replace=marks is not None))
        return missing

    # Links.

    @property
    def _ip(self) -> IPRoute:
        if self._netlink is None:
            self._netlink = IPRoute()
        return self._netlink

    def _link(self, mac: str) -> _Link | None:
        """The link with this MAC: of several the oldest, since VLANs and the like borrow the MAC of the link below.

        A dump of all links takes 0.3 ms for each, and a node has one for every pod: the index is remembered.
        """
        with _mapped("link"):
            if (index := self._indexes.get(mac)) is not None:
                try:
                    link = _read_link(self._ip.get_links(index)[0])
                except NetlinkError as error:
                    if error.code != errno.ENODEV:
                        raise
                else:
                    if link.mac == mac.lower():
                        return link
            found = [m for m in self._dump(self._ip.get_links) if m.get_attr("IFLA_ADDRESS") == mac.lower()]
            if not found:
                self._indexes.pop(mac, None)
                return None
            link = _read_link(min(found, key=lambda message: int(message["index"])))
            self._indexes[mac] = link.index
            return link

    # Addresses.

    def _addresses(self, address: Address) -> list[Any]:
        return self._dump(self._ip.get_addr, family=_family(address))

    def _has_address(self, address: Address, link: _Link) -> bool:
        return any(
            message["index"] == link.index
            and message["prefixlen"] == address.max_prefixlen
            and message.get_attr("IFA_ADDRESS") == str(address)
            for message in self._addresses(address)
        )

    def _add_address(self, address: Address, link: _Link) -> None:
        # Nobody else can have the address, so duplicate detection would only delay it by a second.
        flags = {"flags": _IFA_F_NODAD} if address.version == 6 else {}
        self._ip.addr("add", index=link.index, address=str(address), prefixlen=address.max_prefixlen, **flags)

    def _remove_address(self, plumbing: Plumbing) -> bool:
        link = self._link(plumbing.mac)
        if link is None or not self._has_address(plumbing.address, link):
            return False
        prefix = plumbing.address.max_prefixlen
        self._ip.addr("del", index=link.index, address=str(plumbing.address), prefixlen=prefix)
        return True

    # Routes.

    def _routes(self, address: Address, table: int) -> list[Any]:
        messages = self._dump(self._ip.get_routes, family=_family(address), table=table)
        return [message for message in messages if message.get_attr("RTA_TABLE") == table]

    def _table(self, plumbing: Plumbing) -> set[_Route | None]:
        """All of the own table; None stands for what is no plain route."""
        return {_read_route(message) for message in self._routes(plumbing.address, plumbing.table)}

    def _set_routes(self, plumbing: Plumbing, there: set[_Route | None], wanted: set[_Route]) -> None:
        if there - wanted:
            self._remove_routes(plumbing)
        # The gateway's own route first: the default needs it.
        for route in sorted(wanted, key=lambda route: route.gateway is not None):
            self._replace_route(plumbing.address, plumbing.table, route, **({} if route.gateway else {"scope": "link"}))

    def _remove_routes(self, plumbing: Plumbing) -> bool:
        if not self._routes(plumbing.address, plumbing.table):
            return False
        with _tolerated(errno.ESRCH):
            self._ip.flush_routes(family=_family(plumbing.address), table=plumbing.table)
        return True

    def _replace_route(self, address: Address, table: int, route: _Route, **options: str) -> None:
        self._ip.route(
            "replace",
            family=_family(address),
            table=table,
            proto=PROTOCOL,
            dst=f"{route.destination}/{route.prefix}" if route.destination else "default",
            oif=route.link_index,
            **({"gateway": route.gateway} if route.gateway else {}),
            **options,
        )

    # Rules.

    def _rules(self, plumbing: Plumbing) -> _Rules:
        """Those at our two priorities that have our protocol or table; others there are somebody else's."""
        rules: _Rules = {}
        for message in self._dump(self._ip.get_rules, family=_family(plumbing.address)):
            attributes = dict(message["attrs"])
            priority = attributes.get("FRA_PRIORITY")
            if priority not in (plumbing.priority, plumbing.priority + 1):
                continue
            if attributes.get("FRA_PROTOCOL") == PROTOCOL or attributes.get("FRA_TABLE") == plumbing.table:
                rules[_rule_says(message, attributes)] = _rule_name(message, attributes)
        return rules

    def _set_rules(self, plumbing: Plumbing, there: _Rules, wanted: _Rules) -> None:
        for says in there.keys() - wanted.keys():
            self._ip.rule("del", family=_family(plumbing.address), **there[says])
        for says in wanted.keys() - there.keys():
            self._ip.rule("add", family=_family(plumbing.address), protocol=PROTOCOL, **wanted[says])

    def _remove_rules(self, plumbing: Plumbing) -> bool:
        rules = self._rules(plumbing)
        for name in rules.values():
            with _tolerated(errno.ENOENT):
                self._ip.rule("del", family=_family(plumbing.address), **name)
        return bool(rules)

    # Marks.

    def _set_marks(self, wanted: list[Any], *, replace: bool) -> None:
        # One transaction, so that no packet meets half of it.  Replacing takes the kernel 15 ms, adding 1 ms.
        commands = [{"delete": wanted[0]}] if replace else []
        commands += [{"add": entry} for entry in wanted]
        self._nft("-f", "-", script=json.dumps({"nftables": commands}))

    def _remove_marks(self, plumbing: Plumbing) -> bool:
        name = table_name(plumbing.address)
        try:
            there = self._nft("list", "table", "inet", name) is not None
        except NftMissing:
            return False
        if there:
            self._nft("delete", "table", "inet", name)
        return there

    def _nft(self, *arguments: str, script: str = "") -> str | None:
        """What nft prints; None when what it is asked for is not there.  Raises HostError with nft's first line."""
        with self._running_nft(*arguments) as finish:
            return finish(script)

    @contextmanager
    def _running_nft(self, *arguments: str) -> Iterator[Callable[..., str | None]]:
        """Start nft; the function given returns or raises what `_nft` does, after having passed the script on."""
        command = [self._nft_command, "-j", *arguments]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except FileNotFoundError:
            yield partial(_refuse_without_nft, self._nft_command)
            return
        with process:
            try:
                yield partial(_finish_nft, process)
            finally:
                process.kill()

    def _dump(self, read: Callable[..., Any], **filters: Any) -> list[Any]:
        """A whole dump; the kernel interrupts it when something changes meanwhile, as on a busy node it does."""
        for _ in range(5):
            try:
                return list(read(**filters))
            except NetlinkDumpInterrupted:
                continue
        return list(read(**filters))


class NftMissing(HostError):
    """There is no nft command."""


def table_name(address: Address) -> str:
    """The nft table of a floating address, family inet."""
    return f"floatingip_{address.packed.hex()}"


def _refuse_without_nft(command: str, _script: str = "") -> NoReturn:
    raise NftMissing(f"{command}: command not found", "the image must contain nftables")


def _finish_nft(process: subprocess.Popen[str], script: str = "") -> str | None:
    try:
        output, errors = process.communicate(script, timeout=NFT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise HostError(f"nft: no answer within {NFT_SECONDS:g} s") from error
    if process.returncode == 0:
        return output
    line = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[0]
    if not script and os.strerror(errno.ENOENT) in line:
        return None
    raise HostError(f"nft: {line}")


def _wanted_routes(plumbing: Plumbing, link: _Link) -> set[_Route]:
    gateway = str(plumbing.gateway)
    return {
        _Route(gateway, plumbing.gateway.max_prefixlen, None, link.index),
        _Route(None, 0, gateway, link.index),
    }


def _wanted_rules(plumbing: Plumbing, extent: Extent) -> _Rules:
    address, table, mark, mask = str(plumbing.address), plumbing.table, plumbing.mark, plumbing.mark_mask
    first, second, prefix = plumbing.priority, plumbing.priority + 1, plumbing.address.max_prefixlen
    says = {"action": _FR_ACT_TO_TBL, "flags": 0, "tos": 0, "src_len": 0, "dst_len": 0, "FRA_TABLE": table}
    source = says | {"FRA_PRIORITY": first, "FRA_SRC": address, "src_len": prefix}
    marked = says | {"FRA_PRIORITY": second, "FRA_FWMARK": mark, "FRA_FWMASK": mask}
    rules: _Rules = {frozenset(marked.items()): {"table": table, "priority": second, "fwmark": mark, "fwmask": mask}}
    if extent is Extent.ALL:
        rules[frozenset(source.items())] = {"table": table, "priority": first, "src": address, "src_len": prefix}
    return rules


def _wanted_marks(plumbing: Plumbing, link: _Link) -> list[Any]:
    """The own nft table in nft's JSON, as it is both added and listed.

    A connection whose first packets come in by our link to the address is marked in conntrack, before they are sent on
    to a pod; the mark is put on packets of the reply direction only, or the floating address would leak to remote pods
    as a source.  The output chain is for pods on the host's network; its type `route` makes the kernel route again
    after the mark.
    """
    name, mark, mask = table_name(plumbing.address), plumbing.mark, plumbing.mark_mask
    connection, packet = {"ct": {"key": "mark"}}, {"meta": {"key": "mark"}}

    def match(left: Any, right: Any) -> Any:
        return {"match": {"op": "==", "left": left, "right": right}}

    def add_mark(key: Any) -> Any:
        return {"mangle": {"key": key, "value": {"|": [key, mark]}}}

    def chain(hook: str, kind: str) -> Any:
        # Priority -150 (mangle): after conntrack at -200, before NAT at -100 and the routing decision.
        base = {"type": kind, "hook": hook, "prio": -150, "policy": "accept"}
        return {"chain": {"family": "inet", "table": name, "name": hook, **base}}

    def rule(hook: str, *expressions: Any) -> Any:
        return {"rule": {"family": "inet", "table": name, "chain": hook, "expr": list(expressions)}}

    direction = {"ct": {"key": "direction"}}
    family = "ip" if plumbing.address.version == 4 else "ip6"
    destination = {"payload": {"protocol": family, "field": "daddr"}}
    remember = (
        match({"meta": {"key": "iif"}}, link.index),
        match(destination, str(plumbing.address)),
        match(direction, "original"),
        add_mark(connection),
    )
    restore = match(direction, "reply"), match({"&": [connection, mask]}, mark), add_mark(packet)
    return [
        {"table": {"family": "inet", "name": name}},
        chain("prerouting", "filter"),
        chain("output", "route"),
        rule("prerouting", *remember),
        rule("prerouting", *restore),
        rule("output", *restore),
    ]


def _read_link(message: Any) -> _Link:
    families = message.get_attr("IFLA_AF_SPEC")
    conf = families.get_attr("AF_INET") if families else None
    return _Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        mac=message.get_attr("IFLA_ADDRESS"),
        mtu=message.get_attr("IFLA_MTU"),
        up=bool(message["flags"] & _IFF_UP),
        carrier=bool(message["flags"] & _IFF_LOWER_UP),
        rp_filter=conf["rp_filter"] if conf else None,
    )


def _read_route(message: Any) -> _Route | None:
    """None for what is no plain unicast route by one link, or a dead one."""
    link_index = message.get_attr("RTA_OIF")
    if message["type"] != _RTN_UNICAST or message["flags"] & _RTNH_F_DEAD or link_index is None:
        return None
    return _Route(message.get_attr("RTA_DST"), message["dst_len"], message.get_attr("RTA_GATEWAY"), link_index)


def _rule_says(message: Any, attributes: dict[str, Any]) -> frozenset[tuple[str, Any]]:
    """All that a rule selects and does, whoever made it."""
    says = {key: message[key] for key in ("action", "flags", "tos", "src_len", "dst_len")}
    for name, value in attributes.items():
        idle = name == "FRA_PROTOCOL" or (name == "FRA_SUPPRESS_PREFIXLEN" and value == _NO_SUPPRESSION)
        if not idle:
            says[name] = value if isinstance(value, str | int) else repr(value)
    return frozenset(says.items())


def _rule_name(message: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """The arguments that delete this rule and no other at its priority."""
    keys = ("PRIORITY", "TABLE", "PROTOCOL", "SRC", "DST", "FWMARK", "FWMASK", "IIFNAME", "OIFNAME")
    name = {key.lower(): attributes[f"FRA_{key}"] for key in keys if f"FRA_{key}" in attributes}
    return name | {key: message[key] for key in ("action", "src_len", "dst_len")}


def _read_marks(answer: str | None) -> list[Any] | None:
    """A table as nft lists it, without handles and with links as indexes; None when there is none."""
    if answer is None:
        return None
    try:
        listed = [entry for entry in json.loads(answer)["nftables"] if "metainfo" not in entry]
    except json.JSONDecodeError:
        # nft 1.0.6 prints what is in memory for a table's flags, which may be no JSON: it is there, but not as wanted.
        return []
    for entry in listed:
        for thing in entry.values():
            thing.pop("handle", None)
            for expression in thing.get("expr", ()):
                _name_to_index(expression.get("match"))
    return listed


def _name_to_index(match: Any) -> None:
    """nft shows `iif` by the link's name of the moment, or by its index, as a string, when the link is gone."""
    if match and match["left"] == {"meta": {"key": "iif"}}:
        shown = str(match["right"])
        try:
            match["right"] = int(shown) if shown.isdigit() else socket.if_nametoindex(shown)
        except OSError:
            match["right"] = shown


def _loosen(link: _Link) -> None:
    """Set rp_filter by RTM_SETLINK, which needs no writable /proc/sys.

    By hand, since `IPRoute.link("set", IFLA_AF_SPEC=...)` leaves the attribute out without a word.
    """

    def attribute(kind: int, content: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(content), kind) + content

    # IFLA_AF_SPEC > AF_INET > IFLA_INET_CONF > IPV4_DEVCONF_RP_FILTER
    wish = attribute(26, attribute(socket.AF_INET, attribute(1, attribute(8, struct.pack("=I", LOOSE)))))
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, link.index, 0, 0) + wish
    header = struct.pack("=IHHII", 16 + len(body), _RTM_SETLINK, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(header + body)
        (code,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    if code:
        raise OSError(-code, os.strerror(-code))


def _family(address: Address) -> int:
    return int(socket.AF_INET if address.version == 4 else socket.AF_INET6)


def _watch(sockets: tuple[socket.socket, ...], wake: Callable[[], None]) -> None:
    poll = select.poll()
    for watched in sockets:
        poll.register(watched, select.POLLIN)
    while True:
        poll.poll()
        for watched in sockets:
            _drain(watched)
        wake()


def _drain(watched: socket.socket) -> None:
    """Read everything that waits.  What it says does not matter, so neither do messages cut short or lost."""
    while True:
        try:
            watched.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise


@contextmanager
def _mapped(what: str = "") -> Iterator[None]:
    """Turn what netlink and the system raise into a HostError, of one line."""
    prefix = f"{what}: " if what else ""
    try:
        yield
    except NetlinkError as error:
        raise HostError(f"{prefix}{os.strerror(error.code) if error.code > 0 else error}") from error
    except OSError as error:
        raise HostError(f"{prefix}{error.strerror or error}") from error


@contextmanager
def _tolerated(code: int) -> Iterator[None]:
    """What is to be removed may be gone already."""
    try:
        yield
    except NetlinkError as error:
        if error.code != code:
            raise
