"""
One run of a scenario, from the deployment to the verdict.

It is always the same: deploy, let clients measure, wait until a standby sees the address UP, let the nemesis act on the
holder, wait until all is quiet again, end the clients, judge the history.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from floatingip.core.model import Carry
from lab.ec2 import Profile
from lab.history import Event, History
from lab.kubernetes.cluster import Kind
from lab.run import asking, leftovers, nemesis
from lab.run.checker import check
from lab.run.floating import Floating, client_name
from lab.run.hostile import Attack
from lab.run.region import Region
from lab.run.scenario import OUTLASTS_A_MOVE, Scenario, nothing_moves
from lab.run.verdict import Expectation, Verdict, together

LONGEST = 120.0
"""Seconds, beyond what a run must last, after which it is judged as it is."""


def run(
    scenario: Scenario,
    profile: Profile,
    seed: int,
    *,
    addresses: Sequence[str] = (),
    carry: str = Carry.ENI,
    kubernetes: Kind = Kind.SMALL,
    record_to: Path | None = None,
    watch: Callable[[Event], None] | None = None,
    asks: bool = False,
) -> Verdict:
    """
    Run a scenario once for these floating addresses (none given: its own), and judge it.  ``watch`` is called with each
    event.

    asks: judge what `status` and `doctor` answer meanwhile (asking.py).  These commands take processor time that
    all others need to be in time.
    """
    with History(record_to) as history:
        if watch is not None:
            history.subscribe(watch)
        _tell(history, f"a VPC with {scenario.workers} workers is being made")
        with Region(
            profile,
            history,
            workers=scenario.workers,
            seed=seed,
            addresses=addresses or scenario.addresses,
            environment=scenario.environment,
            settings={"carry": carry, **scenario.settings},
            kubernetes=kubernetes,
            setup=scenario.setup,
        ) as region:
            if scenario.prepare is not None:
                scenario.prepare(region)
            _tell(history, "the product is being deployed")
            region.deploy(ready=scenario.gets_ready)
            with asking.Asking(region) if asks else nullcontext():
                expectations = play(region, scenario)
        verdict = judge(history.events(), expectations)
        return replace(verdict, faults=tuple(asking.faults(history.events(), carry))) if asks else verdict


def play(region: Region, scenario: Scenario) -> Sequence[Expectation]:
    """Run a scenario on a region whose deployment is ready; the answer is what must be seen of each address."""
    region.clients.measure(*scenario.clients)
    _tell(region.history, "clients measure, and standbys get to know the address")
    _wait_until_watched(region, scenario)
    expectations = _expectations(region, scenario)
    placed = [_placements(region, floating) for floating in region.floating]
    with Attack(region, scenario.attack) if scenario.attack else nullcontext():
        measured_since = _strike(region, scenario)
        _tell(region.history, "waiting until all is quiet again")
        _wait_until_quiet(region, scenario.lasts, expectations, placed)
        # What the attacker still has to finish must not disturb the clients.
        region.clients.stop()
    leftovers.record(region)
    enis = [frozenset(event["eni"] for event in region.attachments(floating)) for floating in region.floating]
    return [
        replace(one, enis=one.enis | seen, measured_since=measured_since)
        for one, seen in zip(expectations, enis, strict=True)
    ]


def _tell(history: History, what: str) -> None:
    """Record what takes some time from now on."""
    history.record({"source": "lab", "event": "step", "what": what})


def judge(events: Sequence[Event], expectations: Sequence[Expectation], since: int = 0) -> Verdict:
    """The checker's verdict on a scenario.  The first `since` events are from before it: of these it needs only who had
    the addresses.
    """
    told = [*_standing(events[:since]), *events[since:]]
    return together([check(told, expectation) for expectation in expectations])


def _standing(events: Sequence[Event]) -> list[Event]:
    """EC2's events about the attachments that are not over yet, about where each address is, and each Elastic IP."""
    told = [event for event in events if event["source"] == "ec2"]
    over = {event["attachment"] for event in told if event["event"] == "attachment" and event["status"] == "detached"}
    placed = {
        event["address"]: event for event in told if event["event"] == "address" and event["status"] == "assigned"
    }
    attached = [event for event in told if event["event"] == "attachment" and event["attachment"] not in over]
    associated = [event for event in told if event["event"] == "association" and event["status"] == "associated"]
    return [*attached, *placed.values(), *associated]


