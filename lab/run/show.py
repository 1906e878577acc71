"""
What a person sees of a run: a timeline, line by line as things happen; below it what the lab waits for, and how the
clients fare; and a table at the end.

It only reads the history's events.
"""

import signal
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lab.console import Console
from lab.ec2 import Profile
from lab.history import Event
from lab.run import asking
from lab.run.rack import Outcome
from lab.run.scenario import Scenario
from lab.run.verdict import Verdict

STRIP = 60
"""How many slices of time the clients' line shows."""

SLICE = 0.25
"""Seconds in one slice."""

_STYLES = {"lab": "bold", "nemesis": "bold red", "ec2": "cyan", "agent": "green", "kubelet": "dim", "client": "magenta"}

_TOLD = {
    "decision",
    "takeover",
    "claim",
    "failover",
    "plumbed",
    "unplumbed",
    "denied",
    "lost-race",
    "not-moved",
    "plumbing",
}
"""The agents' events that a timeline shows; the others are only in the history."""

PLAIN_WIDTH = 110
"""Columns if there is no terminal to ask."""

console = Console(PLAIN_WIDTH, soft_wrap=True)


class Timeline:
    """Prints events as they come, and keeps a line about the clients below; without ``live`` it stays silent.

    When the output can no longer be written (its reader is gone, or the disk is full), the main thread is interrupted,
    and leaves the timeline with that OSError.
    """

    def __init__(self, *, live: bool) -> None:
        self._on = live
        self._unwritten: OSError | None = None
        self._began = time.time()
        self._struck: float | None = None
        self._names: dict[str, str] = {}
        self._lock = threading.Lock()
        self._slices: deque[tuple[int, int, int]] = deque(maxlen=STRIP)
        self._answer = ""
        self._step = ("", self._began)
        self._luck: dict[str, tuple[float, bool | None]] = {}
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self._clients, transient=True)

    def __enter__(self) -> Self:
        if self._on and console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if self._unwritten is not None:
            raise self._unwritten

    def show(self, event: Event) -> None:
        """Show one event; may be called from any thread."""
        with self._lock:
            if not self._on:
                return
            try:
                self._tell(event)
            except OSError as error:
                self._on, self._unwritten = False, error
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def _tell(self, event: Event) -> None:
        if event["event"] == "attempt":
            self._count(event)
        elif event["source"] == "agent" and event["fields"].get("event") == "node":
            self._names[event["fields"]["instance"]] = event["node"]
        elif (said := words(event)) is not None:
            if event["event"] == "step":
                self._step = (said, event["t"])
            if event["source"] == "nemesis" and event["event"] == "begin":
                self._struck = event["t"]
            self._print(event["t"], event["source"], said)

    def _print(self, at: float, source: str, words: str) -> None:
        since = at - (self._began if self._struck is None else self._struck)
        for instance, name in self._names.items():
            words = words.replace(instance, name)
        sign = "+" if self._struck is not None else " "
        style = _STYLES.get(source, "")
        console.print(f"{sign}{since:7.3f} s  [{style}]{source:8}[/] {escape(words)}")

    def _count(self, event: Event) -> None:
        index = int(event["started"] / SLICE)
        good, bad = (1, 0) if event["ok"] else (0, 1)
        for position in range(len(self._slices)):
            if self._slices[position][0] == index:
                _, g, b = self._slices[position]
                self._slices[position] = (index, g + good, b + bad)
                break
        else:
            self._slices.append((index, good, bad))
        if event["ok"]:
            self._answer = str(event["answer"]).split()[0]
        # Failures become known up to a second after successes that started later: the order of starts counts.
        client, started, ok = str(event["client"]), float(event["started"]), bool(event["ok"])
        before, was_ok = self._luck.get(client, (0.0, None))
        if started > before:
            self._luck[client] = (started, ok)
            if ok is not was_ok:
                said = f"answered by {self._answer}" if ok else event["error"]
                self._print(started, "client", f"{client}:30007 {said}")

    def _clients(self) -> Text:
        with self._lock:
            said, since = self._step
            text = Text(f"           {said}, {time.time() - since:.0f} s so far" if said else "")
            if not self._slices:
                return text
            text.append("\n           curl loop ")
            for _, good, bad in sorted(self._slices):
                text.append("█", "green" if not bad else "red" if not good else "yellow")
            text.append(f"  {self._answer}")
            return text


