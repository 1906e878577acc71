"""
What a history shows: outages, placements, moves and calls.  Pure; checker.py compares this with what was expected.

Which timestamps count:

- **Outage**: attempts in the order of their *start*; an outage begins with the start of the first attempt that fails
  and ends with the start of the next one that succeeds.  The end of an attempt is not used, since a failed one ends up
  to a second after its start.  The error is one interval between attempts (20 ms) at either end; a packet that was held
  back and delivered late counts as a success.
- **What EC2 did**: the server's own times.
- **What an agent did**: the time in its log line; the lab reads that line later, depending on its load.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from lab.run import ownership
from lab.run.verdict import Expectation, Outage, Placement

Event = Mapping[str, Any]

DECIDED = ("takeover", "claim")
"""The agents' events that begin a move, with or without a detach."""


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
        """The sum of all outages of the client that had most."""
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
        """The durations of the move's parts; 0 for a part whose beginning or end was not recorded."""
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
        """When the last blow fell; if the nemesis records none, when it began."""
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
        """Whether, at the blow, no node but the struck one had a ready pod."""
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
            # There can be several addresses, so a line names its own.
            if event["fields"].get("event") in DECIDED
            and event["fields"].get("address", self._address) == self._address
        )
        return min((when - begin for when in decided if when >= begin), default=None)


def logged_at(event: Event) -> float:
    """When an agent's line was written; by the line's own time if it has one."""
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
