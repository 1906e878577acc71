"""
The node's kernel networking: make an ENI's link carry the floating address, with a way for replies, and notice changes.

A second ENI does not work by itself.  The reply of a NodePort connection gets its source address back only after it
was routed, so it would leave by the primary ENI with the floating address as its source, and the VPC's source check
drops it.  Hence conntrack remembers in a mark which connections came in by the ENI, nft puts that mark on their
replies (mark_table.py), and a rule sends marked packets to a routing table of the ENI's own.

Ours in the kernel are the routes and rules with our protocol number, the nft tables with our prefix, and the floating
address on the ENI's link.  Nothing else is ever replaced or removed: if others have something in the way, the report
names it.

Netlink and nft accept some requests without doing them, so everything is read back after it was configured, and only
what was read counts.  Links are found by MAC and index, never by name: names change right after a hot plug, even while
a link is up.  This needs CAP_NET_ADMIN and nft, but no writable /proc/sys.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from floatingip.core.errors import HostError
from floatingip.core.model import Address
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport, PlumbingState
from floatingip.edges import background
from floatingip.edges.kernel import addresses, changes, links, probe_route, routes, rules
from floatingip.edges.kernel.announce import Announcer
from floatingip.edges.kernel.astray import Ways
from floatingip.edges.kernel.kube_proxy import kept_off
from floatingip.edges.kernel.lacking import Defect, Lacking, repair
from floatingip.edges.kernel.links import Link
from floatingip.edges.kernel.mark_table import table_name, wanted_marks
from floatingip.edges.kernel.marks import UNKNOWN_FOR, Known, Marks
from floatingip.edges.kernel.netlink import Message, Netlink, NetlinkSilent, mapped

CARRIER_TRIES, CARRIER_PAUSE = 20, 0.05
"""How often, and after how many seconds, a link that was just set up is looked at again until it has a carrier."""


@dataclass(frozen=True, slots=True)
class _Complete:
    """Plumbing that was complete when it was last looked at; ``silent_since`` is since when the kernel has not told
    whether it still is, None if it has.
    """

    plumbing: Plumbing
    extent: Extent
    silent_since: float | None = None


@dataclass
class _Turn:
    """What one turn of plumbing has come to.

    ``extent`` is what is to be there, found out meanwhile where nobody said; ``complete`` is what was there completely
    before, None once something was found to be missing.  ``problem`` is what is wrong with it, beside the marks, empty
    where nothing is; ``remark`` is what should be known of it all the same.
    """

    plumbing: Plumbing
    extent: Extent
    complete: _Complete | None
    removed: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()
    problem: str = ""
    remark: str = ""


class KernelHost:
    """`ports.Host` in the network namespace of the calling thread; to be used from one thread."""

    def __init__(self, nft: str = "nft") -> None:
        """`nft`: the command's name or path."""
        self._netlink = Netlink()
        self._announcer = Announcer()
        self._marks = Marks(nft)
        self._indexes: dict[str, int] = {}
        self._complete: dict[Address, _Complete] = {}

    def close(self) -> None:
        """Close the sockets; they open again by themselves."""
        self._netlink.close()
        self._announcer.close()

    # What ports.Host promises.

    def plumb(self, plumbing: Plumbing, extent: Extent = Extent.ALL) -> PlumbingReport:
        """Configure what is missing, remove what is too much, read all of it back; see `ports.Host`.

        `repaired` has names out of: link-up, mtu, address, rp_filter, forwarding, route, rule, marks.  `problem` begins
        with such a name, or with `carrier`, `master` or `path`, which cannot be repaired here.  Without the link
        nothing is done: `unplumb` removes what an earlier link left behind.  With `Extent.AS_LEFT` nothing is done
        either if no observer has plumbed the link before: then the report has `Extent.NOTHING`.  With `Extent.AHEAD`
        there is no address, and of the rules only the mark's: by the rule for the address this node's probes would
        reach itself.  Do not call this with `Extent.NOTHING`, but `unplumb`.
        """
        turn = _Turn(plumbing, extent, self._complete.pop(plumbing.address, None))
        try:
            if not self._bring_about(turn):
                return PlumbingReport(PlumbingState.NO_LINK, extent=turn.extent)
        except NetlinkSilent as error:
            return PlumbingReport(self._unanswered(turn), problem=str(error), removed=turn.removed, extent=turn.extent)
        except HostError as error:
            return PlumbingReport(PlumbingState.UNSOUND, problem=str(error), removed=turn.removed, extent=turn.extent)
        marks = self._marks.verdict(table_name(plumbing.address))
        repaired = turn.repaired + (("marks",) if marks.changed else ())
        if turn.problem:
            return PlumbingReport(PlumbingState.UNSOUND, repaired, turn.problem, turn.removed, turn.extent)
        self._complete[plumbing.address] = _Complete(plumbing, turn.extent)
        problem = f"marks: {marks.problem}" if marks.problem else turn.remark
        address, unserved = plumbing.address, ""
        if turn.extent is Extent.ALL:
            unserved = kept_off(address, self._marks.node_ports_at(address.version))
        return PlumbingReport(_STATES[marks.known], repaired, problem, turn.removed, turn.extent, kept_off=unserved)

    def unplumb(self, plumbing: Plumbing) -> tuple[str, ...]:
        """Remove marks, rule, route and address, as far as they are there; see `ports.Host`.

        The link stays as it is.  All removals are tried before a HostError names the first that failed.
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
        # Best effort: a neighbour that misses it asks by ARP or NDP sooner or later.
        with contextlib.suppress(OSError, HostError):
            link = self._link(plumbing.mac)
            if link is not None:
                self._announcer.announce(plumbing.address, link.index, link.mac)

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
        """Sentences on what others have in our table or at our priorities; changes nothing.  Raises HostError."""
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

    # One turn of plumbing.

    def _bring_about(self, turn: _Turn) -> bool:
        """Have all of it there but the marks, which are begun, and find out whether packets go that way; False where
        there is no link, or none that is ours to plumb.
        """
        plumbing, link = turn.plumbing, self._link(turn.plumbing.mac)
        if link is None:
            return False
        if turn.extent is Extent.AS_LEFT and not self._was_plumbed(plumbing, link):
            turn.extent = Extent.NOTHING
            return False
        # nft takes as long as all the rest, so it runs meanwhile.
        self._marks.want(table_name(plumbing.address), wanted_marks(plumbing, link.index))
        self._settle_extent(turn, link)
        missing, all_rules = self._missing(plumbing, link, turn.extent)
        if missing:
            turn.complete = None
            refused = repair(missing)
            link = self._with_carrier(plumbing.mac) if "link-up" in missing else self._link(plumbing.mac)
            if link is None:
                return False
            left, all_rules = self._missing(plumbing, link, turn.extent)
            turn.repaired = tuple(name for name in missing if name not in left)
            if left:
                name, defect = next(iter(left.items()))
                turn.problem = f"{name}: {refused.get(name, defect.problem)}"
                return True
        ways = Ways(self._netlink, plumbing, link, self._primary(plumbing), turn.extent, all_rules)
        with mapped("path"):
            astray, partly = ways.astray(), ways.partly_astray()
        turn.problem = f"path: {astray}" if astray else ""
        turn.remark = rules.foreign(all_rules, plumbing) or (f"path: {partly}" if partly else "")
        return True

    def _settle_extent(self, turn: _Turn, link: Link) -> None:
        """Decide by what is found on the link, where that is to decide, and take off what is too much."""
        with mapped():
            if turn.extent in (Extent.AS_FOUND, Extent.AS_LEFT):
                is_there = addresses.has(self._netlink, turn.plumbing.address, link)
                turn.extent = Extent.ALL if is_there else Extent.AHEAD
            if turn.extent is Extent.AHEAD and self._remove_address(turn.plumbing):
                turn.removed = ("address",)

    def _unanswered(self, turn: _Turn) -> PlumbingState:
        """What the plumbing counts as while the kernel does not answer."""
        plumbing, complete = turn.plumbing, turn.complete
        if turn.extent in (Extent.AS_FOUND, Extent.AS_LEFT) and complete is not None:
            turn.extent = complete.extent
        if complete is None or (complete.plumbing, complete.extent) != (plumbing, turn.extent):
            return PlumbingState.UNSOUND
        # As long as for nft: a driver that resets an interface blocks rtnetlink, and meanwhile the plumbing serves on.
        now = time.monotonic()
        since = now if complete.silent_since is None else complete.silent_since
        self._complete[plumbing.address] = _Complete(plumbing, turn.extent, since)
        return PlumbingState.UNCERTAIN if now - since <= UNKNOWN_FOR else PlumbingState.UNSOUND

    # What is there of it.

    def _missing(self, plumbing: Plumbing, link: Link, extent: Extent) -> tuple[dict[str, Defect], list[Message]]:
        with mapped():
            return Lacking(self._netlink, plumbing, link, self._primary(plumbing), extent).defects()

    def _link(self, mac: str) -> Link | None:
        with mapped("link"):
            return links.find(self._netlink, mac, self._indexes)

    def _with_carrier(self, mac: str) -> Link | None:
        """The link that was just set up: a device may find its carrier only some time after that."""
        link = self._link(mac)
        for _ in range(CARRIER_TRIES):
            if link is None or link.carrier or not link.up:
                break
            time.sleep(CARRIER_PAUSE)
            link = self._link(mac)
        return link

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
            used = rules.tables(rules.of_family(self._netlink, plumbing), ())
            ours += routes.former(self._netlink, plumbing, link.index, used)
        for message in ours:
            routes.delete(self._netlink, message)
        return bool(ours)


_STATES = {
    Known.AS_WANTED: PlumbingState.SOUND,
    Known.UNKNOWN: PlumbingState.UNCERTAIN,
    Known.NOT_AS_WANTED: PlumbingState.UNSOUND,
}
