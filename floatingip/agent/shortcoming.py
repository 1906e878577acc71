"""A value that says why a node could neither serve a floating address nor take it over."""

from __future__ import annotations

from typing import NamedTuple


class Shortcoming(NamedTuple):
    """Why a node could neither serve an address nor take it over: a ``name`` for metrics, and ``words`` for people.

    The name is that of a decision's reason, or a `Lack`.  Both are empty if nothing is missing.
    """

    name: str = ""
    words: str = ""
