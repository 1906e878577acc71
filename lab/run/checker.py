"""
Judge a run by its history.

Pure: no I/O, no clock; a list of events goes in (history.py), a Verdict comes out.  Every rule that a run can break is
one function below that says what is wrong, in words; a run without any is "ok".

Which timestamps count:

- **Outage**: attempts in the order of their *start*; an outage begins with the start of the first attempt that fails
  and ends with the start of the next one that succeeds.  An attempt that failed ended up to a second later, so ends say
  nothing.  The error is one interval between attempts (20 ms) at either end; a packet that was held back and delivered
  late counts as the success that it was.
- **What EC2 did**: the server's own times.
- **What an agent did**: the time in its log line; when the lab read that line is later, and depends on its load.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from lab.run import attacker, ownership

Event = Mapping[str, Any]

MINUTE = 60.0
MOST_MEMORY = 128 * 1024
"""kB that an observer may have, two thirds of the manifest's limit."""

MORE_THREADS, MORE_FILES = 8, 32
"""What one may have for a failover beyond what it has in peace, whoever attacks: for questions to EC2, above all."""

LEAST = {"flood": {"connects": attacker.CONNECTS}}
"""What an attack must have done of each means, or it was none."""

DECIDED = ("takeover", "claim")
"""The agents' events that begin a move: with a detach first, or without."""


@dataclass(frozen=True)
class Expectation:
    """
    What a scenario must show; None is no demand.  Times in seconds; outages are all of a client's together, so that
    one that is interrupted by a stray answer is no shorter.

    Detection counts from the nemesis' blow, where it tells of one (the death after all that led to it), else from its
    beginning.  `max_overhead_s` bounds the outage beyond detection and EC2's own time; `max_gap_s` is how long the
    client itself may have stood still; `enis` are the interfaces of the address, `carried` is what its holder has on
    the link when all begins, and `clients` those that ask it (none given: whatever shows the address, and all
    clients); without `served` no client is needed; `allowed_leftovers` are the `what` of leftovers that belong to the
    scenario.
    `max_moves_a_cause` bounds the takeovers by one rule, `max_calls_a_minute` what one instance asks of EC2 in any
    minute since the blow: Describes of all kinds together, and writes each by itself.  Where a `refusal_excuses`, a
    failover that does not happen is none that was promised: at the blow no other node's observer was ready.
    What the clients asked before `measured_since` (Unix time) does not count: what the scenario needed was being made.
    `attacked` is the way in which a pod attacks the observers (attacker.py): it must have, and their processes must not
    have grown by it.
    """

    scenario: str
    ec2: str
    address: str
    carry: str = "eni"
    max_outage_s: float | None = None
    max_detection_s: float | None = None
    max_overhead_s: float | None = None
    min_moves: int = 0
    max_moves: int | None = None
    max_moves_a_cause: int | None = None
    max_calls_a_minute: int | None = None
    max_agent_exits: int = 0
    max_gap_s: float = 0.25
    enis: frozenset[str] = frozenset()
    carried: str = ""
    clients: frozenset[str] = frozenset()
    served: bool = True
    refusal_excuses: bool = False
    allowed_leftovers: frozenset[str] = frozenset()
    attacked: str = ""
    measured_since: float = 0.0


@dataclass(frozen=True)
class Outage:
    """A run of failed attempts of one client; `until` is None if it did not end."""

    client: str
    since: float
    until: float | None
    last: float

    @property
    def seconds(self) -> float:
        """From the first failure to the next success; at least so long if there was none."""
        return (self.last if self.until is None else self.until) - self.since


@dataclass(frozen=True)
class Placement:
    """
    One attachment that followed another, and EC2's own time for it, in seconds; a move if the instance is another one.

    `detach` is 0 where nobody asked for one; `idle` lies between detached and the attach call, and is the agent's.
    """

    source: str
    target: str
    detach: float
    idle: float
    attach: float
    device: float

    @property
    def is_move(self) -> bool:
        """The holder changed."""
        return self.source != self.target

    @property
    def ec2(self) -> float:
        """What EC2 itself took."""
        return self.detach + self.attach + self.device


