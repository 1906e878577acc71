"""What Kubernetes is told of an observer, for people to find it there: no observer decides anything by it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from floatingip.core.move import Move


class Role(StrEnum):
    """What an observer's node is, as the pod's label says it: it holds at least one address, or none."""

    HOLDER = "holder"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class Remark:
    """
    A Kubernetes Event about the observer's own pod.

    ``reason`` and ``action`` are words in CamelCase, ``note`` a sentence of at most 1 kB, ``at`` Unix seconds.  The
    same ``key`` is the same Event: it is not made twice.
    """

    key: str
    at: float
    is_warning: bool
    reason: str
    action: str
    note: str


News = Role | Move | Remark
