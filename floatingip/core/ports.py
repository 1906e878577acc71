"""
The edges as Protocols: what the runtime needs from EC2, the kernel, probes, IMDS and Kubernetes.

Every method may block, so the runtime calls them from threads of their own.  Each Protocol has one implementation in
``edges/``, and may have a verified fake in the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
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

    Every method makes only the calls to EC2 that its name says, and repeats no write.  It raises a ``CloudError``:
    ``CloudUnavailable`` if EC2's state is unknown afterwards, ``Denied`` if IAM says no, ``LookAgain`` if the state is
    not what the caller believed.
    """

    def describe_enis(self, name: str) -> tuple[Eni, ...]:
        """All ENIs of this VPC that are ours: their tag ``floatingip`` is ``name``."""

    def find_occupants(self, addresses: frozenset[Address]) -> tuple[Eni, ...]:
        """The ENIs of this VPC that have one of these addresses, whoever they belong to."""

    def describe_allocation(self, allocation_id: str) -> AllocationFacts | None:
        """What an Elastic IP is and what it is associated with; None when there is no such allocation."""

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, Instance]:
        """Those of these instances that EC2 knows, by id."""

    def find_instance(self, name: str) -> Instance | None:
        """The instance of this VPC with this primary address or private DNS name, None when there is none."""

    def describe_subnets(self) -> tuple[Subnet, ...]:
        """All subnets of this VPC."""

    def describe_reservations(self, subnet_id: str) -> tuple[Network, ...]:
        """The reserved ranges of the subnet: EC2 gives an address of these only to a call that names it."""

    def describe_slots(self, instance_type: str) -> int:
        """How many ENIs an instance of this type can have on its first network card."""

    def create_eni(self, target: Target | None, subnet: Subnet, tags: Mapping[str, str], token: str) -> Eni:
        """Create the ENI for ``target``; if that is None, an ENI with any address of the subnet.

        Raises ``LookAgain`` if the target's address is in use.

        The same client ``token`` never makes a second ENI; the answer may show one that was deleted meanwhile.  With an
        empty token each call makes a new one.
        """

    def assign(self, eni_id: str, address: Address, *, reassign: bool) -> None:
        """Begin to give the ENI the address as a secondary one.

        Without ``reassign``, and always for IPv6, raises ``LookAgain`` while another ENI has it.  Raises ``NoFreeSlot``
        when the ENI can have no more addresses.
        """

    def assign_any(self, eni_id: str) -> None:
        """Begin to give the ENI one more private address, of EC2's choice; raises ``NoFreeSlot``."""

    def unassign(self, eni_id: str, address: Address) -> None:
        """Begin to take the address from exactly this ENI; raises ``LookAgain`` when it does not have it."""

    def attach_eni(self, eni_id: str, instance_id: str, taken: frozenset[int]) -> str:
        """Begin to attach the ENI at a device index that is not ``taken``; return the attachment's id.

        An index that turns out to be taken as well is skipped.  Raises ``NoFreeSlot`` when the instance is full.
        """

    def detach_eni(self, attachment_id: str, *, force: bool) -> None:
        """Begin to detach exactly this attachment."""

    def delete_eni(self, eni_id: str) -> None:
        """Delete a free ENI; does nothing if it is gone already."""

    def tag_eni(self, eni_id: str, tags: Mapping[str, str]) -> None:
        """Add or overwrite tags of the ENI."""

    def tag_enis(self, eni_ids: tuple[str, ...], tags: Mapping[str, str]) -> None:
        """Add or overwrite tags of all these ENIs by one call; if EC2 refuses one of them, none gets any."""

    def associate(self, allocation_id: str, eni_id: str, address: IPv4Address) -> None:
        """Associate an Elastic IP with this private address of the ENI.

        Raises ``AddressTaken`` when it is associated with something else, from which it is never taken away.
        """

    def set_security_groups(self, eni_id: str, groups: tuple[str, ...]) -> None:
        """Let the ENI have exactly these security groups."""

    def keep_after_termination(self, eni_id: str, attachment_id: str) -> None:
        """Let the ENI outlive the instance that it is attached to."""

    def check_source(self, eni_id: str) -> None:
        """Switch the ENI's source/destination check on."""

    def rehearse(
        self,
        eni: Eni | None,
        subnet: Subnet,
        me: str,
        tags: Mapping[str, str],
        targets: Collection[Target],
        needed: frozenset[str],
    ) -> tuple[str, ...]:
        """The IAM actions of a takeover that are denied, found out by dry runs: nothing is changed.

        ``tags`` are those that our ENIs have, since a policy may depend on them.  ``eni`` is the ENI by which this
        node, the instance ``me``, would take one of ``targets``, None while there is none.  ``needed`` are the actions
        without which no takeover is possible.
        """


