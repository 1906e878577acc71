"""Whether a node has room for an address that it does not have yet, and if not, why."""

from __future__ import annotations

from dataclasses import dataclass

from floatingip.core.ec2 import Eni


@dataclass(frozen=True, slots=True)
class Room:
    """What is known of this node's room.

    ``me`` is its instance; ``free_slots`` as its observers tell it; ``is_full``: EC2 has just refused it more.
    ``standing`` is its standing ENI once that is attached, and ``problem`` why it is of no use yet, empty when it is.
    ``promised`` says where EC2 is about to show the address, though it shows it nowhere; empty when it is not.
    """

    me: str
    free_slots: int | None = None
    is_full: bool = False
    standing: Eni | None = None
    problem: str = ""
    promised: str = ""


def lacks_slot(instance_id: str) -> str:
    """That this instance has no room for an interface, and what to do."""
    return f"{instance_id} has no free ENI slot; keep one free (the VPC CNI's MAX_ENI)"
