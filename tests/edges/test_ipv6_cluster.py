"""In a cluster of IPv6 a pod with the host's network has the node's IPv6 address, and kubelet asks it there."""

import http.client
from contextlib import closing
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address

import pytest

from floatingip.commands.process import address_in_kubernetes
from floatingip.core.health import HealthState
from floatingip.core.model import Address
from floatingip.core.peer import Sight
from floatingip.core.snapshot import AddressSnapshot, Snapshot
from floatingip.core.word import Status
from floatingip.runtime.desk import Desk
from floatingip.runtime.roster import Roster
from floatingip.runtime.status_server import StatusServer
from tests.edges.observers import HOLDER, PATIENCE

NODE = IPv6Address("2001:db8:0:1::b")


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("2001:db8:0:1::b", NODE),
        ("2001:DB8:0:1:0::B", NODE),
        (HOLDER, None),
        ("", None),
        ("node", None),
        ("fe80::1%1", None),
    ],
)
def test_where_kubernetes_has_the_node_is_known_where_that_is_elsewhere(told: str, address: Address | None) -> None:
    """Not in a cluster of IPv4; and what is no address is none."""
    assert address_in_kubernetes(told, IPv4Address(HOLDER)) == address


def test_it_answers_there_too(port: int) -> None:
    """At the same port, as the manifest's probes name it."""
    server = StatusServer(
        IPv4Address(HOLDER),
        port,
        lambda target, source: (HTTPStatus.OK, f"{target} {source}"),
        lambda _: True,
        kubernetes=IPv6Address("::1"),
    )
    server.start()
    try:
        for host in (HOLDER, "::1"):
            with closing(http.client.HTTPConnection(host, port, timeout=PATIENCE)) as connection:
                connection.request("GET", "/readyz")
                assert connection.getresponse().read().decode() == f"/readyz {host if host == '::1' else '127.0.0.1'}"
    finally:
        server.stop()


def test_the_kubelet_has_its_place_there_and_is_told_why(port: int) -> None:
    """It asks from the node's own address."""
    address = AddressSnapshot("10.0.0.100", is_holder=False, health=HealthState.UP, not_ready="no slot")
    snapshot = Snapshot(0.0, Status("lab", "i-a"), (address,))

    def desk(kubernetes: Address | None) -> Desk:
        roster = Roster("i-a", lambda: None)
        return Desk(
            IPv4Address(HOLDER),
            lambda: snapshot,
            lambda _: "",
            lambda: None,
            roster,
            lambda *_: Sight.UNTRIED,
            lambda: 0.0,
            kubernetes=kubernetes,
        )

    assert desk(NODE).knows(str(NODE))
    assert desk(NODE).answer("/readyz", str(NODE))[1] == "10.0.0.100: no slot"
    assert not desk(None).knows(str(NODE))
