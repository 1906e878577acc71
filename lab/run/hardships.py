"""
The failures of real nodes, neighbours and operators, as scenarios: earlier trouble must not make a failover slower, and
nothing moves unless the holder fails.  Each lasts longer than the time limit of the rule that it tests.
"""

from collections.abc import Callable
from dataclasses import replace

from lab.ec2 import Profile
from lab.run import nemesis
from lab.run.blow import die
from lab.run.ec2_trouble import answer_stale, delete_eni, describe_late, refuse_claims, stick, take_ec2_down, throttle
from lab.run.endings import End, after_notice, end
from lab.run.floating import ELASTIC_IP
from lab.run.scenario import (
    FORCE_AFTER,
    OUTLASTS_PATIENCE,
    Scenario,
    at_most_one_move,
    back_in_place,
    ended_gracefully,
    nothing_moves,
    nothing_moves_on_a_busy_machine,
    refused_for,
    relieved,
    served_again,
    served_again_after,
    served_again_or_refused,
    service_moves,
)
from lab.run.sequences import (
    ELSEWHERE,
    close_group,
    close_icmp_and,
    compute,
    cut_off_standby,
    hang,
    kill_observers_twice,
    lose,
    partition,
    put_elsewhere,
    roll_out,
    stall,
    stall_again_and_again,
    taint,
)
from lab.run.verdict import Expectation

FLOATING_IPV6 = "2001:db8:0:1::100"

WELL_FOR = 10.0
"""Seconds for which all is well before observers are restarted, so that their successors can learn what they know."""

STEADY_FOR = 4.0
"""Seconds for which all is well before a kubelet is to end a pod at once.  It first waits for a look at the pod's
containers that is newer than what it did to the pod last; such looks are a second apart (GetNewerThan, in its pod
workers).  So a pod that has only just become ready gets SIGTERM up to two seconds late; the node's other pods do not.
"""

_BOOTS_IN = 25.0
"""Seconds, about, from the end of a rebooting machine until its pods are ready."""


def _may_stay_elsewhere(
    expect: Callable[[Expectation, Profile], Expectation],
) -> Callable[[Expectation, Profile], Expectation]:
    """An address that somebody else has put on a link of their own may stay there."""

    def expect_that(bare: Expectation, profile: Profile) -> Expectation:
        left = frozenset(f"{bare.carried} on link {ELSEWHERE} on worker-{letter}" for letter in "abc")
        return replace(expect(bare, profile), allowed_leftovers=left)

    return expect_that


def _stuck(bare: Expectation, profile: Profile) -> Expectation:
    """The address may have moved already when its holder dies."""
    expected = served_again_after(FORCE_AFTER + profile.force_detach, moves=2)(bare, profile)
    return replace(expected, min_moves=1)


def _ends() -> list[Scenario]:
    """Ends of a node whose slowest pod takes a moment to end, longer than anything waits for it, or as long as is
    allowed.
    """
    ways = (
        (End.TERMINATE, "the holder's instance is terminated"),
        (End.STOP, "the holder's instance is stopped"),
        (End.REBOOT, "the holder reboots"),
    )
    return [
        Scenario(
            f"{how}-{seconds}",
            f"{said}: its kubelet ends the pods first, which takes {seconds} s",
            end(how, float(seconds)),
            ended_gracefully,
            watched_for=STEADY_FOR,
            # Watched for a second move, which must not follow once the observer's silence is noticed.
            lasts=12.0 if seconds == 1 else 30.0,
        )
        for how, said in ways
        for seconds in (1, 45, 150)
    ]


