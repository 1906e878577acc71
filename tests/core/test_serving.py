"""What an agent makes of the NodePorts that there are: which it checks, what it tells of them, and to whom."""

import random
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.agent.address import FloatingAddress
from floatingip.agent.agent import Agent
from floatingip.agent.effects import ListNodePorts
from floatingip.agent.events import SlotsRehearsed
from floatingip.agent.looks import Seen
from floatingip.agent.serving import Serving
from floatingip.core import timing
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni, Instance, InstanceState
from floatingip.core.errors import ServicesUnknown
from floatingip.core.health import Health
from floatingip.core.model import Address
from floatingip.core.node import Identity
from floatingip.core.plumbing import PlumbingReport, PlumbingState
from floatingip.core.probe import NodePort, ProbeOutcome, ProbeResult
from floatingip.core.settings import Settings
from floatingip.runtime import performing
from tests.core.told import Told

ADDRESS, IPV6 = IPv4Address("10.0.0.100"), IPv6Address("2001:db8:0:1::64")
OWN, OTHER = IPv4Address("10.0.0.10"), IPv4Address("10.0.0.11")
ANSWERED, LOST, FAILED_HERE = ProbeOutcome.ANSWERED, ProbeOutcome.LOST, ProbeOutcome.FAILED_HERE
ME = Identity("i-a", "us-west-2", "us-west-2a", "vpc-1", "subnet-1", "02:00:00:00:00:0a", OWN, ("sg-1",))
WEB, API = NodePort(30007, service="web"), NodePort(30008, service="api")


def told(checks: Serving, instance_id: str, port: int, outcome: ProbeOutcome, at: float) -> None:
    """That came of the last check of the NodePort on that node."""
    for probing in checks.probings:
        if (probing.whose, probing.node_port and probing.node_port.port) == (instance_id, port):
            checks.probed(probing, ProbeResult(at, at, outcome))


def places(checks: Serving) -> list[tuple[str, Address, int]]:
    """What is checked."""
    return sorted((each.whose, each.address, each.node_port.port) for each in checks.probings if each.node_port)


def test_each_node_port_is_checked_on_each_node_and_told_as_it_was_last() -> None:
    """What was not asked yet is not told: nobody lacks anything by silence."""
    checks = Serving(1.0, 1.0)
    checks.follow({"i-a": OWN, "i-b": OTHER}, (WEB, API))
    assert places(checks) == [("i-a", OWN, 30007), ("i-a", OWN, 30008), ("i-b", OTHER, 30007), ("i-b", OTHER, 30008)]
    assert checks.told(100.0) == {}
    told(checks, "i-a", 30007, ANSWERED, 100.0)
    told(checks, "i-a", 30008, LOST, 100.0)
    assert checks.told(100.0) == {"i-a": {30007: True, 30008: False}}
    told(checks, "i-a", 30007, LOST, 101.0)
    assert checks.told(101.0)["i-a"][30007] is False
    assert checks.answered() == {30007}, "it did, once"


def test_what_this_node_could_not_ask_is_no_answer() -> None:
    """And what was found long ago is none any more."""
    checks = Serving(1.0, 1.0)
    checks.follow({"i-b": OTHER}, (WEB,))
    told(checks, "i-b", 30007, FAILED_HERE, 100.0)
    assert checks.told(100.0) == {}
    told(checks, "i-b", 30007, ANSWERED, 100.0)
    assert checks.told(107.0) == {"i-b": {30007: True}}
    assert checks.told(108.0) == {}


def test_what_is_gone_is_not_checked_any_more() -> None:
    """A node, a NodePort, or a node that has another address now; and what was found there is over."""
    checks = Serving(1.0, 1.0)
    checks.follow({"i-a": OWN, "i-b": OTHER}, (WEB, API))
    told(checks, "i-a", 30007, ANSWERED, 100.0)
    checks.follow({"i-a": OWN}, (WEB,))
    assert (places(checks), checks.told(100.0)) == ([("i-a", OWN, 30007)], {"i-a": {30007: True}})
    checks.follow({"i-a": OTHER}, (WEB,))
    assert (places(checks), checks.told(100.0), checks.answered()) == ([("i-a", OTHER, 30007)], {}, frozenset())


def test_a_service_of_ipv6_alone_is_not_asked_at_an_ipv4_address() -> None:
    """Nobody would answer."""
    checks = Serving(1.0, 1.0)
    checks.follow({"i-a": OWN}, (NodePort(30007, versions=frozenset((6,))),))
    assert places(checks) == []


# The agent.


@dataclass
class Services:
    """`ports.Services`: what the API server tells."""

    answer: tuple[NodePort, ...] | ServicesUnknown

    def node_ports(self) -> tuple[NodePort, ...]:
        if isinstance(self.answer, ServicesUnknown):
            raise self.answer
        return self.answer