@dataclass(frozen=True)
class Verdict:
    """What a run showed; `faults` says what is wrong with it, in words."""

    scenario: str
    carry: str
    ec2: str
    outage_s: float
    total_outage_s: float
    outages: tuple[Outage, ...]
    placements: tuple[Placement, ...]
    moves: int
    ec2_calls: Mapping[str, int]
    holder: str | None
    detection_s: float | None
    agent_exits: int
    faults: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.faults

    @property
    def ec2_s(self) -> float:
        """EC2's own time of all placements after the first."""
        return sum(placement.ec2 for placement in self.placements)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "scenario": self.scenario,
            "carry": self.carry,
            "ec2": self.ec2,
            "outage_s": round(self.outage_s, 3),
            "total_outage_s": round(self.total_outage_s, 3),
            "detection_s": None if self.detection_s is None else round(self.detection_s, 3),
            "ec2_s": round(self.ec2_s, 3),
            "moves": self.moves,
            "placements": [
                {
                    "from": placement.source,
                    "to": placement.target,
                    **{part: round(getattr(placement, part), 3) for part in ("detach", "idle", "attach", "device")},
                }
                for placement in self.placements
            ],
            "holder": self.holder,
            "ec2_calls": dict(self.ec2_calls),
            "agent_exits": self.agent_exits,
            "verdict": "ok" if self.ok else "faulty",
            "faults": list(self.faults),
        }