def _expectations(region: Region, scenario: Scenario) -> list[Expectation]:
    """What must be seen of each address: one that the nemesis does not hit must not notice it."""
    struck, expected = region.holder(), []
    for floating in region.floating:
        bare = Expectation(
            scenario=scenario.name,
            ec2=region.profile.name,
            address=floating.target,
            carry=region.carry,
            carried=region.carried(floating),
            enis=frozenset(event["eni"] for event in region.attachments(floating)),
            clients=frozenset(client_name(place, floating) for place in scenario.clients if place in floating.hosts),
            attacked=scenario.attack,
            max_agent_exits=scenario.agent_exits,
        )
        shared = scenario.hits_machine or (scenario.hits_link and region.carry == Carry.ADDRESS)
        hit = region.holder(floating) is struck and (shared or floating is region.floating[0])
        expected.append(scenario.expect(bare, region.profile) if hit else nothing_moves(bare, region.profile))
    return expected


def _strike(region: Region, scenario: Scenario) -> float:
    """Strike; return from when the clients measure: from the start, unless something went wrong before the strike."""
    holder = region.holder()
    scenario.begin(region, holder)
    measured_since = 0.0 if scenario.begin is nemesis.nothing else time.time()
    event = {"source": "nemesis", "name": scenario.name, "target": holder.name}
    region.history.record({**event, "event": "begin", "title": scenario.title})
    scenario.strike(region, holder)
    region.history.record({**event, "event": "end"})
    return measured_since


def _wait_until_watched(region: Region, scenario: Scenario) -> None:
    """
    Wait until every standby that can has seen every address UP for a while, and all clients get answers.

    Raises TimeoutError.
    """
    began = len(region.history.events())
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        attempts = [event for event in region.history.events()[began:] if event["event"] == "attempt"]
        answered = {event["client"] for event in attempts if event["ok"]}
        if (_is_watched(region) or not scenario.is_watched) and answered == region.clients.names:
            time.sleep(scenario.watched_for)
            return
        time.sleep(0.05)
    raise TimeoutError("no standby sees the address UP after 30 s")


def _is_watched(region: Region) -> bool:
    """Whether every standby sees every address UP; false while one is on its way."""
    pods = {pod.node for pod in region.cluster.pods()}
    seen = {(e["node"], e["fields"]["address"]) for e in region.logged(event="decision", reason="ANSWERS")}
    try:
        holders = {floating.target: region.holder(floating).name for floating in region.floating}
    except LookupError:
        return False
    return all((node, target) in seen for target, holder in holders.items() for node in pods - {holder})


def _wait_until_quiet(
    region: Region, at_least: float, expectations: Sequence[Expectation], placed: Sequence[int]
) -> None:
    """Wait until nothing failed or moved for a while, and what has to happen has happened; `placed` is how often
    each address had been placed before the nemesis.
    """
    began = time.monotonic()
    while time.monotonic() - began < at_least + LONGEST:
        time.sleep(0.1)
        failed = [e for e in region.history.events() if e["event"] == "attempt" and not e["ok"]]
        trouble = [event["t"] for event in failed[-1:]]
        settled = True
        for floating, before, expected in zip(region.floating, placed, expectations, strict=True):
            changes = region.attachments(floating)
            trouble.append(changes[-1]["t"])
            moved = _placements(region, floating) - before
            settled = settled and changes[-1]["status"] == "attached" and moved >= expected.min_moves
        if settled and time.time() - max(trouble) > OUTLASTS_A_MOVE and time.monotonic() - began > at_least:
            return


def _placements(region: Region, floating: Floating) -> int:
    return sum(event["status"] == "attached" for event in region.attachments(floating))
