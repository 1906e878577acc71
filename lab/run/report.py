"""The result of a torture or a soak, in Markdown.  Pure."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import median

from lab.run.census import TOLERATED, most_of
from lab.run.rack import Outcome
from lab.run.scenario import Scenario
from lab.run.soak import SPARED, Soak, Soaked
from lab.run.torture import Torture


def torture(asked: Torture, outcomes: Sequence[Outcome], took_s: float, titles: Mapping[str, Scenario]) -> str:
    """
    What was tried, with which result, and each fault with the command that shows it again.

    took_s: how long all of it took, in seconds.
    """
    faulty = [outcome for outcome in outcomes if not outcome.ok and not outcome.undecided]
    undecided = [outcome for outcome in outcomes if outcome.undecided]
    command = _command(asked)
    lines = [
        f"`{command}`: {_minutes(took_s)}, EC2 `{asked.profile.name}`, {asked.workers} workers.",
        "",
        f"{len(outcomes)} rounds, {sum(len(outcome.round.names) for outcome in outcomes)} misfortunes,"
        f" {sum(outcome.moves for outcome in outcomes)} moves, **{_count(len(faulty), 'fault')}**,"
        f" {len(undecided) or 'none'} undecided.",
        "",
        "| misfortune | rounds | moves | outage: median | longest |",
        "|---|--:|--:|--:|--:|",
    ]
    kinds: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        kinds[outcome.round.names[-1]].append(outcome)
    for name, found in sorted(kinds.items()):
        outages = [outcome.outage_s for outcome in found if not outcome.undecided]
        times = f"{median(outages):.2f} s | {max(outages):.2f} s" if outages else "- | -"
        with_others = sorted({other for outcome in found for other in outcome.round.names[:-1]})
        beside = f"; beside it: {', '.join(f'`{other}`' for other in with_others)}" if with_others else ""
        lines.append(
            f"| `{name}`: {titles[name].title}{beside} | {len(found)} | {sum(one.moves for one in found)} | {times} |"
        )
    if faulty:
        lines += ["", *_faults(asked, faulty)]
    if undecided:
        lines += ["", "Undecided: late, while the lab or an observer had no processor for half a second or more:", ""]
        lines += _faults(asked, undecided)
    return "\n".join(lines).rstrip() + "\n"


def soak(asked: Soak, found: Soaked) -> str:
    """How many failovers there were, how long they took, and all counts before and after."""
    until = f"--failovers {asked.failovers}" if asked.failovers is not None else f"--minutes {asked.minutes:g}"
    outages: dict[str, list[float]] = defaultdict(list)
    for one in found.failovers:
        outages[str(one.round)].append(one.outage_s)
    faulty = [one for one in found.failovers if not one.ok and not one.undecided]
    undecided = [one for one in found.failovers if one.undecided]
    lines = [
        f"`python -m lab soak {until} --seed {asked.seed} --carry {asked.carry} --ec2 {asked.profile.name}`:"
        f" {_minutes(found.took_s)}.",
        "",
        f"{len(found.failovers)} failovers, **{_count(len(faulty), 'fault')}, {_count(len(found.leaks), 'leak')}**.",
        "",
        "| failover | times | outage: median | longest |",
        "|---|--:|--:|--:|",
        *(
            f"| `{name}` | {len(each)} | {median(each):.2f} s | {max(each):.2f} s |"
            for name, each in sorted(outages.items())
        ),
        "",
        "| | after the first | after the last | tolerated more |",
        "|---|--:|--:|--:|",
    ]
    for what in found.after.nodes[0].counts:
        for is_holder, role in ((True, "holder"), (False, "standby with most")):
            was, now = (most_of(one.nodes, what, is_holder=is_holder) for one in (found.before, found.after))
            lines.append(f"| {what}, {role} | {_unit(what, was)} | {_unit(what, now)} | {_allowed(what)} |")
    first, last = (next(one for one in each.nodes if one.name == SPARED) for each in (found.before, found.after))
    if first.process == last.process:
        lines.append(
            f"| memory, the process that lived through all | {_unit('memory', first.counts['memory'])} |"
            f" {_unit('memory', last.counts['memory'])} | {_allowed('memory')} |"
        )
    lines += [f"| EC2: {what} | {found.before.ec2[what]} | {count} | 0 |" for what, count in found.after.ec2.items()]
    lines += ["", *(f"- {leak}" for leak in found.leaks)]
    for one in (*faulty, *undecided):
        busy = " (undecided: the machine was busy)" if one.undecided else ""
        lines += [f"- failover {one.round.number}, {one.round}{busy}: {fault}" for fault in one.faults]
    return "\n".join(lines).rstrip() + "\n"


def _unit(what: str, count: int) -> str:
    return f"{count / 1024.0:.1f} MiB" if what == "memory" else str(count)


def _allowed(what: str) -> str:
    return _unit(what, TOLERATED.get(what, 0)) if what in TOLERATED else "0"


def put(document: str, heading: str, section: str) -> str:
    """The document with this section under its heading: in place of a section of that name, or at the end."""
    parts = re.split(r"(?m)^(?=## )", document)
    kept = [part.rstrip() for part in parts if part.strip()]
    fresh = f"## {heading}\n\n{section.rstrip()}"
    places = [index for index, part in enumerate(kept) if part.splitlines()[0] == f"## {heading}"]
    if places:
        kept[places[0]] = fresh
    else:
        kept.append(fresh)
    return "\n\n".join(kept) + "\n"


def _faults(asked: Torture, faulty: Sequence[Outcome]) -> list[str]:
    lines: list[str] = []
    for outcome in faulty:
        at = datetime.fromtimestamp(outcome.at, UTC)
        again = f"{_command(asked, first=False)} --first {outcome.round.number}"
        lines.append(f"- {at:%Y-%m-%d %H:%M:%S}Z, round {outcome.round.number}, {outcome.round} (again: `{again}`):")
        lines += [f"  - {fault}" for fault in outcome.faults]
    return lines


def _command(asked: Torture, *, first: bool = True) -> str:
    command = f"python -m lab torture --minutes {asked.minutes:g} --seed {asked.seed} --carry {asked.carry}"
    if asked.profile.name != "typical":
        command += f" --ec2 {asked.profile.name}"
    if asked.workers != Torture.workers:
        command += f" --workers {asked.workers}"
    return command + (f" --first {asked.first}" if first and asked.first != 1 else "")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60.0:.1f} minutes"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
