"""
Check that this process can plumb a floating address: it has the node's own network, and the rights to change that.

This is checked once, before EC2 is asked.  A container that lacks either must neither bring an address to this node nor
take one off it.  Without the node's network it would look as if the address' device were missing (R14).  Without the
rights each part would fail in its own words, and announcements silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from floatingip.core.errors import HostError
from floatingip.edges.kernel import links
from floatingip.edges.kernel.netlink import Netlink, NetlinkSilent, mapped

CAPABILITIES: Mapping[str, int] = {"NET_ADMIN": 12, "NET_RAW": 13}
"""The capabilities that are needed, with their bits (linux/capability.h)."""

_ON_ITS_WAY = "as floating-ip.yaml does; what has changed it on its way?"
RIGHTS_HINT = f"give it user 0 with NET_ADMIN and NET_RAW, {_ON_ITS_WAY}"
NETWORK_HINT = f"give the pod `hostNetwork: true`, {_ON_ITS_WAY}"


def lacking() -> tuple[str, ...]:
    """The capabilities that this process needs and does not have.  Raises OSError."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    return tuple(name for name, bit in CAPABILITIES.items() if not effective >> bit & 1)


def check(primary_mac: str) -> None:
    """Raise HostError if this process cannot plumb anything on the node whose primary interface has this MAC."""
    if missing := lacking():
        raise HostError(f"this container lacks {', '.join(missing)}", RIGHTS_HINT)
    check_network(primary_mac)


def check_network(primary_mac: str) -> None:
    """Raise HostError where this is not the network of the node whose primary interface has this MAC."""
    with closing(Netlink()) as netlink:
        try:
            with mapped("link"):
                is_there = links.find(netlink, primary_mac, {}) is not None
        except NetlinkSilent:
            return  # It is not known, so nothing is refused.
    if not is_there:
        raise HostError(
            f"this container has no link with the MAC of the node's primary interface, {primary_mac}", NETWORK_HINT
        )
