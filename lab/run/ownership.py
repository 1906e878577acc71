"""
Who had a floating address, and since when: EC2's events about attachments, or about addresses, as one kind of event.

With `carry: eni` the address goes with its ENI, and EC2's `attachment` events tell.  With `carry: address` it moves
between ENIs that stay attached; EC2's events about that are translated to the same form, so that all readers of a
history (checker.py, region.py) know only one kind.  Pure.
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

    An Elastic IP (``target`` is its allocation's id) is where any private address is that it was ever associated with:
    if that address is gone with its ENI, EC2 chooses another one.
    """
    told: list[dict[str, Any]] = []
    asked: dict[tuple[str, str], float] = {}
    owners: dict[str, tuple[str, str]] = {}
    stays: dict[str, dict[str, Any]] = {}
    # A private address without the Elastic IP leads no client anywhere, whichever node has it.
    leading = {target}
    events = list(events)
    carried = set(carried_for(events, target))
    for event in (event for event in events if event["source"] == "ec2" and event.get("address") in carried):
        address, eni, at = event["address"], event.get("eni", ""), event["t"]
        owner = owners.get(address, ("", ""))
        match event["event"], event["status"]:
            case "address", "assigning":
                asked[address, eni] = at
            case "address", "assigned" if eni != owner[0]:
                owners[address] = eni, event["instance"]
            case "address", "unassigned" if eni == owner[0]:
                del owners[address]
            case "association", "associated" if event["allocation"] == target:
                leading.add(address)
            case "association", "disassociated" if event["allocation"] == target:
                leading.discard(address)
            case _:
                continue
        here, stay = owners.get(address) if address in leading else None, stays.get(address)
        if stay is not None and (here is None or here[0] != stay["eni"]):
            del stays[address]
            if here is None:
                told.append({**stay, "t": at, "status": "detached"})
            stay = None
        if here is not None and stay is None:
            eni, instance = here
            asked_at = asked.pop((address, eni), at)
            name = f"{eni}/{sum(one['status'] == 'attached' for one in told) + 1}"
            stays[address] = {"source": "ec2", "event": "attachment", "eni": eni, "address": address,
                              "attachment": name, "instance": instance}  # fmt: skip
            told.append({**stays[address], "t": at, "status": "attached", "asked": asked_at})
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
