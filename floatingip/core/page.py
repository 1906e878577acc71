"""
The page for people at `/`: a snapshot as one self-contained HTML document.

It has no script and loads nothing from elsewhere.  Every text is escaped, since it may come from a peer or from EC2.
It reloads itself if the reader asks for that, is light or dark as the reader's system is, and fits widths from 400
pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

from floatingip.core.move import PHASES, Move
from floatingip.core.overview import Overview, Picture, Standby, overview
from floatingip.core.report import AddressReport, HealthReport, Report
from floatingip.core.snapshot import PeerSnapshot, ProbeSpan, Snapshot
from floatingip.core.status import of
from floatingip.core.table import details, lacking, moved, remarks
from floatingip.core.wording import clock, milliseconds, printable, span

RELOADS_EVERY = 5
"""Seconds between two loads of a page that reloads itself."""

RELOADS = "reload"
"""The query of the URL of the page that reloads itself.  The reader has to choose it, since nobody with a screen reader
would get to the end of a page that reloads.
"""

SHOWN_FOR = 300.0
"""Seconds of probes that are drawn."""

WIDE, HIGH = 600, 60
"""Size of the drawings in their own units; they are scaled to the width of the page."""

LOWEST = HIGH / 10
"""Height of a span's bar at least: a single slow answer must not make all other bars invisible."""

_STYLE = """
:root{color-scheme:light dark;--back:#fff;--card:#f6f8fa;--line:#d0d7de;--text:#1f2328;--quiet:#59636e;--good:#1a7f37;
--fair:#9a6700;--bad:#cf222e;--detect:#8250df;--detach:#bc4c00;--attach:#0969da;--plumb:#1a7f37}
@media(prefers-color-scheme:dark){:root{--back:#0d1117;--card:#151b23;--line:#3d444d;--text:#f0f6fc;--quiet:#9198a1;
--good:#3fb950;--fair:#d29922;--bad:#f85149;--detect:#ab7df8;--detach:#db6d28;--attach:#4493f8;--plumb:#3fb950}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:75rem;background:var(--back);color:var(--text);
font:15px/1.45 system-ui,sans-serif;overflow-wrap:break-word}
h1{font-size:1.5rem;margin:0}h2{font-size:1.2rem;margin:0 0 .5rem}h3{font-size:1rem;margin:1rem 0 .25rem}
section{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:1rem 0}
p{margin:.25rem 0}a{color:inherit}ul,ol{margin:.25rem 0;padding-left:1.25rem}
.quiet,caption,small{color:var(--quiet)}small{display:block;font-size:.85em}
.healthy,.up,.yes{color:var(--good)}.degraded,.unknown{color:var(--fair)}.down,.no{color:var(--bad)}
.verdict{font-size:.9rem;border:1px solid;border-radius:1rem;padding:.1rem .6rem;margin-left:.5rem;white-space:nowrap}
table{border-collapse:collapse;width:100%}caption{text-align:left;padding-bottom:.25rem}
th,td{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;border-top:1px solid var(--line)}
th{font-weight:600}tbody th{overflow-wrap:anywhere}th small{font-weight:400}
td small{white-space:nowrap}
@media(max-width:40rem){thead{position:absolute;clip-path:inset(50%)}
tbody tr{display:block;border-top:1px solid var(--line);padding:.35rem 0}th,td{display:block;border:0;padding:0}
th small,td small{display:inline;margin-left:.5rem}
td::before{color:var(--quiet);content:attr(data-head) ": ";content:attr(data-head) ": "/""}}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem .75rem;margin:.75rem 0 0}
dt{color:var(--quiet)}dd{margin:0}
svg{display:block;width:100%;height:3.5rem;background:var(--back);border:1px solid var(--line);border-radius:.25rem}
.answered{fill:var(--good)}.lost{fill:var(--bad)}
ol.moves{list-style:none;padding:0}ol.moves li{margin:.5rem 0}ol.moves svg{height:.9rem}
.axis{display:flex;justify-content:space-between;margin:0}
.detect{fill:var(--detect)}.detach{fill:var(--detach)}.attach{fill:var(--attach)}.plumb{fill:var(--plumb)}
.key svg{display:inline-block;width:.8rem;height:.8rem;border:0;vertical-align:-.1rem}
.key span{white-space:nowrap;margin-right:.5rem}
"""


