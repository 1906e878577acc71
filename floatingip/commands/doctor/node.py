"""What this node's kernel says, and what other programs have configured in it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from floatingip.commands.doctor.finding import (
    CAPABILITIES,
    CONNTRACK,
    CPU,
    FIREWALL,
    FORWARDING,
    KUBE_PROXY,
    LINKS,
    MARKS,
    NFT,
    ROUTING,
    RP_FILTER,
    Finding,
)
from floatingip.core.ec2 import Eni
from floatingip.core.errors import HostError
from floatingip.edges.kernel.inspection import IPVS_LINK

NEARLY_FULL = 0.9
"""The share of conntrack's table from which it counts as nearly full: a burst of connections fills the rest."""

STRICT = 1
"""The value of rp_filter with which a packet's source must be reachable by the link that it came from.  The kernel uses
the larger of the link's value and that of `all`.
"""


def capabilities(lacking: Sequence[str]) -> Iterator[Finding]:
    """The capabilities that this process is ``lacking``; the observer's container has the same."""
    yield CAPABILITIES.fail(f"this process lacks {', '.join(lacking)}") if lacking else CAPABILITIES.ok("all there")


def cpu(slowed: str) -> Iterator[Finding]:
    """``slowed`` says what this container's CPU limit causes, empty if it has none; it is the observer's container."""
    yield CPU.warn(slowed) if slowed else CPU.ok("no limit that would slow it, as far as its control group tells")


def nft(trouble: HostError | None) -> Iterator[Finding]:
    """The command `nft` is there, and the kernel answers it."""
    if trouble is None:
        yield NFT.ok("nft lists tables")
    else:
        yield NFT.fail(trouble.args[0], trouble.hint)


def forwarding(by_version: Mapping[int, bool]) -> Iterator[Finding]:
    """Whether the kernel forwards packets, by IP version of the addresses."""
    names = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
    for version, forwards in by_version.items():
        if forwards:
            yield FORWARDING.ok(f"{names[version]} is 1")
        else:
            yield FORWARDING.fail(f"{names[version]} is 0", f"set {names[version]}=1 on the node")


def rp_filter(
    values: Mapping[str, int | None], filtered: Sequence[str] = (), wanting: Sequence[str] = ()
) -> Iterator[Finding]:
    """``values`` are those of `all` and of the links of our interfaces with IPv4 (IPv6 has no such setting).
    ``filtered`` are links of pods whose replies are dropped once they have our mark.  ``wanting`` are chains that
    drop packets whose way back is not by the link that they came in by.
    """
    if wanting:
        yield RP_FILTER.warn(
            f"what comes in by another interface than the way back leads by is dropped by {', '.join(wanting)}",
            "have that rule spare our interfaces, or be loose (firewalld: IPv6_rpfilter=loose)",
        )
    if filtered:
        yield RP_FILTER.warn(
            f"replies of pods behind {', '.join(filtered)} are dropped once they have our mark",
            "set net.ipv4.conf.all.src_valid_mark=0, or rp_filter=2 on those links",
        )
    everywhere = values.get("all") or 0
    strict = [name for name, own in values.items() if name != "all" and max(own or 0, everywhere) == STRICT]
    said = ", ".join(f"{name}: {value}" for name, value in values.items())
    if strict:
        yield RP_FILTER.warn(f"strict on {', '.join(strict)} ({said})")
    else:
        yield RP_FILTER.ok(said or "IPv6 has no such setting")


def links(found: Mapping[str, Sequence[str]], absent: Sequence[Eni]) -> Iterator[Finding]:
    """What other programs have put on our links, by link; ``absent`` are interfaces that EC2 shows on this node, but
    for which the kernel has no link.
    """
    for eni in absent:
        yield LINKS.warn(
            f"EC2 shows {eni.id} on this node, whose kernel has no link with its MAC {eni.mac}",
            "wait for half a minute, in which an observer attaches it anew; then stop and start this instance",
        )
    for name, things in found.items():
        if things:
            yield LINKS.warn(f"others have put on {name}: {', '.join(things)}")
        else:
            yield LINKS.ok(f"nobody else has configured {name}")
    if not found and not absent:
        yield LINKS.ok("no interface of ours is on this node yet")


