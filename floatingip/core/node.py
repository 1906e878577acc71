"""What a node learns of itself: from IMDS who it is and what AWS announces, from Kubernetes about its own pod."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from floatingip.core.model import Address, Network


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is, by IMDS.

    ``address`` and ``mac`` are the primary interface's.  ``node`` is its name in Kubernetes, which IMDS does not know:
    empty where nobody told it.  ``kubernetes`` is the address that it has there, where that is another one, as in a
    cluster of IPv6.
    """

    instance_id: str
    region: str
    zone: str
    vpc_id: str
    subnet_id: str
    mac: str
    address: IPv4Address
    security_groups: tuple[str, ...]
    node: str = ""
    kubernetes: Address | None = None


@dataclass(frozen=True, slots=True)
class Interface:
    """One of this node's interfaces, as IMDS shows it with an address; ``network`` is its subnet's.

    ``as_primary``: of its IPv4 addresses it is the primary one, not one of those that were added.
    """

    mac: str
    network: Network
    as_primary: bool = True


@dataclass(frozen=True, slots=True)
class Notice:
    """AWS announces the end of this node: ``kind`` names the announcement, ``detail`` what it says."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class OwnPod:
    """What came of one question to the Kubernetes API server about the pod that this observer runs in.

    ``answered``: the API server answered, with whatever status.  ``problem`` says why nothing is known of the pod,
    empty where something is; with a problem the fields below say nothing.  ``refused``: it is the API server's word
    that this pod may not know, which another question does not change; it may change any other.

    ``gone``: there is no such pod (any more).  ``deleted``: somebody has deleted it, and its grace period runs.
    ``disruption`` is the reason of its condition `DisruptionTarget`, empty where it has none.

    ``ready`` is the pod's condition `Ready`, which kubelet writes, and the control plane when it gives the node up;
    ``containers_ready`` is `ContainersReady`, which kubelet alone writes.  None where there is no such condition, and
    where a readiness gate of others' has the say.

    ``unset`` is the environment's variable for want of which nobody could be asked, empty where none was missing.

    ``proved``: it did not answer, but has proved who it is when the connection began: it is too slow, as where its etcd
    is silent.
    """

    asked_at: float
    answered: bool = False
    problem: str = ""
    refused: bool = False
    gone: bool = False
    deleted: bool = False
    disruption: str = ""
    ready: bool | None = None
    containers_ready: bool | None = None
    unset: str = ""
    proved: bool = False

    @property
    def reached(self) -> bool:
        """Whether this node reaches the API server."""
        return self.answered or self.proved
