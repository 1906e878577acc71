"""
Whole agents in this process, against the lab's EC2 endpoint over HTTP; each in a network namespace of its own.

Real are the agents, their threads, their questions to each other and Ec2Cloud.  The floating addresses are not:
plumbing, ICMP and IMDS of a worker are fakes (one `Machine` each), which test_fakes.py holds to what the real ones do.

An agent runs as a `Process`: `stop` is SIGTERM, `kill` is SIGKILL.  A killed one does nothing more, since every edge
ends the thread that comes by, and says nothing more to anybody.
"""

import functools
import io
import itertools
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any, NoReturn, ParamSpec, Self, TypeVar
from unittest.mock import patch

from mypy_boto3_ec2 import EC2Client

from floatingip.agent.address import FloatingAddress
from floatingip.agent.agent import Agent
from floatingip.agent.effects import Effect, Probe, Probing
from floatingip.agent.events import LookWanted
from floatingip.core.ec2 import AllocationFacts, Eni, Subnet
from floatingip.core.ec2 import Instance as ShownInstance
from floatingip.core.model import Address, Network, Target
from floatingip.core.node import Identity, Interface, Notice, OwnPod
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport, PlumbingState
from floatingip.core.ports import Board, Cloud
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.settings import Settings
from floatingip.edges.ec2.cloud import Ec2Cloud, client
from floatingip.edges.telemetry import Log
from floatingip.runtime.doing import Edges
from floatingip.runtime.loop import Loop
from lab.ec2 import PROFILES, Ec2, Guest, Instance, Profile
from lab.ec2.server import REGION, SUBNET_CIDR, SUBNET_IPV6_CIDR
from lab.history import Event, History, parse_logfmt
from lab.network.netns import Namespace

FLOATING_IP = IPv4Address("10.0.0.100")
GATEWAY, PORT = "10.0.0.1", 4566
"""Where each world's endpoint is."""

WORKERS = {"worker-a": "10.0.0.10", "worker-b": "10.0.0.11", "worker-c": "10.0.0.12"}
"""The workers' primary addresses, by the names of their namespaces; conftest.py makes these."""

MUTATING = frozenset(
    {
        *(f"{verb}NetworkInterface" for verb in ("Create", "Attach", "Detach", "Delete")),
        "ModifyNetworkInterfaceAttribute",
        *(f"{verb}PrivateIpAddresses" for verb in ("Assign", "Unassign")),
        *(f"{verb}Ipv6Addresses" for verb in ("Assign", "Unassign")),
        "AssociateAddress",
        "DisassociateAddress",
        "CreateTags",
        "DeleteTags",
    }
)

INSTANT, TYPICAL = PROFILES["instant"], PROFILES["typical"]

P = ParamSpec("P")
R = TypeVar("R")

_ports = itertools.count(21000)


def _credentials(name: str) -> dict[str, str]:
    """Environment variables; the endpoint knows callers by them."""
    return {"AWS_ACCESS_KEY_ID": f"ASIA{name.upper():X<16}", "AWS_SECRET_ACCESS_KEY": "secret"}


@functools.cache
def _client(name: str) -> EC2Client:
    """The product's own client for whatever endpoint there is: making one takes longer than most tests."""
    endpoint = {"AWS_ENDPOINT_URL_EC2": f"http://{GATEWAY}:{PORT}"}
    with patch.dict("os.environ", {**_credentials(name), **endpoint}):
        return client(REGION)


Hook = Callable[[str], None]


def nothing(name: str) -> None:
    """A Hook that does nothing."""


class Killed(BaseException):
    """Ends one thread of a killed process; conftest.py lets it pass in silence."""


def die() -> NoReturn:
    """End the calling thread."""
    raise Killed


class Life:
    """Whether a process lives; all that belongs to it asks at every turn."""

    def __init__(self) -> None:
        self.over = False

    def check(self) -> None:
        """End the calling thread, silently, when the process is dead."""
        if self.over:
            die()


