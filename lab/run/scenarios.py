"""
The scenarios: what goes wrong, on how many workers, and what must be seen then.

A run is always the same: deploy, let clients measure, wait until a standby sees the address UP, let the nemesis act
on the holder, wait until all is quiet again, end the clients, judge the history.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from floatingip.core.model import Carry
from lab.ec2 import PROFILES, Profile
from lab.ec2.imds import Trouble
from lab.ec2.transport import Effect
from lab.history import Event, History
from lab.kubernetes.cluster import Kind
from lab.run import asking, nemesis
from lab.run.checker import check
from lab.run.hardships import HARDSHIPS
from lab.run.hostile import Attack
from lab.run.ordeals import ORDEALS
from lab.run.region import Floating, Machine, Region, client_name
from lab.run.scenario import (
    OUTLASTS_PATIENCE,
    SERVED_AGAIN,
    Scenario,
    after_termination,
    back_again,
    forced,
    mended_in_place,
    moves_to_the_service,
    neighbours_forget,
    nothing_moves,
    one_failover,
    one_move,
    relieved,
    service_gone,
    service_moves,
    unserved,
)
from lab.run.verdict import Expectation, Verdict, together

WITHOUT_NFT = "/usr/bin:/bin"
"""A PATH on which there is everything but nft, which Debian keeps in /usr/sbin."""

SERVICE_WATCHED_FOR = 5.0
"""Seconds for which all is well before the nemesis strikes, where the service is: it is checked on each node every
three.
"""

QUIET = 2.0
"""Seconds without a failed attempt or an open move after which a run is over."""

LONGEST = 120.0
"""Seconds after which, once it has lasted as long as it must, a run is judged as it is."""

FENCING = ("DetachNetworkInterface", "AssignPrivateIpAddresses", "UnassignIpv6Addresses")
"""The calls that take an address from its holder."""


def _served_after_the_trouble(bare: Expectation, profile: Profile) -> Expectation:
    """As soon as EC2 can be understood again, or before that."""
    ec2 = profile.assign if bare.carry == Carry.ADDRESS else profile.detach + profile.attach + profile.device
    longest = nemesis.TROUBLE_AFTER + SERVED_AGAIN + ec2
    return replace(bare, max_outage_s=longest, min_moves=1, max_moves=1)


def _bad_answers(name: str, title: str, effect: Effect, seconds: float = 0.0) -> Scenario:
    title = f"the holder loses power while {title}"
    return Scenario(f"ec2-{name}", title, nemesis.cut_power_while(effect, seconds), _served_after_the_trouble)


def _kill_the_claimer(region: Region, machine: Machine) -> None:
    """Cut the holder's power, and kill the observer that detaches its ENI before it can attach it."""

    def between(event: Event) -> None:
        detached = event["source"] == "ec2" and event.get("action") in FENCING
        if detached and event["error"] is None and not killed:
            killed.append(event["caller"])
            nemesis.kill_observer(region, region.by_instance(event["caller"]))

    killed: list[str] = []
    region.history.subscribe(between)
    nemesis.cut_power(region, machine)


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("pod-delete", "the holder's pod is deleted", nemesis.pod_delete, nothing_moves, lasts=8.0),
        Scenario(
            "cordon-delete",
            "the holder is cordoned and its pod deleted",
            nemesis.cordon_and_delete,
            nothing_moves,
            workers=3,
            lasts=8.0,
        ),
        Scenario(
            "announcements-lost",
            "the holder loses power, and its neighbours do not hear that the address has another MAC now",
            nemesis.cut_power_unheard,
            neighbours_forget,
        ),
        Scenario("node-terminated", "the holder's instance is terminated", nemesis.terminate, after_termination),
        Scenario("power-cut", "the holder loses power", nemesis.cut_power, one_failover),
        Scenario("kernel-hang", "the holder's kernel hangs", nemesis.hang_kernel, forced),
        Scenario(
            "link-flap",
            "the ENI's link goes down and up",
            nemesis.flap_link,
            mended_in_place,
            hits_machine=False,
            hits_link=True,
        ),
        Scenario("rules-flushed", "our rules, routes and marks are flushed", nemesis.flush_rules, mended_in_place),
        Scenario(
            "address-removed",
            "the address is removed by hand",
            nemesis.remove_address,
            mended_in_place,
            hits_machine=False,
        ),
        Scenario(
            "eni-detached",
            "the ENI is detached by hand",
            nemesis.detach_eni,
            back_again,
            # A detach takes seconds in which nothing is wrong yet.
            lasts=6.0,
            hits_machine=False,
            hits_link=True,
        ),
        Scenario(
            "icmp-closed",
            "a security group closes ICMP to the address",
            nemesis.close_icmp,
            nothing_moves,
            hits_machine=False,
            lasts=OUTLASTS_PATIENCE,
        ),
        Scenario(
            "nft-missing",
            "no node has nft: nobody can serve, and moving does not help",
            nemesis.nothing,
            unserved,
            lasts=25.0,
            clients=(),
            environment={"PATH": WITHOUT_NFT},
            gets_ready=False,
            is_watched=False,
        ),
        Scenario(
            "claimer-killed",
            "the holder loses power, and its successor's observer is killed between detach and attach",
            _kill_the_claimer,
            one_move,
            agent_exits=1,
        ),
        Scenario("spot-notice", "EC2 is about to take the holder's spot instance back", nemesis.spot_notice, relieved),
        Scenario(
            "asg-notice", "the holder's Auto Scaling group is about to terminate it", nemesis.asg_notice, relieved
        ),
        Scenario(
            "maintenance-notice",
            "the holder is about to be rebooted for maintenance",
            nemesis.maintenance_notice,
            relieved,
        ),
        Scenario(
            "partition",
            "the holder is cut off from everybody, EC2 included: it must let go of the address by itself",
            nemesis.partition,
            one_failover,
            lasts=12.0,
        ),
        Scenario(
            "service-down",
            "the service answers nobody on the holder any more",
            nemesis.stop_service,
            service_moves,
            watched_for=SERVICE_WATCHED_FOR,
        ),
        Scenario(
            "named-service-down",
            "the one service that the settings name answers nobody on the holder any more",
            nemesis.stop_service,
            service_moves,
            settings={"service": "tcp:30007"},
            watched_for=SERVICE_WATCHED_FOR,
        ),
        Scenario(
            "endpoint-moves",
            "the service's one pod ends on the holder, and is made anew on another of three nodes",
            nemesis.serve_from_standby,
            service_moves,
            workers=3,
            begin=nemesis.serve_from_holder,
            watched_for=SERVICE_WATCHED_FOR,
        ),
        Scenario(
            "holder-without-endpoint",
            "the service is deployed with one pod, on another of three nodes than the holder",
            nemesis.serve_from_standby,
            moves_to_the_service,
            workers=3,
            lasts=15.0,
            clients=(),
            prepare=Region.serve_from,
        ),
        Scenario(
            "service-gone-everywhere",
            "all pods of the service end at once",
            nemesis.serve_from_nowhere,
            service_gone,
            workers=3,
            lasts=20.0,
            clients=(),
            watched_for=SERVICE_WATCHED_FOR,
        ),
        Scenario("rolling-restart", "`kubectl rollout restart`", nemesis.restart, nothing_moves, workers=3, lasts=8.0),
        Scenario(
            "scale",
            "from two replicas to three and back",
            nemesis.scale_up_and_down,
            nothing_moves,
            workers=3,
            lasts=8.0,
        ),
        Scenario("eviction", "the holder is drained", nemesis.drain, relieved),
        Scenario(
            "imds-in-trouble",
            "IMDS answers badly on every node, in one way after the other",
            nemesis.trouble_imds_in_turn,
            nothing_moves,
        ),
        *(
            Scenario(
                f"imds-{trouble}",
                f"the holder loses power while IMDS answers badly on every node for ten seconds: {trouble}",
                nemesis.cut_power_of_troubled,
                one_failover,
                begin=nemesis.trouble_imds(trouble),
            )
            for trouble in Trouble
        ),
        Scenario("handover", "somebody asks for a handover", nemesis.hand_over, relieved),
        _bad_answers("unreadable", "a proxy answers for EC2, in plain text", Effect.TEXT),
        _bad_answers("page", "EC2's answers are somebody's welcome page", Effect.PAGE),
        _bad_answers("overloaded", "EC2 answers 429 and nothing else", Effect.EMPTY),
        _bad_answers("cut-off", "EC2's answers break off", Effect.CUT),
        _bad_answers("drips", "EC2's answers come one byte a second", Effect.DRIP),
        _bad_answers("hangs", "EC2 does not answer", Effect.HANG),
        _bad_answers("slow", "each of EC2's answers takes four seconds", Effect.SLOW, seconds=4.0),
        *(
            Scenario(
                f"hostile-{attack}",
                f"the holder loses power while a pod {what}",
                nemesis.cut_power,
                one_failover,
                workers=3,
                lasts=1.0,
                attack=attack,
            )
            for attack, what in (
                ("words", "speaks to its standby as a peer"),
                ("answers", "answers as a peer, by what is no word"),
                ("flood", "floods both observers"),
            )
        ),
        *HARDSHIPS,
        *ORDEALS,
    )
}


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

    asks: what is judged is what `status` and `doctor` answer meanwhile (asking.py).  They need the processor that all
    others need to be in time.
    """
    with History(record_to) as history:
        if watch is not None:
            history.subscribe(watch)
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
            region.deploy(ready=scenario.gets_ready)
            with asking.Asking(region) if asks else nullcontext():
                expectations = play(region, scenario)
        verdict = judge(history.events(), expectations)
        return replace(verdict, faults=tuple(asking.faults(history.events(), carry))) if asks else verdict


def play(region: Region, scenario: Scenario) -> Sequence[Expectation]:
    """Run a scenario on a region whose deployment is ready; the answer is what must be seen of each address."""
    region.measure(*scenario.clients)
    _wait_until_watched(region, scenario)
    expectations = _expectations(region, scenario)
    placed = [_placements(region, floating) for floating in region.floating]
    with Attack(region, scenario.attack) if scenario.attack else nullcontext():
        measured_since = _strike(region, scenario)
        _wait_until_quiet(region, scenario.lasts, expectations, placed)
        # What an attacker has to finish costs the observers alone.
        region.stop_clients()
    region.record_leftovers()
    enis = [frozenset(event["eni"] for event in region.attachments(floating)) for floating in region.floating]
    return [
        replace(one, enis=one.enis | seen, measured_since=measured_since)
        for one, seen in zip(expectations, enis, strict=True)
    ]


def judge(events: Sequence[Event], expectations: Sequence[Expectation], since: int = 0) -> Verdict:
    """What the checker says of a scenario, before which there were `since` events already: of those it need know only
    who had the addresses then.
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


def named(name: str, ec2: str) -> tuple[Scenario, Profile]:
    """The scenario and the profile of these names.  Raises KeyError."""
    return SCENARIOS[name], PROFILES[ec2]


def _strike(region: Region, scenario: Scenario) -> float:
    """The answer is since when the clients measure: from the start, unless something went wrong before."""
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
    Until every standby that can has seen every address UP for a while, and all clients get answers.

    Raises TimeoutError.
    """
    began = len(region.history.events())
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        attempts = [event for event in region.history.events()[began:] if event["event"] == "attempt"]
        answered = {event["client"] for event in attempts if event["ok"]}
        if (_is_watched(region) or not scenario.is_watched) and answered == region.measuring():
            time.sleep(scenario.watched_for)
            return
        time.sleep(0.05)
    raise TimeoutError("no standby sees the address UP after 30 s")


def _is_watched(region: Region) -> bool:
    """Every standby sees every address UP; not while one is on its way."""
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
    """Until nothing failed and nothing moved for a while, and what has to happen has happened; `placed` is how often
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
        if settled and time.time() - max(trouble) > QUIET and time.monotonic() - began > at_least:
            return


def _placements(region: Region, floating: Floating) -> int:
    return sum(event["status"] == "attached" for event in region.attachments(floating))
