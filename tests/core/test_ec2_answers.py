"""What may come in the place of EC2's answer, over a real connection, and what each of it means.

The server writes bytes, so that everything is possible that a proxy, a load balancer, a broken connection or a new
version of EC2 could send.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest

from floatingip.agent.looks import Question
from floatingip.core.ec2 import AttachmentStatus, Instance, InstanceState
from floatingip.core.errors import CloudError, CloudUnavailable, Denied, LookAgain, NoCredentials, NoFreeSlot, Throttled
from floatingip.core.model import Carry
from floatingip.core.settings import Settings
from floatingip.edges.ec2 import cloud as ec2
from floatingip.edges.ec2 import sdk
from floatingip.edges.ec2.asking import Asking
from floatingip.edges.ec2.cloud import Ec2Cloud
from floatingip.edges.ec2.meaning import NOT_ACCEPTED
from floatingip.runtime.look import look
from tests.core.ec2_server import (
    ADDRESS,
    FOUND,
    IPV6,
    NAMESPACE,
    OTHER,
    PATIENCE,
    SHORT,
    SUBNET,
    Reply,
    Server,
    answer,
    attachment,
    becoming,
    dripping,
    error,
    http,
    in_the_end,
    instances,
    interface,
    interfaces,
    silent_until,
    subnets,
)


@pytest.fixture(name="client", scope="module")
def _client(running: Server) -> Iterator[Any]:
    """One for all: making it takes longer than all that is done with it."""
    with pytest.MonkeyPatch.context() as patch:
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
        becoming(patch)(AWS_ENDPOINT_URL_EC2=running.url, HOME="/nonexistent", **keys)
        made = ec2.client("us-west-2")
        with suppress(CloudError):  # from now on it has credentials
            Ec2Cloud(made, "vpc-1", ()).describe_enis("lab")
        yield made


@pytest.fixture
def cloud(client: Any, server: Server) -> Ec2Cloud:
    """It asks the server."""
    del server  # it has begun anew
    return Ec2Cloud(client, "vpc-1", ("sg-1",))


def reset(connection: socket.socket) -> None:
    """End it by a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


DETACHED = answer("DetachNetworkInterface", "<return>true</return>")
BROKEN_OFF = "<?xml version='1.0'?><DescribeNetworkInterfacesResponse><networkInterfaceSet><item><networkInterf"

NO_ANSWERS: Mapping[str, Reply] = {
    "closed without a byte": b"",
    "reset": reset,
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "bytes of no protocol": bytes(range(256)),
    "a status line alone": b"HTTP/1.1 200 OK\r\n",
    "a status that is no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "headers that do not end": b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n",
    "a header line of 100 kB": http(200, "", "X: " + "x" * 100_000),
    "200 header lines": http(200, "", *(f"X-{number}: x" for number in range(200))),
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n<a/>",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a body that is cut off": http(200, BROKEN_OFF, length=5000),
    "a body that is cut off where nobody said how long it is": b"HTTP/1.1 200 OK\r\n\r\n" + BROKEN_OFF.encode(),
    "chunks that break off": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n<Desc",
    "chunks without a size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "gzip that is none": http(200, "plain", "Content-Encoding: gzip"),
    "200 with nothing": http(200),
    "200 with blanks": http(200, "  \n "),
    "200 with text": http(200, "OK"),
    "200 with HTML": http(200, "<html><body>Welcome to the hotel's network</body></html>"),
    "200 with a document type": http(200, "<!DOCTYPE html><html></html>"),
    "200 with JSON": http(200, '{"message": "ok"}'),
    "200 with null bytes": http(200, b"\0" * 100),
    "200 with XML of somebody else": http(200, "<ListBucketResult/>"),
    "200 with the answer to another call": answer("DescribeVpcs", "<vpcSet/>"),
    "200 with an error inside": http(200, "<Response><Errors><Error><Code>Odd</Code></Error></Errors></Response>"),
    "200 with XML of two roots": http(200, "<a/><b/>"),
    "200 with an unknown entity": http(200, f"<DescribeNetworkInterfacesResponse {NAMESPACE}>&x;"),
    "200 in another encoding": http(200, "<?xml version='1.0' encoding='klingon'?><DetachNetworkInterfaceResponse/>"),
    "200 with the right beginning and no end": http(200, f"<DetachNetworkInterfaceResponse {NAMESPACE}><requestId>"),
    "204": http(204),
    "301 to somewhere": http(301, "", "Location: http://127.0.0.1:1/login"),
    "302 without a body": http(302),
    "304": http(304),
    "400 with JSON": http(400, '{"message": "bad"}'),
    "400 with an error without a code": http(400, "<Response><Errors><Error/></Errors></Response>"),
    "400 with an empty code": error(400, ""),
    "403 with HTML": http(403, "<html>blocked by the proxy</html>"),
    "403 with nothing": http(403),
    "404 with text": http(404, "404 page not found"),
    "407": http(407, "proxy authentication required"),
    "408": http(408),
    "413": http(413, "too large"),
    "429 with text": http(429, "slow down"),
    "429 with nothing": http(429),
    "500 with nothing": http(500),
    "500 with an error that breaks off": http(500, "<Response><Errors><Error><Code>Int"),
    "502 with nothing": http(502),
    "502 with HTML": http(502, "<HTML>Bad gateway</HTML>"),
    "503 with text": http(503, "upstream connect error or disconnect/reset before headers"),
    "503 with HTML": http(503, "<html>busy</html>"),
    "504 with text": http(504, "stream timeout"),
    "599": http(599),
}


