"""
The scenarios: what goes wrong, on how many workers, and what must be seen then.

A run is always the same: deploy, let clients measure, wait until a standby sees the address UP, let the nemesis act
on the holder, wait until all is quiet again, end the clients, judge the history.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from floatingip.model import Carry
from lab import nemesis
from lab.checker import Expectation, Verdict, check, together
from lab.ec2 import PROFILES, Profile
from lab.history import Event, History
from lab.kubernetes.cluster import Kind
from lab.region import FLOATING_IP, SHUTDOWN_TAKES, Floating, Machine, Region, client_name

DETECTION = 2.0
"""Seconds from the nemesis to the logged takeover, at most, with the default settings."""

OVERHEAD = 0.5
"""Seconds that the product may add to detection and EC2's own time."""

INSTANT = 2.5
"""Seconds of outage in all where EC2 takes no time."""

HANDED_OVER = 1.5
"""Seconds of outage, at most, when an address moves by request or because its node is about to end."""

REPAIR = 1.0
"""Seconds until a holder must have mended its own plumbing."""

NOTICE = 2.5
"""Seconds beyond EC2's attach until a detached ENI is back."""

FORCE_AFTER = 5.0
"""Seconds, the setting's default."""

NEIGHBOUR_FORGETS = 60.0
"""Seconds after which a Linux neighbour has asked anew; 41 were seen."""

SERVICE_FALL = 6.0
"""Seconds until five checks of the service, a second apart, are lost."""

WITHOUT_NFT = "/usr/bin:/bin"
"""A PATH on which there is everything but nft, which Debian keeps in /usr/sbin."""

WATCHED_FOR = 0.5
"""Seconds for which all is well before the nemesis strikes."""

SERVICE_WATCHED_FOR = 2.5
"""The same where the service is checked: every second, and twice until it counts as up."""

QUIET = 2.0
"""Seconds without a failed attempt or an open move after which a run is over."""

LONGEST = 120.0
"""Seconds after which a run is judged as it is."""

FENCING = ("DetachNetworkInterface", "AssignPrivateIpAddresses", "UnassignIpv6Addresses")
"""The calls that take an address from its holder."""

Nemesis = Callable[[Region, Machine], None]


@dataclass(frozen=True)
class Scenario:
    """
    One misfortune.

    expect: adds the bounds that a profile allows to a bare expectation.
    lasts: seconds that are watched at least, for what must *not* happen.
    hits_machine: whether all addresses of the holder are hit, not only the first one.
    hits_link: whether all are where they share an interface.
    agent_exits: how many containers may end by themselves.
    environment: what every pod has in addition to the manifest's.
    settings: what is set otherwise than by default.
    """

    name: str
    title: str
    strike: Nemesis
    expect: Callable[[Expectation, Profile], Expectation]
    workers: int = 2
    lasts: float = 3.0
    hits_machine: bool = True
    hits_link: bool = False
    agent_exits: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    clients: tuple[str, ...] = ("out", "in")


def _nothing_moves(bare: Expectation, _: Profile) -> Expectation:
    return replace(bare, max_outage_s=0.0, max_moves=0)


def _mended_in_place(bare: Expectation, _: Profile) -> Expectation:
    return replace(bare, max_outage_s=REPAIR, max_moves=0)


def _one_failover(bare: Expectation, profile: Profile) -> Expectation:
    most = INSTANT if profile.name == "instant" else None
    return replace(
        bare, max_outage_s=most, max_detection_s=DETECTION, max_overhead_s=OVERHEAD, min_moves=1, max_moves=1
    )


def _relieved(bare: Expectation, profile: Profile) -> Expectation:
    """A planned move: nobody notices where the address moves; where the ENI does, EC2's own time is all there is."""
    ec2 = 0.0 if bare.carry == Carry.ADDRESS else profile.detach + profile.attach + profile.device
    return replace(bare, max_outage_s=ec2 + HANDED_OVER, min_moves=1, max_moves=1)


def _forced(bare: Expectation, profile: Profile) -> Expectation:
    expected = _one_failover(bare, profile)
    if expected.max_outage_s is None or bare.carry == Carry.ADDRESS:
        return expected
    return replace(expected, max_outage_s=expected.max_outage_s + FORCE_AFTER)


