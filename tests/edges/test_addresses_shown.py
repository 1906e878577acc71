"""Addresses that look like another one: with a zone, or IPv4 in the form of IPv6; and other odd forms that IMDS has."""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address

import pytest

from floatingip.core.errors import MetadataError
from floatingip.edges.ec2.cloud import Ec2Cloud
from floatingip.edges.imds import Imds
from tests.edges.ec2_server import IPV6, Server, interface, interfaces, listed
from tests.edges.strangers import Stranger

pytest_plugins = ["tests.edges.ec2_fixtures"]

MAC = "02:00:00:00:00:01"
MACS = "network/interfaces/macs/"
OF_MAC = f"{MACS}{MAC}/"
KNOWN = {
    "mac": MAC,
    "placement/region": "us-west-2",
    "placement/availability-zone": "us-west-2a",
    "instance-id": "i-0a",
    f"{OF_MAC}vpc-id": "vpc-1a",
    f"{OF_MAC}subnet-id": "subnet-1a",
    f"{OF_MAC}local-ipv4s": "10.0.0.11",
    f"{OF_MAC}security-group-ids": "sg-1a",
    OF_MAC: "ipv6s\nlocal-ipv4s\nmac",
    MACS: f"{MAC}/",
}

ODD = (f"{IPV6}%eth0", "::ffff:10.0.0.100", f"{IPV6}\n::ffff:10.0.0.100")
Metadata = Callable[..., Imds]


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    """IMDS that gives this token, and these values beside those that are known."""
    started: list[Stranger] = []

    def start(token: str = "token", values: Mapping[str, str] = {}) -> Imds:
        def speak(connection: socket.socket, request: bytes) -> None:
            method, target = request.decode().split()[:2]
            said = token if method == "PUT" else {**KNOWN, **values}.get(target.removeprefix("/latest/meta-data/"))
            status, body = ("200 OK", said) if said is not None else ("404 Not Found", "")
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

        stranger = Stranger(speak)
        started.append(stranger)
        threading.Thread(target=stranger.serve, daemon=True).start()
        return Imds(IPv4Address("127.0.0.1"), stranger.port, sleep=lambda _: None)

    yield start
    for stranger in started:
        stranger.stop()


@pytest.mark.parametrize("shown", ODD)
def test_such_an_address_of_imds_says_nothing(metadata: Metadata, shown: str) -> None:
    """A holder would be taken for one that has lost its address."""
    with pytest.raises(MetadataError, match="cannot be read"):
        metadata(values={f"{OF_MAC}ipv6s": shown}).addresses_of(MAC)
    with pytest.raises(MetadataError, match="cannot be read"):
        metadata(values={f"{OF_MAC}ipv6s": shown}).interface_with(IPV6)


@pytest.mark.parametrize("shown", ODD)
def test_such_an_address_of_ec2s_is_not_a_missing_one(server: Server, cloud: Ec2Cloud, shown: str) -> None:
    """The interface would be taken for one without the address."""
    addresses = listed(f"<ipv6Address>{each}</ipv6Address>" for each in shown.split())
    server.replies[""] = interfaces(interface(ipv6AddressesSet=addresses))
    [eni] = cloud.describe_enis("lab")
    assert "address" in eni.unread


@pytest.mark.parametrize("token", ["token\n", "token\r\n"])
def test_a_token_may_end_with_its_line(metadata: Metadata, token: str) -> None:
    """As each other value may, and as those write it that imitate IMDS."""
    assert metadata(token).identity().instance_id == "i-0a"


@pytest.mark.parametrize("token", ["to\nken", "token \r\n", "\n", ""])
def test_no_other_line_is_in_a_token(metadata: Metadata, token: str) -> None:
    """It would be sent as another header."""
    with pytest.raises(MetadataError, match="a token that is none"):
        metadata(token).identity()


def test_a_zone_of_a_region_whose_name_only_begins_alike_is_another_ones(metadata: Metadata) -> None:
    """One of the two is of another machine."""
    with pytest.raises(MetadataError, match="one of them is wrong"):
        metadata(values={"placement/availability-zone": "us-west-22a"}).identity()


@pytest.mark.parametrize("zone", ["us-west-2a", "us-west-2-lax-1a", "us-west-2-wl1-las-wlz-1"])
def test_local_and_wavelength_zones_are_of_their_region(metadata: Metadata, zone: str) -> None:
    """Their names go on after the Region's."""
    assert metadata(values={"placement/availability-zone": zone}).identity().zone == zone
