"""
The edges of the agent as Protocols: what the runtime needs from EC2, the kernel, the probes and IMDS.

Every method may block; the runtime never calls two slow ones from the same thread.  Each has one implementation for
production (``ec2``, ``host``, ``probe``, ``imds``) and may have a verified fake in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address
from typing import Protocol

from floatingip.core.ec2 import AllocationFacts, Eni, Instance, Subnet
from floatingip.core.model import Address, Network, Target
from floatingip.core.news import News
from floatingip.core.node import Identity, Interface, Notice, OwnPod
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport
from floatingip.core.probe import NodePort, ProbeResult


class Cloud(Protocol):
    """EC2, as far as floating addresses need it.

    Every call makes at most the EC2 calls that its name says, without retries of its own, and raises a
    ``CloudError``: ``CloudUnavailable`` when nothing is known afterwards, ``Denied`` when IAM
    says no, ``LookAgain`` when the state is not what the caller believed.
    """

    def describe_enis(self, name: str) -> tuple[Eni, ...]:
        """All ENIs of this VPC that are ours: their tag ``floatingip`` is ``name``."""

    def find_occupants(self, addresses: frozenset[Address]) -> tuple[Eni, ...]:
        """The ENIs of this VPC that have one of these addresses, whoever's they are."""

    def describe_allocation(self, allocation_id: str) -> AllocationFacts | None:
        """What an Elastic IP is and what it is associated with; None when there is no such allocation."""

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, Instance]:
        """Those of the instances that EC2 knows."""

    def find_instance(self, name: str) -> Instance | None:
        """The instance of this VPC with this primary address or private DNS name, None when there is none."""

    def describe_subnets(self) -> tuple[Subnet, ...]:
        """All subnets of this VPC."""

    def describe_reservations(self, subnet_id: str) -> tuple[Network, ...]:
        """The ranges of the subnet that EC2 hands out to nobody who does not ask for them."""

    def describe_slots(self, instance_type: str) -> int:
        """How many ENIs an instance of this type can have on its first network card."""

    def create_eni(self, target: Target | None, subnet: Subnet, tags: Mapping[str, str], token: str) -> Eni:
        """Create the ENI for ``target``, or, for None, one with any address of the subnet.

        Raises ``LookAgain`` when the target's address is in use meanwhile.

        The same ``token`` never makes a second interface; its answer may show one that was deleted meanwhile.  With an
        empty one each call is its own.
        """

    def assign(self, eni_id: str, address: Address, *, reassign: bool) -> None:
        """Begin to give the ENI the address as a secondary one.

        Without ``reassign``, and always for IPv6, it raises ``LookAgain`` while another ENI has it.  Raises
        ``NoFreeSlot`` when the ENI cannot have more.
        """

    def assign_any(self, eni_id: str) -> None:
        """Begin to give the ENI one more private address, of EC2's choice; raises ``NoFreeSlot``."""

    def unassign(self, eni_id: str, address: Address) -> None:
        """Begin to take the address from exactly this ENI; raises ``LookAgain`` when it does not have it."""

    def attach_eni(self, eni_id: str, instance_id: str, taken: frozenset[int]) -> str:
        """Begin to attach at a device index that is not ``taken``; the answer is the attachment's id.

        An index that turns out to be taken as well is passed over.  Raises ``NoFreeSlot`` when the instance is full.
        """

    def detach_eni(self, attachment_id: str, *, force: bool) -> None:
        """Begin to detach exactly this attachment."""

    def delete_eni(self, eni_id: str) -> None:
        """Delete a free ENI; one that is gone already is fine."""

    def tag_eni(self, eni_id: str, tags: Mapping[str, str]) -> None:
        """Add or overwrite tags of the ENI."""

    def associate(self, allocation_id: str, eni_id: str, address: IPv4Address) -> None:
        """Associate an Elastic IP with this private address of the ENI.

        Raises ``AddressTaken`` when it is associated with something else: it is never taken away from there.
        """

    def set_security_groups(self, eni_id: str, groups: tuple[str, ...]) -> None:
        """Let the ENI have exactly these security groups."""

    def keep_after_termination(self, eni_id: str, attachment_id: str) -> None:
        """Let the ENI outlive the instance that it is attached to."""

    def check_source(self, eni_id: str) -> None:
        """Switch the ENI's source/destination check on."""

    def rehearse(
        self, eni: Eni | None, subnet: Subnet, me: str, tags: Mapping[str, str], target: Target, needed: frozenset[str]
    ) -> tuple[str, ...]:
        """The IAM actions of a takeover that are denied, by dry runs of each: nothing is changed.

        ``tags`` are those that our ENIs have, since a policy may depend on them; ``eni`` is one that this node would
        take ``target`` by; ``needed`` are the actions without which there is no takeover.
        """


