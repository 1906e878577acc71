"""One look at EC2, as values: what is asked for all floating addresses together, and what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floatingip.core.ec2 import AllocationFacts, Eni, Instance, Subnet
from floatingip.core.model import Target

CLUSTER_TAG_PREFIX = "kubernetes.io/cluster/"
CLUSTER_TAG = "eks:cluster-name"
"""Tags by which an EKS worker's instance names its cluster: as the rest of the first one's key, or the second one's
value."""


@dataclass(frozen=True, slots=True)
class Question:
    """
    What is to be found out.

    ``asked_at`` is now: no answer is older.  ``me`` is this node's instance and ``name`` whose ENIs are ours, empty
    while that is unknown.  ``known`` are instances that EC2 has described before; ``judged`` are those to be described
    anew, with whatever holders are found.
    """

    asked_at: float
    me: str
    name: str
    known: frozenset[str] = frozenset()
    judged: frozenset[str] = frozenset()
    need_subnets: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """
    What EC2 answered.

    ``enis`` by target, whoever's they are; ``standing`` are all standing ones of ours, ``ours`` the ids of all of ours,
    ``orphans`` of those that no target has, and ``mixed`` names those of the other way to carry.  ``subnets`` is None
    when they were not asked for; ``allocations`` are those of which more had to be known.  Of the targets in
    ``unknown`` nothing was learned, for the reason there; ``unread`` are ours that could not be read; ``undescribed``
    says why not all instances were described that should have been, empty where all were; ``calls`` is how many calls
    it took.
    """

    asked_at: float
    enis: Mapping[Target, Eni]
    standing: tuple[Eni, ...]
    ours: frozenset[str]
    orphans: frozenset[str]
    mixed: str
    instances: Mapping[str, Instance]
    subnets: tuple[Subnet, ...] | None
    allocations: Mapping[Target, AllocationFacts | None]
    unknown: Mapping[Target, str] = field(default_factory=dict)
    unread: tuple[Eni, ...] = ()
    undescribed: str = ""
    calls: int = 1


def cluster_name(tags: Mapping[str, str]) -> str:
    """The EKS cluster that an instance's tags name, empty where they name none."""
    names = [tag.removeprefix(CLUSTER_TAG_PREFIX) for tag in tags if tag.startswith(CLUSTER_TAG_PREFIX)]
    return names[0] if names else tags.get(CLUSTER_TAG, "")
