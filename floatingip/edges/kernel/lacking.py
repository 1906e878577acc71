"""What the kernel lacks of an address' plumbing, the marks aside: each with its repair, where there is one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from floatingip.core.errors import HostError
from floatingip.core.plumbing import Extent, Plumbing
from floatingip.edges.kernel import addresses, links, routes, rules
from floatingip.edges.kernel.links import Link
from floatingip.edges.kernel.netlink import Message, Netlink, mapped
from floatingip.edges.kernel.path import LOCAL, NEW_ADDRESS_PAUSE, NEW_ADDRESS_TRIES, forwards, way

LOOSE = 2
"""The value of rp_filter for: the source must be reachable by any link.  The kernel uses the larger of this and
`all`."""

LEAST_MTU_6 = 1280
"""A link with a smaller MTU has no IPv6 (RFC 8200, 5)."""


@dataclass(frozen=True, slots=True)
class Defect:
    """Something that the plumbing lacks: how to repair it, if that is possible, and what to say if it stays missing."""

    repair: Callable[[], object] = lambda: None
    problem: str = "still missing, though the kernel reported no error"


@dataclass(frozen=True, slots=True)
class Lacking:
    """Looks at one address' plumbing by the ``link``, beside the ``primary`` one, to the ``extent`` that is wanted."""

    netlink: Netlink
    plumbing: Plumbing
    link: Link
    primary: Link | None
    extent: Extent

    def defects(self) -> tuple[dict[str, Defect], list[Message]]:
        """What is missing, in the order of repairing; and all rules that were found, whosever they are.

        Raises OSError, struct.error, ValueError.
        """
        missing = self._of_link() | self._of_address() | self._of_switches()
        found = routes.in_table(self.netlink, self.plumbing.address, self.plumbing.table)
        if said := routes.refusal(self.plumbing, found):
            # Then our rules must not be there: they would send packets by the routes of others.
            return missing | {"route": Defect(problem=said)}, []
        all_rules = rules.of_family(self.netlink, self.plumbing)
        return missing | self._of_ways(found, all_rules), all_rules

    def _of_link(self) -> dict[str, Defect]:
        """What the link itself lacks to carry anything."""
        missing: dict[str, Defect] = {}
        link, primary = self.link, self.primary
        if not (link.up and link.resolves):
            missing["link-up"] = Defect(partial(links.set_up, self.netlink, link))
        elif not link.carrier:
            missing["carrier"] = Defect(problem=f"link {link.name} has none")
        if link.master is not None:
            master = links.name_of(link.master)
            said = f"{link.name} is a part of {master}, which has its packets; take it out there"
            missing["master"] = Defect(problem=said)
        if primary is None:
            missing["mtu"] = Defect(problem=f"no link has the primary MAC {self.plumbing.primary_mac}")
        elif link.mtu != primary.mtu:
            missing["mtu"] = Defect(partial(links.set_mtu, self.netlink, link, primary.mtu))
        return missing

    def _of_address(self) -> dict[str, Defect]:
        """What is wrong with the address on the link, if it should be there."""
        address, link = self.plumbing.address, self.link
        if address.version == 6 and (said := self._without_ipv6()):
            return {"address": Defect(problem=said)}
        if self.extent is not Extent.ALL:
            return {}
        if not addresses.works(self.netlink, address, link):
            return {"address": Defect(partial(addresses.add, self.netlink, address, link))}
        if self._takes_in():
            return {}
        # Of IPv6 the kernel forgets a route that others have made; of IPv4 routes go with the last address.
        if address.version == 4:
            return {"address": Defect(partial(routes.take_in, self.netlink, address, link.index))}
        return {"address": Defect(partial(addresses.add, self.netlink, address, link, anew=True))}

    def _without_ipv6(self) -> str:
        """Why the link can have no IPv6 address; empty if it can."""
        link, primary = self.link, self.primary
        if link.ipv6_off:
            return f"net.ipv6.conf.{link.name}.disable_ipv6 is 1; set it and net.ipv6.conf.default.disable_ipv6 to 0"
        if primary is not None and primary.mtu < LEAST_MTU_6:
            return f"the MTU of {primary.name}, {primary.mtu}, is below the {LEAST_MTU_6} that IPv6 needs; raise it"
        return ""

    def _takes_in(self) -> bool:
        """Whether the kernel has its local route for the address, which others may have flushed.  For IPv6 it makes it
        some time after the address came.
        """
        address, by = self.plumbing.address, self.link.index
        for _ in range(NEW_ADDRESS_TRIES if address.version == 6 else 1):
            # Else all of its routes by the link are to be looked at.
            if way(self.netlink, address).kind == LOCAL or routes.takes_in(self.netlink, address, by):
                return True
            time.sleep(NEW_ADDRESS_PAUSE)
        return False

    def _of_switches(self) -> dict[str, Defect]:
        """The kernel's switches by which it would drop packets that come in by the link, or go on to a pod."""
        missing: dict[str, Defect] = {}
        version, link = self.plumbing.address.version, self.link
        configure = partial(links.configure, self.netlink, link)
        if version == 4 and link.rp_filter != LOOSE:
            missing["rp_filter"] = Defect(partial(configure, links.IPV4_RP_FILTER, LOOSE))
        if version == 4 and link.forwarding:
            return missing
        if not forwards(self.netlink, version):
            switch = "net.ipv4.ip_forward" if version == 4 else "net.ipv6.conf.all.forwarding"
            said = f"{switch} is 0, so that no pod can be reached by {link.name}; set it to 1"
            missing["forwarding"] = Defect(problem=said)
        elif version == 4:
            missing["forwarding"] = Defect(partial(configure, links.IPV4_FORWARDING, 1))
        return missing

    def _of_ways(self, found: list[Message], all_rules: list[Message]) -> dict[str, Defect]:
        """Routes and rules that are missing or too much; ``found`` are the routes in our table."""
        missing: dict[str, Defect] = {}
        plumbing, by = self.plumbing, self.link.index
        there, wanted_rules = rules.concerning(all_rules, plumbing), rules.wanted(plumbing, self.extent)
        ours = {says: message for says, (message, is_ours) in there.items() if is_ours}
        surplus = [message for says, message in ours.items() if says not in wanted_rules]
        lacking = [message for says, message in wanted_rules.items() if says not in there]
        wanted_routes = routes.wanted(plumbing, by)
        former = routes.former(self.netlink, plumbing, by, rules.tables(all_rules, surplus))
        if former or {routes.read(message) for message in found} != wanted_routes:
            missing["route"] = Defect(partial(self._put_routes, found, wanted_routes, former))
        if surplus or lacking:
            missing["rule"] = Defect(partial(rules.put, self.netlink, surplus, lacking))
        return missing

    def _put_routes(self, there: list[Message], wanted: set[routes.Route], former: list[Message]) -> None:
        for message in former:
            routes.delete(self.netlink, message)
        routes.put(self.netlink, self.plumbing, there, wanted)


def repair(missing: Mapping[str, Defect]) -> dict[str, str]:
    """Repair all of it, as far as it can be; what the kernel refused, and why."""
    refused: dict[str, str] = {}
    for name, defect in missing.items():
        try:
            with mapped():
                defect.repair()
        except HostError as error:
            refused[name] = str(error)
    return refused
