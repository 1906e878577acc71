"""From which of this node's ports an observer connects past NAT, and what is left of them for others."""

import socket
from contextlib import closing
from ipaddress import ip_address

import pytest

from floatingip.core.model import Address
from floatingip.edges import straight
from floatingip.edges.probes.tcp import TcpProber
from floatingip.runtime import peers
from lab.network.netns import Namespace
from tests.lab.probing import ANSWERED, LOST, SILENCE, families, probe
from tests.lab.test_reach import NO_OBSERVERS, close
from tests.lab.test_straight import _impostor, _pod, lead, own  # noqa: F401

PORT, OTHER = 8080, 8081


def few_ports(near: Namespace, first: int, last: int) -> None:
    """The node has no more ports for connections than these."""
    near.run(["sh", "-c", f"echo {first} {last} > /proc/sys/net/ipv4/ip_local_port_range"])


def everywhere(address: Address) -> str:
    return "0.0.0.0" if address.version == 4 else "::"


def connect(near: Namespace, address: Address, port: int, from_port: int = 0) -> None:
    """As any program of the node does, and ask for a page.  It is the other side that ends the connection."""

    def run() -> None:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with closing(socket.socket(family, socket.SOCK_STREAM)) as plain:
            if from_port:
                plain.bind(("", from_port))
            plain.settimeout(5)
            plain.connect((str(address), port))
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while plain.recv(4096):
                pass

    near.call(run)


def knows_ranges() -> bool:
    """Whether a socket can have a range of ports of its own, as from Linux 6.3 on."""
    with closing(socket.socket()) as plain:
        try:
            plain.getsockopt(socket.IPPROTO_IP, straight._PORT_RANGE)
        except OSError:
            return False
        return True


@families
@pytest.mark.skipif(not knows_ranges(), reason="needs Linux 6.3")
def test_the_ports_of_ended_checks_are_left_to_others(near: Namespace, holder: Namespace, address: Address) -> None:
    """NodePorts are checked each second, at each address, and what a check leaves behind stays for a minute."""
    few_ports(near, 45000, 45003)
    with closing(holder.listen(everywhere(address), PORT)) as server:
        for _ in range(4):
            assert probe(near, lambda: TcpProber(address, PORT, 2.0))[0] is ANSWERED
            server.accept()[0].close()
        with closing(holder.listen(everywhere(address), OTHER)):
            near.call(lambda: socket.create_connection((str(address), OTHER), 5).close())


@families
def test_no_port_is_taken_from_which_conntrack_has_a_connection_that_is_over(
    near: Namespace, holder: Namespace, impostor: None, address: Address
) -> None:
    """The kernel makes that one anew with the next first packet, and asks NAT about it."""
    lead(near, address)
    few_ports(near, 45000, 45001)
    connect(near, address, PORT, from_port=45001)  # of the two the one that the kernel would give first
    holder.nft(SILENCE)
    assert probe(near, lambda: TcpProber(address, PORT, 0.3))[0] is LOST


@families
def test_without_a_free_port_a_check_is_made_all_the_same(
    near: Namespace, holder: Namespace, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NAT may lead it elsewhere then; and it is said."""
    monkeypatch.setattr(straight, "_obstacle", straight._Obstacle())
    few_ports(near, 45000, 45001)
    with closing(holder.listen(everywhere(address), PORT)), closing(holder.listen(everywhere(address), OTHER)):
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6

        def elsewhere() -> socket.socket:
            plain = socket.socket(family, socket.SOCK_STREAM)
            plain.connect((str(address), OTHER))
            return plain

        with closing(near.call(elsewhere)), closing(near.call(elsewhere)):
            assert probe(near, lambda: TcpProber(address, PORT, 2.0))[0] is ANSWERED
    assert straight.obstacle() == "Address already in use"


@families
def test_an_older_kernel_leads_nothing_elsewhere_either(
    near: Namespace, holder: Namespace, impostor: None, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 6.3 a socket must be bound to its port: also one that has its address already."""
    monkeypatch.setattr(straight, "_PORT_RANGE", 254)  # which no kernel knows
    lead(near, address)
    close(holder, NO_OBSERVERS, f"tcp dport {PORT} drop;")
    assert probe(near, lambda: TcpProber(address, PORT, 0.3))[0] is LOST
    assert not near.call(lambda: peers.reaches(address, 9807, ip_address(own(address))))
