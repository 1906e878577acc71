"""
What nft chains of others do to our packets, as far as nft's listing tells: whether they change marks, and whether they
drop packets.

nft also lists rules of iptables-nft, but not what iptables' extensions do: neither what they match, nor their masks of
marks, which are read from the kernel (extensions.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from floatingip.edges.kernel.extensions import Marking
from floatingip.edges.kernel.links import name_of
from floatingip.edges.kernel.mark_table import PREFIX

_ALL_BITS = 0xFFFFFFFF
_MARKS = ({"meta": {"key": "mark"}}, {"ct": {"key": "mark"}})
_WHOLE = " (which sets the whole mark: have it set its own bits only, by a mask)"
_STRAY = " (of another deployment on this node, or left by former settings)"
_BY_LINK = ({"meta": {"key": "iifname"}}, {"meta": {"key": "iif"}})
_NFPROTO = {"meta": {"key": "nfproto"}}
_CARRIED = ({"meta": {"key": "l4proto"}}, {"payload": {"protocol": "ip", "field": "protocol"}}, _NFPROTO)
_ZONE = {"ct": {"key": "zone"}}
_HOOKS = ("ingress", "prerouting", "input", "forward", "output", "postrouting", "egress")


def on_bits(ruleset: list[Any], bits: int, ours: Collection[str]) -> tuple[str, ...]:
    """The chains that change any of these bits of a packet's or a connection's mark; ``ours`` are our tables' names.

    A table with our prefix for another address does not count as ours: it may belong to another deployment, which takes
    our rules and routes for its own.
    """
    found = set[str]()
    for rule in _awake(ruleset, "rule"):
        if rule.get("family") == "inet" and str(rule.get("table")) in ours:
            continue
        for expression in _expressions(rule):
            if (changed := _changed(expression)) & bits:
                said = _WHOLE if changed == _ALL_BITS else _STRAY if _is_like_ours(rule) else ""
                found.add(_named(rule, rule.get("chain")) + said)
    return tuple(sorted(found))


def by_iptables(markings: Iterable[Marking], bits: int) -> tuple[str, ...]:
    """The chains in which rules of iptables-nft change any of these bits."""
    return tuple(
        sorted(
            {
                f"nft's chain {each.family} {each.table} {each.chain}{_WHOLE if each.bits == _ALL_BITS else ''}"
                for each in markings
                if each.bits & bits
            }
        )
    )


def that_drop(ruleset: list[Any]) -> tuple[str, ...]:
    """The chains that drop or reject a packet which no rule lets pass: by their policy, or by a rule in any place.

    The packet is the first one of a connection, and comes by an interface that no rule names.
    """
    rules, found = _Rules(ruleset), []
    for chain in _awake(ruleset, "chain"):
        if chain.get("hook") not in _HOOKS:
            continue
        fate, spared = rules.fate(_key(chain, "name"))
        if fate is _Fate.DROPPED or (fate is None and chain.get("policy") == "drop"):
            but = f", but for what comes in by {', '.join(spared)}" if spared else ""
            found.append(f"{_named(chain, chain.get('name'))} ({chain.get('hook')}{but})")
    return tuple(found)


def by_reverse_path(ruleset: list[Any], versions: Collection[int]) -> tuple[str, ...]:
    """The chains that drop packets, of one of these IP versions, if the way back does not lead by the link that they
    came by.

    These are all packets that come in by our link, except those from its subnet: the node's own way to their sources is
    by the primary link.
    """
    found = dict[str, None]()
    for rule in _awake(ruleset, "rule"):
        filtered = {"ip": {4}, "ip6": {6}}.get(str(rule.get("family")), {4, 6})
        wants_way_back = False
        for kind, what in _statements(rule):
            name = what.get("name")
            if kind == "match" and what.get("left") == _NFPROTO:
                filtered = filtered & {{"ipv4": 4, "ipv6": 6}.get(str(what.get("right")), 0)}
            elif (kind == "match" and _is_without_way_back(what)) or (kind == "xt" and name == "rpfilter"):
                wants_way_back = True
            elif kind in ("drop", "reject", "jump", "goto") or (kind == "xt" and name in _DROPPING_TARGETS):
                if wants_way_back and filtered & set(versions):
                    found[_named(rule, rule.get("chain"))] = None
                break
            elif kind not in _PASSING and not (kind == "match" and _others_than(what) is not None):
                break
    return tuple(found)


def passing_by(ruleset: list[Any], links: Collection[str]) -> tuple[str, ...]:
    """Flowtables with one of these links: packets that they forward pass no chain any more, and so get no mark.

    They send replies by the link that the connection's first packets came by, directly to the client as if it were a
    neighbour (Linux, nft_flow_route in net/netfilter).
    """
    found = []
    for each in _awake(ruleset, "flowtable"):
        devices = [str(device) for device in _all(each.get("dev"))]
        if any(fnmatchcase(link, device) for link in links for device in devices):
            found.append(f"nft's flowtable {each.get('family')} {each.get('table')} {each.get('name')}")
    return tuple(found)


def untracked(ruleset: list[Any], links: Collection[str]) -> tuple[str, ...]:
    """The chains that exclude connections from conntrack, or put packets from one of these links into another conntrack
    zone than their replies: then conntrack remembers no mark of ours, and NodePorts do not work.
    """
    found = dict[str, None]()
    for rule in _awake(ruleset, "rule"):
        is_by_ours = False
        for kind, what in _statements(rule):
            left, right = what.get("left"), _all(what.get("right"))
            if kind == "match" and left in _BY_LINK and what.get("op") == "==":
                named = [name_of(each) if isinstance(each, int) else str(each) for each in right]
                is_by_ours = any(fnmatchcase(link, each) for link in links for each in named)
                if not is_by_ours:
                    break
            elif kind == "match" and left in _CARRIED:
                if not {"tcp", "ipv4", "ipv6"} & set(map(str, right)):
                    break
            elif kind == "match" and _others_than(what) is None:
                break
            elif kind == "notrack" or (kind == "mangle" and is_by_ours and what.get("key") == _ZONE):
                found[_named(rule, rule.get("chain"))] = None
            elif kind == "xt" and what.get("name") == "CT":
                found[f"{_named(rule, rule.get('chain'))} (unless its CT only adds a helper)"] = None
            elif kind == "xt":
                break
    return tuple(found)


class _Fate(Enum):
    """What becomes of a packet."""

    DROPPED = "dropped"
    ACCEPTED = "accepted"
    RETURNED = "returned"


_Key = tuple[str, str, str]
"""What identifies a chain: its family, table and name."""


class _Rules:
    """The rules of all chains; follows a packet through their jumps."""

    def __init__(self, ruleset: list[Any]) -> None:
        self._of: dict[_Key, list[dict[str, Any]]] = {}
        for rule in _awake(ruleset, "rule"):
            self._of.setdefault(_key(rule, "chain"), []).append(rule)
        self._found: dict[_Key, tuple[_Fate | None, list[str]]] = {}

    def fate(self, chain: _Key) -> tuple[_Fate | None, list[str]]:
        """What becomes of a packet in a chain (None: it reaches the chain's end), and the interfaces for whose packets
        that does not hold.
        """
        if chain not in self._found:
            self._found[chain] = None, []  # Against endless loops, though the kernel refuses chains that make any.
            for rule in self._of.get(chain, ()):
                fate, spared = self._by(rule, chain)
                if fate is not None:
                    self._found[chain] = None if fate is _Fate.RETURNED else fate, spared
                    break
        return self._found[chain]

    def _by(self, rule: dict[str, Any], chain: _Key) -> tuple[_Fate | None, list[str]]:
        """What one rule makes of the packet; None if the packet goes on to the next rule."""
        spared = list[str]()
        for kind, what in _statements(rule):
            if kind == "match":
                named = _others_than(what)
                if named is None:
                    return None, []
                spared += named
            elif kind in ("jump", "goto"):
                fate, further = self.fate((*chain[:2], str(what.get("target"))))
                if fate is None and kind == "goto":
                    fate = _Fate.RETURNED
                return fate, spared + further
            elif kind == "xt":
                extension = what.get("name")
                if extension in _DROPPING_TARGETS:
                    return _Fate.DROPPED, spared
                if extension not in _PASSING_TARGETS:
                    return None, []
            elif kind in _ENDS:
                return _ENDS[kind], spared
            elif kind not in _PASSING:
                return None, []
        return None, []


_ENDS = {
    "drop": _Fate.DROPPED,
    "reject": _Fate.DROPPED,
    "accept": _Fate.ACCEPTED,
    "return": _Fate.RETURNED,
}
_PASSING = ("counter", "log", "mangle", "notrack")
_DROPPING_TARGETS, _PASSING_TARGETS = ("DROP", "REJECT"), ("MARK", "CONNMARK", "LOG", "NFLOG", "CT")


def _others_than(match: dict[str, Any]) -> list[str] | None:
    """The interfaces for which a match does not hold, if it holds for every new connection by any other interface; None
    if it is another kind of match.
    """
    operator, left, right = match.get("op"), match.get("left"), _all(match.get("right"))
    if left == {"ct": {"key": "state"}}:
        return [] if ("new" in right) is (operator != "!=") else None
    if left not in _BY_LINK or operator != "!=":
        return None
    is_told = not any(str(each).startswith("@") for each in right)
    return [name_of(each) if isinstance(each, int) else str(each) for each in right] if is_told else None


def _is_without_way_back(match: dict[str, Any]) -> bool:
    """Whether the match holds for packets that come in by another link than the one that the way back leads by."""
    left = match.get("left")
    asked = left.get("fib") if isinstance(left, dict) else None
    is_strict = isinstance(asked, dict) and {"saddr", "iif"} <= set(map(str, _all(asked.get("flags"))))
    return is_strict and match.get("op") == "==" and match.get("right") in (False, 0, "0")


def _all(value: Any) -> list[Any]:
    """The values that nft lists as a single one, as a list, or as a set."""
    value = value.get("set") if isinstance(value, dict) else value
    return value if isinstance(value, list) else [value]


def _things(ruleset: list[Any], kind: str) -> Iterator[dict[str, Any]]:
    for entry in ruleset:
        thing = entry.get(kind) if isinstance(entry, dict) else None
        if isinstance(thing, dict):
            yield thing


def _awake(ruleset: list[Any], kind: str) -> Iterator[dict[str, Any]]:
    """The things of this kind, without those of tables that are switched off (dormant)."""
    tables = list(_things(ruleset, "table"))
    asleep = {_key(table, "name")[::2] for table in tables if "dormant" in _all(table.get("flags"))}
    return (thing for thing in _things(ruleset, kind) if _key(thing, "chain")[:2] not in asleep)


def _is_like_ours(rule: dict[str, Any]) -> bool:
    return str(rule.get("table")).startswith(PREFIX)


def _key(thing: dict[str, Any], name: str) -> _Key:
    return str(thing.get("family")), str(thing.get("table")), str(thing.get(name))


def _named(thing: dict[str, Any], chain: object) -> str:
    return f"nft's chain {thing.get('family')} {thing.get('table')} {chain}"


def _expressions(rule: dict[str, Any]) -> list[Any]:
    expressions = rule.get("expr")
    return expressions if isinstance(expressions, list) else []


def _statements(rule: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each statement of a rule: its kind, and what it says."""
    for expression in _expressions(rule):
        kind, what = next(iter(expression.items()), ("", None)) if isinstance(expression, dict) else ("", None)
        yield kind, what if isinstance(what, dict) else {}


def _changed(expression: Any) -> int:
    """The bits of a mark that a statement may change: all of them, unless its value is the mark itself with some bits
    changed.
    """
    mangle = expression.get("mangle") if isinstance(expression, dict) else None
    if not isinstance(mangle, dict) or mangle.get("key") not in _MARKS:
        return 0
    changed, value = 0, mangle.get("value")
    while value != mangle["key"]:
        operator, parts = next(iter(value.items()), ("", None)) if isinstance(value, dict) else ("", None)
        numbers = parts[1:] if isinstance(parts, list) else []
        if operator not in ("|", "^", "&") or not all(isinstance(number, int) for number in numbers):
            return _ALL_BITS
        for number in numbers:
            changed |= (~number if operator == "&" else number) & _ALL_BITS
        value = parts[0] if parts else None
    return changed