class Host(Protocol):
    """The node's kernel networking.  All methods are idempotent; use one object from one thread.

    What is somebody else's is never replaced nor removed; where it is in the way it is named.  Nothing but
    ``HostError`` is raised, and nothing hangs: the kernel is given up after some seconds, and for nft nobody waits.
    """

    def plumb(self, plumbing: Plumbing, extent: Extent) -> PlumbingReport:
        """Configure whatever of that extent of ``plumbing`` is missing, remove what is too much, read all of it back.

        Never raises: what the kernel refuses, or somebody else has in the way, is an UNSOUND report.  What nft has not
        told yet is UNCERTAIN; once it has, the callback of ``watch`` is called.  So is what was complete, while the
        kernel does not answer.  A SOUND report may have a problem,
        too: what the user should mend, though the address is carried.
        """

    def unplumb(self, plumbing: Plumbing) -> tuple[str, ...]:
        """Remove whatever of ``plumbing`` is there, whether or not the link is; the names of what was removed.

        Raises ``HostError`` after all of it was tried, also when nft has not told yet that the marks are gone.
        """

    def announce(self, plumbing: Plumbing) -> None:
        """Tell the neighbours once which MAC the address has now; best effort, nothing is raised."""

    def route_probes(self, plumbing: Plumbing) -> None:
        """On a standby: send what goes to the floating address via the gateway of the primary link.

        So no stale neighbour entry can lie to the probe.  Raises ``HostError``, also when somebody else has a route
        there, and, as a standby should say so beforehand, when somebody else has routes in the plumbing's table.
        """

    def blind(self, plumbing: Plumbing) -> str:
        """Why a probe of the floating address would not leave this node by its primary link; empty where it would.

        So it would hear this node itself, whatever carries the address here, or nobody.  Raises ``HostError``.
        """

    def unroute_probes(self, plumbing: Plumbing) -> None:
        """Take that route away.  Raises ``HostError``."""

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from a thread of its own whenever links, addresses, routes, rules or nft change.

        Raises ``HostError``.
        """


class Prober(Protocol):
    """One way to ask whether an address answers; use one object from one thread.

    Probes are sent more often than they time out, so several may be under way at once.  Nothing here raises: see
    ``ProbeOutcome``.
    """

    def send(self) -> None:
        """Send one probe now; what comes of it, also that it could not be sent, is for ``collect`` to say."""

    def collect(self) -> list[ProbeResult]:
        """The results that are known by now, and were not told before; never waits.

        Each probe gets exactly one result, in the order of sending: one is kept back while an earlier probe may still
        be answered.  No probe counts as lost before everything that has arrived meanwhile was read, so a stall of this
        process loses none.
        """

    def due_at(self) -> float:
        """The time at which ``collect`` should be called at the latest; infinite with nothing under way."""

    def files(self) -> Iterable[tuple[int, int]]:
        """What calls for ``collect`` sooner: file descriptors, each with the events of `select.poll` to wait for."""


class Metadata(Protocol):
    """The instance metadata service."""

    def identity(self) -> Identity:
        """Who this node is.  Raises ``MetadataError``."""

    def interface_with(self, address: Address) -> Interface | None:
        """The interface of this node that IMDS shows with ``address``.  Raises ``MetadataError``."""

    def addresses_of(self, mac: str) -> frozenset[Address] | None:
        """All addresses that IMDS shows on the interface with this MAC; None when it shows no such interface.

        Raises ``MetadataError`` after one short try: an error is no answer.
        """

    def notice(self) -> Notice | None:
        """What announces the end of this node, if anything does.  Raises ``MetadataError`` after one short try."""


class Orders(Protocol):
    """What Kubernetes has in mind for this pod; for one thread at a time."""

    def own_pod(self) -> OwnPod:
        """What the API server says of this pod, asked once, within about a second; never raises."""


class Services(Protocol):
    """The Services of this pod's namespace."""

    def node_ports(self) -> tuple[NodePort, ...]:
        """Their TCP NodePorts, in order; asked once, within some seconds.  Raises ``ServicesUnknown``."""


class Board(Protocol):
    """Where people find what Kubernetes shows of this observer; for one thread at a time."""

    def put_up(self, news: News) -> None:
        """Have this shown, within some seconds; the same news may be put up again.  Raises ``KubernetesError``."""
