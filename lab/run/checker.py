"""
Judge a run by its history.

Pure: no I/O, no clock; a list of events goes in (history.py), a Verdict comes out.  Every rule that a run can break is
one function below that says what is wrong, in words; a run in which nothing is wrong is "ok".
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from lab.run import attacker
from lab.run.account import Event, Run
from lab.run.verdict import Expectation, Verdict

MINUTE = 60.0
MOST_MEMORY = 128 * 1024
"""kB that an observer may have, two thirds of the manifest's limit."""

MORE_THREADS, MORE_FILES = 8, 32
"""How many more an observer may have than before an attack: a failover needs some, above all for questions to EC2."""

LEAST = {"flood": {"connects": attacker.CONNECTS}}
"""How often an attack must have used each of these means to count as one."""


def check(history: Sequence[Event], expectation: Expectation) -> Verdict:
    """Judge a run: measure it, and compare it with what was expected."""
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


def _clients_measured(run: Run, expectation: Expectation) -> Iterator[str]:
    """Without a client that ran all the time, the absence of an outage proves nothing."""
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
    # The calls of the deployment do not count.
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
    """An attack that did not take place proves nothing."""
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
