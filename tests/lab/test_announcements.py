"""
An address moves between ENIs of one subnet: neighbours with an old entry lose it until they are told, others do not.

The announcements are the product's own.
"""

import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address

import pytest

from floatingip.edges.kernel.announce import Announcer
from lab.network.fabric import CLIENT_IN_ADDRESS, GATEWAY, IPV6_GATEWAY, Fabric
from lab.network.netns import Namespace
from lab.network.tables import ROUTER_MAC
from lab.network.worker import Worker
from tests.lab import test_fabric, test_ipv6
from tests.lab.test_fabric import neighbour

Workers = tuple[Worker, Worker]
Ping = Callable[..., bool]

MACS = "02:00:00:00:00:64", "02:00:00:00:00:65"
ENIS = "eni-a", "eni-b"
LINK = "ens6"
WATCHED = 3.0
"""Seconds for which a loss is looked at; the kernel's own entries last ten times as long."""


@dataclass(frozen=True)
class Family:
    """A floating address, how a worker holds it, and how another one reaches it by the router."""

    address: str
    hold: Callable[[Worker, str], None]
    gateway: str


IPV4 = Family(test_fabric.FLOATING, test_fabric.hold, GATEWAY)
IPV6 = Family(test_ipv6.FLOATING, test_ipv6.hold, IPV6_GATEWAY)
BOTH = pytest.mark.parametrize("family", [IPV4, IPV6], ids=["ipv4", "ipv6"])


def moved(fabric: Fabric, workers: Workers, ping: Ping, family: Family) -> None:
    """Plug in an ENI at each worker, let the client learn that the first has the address, and move it to the other."""
    for worker, eni_id, mac in zip(workers, ENIS, MACS, strict=True):
        fabric.plug(eni_id, mac, [], worker.namespace, LINK)
        family.hold(worker, LINK)
    fabric.assign(ENIS[0], family.address)
    assert ping(fabric.client_in, family.address)
    assert neighbour(fabric.client_in, family.address) == MACS[0]
    fabric.assign(ENIS[1], family.address)


def tell(worker: Worker, mac: str, address: str) -> None:
    """The worker announces the address, as having this MAC."""

    def send() -> None:
        with closing(Announcer()) as announcer:
            announcer.announce(ip_address(address), socket.if_nametoindex(LINK), mac)

    worker.namespace.call(send)


def believes(fabric: Fabric, address: str, mac: str) -> bool:
    """Does the client have this entry, after all that was announced has had the time to reach it?"""
    time.sleep(0.3)
    return neighbour(fabric.client_in, address) == mac


@BOTH
def test_a_client_with_an_old_entry_loses_the_address_until_it_is_told(
    fabric: Fabric, workers: Workers, ping: Ping, family: Family
) -> None:
    """Not for a moment, but for as long as anybody looks; the client outside loses nothing."""
    moved(fabric, workers, ping, family)
    end = time.monotonic() + WATCHED
    while time.monotonic() < end:
        assert not ping(fabric.client_in, family.address, timeout=0.2)
        assert ping(fabric.client_out, family.address)
    assert neighbour(fabric.client_in, family.address) == MACS[0]
    tell(workers[1], MACS[1], family.address)
    assert believes(fabric, family.address, MACS[1])
    assert ping(fabric.client_in, family.address)
    assert fabric.source_check_drops() == {}


@BOTH
def test_a_fabric_can_keep_announcements_to_itself(
    fabric: Fabric, workers: Workers, ping: Ping, family: Family
) -> None:
    """Then they change nothing; the next one is heard again."""
    moved(fabric, workers, ping, family)
    fabric.carry_announcements = False
    tell(workers[1], MACS[1], family.address)
    assert believes(fabric, family.address, MACS[0])
    assert not ping(fabric.client_in, family.address, timeout=0.3)
    fabric.carry_announcements = True
    tell(workers[1], MACS[1], family.address)
    assert believes(fabric, family.address, MACS[1])


