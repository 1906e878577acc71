"""EC2's answers with something odd in them, as boto3 gets them: what that makes of an address, and of an instance."""

from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any, TypeVar
from xml.etree import ElementTree as Tree

from hypothesis import given, note
from hypothesis import strategies as st

from floatingip.agent.looks import Question, Seen
from floatingip.core.errors import CloudError, CloudUnavailable
from floatingip.core.model import Carry
from floatingip.core.settings import Settings
from floatingip.edges.ec2.cloud import Ec2Cloud
from floatingip.runtime.look import look
from tests.edges.ec2_server import Server, http, instances, interface, interfaces, subnets
from tests.hostile.strategies import mutations, several
from tests.hostile.xml import as_bytes, befallen, found
from tests.sim.inline import Inline

pytest_plugins = ["tests.edges.ec2_fixtures"]

T = TypeVar("T")

ADDRESS, ME, HOLDER = IPv4Address("10.0.0.100"), "i-0b", "i-0a"
ZONE = "<availabilityZone>us-west-2a</availabilityZone>"
RUNNING = "<instanceState><code>16</code><name>running</name></instanceState>"
CLUSTER = "<tagSet><item><key>kubernetes.io/cluster/lab</key><value>owned</value></item></tagSet>"
STANDING = (
    "<item><key>floatingip</key><value>lab</value></item><item><key>floatingip/standing</key><value>i-0a</value></item>"
)


def body(answer: bytes) -> Tree.Element:
    """What an answer says."""
    return Tree.fromstring(answer.partition(b"\r\n\r\n")[2])


ENIS = {
    Carry.ENI: body(interfaces(interface())),
    Carry.ADDRESS: body(
        interfaces(
            interface(
                privateIpAddress="10.0.0.60",
                privateIpAddressesSet="<item><privateIpAddress>10.0.0.60</privateIpAddress><primary>true</primary></item>"
                f"<item><privateIpAddress>{ADDRESS}</privateIpAddress><primary>false</primary></item>",
                tagSet=STANDING,
            )
        )
    ),
}
INSTANCES = body(
    instances(
        f"<instanceId>{HOLDER}</instanceId>{RUNNING}<privateIpAddress>10.0.0.10</privateIpAddress>{CLUSTER}",
        f"<instanceId>{ME}</instanceId>{RUNNING}<privateIpAddress>10.0.0.11</privateIpAddress>{CLUSTER}",
    )
)
SUBNETS = body(subnets(f"<subnetId>subnet-1</subnetId>{ZONE}<cidrBlock>10.0.0.0/24</cidrBlock>"))


def seen(server: Server, cloud: Ec2Cloud, carry: Carry, **answers: Tree.Element) -> Seen | CloudError:
    """One look, by all questions, of which these are answered so."""
    shown = {
        "DescribeNetworkInterfaces": ENIS[carry],
        "DescribeInstances": INSTANCES,
        "DescribeSubnets": SUBNETS,
        **answers,
    }
    for answer in answers.values():
        note(as_bytes(answer).decode())
    server.asked.clear()
    server.replies.clear()
    server.replies.update({action: http(200, as_bytes(answer)) for action, answer in shown.items()})
    question = Question(0.0, ME, "lab", frozenset(), frozenset({HOLDER, ME}), need_subnets=True)
    try:
        return look(cloud, Settings((ADDRESS,), carry=carry), question, Inline())
    except CloudError as error:
        return error


def is_unknown(found: Seen | CloudError) -> bool:
    """Nothing was learned of the address; if all is unknown, one line says why."""
    if isinstance(found, CloudError):
        assert type(found) is CloudUnavailable
        assert "\n" not in str(found)
        return True
    return ADDRESS in found.unknown


carries = st.sampled_from(Carry)


@several(3)
@given(carries.flatmap(lambda carry: st.tuples(st.just(carry), befallen(ENIS[carry]))))
def test_an_odd_interface_is_never_a_free_one_nor_nobodys(
    server: Server, cloud: Ec2Cloud, odd: tuple[Carry, Tree.Element]
) -> None:
    """It is free if it has no attachment at all, and the address is nobody's if no interface has it."""
    carry, answer = odd
    shown = seen(server, cloud, carry, DescribeNetworkInterfaces=answer)
    if is_unknown(shown):
        return
    assert isinstance(shown, Seen)
    items = found(answer, "networkInterfaceSet/item")
    if ADDRESS not in shown.enis:
        assert not items
    elif shown.enis[ADDRESS].attachment is None:
        assert any(not found(item, "attachment") for item in items)
    assert shown.ours <= {each.text or "" for item in items for each in found(item, "networkInterfaceId")} | {""}


@several(2)
@given(befallen(INSTANCES))
def test_an_odd_instance_is_neither_dead_nor_gone(server: Server, cloud: Ec2Cloud, answer: Tree.Element) -> None:
    """It is dead only if EC2 says so, in one of its own words."""
    shown = seen(server, cloud, Carry.ENI, DescribeInstances=answer)
    if isinstance(shown, CloudError) or shown.undescribed:
        return
    said = {each.text for each in answer.iter() if each.tag.endswith("}name")}
    for instance in shown.instances.values():
        assert not instance.state.announces_death or str(instance.state) in said
    items = found(answer, "reservationSet/item/instancesSet/item")
    reservations = found(answer, "reservationSet/item")
    if HOLDER not in shown.instances:
        assert len(items) >= len(reservations)
        assert all((each.text or "") != HOLDER for item in items for each in found(item, "instanceId"))
        assert all("".join(each.text or "" for each in found(item, "instanceId")) for item in items)


@several(2)
@given(befallen(SUBNETS))
def test_an_odd_subnet_is_read_or_said_to_be_odd(server: Server, cloud: Ec2Cloud, answer: Tree.Element) -> None:
    """Those that are read have room for the VPC's router beside an address."""
    shown = seen(server, cloud, Carry.ENI, DescribeSubnets=answer)
    if isinstance(shown, CloudError):
        assert is_unknown(shown)
        return
    assert all(network.num_addresses > 2 for subnet in shown.subnets or () for network in subnet.networks)


@several(2)
@given(
    st.sampled_from(["DescribeNetworkInterfaces", "DescribeInstances"]).flatmap(
        lambda action: st.tuples(
            st.just(action), mutations(as_bytes(ENIS[Carry.ENI] if "Interfaces" in action else INSTANCES))
        )
    )
)
def test_bytes_of_any_kind_are_an_answer_or_none(server: Server, cloud: Ec2Cloud, odd: tuple[str, bytes]) -> None:
    """Never a refusal, nor anything else."""
    action, answer = odd
    server.replies.clear()
    server.replies[""] = http(200, answer)
    ask: Callable[[], Any] = (
        (lambda: cloud.describe_enis("lab"))
        if "Interfaces" in action
        else lambda: cloud.describe_instances(frozenset({HOLDER}))
    )
    with suppress(CloudUnavailable):
        ask()