def check(history: Sequence[Event], expectation: Expectation) -> Verdict:
    """Judge a run: measure it, and hold it to what was expected."""
    run = Run(history, expectation)
    if expectation.refusal_excuses and run.refused:
        expectation = replace(expectation, max_outage_s=None, max_detection_s=None, max_overhead_s=None, min_moves=0)
    faults = tuple(fault for rule in RULES for fault in rule(run, expectation))
    return Verdict(
        scenario=expectation.scenario,
        carry=expectation.carry,
        ec2=expectation.ec2,
        outage_s=run.outage_s,
        total_outage_s=run.total_outage_s,
        outages=run.outages,
        placements=run.placements,
        moves=run.moves,
        ec2_calls=run.ec2_calls,
        holder=run.holder,
        detection_s=run.detection_s,
        agent_exits=len(run.agent_exits),
        faults=faults,
    )


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict for several addresses of one run: the worst of the times, all moves and all faults."""
    first = verdicts[0]
    if len(verdicts) == 1:
        return first
    detections = [verdict.detection_s for verdict in verdicts if verdict.detection_s is not None]
    return replace(
        first,
        outage_s=max(verdict.outage_s for verdict in verdicts),
        total_outage_s=max(verdict.total_outage_s for verdict in verdicts),
        outages=tuple(outage for verdict in verdicts for outage in verdict.outages),
        placements=tuple(placement for verdict in verdicts for placement in verdict.placements),
        moves=sum(verdict.moves for verdict in verdicts),
        detection_s=max(detections, default=None),
        faults=tuple(dict.fromkeys(fault for verdict in verdicts for fault in verdict.faults)),
    )


@dataclass(frozen=True)
class _Attachment:
    """The life of one attachment of the interface with the address."""

    id: str
    eni: str
    instance: str
    since: float
    attached: float | None
    until: float | None
    asked: float | None = None


class Run:
    """The measurements of one history."""

    def __init__(self, history: Sequence[Event], about: Expectation) -> None:
        self._events = sorted(history, key=lambda event: float(event["t"]))
        self._address = about.address
        attempts = [e for e in self._of("client", "attempt") if float(e["started"]) >= about.measured_since]
        self.attempts = _attempts([e for e in attempts if not about.clients or e["client"] in about.clients])
        self.outages = tuple(
            outage for client, attempts in self.attempts.items() for outage in _outages(client, attempts)
        )
        if about.carry == "address":
            self.attachments = _attachments(ownership.of_address(self._events, about.address))
        else:
            shown = (event["eni"] for event in self._of("ec2", "attachment") if event["address"] == about.address)
            self.attachments = _attachments(ownership.of_enis(self._events, about.enis or frozenset(shown)))
        self.placements = tuple(self._placements())
        self.moves = sum(placement.is_move for placement in self.placements)
        # The nemesis calls EC2 too, but not as an instance.
        self.calls = [event for event in self._of("ec2", "call") if str(event["caller"]).startswith("i-")]
        self.ec2_calls = dict(sorted(Counter(str(event["action"]) for event in self.calls).items()))
        self.struck = self._struck()
        self.detection_s = self._detection()
        self.refused = self._refused()
        self.agent_lines = self._of("agent", "log")
        self.agent_exits = [
            event for event in self._of("kubelet", "exit") if event["reason"] in {"exited", "unhealthy"}
        ]
        self.attacks = self._of("lab", "attack")
        self.usages = self._of("lab", "usage")
        self.leftovers = [str(event["what"]) for event in self._of("lab", "leftover")]

    def _of(self, source: str, kind: str) -> list[Event]:
        return [event for event in self._events if event["source"] == source and event["event"] == kind]

    @property
    def outage_s(self) -> float:
        """The longest outage of any client."""
        return max((outage.seconds for outage in self.outages), default=0.0)

    @property
    def total_outage_s(self) -> float:
        """All outages together, of the client that had most."""
        totals: Counter[str] = Counter()
        for outage in self.outages:
            # A Counter counts floats as well; its type says int.
            totals[outage.client] += outage.seconds  # type: ignore[assignment]
        return max(totals.values(), default=0.0)

    @property
    def holder(self) -> str | None:
        """The instance that has the address at the end."""
        held = [attachment for attachment in self.attachments if attachment.attached and attachment.until is None]
        return held[-1].instance if held else None

    def _placements(self) -> Iterator[Placement]:
        placed = [attachment for attachment in self.attachments if attachment.attached is not None]
        for old, new in pairwise(placed):
            yield self._placement(old, new)

    def _placement(self, old: _Attachment, new: _Attachment) -> Placement:
        """Take it apart; a part whose beginning or end was not recorded has no length."""
        detached = old.until if old.until is not None else new.since
        asked = self._first_call("DetachNetworkInterface", "AttachmentId", old.id, old.since, detached)
        if asked is None:
            asked = self._last_call("UnassignIpv6Addresses", "NetworkInterfaceId", old.eni, old.since, detached)
        called = self._last_call("AttachNetworkInterface", "NetworkInterfaceId", new.eni, detached, new.since)
        attached = new.attached if new.attached is not None else new.since
        visible = next(
            (
                float(event["t"])
                for event in self._of("ec2", "device")
                if event["eni"] == new.eni
                and event["instance"] == new.instance
                and event["status"] == "visible"
                and float(event["t"]) >= new.since
            ),
            attached,
        )
        began = new.asked if new.asked is not None else new.since if called is None else called
        return Placement(
            source=old.instance,
            target=new.instance,
            detach=0.0 if asked is None else max(0.0, detached - asked),
            idle=max(0.0, began - detached),
            attach=max(0.0, attached - began),
            device=max(0.0, visible - attached),
        )

    def _calls(self, action: str, parameter: str, value: str, since: float, until: float) -> list[float]:
        return sorted(
            float(event["began"])
            for event in self._of("ec2", "call")
            if event["action"] == action
            and event["error"] is None
            and event["params"].get(parameter) == value
            and since <= float(event["began"]) <= until
        )

    def _first_call(self, action: str, parameter: str, value: str, since: float, until: float) -> float | None:
        return next(iter(self._calls(action, parameter, value, since, until)), None)

    def _last_call(self, action: str, parameter: str, value: str, since: float, until: float) -> float | None:
        return next(reversed(self._calls(action, parameter, value, since, until)), None)

    def _struck(self) -> float | None:
        """When the last blow fell, or the nemesis began where it tells of none."""
        struck = self._of("nemesis", "blow")[-1:] or self._of("nemesis", "begin")[:1]
        return float(struck[0]["t"]) if struck else None

    def takeovers(self) -> Counter[str]:
        """How often the address was taken over, by rule; lines that name another address do not count."""
        return Counter(
            str(event["fields"].get("rule"))
            for event in self._of("agent", "log")
            if event["fields"].get("event") == "takeover"
            and event["fields"].get("address", self._address) == self._address
        )

    def _refused(self) -> bool:
        """Whether at the blow no node but the struck one had a pod that was ready."""
        struck = self._of("nemesis", "blow")[-1:]
        if not struck:
            return False
        last = {
            event["pod"]: event for event in self._of("kubelet", "pod") if float(event["t"]) <= float(struck[0]["t"])
        }
        ready = {event["node"] for event in last.values() if (event["phase"], event["detail"]) == ("Running", "ready")}
        return not ready - {struck[0]["target"]}

    def _detection(self) -> float | None:
        """From the blow to the first decision after it to move the address."""
        begin = self.struck
        if begin is None:
            return None
        decided = (
            logged_at(event)
            for event in self._of("agent", "log")
            # A line names its address since there can be several.
            if event["fields"].get("event") in DECIDED
            and event["fields"].get("address", self._address) == self._address
        )
        return min((when - begin for when in decided if when >= begin), default=None)


def logged_at(event: Event) -> float:
    """When an agent's line was written, by its own time where it has one."""
    try:
        return datetime.fromisoformat(event["fields"]["time"]).timestamp()
    except (KeyError, ValueError):
        return float(event["t"])


