"""What may come in the place of EC2's answer, over a real connection, and what each of it means.

The server writes bytes, so that everything is possible that a proxy, a load balancer, a broken connection or a new
version of EC2 could send.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from floatingip.core.errors import CloudError, CloudUnavailable, Denied, LookAgain, NoCredentials, NoFreeSlot, Throttled
from floatingip.edges.ec2 import api, connections
from floatingip.edges.ec2.asking import Asking
from floatingip.edges.ec2.cloud import Ec2Cloud
from floatingip.edges.ec2.meaning import NOT_ACCEPTED
from tests.edges.ec2_server import (
    ADDRESS,
    FOUND,
    NAMESPACE,
    PATIENCE,
    SHORT,
    Reply,
    Server,
    answer,
    dripping,
    error,
    http,
    in_the_end,
    interfaces,
    silent_until,
)
from tests.edges.ec2_stub import CALLS

pytest_plugins = ["tests.edges.ec2_fixtures"]


def reset(connection: socket.socket) -> None:
    """End it by a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


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
    for action in ("DescribeNetworkInterfaces", "DetachNetworkInterface"):
        with pytest.raises(CloudError) as caught:
            CALLS[action](cloud)
        assert type(caught.value) is CloudUnavailable
        assert str(caught.value).startswith(f"{action}: ")
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500


READS, WRITES = ([name for name in sorted(CALLS) if name.startswith("Describe") is reads] for reads in (True, False))


@pytest.mark.parametrize("action", WRITES)
@pytest.mark.parametrize(
    "body", ["<html>welcome</html>", "", "<return>false</return>"], ids=["a page", "nothing", "false"]
)
def test_a_write_counts_as_done_only_when_ec2_says_so(server: Server, cloud: Ec2Cloud, action: str, body: str) -> None:
    """And it is sent once: nobody knows whether it happened."""
    server.replies[""] = answer(action, body) if "return" in body else http(200, body)
    with pytest.raises(CloudUnavailable, match=action):
        CALLS[action](cloud)
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
        CALLS[action](cloud)


@pytest.mark.parametrize(
    ("action", "ask"),
    [
        *((action, CALLS[action]) for action in READS),
        ("DescribeNetworkInterfaces", lambda cloud: cloud.find_occupants(frozenset({ADDRESS}))),
    ],
    ids=[*READS, "occupants"],
)
def test_an_answer_without_its_list_is_not_an_empty_one(
    server: Server, cloud: Ec2Cloud, action: str, ask: Callable[[Ec2Cloud], object]
) -> None:
    """Absent is something that EC2 says."""
    server.replies[""] = answer(action, "")
    with pytest.raises(CloudUnavailable, match=f"{action}: the answer cannot be read"):
        ask(cloud)


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


# Pages.


@pytest.mark.parametrize(
    ("action", "shown"),
    [
        ("DescribeNetworkInterfaces", "networkInterfaceSet"),
        ("DescribeSubnets", "subnetSet"),
        ("DescribeInstances", "reservationSet"),
    ],
)
@pytest.mark.parametrize("tokens", [["again"] * 9, ["a", "b"] * 9, [str(n) for n in range(29)]])
def test_pages_without_end_mean_that_nothing_is_known(
    server: Server, cloud: Ec2Cloud, monkeypatch: pytest.MonkeyPatch, action: str, shown: str, tokens: list[str]
) -> None:
    """The same token again and again, or always another one."""
    monkeypatch.setattr(api, "MOST_PAGES", 20)
    left = iter(tokens)

    def reply(connection: socket.socket) -> None:
        connection.sendall(answer(action, f"<{shown}/><nextToken>{next(left)}</nextToken>"))

    server.replies[""] = reply
    with pytest.raises(CloudUnavailable, match=f"{action}: the answer has no end"):
        CALLS[action](cloud)
    assert len(server.asked) <= 20


def test_pages_that_take_too_long_mean_that_nothing_is_known(
    server: Server, cloud: Ec2Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them comes in time; meanwhile nothing else is asked, and nothing told."""
    monkeypatch.setattr(api, "LONGEST_LISTING", 0.0)
    server.replies[""] = FOUND
    with pytest.raises(CloudUnavailable, match="DescribeNetworkInterfaces: the answer has no end"):
        cloud.describe_enis("lab")


def test_an_empty_token_is_the_last_page(server: Server, cloud: Ec2Cloud) -> None:
    """As some of EC2's answers have it."""
    server.replies[""] = interfaces(more="<nextToken></nextToken>")
    assert cloud.describe_enis("lab") == ()
    assert len(server.asked) == 1


def test_a_page_that_fails_spoils_the_question(server: Server, cloud: Ec2Cloud) -> None:
    """What it would have shown must not count as absent."""

    def reply(connection: socket.socket) -> None:
        first = interfaces(more="<nextToken>more</nextToken>")
        connection.sendall(first if "NextToken" not in server.asked[-1] else http(503, "busy"))

    server.replies[""] = reply
    with pytest.raises(CloudUnavailable):
        cloud.describe_enis("lab")


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
    monkeypatch.setattr(connections, "MOST_BYTES", 100_000)

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