@dataclass(frozen=True)
class Link:
    """A hot-plugged device, with the addresses that EC2 gave its ENI when it was plugged or since."""

    mac: str
    addresses: frozenset[Address] = frozenset()


LIVING = OwnPod(0.0, answered=True, ready=True, containers_ready=True)
"""A pod that is well."""


@dataclass(eq=False)
class Machine:
    """
    One worker: its instance, and what its kernel has; `plumbed` is which link carries an address.

    notice: what IMDS announces to it.
    pod: what the API server says of its pod; None: nothing, since it does not answer.
    board: what takes its news; None: nothing does.
    announced: the addresses that it told its neighbours of, at each time.
    """

    world: "World"
    namespace: Namespace
    instance: Instance
    cloud: Ec2Cloud
    guest: Guest = Guest.RUNNING
    links: tuple[Link, ...] = ()
    plumbed: dict[Address, str] = field(default_factory=dict)
    problem: str = ""
    blind: str = ""
    answers_unsound: bool = False
    notice: Notice | None = None
    pod: OwnPod | None = LIVING
    board: Board | None = None
    announced: list[tuple[float, Address]] = field(default_factory=list)
    watchers: list[Callable[[], None]] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The instance's id."""
        return self.instance.instance_id

    @property
    def serves(self) -> bool:
        """The floating address is carried here, and answers."""
        return self.carries(FLOATING_IP)

    def carries(self, address: Address) -> bool:
        """That address is carried here, and answers."""
        unsound = self.answers_unsound and bool(self.problem) and any(address in link.addresses for link in self.links)
        led_here = any(link.mac == self.plumbed.get(address) and address in link.addresses for link in self.links)
        return self.guest is Guest.RUNNING and (led_here or unsound)

    def has(self, mac: str) -> bool:
        """A device with this MAC is there."""
        return any(link.mac == mac for link in self.links)

    def identity(self) -> Identity:
        """As IMDS would tell it."""
        me, ec2 = self.instance, self.world.ec2
        address, groups = IPv4Address(me.address), (ec2.security_group_id,)
        return Identity(me.instance_id, REGION, me.zone, ec2.vpc_id, ec2.subnet_id, me.mac, address, groups)

    def plug(self, link: Link) -> None:
        """A device appears, bare."""
        self.links = (*self.links, link)
        self.wake()

    def unplug(self, mac: str) -> None:
        """A device goes; what was on it goes too."""
        self.links = tuple(link for link in self.links if link.mac != mac)
        self.strip(mac)

    def assign(self, mac: str, address: Address) -> None:
        """EC2 leads what is sent to the address to this device; the guest is not told."""
        self.links = tuple(
            Link(link.mac, link.addresses | {address}) if link.mac == mac else link for link in self.links
        )

    def unassign(self, mac: str, address: Address) -> None:
        """EC2 does no more."""
        self.links = tuple(
            Link(link.mac, link.addresses - {address}) if link.mac == mac else link for link in self.links
        )

    def strip(self, mac: str) -> None:
        """What was configured on a device is gone."""
        self.plumbed = {address: link for address, link in self.plumbed.items() if link != mac}
        self.wake()

    def wake(self) -> None:
        """The kernel tells its watchers of something."""
        for wake in list(self.watchers):
            wake()

    def edges(self, life: Life, settings: Settings, before: Hook) -> Edges:
        """The world as a process on this machine sees it; `before` is called with the name of each call of Cloud."""
        return Edges(
            cloud=MortalCloud(self.cloud, life, before),
            host=FakeHost(self, life),
            prober=lambda address: FakeProber(self, life, address, settings.probe_timeout),
            metadata=FakeMetadata(self, life),
            orders=FakeOrders(self, life),
            board=self.board,
        )


