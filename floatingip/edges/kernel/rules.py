"""Routing rules: those that lead replies of the floating address to its own table, and others' at their priorities."""

from __future__ import annotations

import errno
import struct
from collections.abc import Collection, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

from floatingip.core.model import Address
from floatingip.core.plumbing import Extent, Plumbing
from floatingip.edges.kernel.netlink import ADD, Message, Netlink, attribute, attributes, family, tolerated
from floatingip.edges.kernel.routes import ASKED_AT_MOST, PROTOCOL

# linux/rtnetlink.h, fib_rules.h
_RTM_NEWRULE, _RTM_DELRULE, _RTM_GETRULE = 32, 33, 34
_RULE = struct.Struct("=BBBBBxxBI")  # family, lengths of destination and source, tos, table, action, flags
_FRA_DST, _FRA_SRC, _FRA_IIFNAME, _FRA_PRIORITY, _FRA_FWMARK, _FRA_SUPPRESS_PREFIXLEN = 1, 2, 3, 6, 10, 14
_FRA_TABLE, _FRA_FWMASK, _FRA_PROTOCOL = 15, 16, 21
_FR_ACT_TO_TBL = 1

Says = frozenset[tuple[str | int, bytes | int]]
"""Everything that a rule selects and does, without who made it: by this, rules are compared."""

Selected = tuple[IPv4Network | IPv6Network | None, IPv4Network | IPv6Network | None]
"""The sources and the destinations that a rule selects; either is None if the rule does not look at it."""


def of_family(netlink: Netlink, plumbing: Plumbing) -> list[Message]:
    """All rules of the address' family, ours and others'.  Raises OSError, struct.error."""
    return netlink.dump(_RTM_GETRULE, _RULE.pack(family(plumbing.address.version), 0, 0, 0, 0, 0, 0), _RULE.size)


def concerning(messages: Collection[Message], plumbing: Plumbing) -> dict[Says, tuple[bytes, bool]]:
    """The rules at our priorities: what each says, the message that deletes it, and whether it is ours.

    Also rules of ours at other priorities, which an observer with other settings has left here: those that select this
    address or its mark, and those that lead to the same table as one of these.  Raises struct.error.
    """
    former = {message.number(_FRA_TABLE) for message in messages if _is_ours(message) and _is_about(message, plumbing)}
    rules: dict[Says, tuple[bytes, bool]] = {}
    for message in messages:
        is_ours = _is_ours(message)
        at_ours = message.number(_FRA_PRIORITY) in (plumbing.priority, plumbing.priority + 1)
        if at_ours or (is_ours and message.number(_FRA_TABLE) in former):
            says = _says(message)
            if is_ours or says not in rules:
                rules[says] = message.content, is_ours
    return rules


def tables(messages: Iterable[Message], surplus: Collection[bytes]) -> set[int | None]:
    """The tables to which the rules lead, without the rules that are ``surplus``."""
    return {message.number(_FRA_TABLE) for message in messages if message.content not in surplus}


def wanted(plumbing: Plumbing, extent: Extent) -> dict[Says, bytes]:
    """The rules that there should be: what each says, and the message that adds it."""
    first, second = plumbing.priority, plumbing.priority + 1
    mark = attribute(_FRA_FWMARK, plumbing.mark) + attribute(_FRA_FWMASK, plumbing.mark_mask)
    rules = [_message(plumbing, second, mark)]
    if extent is Extent.ALL:
        # Only what this node itself sends: for IPv6 nothing else keeps a pod from sending in the address' name.
        source = attribute(_FRA_SRC, plumbing.address.packed) + attribute(_FRA_IIFNAME, b"lo\0")
        rules.append(_message(plumbing, first, source, plumbing.address.max_prefixlen))
    return {_says(Message(message, dict(attributes(message[_RULE.size :])))): message for message in rules}


