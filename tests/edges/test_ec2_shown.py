"""What EC2 may show of interfaces, instances and subnets, over a real connection: what cannot be read is not absent."""

import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest

from floatingip.agent.looks import Question
from floatingip.core.ec2 import Attachment, AttachmentStatus, Eni, Instance, InstanceState
from floatingip.core.errors import CloudUnavailable
from floatingip.core.settings import Settings
from floatingip.edges.ec2.cloud import Ec2Cloud
from floatingip.runtime.look import look
from tests.edges.ec2_server import (
    ADDRESS,
    IPV6,
    OTHER,
    SUBNET,
    Server,
    answer,
    attachment,
    instances,
    interface,
    interfaces,
    subnets,
)

pytest_plugins = ["tests.edges.ec2_fixtures"]

UNREADABLE: Mapping[str, str] = {
    "nothing at all": "",
    "no id": interface("networkInterfaceId"),
    "an empty id": interface(networkInterfaceId=""),
    "no MAC": interface("macAddress"),
    "no subnet": interface("subnetId"),
    "an attachment with a new status": interface(attachment=attachment(status="reattaching")),
    "an attachment with an empty status": interface(attachment=attachment(status="")),
    "an attachment without a status": interface(attachment=attachment("status")),
    "an attachment without an id": interface(attachment=attachment("attachmentId")),
    "an attachment with an empty id": interface(attachment=attachment(attachmentId="")),
    "an empty attachment": interface(attachment=""),
    "an address that is none": interface(privateIpAddress="10.0.0"),
    "an address of the other family": interface(privateIpAddress="2001:db8::1"),
    "a secondary address that is none": interface(
        privateIpAddressesSet="<item><privateIpAddress>ten</privateIpAddress></item>"
    ),
    "an address set with an empty item": interface(privateIpAddressesSet="<item/>"),
    "an IPv6 address that is none": interface(ipv6AddressesSet="<item><ipv6Address>2001:db8::/64</ipv6Address></item>"),
    "an IPv6 address set with an empty item": interface(ipv6AddressesSet="<item/>"),
}


def seen_of(cloud: Ec2Cloud, *targets: IPv4Address) -> Any:
    """One look for these, in peace."""
    return look(cloud, Settings(targets), Question(0.0, "i-0b", "lab", frozenset({"i-0a", "i-0b"})))


SECOND = interface(
    networkInterfaceId="eni-2",
    privateIpAddress=f"{OTHER}",
    privateIpAddressesSet=f"<item><privateIpAddress>{OTHER}</privateIpAddress><primary>true</primary></item>",
)


@pytest.mark.parametrize("what", UNREADABLE)
def test_an_eni_that_cannot_be_read_is_neither_absent_nor_free(server: Server, cloud: Ec2Cloud, what: str) -> None:
    """Of its address nothing is known; the other one's is known as if nothing were wrong."""
    server.replies[""] = interfaces(UNREADABLE[what], SECOND)
    seen = seen_of(cloud, ADDRESS, OTHER)
    assert ADDRESS in seen.unknown
    assert ADDRESS not in seen.enis
    assert seen.mixed == ""
    if UNREADABLE[what]:
        assert seen.enis[OTHER].id == "eni-2"
        assert "cannot be read" in seen.unknown[ADDRESS]
    assert [eni.unread != "" for eni in seen.unread] == [True]


def test_an_eni_of_ours_without_its_tag_is_not_somebody_elses(server: Server, cloud: Ec2Cloud) -> None:
    """EC2 shows it for that tag; a holder would drop the address, and a standby refuse it."""
    named = "<item><key>Name</key><value>floatingip lab</value></item>"
    server.replies[""] = interfaces(interface(tagSet=named), SECOND)
    seen = seen_of(cloud, ADDRESS, OTHER)
    assert seen.unknown == {ADDRESS: "eni-1 cannot be read: no tag floatingip"}
    assert set(seen.enis) == {OTHER}


