"""One look at EC2, as values: what is asked, for all floating addresses together, and what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floatingip.core.ec2 import AllocationFacts, Eni, Instance, Subnet
from floatingip.core.errors import Denied
from floatingip.core.model import Target

CLUSTER_TAG_PREFIX = "kubernetes.io/cluster/"
CLUSTER_TAG = "eks:cluster-name"
"""The tags by which an EKS worker's instance names its cluster: behind the first one's prefix in the key, or as the
second one's value."""


@dataclass(frozen=True, slots=True)
class Question:
    """
    What is to be found out.

    ``asked_at`` is the time of the question: the answer says nothing of what happens later.  ``me`` is this node's
    instance, and ``name`` whose ENIs are ours, empty while that is unknown.  ``known`` are instances that EC2 has
    described before, and which need not be described again.  ``judged`` are those to be described in any case; where
    there are any, so are all holders that are found.  ``want_subnets``: those that are known may not be all any more;
    what else is found out counts without them.
    """

    asked_at: float
    me: str
    name: str
    known: frozenset[str] = frozenset()
    judged: frozenset[str] = frozenset()
    need_subnets: bool = False
    want_subnets: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """
    What EC2 answered.

    ``enis`` has the ENI of each target, whoever it belongs to.  Of our ENIs, ``standing`` are the standing ones,
    ``ours`` the ids of all, ``orphans`` the ids of those that carry no target, ``unread`` those that could not be read;
    ``mixed`` names those that belong to the other way to carry, empty where there are none.

    ``subnets`` is None when they were not asked for, or wanted in vain; ``allocations`` has those Elastic IPs of which
    more had to be known than their ENI shows.  ``unknown`` has the targets of which nothing was learned, with the
    reason; ``refused`` those of which IAM does not let be asked what has to be known; ``undescribed`` says why some
    instances, or an Elastic IP of which the ENI is known, could not be described, empty where all were.  ``calls`` is
    how many calls to EC2 all of it took.
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
    refused: Mapping[Target, Denied] = field(default_factory=dict)
    unread: tuple[Eni, ...] = ()
    undescribed: str = ""
    calls: int = 1


def cluster_name(tags: Mapping[str, str]) -> str:
    """The EKS cluster that an instance's tags name, empty where they name none."""
    names = [tag.removeprefix(CLUSTER_TAG_PREFIX) for tag in tags if tag.startswith(CLUSTER_TAG_PREFIX)]
    return names[0] if names else tags.get(CLUSTER_TAG, "")