HARDSHIPS = (
    *_ends(),
    Scenario(
        "reboot-and-back",
        "the holder reboots, and comes back with its interfaces",
        end(End.REBOOT, 1.0, returns=True),
        ended_gracefully,
        watched_for=STEADY_FOR,
        strikes_for=_BOOTS_IN,
        lasts=8.0,
    ),
    Scenario(
        "stop-and-start",
        "the holder's instance is stopped, and started again",
        end(End.STOP, 1.0, returns=True),
        ended_gracefully,
        watched_for=STEADY_FOR,
        strikes_for=30.0 + _BOOTS_IN,
        lasts=8.0,
    ),
    Scenario(
        "out-of-service",
        "the holder's node is tainted out of service",
        taint,
        ended_gracefully,
        watched_for=STEADY_FOR,
        lasts=8.0,
    ),
    Scenario(
        "spot-interrupted",
        "EC2 takes the holder's spot instance back, as announced",
        after_notice(nemesis.spot_notice, 15.0),
        relieved,
        strikes_for=15.0,
        lasts=8.0,
    ),
    Scenario(
        "asg-terminated",
        "the holder's Auto Scaling group terminates it, as announced",
        after_notice(nemesis.asg_notice, 15.0),
        relieved,
        strikes_for=15.0,
        lasts=8.0,
    ),
    Scenario(
        "group-closed",
        "a security group closes ICMP and the observers' port among the workers",
        lambda region, _: close_group(region),
        at_most_one_move,
        lasts=200.0,
    ),
    Scenario(
        "group-closed-from-start",
        "a security group has never admitted ICMP and the observers' port among the workers",
        nemesis.nothing,
        at_most_one_move,
        prepare=close_group,
        is_watched=False,
        lasts=200.0,
    ),
    Scenario(
        "standby-cut-off",
        "one of two standbys reaches neither holder nor peers for 8 s, though it reaches EC2",
        cut_off_standby(8.0),
        nothing_moves,
        workers=3,
        strikes_for=8.0,
        lasts=8.0,
    ),
    Scenario(
        "only-standby-cut-off",
        "the only standby does not reach the holder for 8 s, though it reaches EC2",
        cut_off_standby(8.0),
        nothing_moves,
        strikes_for=8.0,
        lasts=8.0,
    ),
    Scenario(
        "young-observers",
        "both observers are killed twice; when they run again, the holder loses power",
        kill_observers_twice,
        served_again,
        agent_exits=4,
        watched_for=WELL_FOR,
        strikes_for=15.0,
    ),
    Scenario(
        "rollout-power-cut",
        "the holder loses power while `kubectl rollout restart` has just replaced all pods",
        roll_out,
        served_again,
        strikes_for=8.0,
        watched_for=WELL_FOR,
    ),
    *(
        Scenario(
            f"icmp-closed-{kind}",
            f"a security group closes ICMP to the address, {said}",
            nemesis.close_icmp,
            nothing_moves,
            hits_machine=False,
            lasts=OUTLASTS_PATIENCE,
            addresses=(address,),
        )
        for kind, said, address in (("ipv6", "an IPv6 one", FLOATING_IPV6), ("eip", "an Elastic IP's", ELASTIC_IP))
    ),
    Scenario(
        "icmp-closed-stall",
        "a security group closes ICMP to the address, and the holder's observer stands still for 1.2 s",
        close_icmp_and(stall(1.2), 10.0),
        nothing_moves,
        hits_machine=False,
        strikes_for=11.2,
        lasts=12.0,
    ),
    Scenario(
        "icmp-closed-restart",
        "a security group closes ICMP to the address, and the holder's observer is restarted",
        close_icmp_and(nemesis.kill_observer, 10.0),
        nothing_moves,
        hits_machine=False,
        agent_exits=1,
        strikes_for=10.0,
        lasts=12.0,
    ),
    Scenario(
        "address-elsewhere",
        "every node has the address on kube-ipvs0, and the holder loses power",
        put_elsewhere(everywhere=True),
        _may_stay_elsewhere(served_again_or_refused),
        strikes_for=8.0,
    ),
    Scenario(
        "prefix-elsewhere",
        "the standby has the address on another link, as one of a /28, and the holder loses power",
        put_elsewhere(length=28),
        _may_stay_elsewhere(served_again_or_refused),
        strikes_for=8.0,
    ),
    *(
        Scenario(
            f"{name}-routed-elsewhere",
            f"the standby has {address}/{length} on another link, and the holder loses power",
            put_elsewhere(address, length),
            served_again_or_refused,
            strikes_for=8.0,
        )
        for name, address, length in (("prefix", "10.0.0.97", 28), ("subnet", "10.0.0.250", 24))
    ),
    Scenario(
        "prefix-routed-elsewhere-in-peace",
        "the standby has 10.0.0.97/28 on another link, and the holder is well",
        put_elsewhere("10.0.0.97", 28, then=nemesis.nothing, after=0.0),
        nothing_moves,
        lasts=OUTLASTS_PATIENCE,
    ),
    Scenario(
        "forward-dropped",
        "a host firewall of the holder's drops what comes in by the address' link and is for a pod",
        nemesis.drop_forwarded,
        service_moves,
        lasts=8.0,
        watched_for=nemesis.SERVED_BEFORE,
    ),
    Scenario(
        "throttled",
        "EC2 throttles every second call, and the holder loses power",
        throttle,
        served_again,
        strikes_for=5.0,
    ),
    Scenario(
        "claims-denied",
        "the holder loses power, and IAM lets nobody claim the address for 70 s",
        refuse_claims(70.0),
        refused_for(70.0),
        strikes_for=70.0,
    ),
    Scenario(
        "claims-throttled",
        "the holder loses power, and EC2 throttles all claims for 70 s",
        refuse_claims(70.0, throttled=True),
        refused_for(70.0),
        strikes_for=70.0,
    ),
    Scenario(
        "late-describe",
        "a handover; the old holder gets one late answer of EC2 when it lets go; the new one loses power",
        describe_late,
        served_again_after(0.0, moves=2),
        strikes_for=15.0,
    ),
    Scenario(
        "stuck-detaching",
        "the interface is detached by hand and stays `detaching`; later the holder, whoever it is then, loses power",
        stick,
        _stuck,
        strikes_for=28.0,
    ),
    Scenario(
        "ec2-down",
        "EC2 is down for 20 s when the holder loses power",
        take_ec2_down(20.0),
        served_again_after(20.0),
        strikes_for=21.0,
    ),
    Scenario(
        "stale-describes",
        "EC2's Describes are 3 s old, and the holder loses power",
        answer_stale(3.0),
        served_again_after(3.0),
        strikes_for=6.0,
    ),
    Scenario(
        "partition-heals",
        "the holder is cut off from everybody for 15 s",
        partition(15.0),
        served_again,
        strikes_for=15.0,
        lasts=12.0,
    ),
    Scenario(
        "hang-heals",
        "the holder's kernel hangs for 15 s",
        hang(15.0),
        served_again_after(FORCE_AFTER),
        strikes_for=15.0,
        lasts=12.0,
    ),
    Scenario(
        "stalls", "each node stands still ten times for 0.8 s", stall_again_and_again, nothing_moves, strikes_for=32.0
    ),
    Scenario("loss", "the observers lose a fifth of all packets", lose(20), nothing_moves, lasts=OUTLASTS_PATIENCE),
    Scenario(
        "loss-power-cut",
        "the observers lose a fifth of all packets, and the holder loses power",
        lose(20, die, after=5.0),
        served_again,
        strikes_for=5.0,
    ),
    Scenario(
        "busy",
        "eight processes compute beside the observers for a minute",
        compute(8, 60.0),
        nothing_moves_on_a_busy_machine,
        strikes_for=60.0,
    ),
    Scenario(
        "eni-deleted",
        "the interface with the address is deleted by hand, and EC2's answers to its creation are lost",
        delete_eni,
        back_in_place,
        hits_machine=False,
        hits_link=True,
        strikes_for=3.0,
        lasts=8.0,
    ),
    Scenario(
        "eip-eni-deleted",
        "the same with an Elastic IP's interface",
        delete_eni,
        back_in_place,
        hits_machine=False,
        hits_link=True,
        strikes_for=3.0,
        lasts=8.0,
        addresses=(ELASTIC_IP,),
    ),
)
