"""The scenarios: what goes wrong, on how many workers, and what must be seen (play.py runs one)."""

from dataclasses import replace

from floatingip.core.model import Carry
from lab.ec2 import PROFILES, Profile
from lab.ec2.imds import Trouble
from lab.ec2.transport import Effect
from lab.history import Event
from lab.run import nemesis
from lab.run.hardships import HARDSHIPS
from lab.run.machine import Machine
from lab.run.ordeals import ORDEALS
from lab.run.region import Region
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
from lab.run.verdict import Expectation

WITHOUT_NFT = "/usr/bin:/bin"
"""A PATH on which there is everything but nft, which Debian keeps in /usr/sbin."""

SERVICE_WATCHED_FOR = 5.0
"""Seconds for which all is well before the nemesis strikes the service, which is checked on each node every three
seconds.
"""

FENCING = ("DetachNetworkInterface", "AssignPrivateIpAddresses", "UnassignIpv6Addresses")
"""The calls that take an address from its holder."""


def _served_after_the_trouble(bare: Expectation, profile: Profile) -> Expectation:
    """Served as soon as EC2's answers make sense again, or before that."""
    ec2 = profile.assign if bare.carry == Carry.ADDRESS else profile.detach + profile.attach + profile.device
    longest = nemesis.TROUBLE_AFTER + SERVED_AGAIN + ec2
    return replace(bare, max_outage_s=longest, min_moves=1, max_moves=1)


_IMDS = {
    Trouble.DOWN: "closes each connection without an answer",
    Trouble.HANGS: "does not answer",
    Trouble.DRIPS: "sends a byte now and then, without end",
    Trouble.NO_TOKEN: "hands out a token that it does not accept",
    Trouble.HTML: "answers with a page of somebody else's",
    Trouble.FAILS: "answers 503",
    Trouble.EMPTY: "answers with nothing",
    Trouble.NOT_FOUND: "answers 404",
}


def _bad_answers(name: str, title: str, effect: Effect, seconds: float = 0.0) -> Scenario:
    title = f"the holder loses power while {title}"
    return Scenario(f"ec2-{name}", title, nemesis.cut_power_while(effect, seconds), _served_after_the_trouble)


def _kill_the_claimer(region: Region, machine: Machine) -> None:
    """Cut the holder's power, and kill the observer that detaches its ENI before it can attach it."""

    def between(event: Event) -> None:
        detached = event["source"] == "ec2" and event.get("action") in FENCING
        if detached and event["error"] is None and not killed:
            killed.append(event["caller"])
            nemesis.kill_observer(region, region.machines.by_instance(event["caller"]))

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
            # A detach takes seconds, and so long nothing is wrong yet.
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
            prepare=lambda region: region.backends.serve_from(),
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
                f"the holder loses power, and for ten seconds each node's IMDS {how}",
                nemesis.cut_power_of_troubled,
                one_failover,
                begin=nemesis.trouble_imds(trouble),
            )
            for trouble, how in _IMDS.items()
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


def named(name: str, ec2: str) -> tuple[Scenario, Profile]:
    """The scenario and the profile of these names.  Raises KeyError."""
    return SCENARIOS[name], PROFILES[ec2]
