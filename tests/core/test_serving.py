"""What an agent makes of the NodePorts that there are: which it checks, what it tells of them, and to whom."""

import io
import math
import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any, cast

import pytest

from floatingip.core.errors import ServicesUnknown
from floatingip.core.health import Health
from floatingip.core.model import (
    Address,
    Attachment,
    AttachmentStatus,
    Eni,
    Identity,
    Instance,
    InstanceState,
    NodePort,
    Owner,
    PlumbingReport,
    PlumbingState,
    ProbeOutcome,
    ProbeResult,
)
from floatingip.core.settings import Settings
from floatingip.edges.telemetry import Log
from floatingip.runtime.runner import LIST_EVERY, Agent, Edges
from floatingip.runtime.serving import Serving
from floatingip.runtime.threads import ProbeLoop
from floatingip.runtime.watch import Watch

ADDRESS, IPV6 = IPv4Address("10.0.0.100"), IPv6Address("2001:db8:0:1::64")
OWN, OTHER = IPv4Address("10.0.0.10"), IPv4Address("10.0.0.11")
ANSWERED, LOST, FAILED_HERE = ProbeOutcome.ANSWERED, ProbeOutcome.LOST, ProbeOutcome.FAILED_HERE
ME = Identity("i-a", "us-west-2", "us-west-2a", "vpc-1", "subnet-1", "02:00:00:00:00:0a", OWN, ("sg-1",))
WEB, API = NodePort(30007, service="web"), NodePort(30008, service="api")
PATIENCE = 5.0
"""Seconds until something that should happen at once counts as not happening."""


class Silence:
    """A prober of which nothing comes but what the test says."""

    def send(self) -> None:
        """See `ports.Prober`."""

    def collect(self) -> list[ProbeResult]:
        """See `ports.Prober`."""
        return []

    def due_at(self) -> float:
        """See `ports.Prober`."""
        return math.inf

    def files(self) -> list[tuple[int, int]]:
        """See `ports.Prober`."""
        return []


class Loop(ProbeLoop):
    """Probes nothing by itself."""

    def tell(self, number: int, outcome: ProbeOutcome, ago: float = 0.0) -> None:
        """That came of the `number`-th prober's last probe."""
        now = time.monotonic()
        self._followed[number]._probed(ProbeResult(now - ago, now - ago, outcome))

    @property
    def count(self) -> int:
        """How many are probed by."""
        return len(self._followed)


def serving() -> tuple[Serving, Loop, list[tuple[int, Address]]]:
    """One that checks nothing yet, what it probes by, and what it was asked to make probers for."""
    loop, made = Loop(), list[tuple[int, Address]]()

    def prober(node_port: NodePort, address: Address) -> Silence:
        made.append((node_port.port, address))
        return Silence()

    return Serving(prober, loop, 1.0, 1.0), loop, made


def test_each_node_port_is_checked_on_each_node_and_told_as_it_was_last() -> None:
    """What was not asked yet is not told: nobody lacks anything by silence."""
    checks, loop, made = serving()
    checks.follow({"i-a": OWN, "i-b": OTHER}, (WEB, API))
    assert sorted(made) == sorted((port, address) for port in (30007, 30008) for address in (OWN, OTHER))
    assert checks.told(time.monotonic()) == {}
    loop.tell(0, ANSWERED)
    loop.tell(1, LOST)
    assert checks.told(time.monotonic()) == {"i-a": {30007: True, 30008: False}}
    loop.tell(0, LOST)
    assert checks.told(time.monotonic())["i-a"][30007] is False
    assert checks.answered() == {30007}, "it did, once"


def test_what_this_node_could_not_ask_is_no_answer() -> None:
    """And what was found long ago is none any more."""
    checks, loop, _ = serving()
    checks.follow({"i-b": OTHER}, (WEB,))
    loop.tell(0, FAILED_HERE)
    assert checks.told(time.monotonic()) == {}
    loop.tell(0, ANSWERED, ago=8.0)
    assert checks.told(time.monotonic()) == {}


def test_what_is_gone_is_not_checked_any_more() -> None:
    """A node, a NodePort, or a node that has another address now."""
    checks, loop, made = serving()
    checks.follow({"i-a": OWN, "i-b": OTHER}, (WEB, API))
    checks.follow({"i-a": OWN}, (WEB,))
    assert loop.count == 1
    checks.follow({"i-a": OTHER}, (WEB,))
    assert (loop.count, made[-1]) == (1, (30007, OTHER))