def test_an_occupant_without_the_address_is_not_nobody(server: Server, cloud: Ec2Cloud) -> None:
    """EC2 shows it for that address: another interface would be created for it."""
    server.replies[""] = interfaces(interface("privateIpAddress", privateIpAddressesSet=""))
    assert set(seen_of(cloud, ADDRESS).unknown) == {ADDRESS}


@pytest.mark.parametrize("field", ["networkInterfaceId", "macAddress", "availabilityZone", "privateIpAddress"])
def test_a_field_that_stands_twice_means_that_nothing_is_known(server: Server, cloud: Ec2Cloud, field: str) -> None:
    """The SDK leaves both as they came, which whoever expects a text would be ended by."""
    twice = interface(field) + 2 * f"<{field}>x</{field}>"
    server.replies[""] = interfaces(twice)
    with pytest.raises(CloudUnavailable, match=f"the answer cannot be read: ValueError: {field} stands twice"):
        cloud.describe_enis("lab")


@pytest.mark.parametrize("what", UNREADABLE)
def test_an_occupant_that_cannot_be_read_is_not_nobody(server: Server, cloud: Ec2Cloud, what: str) -> None:
    """EC2 shows it because it has the address."""

    def reply(connection: socket.socket) -> None:
        by_tag = "tag%3Afloatingip" in server.asked[-1]
        connection.sendall(interfaces() if by_tag else interfaces(UNREADABLE[what]))

    server.replies[""] = reply
    seen = seen_of(cloud, ADDRESS)
    assert (set(seen.unknown), dict(seen.enis)) == ({ADDRESS}, {})


def only(server: Server, cloud: Ec2Cloud, shown: str) -> Eni:
    """What is made of an answer that shows this one, which can be read."""
    server.replies[""] = interfaces(shown)
    (eni,) = cloud.describe_enis("lab")
    assert eni.unread == ""
    return eni


def bound(server: Server, cloud: Ec2Cloud, shown: str) -> Attachment:
    """The same of its attachment."""
    found = only(server, cloud, interface(attachment=shown)).attachment
    assert found is not None
    return found


@pytest.mark.parametrize(
    "left_out",
    ["availabilityZone", "sourceDestCheck", "groupSet", "attachment", "privateIpAddressesSet", "ipv6AddressesSet"],
)
def test_what_an_eni_may_lack_spoils_nothing(server: Server, cloud: Ec2Cloud, left_out: str) -> None:
    """An empty set may be left out, and a free ENI has no attachment."""
    eni = only(server, cloud, interface(left_out))
    assert eni.address == ADDRESS
    assert (eni.attachment is None) == (left_out == "attachment")


@pytest.mark.parametrize("left_out", ["instanceId", "deviceIndex", "attachTime", "deleteOnTermination"])
def test_what_an_attachment_may_lack_spoils_nothing(server: Server, cloud: Ec2Cloud, left_out: str) -> None:
    """A managed service's has no instance, and is an attachment all the same."""
    found = bound(server, cloud, attachment(left_out))
    assert found.status is AttachmentStatus.ATTACHED
    assert (found.instance_id == "") == (left_out == "instanceId")


def test_a_time_that_is_none_spoils_nothing(server: Server, cloud: Ec2Cloud) -> None:
    """It only spares a wait, and the SDK would refuse the whole answer for it."""
    assert bound(server, cloud, attachment(attachTime="yesterday")).since_wall is None


def test_since_when_an_interface_is_attached_is_read(server: Server, cloud: Ec2Cloud) -> None:
    """What EC2 writes is in UTC."""
    assert bound(server, cloud, attachment()).since_wall == datetime(2026, 11, 23, tzinfo=UTC).timestamp()


