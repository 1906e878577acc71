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


def of_address(events: Iterable[Mapping[str, Any]], target: str) -> list[dict[str, Any]]:
    """
    The same for an address that moves: `attachment` names one stay of it on one ENI, `asked` is when EC2 was asked.

    An Elastic IP (its allocation's id) is wherever a private address is that it was ever associated with: when that has
    gone with its ENI, EC2 chooses another one.
    """
    told: list[dict[str, Any]] = []
    asked: dict[tuple[str, str], float] = {}
    owners: dict[str, tuple[str, str]] = {}
    stays = 0
    events = list(events)
    carried = set(carried_for(events, target))
    for event in events:
        if event["source"] != "ec2" or event["event"] != "address" or event["address"] not in carried:
            continue
        address, eni, at = event["address"], event["eni"], event["t"]
        owner, name = owners.get(address, ("", ""))
        stay = {"t": at, "source": "ec2", "event": "attachment", "eni": eni, "address": address}
        match event["status"]:
            case "assigning":
                asked[address, eni] = at
            case "assigned" if eni != owner:
                stays += 1
                name = f"{eni}/{stays}"
                owners[address] = eni, name
                asked_at = asked.pop((address, eni), at)
                told.append(
                    {**stay, "attachment": name, "instance": event["instance"], "status": "attached", "asked": asked_at}
                )
            case "unassigned" if eni == owner:
                told.append({**stay, "attachment": name, "instance": event["instance"], "status": "detached"})
                del owners[address]
    return told


def carried_for(events: Iterable[Mapping[str, Any]], target: str) -> list[str]:
    """The addresses that holders have had on their links for this floating one, the latest last: an Elastic IP's are
    private, those it was associated with.
    """
    if not target.startswith("eipalloc-"):
        return [target]
    return [
        event["address"]
        for event in events
        if event["source"] == "ec2"
        and event["event"] == "association"
        and event["allocation"] == target
        and event["status"] == "associated"
    ]
