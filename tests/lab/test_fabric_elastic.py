"""Elastic IPs of the lab's VPC: an address outside that leads to a private one, while they are associated."""

import socket
import threading

import pytest

from lab.network.fabric import CLIENT_IN_ADDRESS, CLIENT_OUT_ADDRESS, Fabric
from tests.lab.test_fabric import PUBLIC, UNOWNED, Fetch, Ping, Workers


def test_an_elastic_ip_that_is_not_associated_is_silent(fabric: Fabric, workers: Workers, ping: Ping) -> None:
    """Before, between and after; and inside of the VPC always, where only the private address counts."""
    a, client = workers[0], fabric.client_out
    assert not ping(client, PUBLIC, timeout=0.3)
    fabric.associate(PUBLIC, a.address)
    assert ping(client, PUBLIC)
    assert not ping(fabric.client_in, PUBLIC, timeout=0.3)
    assert ping(fabric.client_in, a.address)
    fabric.disassociate(PUBLIC)
    fabric.disassociate(PUBLIC)
    assert not ping(client, PUBLIC, timeout=0.3)
    fabric.associate(PUBLIC, UNOWNED)
    assert not ping(client, PUBLIC, timeout=0.3)
    fabric.associate(PUBLIC, a.address)
    assert ping(client, PUBLIC)


def test_reassociation_acts_at_once(fabric: Fabric, workers: Workers, fetch: Fetch) -> None:
    """New connections reach the new partner, also from the same port; one under way is not carried on with the old."""
    a, b = workers
    for worker in workers:
        worker.start_backend(port=80)

    def begin() -> socket.socket:
        connection = socket.create_connection((PUBLIC, 80), 1, (CLIENT_OUT_ADDRESS, 5000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leaves the port free
        connection.settimeout(0.3)
        return connection

    def ask(connection: socket.socket) -> str:
        connection.send(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(1000).decode().split()[-2]

    fabric.associate(PUBLIC, a.address)
    with fabric.client_out.call(begin) as connection:
        fabric.associate(PUBLIC, b.address)
        with pytest.raises((TimeoutError, ConnectionResetError)):
            ask(connection)
    for worker in (b, a, b):
        fabric.associate(PUBLIC, worker.address)
        with fabric.client_out.call(begin) as connection:
            assert ask(connection) == f"{worker.name}/host"
    assert fabric.source_check_drops() == {}


def test_an_association_is_of_one_public_and_one_private_address(fabric: Fabric, workers: Workers, ping: Ping) -> None:
    """The private address takes its newest public one, and the others do not mind."""
    a, b = workers
    other, third = "203.0.113.101", "203.0.113.102"
    fabric.associate(PUBLIC, a.address)
    fabric.associate(other, b.address)
    assert ping(fabric.client_out, PUBLIC)
    assert ping(fabric.client_out, other)
    fabric.associate(third, a.address)
    reached = [ping(fabric.client_out, public, timeout=0.3) for public in (PUBLIC, other, third)]
    assert reached == [False, True, True]


def test_the_outside_sees_an_associated_address_as_its_public_one(fabric: Fabric) -> None:
    """Also what begins inside; the source check, before the translation, wants the private one."""
    guest = fabric.client_in
    fabric.associate(PUBLIC, CLIENT_IN_ADDRESS)
    guest.ip(f"address add {PUBLIC}/32 dev lo")
    with fabric.client_out.listen(CLIENT_OUT_ADDRESS, 9000, socket.SOCK_DGRAM) as inbox:
        inbox.settimeout(0.3)
        for source in (CLIENT_IN_ADDRESS, PUBLIC):
            with guest.listen(source, 0, socket.SOCK_DGRAM) as outbox:
                outbox.sendto(b"", (CLIENT_OUT_ADDRESS, 9000))
        assert inbox.recvfrom(1)[1][0] == PUBLIC
        with pytest.raises(TimeoutError):
            inbox.recv(1)
    assert fabric.source_check_drops() == {("eni-client-in", PUBLIC): 1}


def test_an_elastic_ip_carries_full_segments(fabric: Fabric, workers: Workers) -> None:
    """From jumbo frames inside to the outside's 1500 bytes, both ways: nothing is lost over sizes or checksums."""
    a, size = workers[0], 500_000
    fabric.associate(PUBLIC, a.address)
    with (
        a.namespace.listen(a.address, 80) as listener,
        fabric.client_out.call(lambda: socket.create_connection((PUBLIC, 80), 1)) as client,
    ):
        server, _ = listener.accept()
        with server:
            server.settimeout(1)
            for sender, receiver in ((server, client), (client, server)):
                thread = threading.Thread(target=sender.sendall, args=(bytes(size),))
                thread.start()
                left = size
                while left:
                    chunk = len(receiver.recv(65536))
                    assert chunk
                    left -= chunk
                thread.join()
