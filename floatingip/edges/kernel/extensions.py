"""
Find out which bits of marks are changed by rules that iptables-nft has made: nft lists these rules, but not the bits.

They are read from the kernel, in the layout of iptables' extensions.  So are the names of nft's tables, for which nft
itself reads all that is in them, and takes as much memory as for a list of that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from floatingip.edges.kernel.netlink import Message, Netlink, attributes

# linux/netfilter/nf_tables.h and nfnetlink.h
_GET_TABLES, _GET_RULES = 10 << 8 | 1, 10 << 8 | 7
_HEAD = struct.Struct("=BBH")  # family, version, resource
_TABLE_NAME = 1
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_TARGET_NAME, _TARGET_REVISION, _TARGET_INFO = 1, 2, 3
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_MARK, _CONNMARK = b"MARK", b"CONNMARK"
_SET, _SAVE, _RESTORE = 0, 1, 2
_SHIFTS_SINCE = 2


@dataclass(frozen=True, slots=True)
class Marking:
    """A rule in an nft chain that may change these bits of a packet's or a connection's mark."""

    family: str
    table: str
    chain: str
    bits: int


def tables(netlink: Netlink) -> Iterator[tuple[str, str]]:
    """The family and the name of each of nft's tables.  Raises OSError, struct.error."""
    for message in netlink.dump(_GET_TABLES, _HEAD.pack(0, 0, 0), _HEAD.size):
        yield _family(message), _text(message, _TABLE_NAME)


def markings(netlink: Netlink) -> Iterator[Marking]:
    """A marking for each rule with iptables' MARK or CONNMARK.  Raises OSError, struct.error."""
    # Kept are these alone: thousands of Services have a hundred thousand rules.
    for message in netlink.dump(_GET_RULES, _HEAD.pack(0, 0, 0), _HEAD.size, _bits):
        yield Marking(_family(message), _text(message, _RULE_TABLE), _text(message, _RULE_CHAIN), _bits(message))


def _bits(rule: Message) -> int:
    """The bits that a rule changes."""
    bits = 0
    for expression in _listed(rule.attributes.get(_RULE_EXPRESSIONS, b"")):
        if expression.get(_EXPRESSION_NAME) == b"target\0":
            bits |= _changed(dict(attributes(expression.get(_EXPRESSION_DATA, b""))))
    return bits


def _listed(expressions: bytes) -> Iterator[dict[int, bytes]]:
    for _, expression in attributes(expressions):
        yield dict(attributes(expression))


def _changed(target: dict[int, bytes]) -> int:
    """The bits that a target clears, sets or flips (linux/netfilter/xt_mark.h, xt_connmark.h)."""
    name, info = target.get(_TARGET_NAME, b"").rstrip(b"\0"), target.get(_TARGET_INFO, b"")
    if name == _MARK:
        mark, mask = struct.unpack_from("=II", info)
        return int(mark | mask)
    if name == _CONNMARK:
        (revision,) = struct.unpack(">I", target.get(_TARGET_REVISION, b""))
        # Since revision 2, marks may be shifted when they are saved or restored.
        layout = "=IIIBBB" if revision >= _SHIFTS_SINCE else "=IIIB"
        mark, mask, packets_mask, *shift, mode = struct.unpack_from(layout, info)
        cleared, brought = {
            _SET: (mask, mark),
            _SAVE: (mask, _shifted(packets_mask, *shift)),
            _RESTORE: (packets_mask, _shifted(mask, *shift)),
        }[mode]
        return int(cleared | brought)
    return 0


def _shifted(mask: int, to_the_right: int = 0, by: int = 0) -> int:
    return (mask >> by if to_the_right else mask << by) & 0xFFFFFFFF


def _family(message: Message) -> str:
    return _FAMILIES.get(message.content[0], str(message.content[0]))


def _text(message: Message, kind: int) -> str:
    return message.attributes.get(kind, b"").rstrip(b"\0").decode(errors="replace")
