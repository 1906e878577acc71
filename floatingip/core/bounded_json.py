"""
Read JSON that others wrote: not nested too deep, and only with values that every reader of JSON can use.

Each ``as_...`` function checks one value.  It raises ValueError if the value is of another kind, or too long.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A JSON string, or the beginning of one.  The quantifiers are possessive, since backtracking at every quote of a long
string would take minutes."""

_BRACKET = re.compile(r"[\[\]{}]")


def read_json(body: bytes, *, depth: int) -> object:
    """What the JSON in ``body`` says, nested at most ``depth`` deep.

    Raises ValueError if it is no JSON, and also for values that Python would accept but others cannot use: NaN,
    infinite numbers, integers of more than 64 bits, text that is not Unicode.
    """
    text = body.decode("utf-8")
    level = 0
    # Count before parsing: Python's parser recurses, and threads have small stacks.
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        if level > depth:
            raise ValueError(f"nested more than {depth} deep")
    found: object = json.loads(text, parse_constant=_number, parse_float=_number, parse_int=_integer)
    if "\\u" in text:  # Only an escape can make half a surrogate pair, which cannot be encoded.
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    return found


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("a number that is none")
    return number


def _integer(text: str) -> int:
    if len(text) > 20:  # No number of 64 bits is longer.
        raise ValueError("a number of too many digits")
    return int(text)


def as_object(value: object, *, most: float = math.inf, longest_key: float = math.inf) -> Mapping[str, Any]:
    """An object of at most ``most`` entries, whose keys have at most ``longest_key`` characters."""
    if not isinstance(value, dict) or len(value) > most:
        raise ValueError(f"no object of at most {most} entries")
    for key in value:
        as_text(key, longest_key)
    return value


def as_list(value: object, one: Callable[[object], T], most: float = math.inf) -> tuple[T, ...]:
    """A list of at most ``most`` items, each converted by ``one``."""
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"no list of at most {most} items")
    return tuple(map(one, value))


def as_text(value: object, longest: float = math.inf) -> str:
    """A text of at most ``longest`` characters."""
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"no text of at most {longest} characters")
    return value


def as_number(value: object) -> float:
    """A finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("no number")
    return float(value)


def as_count(value: object, most: int) -> int:
    """A whole number from 0 to ``most``."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"no whole number up to {most}")
    return value


def as_flag(value: object) -> bool:
    """True or false."""
    if value is True or value is False:
        return value
    raise ValueError("neither true nor false")
