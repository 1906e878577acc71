"""
Misfortunes of three nodes, of one process, and by an operator's hand: their strikes, and the scenarios.

Each lasts longer than the time limit of the rule that it tests.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from botocore.exceptions import ClientError

from floatingip.core.model import Carry
from lab.ec2 import Profile
from lab.kubernetes.cluster import OBSERVERS
from lab.run.blow import die
from lab.run.floating import FLOATING_IP
from lab.run.machine import Machine
from lab.run.region import READY_WITHIN, Region
from lab.run.scenario import DETECTION, Nemesis, Scenario, ec2_takes, nothing_moves, served_again, served_again_after
from lab.run.sequences import OBSERVER
from lab.run.verdict import Expectation

WRITES = (
    *("CreateNetworkInterface", "DeleteNetworkInterface", "ModifyNetworkInterfaceAttribute", "CreateTags"),
    *("AttachNetworkInterface", "DetachNetworkInterface", "AssociateAddress"),
    *("AssignPrivateIpAddresses", "AssignIpv6Addresses", "UnassignIpv6Addresses"),
)
"""All calls by which the agents change something."""

MISSED_FOR = 100.0
"""Seconds, with room to spare, within which a frozen observer has been ended.  By the manifest that takes 62 at most:
three liveness probes, 10 s apart, each lost after 2 s; and then a grace period of 30 s, as it does not see SIGTERM.
"""

HEARD_FOR = 8.0
"""Seconds from the start of an observer until it and the others know each other, and what each sees."""

SEEN_AFTER = 8.0
"""Seconds from EC2's word that a node has the address until its device is there and all others have seen it serve."""

SETTLE = 60.0
"""Seconds, the setting's default: the time that a holder has to answer for the first time (R6)."""

MOVED_WITHIN = 120.0

OTHER_IP = "10.0.0.101"
"""The floating address of another cluster."""


def three_observers(region: Region, _machine: Machine) -> None:
    """Each of three workers has an observer, and they know each other."""
    if len(region.cluster.pods()) < len(region.machines):
        region.cluster.scale(OBSERVERS, len(region.machines))
        region.cluster.wait_ready(READY_WITHIN)
        time.sleep(HEARD_FOR)


