"""The metadata service's client against a small IMDSv2 on loopback, which each test makes fail in its way."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from floatingip.core.errors import MetadataError
from floatingip.core.node import Identity, Interface, Notice
from floatingip.edges.imds import DEADLINE, Imds
from tests.edges.imds_service import (
    HERE,
    INTERFACES,
    LIFECYCLE,
    MAINTENANCE,
    PRIMARY,
    PUT,
    REBALANCE,
    SECOND,
    SPOT,
    Service,
    serving,
)


class Timer:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.time = 0.0

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def now(self) -> float:
        return self.time


@pytest.fixture(name="service")
def _service() -> Iterator[Service]:
    with serving() as service:
        yield service


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
    assert service.asked.count(PUT) == 1
    service.token = b"AQAEanother"  # the service has forgotten ours
    imds.identity()
    assert service.asked.count(PUT) == 2


def test_the_interface_with_an_address_is_found_with_its_subnet(imds: Imds) -> None:
    """Also for an address that is not an interface's first, and for one that IMDS writes differently."""
    subnet, subnet6 = ip_network("10.0.0.0/24"), ip_network("2001:db8:0:1::/64")
    assert imds.interface_with(IPv4Address("10.0.0.100")) == Interface(SECOND, subnet, as_primary=False)
    assert imds.interface_with(IPv4Address("10.0.0.20")) == Interface(PRIMARY, subnet, as_primary=False)
    assert imds.interface_with(IPv6Address("2001:db8:0:1::64")) == Interface(SECOND, subnet6)
    assert imds.interface_with(IPv4Address("10.0.0.10")) == Interface(PRIMARY, subnet)
    assert imds.interface_with(IPv4Address("10.0.0.1")) is None


def test_an_interface_that_goes_meanwhile_is_no_error(imds: Imds, service: Service) -> None:
    """It is still in the list, and its addresses are a 404."""
    del service.values[f"{INTERFACES}/{SECOND}/local-ipv4s"]
    assert imds.interface_with(IPv4Address("10.0.0.100")) is None


def test_what_fails_now_and_then_is_asked_again(imds: Imds, service: Service, timer: Timer) -> None:
    """A 500, a throttled answer and a dropped connection are retried, each after a longer pause."""
    service.failures = [500, 429, None, None, 503]  # a kept connection may end at any time: that is no answer yet
    assert imds.interface_with(IPv4Address("10.0.0.100")) == Interface(
        SECOND, ip_network("10.0.0.0/24"), as_primary=False
    )
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
    second = {"10.0.0.61", "10.0.0.100", "2001:db8:0:1::64", "2001:db8:0:2::64"}
    assert imds.addresses_of(SECOND.upper()) == frozenset(map(ip_address, second))
    assert imds.addresses_of(PRIMARY) == frozenset({IPv4Address("10.0.0.10"), IPv4Address("10.0.0.20")})
    assert imds.addresses_of("02:00:00:00:00:ff") is None


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
    service.values[path] = text.encode()
    assert poller.notice() == notice


def test_a_maintenance_far_away_does_not_hide_the_next_one(poller: Imds, service: Service) -> None:
    """The list is in no order, and those that are over stay in it."""
    events = [maintenance(f"{day} Jan 2019 09:30:00 GMT", state) for day, state in ((30, "active"), (21, "completed"))]
    service.values[MAINTENANCE] = (
        ",".join([*events, maintenance("21 Jan 2019 09:30:00 GMT")]).replace("],[", ",").encode()
    )
    assert poller.notice() == Notice("maintenance", "system-reboot at 21 Jan 2019 09:30:00 GMT")


def test_the_most_urgent_notice_comes_first(poller: Imds, service: Service) -> None:
    """A spot instance often gets a recommendation before: the interruption says more."""
    service.values[REBALANCE] = b'{"noticeTime": "2020-10-26T15:55:55Z"}'
    service.values[SPOT] = b'{"action": "terminate", "time": "2020-10-26T15:57:55Z"}'
    notice = poller.notice()
    assert notice
    assert notice.kind == "spot"


@pytest.mark.parametrize(
    ("ask", "well"),
    [
        (lambda imds: imds.addresses_of(PRIMARY), {IPv4Address("10.0.0.10"), IPv4Address("10.0.0.20")}),
        (Imds.notice, None),
    ],
    ids=["addresses", "notice"],
)
@pytest.mark.parametrize("failures", [[503], [403], [None, None]], ids=["busy", "off", "closed"])
def test_an_error_is_no_answer_to_what_is_polled_and_is_told_at_once(
    poller: Imds,
    service: Service,
    timer: Timer,
    ask: Callable[[Imds], object],
    well: object,
    failures: list[int | None],
) -> None:
    """Neither a lost address nor no notice; one try, without the retries of `identity`: it is asked again anyway."""
    service.failures = failures.copy()
    with pytest.raises(MetadataError):
        ask(poller)
    assert timer.time == 0
    assert ask(poller) == well


def test_a_token_that_has_ended_costs_no_poll(poller: Imds, service: Service) -> None:
    """Every six hours; the value comes with the new token in the same try."""
    service.values[LIFECYCLE] = b"Terminated"
    poller.notice()
    service.token = b"AQAEanother"  # the service has forgotten ours
    assert poller.notice() == Notice("asg", "Terminated")