@pytest.mark.parametrize("what", NO_ANSWERS)
def test_what_is_no_answer_of_ec2_means_that_nothing_is_known(server: Server, cloud: Ec2Cloud, what: str) -> None:
    """Neither that no ENI has the address, nor that a write was done: one line that names the call."""
    server.replies[""] = NO_ANSWERS[what]
    calls: Mapping[str, Callable[[], object]] = {
        "DescribeNetworkInterfaces": lambda: cloud.describe_enis("lab"),
        "DetachNetworkInterface": lambda: cloud.detach_eni("eni-attach-1", force=False),
    }
    for action, call in calls.items():
        with pytest.raises(CloudError) as caught:
            call()
        assert type(caught.value) is CloudUnavailable
        assert str(caught.value).startswith(f"{action}: ")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


WRITES: Mapping[str, Callable[[Ec2Cloud], object]] = {
    "CreateNetworkInterface": lambda cloud: cloud.create_eni(ADDRESS, SUBNET, {}, "token"),
    "AttachNetworkInterface": lambda cloud: cloud.attach_eni("eni-1", "i-0a", frozenset({0})),
    "DetachNetworkInterface": lambda cloud: cloud.detach_eni("eni-attach-1", force=True),
    "DeleteNetworkInterface": lambda cloud: cloud.delete_eni("eni-1"),
    "AssignPrivateIpAddresses": lambda cloud: cloud.assign("eni-1", ADDRESS, reassign=True),
    "UnassignPrivateIpAddresses": lambda cloud: cloud.unassign("eni-1", ADDRESS),
    "AssignIpv6Addresses": lambda cloud: cloud.assign("eni-1", IPV6, reassign=False),
    "UnassignIpv6Addresses": lambda cloud: cloud.unassign("eni-1", IPV6),
    "CreateTags": lambda cloud: cloud.tag_eni("eni-1", {"a": "b"}),
    "AssociateAddress": lambda cloud: cloud.associate("eipalloc-1", "eni-1", ADDRESS),
    "ModifyNetworkInterfaceAttribute": lambda cloud: cloud.check_source("eni-1"),
}


@pytest.mark.parametrize("action", WRITES)
@pytest.mark.parametrize(
    "body", ["<html>welcome</html>", "", "<return>false</return>"], ids=["a page", "nothing", "false"]
)
def test_a_write_counts_as_done_only_when_ec2_says_so(server: Server, cloud: Ec2Cloud, action: str, body: str) -> None:
    """And it is sent once: nobody knows whether it happened."""
    server.replies[""] = answer(action, body) if "return" in body else http(200, body)
    with pytest.raises(CloudUnavailable, match=action):
        WRITES[action](cloud)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("action", "body"), [("CreateNetworkInterface", ""), ("AttachNetworkInterface", "<return>true</return>")]
)
def test_a_write_whose_answer_lacks_what_it_should_tell_is_looked_for(
    server: Server, cloud: Ec2Cloud, action: str, body: str
) -> None:
    """An ENI without its description, an attachment without its id."""
    server.replies[""] = answer(action, body)
    with pytest.raises(CloudUnavailable, match=action):
        WRITES[action](cloud)


