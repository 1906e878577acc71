"""
What chains of others in nft do to packets of ours, as far as its listing tells: to their marks, and whether they drop
them.

Rules of iptables are listed too, where they are nft's, but not what its extensions do: neither their masks of marks nor
what they match.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from floatingip.edges.kernel.mark_table import PREFIX

_ALL_BITS = 0xFFFFFFFF
_MARKS = ({"meta": {"key": "mark"}}, {"ct": {"key": "mark"}})
_WHOLE = " (which sets the whole mark: have it set its own bits only, by a mask)"
_STRAY = " (of another deployment on this node, or left by former settings)"
_HOOKS = ("ingress", "prerouting", "input", "forward", "output", "postrouting")


def on_bits(ruleset: list[Any], bits: int, ours: Collection[str] = ()) -> tuple[str, ...]:
    """Those that change any of these bits of a packet's or a connection's mark; ``ours`` are the names of our tables.

    A table of our name for another address is not ours: another deployment takes our rules and routes for its own.
    """
    found = set[str]()
    for rule in _things(ruleset, "rule"):
        if str(rule.get("table")) in ours:
            continue
        for expression in _expressions(rule):
            if (changed := _changed(expression)) & bits:
                said = _WHOLE if changed == _ALL_BITS else _STRAY if _is_like_ours(rule) else ""
                found.add(_named(rule, rule.get("chain")) + said)
    return tuple(sorted(found))


def that_drop(ruleset: list[Any]) -> tuple[str, ...]:
    """Those that drop or reject whatever they do not let pass: by their policy, or by their last rule."""
    last = {_named(rule, rule.get("chain")): rule for rule in _things(ruleset, "rule")}
    found = []
    for chain in _things(ruleset, "chain"):
        name, hook = _named(chain, chain.get("name")), chain.get("hook")
        if hook in _HOOKS and (chain.get("policy") == "drop" or _drops_all(last.get(name, {}))):
            found.append(f"{name} ({hook})")
    return tuple(found)


def _things(ruleset: list[Any], kind: str) -> Iterator[dict[str, Any]]:
    for entry in ruleset:
        thing = entry.get(kind) if isinstance(entry, dict) else None
        if isinstance(thing, dict):
            yield thing


def _is_like_ours(rule: dict[str, Any]) -> bool:
    return str(rule.get("table")).startswith(PREFIX)


def _named(thing: dict[str, Any], chain: object) -> str:
    return f"nft's chain {thing.get('family')} {thing.get('table')} {chain}"


def _expressions(rule: dict[str, Any]) -> list[Any]:
    expressions = rule.get("expr")
    return expressions if isinstance(expressions, list) else []


def _changed(expression: Any) -> int:
    """The bits of a mark that a statement may change: all of them, unless what it sets is the mark itself but for
    some.
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


def _drops_all(rule: dict[str, Any]) -> bool:
    """It ends in a drop or a rejection, and matches everything."""
    for expression in _expressions(rule):
        kind, what = next(iter(expression.items()), ("", None)) if isinstance(expression, dict) else ("", None)
        if kind in ("drop", "reject"):
            return True
        if kind == "xt":
            return isinstance(what, dict) and what.get("name") in ("DROP", "REJECT")
        if kind not in ("counter", "log"):
            return False
    return False