@BOTH
def test_only_the_owner_is_heard(fabric: Fabric, workers: Workers, ping: Ping, family: Family) -> None:
    """Neither who owned the address before, nor the owner with a MAC that is not its; when nobody owns it, nobody."""
    a, b = workers
    moved(fabric, workers, ping, family)
    tell(b, MACS[1], family.address)
    assert believes(fabric, family.address, MACS[1])
    tell(a, MACS[0], family.address)
    tell(a, MACS[1], family.address)
    tell(b, MACS[0], family.address)
    assert believes(fabric, family.address, MACS[1])
    assert ping(fabric.client_in, family.address)
    fabric.assign(ENIS[0], family.address)
    tell(b, MACS[1], family.address)
    assert believes(fabric, family.address, MACS[1])
    tell(a, MACS[0], family.address)
    assert believes(fabric, family.address, MACS[0])
    fabric.unassign(ENIS[0], family.address)
    tell(b, MACS[1], family.address)
    assert believes(fabric, family.address, MACS[0])


@BOTH
def test_an_old_entry_is_not_confirmed(fabric: Fabric, workers: Workers, ping: Ping, family: Family) -> None:
    """The MAC that it names is asked, and says nothing for an address that is elsewhere; asked anew, the VPC tells."""
    client = fabric.client_in
    moved(fabric, workers, ping, family)
    for version in ("ipv4", "ipv6"):
        client.sysctl({f"{version}/neigh/eth0/retrans_time_ms": 100})
    client.ip(f"neigh replace {family.address} lladdr {MACS[0]} nud probe dev eth0")
    assert settled(client, family.address) == "FAILED"
    assert ping(client, family.address)
    client.ip(f"neigh replace {family.address} lladdr {MACS[1]} nud probe dev eth0")
    assert settled(client, family.address) == "REACHABLE"


def settled(namespace: Namespace, address: str) -> str:
    """What the kernel thinks of its entry after it has asked."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        [entry] = namespace.show(f"neigh show to {address} dev eth0")
        if entry["state"] != ["PROBE"]:
            return str(entry["state"][0])
        time.sleep(0.05)
    return "PROBE"


@BOTH
def test_what_a_worker_sends_by_the_gateway_is_never_lost(
    fabric: Fabric, workers: Workers, ping: Ping, family: Family
) -> None:
    """That is how the product probes: without an announcement, and with an old entry on the same link."""
    a, b = workers
    fabric.plug(ENIS[1], MACS[1], [], b.namespace, LINK)
    family.hold(b, LINK)
    fabric.assign(b.eni_id, family.address)
    a.namespace.ip(f"neigh replace {family.address} lladdr {b.mac} dev eth0")
    a.namespace.ip(f"route add {family.address} via {family.gateway} dev eth0 onlink")
    fabric.assign(ENIS[1], family.address)
    assert ping(a.namespace, family.address)
    assert neighbour(a.namespace, family.gateway) == ROUTER_MAC


def test_who_asks_for_an_address_of_its_own_gets_no_answer(fabric: Fabric, workers: Workers) -> None:
    """Or it would take itself for a duplicate; and who asks one MAC only gets one if the address is that MAC's."""
    owner, everybody = workers[0], "ff:ff:ff:ff:ff:ff"
    assert answers(fabric.client_in, everybody, owner.address) == owner.mac
    assert answers(fabric.client_in, owner.mac, owner.address) == owner.mac
    assert answers(fabric.client_in, MACS[0], owner.address) is None
    assert answers(fabric.client_in, everybody, CLIENT_IN_ADDRESS) is None
    assert answers(fabric.client_in, everybody, GATEWAY) == ROUTER_MAC


def answers(namespace: Namespace, asked: str, address: str) -> str | None:
    """The MAC that an ARP request for the address, sent to the MAC `asked`, brings within 0.3 s."""
    arp = 0x0806

    def ask() -> str | None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(arp)) as link:
            link.bind(("eth0", arp))
            link.settimeout(0.3)
            sender = link.getsockname()[4]
            head = bytes.fromhex("0806 0001 0800 0604 0001")
            # The sender's address is of no matter to the VPC, but must not make it an announcement.
            about = sender + ip_address("0.0.0.0").packed + bytes(6) + ip_address(address).packed
            link.send(bytes.fromhex(asked.replace(":", "")) + sender + head + about)
            try:
                while True:
                    frame = link.recv(2048)
                    if frame[20:22] == b"\0\2" and frame[28:32] == ip_address(address).packed:
                        return frame[22:28].hex(":")
            except TimeoutError:
                return None

    return namespace.call(ask)