def _attempts(events: Sequence[Event]) -> dict[str, list[Event]]:
    """The attempts of each client, in the order of their start."""
    by_client: dict[str, list[Event]] = {}
    for event in sorted(events, key=lambda event: float(event["started"])):
        by_client.setdefault(str(event["client"]), []).append(event)
    return by_client


def _outages(client: str, attempts: Sequence[Event]) -> Iterator[Outage]:
    since: float | None = None
    last = 0.0
    for attempt in attempts:
        last = float(attempt["started"])
        if not attempt["ok"] and since is None:
            since = last
        elif attempt["ok"] and since is not None:
            yield Outage(client, since, last, last)
            since = None
    if since is not None:
        yield Outage(client, since, None, last)


def _attachments(events: Sequence[Event]) -> tuple[_Attachment, ...]:
    """The attachments, oldest first."""
    seen: dict[str, dict[str, float]] = {}
    about: dict[str, Event] = {}
    for event in events:
        name = str(event["attachment"])
        about.setdefault(name, event)
        seen.setdefault(name, {}).setdefault(str(event["status"]), float(event["t"]))
    return tuple(
        _Attachment(
            name,
            str(about[name]["eni"]),
            str(about[name]["instance"]),
            min(times.values()),
            times.get("attached"),
            times.get("detached"),
            about[name].get("asked"),
        )
        for name, times in seen.items()
    )


def _clients_measured(run: Run, expectation: Expectation) -> Iterator[str]:
    """Without a client that ran all the time, no outage means nothing."""
    if not run.attempts and expectation.served:
        yield "no client measured anything"
    for client, attempts in run.attempts.items():
        if not any(attempt["ok"] for attempt in attempts):
            yield f"client {client} never got an answer"
        gap = max((float(b["started"]) - float(a["started"]) for a, b in pairwise(attempts)), default=0.0)
        if gap > expectation.max_gap_s:
            yield f"client {client} itself stood still for {gap:.2f} s"


def _outage_ended(run: Run, expectation: Expectation) -> Iterator[str]:
    if expectation.refusal_excuses and run.refused:
        return
    for outage in run.outages:
        if outage.until is None:
            yield f"client {outage.client}: an outage of {outage.seconds:.2f} s is unfinished"


def _outage_bounded(run: Run, expectation: Expectation) -> Iterator[str]:
    most = expectation.max_outage_s
    if most is not None and run.total_outage_s > most:
        yield f"an outage of {run.total_outage_s:.2f} s, at most {most:g} s is allowed"


def _detection_bounded(run: Run, expectation: Expectation) -> Iterator[str]:
    most = expectation.max_detection_s
    if most is None:
        return
    if run.detection_s is None:
        yield "no agent logged a takeover or a claim after the nemesis"
    elif run.detection_s > most:
        yield f"detection took {run.detection_s:.2f} s, at most {most:g} s is allowed"


def _overhead_bounded(run: Run, expectation: Expectation) -> Iterator[str]:
    most = expectation.max_overhead_s
    if most is None:
        return
    explained = (run.detection_s or 0.0) + sum(placement.ec2 for placement in run.placements)
    if run.total_outage_s > explained + most:
        yield (
            f"an outage of {run.total_outage_s:.2f} s, of which detection and EC2 explain {explained:.2f} s "
            f"and {most:g} s more are allowed"
        )