READS: Mapping[str, Callable[[Ec2Cloud], object]] = {
    "DescribeNetworkInterfaces": lambda cloud: cloud.find_occupants(frozenset({ADDRESS})),
    "DescribeInstances": lambda cloud: cloud.describe_instances(frozenset({"i-0a"})),
    "DescribeSubnets": lambda cloud: cloud.describe_subnets(),
    "DescribeAddresses": lambda cloud: cloud.describe_allocation("eipalloc-1"),
    "DescribeInstanceTypes": lambda cloud: cloud.describe_slots("m5.large"),
}


@pytest.mark.parametrize("action", READS)
def test_an_answer_without_its_list_is_not_an_empty_one(server: Server, cloud: Ec2Cloud, action: str) -> None:
    """Absent is something that EC2 says."""
    server.replies[""] = answer(action, "")
    with pytest.raises(CloudUnavailable, match=f"{action}: the answer cannot be read"):
        READS[action](cloud)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AuthFailure", 401, NoCredentials),
        ("ExpiredToken", 400, NoCredentials),
        ("ExpiredTokenException", 400, NoCredentials),
        ("IncompleteSignature", 400, NoCredentials),
        ("InvalidClientTokenId", 403, NoCredentials),
        ("MissingAuthenticationToken", 403, NoCredentials),
        ("RequestExpired", 400, NoCredentials),
        ("SignatureDoesNotMatch", 403, NoCredentials),
        ("UnrecognizedClientException", 400, NoCredentials),
        ("RequestLimitExceeded", 503, Throttled),
        ("UnauthorizedOperation", 403, Denied),
        ("OptInRequired", 401, CloudError),
        ("AttachmentLimitExceeded", 400, NoFreeSlot),
        ("InvalidAttachmentID.NotFound", 400, LookAgain),
        ("SomethingNew", 400, CloudError),
        ("SomethingNew", 429, Throttled),
        ("SomethingNew", 408, CloudUnavailable),
        ("EC2ThrottledException", 400, Throttled),
        ("TooManyRequestsException", 400, Throttled),
        ("Client.RequestLimitExceeded", 503, Throttled),
        ("RequestLimitExceeded\n", 503, Throttled),
    ],
)
def test_an_error_of_ec2s_keeps_its_meaning(
    server: Server, cloud: Ec2Cloud, code: str, status: int, kind: type[CloudError]
) -> None:
    """Over the wire, too."""
    server.replies[""] = error(status, code)
    with pytest.raises(CloudError) as caught:
        cloud.detach_eni("eni-attach-1", force=False)
    assert type(caught.value) is kind


def test_what_ec2_says_is_told_in_a_short_line(server: Server, cloud: Ec2Cloud) -> None:
    """Whatever its length: it stands in the log, in readiness and on pages."""
    server.replies[""] = error(400, "Odd\n" * 1000, "It\ncannot be. " * 100_000)
    with pytest.raises(CloudError, match="DetachNetworkInterface: Odd") as caught:
        cloud.detach_eni("eni-attach-1", force=False)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("code", sorted(NOT_ACCEPTED))
def test_credentials_that_aws_does_not_accept_are_not_told_as_a_mistake_of_ours(
    server: Server, cloud: Ec2Cloud, code: str
) -> None:
    """They expired, or the node's clock is wrong: waiting, or others, may mend it."""
    server.replies[""] = error(400, code)
    with pytest.raises(CloudUnavailable, match=f"{code}.*(credentials|clock)"):
        cloud.describe_enis("lab")


# What EC2 shows.


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


def seen_of(cloud: Ec2Cloud, *targets: IPv4Address, carry: Carry = Carry.ENI) -> Any:
    """One look for these, in peace."""
    return look(cloud, Settings(targets, carry=carry), Question(0.0, "i-0b", "lab", frozenset({"i-0a", "i-0b"})))


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


