"""EC2's events about an address that moves between ENIs, told as attachments: one stay on one ENI is one of them."""

from typing import Any

import pytest

from lab.run.ownership import carried_for, of_address, of_enis

ADDRESS, OTHER = "10.0.0.100", "10.0.0.101"
INSTANCES = {"eni-a": "i-aaaa", "eni-b": "i-bbbb"}

Event = dict[str, Any]


def moved(t: float, eni: str, status: str, address: str = ADDRESS) -> Event:
    """EC2's record of one step of an address."""
    told = {"t": t, "source": "ec2", "event": "address", "address": address, "eni": eni, "status": status}
    return {**told, "instance": INSTANCES.get(eni, "")}


def associated(t: float, address: str, status: str = "associated") -> Event:
    """EC2's record of what an Elastic IP leads to."""
    told = {"t": t, "source": "ec2", "event": "association", "allocation": "eipalloc-1", "address": address}
    return {**told, "eni": "eni-a", "status": status}


def told(*events: Event) -> list[tuple[float, str, str, str]]:
    """Of each event told: when, which stay, whose, and which end of it."""
    return [(e["t"], e["attachment"], e["instance"], e["status"]) for e in of_address(events, ADDRESS)]


CLAIMED = moved(1.0, "eni-a", "assigning"), moved(2.0, "eni-a", "assigned")
TAKEN = moved(10.0, "eni-b", "assigning"), moved(11.2, "eni-a", "unassigned"), moved(11.2, "eni-b", "assigned")


def test_a_claim_is_an_attachment_that_was_asked_for_before() -> None:
    """It begins when EC2 has done it; when it was asked is kept beside it."""
    (event,) = of_address(CLAIMED, ADDRESS)
    assert (event["eni"], event["instance"], event["status"]) == ("eni-a", "i-aaaa", "attached")
    assert (event["asked"], event["t"]) == (1.0, 2.0)


def test_a_move_ends_one_stay_and_begins_another() -> None:
    """The former holder has the address until EC2 has moved it, not until that was asked for."""
    assert told(*CLAIMED, *TAKEN) == [
        (2.0, "eni-a/1", "i-aaaa", "attached"),
        (11.2, "eni-a/1", "i-aaaa", "detached"),
        (11.2, "eni-b/2", "i-bbbb", "attached"),
    ]
    assert of_address([*CLAIMED, *TAKEN], ADDRESS)[-1]["asked"] == 10.0


def test_each_stay_on_an_eni_is_one_of_its_own() -> None:
    """There and back again are two moves, and three stays."""
    back = moved(20.0, "eni-a", "assigning"), moved(21.2, "eni-b", "unassigned"), moved(21.2, "eni-a", "assigned")
    stays = [name for _, name, _, status in told(*CLAIMED, *TAKEN, *back) if status == "attached"]
    assert stays == ["eni-a/1", "eni-b/2", "eni-a/3"]


def test_an_address_that_is_taken_away_leads_nowhere_until_it_is_claimed() -> None:
    """As IPv6 moves: the fence first, the claim later."""
    fenced = moved(10.6, "eni-a", "unassigned"), moved(10.7, "eni-b", "assigning"), moved(11.9, "eni-b", "assigned")
    assert told(*CLAIMED, *fenced)[1:] == [
        (10.6, "eni-a/1", "i-aaaa", "detached"),
        (11.9, "eni-b/2", "i-bbbb", "attached"),
    ]


def test_two_owners_at_a_time_are_told_as_two() -> None:
    """An EC2 that gives an address twice, as unpatched moto does, is not smoothed over: the first stay never ends."""
    second = moved(5.0, "eni-b", "assigned"), moved(6.0, "eni-a", "unassigned")
    assert told(*CLAIMED, *second) == [(2.0, "eni-a/1", "i-aaaa", "attached"), (5.0, "eni-b/2", "i-bbbb", "attached")]


@pytest.mark.parametrize(
    "event",
    [
        moved(3.0, "eni-a", "assigned"),
        moved(3.0, "eni-b", "unassigned"),
        moved(3.0, "eni-b", "assigning"),
        moved(3.0, "eni-b", "assigned", OTHER),
        {**moved(3.0, "eni-b", "assigned"), "source": "lab"},
        {**moved(3.0, "eni-b", "assigned"), "event": "association"},
    ],
    ids=["assigned again", "not its owner", "asked only", "another address", "not EC2", "another event"],
)
def test_what_moves_nothing_is_not_told(event: Event) -> None:
    assert told(*CLAIMED, event) == [(2.0, "eni-a/1", "i-aaaa", "attached")]


def test_a_claim_that_nobody_was_seen_to_ask_for_was_asked_for_when_it_came() -> None:
    """As with an ENI that is created with the address."""
    (event,) = of_address([moved(2.0, "eni-a", "assigned")], ADDRESS)
    assert event["asked"] == 2.0


def test_an_elastic_ip_is_carried_as_what_it_was_associated_with_last() -> None:
    """Any other address is carried as itself."""
    changes = {"allocation": "eipalloc-2"}, {"status": "disassociated"}, {"event": "address"}
    others = [{**associated(2.0, "10.0.0.9"), **change} for change in changes]
    history = [associated(1.0, "10.0.0.5"), *others, associated(3.0, "10.0.0.6")]
    assert carried_for(history, "eipalloc-1") == ["10.0.0.5", "10.0.0.6"]
    assert carried_for(history, ADDRESS) == [ADDRESS]


def test_an_elastic_ips_stay_begins_when_it_leads_there() -> None:
    """Two nodes may have made themselves an address for it, of which it gets one; the other one's has its day later."""
    events = [
        moved(1.0, "eni-a", "assigned", ADDRESS),
        moved(1.1, "eni-b", "assigned", OTHER),
        associated(2.0, ADDRESS),
        moved(5.0, "eni-a", "unassigned", ADDRESS),
        associated(5.0, ADDRESS, "disassociated"),
        associated(6.0, OTHER),
    ]
    stays = [(e["t"], e["eni"], e["status"]) for e in of_address(events, "eipalloc-1")]
    assert stays == [(2.0, "eni-a", "attached"), (5.0, "eni-a", "detached"), (6.0, "eni-b", "attached")]


def test_an_elastic_ip_rides_along_with_its_address() -> None:
    """Its private address moves, and the association with it."""
    events = [*CLAIMED, associated(3.0, ADDRESS), *TAKEN]
    stays = [(e["t"], e["eni"], e["status"]) for e in of_address(events, "eipalloc-1")]
    assert stays == [(3.0, "eni-a", "attached"), (11.2, "eni-a", "detached"), (11.2, "eni-b", "attached")]


def test_attachments_are_told_as_they_are() -> None:
    """Those of the ENIs that are asked about, and nothing else."""
    mine = {"source": "ec2", "event": "attachment", "eni": "eni-a", "t": 1.0}
    others = [{**mine, "eni": "eni-b"}, {**mine, "event": "device"}, {**mine, "source": "agent"}]
    assert of_enis([mine, *others], frozenset({"eni-a"})) == [mine]
