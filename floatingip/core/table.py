"""An overview as text: one table of all addresses with their holders and standbys, then details of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from floatingip.core.move import Move, Result
from floatingip.core.overview import Observer, Overview, Picture, Standby, Verdict
from floatingip.core.report import HealthReport
from floatingip.core.wording import clock, milliseconds, printable, span

HEAD = ("ADDRESS", "ROLE", "NODE", "INSTANCE", "SINCE", "HEALTH", "RTT", "CAN TAKE OVER")

NARROWEST_LAST = 16
"""Characters that the last column needs at least; if there is less room, each cell gets a line of its own."""

_GAP = "  "


def lines(shown: Overview, width: int | None = None) -> Iterator[str]:
    """The lines of an overview, none longer than ``width``; None for no limit."""
    carry = f", carry: {shown.carry}" if shown.carry else ""
    yield from _hanging("", f"{shown.name or 'floatingip'}: {_loud(shown.verdict)}{carry}, {clock(shown.time)}", width)
    worst = next((each for each in shown.addresses if each.verdict is shown.verdict and each.findings), None)
    if worst is not None:
        yield from _hanging("wrong: ", f"{worst.address}: {worst.findings[0]}", width)
    yield ""
    rows = [row for each in shown.addresses for row in _rows(each, shown)]
    yield from _table([HEAD, *rows], width)
    for each in shown.addresses:
        yield ""
        yield from _hanging("", f"{each.address}: {_loud(each.verdict)}", width)
        for name, text in details(each, shown):
            yield from _hanging(f"  {name:<12}", text, width)
    said = [(each, what) for each in shown.observers for what in remarks(each)]
    if said or shown.unknown:
        yield ""
    for observer, what in said:
        yield from _hanging("", f"{_name(observer.node, observer.instance)}: {what}", width)
    for what in shown.unknown:
        yield from _hanging("not learned: ", what, width)


def _loud(verdict: Verdict) -> str:
    return verdict.upper() if verdict is Verdict.DOWN else str(verdict)


def _rows(each: Picture, shown: Overview) -> Iterator[tuple[str, ...]]:
    since = span(shown.time - each.since) if each.since is not None else "-"
    since = f"over {since}" if each.since_at_least and each.since is not None else since
    if each.holder:
        yield _row(each.address, "holder", each.node or "-", each.holder, since, *_seen(each), "-")
    else:
        yield _row(each.address, "holder", "nobody", "-", "-", *_seen(each), "-")
    for standby in each.standbys:
        able = _able(standby, shown.time)
        yield _row(each.address, "standby", standby.node or "-", standby.instance, "-", *_seen(standby), able)


def _row(*cells: str) -> tuple[str, ...]:
    return tuple(map(printable, cells))


def _seen(by: Picture | Standby) -> tuple[str, str]:
    """Whether the address answers, and the round-trip time."""
    return _HEALTH[by.health], milliseconds(by.round_trip) if by.round_trip is not None else "-"


_HEALTH = {
    HealthReport.UP: "up",
    HealthReport.DOWN: "DOWN",
    HealthReport.UNKNOWN: "unknown",
    HealthReport.UNPROBED: "not probed",
}


def _able(standby: Standby, time: float) -> str:
    if standby.can_take_over is None:
        return f"unknown: {standby.why_not}"
    return "yes" if standby.can_take_over else f"NO: {lacking(standby, time)}"


def lacking(standby: Standby, time: float) -> str:
    """Why the standby could not take over, and for how long that has been so."""
    since = standby.unready_since
    return standby.why_not if since is None else f"{standby.why_not} (for {span(time - since)})"


def details(each: Picture, shown: Overview) -> Iterator[tuple[str, str]]:
    """Details of an address, each with its name."""
    for finding in each.findings:
        yield "wrong", finding
    if each.wrong_since is not None:
        yield "since", f"{clock(each.wrong_since)}, {span(shown.time - each.wrong_since)} ago"
    if each.sentence:
        yield "state", each.sentence
    if each.node_ports:
        said = {True: "answers", False: "does NOT answer", None: "unknown"}
        yield "NodePorts", ", ".join(f"{port} {said[answers]}" for port, answers in sorted(each.node_ports.items()))
    move, is_told = each.last_move, any(not observer.problem for observer in shown.observers)
    none = "none that anybody saw since it started" if is_told else "not known: no observer told anything"
    yield "last move", moved(move, shown) if move is not None else none
    at_least = "" if is_told else "at least "  # EC2's tags have only the moves that counted for the ration.
    wait = each.rationed_until - shown.time if each.rationed_until is not None else 0.0
    rationed = f"not before {span(wait)} from now" if wait > 0 else "could be at once"
    yield "moves", f"{at_least}{each.moves_in_ten_minutes} in the last ten minutes; the next rationed one {rationed}"
    yield "EC2", f"answered {span(each.answer_age)} ago" if each.answer_age is not None else "has not answered yet"
    if each.order is not None:
        to = "any standby" if each.order.to == "*" else called(shown, each.order.to)
        yield "order", f"to be handed over to {to}, for {span(each.order.until - shown.time)} more"


def moved(move: Move, shown: Overview) -> str:
    """One move in words."""
    source = called(shown, move.source) if move.source else "nobody"
    rule = f", {move.rule}" if move.rule else ""
    at = f"{span(shown.time - move.began_at)} ago ({clock(move.began_at)})"
    told = f"{at}{rule}, from {source} to {called(shown, move.to)}"
    phases = [f"{phase} {seconds:.1f}" for phase, seconds in move.seconds.items() if phase != "duration"]
    total = move.seconds.get("duration")
    told = f"{told}, {total:.1f} s: {', '.join(phases)}" if total is not None else told
    return f"{told}; {_IN_VAIN[move.result]}" if move.result in _IN_VAIN else told


_IN_VAIN = {
    Result.LOST_RACE: "in vain, another node was faster",
    Result.KEPT: "in vain, it has not moved",
    Result.FAILED: "in vain, it has not moved",
}


def called(shown: Overview, instance: str) -> str:
    """A node by its name, if that is known, or else its instance."""
    node = next((each.node for each in shown.observers if each.instance == instance), "")
    return node or instance


def remarks(observer: Observer) -> Iterator[str]:
    """Sentences on what is wrong with an observer."""
    if observer.problem:
        yield f"told nothing: {observer.problem}"
    if observer.leaving:
        yield f"is leaving: {observer.leaving}"
    if observer.ec2_problem:
        age = observer.answer_age
        last = f"its last answer is {span(age)} old" if age is not None else "it never did"
        yield f"EC2 does not answer it as it should ({last}): {observer.ec2_problem}"
    if observer.clock_ahead:
        said = f"{span(abs(observer.clock_ahead))} {'ahead of' if observer.clock_ahead > 0 else 'behind'} this one's"
        yield f"its clock is {said}: `floatingip doctor` on both nodes says whose is wrong"


def _name(node: str, instance: str) -> str:
    return f"{node} ({instance})" if node else instance


# Layout.


def _table(rows: Sequence[Sequence[str]], width: int | None) -> Iterator[str]:
    """Columns as wide as they need to be; the last one is wrapped."""
    *sizes, _ = [max(map(len, column)) for column in zip(*rows, strict=True)]
    before = sum(sizes) + len(_GAP) * len(sizes)
    if width is not None and before + NARROWEST_LAST > width:
        yield from _stacked(rows, width)
        return
    for row in rows:
        cells = [cell.ljust(size) for cell, size in zip(row, sizes, strict=False)]
        yield from _hanging("".join(f"{cell}{_GAP}" for cell in cells), row[-1], width)


def _stacked(rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """For a terminal too narrow for the columns: the cells of a row one after the other."""
    head, *members = rows
    for address, role, node, *rest in members:
        yield from _hanging("", f"{address} {role} {node}", width)
        for name, cell in zip(head[3:], rest, strict=True):
            if cell != "-":
                yield from _hanging(f"  {name.lower()}: ", cell, width)


def _hanging(begin: str, text: str, width: int | None) -> Iterator[str]:
    """The text after ``begin``, wrapped; its further lines are indented to stand below the first."""
    words, room = printable(text).split(" "), max(1, width - len(begin)) if width is not None else None
    line = ""
    for word in words:
        longer = f"{line} {word}" if line else word
        if room is not None and line and len(longer) > room:
            yield f"{begin}{line}".rstrip()
            begin, line = " " * len(begin), word
        else:
            line = longer
        while room is not None and len(line) > room:
            yield f"{begin}{line[:room]}"
            begin, line = " " * len(begin), line[room:]
    yield f"{begin}{line}".rstrip()
