"""The checker: a good run is ok, and each rule has a history that breaks it."""

from dataclasses import replace
from typing import Any

import pytest

from lab.run.account import Event
from lab.run.checker import check
from lab.run.verdict import Expectation

ADDRESS = "10.0.0.100"
A, B = "i-aaaa", "i-bbbb"
CUT = 10.0
"""When the power is cut."""


def attempts(
    down: tuple[float, float] | None = None, *, client: str = "in", until: float = 30.0, pause: float = 0.02
) -> list[Event]:
    """A client's attempts every `pause` seconds from 0; those that start in [down) fail after a second."""
    events: list[Event] = []
    for number in range(int(until / pause)):
        started = number * pause
        ok = down is None or not down[0] <= started < down[1]
        outcome = {"ok": ok, "error": None if ok else "timeout", "answer": "worker-a" if ok else None}
        took = 0.001 if ok else 1.0
        events.append(
            {
                "t": started + took,
                "source": "client",
                "event": "attempt",
                "client": client,
                "started": started,
                **outcome,
            }
        )
    return events


def attachment(t: float, name: str, instance: str, status: str, **more: Any) -> Event:
    """EC2's record of one step of an attachment."""
    common = {"source": "ec2", "event": "attachment", "eni": "eni-1", "address": ADDRESS, "forced": False}
    return {**common, "t": t, "attachment": name, "instance": instance, "status": status, **more}


def call(t: float, action: str, caller: str = B, **parameters: str) -> Event:
    """EC2's record of one call, which took 10 ms."""
    common = {"source": "ec2", "event": "call", "error": None}
    return {**common, "t": t + 0.01, "began": t, "action": action, "caller": caller, "params": parameters}


def device(t: float, instance: str, status: str = "visible") -> Event:
    """EC2's record of a device that came or went."""
    return {"t": t, "source": "ec2", "event": "device", "eni": "eni-1", "instance": instance, "status": status}


def log(t: float, line: str, **fields: str) -> Event:
    """A line of an observer."""
    common = {"source": "agent", "event": "log", "pod": "floating-ip-b", "node": "worker-b", "container": "observer"}
    return {**common, "t": t, "line": line, "fields": fields}


def ended(t: float, reason: str, code: int) -> Event:
    """The kubelet's record of a container's end."""
    common = {"source": "kubelet", "event": "exit", "pod": "floating-ip-b", "node": "worker-b", "container": "observer"}
    return {**common, "t": t, "reason": reason, "code": code}


FIRST = [
    attachment(1.0, "eni-attach-1", A, "attaching"),
    attachment(2.0, "eni-attach-1", A, "attached"),
    device(2.1, A),
]

FAILOVER = [
    *FIRST,
    {"t": CUT, "source": "nemesis", "event": "begin", "name": "power-cut", "target": "worker-a"},
    log(11.9, "event=takeover", event="takeover", time="1970-01-01T00:00:11.500Z"),
    call(11.5, "DetachNetworkInterface", AttachmentId="eni-attach-1"),
    attachment(11.51, "eni-attach-1", A, "detaching"),
    attachment(14.0, "eni-attach-1", A, "detached"),
    call(14.1, "AttachNetworkInterface", NetworkInterfaceId="eni-1"),
    attachment(14.11, "eni-attach-2", B, "attaching"),
    attachment(17.1, "eni-attach-2", B, "attached"),
    device(18.1, B),
    {"t": 20.0, "source": "nemesis", "event": "end", "name": "power-cut", "target": "worker-a"},
]
"""A power cut at 10: detected after 1.5 s; EC2 takes 2.5 s to detach, 3 s to attach, 1 s to show the device."""

EXPECTED = Expectation(
    scenario="power-cut",
    ec2="typical",
    address=ADDRESS,
    max_outage_s=10.0,
    max_detection_s=2.0,
    max_overhead_s=0.5,
    min_moves=1,
    max_moves=1,
)
QUIET = Expectation(scenario="pod-delete", ec2="instant", address=ADDRESS, max_outage_s=0.0, max_moves=0)


def faults(history: list[Event], expectation: Expectation = EXPECTED) -> str:
    """What is wrong with a run, as one text."""
    return "; ".join(check(history, expectation).faults)