def test_an_index_that_is_no_number_means_that_nothing_is_known(server: Server, cloud: Ec2Cloud) -> None:
    """The SDK refuses the whole answer."""
    server.replies[""] = interfaces(interface(attachment=attachment(deviceIndex="first")))
    with pytest.raises(CloudUnavailable, match="DescribeNetworkInterfaces: the answer cannot be read"):
        cloud.describe_enis("lab")


def test_fields_that_nobody_knows_are_passed_over(server: Server, cloud: Ec2Cloud) -> None:
    """EC2 adds some every year."""
    assert only(server, cloud, interface(quantumLink="<item><entangled>true</entangled></item>")).address == ADDRESS


def test_an_eni_of_an_ipv6_only_subnet_has_no_ipv4_address(server: Server, cloud: Ec2Cloud) -> None:
    """Found, created and carried by its IPv6 address."""
    alone = interface(
        "privateIpAddress",
        privateIpAddressesSet="",
        ipv6AddressesSet=f"<item><ipv6Address>{IPV6}</ipv6Address></item>",
        ipv6Native="true",
    )
    server.replies["DescribeNetworkInterfaces"] = interfaces(alone)
    server.replies["CreateNetworkInterface"] = answer(
        "CreateNetworkInterface", f"<networkInterface>{alone}</networkInterface>"
    )
    (eni,) = cloud.find_occupants(frozenset({IPV6}))
    assert (eni.address, eni.ipv6s, eni.unread) == (None, (IPV6,), "")
    assert eni.has(IPV6)
    assert cloud.create_eni(IPV6, SUBNET, {}, "token") == eni


def test_a_strangers_eni_without_an_ipv4_address_spoils_nothing(server: Server, cloud: Ec2Cloud) -> None:
    """It has one of the addresses asked for; the other one is nobody's."""
    stranger = interface(
        "privateIpAddress",
        "privateIpAddressesSet",
        "tagSet",
        ipv6AddressesSet=f"<item><ipv6Address>{IPV6}</ipv6Address></item>",
    )
    server.replies[""] = interfaces(stranger)
    (eni, _) = cloud.find_occupants(frozenset({ADDRESS, IPV6}))
    assert (eni.unread, eni.occupies(IPV6), eni.occupies(ADDRESS)) == ("", True, False)


def test_an_interface_that_several_pages_show_is_one(server: Server, cloud: Ec2Cloud) -> None:
    """Unless they differ: it may have moved between them, so nothing is known of it, nor of an address of either."""
    free, moved = interface("attachment"), interface(privateIpAddress=f"{OTHER}", privateIpAddressesSet="")
    for pages, unknown in (((free, free), set()), ((free, moved), {ADDRESS})):
        server.asked.clear()

        def reply(connection: socket.socket, pages: tuple[str, str] = pages) -> None:
            more = "NextToken" in server.asked[-1]
            token = "" if more else "<nextToken>more</nextToken>"
            connection.sendall(interfaces(pages[more], more=token))

        server.replies["DescribeNetworkInterfaces"] = reply
        assert {eni.id for eni in cloud.describe_enis("lab")} == {"eni-1"}
        assert set(seen_of(cloud, ADDRESS).unknown) == unknown


def test_what_ec2_shows_of_another_vpc_is_not_ours(server: Server, cloud: Ec2Cloud) -> None:
    """That one may use the same addresses, and the same name."""
    server.replies[""] = interfaces(interface(vpcId="vpc-2"))
    assert cloud.describe_enis("lab") == cloud.find_occupants(frozenset({ADDRESS})) == ()
    there = "<subnetId>subnet-2</subnetId><vpcId>vpc-2</vpcId><cidrBlock>10.0.0.0/24</cidrBlock>"
    server.replies[""] = subnets(there)
    assert cloud.describe_subnets() == ()


