"""One look at EC2, as two values: what is asked, for all floating addresses together, and what EC2 answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from floatingip.core.ec2 import AllocationFacts, Eni, Instance, Subnet
from floatingip.core.errors import Denied
from floatingip.core.model import Target

CLUSTER_TAG_PREFIX = "kubernetes.io/cluster/"
CLUSTER_TAG = "eks:cluster-name"
"""The tags by which an EKS worker's instance names its cluster: in the first one's key, behind the prefix, or in the
second one's value."""


@dataclass(frozen=True, slots=True)
class Question:
    """
    What EC2 is asked.

    ``asked_at`` is the time of the question: the answer says nothing of what happens later.  ``me`` is this node's
    instance.  ``name`` is the deployment's name, by which our ENIs are tagged; empty while it is unknown.  ``known``
    are instances that EC2 has described before, and which need not be described again.  ``judged`` are instances to be
    described in any case; if there are any, all holders that are found are described as well.  ``need_subnets``: the
    VPC's subnets are asked for, and without them there is no answer.  ``want_subnets``: they are asked for again, since
    there may be new ones; the rest of the answer counts without them.
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
    ``mixed`` names those that belong to the other way to carry, empty if there are none.

    ``subnets`` is None if they were not asked for, or wanted in vain.  ``allocations`` has the Elastic IPs of which
    more had to be known than their ENI shows.  ``unknown`` has the targets of which nothing was learned, with the
    reason.  ``refused`` has the targets of which IAM denies a question that has to be asked.  ``undescribed`` says why
    some instances, or an Elastic IP whose ENI is known, could not be described; empty if all were.  ``calls`` is how
    many calls to EC2 all of it took.
    """

    asked_at: float
    enis: Mapping[Target, Eni] = field(default_factory=dict)
    standing: tuple[Eni, ...] = ()
    ours: frozenset[str] = frozenset()
    orphans: frozenset[str] = frozenset()
    mixed: str = ""
    instances: Mapping[str, Instance] = field(default_factory=dict)
    subnets: tuple[Subnet, ...] | None = None
    allocations: Mapping[Target, AllocationFacts | None] = field(default_factory=dict)
    unknown: Mapping[Target, str] = field(default_factory=dict)
    refused: Mapping[Target, Denied] = field(default_factory=dict)
    unread: tuple[Eni, ...] = ()
    undescribed: str = ""
    calls: int = 1


def cluster_name(tags: Mapping[str, str]) -> str:
    """The EKS cluster that an instance's tags name, empty where they name none."""
    names = [tag.removeprefix(CLUSTER_TAG_PREFIX) for tag in tags if tag.startswith(CLUSTER_TAG_PREFIX)]
    return names[0] if names else tags.get(CLUSTER_TAG, "")
