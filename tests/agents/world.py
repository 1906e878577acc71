"""
Whole agents in this process, against the lab's EC2 endpoint over HTTP; each in a network namespace of its own.

Real are the agents, their threads, their questions to each other and Ec2Cloud.  The floating address is not: plumbing,
ICMP and IMDS of a worker are fakes (one `Machine` each), which test_fakes.py holds to what the real ones do.

An agent runs as a `Process`: `stop` is SIGTERM, `kill` is SIGKILL.  A killed one does nothing more, since every edge
ends the thread that comes by, and says nothing more to anybody.
"""

import functools
import io
import itertools
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, NoReturn, ParamSpec, Self, TypeVar
from unittest.mock import patch

from mypy_boto3_ec2 import EC2Client

from floatingip.ec2 import Ec2Cloud, client
from floatingip.model import (
    Address,
    Eni,
    Identity,
    Interface,
    Plumbing,
    PlumbingReport,
    PlumbingState,
    ProbeOutcome,
    ProbeResult,
    Subnet,
)
from floatingip.model import Instance as ShownInstance
from floatingip.ports import Cloud
from floatingip.runner import Agent, Edges
from floatingip.settings import Settings
from floatingip.telemetry import Log
from lab.ec2 import PROFILES, Ec2, Guest, Instance, Profile
from lab.ec2.server import REGION, SUBNET_CIDR
from lab.history import Event, History, parse_logfmt
from lab.netns import Namespace

FLOATING_IP = IPv4Address("10.0.0.100")
GATEWAY, PORT = "10.0.0.1", 4566
"""Where each world's endpoint is."""

WORKERS = {"worker-a": "10.0.0.10", "worker-b": "10.0.0.11", "worker-c": "10.0.0.12"}
"""The workers' primary addresses, by the names of their namespaces; conftest.py makes these."""

MUTATING = frozenset(
    f"{verb}NetworkInterface" for verb in ("Create", "Attach", "Detach", "Delete")
) | {"CreateTags", "DeleteTags"}  # fmt: skip

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


@dataclass(eq=False)
class Machine:
    """One worker: its instance, and what its kernel has."""

    world: "World"
    namespace: Namespace
    instance: Instance
    cloud: Ec2Cloud
    guest: Guest = Guest.RUNNING
    link: str = ""
    plumbed: bool = False
    problem: str = ""
    answers_unsound: bool = False
    watchers: list[Callable[[], None]] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The instance's id."""
        return self.instance.instance_id

    @property
    def serves(self) -> bool:
        """The floating address is carried here, and answers."""
        carried = self.plumbed or (self.answers_unsound and bool(self.problem))
        return self.guest is Guest.RUNNING and bool(self.link) and carried

    def identity(self) -> Identity:
        """As IMDS would tell it."""
        me, ec2 = self.instance, self.world.ec2
        address, groups = IPv4Address(me.address), (ec2.security_group_id,)
        return Identity(me.instance_id, REGION, me.zone, ec2.vpc_id, ec2.subnet_id, me.mac, address, groups)

    def change(self, link: str) -> None:
        """A device appears or goes; what was on it goes too."""
        self.link, self.plumbed = link, False
        for wake in list(self.watchers):
            wake()

    def edges(self, life: Life, settings: Settings, before: Hook) -> Edges:
        """The world as a process on this machine sees it; `before` is called with the name of each call of Cloud."""
        return Edges(
            cloud=MortalCloud(self.cloud, life, before),
            host=FakeHost(self, life),
            prober=FakeProber(self, life, settings.probe_timeout),
            metadata=FakeMetadata(self, life),
        )


