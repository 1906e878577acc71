"""
The node's kernel networking: make an ENI's link carry the floating address, with a way back, and notice every change.

A second ENI does not work by itself.  The reply of a NodePort connection gets its source address back only after it
was routed, so it would leave by the primary ENI with the floating address as its source, and the VPC's source check
drops it.  Hence conntrack remembers in a mark which connections came in by the ENI, nft puts that mark on their
replies (mark_table.py), and a rule sends marked packets to a routing table of the ENI's own.

Ours in the kernel are the routes and rules of our protocol, the nft tables of our name, and the floating address on the
ENI's link.  Nothing else is ever replaced or removed: what others have in the way is named in the report.

Netlink and nft accept some requests without doing them, so everything is read back after it was configured, and only
what was read counts.  Links are found by MAC and index, never by name: names change right after a hot plug, even while
a link is up.  This needs CAP_NET_ADMIN and nft, but no writable /proc/sys.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from floatingip.core.errors import HostError
from floatingip.core.model import Address
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport, PlumbingState
from floatingip.edges import background
from floatingip.edges.kernel import addresses, changes, links, probe_route, routes, rules
from floatingip.edges.kernel.announce import announce
from floatingip.edges.kernel.astray import Ways
from floatingip.edges.kernel.kube_proxy import kept_off
from floatingip.edges.kernel.links import Link
from floatingip.edges.kernel.mark_table import table_name, wanted_marks
from floatingip.edges.kernel.marks import UNKNOWN_FOR, Known, Marks
from floatingip.edges.kernel.netlink import Message, Netlink, NetlinkSilent, mapped
from floatingip.edges.kernel.path import LOCAL, NEW_ADDRESS_PAUSE, NEW_ADDRESS_TRIES, forwards, way

LOOSE = 2
"""The value of rp_filter for: the source must be reachable by any link.  The kernel uses the larger of this and
`all`."""

LEAST_MTU_6 = 1280
"""A link with a smaller MTU has no IPv6 (RFC 8200, 5)."""


@dataclass(frozen=True, slots=True)
class _Defect:
    """Something that is missing: how to repair it, if that is possible, and what to say if it stays missing."""

    repair: Callable[[], object] = lambda: None
    problem: str = "still missing, though the kernel reported no error"


@dataclass(frozen=True, slots=True)
class _Complete:
    """What was there completely when it was looked at last; since when the kernel has not told whether it still is."""

    plumbing: Plumbing
    extent: Extent
    silent_since: float | None = None


class KernelHost:
    """`ports.Host` in the network namespace of the calling thread; to be used from one thread."""

    def __init__(self, nft: str = "nft") -> None:
        """`nft`: the command's name or path."""
        self._netlink = Netlink()
        self._marks = Marks(nft)
        self._indexes: dict[str, int] = {}
        self._complete: dict[Address, _Complete] = {}

    def close(self) -> None:
        """Close the netlink socket; it opens again by itself."""
        self._netlink.close()

    # What ports.Host promises.

    def plumb(self, plumbing: Plumbing, extent: Extent = Extent.ALL) -> PlumbingReport:
        """Configure what is missing, remove what is too much, read all of it back; see `ports.Host`.

        `repaired` has names out of: link-up, mtu, address, rp_filter, forwarding, route, rule, marks.  `problem` begins
        with such a name, or with `carrier`, `master` or `path`, for which nothing can be done here.  Without the link
        nothing is done: what an earlier link left behind is for `unplumb`.  Nor is anything where the link is left
        alone (`Extent.AS_LEFT`): then the report has `Extent.NOTHING`.  `Extent.AHEAD` has no address, and only the
        mark's rule: with the rule for the address this node's probes would reach itself.  `Extent.NOTHING` is for
        `unplumb`.
        """
        refused: dict[str, str] = {}
        removed: tuple[str, ...] = ()
        complete = self._complete.pop(plumbing.address, None)
        try:
            link = self._link(plumbing.mac)
            if link is None:
                return PlumbingReport(PlumbingState.NO_LINK, extent=extent)
            if extent is Extent.AS_LEFT:
                if not self._was_plumbed(plumbing, link):
                    return PlumbingReport(PlumbingState.NO_LINK, extent=Extent.NOTHING)
                extent = Extent.AS_FOUND
            # nft takes as long as all the rest, so it runs meanwhile.
            self._marks.want(table_name(plumbing.address), wanted_marks(plumbing, link.index))
            with mapped():
                if extent is Extent.AS_FOUND:
                    extent = Extent.ALL if addresses.has(self._netlink, plumbing.address, link) else Extent.AHEAD
                if extent is Extent.AHEAD and self._remove_address(plumbing):
                    removed = ("address",)
            before, all_rules = self._missing(plumbing, link, extent)
            after = before
            for name, defect in before.items():
                try:
                    with mapped():
                        defect.repair()
                except HostError as error:
                    refused[name] = str(error)
            if before:
                complete = None
                link = self._link(plumbing.mac)
                if link is None:
                    return PlumbingReport(PlumbingState.NO_LINK, extent=extent)
                after, all_rules = self._missing(plumbing, link, extent)
            astray = partly = ""
            if not after:
                ways = Ways(self._netlink, plumbing, link, self._primary(plumbing), extent, all_rules)
                with mapped("path"):
                    astray = ways.astray()
                    partly = ways.partly_astray()
        except NetlinkSilent as error:
            if extent is Extent.AS_FOUND and complete is not None:
                extent = complete.extent
            state = self._unanswered(complete, plumbing, extent)
            return PlumbingReport(state, problem=str(error), removed=removed, extent=extent)
        except HostError as error:
            return PlumbingReport(PlumbingState.UNSOUND, problem=str(error), removed=removed, extent=extent)
        if not after and not astray:
            self._complete[plumbing.address] = _Complete(plumbing, extent)
        marks = self._marks.verdict(table_name(plumbing.address))
        repaired = tuple(name for name in before if name not in after) + (("marks",) if marks.changed else ())
        for name, defect in after.items():
            problem = f"{name}: {refused.get(name, defect.problem)}"
            return PlumbingReport(PlumbingState.UNSOUND, repaired, problem, removed, extent)
        if astray:
            return PlumbingReport(PlumbingState.UNSOUND, repaired, f"path: {astray}", removed, extent)
        problem = rules.foreign(all_rules, plumbing) or (f"path: {partly}" if partly else "")
        problem = f"marks: {marks.problem}" if marks.problem else problem
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
        removers: dict[str, Callable[[Plumbing], bool]] = {
            "rule": partial(rules.remove, self._netlink),
            "route": self._remove_routes,
            "address": self._remove_address,
        }
        removed: list[str] = []
        problems: list[HostError] = []
        for what, remove in removers.items():
            try:
                with mapped(what):
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
        # Best effort: a neighbour that does not hear it asks by ARP or NDP sooner or later.
        with contextlib.suppress(OSError, HostError):
            link = self._link(plumbing.mac)
            if link is not None:
                announce(plumbing.address, link.index, link.mac)

    def route_probes(self, plumbing: Plumbing) -> None:
        """Route the floating address by the primary link's gateway; see `ports.Host`."""
        with mapped("probe route"):
            probe_route.put(self._netlink, plumbing, partial(self._primary, plumbing))
        with mapped():
            if said := routes.refusal(plumbing, routes.in_table(self._netlink, plumbing.address, plumbing.table)):
                raise HostError(said)

    def blind(self, plumbing: Plumbing) -> str:
        """Why a probe of the address would not leave this node by its primary link; see `ports.Host`."""
        with mapped("probe route"):
            primary = self._primary(plumbing)
            if primary is None:
                return (
                    f"{plumbing.address} cannot be probed from here: no link has the primary MAC {plumbing.primary_mac}"
                )
            return probe_route.blind(self._netlink, plumbing.address, primary)

    def in_the_way(self, plumbing: Plumbing) -> tuple[str, ...]:
        """What others have in our table or at our priorities, as sentences; changes nothing.  Raises HostError."""
        with mapped():
            table = routes.refusal(plumbing, routes.in_table(self._netlink, plumbing.address, plumbing.table))
            return tuple(filter(None, (table, rules.foreign(rules.of_family(self._netlink, plumbing), plumbing))))

    def unroute_probes(self, plumbing: Plumbing) -> None:
        """Remove the route that `route_probes` made; see `ports.Host`."""
        with mapped("probe route"):
            probe_route.remove(self._netlink, plumbing.address)

    def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` for each batch of changes, also for lost ones; see `ports.Host`.

        No change is missed after this has returned.  `wake` must not raise, and should be quick.  Raises HostError.
        """
        with mapped("watch"):
            sockets = changes.listen()
            self._marks.follow(wake)
            background.start("host-watch", partial(changes.follow, sockets, self._marks.touched, wake))

    # What is missing, and how to add it.

    def _missing(self, plumbing: Plumbing, link: Link, extent: Extent) -> tuple[dict[str, _Defect], list[Message]]:
        """What the kernel lacks of the plumbing, except the marks: each with its repair, in the order of repairing; and
        all rules that were found, whosever they are.
        """
        with mapped():
            primary = self._primary(plumbing)
            missing = self._of_link(plumbing, link, primary)
            missing |= self._of_address(plumbing.address, link, primary, extent)
            missing |= self._of_switches(plumbing.address.version, link)
            found = routes.in_table(self._netlink, plumbing.address, plumbing.table)
            if said := routes.refusal(plumbing, found):
                # Then our rules must not be there: they would send packets by the routes of others.
                return missing | {"route": _Defect(problem=said)}, []
            all_rules = rules.of_family(self._netlink, plumbing)
            return missing | self._of_ways(plumbing, link, extent, found, all_rules), all_rules

    def _of_link(self, plumbing: Plumbing, link: Link, primary: Link | None) -> dict[str, _Defect]:
        """What the link lacks before it can carry anything."""
        missing: dict[str, _Defect] = {}
        if not (link.up and link.resolves):
            missing["link-up"] = _Defect(partial(links.set_up, self._netlink, link))
        elif not link.carrier:
            missing["carrier"] = _Defect(problem=f"link {link.name} has none")
        if link.master is not None:
            master = links.name_of(link.master)
            said = f"{link.name} is a part of {master}, which has its packets; take it out there"
            missing["master"] = _Defect(problem=said)
        if primary is None:
            missing["mtu"] = _Defect(problem=f"no link has the primary MAC {plumbing.primary_mac}")
        elif link.mtu != primary.mtu:
            missing["mtu"] = _Defect(partial(links.set_mtu, self._netlink, link, primary.mtu))
        return missing

    def _of_address(self, address: Address, link: Link, primary: Link | None, extent: Extent) -> dict[str, _Defect]:
        """Whether the link has the address, as far as it is to have it."""
        if address.version == 6 and (said := _without_ipv6(link, primary)):
            return {"address": _Defect(problem=said)}
        if extent is not Extent.ALL:
            return {}
        if not addresses.works(self._netlink, address, link):
            return {"address": _Defect(partial(addresses.add, self._netlink, address, link))}
        if self._takes_in(address, link):
            return {}
        # Of IPv6 the kernel forgets a route that others have made; of IPv4 routes go with the last address.
        if address.version == 4:
            return {"address": _Defect(partial(routes.take_in, self._netlink, address, link.index))}
        return {"address": _Defect(partial(addresses.add, self._netlink, address, link, anew=True))}

    def _of_switches(self, version: int, link: Link) -> dict[str, _Defect]:
        """Which of the kernel's switches would have it drop what comes in by the link, or goes on to a pod."""
        missing: dict[str, _Defect] = {}
        configure = partial(links.configure, self._netlink, link)
        if version == 4 and link.rp_filter != LOOSE:
            missing["rp_filter"] = _Defect(partial(configure, links.IPV4_RP_FILTER, LOOSE))
        if version == 4 and link.forwarding:
            return missing
        if not forwards(self._netlink, version):
            switch = "net.ipv4.ip_forward" if version == 4 else "net.ipv6.conf.all.forwarding"
            said = f"{switch} is 0, so that no pod can be reached by {link.name}; set it to 1"
            missing["forwarding"] = _Defect(problem=said)
        elif version == 4:
            missing["forwarding"] = _Defect(partial(configure, links.IPV4_FORWARDING, 1))
        return missing

    def _of_ways(
        self, plumbing: Plumbing, link: Link, extent: Extent, found: list[Message], all_rules: list[Message]
    ) -> dict[str, _Defect]:
        """The routes, of which ``found`` are in our table, and rules that are missing or too much."""
        missing: dict[str, _Defect] = {}
        there, wanted_rules = rules.concerning(all_rules, plumbing), rules.wanted(plumbing, extent)
        ours = {says: message for says, (message, is_ours) in there.items() if is_ours}
        surplus = [message for says, message in ours.items() if says not in wanted_rules]
        lacking = [message for says, message in wanted_rules.items() if says not in there]
        wanted_routes = routes.wanted(plumbing, link.index)
        former = self._former_routes(plumbing, link, rules.tables(all_rules, surplus))
        if former or {routes.read(message) for message in found} != wanted_routes:
            missing["route"] = _Defect(partial(self._put_routes, plumbing, found, wanted_routes, former))
        if surplus or lacking:
            missing["rule"] = _Defect(partial(rules.put, self._netlink, surplus, lacking))
        return missing

    def _takes_in(self, address: Address, link: Link) -> bool:
        """Whether the kernel has its own route for what comes for the address, which others may have flushed.  Of IPv6
        it makes that some time after the address came.
        """
        for _ in range(NEW_ADDRESS_TRIES if address.version == 6 else 1):
            # Else all of its routes by the link are to be looked at.
            if way(self._netlink, address).kind == LOCAL or routes.takes_in(self._netlink, address, link.index):
                return True
            time.sleep(NEW_ADDRESS_PAUSE)
        return False

    def _former_routes(self, plumbing: Plumbing, link: Link, used: Collection[int | None]) -> list[Message]:
        """Ours by the link in tables that no rule uses any more: an observer with other settings has left them here."""
        by_table = routes.by_table(self._netlink, plumbing.address, link.index)
        left = by_table.keys() - used - {plumbing.table, routes.MAIN}
        return [message for table in left for message in by_table[table]]

    def _put_routes(
        self, plumbing: Plumbing, there: list[Message], wanted: set[routes.Route], former: list[Message]
    ) -> None:
        for message in former:
            routes.delete(self._netlink, message)
        routes.put(self._netlink, plumbing, there, wanted)

    def _unanswered(self, complete: _Complete | None, plumbing: Plumbing, extent: Extent) -> PlumbingState:
        """What the plumbing counts as while the kernel does not answer."""
        if complete is None or (complete.plumbing, complete.extent) != (plumbing, extent):
            return PlumbingState.UNSOUND
        # As long as for nft: a driver that resets an interface keeps rtnetlink waiting, and what is there serves on.
        now = time.monotonic()
        since = now if complete.silent_since is None else complete.silent_since
        self._complete[plumbing.address] = _Complete(plumbing, extent, since)
        return PlumbingState.UNCERTAIN if now - since <= UNKNOWN_FOR else PlumbingState.UNSOUND

    # What is ours of it.

    def _link(self, mac: str) -> Link | None:
        with mapped("link"):
            return links.find(self._netlink, mac, self._indexes)

    def _primary(self, plumbing: Plumbing) -> Link | None:
        link = self._link(plumbing.primary_mac)
        with mapped("link"):
            return links.in_front(self._netlink, link) if link is not None else None

    def _was_plumbed(self, plumbing: Plumbing, link: Link) -> bool:
        """Whether an observer has plumbed the link: there is a rule of ours from the address, or a route by it."""
        with mapped():
            if rules.lead_from(rules.of_family(self._netlink, plumbing), plumbing.address):
                return True
            return bool(routes.by_table(self._netlink, plumbing.address, link.index))

    def _remove_address(self, plumbing: Plumbing) -> bool:
        link = self._link(plumbing.mac)
        return link is not None and addresses.remove(self._netlink, plumbing.address, link)

    def _remove_routes(self, plumbing: Plumbing) -> bool:
        ours = routes.ours(routes.in_table(self._netlink, plumbing.address, plumbing.table))
        if (link := self._link(plumbing.mac)) is not None:
            ours += self._former_routes(plumbing, link, rules.tables(rules.of_family(self._netlink, plumbing), ()))
        for message in ours:
            routes.delete(self._netlink, message)
        return bool(ours)


_STATES = {
    Known.AS_WANTED: PlumbingState.SOUND,
    Known.UNKNOWN: PlumbingState.UNCERTAIN,
    Known.NOT_AS_WANTED: PlumbingState.UNSOUND,
}


def _without_ipv6(link: Link, primary: Link | None) -> str:
    """Why the link can have no IPv6 address; empty where it can."""
    if link.ipv6_off:
        return f"net.ipv6.conf.{link.name}.disable_ipv6 is 1; set it and net.ipv6.conf.default.disable_ipv6 to 0"
    if primary is not None and primary.mtu < LEAST_MTU_6:
        return f"the MTU of {primary.name}, {primary.mtu}, is below the {LEAST_MTU_6} that IPv6 needs; raise it"
    return ""
