"""An address' own nft table, which marks connections that come in by its link, and their replies."""

from __future__ import annotations

from typing import Any

from floatingip.core.model import Address
from floatingip.core.plumbing import Plumbing
from floatingip.edges.kernel.nft import Listing

PREFIX = "floatingip_"
"""The prefix of our tables' names; nobody else's have it."""


def table_name(address: Address) -> str:
    """The name of a floating address' nft table, which is of family inet."""
    return f"{PREFIX}{address.packed.hex()}"


def wanted_marks(plumbing: Plumbing, link_index: int) -> Listing:
    """An address' own nft table in nft's JSON, as it is both added and listed.

    A connection whose first packet comes in by our link to the address is marked in conntrack, before the packet is
    sent on to a pod.  Only packets of the reply direction get the mark: otherwise the floating address would leak to
    remote pods as a source.  The output chain is for pods on the host's network; its type `route` makes the kernel
    route again after the mark was set.
    """
    name, mark, mask = table_name(plumbing.address), plumbing.mark, plumbing.mark_mask
    connection, packet = {"ct": {"key": "mark"}}, {"meta": {"key": "mark"}}

    def match(left: Any, right: Any) -> Any:
        return {"match": {"op": "==", "left": left, "right": right}}

    def add_mark(key: Any) -> Any:
        return {"mangle": {"key": key, "value": {"|": [key, mark]}}}

    def chain(hook: str, kind: str) -> Any:
        # Priority -150 (mangle): after conntrack at -200, before NAT at -100 and the routing decision.
        base = {"type": kind, "hook": hook, "prio": -150, "policy": "accept"}
        return {"chain": {"family": "inet", "table": name, "name": hook, **base}}

    def rule(hook: str, *expressions: Any) -> Any:
        return {"rule": {"family": "inet", "table": name, "chain": hook, "expr": list(expressions)}}

    direction = {"ct": {"key": "direction"}}
    family = "ip" if plumbing.address.version == 4 else "ip6"
    destination = {"payload": {"protocol": family, "field": "daddr"}}
    remember = (
        match({"meta": {"key": "iif"}}, link_index),
        match(destination, str(plumbing.address)),
        match(direction, "original"),
        add_mark(connection),
    )
    restore = match(direction, "reply"), match({"&": [connection, mask]}, mark), add_mark(packet)
    return [
        {"table": {"family": "inet", "name": name}},
        chain("prerouting", "filter"),
        chain("output", "route"),
        rule("prerouting", *remember),
        rule("prerouting", *restore),
        rule("output", *restore),
    ]