def found_another_cluster(region: Region) -> None:
    """Half of the machines belong to another cluster, which has the last of the addresses."""
    machines = list(region.machines.values())
    region.add_cluster("other", machines[len(machines) // 2 :], region.floating[-1:])


def leave_writes_unanswered(region: Region, machine: Machine) -> None:
    """The agents' changes at EC2 take effect, but are not answered; then the holder dies."""
    region.ec2.faults.lose_answers(WRITES)
    die(region, machine)


def die_in_a_row(after: float) -> Nemesis:
    """The holder dies; ``after`` so many seconds from when EC2 gave the address to its successor, the successor dies,
    too.
    """

    def strike(region: Region, machine: Machine) -> None:
        die(region, machine)
        successor = _successor(region, machine)
        time.sleep(after)
        die(region, successor)

    return strike


def freeze_observer(region: Region, machine: Machine) -> None:
    """The holder's observer stands still, with its node and its kubelet well, until its liveness probe has failed."""
    with _frozen(region, machine) as ended:
        deadline = time.monotonic() + MISSED_FOR
        while not ended() and time.monotonic() < deadline:
            time.sleep(0.1)


def freeze_standby(region: Region, machine: Machine) -> None:
    """The observer of one standby stands still, and the holder dies."""
    with _frozen(region, region.standbys()[0]):
        time.sleep(HEARD_FOR)
        die(region, machine)
        _successor(region, machine)


def move_by_hand(region: Region, machine: Machine) -> None:
    """Somebody gives the address to a standby, at EC2: the interface, or the address alone."""
    standby, administrator = region.standbys()[0], region.administrator
    if region.carry == Carry.ADDRESS:
        target = administrator.describe_network_interfaces(
            Filters=[
                {"Name": "attachment.instance-id", "Values": [standby.instance.instance_id]},
                {"Name": "tag-key", "Values": ["floatingip/standing"]},
            ]
        )["NetworkInterfaces"][0]["NetworkInterfaceId"]
        administrator.assign_private_ip_addresses(
            NetworkInterfaceId=target, PrivateIpAddresses=[region.carried(region.floating[0])], AllowReassignment=True
        )
        return
    eni = next(e["eni"] for e in reversed(region.attachments()) if e["instance"] == machine.instance.instance_id)
    shown = administrator.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]
    administrator.detach_network_interface(AttachmentId=shown["Attachment"]["AttachmentId"])
    deadline = time.monotonic() + MOVED_WITHIN
    while time.monotonic() < deadline:
        try:
            administrator.attach_network_interface(
                NetworkInterfaceId=eni, InstanceId=standby.instance.instance_id, DeviceIndex=1
            )
        except ClientError as error:
            if "currently in use" in str(error) and _attached_to_another(region, machine):
                return  # an observer was faster
            time.sleep(0.02)
        else:
            return
    raise TimeoutError(f"{eni} cannot be attached to {standby.name} after {MOVED_WITHIN:g} s")


def _attached_to_another(region: Region, machine: Machine) -> bool:
    told = region.attachments()[-1]
    return bool(told["status"] != "detached" and told["instance"] != machine.instance.instance_id)


def _successor(region: Region, machine: Machine) -> Machine:
    """The machine that has the address after this holder, as soon as one has.  Raises TimeoutError."""
    deadline = time.monotonic() + MOVED_WITHIN
    while time.monotonic() < deadline:
        try:
            holder = region.holder()
        except LookupError:
            holder = machine
        if holder is not machine:
            return holder
        time.sleep(0.02)
    raise TimeoutError(f"nobody has taken over from {machine.name} after {MOVED_WITHIN:g} s")


@contextmanager
def _frozen(region: Region, machine: Machine) -> Iterator[Callable[[], bool]]:
    """The observer there stands still during the block; the function that this yields says whether it has ended."""
    process = region.cluster.container_process(region.cluster.pod_on(machine.name).name, OBSERVER)

    def ended() -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        return False

    os.kill(process, signal.SIGSTOP)
    try:
        yield ended
    finally:
        if not ended():
            os.kill(process, signal.SIGCONT)


def _moved_by_hand(bare: Expectation, profile: Profile) -> Expectation:
    """The address stays where the operator has put it; an observer may have been faster than the operator."""
    return replace(bare, max_outage_s=ec2_takes(bare, profile) + DETECTION, max_moves=1, max_moves_a_cause=0)


ORDEALS = (
    Scenario(
        "writes-unanswered",
        "the answers to all writes to EC2 are lost, and the holder loses power",
        leave_writes_unanswered,
        served_again,
    ),
    Scenario(
        "two-die",
        "two of three nodes lose power: the holder, and its successor when it has served for some seconds",
        die_in_a_row(SEEN_AFTER),
        served_again_after(DETECTION, moves=2),
        workers=3,
        begin=three_observers,
        strikes_for=SEEN_AFTER + 10.0,
    ),
    Scenario(
        "two-die-at-once",
        "two of three nodes lose power: the holder, and its successor before anybody has heard that it serves",
        die_in_a_row(0.0),
        served_again_after(SETTLE + DETECTION, moves=2),
        workers=3,
        begin=three_observers,
        strikes_for=10.0,
    ),
    Scenario(
        "observer-frozen",
        "the holder's observer stands still until its liveness probe has failed",
        freeze_observer,
        nothing_moves,
        agent_exits=1,
        strikes_for=70.0,
        lasts=8.0,
    ),
    Scenario(
        "standby-frozen",
        "the observer of one of two standbys stands still, and the holder loses power",
        freeze_standby,
        served_again,
        workers=3,
        begin=three_observers,
        agent_exits=1,
        strikes_for=HEARD_FOR + 5.0,
    ),
    Scenario(
        "eni-moved",
        "somebody moves the interface to a standby by hand, or the address to the standby's interface",
        move_by_hand,
        _moved_by_hand,
        hits_machine=False,
        hits_link=True,
        lasts=12.0,
    ),
    Scenario(
        "two-clusters",
        "a node loses power that holds the address of one of two clusters in a subnet",
        die,
        served_again,
        workers=4,
        addresses=(FLOATING_IP, OTHER_IP),
        prepare=found_another_cluster,
        is_watched=False,
        watched_for=HEARD_FOR,
        lasts=12.0,
    ),
)
