"""What decides whether a node has room for one more address."""

from __future__ import annotations

from dataclasses import dataclass

from floatingip.core.ec2 import Eni


@dataclass(frozen=True, slots=True)
class Room:
    """What is known of this node's room.

    ``me`` is its instance; ``free_slots`` is how many ENI slots are free, None while that is not known; ``is_full``:
    EC2 has just refused it more.  ``standing`` is its standing ENI once that is attached, and ``problem`` why that is
    of no use yet, empty when it is.  ``elsewhere`` says where the address is about to be shown, or until when it cannot
    be had, though nobody serves it; empty where nothing is known of that.
    """

    me: str
    free_slots: int | None = None
    is_full: bool = False
    standing: Eni | None = None
    problem: str = ""
    elsewhere: str = ""


def lacks_slot(instance_id: str) -> str:
    """The sentence that this instance has no room for an interface, with what to do."""
    return f"{instance_id} has no free ENI slot; keep one free (the VPC CNI's MAX_ENI)"