class FakeHost:
    """`ports.Host`: a kernel that does as it is told."""

    def __init__(self, machine: Machine, life: Life) -> None:
        self._machine = machine
        self._life = life

    def plumb(self, plumbing: Plumbing, extent: Extent) -> PlumbingReport:
        """See `ports.Host`."""
        self._life.check()
        machine, address = self._machine, plumbing.address
        if not machine.has(plumbing.mac):
            return PlumbingReport(PlumbingState.NO_LINK, extent=extent)
        is_there = machine.plumbed.get(address) == plumbing.mac
        if extent is Extent.AS_FOUND:
            extent = Extent.ALL if is_there else Extent.AHEAD
        if machine.problem:
            return PlumbingReport(PlumbingState.UNSOUND, problem=machine.problem, extent=extent)
        if extent is Extent.AHEAD:
            removed = ("address",) if machine.plumbed.pop(address, None) is not None else ()
            return PlumbingReport(PlumbingState.SOUND, removed=removed, extent=extent)
        machine.plumbed[address] = plumbing.mac
        return PlumbingReport(PlumbingState.SOUND, () if is_there else ("address",), extent=extent)

    def unplumb(self, plumbing: Plumbing) -> tuple[str, ...]:
        """See `ports.Host`."""
        self._life.check()
        return () if self._machine.plumbed.pop(plumbing.address, None) is None else ("address",)

    def announce(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""
        self._life.check()
        self._machine.announced.append((time.monotonic(), plumbing.address))

    def route_probes(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""
        self._life.check()

    def blind(self, plumbing: Plumbing) -> str:
        """See `ports.Host`."""
        self._life.check()
        return self._machine.blind

    def unroute_probes(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""
        self._life.check()

    def watch(self, wake: Callable[[], None]) -> None:
        """See `ports.Host`."""
        self._life.check()
        self._machine.watchers.append(wake)


class FakeProber:
    """`ports.Prober`: a probe is answered if some machine carries the address when it is sent."""

    def __init__(self, machine: Machine, life: Life, address: Address, timeout: float) -> None:
        self._machine = machine
        self._life = life
        self._address = address
        self._timeout = timeout
        self._probes: deque[tuple[float, bool]] = deque()

    def send(self) -> None:
        """See `ports.Prober`."""
        self._life.check()
        sent_at = time.monotonic()
        self._machine.sent.append(sent_at)
        self._probes.append((sent_at, self._machine.world.serving(self._address) is not None))

    def collect(self) -> list[ProbeResult]:
        """See `ports.Prober`."""
        self._life.check()
        now = time.monotonic()
        results = []
        while self._probes and self.due_at() <= now:
            sent_at, answered = self._probes.popleft()
            results.append(ProbeResult(sent_at, now, ProbeOutcome.ANSWERED if answered else ProbeOutcome.LOST))
        return results

    def due_at(self) -> float:
        """See `ports.Prober`."""
        if not self._probes:
            return math.inf
        sent_at, answered = self._probes[0]
        return sent_at + (0.0 if answered else self._timeout)

    def files(self) -> list[tuple[int, int]]:
        """See `ports.Prober`: no file, only time."""
        return []


class FakeMetadata:
    """`ports.Metadata`: what a machine is, and the links that it has."""

    def __init__(self, machine: Machine, life: Life) -> None:
        self._machine = machine
        self._life = life

    def identity(self) -> Identity:
        """See `ports.Metadata`."""
        self._life.check()
        return self._machine.identity()

    def interface_with(self, address: Address) -> Interface | None:
        """See `ports.Metadata`."""
        self._life.check()
        network = ip_network(SUBNET_CIDR if address.version == 4 else SUBNET_IPV6_CIDR)
        macs = (link.mac for link in self._machine.links if address in link.addresses)
        return next((Interface(mac, network) for mac in macs), None)

    def addresses_of(self, mac: str) -> frozenset[Address] | None:
        """See `ports.Metadata`."""
        self._life.check()
        return next((link.addresses for link in self._machine.links if link.mac == mac), None)

    def notice(self) -> Notice | None:
        """See `ports.Metadata`."""
        self._life.check()
        return self._machine.notice


class FakeOrders:
    """`ports.Orders`: an API server that says what the test has in mind for a machine's pod."""

    def __init__(self, machine: Machine, life: Life) -> None:
        self._machine = machine
        self._life = life

    def own_pod(self) -> OwnPod:
        """See `ports.Orders`."""
        self._life.check()
        asked_at, pod = time.monotonic(), self._machine.pod
        return OwnPod(asked_at, problem="no answer in time") if pod is None else replace(pod, asked_at=asked_at)


class MortalCloud:
    """A `ports.Cloud` of a process: neither asked by a dead one, nor heard."""

    def __init__(self, cloud: Cloud, life: Life, before: Hook) -> None:
        self._cloud = cloud
        self._life = life
        self._before = before

    def _mortal(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        self._life.check()
        self._before(call.__name__)
        self._life.check()
        try:
            return call(*args, **kwargs)
        finally:
            self._life.check()

    def describe_enis(self, name: str) -> tuple[Eni, ...]:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.describe_enis, name)

    def find_occupants(self, addresses: frozenset[Address]) -> tuple[Eni, ...]:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.find_occupants, addresses)

    def describe_allocation(self, allocation_id: str) -> AllocationFacts | None:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.describe_allocation, allocation_id)

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, ShownInstance]:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.describe_instances, instance_ids)

    def find_instance(self, name: str) -> ShownInstance | None:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.find_instance, name)

    def describe_subnets(self) -> tuple[Subnet, ...]:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.describe_subnets)

    def describe_reservations(self, subnet_id: str) -> tuple[Network, ...]:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.describe_reservations, subnet_id)

    def describe_slots(self, instance_type: str) -> int:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.describe_slots, instance_type)

    def create_eni(self, target: Target | None, subnet: Subnet, tags: Mapping[str, str], token: str) -> Eni:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.create_eni, target, subnet, tags, token)

    def assign(self, eni_id: str, address: Address, *, reassign: bool) -> None:
        """See `ports.Cloud`."""
        self._mortal(self._cloud.assign, eni_id, address, reassign=reassign)

    def assign_any(self, eni_id: str) -> None:
        """See `ports.Cloud`."""
        self._mortal(self._cloud.assign_any, eni_id)

    def unassign(self, eni_id: str, address: Address) -> None:
        """See `ports.Cloud`."""
        self._mortal(self._cloud.unassign, eni_id, address)

    def attach_eni(self, eni_id: str, instance_id: str, taken: frozenset[int]) -> str:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.attach_eni, eni_id, instance_id, taken)

    def detach_eni(self, attachment_id: str, *, force: bool) -> None:
        """See `ports.Cloud`."""
        self._mortal(self._cloud.detach_eni, attachment_id, force=force)

    def delete_eni(self, eni_id: str) -> None:
        """See `ports.Cloud`."""
        self._mortal(self._cloud.delete_eni, eni_id)

    def tag_eni(self, eni_id: str, tags: Mapping[str, str]) -> None:
        """See `ports.Cloud`."""
        self._mortal(self._cloud.tag_eni, eni_id, tags)

    def associate(self, allocation_id: str, eni_id: str, address: IPv4Address) -> None:
        """See `ports.Cloud`."""
        self._mortal(self._cloud.associate, allocation_id, eni_id, address)

    def set_security_groups(self, eni_id: str, groups: tuple[str, ...]) -> None:
        """See `ports.Cloud`."""
        self._mortal(self._cloud.set_security_groups, eni_id, groups)

    def keep_after_termination(self, eni_id: str, attachment_id: str) -> None:
        """See `ports.Cloud`."""
        self._mortal(self._cloud.keep_after_termination, eni_id, attachment_id)

    def check_source(self, eni_id: str) -> None:
        """See `ports.Cloud`."""
        self._mortal(self._cloud.check_source, eni_id)

    def rehearse(
        self, eni: Eni | None, subnet: Subnet, me: str, tags: Mapping[str, str], target: Target, needed: frozenset[str]
    ) -> tuple[str, ...]:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.rehearse, eni, subnet, me, tags, target, needed)


