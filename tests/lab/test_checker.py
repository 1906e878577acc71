"""The checker: a good run is ok, and each rule has a history that breaks it."""

from dataclasses import replace

import pytest

from lab.run.account import Event
from lab.run.checker import check
from lab.run.verdict import Expectation
from tests.lab.histories import (
    ADDRESS,
    ALLOCATION,
    BEGUN,
    CARRIED,
    CUT,
    ENI_A,
    ENI_B,
    FAILOVER,
    FIRST,
    LOST,
    MOVED,
    WELL,
    A,
    B,
    address,
    associated,
    attachment,
    attack,
    attempts,
    call,
    device,
    ended,
    log,
    nemesis,
    pod,
    takeover,
    usage,
)

BARE = Expectation(scenario="x", ec2="instant", address=ADDRESS)
EXPECTED = replace(
    BARE, ec2="typical", max_outage_s=10.0, max_detection_s=2.0, max_overhead_s=0.5, min_moves=1, max_moves=1
)
QUIET = replace(BARE, max_outage_s=0.0, max_moves=0)
AMONG_ENIS = replace(EXPECTED, carry="address", max_outage_s=3.0)
QUIET_ENIS = replace(QUIET, carry="address")
ELASTIC = replace(AMONG_ENIS, address=ALLOCATION)
WORDS, FLOOD = replace(QUIET, attacked="words"), replace(QUIET, attacked="flood")
ONCE = replace(QUIET, max_moves=9, max_moves_a_cause=1)


def faults(history: list[Event], expectation: Expectation = EXPECTED) -> str:
    return "; ".join(check(history, expectation).faults)


def test_a_good_failover_is_ok_and_measured() -> None:
    """Outage, detection and EC2's own time, each from its right source."""
    verdict = check([*LOST, *FAILOVER], EXPECTED)
    assert verdict.faults == ()
    assert verdict.ok
    assert verdict.outage_s == pytest.approx(8.2)
    assert verdict.detection_s == pytest.approx(1.5)
    assert verdict.holder == B
    assert verdict.moves == 1
    [move] = verdict.placements
    assert (move.detach, move.idle, move.attach, move.device) == pytest.approx((2.5, 0.1, 3.0, 1.0))
    assert verdict.ec2_s == pytest.approx(6.5)


def test_the_verdict_as_json_has_what_the_issue_asks_for() -> None:
    """The keys that others read."""
    found = check([*LOST, *FAILOVER], replace(EXPECTED, scenario="power-cut")).to_dict()
    said = {"scenario": "power-cut", "carry": "eni", "ec2": "typical", "moves": 1, "verdict": "ok"}
    assert said.items() <= found.items()
    assert found["outage_s"] == 8.2
    assert found["ec2_calls"] == {"AttachNetworkInterface": 1, "DetachNetworkInterface": 1}


def test_an_outage_of_300_ms_is_seen_as_300_ms() -> None:
    """By the attempts' starts, although each failed attempt lasted for a second."""
    verdict = check([*attempts((5.0, 5.3)), *FIRST], QUIET)
    assert verdict.outage_s == pytest.approx(0.3, abs=0.021)
    assert "an outage of 0.30 s, at most 0 s is allowed" in verdict.faults


def test_two_outages_are_not_one() -> None:
    """The longest counts, and both add up."""
    history = [{**event, "ok": False} if 8.0 <= event["started"] < 8.1 else event for event in attempts((5.0, 5.3))]
    verdict = check([*history, *FIRST], QUIET)
    assert verdict.outage_s == pytest.approx(0.3, abs=0.021)
    assert verdict.total_outage_s == pytest.approx(0.4, abs=0.041)


def test_the_client_that_fared_worse_counts() -> None:
    """An outage that only the outside client saw is an outage."""
    verdict = check([*WELL, *attempts((5.0, 6.0), client="out"), *FIRST], QUIET)
    assert verdict.outage_s == pytest.approx(1.0, abs=0.021)


