"""The metadata service's client against a small IMDSv2 on loopback, which each test makes fail in its way."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from floatingip.core.errors import MetadataError
from floatingip.core.node import Identity, Interface, Notice
from floatingip.edges.imds import DEADLINE, TOKEN_SECONDS, Imds

HERE = IPv4Address("127.0.0.1")

PRIMARY, SECOND = "02:00:00:00:00:0a", "02:00:00:00:00:64"
INTERFACES = "network/interfaces/macs"


class Service:
    """IMDSv2: what it holds, what it was asked, and the answers (None: it hangs up) that come before the right ones."""

    def __init__(self) -> None:
        self.values = {
            "instance-id": "i-0a",
            "mac": PRIMARY,
            "placement/availability-zone": "us-west-2-lax-1a",
            "placement/region": "us-west-2",
            f"{INTERFACES}/": f"{PRIMARY}/\n{SECOND}/",
            f"{INTERFACES}/{PRIMARY}/vpc-id": "vpc-1",
            f"{INTERFACES}/{PRIMARY}/subnet-id": "subnet-1",
            f"{INTERFACES}/{PRIMARY}/security-group-ids": "sg-1\nsg-2",
            f"{INTERFACES}/{PRIMARY}/local-ipv4s": "10.0.0.10\n10.0.0.20",
            f"{INTERFACES}/{SECOND}/local-ipv4s": "10.0.0.100",
            f"{INTERFACES}/{PRIMARY}/subnet-ipv4-cidr-block": "10.0.0.0/24",
            f"{INTERFACES}/{SECOND}/subnet-ipv4-cidr-block": "10.0.0.0/24",
            f"{INTERFACES}/{SECOND}/subnet-ipv6-cidr-blocks": "2001:db8:0:1::/64",
            f"{INTERFACES}/{SECOND}/ipv6s": "2001:db8:0:1:0:0:0:64",
        }
        self.asked: list[str] = []
        self.failures: list[int | None] = []
        self.tokens = 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer: the second of two waits 40 ms for an acknowledgement

            def do_PUT(self) -> None:
                service.asked.append(f"PUT {self.path}")
                if self.headers["X-aws-ec2-metadata-token-ttl-seconds"] != str(TOKEN_SECONDS):
                    return self.reply(400)
                service.tokens += 1
                return self.reply(200, f"token-{service.tokens}")

            def do_GET(self) -> None:
                service.asked.append(f"GET {self.path}")
                if service.failures:
                    failure = service.failures.pop(0)
                    if failure is None:
                        self.close_connection = True
                        return None
                    return self.reply(failure, "<html>no</html>")
                if self.headers["X-aws-ec2-metadata-token"] != f"token-{service.tokens}":
                    return self.reply(401)
                value = service.values.get(self.path.removeprefix("/latest/meta-data/"))
                return self.reply(404) if value is None else self.reply(200, value)

            def reply(self, status: int, text: str = "") -> None:
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/latest/meta-data/instance-id")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Not to the terminal."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port


class Timer:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.time = 0.0

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def now(self) -> float:
        return self.time


@pytest.fixture
def service() -> Iterator[Service]:
    """An IMDS that answers."""
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield service
    service.server.shutdown()
    service.server.server_close()
    thread.join()


@pytest.fixture
def timer() -> Timer:
    """The client's clock."""
    return Timer()


@pytest.fixture
def imds(service: Service, timer: Timer) -> Iterator[Imds]:
    """A client of that service that does not really sleep."""
    imds = Imds(HERE, service.port, sleep=timer.sleep, now=timer.now)
    yield imds
    imds.close()


def test_identity_is_that_of_the_primary_interface(imds: Imds) -> None:
    """Instance, place, and the primary interface's network; its first address is the primary one."""
    assert imds.identity() == Identity(
        instance_id="i-0a",
        region="us-west-2",
        zone="us-west-2-lax-1a",
        vpc_id="vpc-1",
        subnet_id="subnet-1",
        mac=PRIMARY,
        address=IPv4Address("10.0.0.10"),
        security_groups=("sg-1", "sg-2"),
    )


def test_one_token_serves_until_it_is_refused(imds: Imds, service: Service) -> None:
    """The token is fetched once, and once more after a 401."""
    imds.identity()
    imds.identity()
    assert service.asked.count("PUT /latest/api/token") == 1
    service.tokens += 1  # the service has forgotten ours
    imds.identity()
    assert service.asked.count("PUT /latest/api/token") == 2