def render(snapshot: Snapshot, now: float, *, reloads: bool = False) -> str:
    """The page at ``now``, by the observer's clock: all that this observer knows, and what its peers last told it."""
    own = of(snapshot, now)
    names = {each.target: each.up_as for each in snapshot.addresses if each.up_as}
    told = [_now(each, own, names, now) for each in snapshot.peers if each.report is not None and not each.is_silent]
    shown = overview(own.time, own.name, [each.address for each in own.addresses], [own, *filter(None, told)])
    probes = {each.target: each.probes for each in snapshot.addresses}
    title = f"{shown.verdict}: {shown.name or 'floatingip'}"
    parts = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f'<meta http-equiv="refresh" content="{RELOADS_EVERY}">' if reloads else "",
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>",
        f"<body><header><h1>{_text(shown.name or 'floatingip')} {_verdict(shown.verdict)}</h1>",
        f'<p class="quiet">As the observer on {_node(own.node, own.instance)} sees it, {_text(clock(own.time))}. ',
        '<a href="?">Stop reloading</a>' if reloads else f'<a href="?{RELOADS}">Reload every {RELOADS_EVERY} s</a>',
        "</p></header><main>",
        *(part for each in shown.addresses for part in _address(each, shown, probes.get(each.address, ()), now)),
        *_observers(shown),
        "</main></body></html>",
    )
    return "".join(parts)


def _now(peer: PeerSnapshot, own: Report, names: Mapping[str, str], now: float) -> Report | None:
    """What a peer reported, brought up to ``now``, without what no longer counts.

    A report is up to ten seconds old, and older while an address is in doubt.  The peer's word is newer.  ``names`` has
    the sightings by which the word tells that the peer sees an address UP, by target.
    """
    report, word = peer.report, peer.status
    if report is None:
        return None
    past = {target for target, name in names.items() if word is not None and name not in word.sees_up}
    ages = {each.address: each.answer_age for each in own.addresses}
    since = now - peer.reported_at if peer.reported_at is not None else 0.0
    told = (_older(each, since, ages.get(each.address)) for each in report.addresses)
    addresses = tuple(_no_longer_up(each) if each.address in past else each for each in told)
    time, age = report.time + since, _aged(report.answer_age, since)
    return replace(report, time=time, answer_age=age, addresses=addresses)


def _aged(age: float | None, since: float) -> float | None:
    return None if age is None else age + since


def _older(each: AddressReport, since: float, own_age: float | None) -> AddressReport:
    """The report ``since`` seconds later, without its decision if EC2 has given this node a newer answer."""
    age = _aged(each.answer_age, since)
    if own_age is not None and (age is None or own_age < age):
        return replace(each, answer_age=age, state="", sentence="")
    return replace(each, answer_age=age)


def _no_longer_up(each: AddressReport) -> AddressReport:
    """The report with UNKNOWN instead of UP: the newer word no longer says that the address is UP."""
    if each.health is not HealthReport.UP:
        return each
    return replace(each, health=HealthReport.UNKNOWN, round_trip=None, node_ports={})


def _text(text: str) -> str:
    return escape(printable(text))


def _verdict(verdict: str) -> str:
    return f'<span class="verdict {verdict}">{verdict}</span>'


def _node(node: str, instance: str) -> str:
    return f"{_text(node)} ({_text(instance)})" if node else _text(instance)


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{_text(item)}</li>" for item in items) + "</ul>"