class FakeHost:
    """`ports.Host`: a kernel that has one link at most, and does as it is told."""

    def __init__(self, machine: Machine, life: Life) -> None:
        self._machine = machine
        self._life = life

    def plumb(self, plumbing: Plumbing) -> PlumbingReport:
        """See `ports.Host`."""
        self._life.check()
        machine = self._machine
        if machine.link != plumbing.mac:
            return PlumbingReport(PlumbingState.NO_LINK)
        if machine.problem:
            return PlumbingReport(PlumbingState.UNSOUND, problem=machine.problem)
        repaired = () if machine.plumbed else ("address",)
        machine.plumbed = True
        return PlumbingReport(PlumbingState.SOUND, repaired)

    def unplumb(self, plumbing: Plumbing) -> tuple[str, ...]:
        """See `ports.Host`."""
        self._life.check()
        removed = ("address",) if self._machine.plumbed else ()
        self._machine.plumbed = False
        return removed

    def route_probes(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""
        self._life.check()

    def unroute_probes(self, plumbing: Plumbing) -> None:
        """See `ports.Host`."""
        self._life.check()

    def watch(self, wake: Callable[[], None]) -> None:
        """See `ports.Host`."""
        self._life.check()
        self._machine.watchers.append(wake)


class FakeProber:
    """`ports.Prober`: a probe is answered if some machine serves the address when it is sent."""

    def __init__(self, machine: Machine, life: Life, timeout: float) -> None:
        self._machine = machine
        self._life = life
        self._timeout = timeout
        self._probes: deque[tuple[float, bool]] = deque()

    def send(self) -> None:
        """See `ports.Prober`."""
        self._life.check()
        sent_at = time.monotonic()
        self._machine.sent.append(sent_at)
        self._probes.append((sent_at, self._machine.world.serving() is not None))

    def collect(self, until: float) -> list[ProbeResult]:
        """See `ports.Prober`."""
        while True:
            self._life.check()
            now = time.monotonic()
            results = []
            while self._probes:
                sent_at, answered = self._probes[0]
                if not answered and now < sent_at + self._timeout:
                    break
                outcome = ProbeOutcome.ANSWERED if answered else ProbeOutcome.LOST
                results.append(ProbeResult(sent_at, now, outcome))
                self._probes.popleft()
            if results or now >= until:
                return results
            deadline = self._probes[0][0] + self._timeout if self._probes else until
            time.sleep(max(0.0, min(until, deadline) - now))


class FakeMetadata:
    """`ports.Metadata`: what a machine is, and the link that it has."""

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
        return Interface(self._machine.link, IPv4Network(SUBNET_CIDR)) if self._machine.link else None


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

    def find_eni(self, address: Address) -> Eni | None:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.find_eni, address)

    def describe_instances(self, instance_ids: frozenset[str]) -> Mapping[str, ShownInstance]:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.describe_instances, instance_ids)

    def describe_subnets(self) -> tuple[Subnet, ...]:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.describe_subnets)

    def create_eni(self, address: Address, subnet: Subnet, tags: Mapping[str, str]) -> Eni:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.create_eni, address, subnet, tags)

    def attach_eni(self, eni_id: str, instance_id: str, taken: frozenset[int]) -> str:
        """See `ports.Cloud`."""
        return self._mortal(self._cloud.attach_eni, eni_id, instance_id, taken)

    def detach_eni(self, attachment_id: str, *, force: bool) -> None:
        """See `ports.Cloud`."""
        self._mortal(self._cloud.detach_eni, attachment_id, force=force)

    def tag_eni(self, eni_id: str, tags: Mapping[str, str]) -> None:
        """See `ports.Cloud`."""
        self._mortal(self._cloud.tag_eni, eni_id, tags)


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
        return f"{self.machine.id}: {self.agent._decision}, {self.agent._health}, heard of {heard}"

    def start(self) -> Self:
        """Begin: a thread has the network namespace of the one that starts it."""
        self.machine.namespace.call(self._start)
        return self

    def _start(self) -> None:
        self.agent = Agent(self._settings, self.machine.identity(), self._edges, Log(self.lines))
        self._thread = threading.Thread(target=self._run, name=f"agent-{self.machine.id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """SIGTERM."""
        self.agent.stop()

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
        agent = self.agent
        # The rest ends the threads that wait for something, which with a real process the kernel does.
        agent._inbox.put(die)
        for lane in (agent._look, agent._write):
            lane._jobs.put(die)
        agent._probes.switch(on=True)
        agent._host._wake.set()
        for _, asker in list(agent._peers._askers.values()):
            asker.stop()
        server = agent._server
        if server is not None and server._http.socket.fileno() >= 0:
            server._tell = die
            closing = threading.Thread(target=server.stop)
            closing.start()
            self.machine.namespace.call(self._knock)
            closing.join()
        if self._thread is not threading.current_thread():
            self._thread.join(5)

    def _knock(self) -> None:
        """Wake the status server, which looks only twice a second whether it should stop."""
        with suppress(ConnectionRefusedError):  # it looked by itself meanwhile
            socket.create_connection((self.machine.instance.address, self._settings.port)).close()

    def _run(self) -> None:
        try:
            self.code = self.agent.attach() if self._command == "attach" else self.agent.observe()
        except Exception as error:  # noqa: BLE001  # whatever it is, the test that looks at it says what it should be
            self.error = error


class World:
    """An endpoint, workers with or without agents, and the history of it all.

    It is the `lab.ec2.Devices` of its endpoint too.  A context manager: at the end every process is killed.
    """

    def __init__(self, profile: Profile = INSTANT, workers: int = 2, **settings: Any) -> None:
        self.history = History()
        self.machines: list[Machine] = []
        self.processes: list[Process] = []
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
        self.settings = Settings(FLOATING_IP, **{**quick, **settings})
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
        """Wait until all but the holder see the address UP, and know of each other."""

        def at_peace(process: Process) -> bool:
            agent = process.agent
            if process.machine.serves:
                return agent._decision.reason.name == "HELD_HERE"
            known = {peer.instance_id for peer in agent._peers.others("lab")}
            others = {other.machine.id for other in processes} - {process.machine.id}
            return agent._decision.reason.name == "ANSWERS" and known == others

        wait(lambda: all(map(at_peace, processes)), 10, lambda: f"peace among {[str(p) for p in processes]}")

    def cut_power(self, process: Process) -> None:
        """The machine is off, with all that ran on it."""
        process.machine.guest = Guest.OFF
        process.kill()

    # What can be seen.

    def serving(self) -> Machine | None:
        """The machine that the floating address leads to."""
        return next((machine for machine in self.machines if machine.serves), None)

    def enis(self) -> list[Any]:
        """All ENIs with the floating address, as EC2 shows them."""
        filters = [{"Name": "addresses.private-ip-address", "Values": [str(FLOATING_IP)]}]
        return list(self.lab.describe_network_interfaces(Filters=filters)["NetworkInterfaces"])  # type: ignore[arg-type]  # a TypedDict, spelled out

    def holder(self) -> str:
        """The instance of the one ENI's attachment, or nothing.  There must be one ENI."""
        (eni,) = self.enis()
        return str(eni.get("Attachment", {}).get("InstanceId", ""))

    def calls(self, action: str = "", caller: str = "") -> list[Event]:
        """The calls of agents so far."""
        agents = {machine.id for machine in self.machines}
        return [
            event
            for event in self.history.events()
            if event["event"] == "call"
            and event["caller"] in ({caller} if caller else agents)
            and action in ("", event["action"])
        ]

    def writes(self) -> list[Event]:
        """The calls of agents that could change something."""
        return [event for event in self.calls() if event["action"] in MUTATING]

    def attachments(self) -> list[tuple[str, str]]:
        """Attachment and instance of each attachment that the floating address ever had; they never overlapped."""
        ever: list[tuple[str, str]] = []
        present = ""
        for event in self.history.events():
            if event["event"] != "attachment" or event["address"] != str(FLOATING_IP):
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
            machine.change(mac)

    def unplug(self, eni_id: str) -> None:
        """The link goes; only one ENI here is ever plugged."""
        for machine in self.machines:
            if machine.link:
                machine.change("")

    def shut_down(self, instance_id: str) -> None:
        """The power button: at once."""
        self._by_id(instance_id).guest = Guest.OFF

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