def test_a_good_failover_is_ok_and_measured() -> None:
    """Outage, detection and EC2's own time, each from its right source."""
    verdict = check([*attempts((CUT, 18.2)), *FAILOVER], EXPECTED)
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
    found = check([*attempts((CUT, 18.2)), *FAILOVER], EXPECTED).to_dict()
    assert {
        "scenario": "power-cut",
        "carry": "eni",
        "ec2": "typical",
        "moves": 1,
        "verdict": "ok",
    }.items() <= found.items()
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
    verdict = check([*attempts(), *attempts((5.0, 6.0), client="out"), *FIRST], QUIET)
    assert verdict.outage_s == pytest.approx(1.0, abs=0.021)


def test_what_was_lost_while_a_scenario_was_made_does_not_count() -> None:
    """The clients measure from when it was."""
    history = attempts((3.0, 5.0))
    assert "an outage" in faults(history, replace(QUIET, carry="address"))
    assert "an outage" not in faults(history, replace(QUIET, carry="address", measured_since=6.0))


def test_an_outage_that_does_not_end_is_a_fault() -> None:
    """Also where no bound was given."""
    bare = Expectation(scenario="x", ec2="instant", address=ADDRESS)
    assert "unfinished" in faults([*attempts((25.0, 31.0)), *FIRST], bare)


def test_a_run_without_a_client_is_a_fault() -> None:
    """Nobody looked."""
    assert "no client measured anything" in faults(FIRST, QUIET)


def test_a_client_that_never_got_an_answer_is_a_fault() -> None:
    """Everything failed, from the beginning."""
    assert "never got an answer" in faults([*attempts((0.0, 31.0)), *FIRST])


def test_a_client_that_stood_still_is_a_fault() -> None:
    """An outage during its absence would not have been seen."""
    history = [event for event in attempts() if not 5.0 < event["started"] < 6.0]
    assert "itself stood still for 1.00 s" in faults([*history, *FIRST], QUIET)


def test_slow_detection_is_a_fault() -> None:
    """By the time in the agent's line, not by when it was read."""
    decision = log(12.6, "event=takeover", event="takeover", time="1970-01-01T00:00:12.500Z")
    late = [decision if event["event"] == "log" else event for event in FAILOVER]
    assert "detection took 2.50 s" in faults([*attempts((CUT, 18.2)), *late])


def test_a_claim_is_a_detection_too() -> None:
    """EC2 took the interface away itself, as with a terminated instance: there is nothing to detach."""
    claim = log(12.6, "event=claim", event="claim", time="1970-01-01T00:00:11.000Z")
    history = [claim if event["event"] == "log" else event for event in FAILOVER]
    assert check([*attempts(), *history], QUIET).detection_s == pytest.approx(1.0)


def test_a_takeover_that_nobody_logged_is_a_fault() -> None:
    """Where detection is bounded, it must be known."""
    silent = [event for event in FAILOVER if event["event"] != "log"]
    assert "no agent logged a takeover" in faults([*attempts((CUT, 18.2)), *silent])


def test_an_outage_beyond_detection_and_ec2_is_a_fault() -> None:
    """1.5 s and 6.5 s explain 8 s; 0.5 s more are allowed."""
    assert "of which detection and EC2 explain 8.00 s" in faults([*attempts((CUT, 18.6)), *FAILOVER])


def test_an_unwanted_move_is_a_fault() -> None:
    """Deleting a pod moves nothing."""
    assert "1 moves, at most 0 are allowed" in faults([*attempts(), *FAILOVER], QUIET)


def test_a_missing_move_is_a_fault() -> None:
    """A power cut that moves nothing cannot be right."""
    assert "0 moves, at least 1 were expected" in faults([*attempts(), *FIRST])


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
    verdict = check([*attempts(), *again], QUIET)
    assert (verdict.moves, verdict.holder, verdict.ok) == (0, A, True)
    assert verdict.ec2_s == pytest.approx(1.0 + 2.0 + 0.5)
    assert verdict.ec2_calls == {"AttachNetworkInterface": 1}, "the nemesis' own call is not the agents'"


def test_two_holders_are_a_fault() -> None:
    """A second attachment began before the first was detached."""
    second = [
        attachment(5.0, "eni-attach-2", B, "attaching", eni="eni-2"),
        attachment(6.0, "eni-attach-2", B, "attached"),
    ]
    first_ends = [attachment(7.0, "eni-attach-1", A, "detached")]
    assert "two holders" in faults([*attempts(), *FIRST, *second, *first_ends])
    assert "two holders" in faults([*attempts(), *FIRST, *second])


