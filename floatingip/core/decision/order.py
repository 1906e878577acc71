"""
A handover on request: a tag on the ENI that has the address, which the standbys obey until its deadline.

Pure.  The value is ``ATTACHMENT>INSTANCE@UNIXTIME``: from which attachment (the end of its id) to which instance, or
``*`` for any, and until when.  IAM says who may write it; nothing can be commanded over HTTP.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from floatingip.core.ec2 import ID_END

TAG = "floatingip/to"

ANYBODY = "*"
"""Any standby may take the address."""

_ORDER = re.compile(rf"([\w-]{{1,{ID_END}}})>(\*|i-[0-9a-f]+)@(\d{{1,11}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Order:
    """A handover that was asked for; ``deadline`` is in Unix seconds."""

    attachment: str
    to: str
    deadline: int

    def names(self, instance_id: str) -> bool:
        """Whether this instance may take the address over."""
        return self.to in (ANYBODY, instance_id)


def render(attachment_id: str, to: str, deadline: float) -> str:
    """The tag's value."""
    return f"{attachment_id[-ID_END:]}>{to}@{int(deadline)}"


def parse(value: str, attachment_id: str, wall: float) -> Order | None:
    """The order that a tag's value gives for this attachment; None when there is none, or its deadline is over."""
    found = _ORDER.fullmatch(value)
    if found is None or found[1] != attachment_id[-ID_END:] or int(found[3]) < wall:
        return None
    return Order(found[1], found[2], int(found[3]))


def successor(value: str, wall: float) -> str:
    """The instance that a valid order names, whichever attachment it is for; empty if it names none or is not valid."""
    found = _ORDER.fullmatch(value)
    return "" if found is None or found[2] == ANYBODY or int(found[3]) < wall else found[2]
