"""What kube-proxy serves, as its nft tables say: a NodePort may be answered at some of the node's addresses only."""

from __future__ import annotations

from floatingip.core.model import Address
from floatingip.edges.kernel.nft import Nft

SHOWN_AT_MOST = 8
"""Addresses that a message names: a set may have thousands."""


def node_ports_at(nft: Nft, version: int) -> frozenset[str] | None:
    """The addresses of an IP version at which kube-proxy in nftables mode serves NodePorts; None: at all, or it is in
    another mode.

    It has a set of them, and none if it serves all (kubernetes, pkg/proxy/nftables/proxier.go).  Raises HostError.
    """
    family = "ip" if version == 4 else "ip6"
    for entry in nft.list_set(family, "kube-proxy", "nodeport-ips") or ():
        shown = entry.get("set") if isinstance(entry, dict) else None
        if isinstance(shown, dict) and shown.get("name") == "nodeport-ips":
            elements = shown.get("elem", [])
            is_plain = isinstance(elements, list) and all(isinstance(each, str) for each in elements)
            return frozenset(elements) if is_plain else None
    return None


def kept_off(address: Address, served: frozenset[str] | None) -> str:
    """Why no NodePort can answer at the address, though it is here; "" where one can."""
    if served is None or str(address) in served:
        return ""
    more = f" and {len(served) - SHOWN_AT_MOST} more" if len(served) > SHOWN_AT_MOST else ""
    elsewhere = ", ".join(sorted(served)[:SHOWN_AT_MOST]) + more or "no address"
    everywhere = "0.0.0.0/0" if address.version == 4 else "::/0"
    return (
        f"kube-proxy (nftables mode) serves NodePorts at {elsewhere}, not at {address};"
        f" set its nodePortAddresses to [{everywhere}]"
    )
