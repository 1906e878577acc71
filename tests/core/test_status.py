"""`/v1/status`: what a snapshot comes to, that it arrives as it was told, and that whatever else comes is none."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from floatingip.core import status
from floatingip.core.health import HealthState
from floatingip.core.move import Result
from floatingip.core.peer import WordState
from floatingip.core.report import HealthReport, OrderReport, Report
from floatingip.core.snapshot import PeerSnapshot
from floatingip.core.status import LONGEST, move_document, of, parse, to_json
from floatingip.core.word import SENTENCE_LONGEST
from tests.core.snapshots import HELD, NOW, SEEN, TAKEN, TARGET, WALL, WATCHED, A, B, full, holder, standby

DOCUMENT: dict[str, Any] = json.loads(to_json(of(full(), NOW)))


def told(**changes: object) -> bytes:
    """A report with these differences."""
    return json.dumps({**DOCUMENT, **changes}).encode()


def with_address(**changes: object) -> bytes:
    """A report with these differences in its first address."""
    return told(addresses=[{**DOCUMENT["addresses"][0], **changes}])


def test_a_standby_reports_what_it_sees_and_that_it_could_take_over() -> None:
    """Ages by its own clock, times by the wall's."""
    report = of(standby(), NOW + 5.0)
    assert (report.time, report.node, report.node_address, report.answer_age) == (
        WALL + 5.0, "worker-b", "10.0.0.11", 35.0,
    )  # fmt: skip
    (address,) = report.addresses
    assert (address.holder, address.since) == (A, WALL - 111.0)
    assert (address.health, address.round_trip) == (HealthReport.UP, 0.0004)
    assert (address.word, address.why_not, address.problem, address.rationed_until) == ("sound", "", "", None)
    assert (address.node_ports, address.moves_in_ten_minutes) == ({"30007": True}, 1)
    assert [(peer.instance, peer.heard_age, peer.silent) for peer in report.peers] == [(A, 5.3, False)]


def test_a_holder_reports_why_it_does_not_serve_and_nothing_of_taking_over() -> None:
    """It does not probe: it would hear itself."""
    report = of(holder(addresses=(replace(HELD, not_ready="nft is missing"),)), NOW)
    assert [(each.health, each.problem, each.why_not) for each in report.addresses] == [
        (HealthReport.UNPROBED, "nft is missing", "")
    ]


@pytest.mark.parametrize(
    ("snapshot", "why"),
    [
        (standby(replace(WATCHED, not_ready="no free slot")), "no free slot"),
        (standby(leaving="spot"), "its node is about to end: spot"),
    ],
)
def test_a_standby_says_why_it_could_not_take_over(snapshot: Any, why: str) -> None:
    """For the address or for all; its peers hear the same."""
    assert of(snapshot, NOW).addresses[0].why_not == why
    heard = PeerSnapshot(B, standby().peers[0].address, NOW, False, None, of(snapshot, NOW))
    assert of(holder(peers=(heard,)), NOW).peers[0].why_not == {TARGET: why}


def test_another_observer_that_was_never_heard_has_its_node_by_ec2() -> None:
    """What it tells itself counts more."""
    silent = PeerSnapshot(B, standby().peers[0].address, None, True, node="ip-10-0-0-11")
    assert of(holder(peers=(silent,)), NOW).peers[0].node == "ip-10-0-0-11"
    heard = replace(silent, report=of(standby(), NOW))
    assert of(holder(peers=(heard,)), NOW).peers[0].node == "worker-b"


def test_one_that_cannot_probe_knows_nothing_of_the_address() -> None:
    """What it saw before is no health of now."""
    (address,) = of(standby(replace(WATCHED, blind="the address is on lo")), NOW).addresses
    assert (address.health, address.round_trip) == (HealthReport.UNKNOWN, None)


def test_only_moves_that_came_to_be_within_ten_minutes_count() -> None:
    """A race that was lost moved nothing."""
    moves = (replace(TAKEN, began_at=WALL - 601.0), replace(TAKEN, result=Result.LOST_RACE), SEEN)
    assert of(standby(replace(WATCHED, moves=moves)), NOW).addresses[0].moves_in_ten_minutes == 1


def test_a_deciding_thread_that_stands_still_is_no_silent_success() -> None:
    """What is reported is old then, and says so; nobody there takes anything over."""
    said = "the deciding thread was last seen 60 s ago"
    assert said in of(standby(), NOW + 60.0).unknown
    assert of(standby(), NOW + 60.0).addresses[0].why_not == said
    assert of(holder(), NOW + 60.0).addresses[0].problem == said


def test_a_report_arrives_as_it_was_told() -> None:
    """With all that it can have."""
    report = of(full(), NOW)
    assert report.addresses[1].order == OrderReport("*", WALL + 60.0)
    moves = tuple(replace(TAKEN, source="" if result is Result.FAILED else B, result=result) for result in Result)
    report = replace(report, addresses=(replace(report.addresses[0], moves=moves), *report.addresses[1:]))
    read = parse(to_json(report).encode())
    assert read is not None
    assert to_json(read) == to_json(report)
    assert [move.happened for move in read.addresses[0].moves] == [move.happened for move in moves]


def test_a_move_is_told_as_the_document_has_it() -> None:
    """By what programs may rely on, whatever else is known of it."""
    told = move_document(replace(TAKEN, source="", result=Result.KEPT))
    seconds = {"duration": 8.0, "detect": 1.25, "detach": 2.5, "attach": 4.25}
    assert told == {
        "at": WALL - 120.0, "rule": "R3", "source": "none", "to": A, "result": "not-moved", "seconds": seconds
    }  # fmt: skip


