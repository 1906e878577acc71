"""The address that Kubernetes has of a node, before the node has it: one of IPv6 comes some time after a boot."""

from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.commands.process import address_in_kubernetes
from floatingip.core.model import Address
from floatingip.runtime.status_server import StatusServer
from tests.edges.observers import HOLDER
from tests.edges.test_status_server import fetch

OWN = IPv4Address("10.0.0.11")
ABSENT = (IPv6Address("2001:db8:0:1::b"), IPv4Address("192.0.2.11"))


def server(port: int, address: Address, kubernetes: Address | None = None) -> StatusServer:
    """One that answers everybody."""
    return StatusServer(address, port, lambda *_: (HTTPStatus.OK, "ok"), lambda _: True, kubernetes=kubernetes)


@pytest.mark.parametrize("absent", ABSENT)
def test_an_address_that_is_not_there_yet_ends_nothing(port: int, absent: Address) -> None:
    """The node's own is answered at meanwhile, where peers ask."""
    started = server(port, IPv4Address(HOLDER), absent)
    started.start()
    try:
        assert started.absent == absent
        assert fetch(port, "/readyz")[0] == HTTPStatus.OK
    finally:
        started.stop()


def test_an_address_that_is_there_is_not_absent(port: int) -> None:
    started = server(port, IPv4Address(HOLDER), IPv4Address("127.0.0.7"))
    started.start()
    try:
        assert started.absent is None
    finally:
        started.stop()


def test_a_port_that_somebody_has_at_kubernetes_address_is_an_error(port: int) -> None:
    """The kubelet would ask somebody else."""
    other = server(port, IPv4Address("127.0.0.7"))
    other.start()
    try:
        with pytest.raises(OSError, match="in use"):
            server(port, IPv4Address("127.0.0.8"), IPv4Address("127.0.0.7"))
    finally:
        other.stop()


def test_the_nodes_own_address_must_be_there(port: int) -> None:
    """A pod without the host's network would be asked by nobody."""
    with pytest.raises(OSError, match="Cannot assign"):
        server(port, ABSENT[1])


@pytest.mark.parametrize(
    "told",
    [
        "::",
        "0.0.0.0",
        "127.0.0.1",
        "::1",
        "fe80::1",
        "169.254.0.1",
        "224.0.0.1",
        "ff02::1",
        f"::ffff:{OWN}",
        f" {OWN}\n",
    ],
)
def test_what_is_no_other_address_of_a_node_is_none(told: str) -> None:
    """At the unspecified one it would listen at the floating address, too."""
    assert address_in_kubernetes(told, OWN) is None


def test_blanks_around_an_address_are_no_part_of_it() -> None:
    """A script that writes the manifest may leave them."""
    assert address_in_kubernetes(" 2001:db8:0:1::b\r\n", OWN) == ABSENT[0]