def test_what_was_lost_while_a_scenario_was_made_does_not_count() -> None:
    """The clients measure from when it was."""
    history = attempts((3.0, 5.0))
    assert "an outage" in faults(history, replace(QUIET, carry="address"))
    assert "an outage" not in faults(history, replace(QUIET, carry="address", measured_since=6.0))


def test_a_claim_is_a_detection_too() -> None:
    """EC2 took the interface away itself, as with a terminated instance: there is nothing to detach."""
    claim = log(12.6, "event=claim", event="claim", time="1970-01-01T00:00:11.000Z")
    history = [claim if event["event"] == "log" else event for event in FAILOVER]
    assert check([*WELL, *history], QUIET).detection_s == pytest.approx(1.0)


def test_attaching_to_the_same_instance_again_is_no_move() -> None:
    """The interface came back to where it was; EC2's time for it is known all the same."""
    again = [
        *FIRST,
        call(5.0, "DetachNetworkInterface", caller="nemesis", AttachmentId="eni-attach-1"),
        attachment(6.0, "eni-attach-1", A, "detached"),
        call(7.0, "AttachNetworkInterface", caller=A, NetworkInterfaceId="eni-1"),
        attachment(7.1, "eni-attach-2", A, "attaching"),
        attachment(9.0, "eni-attach-2", A, "attached"),
        device(9.5, A),
    ]
    verdict = check([*WELL, *again], QUIET)
    assert (verdict.moves, verdict.holder, verdict.ok) == (0, A, True)
    assert verdict.ec2_s == pytest.approx(1.0 + 2.0 + 0.5)
    assert verdict.ec2_calls == {"AttachNetworkInterface": 1}, "the nemesis' own call is not the agents'"


def test_a_moved_address_is_a_failover_of_one_call() -> None:
    """EC2's time is that from the call until the address was assigned; the ENIs stay attached all the while."""
    standing = [attachment(0.5, "eni-attach-7", A, "attached", eni=ENI_A, address="10.0.0.40")]
    verdict = check([*attempts((CUT, 12.7)), *standing, *MOVED], AMONG_ENIS)
    assert verdict.faults == ()
    assert (verdict.carry, verdict.holder, verdict.moves) == ("address", B, 1)
    assert verdict.detection_s == pytest.approx(1.4)
    [move] = verdict.placements
    assert (move.source, move.target) == (A, B)
    assert (move.detach, move.idle, move.attach, move.device) == pytest.approx((0.0, 0.0, 1.2, 0.0))
    assert verdict.ec2_s == pytest.approx(1.2)
    assert verdict.ec2_calls == {"AssignPrivateIpAddresses": 1}


def test_a_moved_ipv6_address_has_a_fence_and_a_claim() -> None:
    """EC2 takes its time for each; what lies between them is the agent's."""
    history = [
        *CARRIED,
        call(11.4, "UnassignIpv6Addresses", NetworkInterfaceId=ENI_A),
        address(12.0, ENI_A, "unassigned"),
        call(12.3, "AssignIpv6Addresses", NetworkInterfaceId=ENI_B),
        address(12.3, ENI_B, "assigning"),
        address(13.5, ENI_B, "assigned"),
    ]
    [move] = check([*WELL, *history], AMONG_ENIS).placements
    assert (move.detach, move.idle, move.attach) == pytest.approx((0.6, 0.3, 1.2))


def test_an_elastic_ip_is_where_its_private_address_is() -> None:
    """That is what moves, and what its clients' public address is not."""
    history = [associated(0.5, ENI_A, "10.0.0.100"), *MOVED]
    verdict = check([*attempts((CUT, 12.7)), *history], ELASTIC)
    assert (verdict.faults, verdict.moves, verdict.holder) == ((), 1, B)
    another = associated(0.5, ENI_A, "10.0.0.100", "eipalloc-2")
    assert "nobody holds" in faults([*attempts((CUT, 12.7)), another, *MOVED], ELASTIC)