def introduce(scenario: Scenario, profile: Profile) -> None:
    """Print what the run is going to show."""
    console.print(
        f"[bold]{scenario.title.capitalize()}[/]: {scenario.workers} workers of a VPC in a box, the product as it is"
        " deployed (floating-ip.yaml), an EC2 endpoint\n"
        f"that takes as long as the real one (detach {profile.detach:g} s, attach {profile.attach:g} s, the device"
        f" {profile.device:g} s later), and clients that ask\n"
        "FLOATING_IP:30007 fifty times a second.\n"
    )


def table(verdicts: Sequence[Verdict]) -> None:
    """One row for each run."""
    rows = Table(title=None, header_style="bold")
    for heading in ("scenario", "EC2", "outage", "detection", "EC2 took", "moves", "EC2 calls", "verdict"):
        rows.add_column(heading, justify="left" if heading in ("scenario", "EC2", "verdict") else "right", no_wrap=True)
    for verdict in verdicts:
        detection = "-" if verdict.detection_s is None else f"{verdict.detection_s:.2f} s"
        calls = sum(verdict.ec2_calls.values())
        rows.add_row(
            verdict.scenario,
            verdict.ec2,
            f"{verdict.outage_s:.2f} s",
            detection,
            f"{verdict.ec2_s:.2f} s",
            str(verdict.moves),
            str(calls),
            "[green]ok[/]" if verdict.ok else "[red]faulty[/]",
        )
    console.print(rows)
    for verdict in verdicts:
        for fault in verdict.faults:
            console.print(f"[red]{verdict.scenario}: {escape(fault)}[/]")


def answers(events: Sequence[Mapping[str, Any]]) -> None:
    """How often `status` and `doctor` answered (asking.py), and how long that took, their own start included."""
    for command in asking.COMMANDS:
        took = sorted(each["seconds"] for each in events if (each["source"], each["event"]) == ("asked", command))
        if took:
            console.print(
                f"{command}: {len(took)} answers, {took[len(took) // 2]:.1f} s mostly, {took[-1]:.1f} s at most"
            )


def outcome(of: Outcome) -> None:
    """One line for a round of torture, and one for each of its faults."""
    moved = of.source if of.source == of.holder and not of.moves else f"{of.source} -> {of.holder}"
    result = "[green]ok[/]" if of.ok else "[yellow]undecided[/]" if of.undecided else "[red]faulty[/]"
    console.print(
        f"{_clock(of.at)}  {of.round.number:3}  {of.round!s:40}  {moved:20}  outage {of.outage_s:6.2f} s  {result}"
    )
    for fault in of.faults:
        console.print(f"[red]{' ' * 15}{escape(fault)}[/]")


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))


def words(event: Mapping[str, Any]) -> str | None:
    """An event in words; None if a timeline leaves it out."""
    match event["source"], event["event"]:
        case "nemesis", "begin":
            return f"{event['title']} ({event['target']})"
        case "nemesis", "blow":
            return f"the blow falls ({event['target']})"
        case "ec2", "attachment":
            return f"{event['address']} {event['status']}: {event['instance']}"
        case "ec2", "address":
            return f"{event['address']} {event['status']}: {event['instance'] or event['eni']}"
        case "ec2", "device":
            return f"device {event['status']} on {event['instance']}"
        case "kubelet", "pod":
            detail = f" ({event['detail']})" if event.get("detail") else ""
            where = f" on {event['node']}" if event["node"] else ""
            return f"{event['pod']}{where}: {event['phase']}{detail}"
        case "agent", "log":
            fields = event["fields"]
            if fields.get("event") not in _TOLD:
                return None
            if "msg" in fields:
                said = " ".join(filter(None, (fields.get("rule"), fields["msg"])))
            else:
                said = " ".join(f"{k}={v}" for k, v in fields.items() if k not in ("time", "level", "event"))
            return f"{event['node']} {fields['event']}: {said}"
        case "lab", "step":
            return str(event["what"])
        case "lab", "leftover":
            return f"left behind: {event['what']}"
    return None