@pytest.mark.parametrize(
    "without",
    ["availabilityZone", "sourceDestCheck", "groupSet", "attachment", "privateIpAddressesSet", "ipv6AddressesSet"],
)
def test_what_an_eni_may_lack_spoils_nothing(server: Server, cloud: Ec2Cloud, without: str) -> None:
    """An empty set may be left out, and a free ENI has no attachment."""
    server.replies[""] = interfaces(interface(without))
    (eni,) = cloud.describe_enis("lab")
    assert (eni.unread, eni.address) == ("", ADDRESS)
    assert (eni.attachment is None) == (without == "attachment")


@pytest.mark.parametrize("without", ["instanceId", "deviceIndex", "attachTime", "deleteOnTermination"])
def test_what_an_attachment_may_lack_spoils_nothing(server: Server, cloud: Ec2Cloud, without: str) -> None:
    """A managed service's has no instance."""
    server.replies[""] = interfaces(interface(attachment=attachment(without)))
    (eni,) = cloud.describe_enis("lab")
    assert eni.unread == ""
    assert eni.attachment is not None
    assert eni.attachment.status is AttachmentStatus.ATTACHED


def test_a_time_that_is_none_spoils_nothing(server: Server, cloud: Ec2Cloud) -> None:
    """It only spares a wait, and the SDK would refuse the whole answer for it."""
    server.replies[""] = interfaces(interface(attachment=attachment(attachTime="yesterday")))
    (eni,) = cloud.describe_enis("lab")
    assert eni.unread == ""
    assert eni.attachment is not None
    assert eni.attachment.since_wall is None


def test_since_when_an_interface_is_attached_is_read(server: Server, cloud: Ec2Cloud) -> None:
    """What EC2 writes is in UTC."""
    server.replies[""] = interfaces(interface())
    (eni,) = cloud.describe_enis("lab")
    assert eni.attachment is not None
    assert eni.attachment.since_wall == datetime(2026, 11, 23, tzinfo=UTC).timestamp()


def test_an_index_that_is_no_number_means_that_nothing_is_known(server: Server, cloud: Ec2Cloud) -> None:
    """The SDK refuses the whole answer."""
    server.replies[""] = interfaces(interface(attachment=attachment(deviceIndex="first")))
    with pytest.raises(CloudUnavailable, match="DescribeNetworkInterfaces: the answer cannot be read"):
        cloud.describe_enis("lab")


def test_fields_that_nobody_knows_are_passed_over(server: Server, cloud: Ec2Cloud) -> None:
    """EC2 adds some every year."""
    server.replies[""] = interfaces(interface(quantumLink="<item><entangled>true</entangled></item>"))
    (eni,) = cloud.describe_enis("lab")
    assert eni.unread == ""


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
    assert eni.carries(IPV6)
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


# Pages.


@pytest.mark.parametrize("action", ["DescribeNetworkInterfaces", "DescribeSubnets", "DescribeInstances"])
@pytest.mark.parametrize("tokens", [["again"] * 9, ["a", "b"] * 9, [str(n) for n in range(29)]])
def test_pages_without_end_mean_that_nothing_is_known(
    server: Server, cloud: Ec2Cloud, monkeypatch: pytest.MonkeyPatch, action: str, tokens: list[str]
) -> None:
    """The same token again and again, or always another one."""
    monkeypatch.setattr(ec2, "MOST_PAGES", 20)
    left = iter(tokens)
    empty = {
        "DescribeNetworkInterfaces": "<networkInterfaceSet/>",
        "DescribeSubnets": "<subnetSet/>",
        "DescribeInstances": "<reservationSet/>",
    }

    def reply(connection: socket.socket) -> None:
        connection.sendall(answer(action, f"{empty[action]}<nextToken>{next(left)}</nextToken>"))

    server.replies[""] = reply
    with pytest.raises(CloudUnavailable, match=f"{action}: the answer has no end"):
        READS[action](cloud)
    assert len(server.asked) <= 20