def test_a_service_of_ipv6_alone_is_not_asked_at_an_ipv4_address() -> None:
    """Nobody would answer."""
    checks, loop, _ = serving()
    checks.follow({"i-a": OWN}, (NodePort(30007, versions=frozenset((6,))),))
    assert loop.count == 0


# The agent.


class Node:
    """A worker whose agent lists Services when it is told to; nothing of it runs by itself."""

    def __init__(self, service: str = "auto", target: Address = ADDRESS) -> None:
        self.answers: list[tuple[NodePort, ...] | ServicesUnknown] = []
        self.log = io.StringIO()
        nothing = cast("Any", None)
        edges = Edges(nothing, nothing, lambda _: Silence(), nothing, nothing, lambda *_: Silence(), self)
        self.agent = Agent(Settings((target,), name="lab", service=service), ME, edges, Log(self.log))

    def node_ports(self) -> tuple[NodePort, ...]:
        """See `ports.Services`."""
        answer = self.answers.pop(0)
        if isinstance(answer, ServicesUnknown):
            raise answer
        return answer

    def list_services(self, answer: tuple[NodePort, ...] | ServicesUnknown) -> str:
        """A minute later; what was logged."""
        self.answers = [answer]
        before = len(self.log.getvalue())
        self.agent._alive_at += LIST_EVERY + 1.0
        self.agent._list_services_when_due()
        while self.agent._listing:
            self.agent._inbox.get(timeout=PATIENCE)()
        return self.log.getvalue()[before:]

    @property
    def watch(self) -> Watch:
        """Of its one address."""
        (watch,) = self.agent._watches.values()
        return watch

    @property
    def checked(self) -> list[int]:
        """The NodePorts that it checks."""
        return [each.port for each in self.agent._shared.node_ports]


def test_services_that_come_and_go_are_found_and_told_once() -> None:
    """A minute later at most."""
    node = Node()
    assert "checked=30007/web" in node.list_services((WEB,))
    assert node.list_services((WEB,)) == ""
    assert "checked=30007/web,30008/api" in node.list_services((WEB, API))
    assert "checked=none" in node.list_services(())


def test_without_the_permission_what_was_known_is_kept_and_it_is_said_once() -> None:
    """And again once it was there meanwhile."""
    node, denied = Node(), ServicesUnknown("403", "apply the Role")
    said = node.list_services(denied)
    assert "level=warning event=services" in said
    assert "403; apply the Role" in said
    assert node.list_services(denied) == ""
    node.list_services((WEB,))
    assert "checked=30007" in node.list_services(denied)
    assert node.checked == [30007]


def test_more_than_a_few_are_named_once() -> None:
    """Those that are not checked."""
    many = tuple(NodePort(number, service=f"s{number}") for number in range(30001, 30007))
    node = Node()
    said = node.list_services(many)
    assert "not now: 30005/s30005, 30006/s30006" in said
    assert node.checked == [30001, 30002, 30003, 30004]
    node.list_services(many)
    assert node.checked == [30001, 30002, 30005, 30006], "none of the first ones ever answered"


@pytest.mark.parametrize(("service", "checked"), [("", []), ("tcp:30009", [30009]), ("http:30009/x", [30009])])
def test_what_the_settings_name_is_checked_and_nothing_else(service: str, checked: list[int]) -> None:
    """Nothing is asked for then."""
    node = Node(service)
    node.agent._list_services_when_due()
    assert (node.agent._listing, node.checked) == (False, checked)


def carried(node: Node, *, here: bool, kept_off: str = "") -> None:
    """EC2 shows the address on this node, or on another one."""
    holder = ME.instance_id if here else "i-b"
    attachment = Attachment("a1", holder, 1, AttachmentStatus.ATTACHED)
    address = ADDRESS if node.watch.target == ADDRESS else IPv4Address("10.0.0.50")
    ipv6s = (IPV6,) if node.watch.target == IPV6 else ()
    tags, mac = {"floatingip": "lab"}, "02:00:00:00:00:64"
    shown = Eni("eni-1", mac, address, "subnet-1", ME.zone, attachment, tags, ipv6s=ipv6s, security_groups=("sg-1",))
    node.watch.looked(Owner(time.monotonic(), shown), time.monotonic())
    state = PlumbingState.SOUND if here else PlumbingState.NO_LINK
    node.watch.reconciled(PlumbingReport(state, kept_off=kept_off), time.monotonic())
    node.watch.step((), 0, now=time.monotonic(), wall=time.time())


