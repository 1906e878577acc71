"""What a node learns of itself: from IMDS who it is and what AWS announces, from Kubernetes about its own pod."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from floatingip.core.model import Address, Network


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is, by IMDS.

    ``address`` and ``mac`` are the primary interface's.  ``node`` is the node's name in Kubernetes, which IMDS does not
    know; empty if it is not known.  ``kubernetes`` is the node's address in Kubernetes if that is another one, as in a
    cluster of IPv6; otherwise None.
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
    """The interface of this node on which IMDS shows a given address; ``network`` is the subnet's.

    ``as_primary``: the given address is the interface's primary IPv4 address, not one that was added.
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

    ``answered``: the API server answered, with whatever status.  ``problem`` says why nothing is known of the pod, and
    is empty if something is; with a problem the fields below say nothing.  ``refused``: the problem is that the API
    server does not allow this pod to ask, so asking again does not help; any other problem may pass.

    ``gone``: there is no such pod (any more).  ``deleted``: somebody has deleted it, and its grace period runs.
    ``disruption`` is the reason of its condition `DisruptionTarget`, empty if it has none.

    ``ready`` is the pod's condition `Ready`, which kubelet writes, and the control plane when it gives the node up;
    ``containers_ready`` is `ContainersReady`, which kubelet alone writes.  Both are None if there is no such condition,
    or if a readiness gate of somebody else decides.

    ``unset`` is the environment variable that is missing, so that nobody could be asked; empty if none is.

    ``proved``: the API server did not answer, but proved its identity as the connection began.  So this node reaches
    it, but it is too slow, for example because its etcd is silent.
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