def foreign(messages: Collection[Message], plumbing: Plumbing) -> str:
    """A sentence on a rule of others at one of our priorities; empty if there is none.  ``messages`` are all rules of
    the family.  Raises struct.error.
    """
    for says, (_, is_ours) in concerning(messages, plumbing).items():
        if not is_ours and says not in wanted(plumbing, Extent.ALL):
            at = f"{plumbing.priority} or {plumbing.priority + 1}"
            return f"rule: there is a rule of others at priority {at}; set `priority` to free ones"
    return ""


def lead_from(messages: Iterable[Message], address: Address) -> bool:
    """Whether there is a rule of ours for packets from the address."""
    return any(_is_ours(message) and message.attributes.get(_FRA_SRC) == address.packed for message in messages)


def before(messages: Collection[Message], plumbing: Plumbing) -> list[Selected]:
    """The addresses by which rules of others select that come before ours: the first `ASKED_AT_MOST`.

    Without those for a single destination: CNIs have one for each pod of this node, which may be a client, too.  Raises
    struct.error, ValueError.
    """
    found: dict[Selected, None] = {}
    for message in messages:
        _, destination, source, *_ = _RULE.unpack_from(message.content)
        if not _is_ours(message) and (message.number(_FRA_PRIORITY) or 0) <= plumbing.priority + 1:
            # The kernel shows an address as it was typed, such as 10.0.0.55/28, and uses only its first bits.
            at, to = (
                ip_network((message.attributes[kind], length), strict=False) if kind in message.attributes else None
                for kind, length in ((_FRA_SRC, source), (_FRA_DST, destination))
            )
            if to is not None and (to.num_addresses == 1 or to.is_link_local):
                continue
            if at is not None or to is not None:
                found[at, to] = None
    return list(found)[:ASKED_AT_MOST]


def put(netlink: Netlink, surplus: Iterable[bytes], lacking: Iterable[bytes]) -> None:
    """Delete the ``surplus`` rules and add the ``lacking`` ones, given as messages.  Raises OSError."""
    for message in surplus:
        _delete(netlink, message)
    for message in lacking:
        netlink.change(_RTM_NEWRULE, message, ADD)


def remove(netlink: Netlink, plumbing: Plumbing) -> bool:
    """Delete all rules of ours; return whether there were any.  Raises OSError, struct.error."""
    there = concerning(of_family(netlink, plumbing), plumbing)
    ours = [message for message, is_ours in there.values() if is_ours]
    for message in ours:
        _delete(netlink, message)
    return bool(ours)


def _is_ours(message: Message) -> bool:
    return message.attributes.get(_FRA_PROTOCOL) == bytes([PROTOCOL])


def _is_about(message: Message, plumbing: Plumbing) -> bool:
    is_from = message.attributes.get(_FRA_SRC) == plumbing.address.packed
    return is_from or message.number(_FRA_FWMARK) == plumbing.mark


def _delete(netlink: Netlink, message: bytes) -> None:
    with tolerated(errno.ENOENT):
        netlink.change(_RTM_DELRULE, message)


def _message(plumbing: Plumbing, priority: int, selector: bytes, source_length: int = 0) -> bytes:
    head = _RULE.pack(family(plumbing.address.version), 0, source_length, 0, 0, _FR_ACT_TO_TBL, 0)
    at = attribute(_FRA_PRIORITY, priority) + attribute(_FRA_TABLE, plumbing.table)
    return head + at + attribute(_FRA_PROTOCOL, bytes([PROTOCOL])) + selector


def _says(message: Message) -> Says:
    family_, destination, source, tos, _, action, flags = _RULE.unpack_from(message.content)
    head = {
        "family": family_,
        "destination": destination,
        "source": source,
        "tos": tos,
        "action": action,
        "flags": flags,
    }
    idle = {_FRA_PROTOCOL: message.attributes.get(_FRA_PROTOCOL), _FRA_SUPPRESS_PREFIXLEN: b"\xff\xff\xff\xff"}
    says = {kind: value for kind, value in message.attributes.items() if idle.get(kind) != value}
    return frozenset({*head.items(), *says.items()})