def test_an_address_that_two_interfaces_have_is_nobodys_for_sure(server: Server, cloud: Ec2Cloud) -> None:
    """EC2 may show both for a moment while it moves it; both, and what else they have, are known."""
    server.replies[""] = interfaces(interface(), interface(networkInterfaceId="eni-2"))
    seen = seen_of(cloud, ADDRESS)
    assert seen.unknown == {ADDRESS: "10.0.0.100 is shown on eni-1 and on eni-2"}
    assert (dict(seen.enis), seen.ours, seen.unread) == ({}, {"eni-1", "eni-2"}, ())


# Instances and subnets.


RUNNING = "<instanceState><name>running</name></instanceState>"


def state_of(server: Server, cloud: Ec2Cloud, shown: bytes) -> InstanceState:
    """What is made of an answer to a question for i-0a alone."""
    server.replies[""] = shown
    (found,) = cloud.describe_instances(frozenset({"i-0a"})).values()
    assert found.id == "i-0a"
    return found.state


@pytest.mark.parametrize(
    "shown",
    [
        "<instanceId>i-0a</instanceId>",
        "<instanceId>i-0a</instanceId><instanceState/>",
        "<instanceId>i-0a</instanceId><instanceState><name>hibernating</name></instanceState>",
        "<instanceId>i-0a</instanceId><instanceState><name/></instanceState>",
        RUNNING,
        "",
    ],
)
def test_an_instance_whose_state_cannot_be_read_is_neither_dead_nor_gone(
    server: Server, cloud: Ec2Cloud, shown: str
) -> None:
    """Death is something that EC2 says; and the other one is known as if nothing were wrong."""
    server.replies[""] = instances(shown, f"<instanceId>i-0b</instanceId>{RUNNING}")
    found = cloud.describe_instances(frozenset({"i-0a", "i-0b"}))
    assert found["i-0a"].state is InstanceState.UNREAD
    assert not found["i-0a"].state.announces_death
    assert found["i-0b"].state is InstanceState.RUNNING


@pytest.mark.parametrize(
    ("field", "lacks"),
    [
        ("<privateIpAddress>ten</privateIpAddress>", "address"),
        ("<placement/>", "zone"),
        ("<networkInterfaceSet><item/></networkInterfaceSet>", "device_indexes"),
        ("<networkInterfaceSet><item><attachment/></item></networkInterfaceSet>", "device_indexes"),
        ("<tagSet><item><value>x</value></item></tagSet>", "tags"),
        ("<instanceType/>", "type"),
    ],
)
def test_what_an_instance_may_lack_spoils_nothing(server: Server, cloud: Ec2Cloud, field: str, lacks: str) -> None:
    """It is running all the same."""
    server.replies[""] = instances(f"<instanceId>i-0a</instanceId>{RUNNING}{field}")
    found: Instance = cloud.describe_instances(frozenset({"i-0a"}))["i-0a"]
    assert found.state is InstanceState.RUNNING
    assert not getattr(found, lacks)


def test_an_instance_that_is_shown_in_two_states_has_not_ended(server: Server, cloud: Ec2Cloud) -> None:
    """Whichever comes first; one that is shown twice alike is known."""
    ended = RUNNING.replace("running", "terminated")
    for states in ((RUNNING, ended), (ended, RUNNING), (RUNNING, RUNNING)):
        shown = instances(*(f"<instanceId>i-0a</instanceId>{state}" for state in states))
        known = InstanceState.RUNNING if len(set(states)) == 1 else InstanceState.UNREAD
        assert state_of(server, cloud, shown) is known


@pytest.mark.parametrize("shown", ["", "<allocationId>eipalloc-2</allocationId>"])
def test_an_elastic_ip_that_is_not_shown_is_not_a_free_one(server: Server, cloud: Ec2Cloud, shown: str) -> None:
    """Nor one of somewhere else, for which an agent would end."""
    server.replies[""] = answer("DescribeAddresses", f"<addressesSet><item>{shown}</item></addressesSet>")
    with pytest.raises(CloudUnavailable, match="DescribeAddresses: the answer cannot be read"):
        cloud.describe_allocation("eipalloc-1")