class Lines(io.StringIO):
    """What a process logs, line by line; `on_line` is called with each one's event, on the thread that logs it."""

    def __init__(self, life: Life, on_line: Hook) -> None:
        super().__init__()
        self._life = life
        self._on_line = on_line
        self.fields: list[dict[str, str]] = []

    def write(self, text: str) -> int:
        """Take one line, which is how `Log` writes."""
        self._life.check()
        fields = parse_logfmt(text)
        self.fields.append(fields)
        self._on_line(fields["event"])
        return len(text)


class MortalLoop(Loop):
    """A `Loop` of a process: a dead one does nothing of what the agent asks for."""

    def __init__(self, life: Life, settings: Settings, me: Identity, edges: Edges, log: Log, *, observes: bool) -> None:
        super().__init__(settings, me, edges, log, observes=observes)
        self._life = life

    def do(self, effect: Effect) -> None:
        """See `Loop`."""
        self._life.check()
        super().do(effect)

    def wake(self) -> None:
        """Have the threads come by that would wait for ever: those that decide, ask, answer and probe."""
        self.stop()
        self._askers.stop()
        if self._server is not None:
            self._server.stop()
        super().do(Probe(frozenset((Probing("", FLOATING_IP, 1.0, 1.0),))))


class Process:
    """One agent, from its start to its end."""

    def __init__(
        self,
        machine: Machine,
        command: str,
        settings: Settings,
        before: Hook = nothing,
        on_line: Hook = nothing,
    ) -> None:
        self.machine = machine
        self.life = Life()
        self.code: int | None = None
        self.error: BaseException | None = None
        self.lines = Lines(self.life, on_line)
        self._command = command
        self._settings = settings
        self._edges = machine.edges(self.life, settings, before)

    def __str__(self) -> str:
        heard = [peer.instance_id for peer in self.agent._peers.others("lab")]
        seen = [f"{target} {each.decision}, {each.seeing.health}" for target, each in self.agent._addresses.items()]
        return f"{self.machine.id}: {'; '.join(seen)}, heard of {heard}"

    @property
    def agent(self) -> Agent:
        """What decides in it."""
        return self._loop.agent

    def address(self, target: Target = FLOATING_IP) -> FloatingAddress:
        """What the agent knows and decides of one address."""
        return self.agent._addresses[target]

    def look(self) -> None:
        """Ask EC2 again now, as after a minute of peace."""
        self.agent._looking._requested_at = -math.inf
        self._loop.post(LookWanted())

    def start(self) -> Self:
        """Begin: a thread has the network namespace of the one that starts it."""
        self.machine.namespace.call(self._start)
        return self

    def _start(self) -> None:
        self.machine.pod = LIVING
        observes = self._command == "observe"
        me, log = self.machine.identity(), Log(self.lines)
        self._loop = MortalLoop(self.life, self._settings, me, self._edges, log, observes=observes)
        self._thread = threading.Thread(target=self._run, name=f"agent-{self.machine.id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """SIGTERM, whyever."""
        self._loop.stop()

    def delete(self, disruption: str = "") -> None:
        """Somebody deletes the pod, maybe since its node is to be emptied: SIGTERM follows."""
        self.machine.pod = replace(LIVING, deleted=True, disruption=disruption)
        self.stop()

    def ended(self, within: float) -> bool:
        """Wait for the end; whether it came."""
        self._thread.join(within)
        return not self._thread.is_alive()

    @property
    def runs(self) -> bool:
        """It has neither ended nor died."""
        return self._thread.is_alive()

    def logged(self, **fields: str) -> list[dict[str, str]]:
        """The lines so far that have these fields."""
        return [line for line in list(self.lines.fields) if fields.items() <= line.items()]

    def kill(self) -> None:
        """SIGKILL: nothing of it happens any more, and its sockets are closed."""
        self.life.over = True
        # With a real process the kernel ends the threads that wait for something.
        self._loop.wake()
        self.machine.wake()
        if self._thread is not threading.current_thread():
            self._thread.join(5)

    def _run(self) -> None:
        try:
            self.code = self._loop.run()
        except Exception as error:  # noqa: BLE001  # whatever it is, the test that looks at it says what it should be
            self.error = error


class World:
    """An endpoint, workers with or without agents, and the history of it all.

    It is the `lab.ec2.Devices` of its endpoint too.  A context manager: at the end every process is killed.
    """

    def __init__(
        self,
        profile: Profile = INSTANT,
        workers: int = 2,
        floating_ips: tuple[Target, ...] = (FLOATING_IP,),
        **settings: Any,
    ) -> None:
        self.history = History()
        self.machines: list[Machine] = []
        self.processes: list[Process] = []
        self.associations: dict[str, str] = {}
        self.shutdown_takes = 0.0
        self._macs: dict[str, str] = {}
        self._listener = socket.create_server((GATEWAY, PORT))
        self.ec2 = Ec2(profile, self, self.history.record, seed=1, sock=self._listener)
        self.lab = _client("lab")
        quick = {
            "port": next(_ports),
            "probe_interval": 0.04,
            "probe_fast_interval": 0.02,
            "probe_timeout": 0.08,
            "fall": 3,
        }
        self.settings = Settings(floating_ips, **{**quick, **settings})
        for name, address in list(WORKERS.items())[:workers]:
            instance = self.ec2.run_instance(name, address)
            self.ec2._callers[_credentials(name)["AWS_ACCESS_KEY_ID"]] = instance.instance_id
            cloud = Ec2Cloud(_client(name), self.ec2.vpc_id, (self.ec2.security_group_id,))
            self.machines.append(Machine(self, Namespace(name), instance, cloud))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ec2.faults.clear()
        with ExitStack() as resources:
            resources.callback(self._listener.close)
            resources.callback(self.ec2.stop)
            for process in self.processes:
                resources.callback(process.kill)

    # Agents.

    def run(
        self,
        machine: Machine,
        command: str = "observe",
        before: Hook = nothing,
        on_line: Hook = nothing,
    ) -> Process:
        """Start an agent on a machine; see `Machine.edges` for `before`, `Lines` for `on_line`."""
        process = Process(machine, command, self.settings, before, on_line)
        self.processes.append(process)
        return process.start()

    def observers(self, before: Hook = nothing, on_line: Hook = nothing) -> list[Process]:
        """An observer on each machine, all at peace: the first one holds the address, the others have the hooks."""
        first = self.run(self.machines[0])
        wait(lambda: self.machines[0].serves, 5, "the first agent holds the address")
        processes = [first, *(self.run(machine, before=before, on_line=on_line) for machine in self.machines[1:])]
        self.wait_for_peace(processes)
        return processes

    def wait_for_peace(self, processes: Sequence[Process]) -> None:
        """Wait until all have rehearsed a takeover, see each address UP or hold it, and know of each other."""

        def at_peace(process: Process) -> bool:
            agent = process.agent
            if agent._shared.slots is None:
                return False
            for each in agent._addresses.values():
                address = each.where.address()
                carried = address is not None and process.machine.carries(address)
                if each.decision.reason.name != ("HELD_HERE" if carried else "ANSWERS"):
                    return False
            known = {peer.instance_id for peer in agent._peers.others("lab")}
            others = {other.machine.id for other in processes} - {process.machine.id}
            return process.machine.serves or known == others

        wait(lambda: all(map(at_peace, processes)), 10, lambda: f"peace among {[str(p) for p in processes]}")

    def cut_power(self, process: Process) -> None:
        """The machine is off, with all that ran on it."""
        process.machine.guest = Guest.OFF
        process.kill()

    # What can be seen.

    def serving(self, address: Address = FLOATING_IP) -> Machine | None:
        """The machine that the address leads to."""
        return next((machine for machine in self.machines if machine.carries(address)), None)

    def enis(self, address: Address = FLOATING_IP) -> list[Any]:
        """All ENIs with the address, as EC2 shows them."""
        name = "addresses.private-ip-address" if address.version == 4 else "ipv6-addresses.ipv6-address"
        filters = [{"Name": name, "Values": [str(address)]}]
        return list(self.lab.describe_network_interfaces(Filters=filters)["NetworkInterfaces"])  # type: ignore[arg-type]  # a TypedDict, spelled out

    def holder(self, address: Address = FLOATING_IP) -> str:
        """The instance of the one ENI's attachment, or nothing.  There must be one ENI."""
        (eni,) = self.enis(address)
        return str(eni.get("Attachment", {}).get("InstanceId", ""))

    def calls(self, action: str = "", caller: str = "") -> list[Event]:
        """The calls of agents so far, but for their dry runs."""
        agents = {machine.id for machine in self.machines}
        return [
            event
            for event in self.history.events()
            if event["event"] == "call"
            and event["caller"] in ({caller} if caller else agents)
            and action in ("", event["action"])
            and event["params"].get("DryRun") != "true"
        ]

    def writes(self) -> list[Event]:
        """The calls of agents that could change something."""
        return [event for event in self.calls() if event["action"] in MUTATING]

    def attachments(self, address: Address = FLOATING_IP) -> list[tuple[str, str]]:
        """Attachment and instance of each attachment that the ENI with this IPv4 address ever had; none overlapped."""
        ever: list[tuple[str, str]] = []
        present = ""
        for event in self.history.events():
            if event["event"] != "attachment" or event["address"] != str(address):
                continue
            if event["status"] == "attaching":
                assert not present, f"{event['attachment']} began while {present} was there"
                present = event["attachment"]
                ever.append((present, event["instance"]))
            assert event["attachment"] == present, f"{event['attachment']} speaks while {present} is there"
            if event["status"] == "detached":
                present = ""
        return ever

    # What EC2 does to machines (lab.ec2.Devices).

    def plug(self, eni_id: str, mac: str, addresses: Sequence[str], instance_id: str, device_index: int) -> None:
        """A link appears, where there is power."""
        machine = self._by_id(instance_id)
        if machine.guest is not Guest.OFF:
            self._macs[eni_id] = mac
            machine.plug(Link(mac, frozenset(map(ip_address, addresses))))

    def unplug(self, eni_id: str) -> None:
        """The link goes, wherever it is."""
        mac = self._macs.pop(eni_id, "")
        for machine in self.machines:
            if machine.has(mac):
                machine.unplug(mac)

    def assign(self, eni_id: str, address: str) -> None:
        """An address leads to a device, which some machine has."""
        for machine in self.machines:
            machine.assign(self._macs.get(eni_id, ""), ip_address(address))

    def unassign(self, eni_id: str, address: str) -> None:
        """It leads there no more."""
        for machine in self.machines:
            machine.unassign(self._macs.get(eni_id, ""), ip_address(address))

    def associate(self, public: str, private: str) -> None:
        """An Elastic IP leads to a private address."""
        self.associations[public] = private

    def disassociate(self, public: str) -> None:
        """It leads nowhere."""
        self.associations.pop(public, None)

    def shut_down(self, instance_id: str) -> float:
        """The power button: at once, unless the guest takes its time, and answers meanwhile."""
        if not self.shutdown_takes:
            self._by_id(instance_id).guest = Guest.OFF
        return self.shutdown_takes

    def boot(self, instance_id: str) -> None:
        """No machine comes back here."""

    def reboot(self, instance_id: str) -> None:
        """No machine comes back here."""

    def guest(self, instance_id: str) -> Guest:
        """How the machine is."""
        return self._by_id(instance_id).guest

    def _by_id(self, instance_id: str) -> Machine:
        return next(machine for machine in self.machines if machine.id == instance_id)


def wait(condition: Callable[[], bool], within: float, what: str | Callable[[], str]) -> None:
    """Wait for a condition.  Raises AssertionError, which says `what`, when it does not come true."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.005)


def holds_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Watch that a condition stays true.  Raises AssertionError as soon as it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"no more: {what}"
        time.sleep(0.005)
