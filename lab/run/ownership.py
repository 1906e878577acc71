"""
Who had a floating address, and since when: EC2's events about attachments, or about addresses, as one kind of event.

With `carry: eni` the address goes with its ENI, and EC2's `attachment` events tell.  With `carry: address` it moves
between ENIs that stay attached; what EC2 tells of that is put in the same words, so that all readers of a history
(checker.py, region.py) know only one kind.  Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Event = TypeVar("Event", bound=Mapping[str, Any])


def of_enis(events: Iterable[Event], enis: frozenset[str]) -> list[Event]:
    """EC2's events about the attachments of these ENIs."""
    return [e for e in events if e["source"] == "ec2" and e["event"] == "attachment" and e["eni"] in enis]


def of_address(events: Iterable[Mapping[str, Any]], address: str) -> list[dict[str, Any]]:
    """The same for an address that moves: `attachment` names one stay of it on one ENI, `asked` is when EC2 was
    asked.
    """
    told: list[dict[str, Any]] = []
    asked: dict[str, float] = {}
    owner, stays = "", 0
    for event in events:
        if event["source"] != "ec2" or event["event"] != "address" or event["address"] != address:
            continue
        eni, at = event["eni"], event["t"]
        stay = {"t": at, "source": "ec2", "event": "attachment", "eni": eni, "address": address}
        match event["status"]:
            case "assigning":
                asked[eni] = at
            case "assigned" if eni != owner:
                owner, stays = eni, stays + 1
                name = f"{eni}/{stays}"
                asked_at = asked.pop(eni, at)
                told.append(
                    {**stay, "attachment": name, "instance": event["instance"], "status": "attached", "asked": asked_at}
                )
            case "unassigned" if eni == owner:
                told.append(
                    {**stay, "attachment": f"{eni}/{stays}", "instance": event["instance"], "status": "detached"}
                )
                owner = ""
    return told
