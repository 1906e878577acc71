"""What security groups admit, as far as their rules tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from floatingip.core.ec2 import Instance
from floatingip.core.model import Address, Network

ANY = "-1"
"""A rule's protocol that stands for all protocols."""

_NUMBERS = {"icmp": "1", "tcp": "6", "icmpv6": "58"}
_ECHO_REQUEST = {"icmp": 8, "icmpv6": 128}


@dataclass(frozen=True, slots=True)
class Worker:
    """An instance with the security groups of its primary interface."""

    instance: Instance
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a security group: it lets a ``protocol`` in from a ``network`` or from the members of
    ``other_group``, or out to them (``is_egress``).  A rule that names a prefix list has neither of the two.

    ``first`` and ``last`` are the range of ports; for ICMP they are the type and the code.  -1 stands for all.
    """

    group: str
    is_egress: bool
    protocol: str
    first: int
    last: int
    network: Network | None = None
    other_group: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """One side of a connection."""

    address: Address
    groups: frozenset[str]


def admitted(
    rules: Iterable[Rule], source: End, to: End, protocol: str, port: int | None, *, by_lists: bool = False
) -> bool:
    """Whether the groups of ``source`` let out, and those of ``to`` let in, packets of this ``protocol`` (icmp, icmpv6
    or tcp).  Without a ``port`` the packet is a ping.

    Answers need no rule.  The contents of prefix lists are not known here; ``by_lists``: assume that they match.
    """
    rules = tuple(rules)
    leaving = (rule for rule in rules if rule.is_egress and rule.group in source.groups)
    coming = (rule for rule in rules if not rule.is_egress and rule.group in to.groups)
    return any(_fits(rule, to, protocol, port, by_lists=by_lists) for rule in leaving) and any(
        _fits(rule, source, protocol, port, by_lists=by_lists) for rule in coming
    )


def _fits(rule: Rule, other: End, protocol: str, port: int | None, *, by_lists: bool) -> bool:
    if rule.protocol != ANY:
        if rule.protocol not in (protocol, _NUMBERS[protocol]):
            return False
        # ICMP has a type instead of a port.
        wanted = port if port is not None else _ECHO_REQUEST[protocol]
        if rule.first not in (-1, wanted) and not rule.first <= wanted <= rule.last:
            return False
    if rule.network is not None:
        return other.address in rule.network
    return rule.other_group in other.groups if rule.other_group else by_lists
