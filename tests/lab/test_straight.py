"""What this node asks of another one goes there, though NAT leads it to a pod: as kube-proxy does for the `externalIPs`
of a Service, which anybody may make in a namespace of theirs.
"""

import http.server
import socket
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address

import pytest

from floatingip.core.model import Address
from floatingip.core.word import Held, Status, to_peer
from floatingip.edges import straight
from floatingip.edges.probes.icmp import IcmpProber
from floatingip.edges.probes.tcp import TcpProber
from floatingip.runtime import peers
from lab.network.netns import Namespace
from tests.lab.probing import ANSWERED, LOST, SILENCE, families, is_own, outcomes, probe, serving
from tests.lab.test_reach import NO_OBSERVERS, NO_PING, close
from tests.lab.test_reach import probe as reach
from tests.waiting import until

POD = {4: "10.9.1.2", 6: "2001:db8:8::2"}
PODS_PORT = 8000
LEAD = """table inet proxy {{
    chain services {{ {family} daddr {to} meta l4proto tcp dnat {family} to {pod}; }};
    chain out {{ type nat hook output priority -100; jump services; }};
    chain back {{ type nat hook postrouting priority 100; {family} daddr {at} masquerade; }}; }}"""

LEAD_ALL = """table {family} proxy {{
    chain out {{ type nat hook output priority -100; {family} daddr {to} dnat to {pod}; }};
    chain back {{ type nat hook postrouting priority 100; {family} daddr {pod} masquerade; }}; }}"""


@pytest.fixture(name="pod")
def _pod(near: Namespace, holder: Namespace) -> Iterator[Namespace]:
    """A pod of the asking node."""
    namespace = Namespace("pod")
    namespace.create()
    near.ip(
        "link add cali type veth peer name eth0 netns pod",
        "address add 10.9.1.1/24 dev cali",
        "address add 2001:db8:8::1/64 dev cali nodad",
        "link set cali up",
    )
    namespace.ip(
        "address add 10.9.1.2/24 dev eth0",
        "address add 2001:db8:8::2/64 dev eth0 nodad",
        "link set eth0 up",
        "route add default via 10.9.1.1",
        "route add default via 2001:db8:8::1",
    )
    until(lambda: near.show("link show cali")[0]["operstate"] == "UP")
    until(lambda: is_own(near, "2001:db8:8::1") and is_own(namespace, POD[6]))
    yield namespace
    namespace.delete()


def lead(near: Namespace, address: Address) -> None:
    """From now on all TCP connections of the node to that address go to the pod."""
    family, at = ("ip", POD[4]) if address.version == 4 else ("ip6", f"[{POD[6]}]")
    pod = f"{at}:{PODS_PORT}"
    near.nft(LEAD.format(family=family, to=address, pod=pod, at=POD[address.version]))


def own(address: Address) -> str:
    return "10.9.0.1" if address.version == 4 else "2001:db8:9::1"


class _Impostor(http.server.BaseHTTPRequestHandler):
    """Says what the holder's observer could say."""

    def do_GET(self) -> None:
        held = Held("eni-attach-1", leaving="a pod says so")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(to_peer(Status("ours", "i-b", {"10.0.0.100": held}), {}, {}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(name="impostor")
def _impostor(pod: Namespace, address: Address) -> Iterator[None]:
    """The pod answers as an observer does."""
    with serving(pod, address.version, PODS_PORT, _Impostor):
        yield


@families
@pytest.mark.parametrize("listens", [True, False], ids=["listening", "refusing"])
def test_a_pod_keeps_no_dead_holder_s_address_up(
    near: Namespace, holder: Namespace, pod: Namespace, listens: bool, address: Address
) -> None:
    """It would never be moved (R4): on each node the pod would answer, or refuse, in the address' name."""
    lead(near, address)
    close(holder, NO_PING, NO_OBSERVERS)
    with closing(pod.listen("0.0.0.0" if address.version == 4 else "::", PODS_PORT if listens else 1)):
        assert outcomes(reach(near, address)) == [LOST] * 3


@families
def test_a_pod_answers_no_ping_for_a_dead_holder(
    near: Namespace, holder: Namespace, pod: Namespace, address: Address
) -> None:
    """As where NAT gives a pod an address that it names, whatever the protocol (Calico's floatingIPs): it would be UP
    for ever, on the pod's node.
    """
    family = "ip" if address.version == 4 else "ip6"
    near.nft(LEAD_ALL.format(family=family, to=address, pod=POD[address.version]))
    assert probe(near, lambda: IcmpProber(address, 0.5))[0] is ANSWERED
    close(holder, NO_PING)
    assert probe(near, lambda: IcmpProber(address, 0.5))[0] is LOST


@families
def test_a_holder_is_reached_though_a_pod_would_answer_for_it(
    near: Namespace, holder: Namespace, pod: Namespace, address: Address
) -> None:
    """What a pod's Service leads to it takes no answer from this node either: by TCP alone the address is UP."""
    lead(near, address)
    close(holder, NO_PING)
    assert outcomes(reach(near, address)) == [LOST, ANSWERED, ANSWERED]


@families
def test_a_pod_speaks_for_no_dead_observer(
    near: Namespace, holder: Namespace, impostor: None, address: Address
) -> None:
    """It could vouch for whoever has died, or let it seem that a node lives whose observer is just restarted (R3)."""
    lead(near, address)
    close(holder, NO_OBSERVERS)
    answer = near.call(lambda: peers.Contact(address, 9807, "i-a").ask())
    assert (answer.status, answer.refused) == (None, False)
    assert not near.call(lambda: peers.reaches(address, 9807, ip_address(own(address))))


@families
def test_a_pod_answers_for_no_node_port_of_another_node(
    near: Namespace, holder: Namespace, impostor: None, address: Address
) -> None:
    """An address would stay where nothing is served, or go there (R7)."""
    lead(near, address)
    holder.nft(SILENCE)
    assert probe(near, lambda: TcpProber(address, 8080, 0.3))[0] is LOST


@families
def test_this_node_s_own_node_ports_are_served_by_pods(
    near: Namespace, holder: Namespace, impostor: None, address: Address
) -> None:
    """As kube-proxy does it, by NAT as well."""
    at = ip_address(own(address))
    lead(near, at)
    assert probe(near, lambda: TcpProber(at, 8080, 1.0))[0] is ANSWERED


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
