"""What is known of a node's room for one more address."""

from __future__ import annotations

from dataclasses import dataclass

from floatingip.core.ec2 import Eni


@dataclass(frozen=True, slots=True)
class Room:
    """What is known of this node's room for one more address.

    ``me`` is its instance id.  ``free_slots`` is how many ENI slots are free, None while that is not known.
    ``is_full``: EC2 has just refused to give it more.  ``standing`` is its standing ENI once that is attached, and
    ``problem`` why that cannot be used yet, empty if it can.  ``elsewhere`` says that the address is about to be shown
    somewhere else, or until when it cannot be had although nobody serves it; empty if it can be had.
    """

    me: str
    free_slots: int | None = None
    is_full: bool = False
    standing: Eni | None = None
    problem: str = ""
    elsewhere: str = ""


def lacks_slot(instance_id: str) -> str:
    """A sentence that this instance has no free ENI slot, and what to do about it."""
    return f"{instance_id} has no free ENI slot; keep one free (the VPC CNI's MAX_ENI)"
