"""What Kubernetes is told of an observer, for people to find it there: no observer decides anything by it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from floatingip.core.move import Move


class Role(StrEnum):
    """The role of an observer's node in the pod's label: a holder has at least one address, a standby none."""

    HOLDER = "holder"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class Remark:
    """
    A Kubernetes Event about the observer's own pod.

    ``reason`` and ``action`` are words in CamelCase, ``note`` is a sentence of at most 1 kB, ``at`` is in Unix seconds.
    Two remarks with the same ``key`` are the same Event, which is not made twice.
    """

    key: str
    at: float
    is_warning: bool
    reason: str
    action: str
    note: str


News = Role | Move | Remark