def _address(each: Picture, shown: Overview, probes: tuple[ProbeSpan, ...], now: float) -> Iterator[str]:
    yield f"<section><h2>{_text(each.address)} {_verdict(each.verdict)}</h2>"
    if each.findings:
        yield _list(each.findings)
    heads = ("Node", "Role", "Answers", "Can take over")
    yield from _table(f"Who holds {each.address}, and who could", heads, _nodes(each, shown))
    yield "<dl>"
    told = ((name, text) for name, text in details(each, shown) if name not in ("wrong", "last move"))
    yield "".join(f"<dt>{_text(name)}</dt><dd>{_text(text)}</dd>" for name, text in told)
    yield "</dl>"
    yield from _probes(probes, now)
    yield from _moves(each, shown)
    yield "</section>"


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table of rows whose cells are HTML.  On a narrow page each cell names its column itself."""
    yield f"<table><caption>{_text(caption)}</caption><thead><tr>"
    yield "".join(f'<th scope="col">{head}</th>' for head in heads)
    yield "</tr></thead><tbody>"
    for name, *cells in rows:
        yield f'<tr><th scope="row">{name}</th>'
        yield "".join(f'<td data-head="{head}">{cell}</td>' for head, cell in zip(heads[1:], cells, strict=True))
        yield "</tr>"
    yield "</tbody></table>"


def _nodes(each: Picture, shown: Overview) -> Iterator[Sequence[str]]:
    since = "" if each.since is None else f"since {span(shown.time - each.since)}{' or longer' * each.since_at_least}"
    role = f"holder<small>{_text(since)}</small>" if since else "holder"
    yield _name(each.node, each.holder or "nobody"), role, _seen(each.health, each.round_trip), "–"
    for standby in each.standbys:
        seen = _seen(standby.health, standby.round_trip)
        yield _name(standby.node, standby.instance), "standby", seen, _able(standby, shown.time)


def _name(node: str, instance: str) -> str:
    return f"{_text(node)}<small>{_text(instance)}</small>" if node else _text(instance)


def _seen(health: HealthReport, round_trip: float | None) -> str:
    trip = f"<small>{milliseconds(round_trip)}</small>" if round_trip is not None else ""
    said = "not probed" if health is HealthReport.UNPROBED else str(health)
    return f'<span class="{health}">{said}</span>{trip}'


def _able(standby: Standby, time: float) -> str:
    if standby.can_take_over:
        return '<span class="yes">yes</span>'
    kind, said = ("unknown", "unknown") if standby.can_take_over is None else ("no", "no")
    return f'<span class="{kind}">{said}</span>: {_text(lacking(standby, time))}'


def _probes(probes: tuple[ProbeSpan, ...], now: float) -> Iterator[str]:
    """A bar for each span: how long the slowest answer took, and, from above, which part was lost."""
    recent = [each for each in probes if now - each.began_at <= SHOWN_FOR]
    yield f"<h3>Probes of the last {span(SHOWN_FOR)}, from this node</h3>"
    if not recent:
        yield '<p class="quiet">None: a node does not probe what it holds.</p>'
        return
    answered, lost = sum(each.answered for each in recent), sum(each.lost for each in recent)
    slowest = max(each.slowest for each in recent)
    said = f"{answered} answered, {lost} lost; the slowest answer took {milliseconds(slowest)}"
    bars: dict[str, list[str]] = {"answered": [], "lost": []}
    for each in recent:
        x = (1 - (now - each.began_at) / SHOWN_FOR) * WIDE
        tall = max(LOWEST, each.slowest / slowest * HIGH * 0.9) if each.answered and slowest else 0.0
        cut = each.lost / (each.answered + each.lost) * HIGH
        if tall:
            bars["answered"].append(f"M{x:.1f} {HIGH}v-{tall:.1f}h3.4v{tall:.1f}z")
        if cut:
            bars["lost"].append(f"M{x:.1f} 0v{cut:.1f}h3.4v-{cut:.1f}z")
    yield _drawn(said, "".join(f'<path class="{kind}" d="{"".join(drawn)}"/>' for kind, drawn in bars.items() if drawn))
    yield f'<p class="axis quiet"><span>{span(SHOWN_FOR)} ago</span><span>now</span></p>'
    yield f'<p class="quiet">{_text(said)}.</p>'


def _drawn(said: str, drawn: str) -> str:
    """A drawing as wide as there is room; ``said`` is the same in words."""
    shape = f'viewBox="0 0 {WIDE} {HIGH}" preserveAspectRatio="none"'
    return f'<svg {shape} role="img" aria-label="{_text(said)}">{drawn}</svg>'


@dataclass(frozen=True, slots=True)
class _Bar:
    phase: str
    seconds: float
    x: float
    width: float


def _moves(each: Picture, shown: Overview) -> Iterator[str]:
    """The last moves, the newest first; all bars have one scale."""
    yield "<h3>Last moves</h3>"
    if not each.moves:
        yield '<p class="quiet">None that any observer saw since it started.</p>'
        return
    longest = max((move.seconds.get("duration", 0.0) for move in each.moves), default=0.0)
    yield '<ol class="moves">'
    for move in reversed(each.moves):
        yield f"<li>{_text(moved(move, shown))}"
        yield from _timeline(move, longest)
        yield "</li>"
    yield "</ol>"


def _timeline(move: Move, longest: float) -> Iterator[str]:
    if not longest or not move.seconds.get("duration"):
        return
    bars, x = list[_Bar](), 0.0
    for phase in PHASES:
        seconds = max(0.0, move.seconds.get(phase, 0.0))
        if phase in move.seconds:
            bars.append(_Bar(phase, seconds, x, seconds / longest * WIDE))
            x += seconds / longest * WIDE
    drawn = "".join(f'<rect class="{b.phase}" x="{b.x:.1f}" width="{b.width:.1f}" height="{HIGH}"/>' for b in bars)
    said = ", ".join(f"{bar.phase} {bar.seconds:.1f} s" for bar in bars)
    yield _drawn(said, drawn)
    key = (
        f'<span><svg viewBox="0 0 1 1" aria-hidden="true"><rect class="{bar.phase}" width="1" height="1"/></svg>'
        f" {bar.phase} {bar.seconds:.1f} s</span>"
        for bar in bars
    )
    yield f'<p class="key quiet">{" ".join(key)}</p>'


def _observers(shown: Overview) -> Iterator[str]:
    yield "<section><h2>Observers</h2>"
    rows = (
        (
            _name(each.node, each.instance),
            f"{span(each.answer_age)} ago" if each.answer_age is not None else "–",
            _text("; ".join(remarks(each)) or "–"),
        )
        for each in shown.observers
    )
    yield from _table("What each told last", ("Node", "EC2 answered it", "Remarks"), rows)
    if shown.unknown:
        yield f"<h3>Not learned</h3>{_list(shown.unknown)}"
    yield "</section>"