def test_a_starting_observer_reports_that() -> None:
    report = of(replace(standby(), addresses=(), peers=(), starting=True, answered_at=None), NOW)
    assert (report.starting, report.answer_age) == (True, None)
    assert parse(to_json(report).encode()) == report


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{}", b'{"ready": true}', b"\xff", b"[" * 100_000, b'{"addresses": ' * 10_000,
        told(instance="worker"), told(instance=7), told(instance="i-x; rm"), told(instance="i-" + "0" * 100),
        told(time="now"), told(time=True), told(name="x" * 129), told(node=["x"]), told(starting="no"),
        told(leaving="x" * 301), told(free_slots=-1), told(free_slots=1.5), told(free_slots=10**9),
        told(answer_age="old"), told(unknown="x"), told(unknown=[7]), told(unknown=["x"] * 17),
        told(addresses={}), told(addresses=[7]), told(addresses=[{}]), told(addresses=DOCUMENT["addresses"] * 200),
        told(peers={}), told(peers=[{}]), told(peers=DOCUMENT["peers"] * 17),
        with_address(health=["up"]), with_address(health=None), with_address(since="long"), with_address(word=7),
        with_address(order={}), with_address(order={"to": 7, "until": 1}), with_address(order={"to": "*"}),
        with_address(node_ports={"1": "yes"}), with_address(node_ports={str(n): True for n in range(17)}),
        with_address(moves=[{}]), with_address(moves=DOCUMENT["addresses"][0]["moves"] * 9),
        with_address(moves=[{**DOCUMENT["addresses"][0]["moves"][0], "result": ["done"]}]),
        with_address(moves=[{**DOCUMENT["addresses"][0]["moves"][0], "seconds": {"x": "y"}}]),
        with_address(sentence={"a": 1}), with_address(round_trip=[]),
        told(time=0).replace(b'"time": 0', b'"time": NaN'), told(time=0).replace(b'"time": 0', b'"time": 1e999'),
        told(name="x").replace(b'"name": "x"', b'"name": "\\ud800"'),
    ],
    ids=lambda body: bytes(body)[:40],
)  # fmt: skip
def test_what_is_no_report_is_none(body: bytes) -> None:
    """Something else listens there, or a peer is not what it was: nothing is raised, nothing is shown."""
    assert parse(body) is None


@pytest.mark.parametrize("missing", sorted(DOCUMENT))
def test_a_report_without_one_of_its_fields_is_none(missing: str) -> None:
    """Of half a report nobody knows what the other half would have said."""
    assert parse(json.dumps({key: value for key, value in DOCUMENT.items() if key != missing}).encode()) is None


def test_what_a_later_version_adds_is_passed_over() -> None:
    """Two versions are there during a rollout."""
    assert parse(told(colour="red")) == parse(told())
    assert parse(told(colour={"of": [{"one": {"that": [{"is": [{"deep": 1}]}]}}]})) == parse(told())


def test_what_only_a_later_version_can_say_of_an_address_hides_nothing_else() -> None:
    """People see the rest of it: the moves that are known, and a health that is not."""
    known = DOCUMENT["addresses"][0]["moves"][0]
    found = parse(with_address(health="fine", moves=[{**known, "result": "won"}, known]))
    before = parse(with_address(moves=[known]))
    assert found is not None
    assert before is not None
    assert before.addresses[0].moves
    assert found.addresses[0] == replace(before.addresses[0], health=HealthReport.UNKNOWN)


def test_as_much_as_an_observer_can_have_to_say_is_a_report() -> None:
    """127 addresses and 16 peers, each with reasons, moves and sentences as long as they may be."""
    long = "x" * 5000
    moves = (replace(TAKEN, source="i-" + "0" * 17, to="i-" + "1" * 17),) * 8
    addresses = tuple(
        replace(
            WATCHED,
            target=f"eipalloc-{n:017x}",
            sentence=long,
            not_ready=long,
            moves=moves,
            node_ports={30000 + port: HealthState.UP for port in range(4)},
            word=WordState.UNSOUND,
        )
        for n in range(127)
    )
    mine = replace(standby(), addresses=addresses, unknown=(long,) * 16, leaving=long, unanswered=long)
    of_peer = of(mine, NOW)
    peers = tuple(replace(standby().peers[0], instance_id=f"i-{n:x}", report=of_peer) for n in range(16))
    text = to_json(of(replace(mine, peers=peers), NOW))
    assert len(text) <= LONGEST
    heard = parse(text.encode())
    assert heard is not None
    assert (len(heard.addresses), len(heard.peers), len(heard.addresses[0].why_not)) == (127, 16, SENTENCE_LONGEST)


def test_a_sentence_that_is_cut_does_not_read_as_a_whole() -> None:
    """What to do stands at its end."""
    long = f"IAM denies {'ec2:Something, ' * 40}; allow it"
    report = of(standby(replace(WATCHED, not_ready=long)), NOW)
    assert report.addresses[0].why_not == f"{long[: SENTENCE_LONGEST - 4]} ..."
    heard = PeerSnapshot(B, standby().peers[0].address, NOW, False, None, report)
    [peer] = of(holder(peers=(heard,)), NOW).peers
    assert peer.why_not[TARGET] == f"{long[: status.WHY_LONGEST - 4]} ..."


def test_a_report_that_would_be_too_long_goes_without_details(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than be refused by who asks."""
    report = of(replace(full(), addresses=(replace(HELD, moves=(TAKEN, SEEN)),)), NOW)
    monkeypatch.setattr(status, "LONGEST", len(to_json(report)) - 1)
    assert [each.moves for each in (parse(to_json(report).encode()) or Report(0.0, "")).addresses] == [(SEEN,)]


def test_every_field_is_told() -> None:
    """The documented names are those of the values."""
    assert DOCUMENT.keys() == asdict(Report(0.0, A)).keys()
