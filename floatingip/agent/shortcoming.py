"""Why a node could neither serve a floating address nor take it over: a value, with words for people and a name."""

from __future__ import annotations

from typing import NamedTuple


class Shortcoming(NamedTuple):
    """``name`` is that of a decision's reason, or a `Lack`; both are empty where nothing is missing."""

    name: str = ""
    words: str = ""