class Host(Protocol):
    """The node's kernel networking.  All methods are idempotent; use one object from one thread.

    What belongs to others is never replaced or removed; if it is in the way, the report's problem names it.  Methods
    raise nothing but ``HostError``, and none hangs: the kernel gets some seconds to answer, and no method waits for nft
    for long.
    """

    def plumb(self, plumbing: Plumbing, extent: Extent) -> PlumbingReport:
        """Have the part ``extent`` of ``plumbing``: add what is missing, remove what is too much, read all of it back.

        Never raises: if the kernel refuses something, or if others have something in the way, the report is UNSOUND.
        The report is UNCERTAIN until nft has told its part; then the callback of ``watch`` is called.  It is also
        UNCERTAIN while the kernel does not answer, if the plumbing was complete before.  A SOUND report may have a
        problem, too, which the user should mend although the address is carried.
        """

    def unplumb(self, plumbing: Plumbing) -> tuple[str, ...]:
        """Remove all that is there of ``plumbing``, with or without its link; return the names of what was removed.

        Tries everything before it raises ``HostError``, which it also does if nft has not confirmed yet that the marks
        are gone.
        """

    def announce(self, plumbing: Plumbing) -> None:
        """Tell the neighbours once which MAC the address has now; best effort, nothing is raised."""

    def route_probes(self, plumbing: Plumbing) -> None:
        """On a standby: route packets to the floating address via the gateway of the primary link.

        Then no stale neighbour entry can mislead the probes.  Raises ``HostError``, also if others have a route to the
        address, or routes in the plumbing's table: a standby should say so before it gets the address.
        """

    def blind(self, plumbing: Plumbing) -> str:
        """Why a probe of the floating address would not leave this node by its primary link; empty if it would.

        A probe that does not would be answered by this node itself, or by nobody.  Raises ``HostError``.
        """

    def unroute_probes(self, plumbing: Plumbing) -> None:
        """Remove the route that ``route_probes`` made.  Raises ``HostError``."""

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from a thread of its own whenever links, addresses, routes, rules or nft change.

        Raises ``HostError``.
        """


class Prober(Protocol):
    """One way to ask whether an address answers; use one object from one thread.

    Probes are sent more often than they time out, so several may be under way at once.  No method raises: a probe that
    could not be sent has an outcome of its own (`ProbeOutcome`).
    """

    def send(self) -> None:
        """Send one probe now; ``collect`` returns its result, also if it could not be sent."""

    def collect(self) -> list[ProbeResult]:
        """The results that are known by now, and were not returned before; never waits.

        Each probe gets exactly one result, in the order of sending: a result is kept back while an earlier probe may
        still be answered.  A probe counts as lost only after everything that has arrived was read, so a stall of this
        process loses none.
        """

    def due_at(self) -> float:
        """When ``collect`` should be called at the latest; infinite while no probe is under way."""

    def files(self) -> Iterable[tuple[int, int]]:
        """When to call ``collect`` sooner: at these events (of `select.poll`) of these file descriptors."""


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
        """The announcement of this node's end, None if there is none.  Raises ``MetadataError`` after one short try."""


class Orders(Protocol):
    """What Kubernetes intends to do with this pod; for one thread at a time."""

    def own_pod(self) -> OwnPod:
        """What the API server says of this pod, asked once, within about a second; never raises."""


class Services(Protocol):
    """The Services of this pod's namespace."""

    def node_ports(self) -> tuple[NodePort, ...]:
        """Their TCP NodePorts, sorted; asked once, within some seconds.  Raises ``ServicesUnknown``."""


class Board(Protocol):
    """What Kubernetes shows people of this observer (label, Events, history); for one thread at a time."""

    def put_up(self, news: News) -> None:
        """Show the news, within some seconds; the same news may be put up again.  Raises ``KubernetesError``."""