def test_an_elastic_ip_whose_private_address_went_with_its_eni_is_at_the_next_one() -> None:
    """EC2 chooses another address: that it is on another ENI is one move, and nobody had both."""
    made_anew = [
        address(CUT + 0.2, ENI_A, "unassigned"),
        address(CUT + 0.4, ENI_B, "assigning", of="10.0.0.7"),
        address(CUT + 1.6, ENI_B, "assigned", of="10.0.0.7"),
        associated(CUT + 1.7, ENI_B, "10.0.0.7"),
    ]
    history = [associated(0.5, ENI_A, "10.0.0.100"), *CARRIED, *made_anew]
    expected = replace(ELASTIC, max_detection_s=None, max_overhead_s=None)
    verdict = check([*attempts((CUT, CUT + 1.8)), *history], expected)
    assert (verdict.faults, verdict.moves, verdict.holder) == ((), 1, B)


def test_detection_counts_from_the_blow() -> None:
    """What went before takes its time; a decision of that time is about something else."""
    earlier = takeover(10.5, time="1970-01-01T00:00:10.400Z")
    history = [*LOST, *FAILOVER, earlier, nemesis(11.0, "blow")]
    assert check(history, EXPECTED).detection_s == pytest.approx(0.5)
    assert check([*LOST, *FAILOVER, earlier], EXPECTED).detection_s == pytest.approx(0.4)


def test_asking_ec2_too_often_is_a_fault() -> None:
    """In any minute; Describes of all kinds together, writes each by itself, and each instance for itself."""
    quiet = replace(QUIET, max_calls_a_minute=10)

    kinds = ("DescribeAddresses", "DescribeInstances")
    describes = [call(200.0 - 10 * number, kinds[number % 2]) for number in range(20)]
    assert faults([*BEGUN, *describes], quiet) == ""
    others = [call(100.0 + number, "AssignPrivateIpAddresses", caller=A) for number in range(10)]
    assert faults([*BEGUN, *describes, *others], quiet) == ""
    more = [call(101.0 + number, "DescribeInstances") for number in range(5)]
    said = f"11 Describes within a minute by {B}, at most 10 are allowed"
    assert said in faults([*BEGUN, *describes, *more], quiet)
    one_more = call(110.5, "AssignPrivateIpAddresses", caller=A)
    assert f"11 AssignPrivateIpAddresses within a minute by {A}" in faults([*BEGUN, *others, one_more], quiet)
    assert faults([*BEGUN, *others, nemesis(100.5, "blow"), one_more], quiet) == ""


def test_a_failover_that_was_refused_beforehand_is_none_that_was_promised() -> None:
    """All other nodes said so before the blow; saying it later, or only on the node that died, is too late."""
    excused = replace(EXPECTED, refusal_excuses=True)
    history = [
        *attempts((CUT, 31.0)),
        *FIRST,
        pod(3.0, "worker-a", "ready"),
        pod(3.0, "worker-b", "ready"),
        nemesis(CUT, "blow"),
    ]
    assert faults([*history, pod(9.0, "worker-b", "not ready")], excused) == ""
    for event in (pod(11.0, "worker-b", "not ready"), pod(9.0, "worker-a", "not ready")):
        found = faults([*history, event], excused)
        assert "unfinished" in found
        assert "0 moves, at least 1 were expected" in found
    assert "unfinished" in faults([*history, pod(9.0, "worker-b", "not ready")], EXPECTED)


def but(history: list[Event], gone: str, *instead: Event) -> list[Event]:
    """The same history with this, or nothing, in the place of an event."""
    return [each for event in history for each in (instead if event["event"] == gone else [event])]


