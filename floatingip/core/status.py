"""
`/v1/status`: make a report (report.py) of an observer's snapshot, and convert it to JSON and back.

What comes from another node is a valid report or counts as none: an answer of another form, length or depth says
nothing.  A report names its instance; the asker has to make sure that it comes from there.  Texts that are too long are
cut before they are sent, so that no report is refused for its length.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

from floatingip import __version__
from floatingip.core.bounded_json import as_count, as_flag, as_list, as_number, as_object, as_text, read_json
from floatingip.core.health import HealthState
from floatingip.core.move import NOBODY, SHOWN_AT_MOST, Move, Result
from floatingip.core.report import AddressReport, HealthReport, OrderReport, PeerReport, Report
from floatingip.core.snapshot import AddressSnapshot, PeerSnapshot, Snapshot
from floatingip.core.word import NAME_LONGEST, PEERS_AT_MOST, SENTENCE_LONGEST, is_instance_id, shortened

LONGEST = 1_048_576
"""Bytes of a report, at most: more than 127 addresses and 16 peers need; a longer one is sent without its details."""

ADDRESSES_AT_MOST = 256
FEW = 16
"""Entries, at most, of the short lists: NodePorts, phases, sentences."""

WHY_LONGEST = 200
"""Characters, at most, of a reason that a peer gave and this observer passes on."""

DEEPEST = 12
"""Levels of nesting in a report, at most.  Ours has six (report, addresses, address, moves, move, seconds); a newer
version's may have more.
"""

RECENT = 600.0
"""Seconds up to now in which moves are counted."""

T = TypeVar("T")

_HEALTH = {HealthState.UP: HealthReport.UP, HealthState.DOWN: HealthReport.DOWN, HealthState.INIT: HealthReport.UNKNOWN}
_RESULTS = {
    Result.MOVED: "done",
    Result.SEEN: "seen",
    Result.LOST_RACE: "lost-race",
    Result.KEPT: "not-moved",
    Result.FAILED: "not-moved",
}
_RESULTS_READ = {told: result for result, told in _RESULTS.items()}
_ANSWERS = {HealthState.UP: True, HealthState.DOWN: False, HealthState.INIT: None}


def of(snapshot: Snapshot, now: float) -> Report:
    """What the observer reports at ``now``, which is by its own clock."""
    wall = snapshot.wall + now - snapshot.alive_at
    stalled = snapshot.not_live(now)
    unknown = [problem for problem in (stalled, *snapshot.unknown) if problem]
    return Report(
        time=round(wall, 3),
        instance=snapshot.status.instance_id,
        version=__version__,
        name=snapshot.status.name,
        carry=snapshot.carry,
        node=snapshot.node,
        node_address=str(snapshot.address or ""),
        starting=snapshot.starting,
        leaving=shortened(snapshot.leaving),
        free_slots=snapshot.free_slots(),
        answer_age=_age(snapshot.answered_at, now),
        ec2_problem=shortened(snapshot.unanswered),
        unknown=tuple(map(shortened, unknown[:FEW])),
        addresses=tuple(
            _address(each, snapshot, stalled, now, wall) for each in snapshot.addresses[:ADDRESSES_AT_MOST]
        ),
        peers=tuple(_peer(each, now) for each in snapshot.peers[:PEERS_AT_MOST]),
    )


def _address(each: AddressSnapshot, snapshot: Snapshot, stalled: str, now: float, wall: float) -> AddressReport:
    leaving = f"its node is about to end: {snapshot.leaving}" if snapshot.leaving else ""
    health = HealthReport.UNPROBED if each.is_holder else HealthReport.UNKNOWN if each.blind else _HEALTH[each.health]
    recent = [move for move in each.moves if move.happened and wall - move.began_at <= RECENT]
    return AddressReport(
        address=each.target,
        holder=each.holder,
        since=_rounded(each.since_wall),
        since_at_least=each.since_at_least,
        answer_age=_age(each.asked_at, now),
        state=each.state,
        rule=each.rule,
        reason=each.reason,
        sentence=shortened(each.sentence),
        health=health,
        down_since=_rounded(each.down_since_wall),
        round_trip=_rounded(each.round_trip, 6) if health is HealthReport.UP else None,
        node_ports={str(port): _ANSWERS[state] for port, state in each.node_ports.items()},
        word="" if each.is_holder else each.word,
        problem=shortened(stalled or each.not_ready) if each.is_holder else "",
        why_not="" if each.is_holder else shortened(stalled or each.not_ready or leaving),
        unready_since=_rounded(each.unready_since_wall),
        order=each.order,
        moves=each.moves[-SHOWN_AT_MOST:],
        moves_in_ten_minutes=len(recent),
        rationed_until=_rounded(each.rationed_until_wall) if each.rationed_until_wall > wall else None,
        paused_until=_rounded(each.paused_until_wall) if each.paused_until_wall > wall else None,
    )


def _peer(each: PeerSnapshot, now: float) -> PeerReport:
    status, report = each.status, each.report
    lacking = [each for each in report.addresses if each.why_not] if report is not None else []
    return PeerReport(
        instance=each.instance_id,
        node=(report.node if report is not None else "") or each.node,
        address=str(each.address),
        heard_age=_age(each.heard_at, now),
        silent=each.is_silent,
        leaving=status is not None and status.leaving,
        free_slots=status.free_slots if status is not None else None,
        why_not={each.address: shortened(each.why_not, WHY_LONGEST) for each in lacking},
    )


def _age(at: float | None, now: float) -> float | None:
    return None if at is None else round(max(0.0, now - at), 1)


def _rounded(seconds: float | None, digits: int = 3) -> float | None:
    return None if seconds is None else round(seconds, digits)


# JSON.


def to_json(report: Report) -> str:
    """The report as JSON."""
    text = json.dumps(_document(report))
    if len(text) <= LONGEST:
        return text
    addresses = tuple(replace(each, moves=each.moves[-1:]) for each in report.addresses)
    peers = tuple(replace(each, why_not={}) for each in report.peers)
    return json.dumps(_document(replace(report, addresses=addresses, peers=peers)))


def _document(report: Report) -> dict[str, object]:
    addresses = [{**asdict(each), "moves": [move_document(move) for move in each.moves]} for each in report.addresses]
    return {**asdict(report), "addresses": addresses}


def move_document(move: Move) -> dict[str, object]:
    """A move, as a report tells it."""
    return {
        "at": round(move.began_at, 3),
        "rule": move.rule,
        "source": move.source or NOBODY,
        "to": move.to,
        "result": _RESULTS[move.result],
        "seconds": {phase: round(span, 3) for phase, span in move.seconds.items()},
    }


def parse(body: bytes) -> Report | None:
    """The report in an answer's body; None if the body is no valid report."""
    try:
        return _report(_object(read_json(body, depth=DEEPEST)))
    except (ValueError, KeyError):
        return None


