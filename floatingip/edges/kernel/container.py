"""
Whether this process is where a floating address can be plumbed: in the node's own network, with the rights to change
that.

Asked once, before EC2 is.  A container that lacks either must neither bring an address to this node nor take one off
it: without the node's network it would look as if the address' device were missing (R14), and what the kernel does not
allow it each part would tell in its own words, or, of an announcement, none.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from floatingip.core.errors import HostError
from floatingip.edges.kernel import links
from floatingip.edges.kernel.netlink import Netlink, NetlinkSilent, mapped

CAPABILITIES: Mapping[str, int] = {"NET_ADMIN": 12, "NET_RAW": 13}
"""The bits of those that are needed (linux/capability.h)."""

_ON_ITS_WAY = "as floating-ip.yaml does; what has changed it on its way?"
RIGHTS_HINT = f"give it user 0 with NET_ADMIN and NET_RAW, {_ON_ITS_WAY}"
NETWORK_HINT = f"give the pod `hostNetwork: true`, {_ON_ITS_WAY}"

CPU_HINT = "take that limit away: it is no part of floating-ip.yaml; does a LimitRange of the namespace set one?"

CONTROL_GROUPS = Path("/sys/fs/cgroup")
"""Where a container finds its own."""

_CPU_FILES = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
"""Microseconds that it may run for in each period, and those of a period: in control groups of version 2, and 1."""


def lacking() -> tuple[str, ...]:
    """The capabilities that this process needs and has not.  Raises OSError."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    return tuple(name for name, bit in CAPABILITIES.items() if not effective >> bit & 1)


def cpu_limit(groups: Path = CONTROL_GROUPS) -> float | None:
    """How many CPUs' time this container may use, where that is less than the one that Python can use; None where it is
    not, or is not known.  Raises nothing.
    """
    for files in _CPU_FILES:
        with suppress(OSError, ValueError):
            # Version 2 has both numbers in one file, and "max" for no limit; version 1 has -1 for that.
            quota, period = (int(word) for file in files for word in (groups / file).read_text("ascii").split())
            return quota / period if 0 <= quota < period else None
    return None


def slowed(limit: float | None) -> str:
    """What such a limit means, in a sentence; empty where there is none."""
    if limit is None:
        return ""
    return f"this container may use {limit:.3g} CPUs at most: while it waits for its share it sees no holder die"


def check(primary_mac: str) -> None:
    """Raise HostError where nothing could be plumbed from here, on the node whose primary interface has this MAC."""
    if missing := lacking():
        raise HostError(f"this container lacks {', '.join(missing)}", RIGHTS_HINT)
    with closing(Netlink()) as netlink:
        try:
            with mapped("link"):
                is_there = links.find(netlink, primary_mac, {}) is not None
        except NetlinkSilent:
            return  # then it is not known, and nothing follows from that
    if not is_there:
        raise HostError(
            f"this container has no link with the MAC of the node's primary interface, {primary_mac}", NETWORK_HINT
        )