def test_pages_that_take_too_long_mean_that_nothing_is_known(
    server: Server, cloud: Ec2Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them comes in time; meanwhile nothing else is asked, and nothing told."""
    monkeypatch.setattr(ec2, "LONGEST_LISTING", 0.0)
    server.replies[""] = FOUND
    with pytest.raises(CloudUnavailable, match="DescribeNetworkInterfaces: the answer has no end"):
        cloud.describe_enis("lab")


def test_an_empty_token_is_the_last_page(server: Server, cloud: Ec2Cloud) -> None:
    """As some of EC2's answers have it."""
    server.replies[""] = answer("DescribeNetworkInterfaces", "<networkInterfaceSet/><nextToken></nextToken>")
    assert cloud.describe_enis("lab") == ()
    assert len(server.asked) == 1


def test_an_interface_that_several_pages_show_is_one(server: Server, cloud: Ec2Cloud) -> None:
    """Unless they differ: it may have moved between them, so nothing is known of it, nor of an address of either."""
    free, moved = interface("attachment"), interface(privateIpAddress=f"{OTHER}", privateIpAddressesSet="")
    for pages, unknown in (((free, free), set()), ((free, moved), {ADDRESS})):
        server.asked.clear()

        def reply(connection: socket.socket, pages: tuple[str, str] = pages) -> None:
            more = "NextToken" in server.asked[-1]
            token = "" if more else "<nextToken>more</nextToken>"
            shown = f"<networkInterfaceSet><item>{pages[more]}</item></networkInterfaceSet>{token}"
            connection.sendall(answer("DescribeNetworkInterfaces", shown))

        server.replies["DescribeNetworkInterfaces"] = reply
        assert {eni.id for eni in cloud.describe_enis("lab")} == {"eni-1"}
        assert set(seen_of(cloud, ADDRESS).unknown) == unknown


def test_what_ec2_shows_of_another_vpc_is_not_ours(server: Server, cloud: Ec2Cloud) -> None:
    """That one may use the same addresses, and the same name."""
    server.replies[""] = interfaces(interface(vpcId="vpc-2"))
    assert cloud.describe_enis("lab") == cloud.find_occupants(frozenset({ADDRESS})) == ()
    there = "<subnetId>subnet-2</subnetId><vpcId>vpc-2</vpcId><cidrBlock>10.0.0.0/24</cidrBlock>"
    server.replies[""] = answer("DescribeSubnets", f"<subnetSet><item>{there}</item></subnetSet>")
    assert cloud.describe_subnets() == ()


def test_an_address_that_two_interfaces_have_is_nobodys_for_sure(server: Server, cloud: Ec2Cloud) -> None:
    """EC2 may show both for a moment while it moves it; both, and what else they have, are known."""
    server.replies[""] = interfaces(interface(), interface(networkInterfaceId="eni-2"))
    seen = seen_of(cloud, ADDRESS)
    assert seen.unknown == {ADDRESS: "10.0.0.100 is shown on eni-1 and on eni-2"}
    assert (dict(seen.enis), seen.ours, seen.unread) == ({}, {"eni-1", "eni-2"}, ())


def test_a_page_that_fails_spoils_the_question(server: Server, cloud: Ec2Cloud) -> None:
    """What it would have shown must not count as absent."""

    def reply(connection: socket.socket) -> None:
        first = answer("DescribeNetworkInterfaces", "<networkInterfaceSet/><nextToken>more</nextToken>")
        connection.sendall(first if "NextToken" not in server.asked[-1] else http(503, "busy"))

    server.replies[""] = reply
    with pytest.raises(CloudUnavailable):
        cloud.describe_enis("lab")


# Instances and subnets.


RUNNING = "<instanceState><name>running</name></instanceState>"


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
        server.replies[""] = instances(*(f"<instanceId>i-0a</instanceId>{state}" for state in states))
        found = cloud.describe_instances(frozenset({"i-0a"}))["i-0a"]
        assert found.state is (InstanceState.RUNNING if len(set(states)) == 1 else InstanceState.UNREAD)


def test_an_answer_that_shows_others_ends_nobody(server: Server, cloud: Ec2Cloud) -> None:
    """It is no answer to this question: that an instance is gone is something that EC2 says."""
    server.replies[""] = instances(f"<instanceId>i-0c</instanceId>{RUNNING}")
    found = cloud.describe_instances(frozenset({"i-0a"}))
    assert {key: each.state for key, each in found.items()} == {"i-0a": InstanceState.UNREAD}


@pytest.mark.parametrize("shown", ["", "<allocationId>eipalloc-2</allocationId>"])
def test_an_elastic_ip_that_is_not_shown_is_not_a_free_one(server: Server, cloud: Ec2Cloud, shown: str) -> None:
    """Nor one of somewhere else, for which an agent would end."""
    server.replies[""] = answer("DescribeAddresses", f"<addressesSet><item>{shown}</item></addressesSet>")
    with pytest.raises(CloudUnavailable, match="DescribeAddresses: the answer cannot be read"):
        cloud.describe_allocation("eipalloc-1")


@pytest.mark.parametrize("empty", ["", "<instancesSet/>"])
def test_a_reservation_that_shows_no_instance_ends_none(server: Server, cloud: Ec2Cloud, empty: str) -> None:
    """The free standing ENI of an instance that is gone is deleted."""
    shown = f"<reservationSet><item>{empty}</item></reservationSet>"
    server.replies[""] = answer("DescribeInstances", shown)
    assert cloud.describe_instances(frozenset({"i-0a"}))["i-0a"].state is InstanceState.UNREAD


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
        f"<subnetId>subnet-2</subnetId>{ZONE}<cidrBlock>10.0.1.0</cidrBlock><x/>".replace("10.0.1.0", "ten"),
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


# What hangs.


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (http(200, "<DescribeNetworkInterfacesResponse>", length=10**12), b"<x/>"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED + b"0\r\n", b"x: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["a body", "chunks", "trailers", "provisional answers"],
)
def test_an_answer_without_end_fills_no_memory(
    server: Server, cloud: Ec2Cloud, monkeypatch: pytest.MonkeyPatch, begin: bytes, again: bytes
) -> None:
    """However fast it comes."""
    monkeypatch.setattr(sdk, "MOST_BYTES", 100_000)

    def pour(connection: socket.socket) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(again * 1000)

    server.replies[""] = pour
    with pytest.raises(CloudUnavailable, match="DescribeNetworkInterfaces: an answer of more than 100000 bytes"):
        cloud.describe_enis("lab")


@pytest.mark.parametrize("at_once", [0, 30, len(FOUND) - 60], ids=["the status", "the headers", "the body"])
@pytest.mark.parametrize("call", ["read", "write"])
def test_an_answer_that_drips_is_given_up_and_its_connection_ended(
    server: Server, client: Any, at_once: int, call: str
) -> None:
    """Each byte comes in time, the answer does not; and no thread stays behind with it."""
    ended = threading.Event()
    server.replies[""] = dripping(FOUND, at_once, ended)
    cloud = Ec2Cloud(client, "vpc-1", (), Asking(SHORT, SHORT, SHORT / 4))
    asked = (lambda: cloud.describe_enis("lab")) if call == "read" else (lambda: cloud.detach_eni("a", force=True))
    with pytest.raises(CloudUnavailable, match="no answer within"):
        asked()
    # Its last attempt may go on for a while, to find out whether EC2 is only slow; the next question ends it.
    threading.Event().wait(SHORT)
    server.replies[""] = FOUND
    assert in_the_end(cloud) == ()
    assert ended.wait(PATIENCE)


def test_silence_is_given_up_and_the_next_question_is_answered(server: Server, client: Any) -> None:
    """A connection that hangs spoils none but itself."""
    over = threading.Event()
    server.replies[""] = silent_until(over)
    cloud = Ec2Cloud(client, "vpc-1", (), Asking(SHORT, SHORT))
    with pytest.raises(CloudUnavailable, match=r"DescribeNetworkInterfaces: no answer within 0\.2 s"):
        cloud.describe_enis("lab")
    server.replies[""] = FOUND
    assert in_the_end(cloud) == ()
    over.set()


def test_a_question_is_asked_anew_while_the_first_connection_hangs(server: Server, client: Any) -> None:
    """As when a path died under it; a write is sent once, whatever comes."""
    over, hung = threading.Event(), list[str]()

    def first_hangs(connection: socket.socket) -> None:
        if not hung:
            hung.append("first")
            over.wait(PATIENCE)
        else:
            connection.sendall(FOUND)

    server.replies[""] = first_hangs
    patient = Ec2Cloud(client, "vpc-1", (), Asking(PATIENCE, PATIENCE, 0.05))
    assert patient.describe_enis("lab") == ()
    assert len(server.asked) > 1
    hung.clear()
    server.asked.clear()
    hasty = Ec2Cloud(client, "vpc-1", (), Asking(SHORT, SHORT, 0.01))
    with pytest.raises(CloudUnavailable, match="DetachNetworkInterface: no answer"):
        hasty.detach_eni("eni-attach-1", force=False)
    assert len(server.asked) == 1
    over.set()