def test_the_node_ports_are_checked_at_the_address_while_it_is_elsewhere() -> None:
    """A holder would only hear itself; what is gone is not judged any more."""
    node = Node()
    node.list_services((WEB, API))
    carried(node, here=False)
    assert node.watch.services == {30007: Health("a1"), 30008: Health("a1")}
    assert all(probes._on for probes in node.watch._service_probes.values())
    carried(node, here=True)
    assert not any(probes._on for probes in node.watch._service_probes.values())
    node.list_services((API,))
    node.watch.step((), 0, now=time.monotonic(), wall=time.time())
    assert list(node.watch.services) == [30008]


def test_a_node_that_cannot_see_the_address_forgets_what_node_ports_answered_there() -> None:
    """It would hear itself; but that they did under this attachment stays so: they are not kept from the address."""
    node = Node()
    node.list_services((WEB,))
    carried(node, here=False)
    now = time.monotonic()
    for sent_at in (now, now + 0.1):
        node.watch._probed_service(30007, ProbeResult(sent_at, sent_at, ANSWERED))
    seen, blind = node.watch.report, "it is on kube-ipvs0"
    assert seen is not None
    node.watch.reconciled(replace(seen, blind=blind), time.monotonic())
    node.watch.step((), 0, now=time.monotonic(), wall=time.time())
    assert not any(probes._on for probes in node.watch._service_probes.values())
    assert (node.watch.services, node.watch.served(time.monotonic())) == ({30007: Health("a1", ever_up=True)}, {})


def test_an_ipv6_address_is_asked_for_services_of_ipv6_alone() -> None:
    """The others never answer there."""
    node = Node(target=IPV6)
    node.list_services((NodePort(30007, versions=frozenset((4,))), NodePort(30008, versions=frozenset((4, 6)))))
    carried(node, here=False)
    assert list(node.watch.services) == [30008]


def test_what_answers_at_the_address_is_told_while_it_is_so() -> None:
    """To the other standbys."""
    node = Node()
    node.list_services((WEB,))
    carried(node, here=False)
    now = time.monotonic()
    node.watch._probed_service(30007, ProbeResult(now, now, ANSWERED))
    node.watch._probed_service(30008, ProbeResult(now, now, ANSWERED))
    assert node.watch.served(time.monotonic()) == {30007: True}
    node.watch._service_answered_at[30007] = now - 5.0
    assert node.watch.served(time.monotonic()) == {}


KEPT_OFF = "kube-proxy (nftables mode) serves NodePorts at 10.0.0.10, not at 10.0.0.100"


def test_a_holder_that_kube_proxy_keeps_node_ports_from_is_not_ready_and_says_so_once() -> None:
    """It is carried all the same: nobody relieves it for that."""
    node = Node()
    carried(node, here=True, kept_off=KEPT_OFF)
    carried(node, here=True, kept_off=KEPT_OFF)
    assert node.log.getvalue().count("level=error event=nodeports") == 1
    assert node.watch.not_ready() == KEPT_OFF
    held = node.watch.held()
    assert held is not None
    assert held.problem == ""


@pytest.mark.parametrize("change", ["named none", "there are none"])
def test_where_no_node_port_is_wanted_that_keeps_nobody_from_being_ready(change: str) -> None:
    """The address may be for something else; the log says it all the same."""
    node = Node("" if change == "named none" else "auto")
    if change == "there are none":
        node.list_services(())
    carried(node, here=True, kept_off=KEPT_OFF)
    assert node.watch.not_ready() == ""


# What a full node is told.


@pytest.mark.parametrize(("here", "told"), [(True, False), (False, True)])
def test_a_holder_of_all_there_is_has_nothing_to_take_over(here: bool, told: bool) -> None:
    """Its address fills its last ENI slot."""
    node = Node()
    carried(node, here=here)
    shared = node.agent._shared
    shared.instances[ME.instance_id] = Instance(ME.instance_id, InstanceState.RUNNING, OWN, ME.zone, frozenset((0, 1)))
    node.agent._found_slots(2, {}, time.monotonic())
    assert ("this node could take nothing over" in node.log.getvalue()) is told
