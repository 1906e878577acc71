"""JSON as we read it from others: as deep as it has any reason to be, and with values that everybody can use."""

from __future__ import annotations

import json
import math
import re

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A JSON string, or the begin of one: tried at every quote of an endless one, it would take minutes."""

_BRACKET = re.compile(r"[\[\]{}]")


def read_json(body: bytes, *, depth: int) -> object:
    """What the JSON in ``body`` says, nested at most ``depth`` deep.

    Raises ValueError for whatever is none, and also for what Python would take but others cannot use: NaN, infinite
    and endless numbers, text that is no Unicode.
    """
    text = body.decode("utf-8")
    level = 0
    # Counted before it is read: Python's reader recurses, and threads have small stacks.
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        if level > depth:
            raise ValueError(f"nested more than {depth} deep")
    found: object = json.loads(text, parse_constant=_number, parse_float=_number, parse_int=_integer)
    if "\\u" in text:  # the only way to half a surrogate pair, which nothing can print
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    return found


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("a number that is none")
    return number


def _integer(text: str) -> int:
    if len(text) > 20:  # 64 bits have no more
        raise ValueError("a number of too many digits")
    return int(text)