def test_another_address_is_no_second_holder() -> None:
    """Only the floating address is judged."""
    other = [attachment(5.0, "eni-attach-9", B, "attached", address="10.0.0.101", eni="eni-9")]
    assert faults([*attempts(), *FIRST, *other], QUIET) == ""


def test_no_holder_at_the_end_is_a_fault() -> None:
    """Detached and never attached again."""
    assert "nobody holds" in faults([*attempts(), *FIRST, attachment(28.0, "eni-attach-1", A, "detached")], QUIET)


def test_a_leftover_is_a_fault_unless_allowed() -> None:
    """What a dead node could not clean up may be allowed by the scenario."""
    history = [*attempts(), *FIRST, {"t": 29.0, "source": "lab", "event": "leftover", "what": "rule 900 on worker-a"}]
    assert "left behind: rule 900 on worker-a" in faults(history, QUIET)
    allowed = Expectation("x", "instant", ADDRESS, allowed_leftovers=frozenset({"rule 900 on worker-a"}))
    assert faults(history, allowed) == ""


def test_a_traceback_is_a_fault() -> None:
    """An agent's error is one line, never a traceback."""
    assert "a traceback in floating-ip-b" in faults(
        [*attempts(), *FIRST, log(5.0, "Traceback (most recent call last):")], QUIET
    )


@pytest.mark.parametrize("reason", ["exited", "unhealthy"])
def test_an_agent_that_ended_by_itself_is_a_fault(reason: str) -> None:
    """Whether it crashed or its liveness probe failed."""
    assert "ended by itself" in faults([*attempts(), *FIRST, ended(5.0, reason, 1)], QUIET)


@pytest.mark.parametrize("reason", ["completed", "stopped", "node-lost"])
def test_an_agent_that_was_ended_is_no_fault(reason: str) -> None:
    """An init container that is done, a deleted pod, a dead node."""
    assert faults([*attempts(), *FIRST, ended(5.0, reason, 0)], QUIET) == ""


PEACE = {"memory": 80_000, "threads": 8, "files": 20}
ATTACK = {"t": 29.0, "source": "lab", "event": "attack", "kind": "words", "did": {"words": 100}}


def usage(**most: int) -> Event:
    """What an observer had at most while it was attacked."""
    return {
        "t": 29.0,
        "source": "lab",
        "event": "usage",
        "node": "worker-b",
        "before": PEACE,
        "most": {**PEACE, **most},
    }


def test_an_attack_that_costs_nothing_is_no_fault() -> None:
    """A thread or two for questions to EC2, a connection or two."""
    attacked = replace(QUIET, attacked="words")
    assert faults([*attempts(), *FIRST, ATTACK, usage(threads=11, files=30)], attacked) == ""


@pytest.mark.parametrize(
    ("most", "said"),
    [({"memory": 140_000}, "136 MiB"), ({"threads": 17}, "17 threads, in peace 8"), ({"files": 53}, "53 files")],
)
def test_an_observer_that_grows_under_attack_is_a_fault(most: dict[str, int], said: str) -> None:
    """In memory, threads or files."""
    assert said in faults([*attempts(), *FIRST, ATTACK, usage(**most)], replace(QUIET, attacked="words"))


def test_an_attack_that_did_not_take_place_is_a_fault() -> None:
    """It shows nothing; nor does one whose cost was not measured."""
    attacked = replace(QUIET, attacked="words")
    for events in ([usage()], [{**ATTACK, "did": {}}, usage()], [{**ATTACK, "kind": "flood"}, usage()]):
        assert "nobody attacked" in faults([*attempts(), *FIRST, *events], attacked)
    assert "measured" in faults([*attempts(), *FIRST, ATTACK], attacked)


def test_a_flood_of_too_few_connects_is_a_fault() -> None:
    """The observers may not have been busy with it when it mattered."""
    flood = {**ATTACK, "kind": "flood"}
    attacked = replace(QUIET, attacked="flood")
    assert faults([*attempts(), *FIRST, {**flood, "did": {"connects": 40_000}}, usage()], attacked) == ""
    for did in ({"connects": 39_999}, {"slow": 200}):
        assert "connects of at least 40000" in faults([*attempts(), *FIRST, {**flood, "did": did}, usage()], attacked)