@pytest.mark.parametrize(
    "shown",
    [
        instances(f"<instanceId>i-0c</instanceId>{RUNNING}"),
        answer("DescribeInstances", "<reservationSet><item></item></reservationSet>"),
        answer("DescribeInstances", "<reservationSet><item><instancesSet/></item></reservationSet>"),
    ],
    ids=["another one", "a reservation without a set", "a reservation with an empty set"],
)
def test_an_answer_that_does_not_show_an_instance_does_not_end_it(
    server: Server, cloud: Ec2Cloud, shown: bytes
) -> None:
    """That it is gone is something that EC2 says; the free standing ENI of one that is gone is deleted."""
    assert state_of(server, cloud, shown) is InstanceState.UNREAD


@pytest.mark.parametrize("shown", [instances(), instances("<instanceId>i-0b</instanceId>")])
def test_a_node_whose_own_instance_is_not_shown_does_not_miss_its_cluster(
    server: Server, cloud: Ec2Cloud, shown: bytes
) -> None:
    """That it has no tag of a cluster is something that EC2 says; it would end the agent."""
    server.replies["DescribeInstances"] = shown
    with pytest.raises(CloudUnavailable, match="i-0b, this node's instance"):
        look(cloud, Settings((ADDRESS,)), Question(0.0, "i-0b", ""))


ZONE = "<availabilityZone>us-west-2a</availabilityZone>"
HOME = f"<subnetId>subnet-1</subnetId>{ZONE}<cidrBlock>10.0.0.0/24</cidrBlock>"


@pytest.mark.parametrize(
    "shown",
    [
        "",
        f"<subnetId>subnet-2</subnetId>{ZONE}<cidrBlock>ten</cidrBlock>",
        f"<subnetId>subnet-2</subnetId>{ZONE}<cidrBlock>10.0.1.7/24</cidrBlock>",
        f"<subnetId>subnet-2</subnetId>{ZONE}<cidrBlock>10.0.1.100/32</cidrBlock>",
        "<subnetId>subnet-2</subnetId><cidrBlock>10.0.1.0/24</cidrBlock>",
        f"{ZONE}<cidrBlock>10.0.1.0/24</cidrBlock>",
        f"<subnetId>subnet-2</subnetId>{ZONE}<ipv6CidrBlockAssociationSet><item><ipv6CidrBlock>x</ipv6CidrBlock></item>"
        "</ipv6CidrBlockAssociationSet>",
    ],
)
def test_a_subnet_that_cannot_be_read_is_not_a_missing_one(server: Server, cloud: Ec2Cloud, shown: str) -> None:
    """It matters only to an address that no other subnet contains."""
    server.replies["DescribeSubnets"] = subnets(HOME, shown)
    server.replies["DescribeNetworkInterfaces"] = interfaces()
    question = Question(0.0, "i-0b", "lab", frozenset({"i-0b"}), need_subnets=True)
    seen = look(cloud, Settings((ADDRESS,)), question)
    assert [subnet.id for subnet in seen.subnets or ()] == ["subnet-1"]
    with pytest.raises(CloudUnavailable, match="DescribeSubnets: cannot be read"):
        look(cloud, Settings((ADDRESS, IPv4Address("10.0.1.100"))), question)


def test_a_subnet_without_ipv4_has_its_ipv6_network(server: Server, cloud: Ec2Cloud) -> None:
    """And one whose IPv6 block has no CIDR yet has none."""
    associated = "<item><ipv6CidrBlock>2001:db8:0:6::/64</ipv6CidrBlock></item><item/>"
    server.replies[""] = subnets(
        f"<subnetId>subnet-6</subnetId>{ZONE}<ipv6CidrBlockAssociationSet>{associated}</ipv6CidrBlockAssociationSet>"
    )
    (subnet,) = cloud.describe_subnets()
    assert (subnet.unread, subnet.networks) == ("", (ip_network("2001:db8:0:6::/64"),))
