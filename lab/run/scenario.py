"""
What a scenario is, and what may be expected of one: the bounds that several of them share.

Each expectation below adds to a bare one what a profile of EC2 allows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from floatingip.core.model import Carry
from floatingip.core.timing import NEW_OWNER
from lab.ec2 import Guest, Profile
from lab.kubernetes.cluster import DOCUMENTED, Setup
from lab.run import nemesis
from lab.run.floating import FLOATING_IP
from lab.run.machine import Machine
from lab.run.power import SHUTDOWN_TAKES
from lab.run.region import Region
from lab.run.verdict import Expectation

DETECTION = 2.0
"""Seconds from the nemesis to the logged takeover, at most, with the default settings."""

OVERHEAD = 0.5
"""Seconds that the product may add to detection and EC2's own time."""

INSTANT = 2.5
"""Seconds of outage in all if EC2 takes no time."""

HANDED_OVER = 1.5
"""Seconds of outage, at most, when an address moves by request or because its node is about to end."""

REPAIR = 1.0
"""Seconds until a holder must have mended its own plumbing."""

NOTICE = 2.5
"""Seconds beyond EC2's attach until a detached ENI is back."""

FORCE_AFTER = 5.0
"""Seconds, the default of the setting."""

SERVED_AGAIN = 5.0
"""Seconds that a failover may take beyond detection and EC2's own time, whatever went before."""

CALLS_A_MINUTE = 62
"""What pace.py allows when two things change: 12 while a detach of 3 s is awaited, and 50 in the minute after that."""

OUTLASTS_A_MOVE = NEW_OWNER + DETECTION
"""Seconds after a move within which a wrong second move would follow: a new owner is not judged before NEW_OWNER, and
DETECTION is what it then takes to find it dead by mistake.
"""

OUTLASTS_PATIENCE = 45.0
"""Seconds; by default a holder that cannot be reached is given 30."""

BACK_OFF = 15.0
"""Seconds, at most, after which a refused call is tried again."""

NEIGHBOUR_FORGETS = 60.0
"""Seconds after which a Linux neighbour has resolved an address anew; 41 were seen."""

SERVICE_FALL = 6.0
"""Seconds until five checks of the service, a second apart, are lost."""

Nemesis = Callable[[Region, Machine], None]


@dataclass(frozen=True)
class Scenario:
    """
    One misfortune.

    expect: adds the bounds that a profile allows to a bare expectation.
    strikes_for: about how many seconds the nemesis itself takes.
    lasts: seconds, at least, to watch after the nemesis and its effects for what must *not* happen.
    hits_machine: whether all addresses of the holder are hit, not only the first one.
    hits_link: whether all are hit that share an interface.
    agent_exits: how many containers may end by themselves.
    environment: added to the manifest's environment in every pod.
    settings: those that differ from the defaults.
    setup: the cluster's.
    addresses: the floating ones, unless the run has others.
    prepare: called before anything is deployed.
    begin: what goes wrong some time before the strike, and is not measured.
    gets_ready: whether the deployment can get ready at all.
    is_watched: whether a standby can see the address UP.
    watched_for: seconds for which all is well before the nemesis strikes.
    attack: how a pod attacks the observers from before the strike until the end (attacker.py); empty for none.
    """

    name: str
    title: str
    strike: Nemesis
    expect: Callable[[Expectation, Profile], Expectation]
    workers: int = 2
    strikes_for: float = 0.0
    lasts: float = OUTLASTS_A_MOVE
    hits_machine: bool = True
    hits_link: bool = False
    agent_exits: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    setup: Setup = DOCUMENTED
    clients: tuple[str, ...] = ("out", "in")
    addresses: tuple[str, ...] = (FLOATING_IP,)
    prepare: Callable[[Region], None] | None = None
    begin: Nemesis = nemesis.nothing
    gets_ready: bool = True
    is_watched: bool = True
    watched_for: float = 0.5
    attack: str = ""

    @property
    def takes(self) -> float:
        """About how many seconds it takes, without the deployment and what follows from the blow."""
        return self.watched_for + self.strikes_for + self.lasts


def nothing_moves(bare: Expectation, _: Profile) -> Expectation:
    return replace(bare, max_outage_s=0.0, max_moves=0)


def mended_in_place(bare: Expectation, _: Profile) -> Expectation:
    return replace(bare, max_outage_s=REPAIR, max_moves=0)


def one_failover(bare: Expectation, profile: Profile) -> Expectation:
    most = INSTANT if profile.name == "instant" else None
    return replace(
        bare, max_outage_s=most, max_detection_s=DETECTION, max_overhead_s=OVERHEAD, min_moves=1, max_moves=1
    )


def relieved(bare: Expectation, profile: Profile) -> Expectation:
    """A planned move: if only the address moves, no client notices; if the ENI does, the outage is EC2's own time."""
    ec2 = 0.0 if bare.carry == Carry.ADDRESS else profile.detach + profile.attach + profile.device
    return replace(bare, max_outage_s=ec2 + HANDED_OVER, min_moves=1, max_moves=1)


def forced(bare: Expectation, profile: Profile) -> Expectation:
    expected = one_failover(bare, profile)
    if expected.max_outage_s is None or bare.carry == Carry.ADDRESS:
        return expected
    return replace(expected, max_outage_s=expected.max_outage_s + FORCE_AFTER)