def _report(told: Mapping[str, Any]) -> Report:
    instance = _name(told["instance"])
    if not is_instance_id(instance):
        raise ValueError("no instance id")
    return Report(
        time=as_number(told["time"]),
        instance=instance,
        version=_name(told["version"]),
        name=_name(told["name"]),
        carry=_name(told["carry"]),
        node=_sentence(told["node"]),
        node_address=_name(told["node_address"]),
        starting=as_flag(told["starting"]),
        leaving=_sentence(told["leaving"]),
        free_slots=_maybe(_count, told["free_slots"]),
        answer_age=_maybe(as_number, told["answer_age"]),
        ec2_problem=_sentence(told["ec2_problem"]),
        unknown=as_list(told["unknown"], _sentence, FEW),
        addresses=as_list(told["addresses"], _read_address, ADDRESSES_AT_MOST),
        peers=as_list(told["peers"], _read_peer, PEERS_AT_MOST),
    )


def _read_address(value: object) -> AddressReport:
    told = _object(value)
    address = _name(told["address"])
    return AddressReport(
        address=address,
        holder=_name(told["holder"]),
        since=_maybe(as_number, told["since"]),
        since_at_least=as_flag(told["since_at_least"]),
        answer_age=_maybe(as_number, told["answer_age"]),
        state=_name(told["state"]),
        rule=_name(told["rule"]),
        reason=_name(told["reason"]),
        sentence=_sentence(told["sentence"]),
        health=_read_health(told["health"]),
        down_since=_maybe(as_number, told.get("down_since")),
        round_trip=_maybe(as_number, told["round_trip"]),
        node_ports={port: _maybe(as_flag, answers) for port, answers in _object(told["node_ports"], FEW).items()},
        word=_name(told["word"]),
        problem=_sentence(told["problem"]),
        why_not=_sentence(told["why_not"]),
        unready_since=_maybe(as_number, told.get("unready_since")),
        order=_maybe(_read_order, told["order"]),
        moves=tuple(filter(None, as_list(told["moves"], lambda move: _read_move(address, move), SHOWN_AT_MOST))),
        moves_in_ten_minutes=_count(told["moves_in_ten_minutes"]),
        rationed_until=_maybe(as_number, told["rationed_until"]),
        paused_until=_maybe(as_number, told.get("paused_until")),
    )


def _read_order(value: object) -> OrderReport:
    told = _object(value)
    return OrderReport(_name(told["to"]), as_number(told["until"]))


def _read_health(value: object) -> HealthReport:
    """The health; UNKNOWN for a value that only a newer version has."""
    said = _name(value)
    return HealthReport(said) if said in tuple(HealthReport) else HealthReport.UNKNOWN


def _read_move(address: str, value: object) -> Move | None:
    """The move; None for a result that only a newer version has."""
    told = _object(value)
    result = _RESULTS_READ.get(_name(told["result"]))
    if result is None:
        return None
    seconds = {phase: as_number(span) for phase, span in _object(told["seconds"], FEW).items()}
    began_at, source = as_number(told["at"]), _name(told["source"])
    return Move(
        id="",
        began_at=began_at,
        ended_at=began_at + seconds.get("duration", 0.0),
        address=address,
        rule=_name(told["rule"]),
        why="",
        source="" if source == NOBODY else source,
        to=_name(told["to"]),
        result=result,
        seconds=seconds,
    )


def _read_peer(value: object) -> PeerReport:
    told = _object(value)
    return PeerReport(
        instance=_name(told["instance"]),
        node=_sentence(told["node"]),
        address=_name(told["address"]),
        heard_age=_maybe(as_number, told["heard_age"]),
        silent=as_flag(told["silent"]),
        leaving=as_flag(told["leaving"]),
        free_slots=_maybe(_count, told["free_slots"]),
        why_not={address: _sentence(why) for address, why in _object(told["why_not"]).items()},
    )


def _maybe(one: Callable[[object], T], value: object) -> T | None:
    return None if value is None else one(value)


def _object(value: object, most: int = ADDRESSES_AT_MOST) -> Mapping[str, Any]:
    return as_object(value, most=most, longest_key=NAME_LONGEST)


def _name(value: object) -> str:
    return as_text(value, NAME_LONGEST)


def _sentence(value: object) -> str:
    return as_text(value, SENTENCE_LONGEST)


def _count(value: object) -> int:
    return as_count(value, ADDRESSES_AT_MOST)