def _after_termination(bare: Expectation, profile: Profile) -> Expectation:
    """The machine serves on for a while; `instant` lets go of the ENI at once: nobody is convicted then."""
    expected = _one_failover(bare, profile)
    if profile.name == "instant":
        return replace(expected, max_detection_s=None, max_overhead_s=None)
    return replace(expected, max_detection_s=SHUTDOWN_TAKES + DETECTION)


def _back_again(bare: Expectation, profile: Profile) -> Expectation:
    return replace(bare, max_outage_s=profile.attach + profile.device + NOTICE, max_moves=1)


def _neighbours_forget(bare: Expectation, profile: Profile) -> Expectation:
    """An ENI that moves takes its MAC along; an address that moves is lost to neighbours until they ask anew."""
    if bare.carry == Carry.ENI:
        return _one_failover(bare, profile)
    return replace(bare, max_outage_s=NEIGHBOUR_FORGETS, min_moves=1, max_moves=1)


def _service_moves(bare: Expectation, profile: Profile) -> Expectation:
    moved = _relieved(bare, profile)
    return replace(moved, max_outage_s=(moved.max_outage_s or 0.0) + SERVICE_FALL + profile.assign)


def _unserved(bare: Expectation, _: Profile) -> Expectation:
    return replace(bare, max_moves=1, served=False)


def _one_move(bare: Expectation, _: Profile) -> Expectation:
    return replace(bare, min_moves=1, max_moves=1)


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
        Scenario("pod-delete", "the holder's pod is deleted", nemesis.pod_delete, _nothing_moves, lasts=8.0),
        Scenario(
            "cordon-delete",
            "the holder is cordoned and its pod deleted",
            nemesis.cordon_and_delete,
            _nothing_moves,
            workers=3,
            lasts=8.0,
        ),
        Scenario(
            "announcements-lost",
            "the holder loses power, and its neighbours do not hear that the address has another MAC now",
            nemesis.cut_power_unheard,
            _neighbours_forget,
        ),
        Scenario("node-terminated", "the holder's instance is terminated", nemesis.terminate, _after_termination),
        Scenario("power-cut", "the holder loses power", nemesis.cut_power, _one_failover),
        Scenario("kernel-hang", "the holder's kernel hangs", nemesis.hang_kernel, _forced),
        Scenario(
            "link-flap",
            "the ENI's link goes down and up",
            nemesis.flap_link,
            _mended_in_place,
            hits_machine=False,
            hits_link=True,
        ),
        Scenario("rules-flushed", "our rules, routes and marks are flushed", nemesis.flush_rules, _mended_in_place),
        Scenario(
            "address-removed",
            "the address is removed by hand",
            nemesis.remove_address,
            _mended_in_place,
            hits_machine=False,
        ),
        Scenario(
            "eni-detached",
            "the ENI is detached by hand",
            nemesis.detach_eni,
            _back_again,
            hits_machine=False,
            hits_link=True,
        ),
        Scenario(
            "icmp-closed",
            "a security group closes ICMP to the address",
            nemesis.close_icmp,
            _nothing_moves,
            hits_machine=False,
            lasts=12.0,
        ),
        Scenario(
            "nft-missing",
            "no node has nft: nobody can serve, and moving does not help",
            nemesis.nothing,
            _unserved,
            lasts=25.0,
            clients=(),
            environment={"PATH": WITHOUT_NFT},
        ),
        Scenario(
            "claimer-killed",
            "the holder loses power, and its successor's observer is killed between detach and attach",
            _kill_the_claimer,
            _one_move,
            agent_exits=1,
        ),
        Scenario("spot-notice", "EC2 is about to take the holder's spot instance back", nemesis.spot_notice, _relieved),
        Scenario(
            "asg-notice", "the holder's Auto Scaling group is about to terminate it", nemesis.asg_notice, _relieved
        ),
        Scenario(
            "maintenance-notice",
            "the holder is about to be rebooted for maintenance",
            nemesis.maintenance_notice,
            _relieved,
        ),
        Scenario(
            "partition",
            "the holder is cut off from everybody, EC2 included: it must let go of the address by itself",
            nemesis.partition,
            _one_failover,
            lasts=12.0,
        ),
        Scenario(
            "service-down",
            "the service answers nobody on the holder any more",
            nemesis.stop_service,
            _service_moves,
            settings={"service": "tcp:30007"},
        ),
        Scenario("rolling-restart", "`kubectl rollout restart`", nemesis.restart, _nothing_moves, workers=3, lasts=8.0),
        Scenario(
            "scale",
            "from two replicas to three and back",
            nemesis.scale_up_and_down,
            _nothing_moves,
            workers=3,
            lasts=8.0,
        ),
        Scenario("eviction", "the holder is drained", nemesis.drain, _relieved),
        Scenario("handover", "somebody asks for a handover", nemesis.hand_over, _relieved),
    )
}


