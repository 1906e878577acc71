"""
The facts that the checks need, each asked for only once: who this node is, what EC2 shows, who else answers.

A call that hangs is ended by the timeouts of the edges, which together are shorter than the time the doctor waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from floatingip.agent.agent import Agent
from floatingip.agent.effects import Keep
from floatingip.agent.events import Looked
from floatingip.agent.looks import Question, Seen, cluster_name
from floatingip.agent.shared import Shared
from floatingip.agent.whereabouts import Whereabouts
from floatingip.commands import arguments
from floatingip.commands.doctor.fleet import Met, Reached
from floatingip.commands.doctor.once import once
from floatingip.commands.doctor.trying import begin, beside, meet, reach, tried
from floatingip.core.ec2 import Attachment, Eni, Instance
from floatingip.core.errors import FloatingIPError, HostError
from floatingip.core.groups import Worker
from floatingip.core.model import Address, Allocation, Network, Target
from floatingip.core.node import Identity, OwnPod
from floatingip.core.plumbing import Plumbing
from floatingip.core.ports import Cloud, Prober
from floatingip.core.probe import NodePort, ProbeOutcome
from floatingip.core.settings import Settings
from floatingip.core.word import PEERS_AT_MOST, Answer
from floatingip.edges.ec2.cloud import Ec2Cloud, client
from floatingip.edges.ec2.inspection import PATIENCE, Inspection
from floatingip.edges.imds import Imds
from floatingip.edges.kernel.container import check_network
from floatingip.edges.kubernetes.api_server import ApiServer
from floatingip.edges.kubernetes.node_ports import PodsServices
from floatingip.edges.kubernetes.own_pod import PodsOrders
from floatingip.runtime.look import look
from floatingip.runtime.peers import Contact


class NotKnown(Exception):
    """A fact that a check needs is not known; the message says which, and ``remedy`` what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class NoWorker(NotKnown):
    """The doctor does not run on a worker: only what EC2 tells can be known."""

    def __init__(self) -> None:
        super().__init__("this is no worker", "run the doctor on one")