ENI_A, ENI_B = "eni-standing-a", "eni-standing-b"


def address(t: float, eni: str, status: str, *, of: str = ADDRESS) -> Event:
    """EC2's record of one step of an address that moves between standing ENIs."""
    instance = {ENI_A: A, ENI_B: B}[eni]
    common = {"source": "ec2", "event": "address", "address": of, "eni": eni, "instance": instance}
    return {**common, "t": t, "status": status}


CARRIED = [address(1.0, ENI_A, "assigning"), address(2.0, ENI_A, "assigned")]

MOVED = [
    *CARRIED,
    {"t": CUT, "source": "nemesis", "event": "begin", "name": "power-cut", "target": "worker-a"},
    log(11.9, "event=takeover", event="takeover", time="1970-01-01T00:00:11.400Z"),
    call(11.4, "AssignPrivateIpAddresses", NetworkInterfaceId=ENI_B, AllowReassignment="true"),
    address(11.4, ENI_B, "assigning"),
    address(12.6, ENI_A, "unassigned"),
    address(12.6, ENI_B, "assigned"),
    {"t": 20.0, "source": "nemesis", "event": "end", "name": "power-cut", "target": "worker-a"},
]
"""The same power cut with `carry: address`: detected after 1.4 s, moved by one call that takes EC2 1.2 s."""

AMONG_ENIS = replace(EXPECTED, carry="address", max_outage_s=3.0)


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
    [move] = check([*attempts(), *history], AMONG_ENIS).placements
    assert (move.detach, move.idle, move.attach) == pytest.approx((0.6, 0.3, 1.2))


def test_an_outage_that_a_moved_address_does_not_explain_is_a_fault() -> None:
    """1.4 s and 1.2 s explain 2.6 s; 0.5 s more are allowed."""
    assert faults([*attempts((CUT, CUT + 3.0)), *MOVED], AMONG_ENIS) == ""
    assert "of which detection and EC2 explain 2.60 s" in faults(
        [*attempts((CUT, CUT + 3.2)), *MOVED], replace(AMONG_ENIS, max_outage_s=10.0)
    )


def test_an_address_on_two_enis_is_a_fault() -> None:
    """The second one was given it before the first had lost it; whether it lost it later or never."""
    second = [address(5.0, ENI_B, "assigning"), address(6.0, ENI_B, "assigned")]
    later = [address(7.0, ENI_A, "unassigned")]
    assert "two holders" in faults([*attempts(), *CARRIED, *second], AMONG_ENIS)
    assert "two holders" in faults([*attempts(), *CARRIED, *second, *later], AMONG_ENIS)


def test_an_outage_after_a_move_that_does_not_end_is_a_fault() -> None:
    """EC2 has moved the address, and nobody answers there."""
    assert "unfinished" in faults([*attempts((CUT, 31.0)), *MOVED], AMONG_ENIS)


def test_a_move_too_many_is_a_fault() -> None:
    """Two standbys that take the address from each other, be it without an outage."""
    stolen = [
        call(13.0, "AssignPrivateIpAddresses", caller=A, NetworkInterfaceId=ENI_A, AllowReassignment="true"),
        address(13.0, ENI_A, "assigning"),
        address(14.2, ENI_B, "unassigned"),
        address(14.2, ENI_A, "assigned"),
    ]
    assert "2 moves, at most 1 are allowed" in faults([*attempts((CUT, 12.7)), *MOVED, *stolen], AMONG_ENIS)


def test_an_address_that_nobody_has_at_the_end_is_a_fault() -> None:
    """Unassigned, and never assigned again."""
    fenced = [*CARRIED, address(28.0, ENI_A, "unassigned")]
    assert "nobody holds" in faults([*attempts(), *fenced], replace(QUIET, carry="address"))


ALLOCATION = "eipalloc-1"
ELASTIC = replace(AMONG_ENIS, address=ALLOCATION)


def associated(t: float, eni: str, private: str, allocation: str = ALLOCATION) -> Event:
    """An Elastic IP leads to this private address from now on."""
    return {
        "t": t, "source": "ec2", "event": "association", "allocation": allocation, "eni": eni, "address": private,
        "status": "associated",
    }  # fmt: skip


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


