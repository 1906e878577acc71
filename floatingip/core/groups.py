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
    """One rule of a security group: it lets a ``protocol`` in from a ``network`` or the members of ``other_group``, or
    out to them (``is_egress``).  It has neither where it names a prefix list.

    ``first`` and ``last`` are ports, of ICMP its type and code; -1 stands for all.
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
    """Whether the groups of ``source`` let out, and those of ``to`` let in, what is sent by this ``protocol`` (icmp,
    icmpv6 or tcp; a ping where no ``port`` is given).

    Answers need no rule.  What a prefix list has is not known here; ``by_lists``: it has all that is asked for.
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
        # In place of a port ICMP has a type.
        wanted = port if port is not None else _ECHO_REQUEST[protocol]
        if rule.first not in (-1, wanted) and not rule.first <= wanted <= rule.last:
            return False
    if rule.network is not None:
        return other.address in rule.network
    return rule.other_group in other.groups if rule.other_group else by_lists
