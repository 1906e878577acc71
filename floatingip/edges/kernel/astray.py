"""
Ask the kernel whether packets find their way in and replies their way out although all of the plumbing is there: routes
or rules of others on the node may lead them elsewhere.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from itertools import chain

from floatingip.core.model import Address
from floatingip.core.plumbing import Extent, Plumbing
from floatingip.edges.kernel import routes, rules
from floatingip.edges.kernel.links import Link, name_of
from floatingip.edges.kernel.netlink import Message, Netlink
from floatingip.edges.kernel.path import FAR, LOCAL, NEW_ADDRESS_PAUSE, NEW_ADDRESS_TRIES, UNICAST, Way, way

_ASIDE = "is there a rule of others before ours (`priority`)?"


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways of packets on a node with this ``plumbing`` on ``link``, beside the ``primary`` link.

    ``all_rules`` are all routing rules of the address' family.
    """

    netlink: Netlink
    plumbing: Plumbing
    link: Link
    primary: Link | None
    extent: Extent
    all_rules: Collection[Message]

    def astray(self) -> str:
        """Why packets would not find their way in, or replies out; empty if they would.

        Raises OSError, struct.error, ValueError.
        """
        # With IPv4 the kernel takes an equal route as soon as it has not heard a gateway for half a minute.
        now_and_then = self._own_traffic_now_and_then() if self.plumbing.address.version == 4 else ()
        return next(chain(self._own_traffic(), now_and_then, self._replies(), self._arriving()), "")

    def partly_astray(self) -> str:
        """The same for only some packets, so that the node carries the address all the same; empty also if the kernel
        does not tell, as for a pod that ends between two questions.
        """
        # With IPv6 the kernel takes an equal route only once a gateway does not answer.
        now_and_then = self._own_traffic_now_and_then() if self.plumbing.address.version == 6 else ()
        with suppress(OSError, struct.error, ValueError):
            return next(chain(self._replies_by_rules(), now_and_then), "")
        return ""

    def _own_traffic(self) -> Iterator[str]:
        """Why the node's own traffic would leave by our link, where the VPC drops it: for example, a network manager
        has configured that link as well.
        """
        link, far, near = self.link, FAR[self.plumbing.address.version], _neighbour(self.plumbing)
        own = way(self.netlink, far)
        is_by_ours = own.link_index == link.index or self._leads_by(far)
        if not is_by_ours and self.primary is not None and own.source == self.plumbing.address:
            yield (
                f"this node's own traffic is sent from {own.source}; give {self.primary.name} an address of its own,"
                f" and take {own.source} off all links but {link.name}"
            )
        elif is_by_ours or self._leads_by(far, own.source):
            yield f"this node's own traffic leaves by {link.name}; remove the default route of others by it"
        if self._leads_by(near, own.source):
            yield f"this node's own traffic to {near} leaves by {link.name}; remove the subnet route of others by it"
        of_others = routes.of_others(self.netlink, self.plumbing, link.index)
        for prefix in routes.networks(of_others, self.plumbing):
            for to in (prefix[0] + 1, prefix[-1] - 1) if prefix.num_addresses > 2 else (prefix[0],):
                if self._leads_by(to, own.source):
                    yield f"this node's own traffic to {prefix} leaves by {link.name}; remove that route of others"

    def _own_traffic_now_and_then(self) -> Iterator[str]:
        taken = routes.chosen(self.netlink, FAR[self.plumbing.address.version])
        of_others = routes.of_others(self.netlink, self.plumbing, self.link.index)
        if taken is not None and any(routes.is_as_good(each, taken) for each in of_others):
            yield (
                f"this node's own traffic may leave by {self.link.name}, whose default route is as good as the other"
                " one; remove that route of others"
            )

    def _replies(self) -> Iterator[str]:
        address, tcp = self.plumbing.address, socket.IPPROTO_TCP
        for to in (FAR[address.version], _neighbour(self.plumbing)):
            back = {"marked replies": way(self.netlink, to, mark=self.plumbing.mark, protocol=tcp)}
            if self.extent is Extent.ALL:
                back[f"replies from {address}"] = way(self.netlink, to, source=address, protocol=tcp)
            for what, taken in back.items():
                if taken.kind != UNICAST or taken.link_index != self.link.index:
                    yield f"{what} to {to} would not leave by {self.link.name}: {_whither(taken)}; {_ASIDE}"

    def _replies_by_rules(self) -> Iterator[str]:
        """Replies that rules of others before ours select: until a reply is routed, its source is its pod's address."""
        own = way(self.netlink, FAR[self.plumbing.address.version]).source
        for sources, network in rules.before(self.all_rules, self.plumbing):
            to = FAR[self.plumbing.address.version]
            if network is not None:
                to = network[1]
            asked: list[Address | None] = [None]
            if sources is not None:
                asked = [sources[0 if sources.num_addresses == 1 else 1]]
                asked += [own] if own is not None and own in sources and own not in asked else []
            for source in asked:
                yield from self._reply_by_rule(to, source)

    def _reply_by_rule(self, to: Address, source: Address | None) -> Iterator[str]:
        primary, by, what = 0 if self.primary is None else self.primary.index, 0, "marked replies"
        if source is not None:
            at = way(self.netlink, source)
            if at.kind == LOCAL and source != self.plumbing.address:
                what = f"marked replies of pods on the host's network, from {source},"
            elif at.kind == UNICAST and at.gateway is None and at.link_index not in (self.link.index, primary):
                by, what = at.link_index, f"marked replies of the pod {source}"
            else:
                return
        taken = way(self.netlink, to, source=source, mark=self.plumbing.mark, by=by, protocol=socket.IPPROTO_TCP)
        # Without a gateway the client is a pod of this node; and a client behind a tunnel does not come by our link.
        is_out = taken.link_index == primary or (source is not None and taken.gateway is not None)
        if taken.kind == UNICAST and taken.link_index != self.link.index and is_out:
            yield f"{what} to {to} would not leave by {self.link.name}: {_whither(taken)}; {_ASIDE}"

    def _arriving(self) -> Iterator[str]:
        if self.extent is not Extent.ALL:
            return
        address, name, far = self.plumbing.address, self.link.name, FAR[self.plumbing.address.version]
        arriving = way(self.netlink, address, source=far, by=self.link.index)
        # The route of a new IPv6 address comes some time after the address.
        for _ in range(NEW_ADDRESS_TRIES if far.version == 6 else 0):
            if arriving.kind == LOCAL:
                break
            time.sleep(NEW_ADDRESS_PAUSE)
            arriving = way(self.netlink, address, source=far, by=self.link.index)
        if arriving.kind != LOCAL:
            yield f"what comes in by {name} does not reach {address}: {_whither(arriving)}"

    def _leads_by(self, to: Address, source: Address | None = None) -> bool:
        """Whether the route that the kernel chooses leads by our link, also if that is only one of its next hops: then
        some packets go there.
        """
        chosen = routes.chosen(self.netlink, to, source)
        return chosen is not None and routes.leads_out(chosen) and self.link.index in routes.links(chosen)


def _neighbour(plumbing: Plumbing) -> Address:
    """An address of the same subnet.  For IPv4 it is the router's.  IPv6's router has a link-local address, which needs
    a link; so for IPv6 it is an address that nobody has, neither a pod nor another floating address.
    """
    return plumbing.gateway if plumbing.address.version == 4 else IPv6Address(int(plumbing.address) ^ (1 << 63) - 1)


def _whither(taken: Way) -> str:
    """Which way a packet would take instead, in words."""
    if taken.kind == LOCAL:
        return "it is this node's own"
    return taken.refusal or f"it would leave by {name_of(taken.link_index)}"
