"""
How long EC2 takes: named latency profiles.

The figures of `typical` are those reported for EC2 (CNI#608: detach 2-3 s; cilium#16494: up to 5 s from the attach
until the device is seen; re:Post: 1.2 s, the mean of 456 reassigned addresses; NGINX's AWS HA guide: associate 5-6 s);
`slow` is the tail (amazon.aws#501: still detaching after 200 s; F5 CFE: 5 s to assign); `instant` takes the waiting
out, so that what remains is the product's own time.  For `unassign` nobody has published a figure.
"""

from dataclasses import dataclass
from enum import StrEnum


class Guest(StrEnum):
    """The state of an instance's operating system, which decides how it answers a hot unplug; EC2 does not know it."""

    RUNNING = "running"
    HUNG = "hung"  # the kernel no longer runs, but its devices are still there
    OFF = "off"  # no power


@dataclass(frozen=True)
class Profile:
    """
    The delays of one EC2, all in seconds.  A delay of zero is applied before the call that causes it is answered.

    answer: shortest and longest time a call takes, half of it before and half of it after the call takes effect.
    attach: from the call until the attachment is `attached`.
    device: from `attached` until the guest sees the device.
    detach: from the call until the attachment is gone, without Force.
    force_detach: the same from the call with Force.
    assign: from the call until the ENI has the address, in Describe and in the data path; the former ENI has it until
    then.
    unassign: from the call until the ENI no longer has the address.
    associate: from the call until an Elastic IP's traffic goes to its new ENI.
    release: from the termination until EC2 lets go of the instance's ENIs (fck-nat#43: it takes a while).
    shutdown: from the termination until the instance is `terminated`; it is `shutting-down` meanwhile.  The same from
        a stop until it is `stopped`.  Both are longer by the seconds for which the guest delays its end
        (`Devices.shut_down`).
    start: from the start of a stopped instance until it is `running`.
    stuck: the guests whose detach stays `detaching` until somebody uses Force.
    """

    name: str
    answer: tuple[float, float] = (0.0, 0.0)
    attach: float = 0.0
    device: float = 0.0
    detach: float = 0.0
    force_detach: float = 0.0
    assign: float = 0.0
    unassign: float = 0.0
    associate: float = 0.0
    release: float = 0.0
    shutdown: float = 0.0
    start: float = 0.0
    stuck: frozenset[Guest] = frozenset({Guest.HUNG})


PROFILES = {
    profile.name: profile
    for profile in (
        # The instance must be seen shutting-down at least once by somebody who looks: hence half a second.
        Profile("instant", shutdown=0.5),
        Profile(
            "typical",
            answer=(0.010, 0.030),
            attach=3.0,
            device=1.0,
            detach=2.5,
            force_detach=2.5,
            assign=1.2,
            unassign=0.6,
            associate=5.0,
            release=20.0,
            shutdown=30.0,
            start=5.0,
        ),
        Profile(
            "slow",
            answer=(0.050, 0.250),
            attach=20.0,
            device=1.0,
            detach=2.5,
            force_detach=5.0,
            assign=5.0,
            unassign=2.0,
            associate=15.0,
            release=60.0,
            shutdown=90.0,
            start=20.0,
            stuck=frozenset(Guest),
        ),
    )
}