class Facts:
    """The facts for one run of the doctor; may be used from all its threads.

    ``service`` makes probers of NodePorts, None if no NodePorts are checked.  ``region`` and ``vpc_id`` are given if
    this is no worker.
    """

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        service: Callable[[NodePort, Address], Prober] | None,
        region: str | None = None,
        vpc_id: str | None = None,
    ) -> None:
        self.settings = settings
        self.environment = environment
        self.api_server = ApiServer(environment)
        self._service = service
        self._region = region
        self._vpc_id = vpc_id

    @property
    def targets(self) -> tuple[Target, ...]:
        """The reserved addresses, by the settings."""
        return self.settings.floating_ips

    # Who this node is.

    @once
    def identified(self) -> tuple[Identity, float]:
        """IMDS' answer, and how many seconds it took.  Raises ``MetadataError``."""
        began = time.monotonic()
        return Imds().identity(), time.monotonic() - began

    @once
    def me(self) -> Identity:
        """Who this node is, for checks that do not care how long IMDS took.  Raises ``NotKnown``."""
        if self.is_elsewhere:
            raise NoWorker
        try:
            return self.identified[0]
        except FloatingIPError:
            raise NotKnown("who this node is", "see imds") from None

    @property
    def is_elsewhere(self) -> bool:
        """The user has given all that IMDS would tell, as if this is no worker.  Then IMDS is not asked: on a laptop it
        is silent for longer than anybody waits.
        """
        return bool(self._region and self._vpc_id and self.settings.name)

    @once
    def network(self) -> HostError | None:
        """The error that this container has not its node's network; None if it has, or that is not known."""
        try:
            check_network(self.me.mac)
        except HostError as error:
            return error
        except (NotKnown, OSError):
            return None
        return None

    # What EC2 shows.

    @once
    def ec2(self) -> tuple[Cloud, Inspection]:
        """EC2 as the agent asks it, and as only the doctor does, both by one client, since that takes long to make."""
        region, vpc_id = self._where()
        groups = self.settings.security_groups or (() if self.is_elsewhere else self.me.security_groups)
        made = client(region, PATIENCE)
        return Ec2Cloud(made, vpc_id, groups), Inspection(made, region, vpc_id)

    @property
    def cloud(self) -> Cloud:
        """EC2, as the agent asks it."""
        return self.ec2[0]

    @property
    def inspection(self) -> Inspection:
        """EC2, as only the doctor asks it."""
        return self.ec2[1]

    def _where(self) -> tuple[str, str]:
        if self._region and self._vpc_id:
            return self._region, self._vpc_id
        return arguments.place(self._region, self._vpc_id, self.me)

    @once
    def seen(self) -> Seen:
        """One look at EC2, as the agent makes it."""
        me = "" if self.is_elsewhere else self.me.instance_id
        # Outside a worker there is no own instance to describe: the empty id counts as known.
        known, judged = (frozenset[str](), frozenset((me,))) if me else (frozenset((me,)), frozenset[str]())
        question = Question(time.monotonic(), me, self.settings.name, known, judged, need_subnets=True)
        return look(self.cloud, self.settings, question)

    @once
    def shared(self) -> Shared:
        """What the agent would know of this node by now."""
        seen = self.seen
        shared = Shared(self.me, self.settings)
        shared.looked(seen, seen.asked_at)
        return shared

    @once
    def name(self) -> str:
        """Whose interfaces are ours.  Raises ``NotKnown``."""
        name = self.settings.name or self.shared.name
        if not name:
            raise NotKnown("which cluster this is", "set `name` in the settings")
        return name

    @once
    def addresses(self) -> tuple[Whereabouts, ...]:
        """The floating addresses as the agent on this node would know them by now."""
        seen, shared, made = self.seen, self.shared, list[Whereabouts]()
        for index, target in enumerate(self.targets):
            address = Whereabouts(target, index, shared)
            if target in seen.allocations:
                # As if it had been so for long: the doctor looks only once, and an agent would wait for late tags.
                address.found_allocation(seen.allocations[target])
            address.looked(seen)
            made.append(address)
        return tuple(made)

    @once
    def plumbings(self) -> tuple[Plumbing, ...]:
        """The plumbing that an agent on this node would want now; none of it is applied."""
        seen = self.seen
        agent = Agent(self.settings, self.me, observes=True, started_at=seen.asked_at, chance=lambda low, _high: low)
        effects = agent.handle([Looked(seen)], seen.asked_at, time.time())
        return tuple(effect.wanted.plumbing for effect in effects if isinstance(effect, Keep))

    @once
    def ours(self) -> tuple[Eni, ...]:
        """Our interfaces: those that have an address, and the standing ones."""
        owned = [eni for eni in self.seen.enis.values() if eni.id in self.seen.ours]
        return tuple({eni.id: eni for eni in (*owned, *self.seen.standing)}.values())

    @once
    def here(self) -> tuple[Eni, ...]:
        """Our interfaces that are attached to this node."""
        return tuple(eni for eni in self.ours if _instance(eni.attachment) == self.me.instance_id)

    def holder(self, target: Target) -> str:
        """The instance that EC2 shows with the address; empty if it shows none."""
        eni = self.seen.enis.get(target)
        return _instance(eni.attachment) if eni is not None and eni.id in self.seen.ours else ""

    @once
    def holders(self) -> frozenset[str]:
        """Instances that EC2 shows with an address."""
        return frozenset(map(self.holder, self.targets)) - {""}

    @once
    def slots(self) -> int:
        """How many ENIs this instance may have.  Raises ``CloudError``."""
        return self.cloud.describe_slots(self.instance.type)

    @property
    def instance(self) -> Instance:
        """The instance of this node, as EC2 shows it.  Raises ``NotKnown``."""
        if (mine := self.shared.instances.get(self.me.instance_id)) is None:
            if self.seen.undescribed:
                raise NotKnown(f"this instance, of which EC2 did not tell ({self.seen.undescribed})", "see ec2")
            raise NotKnown("this instance, which EC2 does not show", "is --region that of this worker?")
        return mine

    @property
    def own(self) -> tuple[Address, ...]:
        """The node's primary address, and the IPv6 address that EC2 shows beside it, if there is one."""
        mine = self.seen.instances.get(self.me.instance_id)
        return (self.me.address, *([mine.ipv6] if mine is not None and mine.ipv6 is not None else []))

    @once
    def reserved(self) -> Mapping[str, tuple[Network, ...]]:
        """The reserved ranges of each subnet that a floating address belongs to, by subnet.  Raises ``CloudError``."""
        subnets = {subnet.id for address in self.addresses if (subnet := address.subnet()) is not None}
        return {subnet_id: self.cloud.describe_reservations(subnet_id) for subnet_id in sorted(subnets)}

    @once
    def caller(self) -> str:
        """Whose the credentials are, by STS.  Raises ``CloudError``."""
        return self.inspection.caller()

    @once
    def clock(self) -> tuple[float | None, float]:
        """See `Inspection.clock`.  Raises ``CloudError``."""
        return self.inspection.clock()

    @property
    def carried(self) -> tuple[Address, ...]:
        """The addresses that a node carries for the targets, as far as they are known without EC2."""
        return tuple(target for target in self.targets if not isinstance(target, Allocation))

    @property
    def versions(self) -> tuple[int, ...]:
        """The IP versions of the targets; an Elastic IP counts as IPv4."""
        return tuple(sorted({address.version for address in self.carried})) or (4,)

    # Who else answers.

    @once
    def workers(self) -> tuple[Worker, ...]:
        """The living workers of the cluster, by EC2's tags."""
        mine = self.seen.instances.get(self.me.instance_id)
        cluster = cluster_name(mine.tags) if mine is not None else ""
        found = self.inspection.workers(cluster or self.name)
        return tuple(each for each in found if not each.instance.state.announces_death)

    @once
    def others(self) -> tuple[Worker, ...]:
        """The other workers in this node's zone, and those elsewhere that hold an address."""
        me = self.me
        near = [each for each in self.workers if each.instance.zone == me.zone or each.instance.id in self.holders]
        return tuple(each for each in near if each.instance.id != me.instance_id and each.instance.address is not None)

    @once
    def observer(self) -> Answer:
        """What the observer on this node says of itself, if one runs."""
        return self.contact(self.me.address).ask()

    def contact(self, address: Address) -> Contact:
        """The observer at this address, as it is asked by this node."""
        return Contact(address, self.settings.port, self.me.instance_id, self.me.address)

    @once
    def met(self) -> tuple[Met, ...]:
        """How the other workers answer; those that hold an address come first."""
        ranked = sorted(self.others, key=lambda each: (each.instance.id not in self.holders, each.instance.id))
        holders = self.holders
        met = beside(lambda each: meet(each, self.contact, holds=each.instance.id in holders), ranked[:PEERS_AT_MOST])
        return tuple(met)

    @once
    def reached(self) -> tuple[Reached, ...]:
        """How the floating addresses that other nodes hold answer."""
        holders = {each.instance.id: each for each in self.others}
        me = self.me.instance_id if self.observer.status is not None else ""
        held: list[tuple[Address, str, str, Contact]] = []
        for target in self.targets:
            eni, holder = self.seen.enis.get(target), holders.get(self.holder(target))
            address = eni.address_of(target) if eni is not None else None
            at = holder.instance.address if holder is not None else None
            if address is not None and holder is not None and at is not None:
                held.append((address, str(target), holder.instance.id, replace(self.contact(at), me=me)))
        return tuple(beside(lambda each: reach(*each), held))

    @once
    def answers(self) -> tuple[tuple[Met, ...], tuple[Reached, ...]]:
        """How the other workers, and the addresses that they hold, answer: asked at the same time."""
        reached = begin(lambda facts: facts.reached, self)
        return self.met, reached.result()

    # What Kubernetes tells.

    @once
    def own_pod(self) -> OwnPod:
        """What the API server says of the pod that the doctor runs in."""
        return PodsOrders(self.api_server).own_pod()

    @once
    def node_ports(self) -> tuple[NodePort, ...]:
        """The NodePorts that should answer.  Raises ``ServicesUnknown``."""
        if not self.settings.service:
            return ()
        if (check := self.settings.service_check) is not None:
            return (NodePort(check.port, check.path if check.kind == "http" else ""),)
        return PodsServices(self.api_server).node_ports()

    def serves(self, node_port: NodePort, address: Address) -> bool:
        """Whether a NodePort answers at an address."""
        if self._service is None or address.version not in node_port.versions:
            return False
        return tried(self._service(node_port, address)) is ProbeOutcome.ANSWERED


def _instance(attachment: Attachment | None) -> str:
    return attachment.instance_id if attachment is not None else ""