SECOND = [attachment(5.0, "eni-attach-2", B, "attaching", eni="eni-2"), attachment(6.0, "eni-attach-2", B, "attached")]
BESIDE = [address(5.0, ENI_B, "assigning"), address(6.0, ENI_B, "assigned")]
STOLEN = [
    call(13.0, "AssignPrivateIpAddresses", caller=A, NetworkInterfaceId=ENI_A, AllowReassignment="true"),
    address(13.0, ENI_A, "assigning"),
    address(14.2, ENI_B, "unassigned"),
    address(14.2, ENI_A, "assigned"),
]
ABSENT = [event for event in WELL if not 5.0 < event["started"] < 6.0]
LEFT = {"t": 29.0, "source": "lab", "event": "leftover", "what": "rule 900 on worker-a"}
NOBODY, EXPLAINED = "nobody attacked", "of which detection and EC2 explain"

FAULTY: dict[str, tuple[list[Event], Expectation, str]] = {
    "an outage that does not end, though no bound was given": ([*attempts((25.0, 31.0)), *FIRST], BARE, "unfinished"),
    "nobody looked": (FIRST, QUIET, "no client measured anything"),
    "everything failed, from the beginning": ([*attempts((0.0, 31.0)), *FIRST], EXPECTED, "never got an answer"),
    "a client that stood still": ([*ABSENT, *FIRST], QUIET, "itself stood still for 1.00 s"),
    "a detection that is slow by the agent's own time, not by when its line was read": (
        [*LOST, *but(FAILOVER, "log", takeover(12.6, time="1970-01-01T00:00:12.500Z"))],
        EXPECTED,
        "detection took 2.50 s",
    ),
    "a takeover that nobody logged": ([*LOST, *but(FAILOVER, "log")], EXPECTED, "no agent logged a takeover"),
    "0.6 s beyond 1.5 s and 6.5 s": ([*attempts((CUT, 18.6)), *FAILOVER], EXPECTED, f"{EXPLAINED} 8.00 s"),
    "a move for which there was no reason": ([*WELL, *FAILOVER], QUIET, "1 moves, at most 0 are allowed"),
    "a power cut that moves nothing": ([*BEGUN], EXPECTED, "0 moves, at least 1 were expected"),
    "a second attachment before the first ends": (
        [*BEGUN, *SECOND, attachment(7.0, "eni-attach-1", A, "detached")],
        EXPECTED,
        "two holders",
    ),
    "a second attachment, and the first never ends": ([*BEGUN, *SECOND], EXPECTED, "two holders"),
    "an attachment that ends for good": (
        [*BEGUN, attachment(28.0, "eni-attach-1", A, "detached")],
        QUIET,
        "nobody holds",
    ),
    "something left behind": ([*BEGUN, LEFT], QUIET, "left behind: rule 900 on worker-a"),
    "a traceback": ([*BEGUN, log(5.0, "Traceback (most recent call last):")], QUIET, "a traceback in floating-ip-b"),
    "an agent that crashed": ([*BEGUN, ended(5.0, "exited", 1)], QUIET, "ended by itself"),
    "an agent whose liveness probe failed": ([*BEGUN, ended(5.0, "unhealthy", 1)], QUIET, "ended by itself"),
    "memory that grows under attack": ([*BEGUN, attack(words=100), usage(memory=140_000)], WORDS, "136 MiB"),
    "threads that grow": ([*BEGUN, attack(words=100), usage(threads=17)], WORDS, "17 threads, in peace 8"),
    "files that grow": ([*BEGUN, attack(words=100), usage(files=53)], WORDS, "53 files"),
    "an attack that did not take place": ([*BEGUN, usage()], WORDS, NOBODY),
    "an attack that did nothing": ([*BEGUN, attack(), usage()], WORDS, NOBODY),
    "an attack of another kind": ([*BEGUN, attack("flood", words=100), usage()], WORDS, NOBODY),
    "an attack whose cost was not measured": ([*BEGUN, attack(words=100)], WORDS, "measured"),
    "a flood of too few connects": (
        [*BEGUN, attack("flood", connects=39_999), usage()],
        FLOOD,
        "connects of at least 40000",
    ),
    "a flood of no connects": ([*BEGUN, attack("flood", slow=200), usage()], FLOOD, "connects of at least 40000"),
    "0.6 s beyond the 1.4 s and 1.2 s of a moved address": (
        [*attempts((CUT, CUT + 3.2)), *MOVED],
        replace(AMONG_ENIS, max_outage_s=10.0),
        f"{EXPLAINED} 2.60 s",
    ),
    "an address on two ENIs for a while": (
        [*WELL, *CARRIED, *BESIDE, address(7.0, ENI_A, "unassigned")],
        AMONG_ENIS,
        "two holders",
    ),
    "an address on two ENIs for ever": ([*WELL, *CARRIED, *BESIDE], AMONG_ENIS, "two holders"),
    "an outage after a move that does not end": ([*attempts((CUT, 31.0)), *MOVED], AMONG_ENIS, "unfinished"),
    "two standbys that take the address from each other": (
        [*attempts((CUT, 12.7)), *MOVED, *STOLEN],
        AMONG_ENIS,
        "2 moves, at most 1 are allowed",
    ),
    "an address that is taken away and never assigned again": (
        [*WELL, *CARRIED, address(28.0, ENI_A, "unassigned")],
        QUIET_ENIS,
        "nobody holds",
    ),
    "a rule that takes the address twice": (
        [*BEGUN, takeover(5.0, rule="R3"), takeover(25.0, rule="R3")],
        ONCE,
        "2 takeovers by R3, at most 1 are allowed for one cause",
    ),
}

