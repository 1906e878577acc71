"""EC2 in trouble when the holder dies, or because of what somebody did to the interface by hand."""

import time

from botocore.exceptions import ClientError

from floatingip.core.model import Carry
from lab.ec2.transport import Effect
from lab.history import Event
from lab.run import nemesis
from lab.run.blow import blow, die, until
from lab.run.machine import Machine
from lab.run.region import Region
from lab.run.scenario import Nemesis

CLAIMS = ("AttachNetworkInterface", "AssignPrivateIpAddresses", "AssignIpv6Addresses")
"""The calls by which a node gets the address."""

PAST_KEPT = 120.0
"""For how many seconds back the lab's EC2 remembers its past."""

MOVED_WITHIN = 40.0
"""Seconds within which an address moves by request."""

DELETED_WITHIN = 120.0
"""Seconds within which an interface that is being detached can be deleted."""

HELD_WITHIN = 20.0
"""Seconds for which nobody may have the address, while EC2 moves it."""

LATE = 4.5
"""Seconds by which a late answer is behind: more than a holder needs to notice that it has lost the address."""


def throttle(region: Region, machine: Machine) -> None:
    """EC2 throttles every second call; then the holder dies."""
    region.ec2.faults.throttle(every=2)
    time.sleep(5.0)
    die(region, machine)


def refuse_claims(seconds: float, *, throttled: bool = False) -> Nemesis:
    """The holder dies, and for a while EC2 refuses all claims: they are denied or, with ``throttled``, throttled."""

    def strike(region: Region, machine: Machine) -> None:
        faults = region.ec2.faults
        with faults.throttle(CLAIMS) if throttled else faults.deny(CLAIMS):
            die(region, machine)
            time.sleep(seconds)

    return strike


def take_ec2_down(seconds: float) -> Nemesis:
    """EC2 is down when the holder dies, and comes back."""

    def strike(region: Region, machine: Machine) -> None:
        with region.ec2.faults.refuse():
            time.sleep(1.0)
            die(region, machine)
            time.sleep(seconds)

    return strike


def answer_stale(seconds: float) -> Nemesis:
    """EC2's Describes are so many seconds behind from now on; then the holder dies."""

    def strike(region: Region, machine: Machine) -> None:
        region.ec2.faults.stale(seconds)
        time.sleep(2 * seconds)
        die(region, machine)

    return strike


def describe_late(region: Region, machine: Machine) -> None:
    """
    The address moves by request.  After that, the old holder's second Describe, at about the time when it lets go, gets
    an answer from when it still had the address.  Then the new holder dies.
    """
    faults, instance = region.ec2.faults, machine.instance.instance_id
    # The lab's EC2 remembers its past only as long as some caller gets stale answers.
    faults.stale(PAST_KEPT, caller="nobody")
    moved: list[Event] = []

    def fool(event: Event) -> None:
        has = event["event"] in {"address", "attachment"} and event["status"] in {"assigned", "attached"}
        if has and event["instance"] != instance and not moved:
            moved.append(event)
            asked = ["DescribeNetworkInterfaces"]
            faults.begin(Effect.STALE, asked, instance, count=1, seconds=LATE, every=2)

    region.history.subscribe(fool)
    nemesis.hand_over(region, machine)
    until(lambda: bool(moved), MOVED_WITHIN, f"{machine.name} keeps the address")
    time.sleep(2 * LATE)
    die(region, region.holder())


def stick(region: Region, machine: Machine) -> None:
    """
    The interface is detached by hand, and stays `detaching`.  If it is a standing one, another node gets the address.
    When all could be well again, the holder dies.
    """
    region.ec2.hang_detaches()
    nemesis.detach_eni(region, machine)
    if region.carry == Carry.ADDRESS:
        # A few lost pings are enough for a standby to claim an address that EC2 shows on no node.
        nemesis.close_icmp(region, machine)
        time.sleep(1.0)
        region.fabric.open_icmp(region.carried(region.floating[0]))
    time.sleep(28.0)
    die(region, _next_holder(region))


def _next_holder(region: Region) -> Machine:
    """The machine that has the address, or gets it next.  Raises LookupError if none does."""
    deadline = time.monotonic() + HELD_WITHIN
    while True:
        try:
            return region.holder()
        except LookupError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def delete_eni(region: Region, machine: Machine) -> None:
    """The interface that has the address is deleted by hand; the answers to its first new creations are lost."""
    floating = region.floating[0]
    eni = next(e["eni"] for e in reversed(region.attachments()) if e["instance"] == machine.instance.instance_id)
    shown = region.administrator.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]
    region.ec2.faults.lose_answers(["CreateNetworkInterface"], count=2)
    blow(region, machine)
    region.administrator.detach_network_interface(AttachmentId=shown["Attachment"]["AttachmentId"], Force=True)

    def deleted() -> bool:
        try:
            region.administrator.delete_network_interface(NetworkInterfaceId=eni)
        except ClientError:
            return False  # still attached
        return True

    until(deleted, DELETED_WITHIN, f"{eni} cannot be deleted")
    floating.deleted.add(eni)
