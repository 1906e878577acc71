"""Read from kube-proxy's rules at which of the node's addresses it serves NodePorts: it may be only at some."""

from __future__ import annotations

from floatingip.core.model import Address
from floatingip.edges.kernel.nft import Nft

SHOWN_AT_MOST = 8
"""Addresses that a message names, at most: a set may have thousands."""


def node_ports_at(nft: Nft, version: int) -> frozenset[str] | None:
    """The addresses of an IP version at which kube-proxy in nftables mode serves NodePorts; None if it serves them at
    all, or is in another mode.

    It keeps them in a set, which does not exist if it serves all (kubernetes, pkg/proxy/nftables/proxier.go).  Raises
    HostError.
    """
    family = "ip" if version == 4 else "ip6"
    for entry in nft.list_set(family, "kube-proxy", "nodeport-ips") or ():
        shown = entry.get("set") if isinstance(entry, dict) else None
        if isinstance(shown, dict) and shown.get("name") == "nodeport-ips":
            elements = shown.get("elem", [])
            is_plain = isinstance(elements, list) and all(isinstance(each, str) for each in elements)
            return frozenset(elements) if is_plain else None
    return None


def node_ports_by_iptables(nft: Nft, version: int) -> frozenset[str] | None:
    """The same for kube-proxy in iptables mode with iptables-nft.  With thousands of Services nft's list is too long,
    and the result is None.

    After the rules of all Services, kube-proxy has a rule that jumps to the NodePorts for each such address, or one for
    all addresses of the node (pkg/proxy/iptables/proxier.go).  Raises HostError.
    """
    family, served = "ip" if version == 4 else "ip6", set[str]()
    to = {"payload": {"protocol": family, "field": "daddr"}}
    for entry in nft.list_chain(family, "nat", "KUBE-SERVICES") or ():
        rule = entry.get("rule") if isinstance(entry, dict) else None
        does = rule.get("expr") if isinstance(rule, dict) else None
        if not isinstance(does, list) or {"jump": {"target": "KUBE-NODEPORTS"}} not in does:
            continue
        match = next((each["match"] for each in does if isinstance(each, dict) and "match" in each), None)
        at = match.get("right") if isinstance(match, dict) else None
        if not isinstance(at, str) or match != {"op": "==", "left": to, "right": at}:
            return None
        served.add(at)
    return frozenset(served) or None


def kept_off(address: Address, served: frozenset[str] | None, mode: str = "nftables") -> str:
    """Why no NodePort can answer at the address, though the address is here; empty if one can.

    ``served`` are the addresses at which NodePorts are served, None for all.
    """
    if served is None or str(address) in served:
        return ""
    more = f" and {len(served) - SHOWN_AT_MOST} more" if len(served) > SHOWN_AT_MOST else ""
    elsewhere = ", ".join(sorted(served)[:SHOWN_AT_MOST]) + more or "no address"
    everywhere = "0.0.0.0/0" if address.version == 4 else "::/0"
    return (
        f"kube-proxy ({mode} mode) serves NodePorts at {elsewhere}, not at {address};"
        f" set its nodePortAddresses to [{everywhere}]"
    )