def run(
    scenario: Scenario,
    profile: Profile,
    seed: int,
    *,
    addresses: Sequence[str] = (FLOATING_IP,),
    carry: str = Carry.ENI,
    kubernetes: Kind = Kind.SMALL,
    record_to: Path | None = None,
    watch: Callable[[Event], None] | None = None,
) -> Verdict:
    """Run a scenario once for these floating addresses, and judge it.  ``watch`` is called with each event."""
    with History(record_to) as history:
        if watch is not None:
            history.subscribe(watch)
        with Region(
            profile,
            history,
            workers=scenario.workers,
            seed=seed,
            addresses=addresses,
            environment=scenario.environment,
            settings={"carry": carry, **scenario.settings},
            kubernetes=kubernetes,
        ) as region:
            region.deploy()
            expectations = play(region, scenario)
        return judge(history.events(), expectations)


def play(region: Region, scenario: Scenario) -> Sequence[Expectation]:
    """Run a scenario on a region whose deployment is ready; the answer is what must be seen of each address."""
    region.measure(*scenario.clients)
    _wait_until_watched(region, SERVICE_WATCHED_FOR if "service" in scenario.settings else WATCHED_FOR)
    expectations = _expectations(region, scenario)
    placed = [_placements(region, floating) for floating in region.floating]
    _strike(region, scenario)
    _wait_until_quiet(region, scenario.lasts, expectations, placed)
    region.stop_clients()
    region.record_leftovers()
    return expectations


def judge(events: Sequence[Event], expectations: Sequence[Expectation], since: int = 0) -> Verdict:
    """What the checker says of a scenario, before which there were `since` events already: of those it need know only
    who had the addresses then.
    """
    told = [*_standing(events[:since]), *events[since:]]
    return together([check(told, expectation) for expectation in expectations])


def _standing(events: Sequence[Event]) -> list[Event]:
    """EC2's events about the attachments that are not over yet, and about where each address is."""
    told = [event for event in events if event["source"] == "ec2"]
    over = {event["attachment"] for event in told if event["event"] == "attachment" and event["status"] == "detached"}
    placed = {
        event["address"]: event for event in told if event["event"] == "address" and event["status"] == "assigned"
    }
    attached = [event for event in told if event["event"] == "attachment" and event["attachment"] not in over]
    return [*attached, *placed.values()]


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
            max_agent_exits=scenario.agent_exits,
        )
        shared = scenario.hits_machine or (scenario.hits_link and region.carry == Carry.ADDRESS)
        hit = region.holder(floating) is struck and (shared or floating is region.floating[0])
        expected.append(scenario.expect(bare, region.profile) if hit else _nothing_moves(bare, region.profile))
    return expected


def named(name: str, ec2: str) -> tuple[Scenario, Profile]:
    """The scenario and the profile of these names.  Raises KeyError."""
    return SCENARIOS[name], PROFILES[ec2]


def _strike(region: Region, scenario: Scenario) -> None:
    holder = region.holder()
    event = {"source": "nemesis", "name": scenario.name, "target": holder.name}
    region.history.record({**event, "event": "begin", "title": scenario.title})
    scenario.strike(region, holder)
    region.history.record({**event, "event": "end"})


def _wait_until_watched(region: Region, lasts: float) -> None:
    """Until every standby has seen every address UP for a while, and all clients get answers.  Raises TimeoutError."""
    began = len(region.history.events())
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        attempts = [event for event in region.history.events()[began:] if event["event"] == "attempt"]
        answered = {event["client"] for event in attempts if event["ok"]}
        if _is_watched(region) and answered == region.measuring():
            time.sleep(lasts)
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
    while time.monotonic() - began < LONGEST:
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
