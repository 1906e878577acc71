"""The route of a standby's probes to the floating address: by the primary link, the way that clients' packets take."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import replace

from floatingip.core.errors import HostError
from floatingip.core.model import Address
from floatingip.core.plumbing import Plumbing
from floatingip.edges.kernel import addresses, routes
from floatingip.edges.kernel.links import Link, name_of
from floatingip.edges.kernel.netlink import Netlink
from floatingip.edges.kernel.path import FAR, LOCAL, NEW_ADDRESS_PAUSE, NEW_ADDRESS_TRIES, NO_ROUTE, UNICAST, Way, way

_TAKE_IT_OFF = "take it off there (kube-proxy in ipvs mode puts the externalIPs of Services on every node's kube-ipvs0)"

_PROTOCOLS = {4: (socket.IPPROTO_ICMP, socket.IPPROTO_TCP), 6: (socket.IPPROTO_ICMPV6, socket.IPPROTO_TCP)}
"""The protocols of probes, by IP version."""


def put(netlink: Netlink, plumbing: Plumbing, primary: Callable[[], Link | None]) -> None:
    """Route the address by the primary link's gateway.

    That is the gateway by which the link leads out of the VPC, which is right in every subnet; if there is none it is
    the plumbing's gateway.  If the address is this node's own, or is just becoming so, nothing is done: the table local
    would win.  Raises OSError, struct.error, ValueError, HostError.
    """
    address = plumbing.address
    if way(netlink, address).kind == LOCAL:
        return
    link = primary()
    if link is None:
        raise HostError(f"no link has the primary MAC {plumbing.primary_mac}")
    if said := _without_ipv6(link, address):
        raise HostError(said)
    gateway = _gateway(netlink, link, address)
    wanted = routes.Route(str(address), address.max_prefixlen, gateway or str(plumbing.gateway), link.index)
    # This saves listing all routes, of which a node may have thousands.
    chosen = routes.chosen(netlink, address)
    if gateway and chosen and routes.ours([chosen]) and routes.read(chosen) == wanted:
        return
    main = routes.in_table(netlink, address, routes.MAIN)
    if gateway is None:
        defaults = [route for message in main if routes.prefix(message) == 0 and (route := routes.read(message))]
        gateways = [route.gateway for route in defaults if route.link_index == link.index]
        gateway = next((gateway for gateway in gateways if gateway), str(plumbing.gateway))
        wanted = replace(wanted, gateway=gateway)
    there = routes.to(address, main)
    if any(routes.is_of_an_address(message, address) for message in there):
        return
    if others := routes.foreign(there):
        shown = routes.described(others)
        raise HostError(f"the main table has a route of others to {address} ({shown})", "remove that route")
    if [routes.read(message) for message in there] == [wanted]:
        return
    for message in there:
        routes.delete(netlink, message)
    routes.add(netlink, address, routes.MAIN, wanted, flags=routes.ONLINK)
    if wanted not in [routes.read(message) for message in routes.in_table(netlink, address, routes.MAIN)]:
        raise HostError(f"{address} via {gateway} is still missing, though the kernel reported no error")


def _gateway(netlink: Netlink, link: Link, address: Address) -> str | None:
    """The gateway by which the kernel sends out of the VPC, by whatever route; None if that is by another link."""
    taken = way(netlink, FAR[address.version])
    return str(taken.gateway) if taken.link_index == link.index and taken.gateway is not None else None


def remove(netlink: Netlink, address: Address) -> None:
    """Remove what `put` made.  Raises OSError, struct.error."""
    for message in routes.ours(routes.to(address, routes.in_table(netlink, address, routes.MAIN))):
        routes.delete(netlink, message)


def blind(netlink: Netlink, address: Address, primary: Link) -> str:
    """Why a probe of the address would not leave this node by its primary link; empty if it would.

    Raises OSError, struct.error, ValueError.
    """
    taken = way(netlink, address)
    # A new IPv6 address has no route of its own for a moment, and only its prefix' route is seen: so list addresses.  A
    # node may have ten thousand IPv4 addresses, one for each Service: list them only if the route says it is local.
    if taken.kind == LOCAL or address.version == 6:
        for carried in addresses.of_family(netlink, address):
            if carried.packed == address.packed:
                where = f"{address}/{carried.prefix} is on {name_of(carried.link_index)} of this node"
                return f"{where}, so {address} cannot be probed from here: {_TAKE_IT_OFF}"
    if not primary.up:
        return f"{address} cannot be probed from here: the primary link {primary.name} is down; bring it up"
    if said := _without_ipv6(primary, address):
        return f"{address} cannot be probed from here: {said}"
    for _ in range(NEW_ADDRESS_TRIES if address.version == 6 else 0):
        if not _is_from_the_link(taken):
            break
        time.sleep(NEW_ADDRESS_PAUSE)
        taken = way(netlink, address)
    if _is_from_the_link(taken):
        return f"{address} cannot be probed from here: {primary.name} has no IPv{address.version} address; give it one"
    if taken.kind == UNICAST:
        # Ask again with that source, as the kernel routes a connection anew once it has a source, and with the
        # protocols of probes: rules may look at both.
        asked = [way(netlink, address, source=taken.source, protocol=each) for each in _PROTOCOLS[address.version]]
        elsewhere = (each for each in asked if (each.kind, each.link_index) != (UNICAST, primary.index))
        if (other := next(elsewhere, None)) is None:
            return ""
        taken = other
    if taken.kind == LOCAL:
        where = f"a local route on {name_of(taken.link_index)} of this node takes it in"
    elif NO_ROUTE == taken.refusal == way(netlink, FAR[address.version]).refusal:
        return (
            f"{address} cannot be probed from here: there is no route; give this node its default route by"
            f" {primary.name}, and the rule that leads to the table main"
        )
    else:
        where = taken.refusal or f"probes would leave by {name_of(taken.link_index)}, not by {primary.name}"
    return f"{address} cannot be probed from here: {where}; remove that route or rule of others"


def _without_ipv6(primary: Link, address: Address) -> str:
    """Why the primary link has no IPv6 at all, though it is needed; empty otherwise."""
    is_off = address.version == 6 and primary.ipv6_off
    return f"net.ipv6.conf.{primary.name}.disable_ipv6 is 1; set it to 0" if is_off else ""


def _is_from_the_link(taken: Way) -> bool:
    """The probe would have a link-local source address, and no router forwards such a packet."""
    return taken.kind == UNICAST and taken.source is not None and taken.source.is_link_local