def test_the_interface_with_an_address_is_found_with_its_subnet(imds: Imds) -> None:
    """Also for an address that is not an interface's first, and for one that IMDS writes differently."""
    subnet, subnet6 = ip_network("10.0.0.0/24"), ip_network("2001:db8:0:1::/64")
    assert imds.interface_with(IPv4Address("10.0.0.100")) == Interface(SECOND, subnet)
    assert imds.interface_with(IPv4Address("10.0.0.20")) == Interface(PRIMARY, subnet)
    assert imds.interface_with(IPv6Address("2001:db8:0:1::64")) == Interface(SECOND, subnet6)
    assert imds.interface_with(IPv4Address("10.0.0.1")) is None


def test_an_interface_that_goes_meanwhile_is_no_error(imds: Imds, service: Service) -> None:
    """It is still in the list, and its addresses are a 404."""
    del service.values[f"{INTERFACES}/{SECOND}/local-ipv4s"]
    assert imds.interface_with(IPv4Address("10.0.0.100")) is None


def test_what_fails_now_and_then_is_asked_again(imds: Imds, service: Service, timer: Timer) -> None:
    """A 500, a throttled answer and a dropped connection are retried, each after a longer pause."""
    service.failures = [500, 429, None, None, 503]  # a kept connection may end at any time: that is no answer yet
    assert imds.interface_with(IPv4Address("10.0.0.100")) == Interface(SECOND, ip_network("10.0.0.0/24"))
    assert timer.time == pytest.approx(0.1 + 0.2 + 0.4 + 0.8)


def test_an_error_is_no_answer(imds: Imds, service: Service, timer: Timer) -> None:
    """What keeps failing ends in one line at the deadline, never in "no such address"."""
    service.failures = [500] * 100
    with pytest.raises(MetadataError) as caught:
        imds.interface_with(IPv4Address("10.0.0.100"))
    assert str(caught.value) == "IMDS answers 500"
    assert DEADLINE / 2 < timer.time < DEADLINE


def test_nobody_there_is_one_line(service: Service, timer: Timer) -> None:
    """A refused connection is retried, then told without the library's dump."""
    imds = Imds(HERE, 9, sleep=timer.sleep, now=timer.now)
    with pytest.raises(
        MetadataError, match=r"^IMDS does not answer: no connection \(Connection refused\); is the instance's "
    ):
        imds.identity()
    imds.close()


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (403, "IMDS answers 403; enable the instance's metadata endpoint"),
        (302, "IMDS answers 302 to GET mac"),
        (404, "IMDS has no mac"),
    ],
)
def test_what_asking_again_cannot_help_fails_at_once(
    imds: Imds, service: Service, timer: Timer, status: int, line: str
) -> None:
    """Metadata switched off, or a missing value, is told without waiting."""
    service.failures = [status]
    with pytest.raises(MetadataError) as caught:
        imds.identity()
    assert str(caught.value) == line
    assert timer.time == 0


def test_proxies_of_the_environment_are_not_used(imds: Imds, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would say who *it* is."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert imds.identity().instance_id == "i-0a"


def test_the_addresses_of_an_interface_are_those_of_both_families(imds: Imds) -> None:
    """Found by the MAC in any case; an interface of one family has no list of the other, one that is gone has none."""
    second = frozenset({IPv4Address("10.0.0.100"), IPv6Address("2001:db8:0:1::64")})
    assert imds.addresses_of(SECOND.upper()) == second
    assert imds.addresses_of(PRIMARY) == frozenset({IPv4Address("10.0.0.10"), IPv4Address("10.0.0.20")})
    assert imds.addresses_of("02:00:00:00:00:ff") is None


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (500, "^IMDS answers 500$"),
        (None, "^IMDS does not answer: the connection was closed without an answer; is the instance's"),
        (403, "enable the instance's metadata endpoint"),
    ],
)
def test_an_error_is_not_taken_for_a_lost_address(
    imds: Imds, service: Service, timer: Timer, failure: int | None, line: str
) -> None:
    """It is told at once: whoever polls asks again anyway."""
    service.failures = [failure, failure]
    with pytest.raises(MetadataError, match=line):
        imds.addresses_of(PRIMARY)
    assert timer.time == 0