def _moves_bounded(run: Run, expectation: Expectation) -> Iterator[str]:
    if run.moves < expectation.min_moves:
        yield f"{run.moves} moves, at least {expectation.min_moves} were expected"
    if expectation.max_moves is not None and run.moves > expectation.max_moves:
        yield f"{run.moves} moves, at most {expectation.max_moves} are allowed"


def _moves_by_cause_bounded(run: Run, expectation: Expectation) -> Iterator[str]:
    most = expectation.max_moves_a_cause
    for rule, count in run.takeovers().items():
        if most is not None and count > most:
            yield f"{count} takeovers by {rule}, at most {most} are allowed for one cause"


def _calls_bounded(run: Run, expectation: Expectation) -> Iterator[str]:
    most = expectation.max_calls_a_minute
    if most is None:
        return
    asked: dict[tuple[str, str], list[float]] = {}
    # What it takes to deploy is another matter.
    for event in (call for call in run.calls if run.struck is None or float(call["began"]) >= run.struck):
        action = str(event["action"])
        kind = "Describes" if action.startswith("Describe") else action
        asked.setdefault((str(event["caller"]), kind), []).append(float(event["began"]))
    for (caller, kind), unsorted in asked.items():
        times = sorted(unsorted)
        busiest = max(bisect_left(times, since + MINUTE) - index for index, since in enumerate(times))
        if busiest > most:
            yield f"{busiest} {kind} within a minute by {caller}, at most {most} are allowed"


def _one_holder(run: Run, _: Expectation) -> Iterator[str]:
    for index, old in enumerate(run.attachments):
        for new in run.attachments[index + 1 :]:
            if old.until is None or new.since < old.until:
                yield f"two holders: {new.id} ({new.instance}) began before {old.id} ({old.instance}) was detached"


def _held_at_the_end(run: Run, _: Expectation) -> Iterator[str]:
    if run.holder is None:
        yield "nobody holds the address at the end"


def _nothing_left(run: Run, expectation: Expectation) -> Iterator[str]:
    for what in run.leftovers:
        if what not in expectation.allowed_leftovers:
            yield f"left behind: {what}"


def _no_traceback(run: Run, _: Expectation) -> Iterator[str]:
    for event in run.agent_lines:
        if "Traceback" in event["line"]:
            yield f"a traceback in {event['pod']} ({event['container']})"


def _agents_live(run: Run, expectation: Expectation) -> Iterator[str]:
    if len(run.agent_exits) > expectation.max_agent_exits:
        for event in run.agent_exits:
            yield f"{event['pod']} ({event['container']}) ended by itself: {event['reason']}, exit code {event['code']}"


def _attacked(run: Run, expectation: Expectation) -> Iterator[str]:
    """An attack that did not take place shows nothing."""
    if expectation.attacked:
        done = [event["did"] for event in run.attacks if event["kind"] == expectation.attacked and event["did"]]
        if not done:
            yield f"nobody attacked by {expectation.attacked}"
        for did in done:
            for means, least in LEAST.get(expectation.attacked, {}).items():
                if did.get(means, 0) < least:
                    yield f"only {did.get(means, 0)} {means} of at least {least}"
        if not run.usages:
            yield "no observer's memory was measured"


def _observers_are_bounded(run: Run, _: Expectation) -> Iterator[str]:
    for event in run.usages:
        node, before, most = event["node"], event["before"], event["most"]
        if most["memory"] > MOST_MEMORY:
            yield f"the observer on {node} had {most['memory'] >> 10} MiB, at most {MOST_MEMORY >> 10} are allowed"
        for what, more in (("threads", MORE_THREADS), ("files", MORE_FILES)):
            if most[what] > before[what] + more:
                yield f"the observer on {node} had {most[what]} {what}, in peace {before[what]}"


RULES: tuple[Callable[[Run, Expectation], Iterator[str]], ...] = (
    _clients_measured,
    _outage_ended,
    _outage_bounded,
    _detection_bounded,
    _overhead_bounded,
    _moves_bounded,
    _moves_by_cause_bounded,
    _calls_bounded,
    _one_holder,
    _held_at_the_end,
    _nothing_left,
    _no_traceback,
    _agents_live,
    _attacked,
    _observers_are_bounded,
)