def after_termination(bare: Expectation, profile: Profile) -> Expectation:
    """The machine goes on to serve for a while.  With `instant`, EC2 detaches the ENI at once, so no observer convicts
    anybody.
    """
    expected = one_failover(bare, profile)
    if profile.name == "instant":
        return replace(expected, max_detection_s=None, max_overhead_s=None)
    return replace(expected, max_detection_s=SHUTDOWN_TAKES + DETECTION)


def back_again(bare: Expectation, profile: Profile) -> Expectation:
    return replace(bare, max_outage_s=profile.attach + profile.device + NOTICE, max_moves=1)


def neighbours_forget(bare: Expectation, profile: Profile) -> Expectation:
    """An ENI that moves takes its MAC along; an address that moves alone is unreachable for neighbours until they ask
    for its MAC again.
    """
    if bare.carry == Carry.ENI:
        return one_failover(bare, profile)
    return replace(bare, max_outage_s=NEIGHBOUR_FORGETS, min_moves=1, max_moves=1)


def service_moves(bare: Expectation, profile: Profile) -> Expectation:
    moved = relieved(bare, profile)
    return replace(moved, max_outage_s=(moved.max_outage_s or 0.0) + SERVICE_FALL + profile.assign)


def moves_to_the_service(bare: Expectation, _: Profile) -> Expectation:
    """No client was served before, so nothing is measured."""
    return replace(bare, min_moves=1, max_moves=1, served=False)


def service_gone(bare: Expectation, _: Profile) -> Expectation:
    return replace(bare, max_moves=0, served=False)


def unserved(bare: Expectation, _: Profile) -> Expectation:
    return replace(bare, max_moves=1, served=False)


def one_move(bare: Expectation, _: Profile) -> Expectation:
    return replace(bare, min_moves=1, max_moves=1)


def ec2_takes(bare: Expectation, profile: Profile) -> float:
    """Seconds that EC2 itself takes to move this address from a holder without power, at most."""
    if bare.carry == Carry.ADDRESS:
        return profile.assign + (profile.unassign if ":" in bare.address else 0.0)
    forced = FORCE_AFTER + profile.force_detach if Guest.OFF in profile.stuck else profile.detach
    associated = profile.associate if bare.address.startswith("eipalloc-") else 0.0
    return forced + profile.attach + profile.device + associated


def served_again(bare: Expectation, profile: Profile) -> Expectation:
    """One failover, within detection, EC2's time and a few seconds, whatever went before."""
    most = DETECTION + ec2_takes(bare, profile) + SERVED_AGAIN
    return replace(bare, max_outage_s=most, max_detection_s=DETECTION + SERVED_AGAIN, min_moves=1, max_moves=1)


def served_again_or_refused(bare: Expectation, profile: Profile) -> Expectation:
    """As `served_again`, unless every standby had said beforehand that it is not ready."""
    return replace(served_again(bare, profile), refusal_excuses=True)


def served_again_after(lost_s: float, moves: int = 1) -> Callable[[Expectation, Profile], Expectation]:
    """As `served_again`, if nothing can be done for some seconds, or the address moves before it is lost."""

    def expect(bare: Expectation, profile: Profile) -> Expectation:
        expected = served_again(bare, profile)
        return replace(
            expected,
            max_outage_s=moves * ec2_takes(bare, profile) + DETECTION + SERVED_AGAIN + lost_s,
            max_detection_s=None,
            min_moves=moves,
            max_moves=moves,
        )

    return expect


def ended_gracefully(bare: Expectation, profile: Profile) -> Expectation:
    """
    Handed over as in an eviction.  The backends of the node end with it, so where only the address moves clients notice
    the time that EC2 takes for it.
    """
    expected = relieved(bare, profile)
    if bare.carry == Carry.ENI:
        return expected
    return replace(expected, max_outage_s=ec2_takes(bare, profile) + HANDED_OVER)


def at_most_one_move(bare: Expectation, profile: Profile) -> Expectation:
    """At most one move that helps nothing; it is not repeated for the same cause."""
    return replace(bare, max_outage_s=ec2_takes(bare, profile) + SERVED_AGAIN, max_moves=1, max_moves_a_cause=1)


def nothing_moves_on_a_busy_machine(bare: Expectation, _: Profile) -> Expectation:
    """The clients and the backends are busy as well, so failed attempts prove nothing."""
    return replace(bare, max_moves=0, max_gap_s=5.0)


def back_in_place(bare: Expectation, profile: Profile) -> Expectation:
    """No node has failed, but the address has gone: any node may claim it."""
    return replace(bare, max_outage_s=ec2_takes(bare, profile) + SERVED_AGAIN, max_moves=1)


def refused_for(seconds: float) -> Callable[[Expectation, Profile], Expectation]:
    """Nobody may claim for so many seconds.  Calls stay bounded, and then a node claims within one back-off."""

    def expect(bare: Expectation, profile: Profile) -> Expectation:
        expected = served_again_after(seconds + BACK_OFF)(bare, profile)
        return replace(expected, max_calls_a_minute=CALLS_A_MINUTE)

    return expect