def test_addresses_of_one_standing_eni_are_judged_one_by_one() -> None:
    """Another one that moves from the same ENI is no move of this one."""
    other = [
        address(3.0, ENI_A, "assigned", of="10.0.0.101"),
        address(5.0, ENI_A, "unassigned", of="10.0.0.101"),
        address(5.0, ENI_B, "assigned", of="10.0.0.101"),
    ]
    assert faults([*attempts(), *CARRIED, *other], replace(QUIET, carry="address")) == ""


def blow(t: float) -> Event:
    """The holder dies, after all that led to it."""
    return {"t": t, "source": "nemesis", "event": "blow", "target": "worker-a"}


def test_detection_counts_from_the_blow() -> None:
    """What went before takes its time; a decision of that time is about something else."""
    earlier = log(10.5, "event=takeover", event="takeover", time="1970-01-01T00:00:10.400Z")
    history = [*attempts((CUT, 18.2)), *FAILOVER, earlier, blow(11.0)]
    assert check(history, EXPECTED).detection_s == pytest.approx(0.5)
    assert check([*attempts((CUT, 18.2)), *FAILOVER, earlier], EXPECTED).detection_s == pytest.approx(0.4)


def takeover(t: float, rule: str, **more: str) -> Event:
    """A standby's decision, with the rule that it is by."""
    return log(t, "event=takeover", event="takeover", rule=rule, **more)


def test_two_moves_for_one_cause_are_a_fault() -> None:
    """One rule that takes the address again and again; each rule for itself, and each address."""
    once = replace(QUIET, max_moves=9, max_moves_a_cause=1)
    assert faults([*attempts(), *FIRST, takeover(5.0, "R3"), takeover(6.0, "R7")], once) == ""
    other = takeover(6.0, "R3", address="10.0.0.101")
    assert faults([*attempts(), *FIRST, takeover(5.0, "R3", address=ADDRESS), other], once) == ""
    assert "2 takeovers by R3, at most 1 are allowed for one cause" in faults(
        [*attempts(), *FIRST, takeover(5.0, "R3"), takeover(25.0, "R3")], once
    )


def test_asking_ec2_too_often_is_a_fault() -> None:
    """In any minute; Describes of all kinds together, writes each by itself, and each instance for itself."""
    quiet = replace(QUIET, max_calls_a_minute=10)
    describes = [
        call(200.0 - 10 * number, "DescribeInstances" if number % 2 else "DescribeAddresses") for number in range(20)
    ]
    assert faults([*attempts(), *FIRST, *describes], quiet) == ""
    others = [call(100.0 + number, "AssignPrivateIpAddresses", caller=A) for number in range(10)]
    assert faults([*attempts(), *FIRST, *describes, *others], quiet) == ""
    assert f"11 Describes within a minute by {B}, at most 10 are allowed" in faults(
        [*attempts(), *FIRST, *describes, *(call(101.0 + number, "DescribeInstances") for number in range(5))], quiet
    )
    assert f"11 AssignPrivateIpAddresses within a minute by {A}" in faults(
        [*attempts(), *FIRST, *others, call(110.5, "AssignPrivateIpAddresses", caller=A)], quiet
    )
    struck = {"source": "nemesis", "event": "blow", "target": "worker-a", "t": 100.5}
    assert (
        faults([*attempts(), *FIRST, *others, struck, call(110.5, "AssignPrivateIpAddresses", caller=A)], quiet) == ""
    )


def pod(t: float, node: str, detail: str) -> Event:
    """The kubelet's record of a pod's readiness."""
    common = {"source": "kubelet", "event": "pod", "pod": f"floating-ip-{node}", "node": node, "phase": "Running"}
    return {**common, "t": t, "detail": detail}


def test_a_failover_that_was_refused_beforehand_is_none_that_was_promised() -> None:
    """All other nodes said so before the blow; saying it later, or only on the node that died, is too late."""
    excused = replace(EXPECTED, refusal_excuses=True)
    history = [*attempts((CUT, 31.0)), *FIRST, pod(3.0, "worker-a", "ready"), pod(3.0, "worker-b", "ready"), blow(CUT)]
    assert faults([*history, pod(9.0, "worker-b", "not ready")], excused) == ""
    for event in (pod(11.0, "worker-b", "not ready"), pod(9.0, "worker-a", "not ready")):
        found = faults([*history, event], excused)
        assert "unfinished" in found
        assert "0 moves, at least 1 were expected" in found
    assert "unfinished" in faults([*history, pod(9.0, "worker-b", "not ready")], EXPECTED)
