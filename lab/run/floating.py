"""The floating addresses that a region can be asked for, and one of them as its clients reach it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.run.machine import CLUSTER

FLOATING_IP = "10.0.0.100"
ELASTIC_IP = "eip"
"""What stands for an Elastic IP where a floating address is asked for; the region allocates one."""

PUBLIC_ADDRESS = "203.0.113.100"
"""The public address of that Elastic IP."""


@dataclass
class Floating:
    """One floating address: as FLOATING_IP has it, and as clients reach it from inside and from outside of the VPC.

    ``enis`` are the ids of the interfaces that were made for it, as far as they were seen; ``deleted`` are those of
    them that somebody has deleted; ``cluster`` is the cluster that carries it.
    """

    target: str
    hosts: Mapping[str, str]
    enis: set[str]
    deleted: set[str] = field(default_factory=set)
    cluster: str = CLUSTER


def private(address: str) -> Floating:
    """A private address of the VPC, of either IP version: clients everywhere reach it as it is."""
    host = f"[{address}]" if ":" in address else address
    return Floating(address, {"in": host, "out": host}, set())


def elastic(allocation: str) -> Floating:
    """The Elastic IP with this allocation's id: its public address is not reachable from inside the VPC."""
    return Floating(allocation, {"out": PUBLIC_ADDRESS}, set())


def client_name(place: str, floating: Floating) -> str:
    """The name of a floating address' client in the history."""
    return f"{place} {floating.target}"
