"""
A run as a picture, over one time axis: what clients got, who had the address by EC2's word, what agents decided.

Pure: a history's events go in, an SVG comes out, which is light or dark as the reader's system asks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from lab.run import ownership

Event = Mapping[str, Any]

WIDTH, LEFT, RIGHT = 820, 96, 20
ROW, BAR, TOP = 40, 14, 26
BEFORE, AFTER = 1.0, 1.5
"""Seconds that are shown before the blow, and after the last thing that followed from it."""

SHORTEST = 4.0
"""Seconds after the blow that are shown at least."""

NEAR = 64
"""Pixels that a mark's word needs; nearer to the right edge the word is left out."""

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.back { fill: #fff } .grid { stroke: #d1d9e0 } .blow { stroke: #1f2328; stroke-dasharray: 3 3 }
.served { fill: #1a7f37 } .out { fill: #cf222e } .has { fill: #0969da } .between { fill: #8c959f }
.mark { fill: #1f2328 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .back { fill: #0d1117 } .grid { stroke: #3d444d } .blow { stroke: #f0f6fc }
.served { fill: #3fb950 } .out { fill: #f85149 } .has { fill: #4493f8 } .between { fill: #656c76 }
.mark { fill: #f0f6fc }
}"""


@dataclass(frozen=True)
class Span:
    """A time for which something was so, in seconds since the blow; ``says`` is what was so, in words."""

    begin: float
    end: float
    kind: str
    says: str


@dataclass(frozen=True)
class Mark:
    """A decision at one moment."""

    at: float
    word: str
    says: str


@dataclass(frozen=True)
class Story:
    """What there is to draw: the clients' and each node's spans, each node's decisions, and the second at which it
    ends.
    """

    clients: tuple[Span, ...]
    nodes: Mapping[str, tuple[Span, ...]]
    marks: Mapping[str, tuple[Mark, ...]]
    until: float


def story(events: Sequence[Event]) -> Story:
    """The story of a history's first floating address.  Raises LookupError if no misfortune is recorded, or no client
    asked for the address.
    """
    struck = struck_at(events)
    names = node_names(events)
    client = next((str(event["client"]) for event in events if event["event"] == "attempt"), "")
    if not client:
        raise LookupError("no client asked for the address in this history")
    target = client.partition(" ")[2]
    last = max((mark.at for marks in _marks(events, names, struck).values() for mark in marks), default=0.0)
    outages = _outages(events, struck)
    until = max(SHORTEST, last, *(span.end for span in outages)) + AFTER
    return Story(
        clients=tuple(_clients(outages, until)),
        nodes=_owners(events, target, names, struck, until),
        marks=_marks(events, names, struck),
        until=until,
    )


def struck_at(events: Iterable[Event]) -> float:
    """When the misfortune struck, without what was prepared before.  Raises LookupError."""
    at = {event["event"]: event["t"] for event in events if event["source"] == "nemesis"}
    if "begin" not in at:
        raise LookupError("nothing befell anybody in this history")
    return float(at.get("blow", at["begin"]))


def node_names(events: Iterable[Event]) -> dict[str, str]:
    """Instance -> node name, as the agents log it."""
    told = (event for event in events if event["source"] == "agent" and event["fields"].get("event") == "node")
    return {event["fields"]["instance"]: event["node"] for event in told}


def _outages(events: Sequence[Event], struck: float) -> list[Span]:
    """The outages of the unluckiest client."""
    attempts: dict[str, list[tuple[float, bool]]] = {}
    for event in events:
        if event["event"] == "attempt":
            attempts.setdefault(event["client"], []).append((event["started"] - struck, event["ok"]))
    found = {name: list(_failing(sorted(tried))) for name, tried in attempts.items()}
    return max(found.values(), key=lambda spans: sum(span.end - span.begin for span in spans), default=[])


def _failing(attempts: Sequence[tuple[float, bool]]) -> Iterator[Span]:
    begin: float | None = None
    for at, ok in attempts:
        if not ok and begin is None:
            begin = at
        elif ok and begin is not None:
            if at > 0:
                yield Span(begin, at, "out", f"out for {at - begin:.2f} s")
            begin = None
    if begin is not None:
        yield Span(begin, attempts[-1][0], "out", "out until the end")


def _clients(outages: Iterable[Span], until: float) -> Iterator[Span]:
    at = -BEFORE
    for outage in outages:
        yield Span(at, outage.begin, "served", "answered")
        yield outage
        at = outage.end
    yield Span(at, until, "served", "answered")


def _owners(
    events: Sequence[Event], target: str, names: Mapping[str, str], struck: float, until: float
) -> dict[str, tuple[Span, ...]]:
    """For each node, when it had the address by EC2's word, and when the address was about to come or go."""
    enis = {
        e["eni"] for e in events if e["source"] == "ec2" and e["event"] == "attachment" and target in e["addresses"]
    }
    stays = ownership.of_enis(events, frozenset(enis)) or ownership.of_address(events, target)
    words = {"attaching": "between", "attached": "has", "detaching": "between"}
    spans: dict[str, list[Span]] = {name: [] for name in sorted(names.values())}
    following: Mapping[str, Any] | None
    for index, stay in enumerate(stays):
        later = [other for other in stays[index + 1 :] if other["attachment"] == stay["attachment"]]
        following = later[0] if later else None
        end = min(until, following["t"] - struck if following else until)
        begin = max(-BEFORE, stay["t"] - struck)
        node = names.get(stay["instance"], stay["instance"])
        if "asked" in stay and stay["asked"] - struck > -BEFORE:
            spans.setdefault(node, []).append(
                Span(stay["asked"] - struck, begin, "between", f"assigning, {stay['t'] - stay['asked']:.2f} s")
            )
        if stay["status"] in words and end > begin:
            says = f"{stay['status']}, {end - begin:.2f} s" if words[stay["status"]] == "between" else "has the address"
            spans.setdefault(node, []).append(Span(begin, end, words[stay["status"]], says))
    return {name: tuple(found) for name, found in spans.items()}


_DECISIONS = ("takeover", "claim", "failover", "lost-race", "unplumbed", "leaving")


def _marks(events: Iterable[Event], names: Mapping[str, str], struck: float) -> dict[str, tuple[Mark, ...]]:
    """For each node, what its agent has decided since the blow, by its log."""
    marks: dict[str, list[Mark]] = {}
    for event in events:
        if event["source"] != "agent" or event["t"] < struck or event["fields"].get("event") not in _DECISIONS:
            continue
        fields = event["fields"]
        says = str(fields.get("msg") or " ".join(f"{key}={fields[key]}" for key in fields if key in _PHASES))
        for instance, name in names.items():
            says = says.replace(instance, name)
        word = " ".join(filter(None, (fields["event"], fields.get("rule"))))
        marks.setdefault(event["node"], []).append(Mark(event["t"] - struck, word, says))
    return {node: tuple(found) for node, found in marks.items()}


_PHASES = ("duration", "detect", "detach", "attach", "plumb")


def svg(title: str, panels: Mapping[str, Story]) -> str:
    """One picture of several runs, each under its name, with the same scale."""
    until = max(panel.until for panel in panels.values())
    x = _scale(until)
    parts: list[str] = []
    y = TOP
    for name, panel in panels.items():
        parts.append(f'<text x="8" y="{y - 8}" font-weight="bold">{escape(name)}</text>')
        begin = y
        y = _row(parts, y, "clients", panel.clients, (), x)
        for node, spans in panel.nodes.items():
            y = _row(parts, y, node, spans, panel.marks.get(node, ()), x)
        parts.append(f'<line class="blow" x1="{x(0):.0f}" x2="{x(0):.0f}" y1="{begin}" y2="{y}"/>')
        y += TOP
    parts += _axis(until, y - TOP, x)
    parts += _legend(y + 14)
    height = y + 36
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
        f'<rect class="back" width="{WIDTH}" height="{height}"/>{"".join(parts)}</svg>\n'
    )


def _scale(until: float) -> Callable[[float], float]:
    """A function from seconds to pixels."""
    each = (WIDTH - LEFT - RIGHT) / (until + BEFORE)
    return lambda at: LEFT + (at + BEFORE) * each


def _row(
    parts: list[str], y: int, name: str, spans: Iterable[Span], marks: Iterable[Mark], x: Callable[[float], float]
) -> int:
    parts.append(f'<text x="8" y="{y + BAR - 2}">{escape(name)}</text>')
    for span in spans:
        wide = x(span.end) - x(span.begin)
        parts.append(
            f'<rect class="{span.kind}" x="{x(span.begin):.1f}" y="{y}" width="{max(wide, 1):.1f}" height="{BAR}">'
            f"<title>{escape(span.says)}</title></rect>"
        )
        if span.kind == "out":
            parts.append(f'<text x="{x(span.begin):.0f}" y="{y + BAR + 14}">{escape(span.says)}</text>')
    free_from = float("-inf")
    for mark in marks:
        at = x(mark.at)
        parts.append(
            f'<circle class="mark" cx="{at:.1f}" cy="{y + BAR / 2:g}" r="4"><title>{escape(mark.says)}</title></circle>'
        )
        if at >= free_from and at < WIDTH - NEAR:
            parts.append(f'<text x="{at:.0f}" y="{y + BAR + 14}">{escape(mark.word)}</text>')
            free_from = at + 7 * len(mark.word) + 6
    return y + ROW


LEGEND = {
    "served": "clients are answered",
    "out": "and are not",
    "has": "has the address, by EC2's word",
    "between": "EC2 is about to move it",
}


def _legend(y: int) -> Iterator[str]:
    at = LEFT
    for kind, says in LEGEND.items():
        yield f'<rect class="{kind}" x="{at}" y="{y}" width="{BAR}" height="{BAR}"/>'
        yield f'<text x="{at + BAR + 4}" y="{y + BAR - 2}">{says}</text>'
        at += BAR + 24 + int(6.2 * len(says))


def _axis(until: float, y: int, x: Callable[[float], float]) -> Iterator[str]:
    step = next(step for step in (1, 2, 5, 10, 30, 60, 120) if until / step <= 12 or step == 120)
    for second in range(0, int(until) + 1, step):
        yield f'<line class="grid" x1="{x(second):.0f}" x2="{x(second):.0f}" y1="{y}" y2="{y + 5}"/>'
        yield f'<text x="{x(second):.0f}" y="{y + 18}" text-anchor="middle">{second} s</text>'