SOUND: dict[str, tuple[list[Event], Expectation]] = {
    "another address is held elsewhere": (
        [*BEGUN, attachment(5.0, "eni-attach-9", B, "attached", address="10.0.0.101", eni="eni-9")],
        QUIET,
    ),
    "what a dead node could not clean up is allowed": (
        [*BEGUN, LEFT],
        replace(BARE, allowed_leftovers=frozenset({"rule 900 on worker-a"})),
    ),
    "an init container is done": ([*BEGUN, ended(5.0, "completed", 0)], QUIET),
    "a pod was deleted": ([*BEGUN, ended(5.0, "stopped", 0)], QUIET),
    "a node is dead": ([*BEGUN, ended(5.0, "node-lost", 0)], QUIET),
    "an attack costs a few threads for questions to EC2, and some connections": (
        [*BEGUN, attack(words=100), usage(threads=11, files=30)],
        WORDS,
    ),
    "a flood has its connects": ([*BEGUN, attack("flood", connects=40_000), usage()], FLOOD),
    "0.4 s beyond the 1.4 s and 1.2 s of a moved address": ([*attempts((CUT, CUT + 3.0)), *MOVED], AMONG_ENIS),
    "another address moves from the same standing ENI": (
        [
            *(*WELL, *CARRIED, address(3.0, ENI_A, "assigned", of="10.0.0.101")),
            *(address(5.0, ENI_A, "unassigned", of="10.0.0.101"), address(5.0, ENI_B, "assigned", of="10.0.0.101")),
        ],
        QUIET_ENIS,
    ),
    "two rules take it, once each": ([*BEGUN, takeover(5.0, rule="R3"), takeover(6.0, rule="R7")], ONCE),
    "a rule takes two addresses, once each": (
        [*(*BEGUN, takeover(5.0, rule="R3", address=ADDRESS)), takeover(6.0, rule="R3", address="10.0.0.101")],
        ONCE,
    ),
}


@pytest.mark.parametrize(("history", "expectation", "said"), FAULTY.values(), ids=FAULTY)
def test_what_is_wrong_with_a_run_is_a_fault(history: list[Event], expectation: Expectation, said: str) -> None:
    assert said in faults(history, expectation)


@pytest.mark.parametrize(("history", "expectation"), SOUND.values(), ids=SOUND)
def test_what_must_be_so_is_no_fault(history: list[Event], expectation: Expectation) -> None:
    assert faults(history, expectation) == ""