def routing(problems: Sequence[str], strays: Sequence[str] = ()) -> Iterator[Finding]:
    """What is in the way of our routes, rules and probes, in sentences; ``strays`` are routes and rules that have
    floatingip's protocol, but are for none of these addresses.
    """
    for problem in problems:
        yield ROUTING.failing(problem)
    if strays:
        yield ROUTING.warn(
            f"another deployment on this node, or former settings, have left {', '.join(strays)}",
            "where no other deployment uses them, remove them by `ip rule del` and `ip route del`, or reboot the node",
        )
    if not problems and not strays:
        yield ROUTING.ok("our tables and priorities are free, and probes leave by the primary link")


def marks(users: Sequence[str], bits: int, unread: Sequence[str], passing_by: Sequence[str] = ()) -> Iterator[Finding]:
    """Who else uses our ``bits`` of the mark; ``unread`` are tables whose rules could not be read, ``passing_by`` what
    forwards packets past the rules that set the mark.
    """
    if passing_by:
        yield MARKS.warn(
            f"packets pass our marks by, through {', '.join(passing_by)}",
            "have it leave out the interfaces that EC2 attaches",
        )
    if users:
        yield MARKS.warn(f"{bits:#x} is used by others, too: {', '.join(users)}")
    elif not unread:
        yield MARKS.ok(f"nobody else uses {bits:#x}, as far as nft and the rules tell")
    if unread:
        yield MARKS.unknown(
            f"whether {bits:#x} is used by rules that cannot be read here ({', '.join(unread)})",
            "look for marks that are set in nft list ruleset, iptables-legacy-save and ip6tables-legacy-save",
        )


def firewall(dropping: Sequence[str], unread: Sequence[str]) -> Iterator[Finding]:
    """``dropping`` are other programs' chains that drop by default: it is not known which packets they let pass.
    ``unread`` are tables whose rules could not be read.
    """
    if dropping:
        yield FIREWALL.warn(f"what they do not let pass is dropped by {', '.join(dropping)}")
    elif not unread:
        yield FIREWALL.ok("no chain drops all that it does not know, as far as nft tells")
    if unread:
        yield FIREWALL.unknown(
            f"what is dropped by rules that cannot be read here ({', '.join(unread)})",
            "look for drop and reject in nft list ruleset, iptables-legacy-save and ip6tables-legacy-save on the node",
        )


def conntrack(used: int, most: int) -> Iterator[Finding]:
    """How many connections the kernel tracks (``used``), and how many it can track (``most``)."""
    said = f"{used} of {most} connections are followed"
    yield CONNTRACK.warn(said) if used >= NEARLY_FULL * most else CONNTRACK.ok(said)


def kube_proxy(kept_off: Collection[str], served: frozenset[str] | None, *, has_ipvs: bool) -> Iterator[Finding]:
    """``served`` are the addresses to which nftables mode restricts NodePorts, None in another mode; ``kept_off`` says,
    in sentences, which of our addresses kube-proxy does not serve, whichever mode it runs in.
    """
    for sentence in kept_off:
        yield KUBE_PROXY.failing(sentence)
    if kept_off:
        return
    if has_ipvs:
        yield KUBE_PROXY.warn(
            f"ipvs mode, unless {IPVS_LINK} is only left of it: NodePorts are served at the addresses of the last sync,"
            " so at a new one up to 30 s late",
            "set `ipvs.syncPeriod: 2s`; better: iptables mode, and a reboot, without which ipvs mode's rules stay",
        )
    elif served is not None:
        yield KUBE_PROXY.ok("nftables mode, which serves NodePorts at our addresses")
    else:
        yield KUBE_PROXY.ok("no ipvs mode, nor any nodePortAddresses, as far as nft tells: it serves any address")
