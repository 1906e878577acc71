"""
kube-proxy's rules on one worker, written for nftables.

A NodePort is served on every local address, also those added later; mark 0x4000 means masquerade.  Each family has its
own rules, with the endpoints of that family.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

TrafficPolicy = Literal["Cluster", "Local"]
"""A Service's externalTrafficPolicy."""


@dataclass(frozen=True)
class NodePort:
    """A Service as kube-proxy sees it: its endpoints (address, port), and by its policy which of them clients from
    outside may reach.
    """

    number: int
    endpoints: tuple[tuple[str, int], ...]
    policy: TrafficPolicy


def kube_proxy_rules(node_ports: Mapping[int, NodePort], local: Collection[str], family: Literal["ip", "ip6"]) -> str:
    """
    The nft script that replaces kube-proxy's table of one family by one for these NodePorts.

    `local` are this node's addresses.
    """
    dispatch, chains, unserved = [], [], []
    for number, service in node_ports.items():
        every = [endpoint for endpoint in service.endpoints if (":" in endpoint[0]) is (family == "ip6")]
        near = [endpoint for endpoint in every if endpoint[0] in local]
        for index, (address, port) in enumerate(every):
            chains.append(
                _chain(
                    f"endpoint-{number}-{index}",
                    # Hairpin: an endpoint that connects to itself through the NodePort must not see its own address as
                    # the client's.
                    f"{family} saddr {address} meta mark set meta mark or 0x4000",
                    f"meta l4proto tcp dnat to {f'[{address}]' if family == 'ip6' else address}:{port}",
                )
            )
        chains.append(_chain(f"all-{number}", *_spread(number, every, every)))
        chains.append(_chain(f"near-{number}", *_spread(number, every, near)))
        if service.policy == "Cluster":
            external = ["meta mark set meta mark or 0x4000", f"goto all-{number}"]
        else:
            external = [
                f"fib saddr type local meta mark set meta mark or 0x4000 goto all-{number}",
                f"goto near-{number}",
            ]
        chains.append(_chain(f"external-{number}", *external))
        dispatch.append(f"tcp dport {number} goto external-{number}")
        if not every:
            # The original rejects by an ICMP error.  Here that error comes back so early that the client's kernel,
            # still inside of connect(), ignores an IPv6 one; for the client a reset means the same.
            unserved.append(f"ct state new fib daddr type local tcp dport {number} reject with tcp reset")
        elif service.policy == "Local" and not near:
            unserved.append(f"ct state new fib daddr type local tcp dport {number} drop")
    table = f"{family} kube-proxy"
    lines = [
        f"add table {table}",
        f"delete table {table}",
        f"table {table} {{",
        *chains,
        _chain("nodeports", *dispatch),
        _chain("prerouting", "type nat hook prerouting priority dstnat", "fib daddr type local goto nodeports"),
        _chain("output", "type nat hook output priority -100", "fib daddr type local goto nodeports"),
        _chain(
            "postrouting",
            "type nat hook postrouting priority srcnat",
            "meta mark and 0x4000 != 0x4000 return",
            "meta mark set meta mark xor 0x4000",
            "masquerade fully-random",
        ),
        _chain("input", "type filter hook input priority filter", *unserved),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _chain(name: str, *rules: str) -> str:
    return "\n".join([f"chain {name} {{", *(f"{rule};" for rule in rules), "}"])


def _spread(number: int, every: Sequence[tuple[str, int]], chosen: Sequence[tuple[str, int]]) -> list[str]:
    """The rule that spreads connections evenly over the chosen endpoints; empty if none is chosen."""
    if not chosen:
        return []
    targets = ", ".join(f"{i} : goto endpoint-{number}-{every.index(endpoint)}" for i, endpoint in enumerate(chosen))
    return [f"numgen random mod {len(chosen)} vmap {{ {targets} }}"]