class Node:
    """A worker whose agent lists Services when it is told to; nothing of it runs by itself."""

    def __init__(self, service: str = "auto", target: Address = ADDRESS) -> None:
        self.now = 100.0
        settings, chance = Settings((target,), name="lab", service=service), random.Random(1).uniform
        self.agent = Agent(settings, ME, observes=True, started_at=self.now, chance=chance)
        self.told = Told(self.agent._out)

    def list_services(self, answer: tuple[NodePort, ...] | ServicesUnknown, after: float = timing.LIST_EVERY) -> str:
        """After a minute, or as long as that; what was logged."""
        before = len(self.told.log)
        self.now += after
        self.agent._node_ports.follow(self.now)
        assert ListNodePorts() in self.told.take()
        self.agent._take(performing.listed(Services(answer)))
        return self.told.log[before:]

    @property
    def watch(self) -> FloatingAddress:
        """Its one address."""
        (address,) = self.agent._addresses.values()
        return address

    def probed(self, port: int) -> None:
        """A NodePort was checked at the address, and answered."""
        for probing in self.watch.answers.probings():
            if probing.node_port is not None and probing.node_port.port == port:
                self.watch.answers.probed(probing, ProbeResult(self.now, self.now, ANSWERED))

    def step(self) -> None:
        """Decide once, a tenth of a second later."""
        self.now += 0.1
        self.watch.step((), 0, now=self.now, wall=self.now)

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


def test_a_list_that_did_not_come_is_asked_for_again_soon() -> None:
    """On a node that has just booted the way to the API server comes with kube-proxy: a minute would be long."""
    node = Node()
    node.list_services(ServicesUnknown("no answer in time"))
    assert "checked=30007/web" in node.list_services((WEB,), after=timing.LIST_AGAIN)
    node.now += timing.LIST_AGAIN
    node.agent._node_ports.follow(node.now)
    assert ListNodePorts() not in node.told.take(), "what came is not asked for as often"


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
    node.agent._node_ports.follow(node.now)
    assert (node.told.take(), node.checked) == ((), checked)


def carried(node: Node, *, here: bool, kept_off: str = "") -> None:
    """EC2 shows the address on this node, or on another one."""
    holder = ME.instance_id if here else "i-b"
    attachment = Attachment("a1", holder, 1, AttachmentStatus.ATTACHED)
    address = ADDRESS if node.watch.target == ADDRESS else IPv4Address("10.0.0.50")
    ipv6s = (IPV6,) if node.watch.target == IPV6 else ()
    tags, mac = {"floatingip": "lab"}, "02:00:00:00:00:64"
    shown = Eni("eni-1", mac, address, "subnet-1", ME.zone, attachment, tags, ipv6s=ipv6s, security_groups=("sg-1",))
    node.watch.looked(Seen(node.now, {node.watch.target: shown}), node.now)
    state = PlumbingState.SOUND if here else PlumbingState.NO_LINK
    node.watch.reconciled(PlumbingReport(state, kept_off=kept_off), node.now)
    node.step()


def test_the_node_ports_are_checked_at_the_address_while_it_is_elsewhere() -> None:
    """A holder would only hear itself; what is gone is not judged any more."""
    node = Node()
    node.list_services((WEB, API))
    carried(node, here=False)
    assert node.watch.answers.services == {30007: Health("a1"), 30008: Health("a1")}
    assert {each.node_port for each in node.watch.answers.probings()} == {None, WEB, API}
    carried(node, here=True)
    assert not node.watch.answers.probings()
    node.list_services((API,))
    node.step()
    assert list(node.watch.answers.services) == [30008]


def test_a_node_that_cannot_see_the_address_forgets_what_node_ports_answered_there() -> None:
    """It would hear itself; but that they did under this attachment stays so: they are not kept from the address."""
    node = Node()
    node.list_services((WEB,))
    carried(node, here=False)
    for _ in range(2):
        node.now += 0.1
        node.probed(30007)
    seen, blind = node.watch.report, "it is on kube-ipvs0"
    assert seen is not None
    node.watch.reconciled(replace(seen, blind=blind), node.now)
    node.step()
    assert not node.watch.answers.probings()
    assert (node.watch.answers.services, node.watch.answers.served(node.now)) == (
        {30007: Health("a1", ever_up=True)},
        {},
    )


def test_an_ipv6_address_is_asked_for_services_of_ipv6_alone() -> None:
    """The others never answer there."""
    node = Node(target=IPV6)
    node.list_services((NodePort(30007, versions=frozenset((4,))), NodePort(30008, versions=frozenset((4, 6)))))
    carried(node, here=False)
    assert list(node.watch.answers.services) == [30008]


def test_what_answers_at_the_address_is_told_while_it_is_so() -> None:
    node = Node()
    node.list_services((WEB,))
    carried(node, here=False)
    node.probed(30007)
    node.probed(30008)
    assert node.watch.answers.served(node.now) == {30007: True}
    node.now += 5.0
    assert node.watch.answers.served(node.now) == {}


KEPT_OFF = "kube-proxy (nftables mode) serves NodePorts at 10.0.0.10, not at 10.0.0.100"


def test_a_holder_that_kube_proxy_keeps_node_ports_from_is_not_ready_and_says_so_once() -> None:
    """It is carried all the same: nobody relieves it for that."""
    node = Node()
    carried(node, here=True, kept_off=KEPT_OFF)
    carried(node, here=True, kept_off=KEPT_OFF)
    assert node.told.log.count("level=error event=nodeports") == 1
    assert node.watch.lack.words == KEPT_OFF
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
    assert node.watch.lack.words == ""


# What a full node is told.


@pytest.mark.parametrize(("here", "told"), [(True, False), (False, True)])
def test_a_holder_of_all_there_is_has_nothing_to_take_over(here: bool, told: bool) -> None:
    """Its address fills its last ENI slot."""
    node = Node()
    carried(node, here=here)
    shared = node.agent._shared
    shared.instances[ME.instance_id] = Instance(ME.instance_id, InstanceState.RUNNING, OWN, ME.zone, frozenset((0, 1)))
    node.agent._take(SlotsRehearsed(2, {}, node.now))
    assert ("this node could take nothing over" in node.told.log) is told