SPOT, LIFECYCLE = "spot/instance-action", "autoscaling/target-lifecycle-state"
MAINTENANCE, REBALANCE = "events/maintenance/scheduled", "events/recommendations/rebalance"
NOW = 1548061243.0
"""21 Jan 2019 09:00:43 GMT, the date of the user guide's example."""


def maintenance(not_before: str, state: str = "active") -> str:
    """One event, spelled as in the user guide."""
    return f"""[
  {{
    "NotBefore" : "{not_before}",
    "Code" : "system-reboot",
    "Description" : "scheduled reboot",
    "EventId" : "instance-event-0d59937288b749b32",
    "NotAfter" : "21 Jan 2019 12:17:23 GMT",
    "State" : "{state}"
  }}
]"""


@pytest.fixture
def poller(service: Service, timer: Timer) -> Iterator[Imds]:
    """A client whose wall clock stands at NOW."""
    imds = Imds(HERE, service.port, sleep=timer.sleep, now=timer.now, wall=lambda: NOW)
    yield imds
    imds.close()


@pytest.mark.parametrize(
    ("path", "text", "notice"),
    [
        (SPOT, '{"action": "stop", "time": "2017-09-18T08:22:00Z"}', Notice("spot", "stop at 2017-09-18T08:22:00Z")),
        (LIFECYCLE, "Terminated", Notice("asg", "Terminated")),
        (LIFECYCLE, "Terminated\n", Notice("asg", "Terminated")),
        (LIFECYCLE, "InService", None),
        (LIFECYCLE, "Warmed:Terminated", None),
        (
            MAINTENANCE,
            maintenance("21 Jan 2019 10:00:43 GMT"),
            Notice("maintenance", "system-reboot at 21 Jan 2019 10:00:43 GMT"),
        ),
        (MAINTENANCE, maintenance("21 Jan 2019 10:00:44 GMT"), None),
        (
            MAINTENANCE,
            maintenance("20 Jan 2019 08:00:00 GMT"),
            Notice("maintenance", "system-reboot at 20 Jan 2019 08:00:00 GMT"),
        ),
        (MAINTENANCE, maintenance("21 Jan 2019 09:30:00 GMT", "canceled"), None),
        (MAINTENANCE, '[{"State": "completed"}]', None),
        (MAINTENANCE, "[]", None),
        (
            REBALANCE,
            '{"noticeTime": "2020-10-26T15:55:55Z"}',
            Notice("rebalance", "recommended at 2020-10-26T15:55:55Z"),
        ),
    ],
)
def test_a_notice_is_what_announces_the_end_of_this_node(
    poller: Imds, service: Service, path: str, text: str, notice: Notice | None
) -> None:
    """Any spot action, Terminated and no other state, an active maintenance within the hour, a recommendation."""
    assert poller.notice() is None
    service.values[path] = text
    assert poller.notice() == notice


def test_a_maintenance_far_away_does_not_hide_the_next_one(poller: Imds, service: Service) -> None:
    """The list is in no order, and those that are over stay in it."""
    events = [maintenance(f"{day} Jan 2019 09:30:00 GMT", state) for day, state in ((30, "active"), (21, "completed"))]
    service.values[MAINTENANCE] = ",".join([*events, maintenance("21 Jan 2019 09:30:00 GMT")]).replace("],[", ",")
    assert poller.notice() == Notice("maintenance", "system-reboot at 21 Jan 2019 09:30:00 GMT")


def test_the_most_urgent_notice_comes_first(poller: Imds, service: Service) -> None:
    """A spot instance often gets a recommendation before: the interruption says more."""
    service.values[REBALANCE] = '{"noticeTime": "2020-10-26T15:55:55Z"}'
    service.values[SPOT] = '{"action": "terminate", "time": "2020-10-26T15:57:55Z"}'
    notice = poller.notice()
    assert notice
    assert notice.kind == "spot"


def test_no_answer_is_no_notice_and_is_told_at_once(poller: Imds, service: Service, timer: Timer) -> None:
    """One try, without the retries that `identity` has."""
    service.failures = [503]
    with pytest.raises(MetadataError, match=r"^IMDS answers 503$"):
        poller.notice()
    assert timer.time == 0
    assert poller.notice() is None


def test_a_token_that_has_ended_costs_no_poll(poller: Imds, service: Service) -> None:
    """Every six hours; the value comes with the new token in the same try."""
    service.values[LIFECYCLE] = "Terminated"
    poller.notice()
    service.tokens += 1  # the service has forgotten ours
    assert poller.notice() == Notice("asg", "Terminated")
