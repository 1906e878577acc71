"""
IPv6 in the lab: the same VPC and the same workers, with NDP, without the CNI's marks.

What a second ENI needs there for NodePorts is shown with the product's own plumbing, by test_nodeport.py.
"""

import socket
import time
from collections.abc import Callable

import pytest

from lab.network.fabric import CLIENT_IN_IPV6, CLIENT_OUT_IPV6, IPV6_GATEWAY, Fabric
from lab.network.kube_proxy import TrafficPolicy
from lab.network.netns import Namespace
from lab.network.worker import BACKEND_PORT, Worker
from tests.lab.matrix import ENI, MAC, NODE_PORT, Backends, Fetch, Workers
from tests.lab.test_fabric import delivered, resolved
from tests.waiting import until

Ping = Callable[..., bool]

FLOATING = "2001:db8:0:1::100"
UNOWNED = "2001:db8:0:1::77"


class Ipv6Backends(Backends):
    """The same backends by their IPv6 addresses."""

    def __init__(self, a: Worker, b: Worker) -> None:
        super().__init__(a, b)
        self.local = (a.pod_ipv6_addresses[0], BACKEND_PORT), "worker-a/pod-0"
        self.remote = (b.pod_ipv6_addresses[0], BACKEND_PORT), "worker-b/pod-0"
        self.host = (a.ipv6_address, BACKEND_PORT), "worker-a/host"
        self.remote_host = (b.ipv6_address, BACKEND_PORT), "worker-b/host"


@pytest.fixture
def backends(workers: Workers) -> Ipv6Backends:
    return Ipv6Backends(*workers)


def hold(worker: Worker, ifname: str) -> None:
    """Use a hot-plugged link for the floating address, as far as ICMP and the node's own sockets need it."""
    worker.namespace.ip(
        f"link set {ifname} up mtu 9001",
        f"address add {FLOATING}/128 dev {ifname} nodad",
        f"route add {IPV6_GATEWAY} dev {ifname} table 100",
        f"route add default via {IPV6_GATEWAY} dev {ifname} table 100",
    )
    worker.namespace.ip6(f"rule add priority 900 from {FLOATING} lookup 100")


@pytest.mark.parametrize(("address", "hop_limit"), [(f"{IPV6_GATEWAY}%eth0", 64), (CLIENT_OUT_IPV6, 1)])
def test_the_vpc_itself_sends_no_errors(fabric: Fabric, address: str, hop_limit: int) -> None:
    """Neither for a port of the router that nobody listens at, nor for a hop limit that is used up."""

    def connect() -> None:
        probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, hop_limit)
        probe.setsockopt(socket.IPPROTO_IPV6, 25, 1)  # IPV6_RECVERR: the errors that UDP would pass over, too
        probe.connect(socket.getaddrinfo(address, 9)[0][4])

    # The kernel gives a link its link-local address a moment after it is up.
    until(lambda: any(each.get("addr_info") for each in fabric.client_in.show("-6 address show dev eth0 scope link")))
    with fabric.client_in.listen("::", 0, socket.SOCK_DGRAM) as probe:
        fabric.client_in.call(connect)
        probe.settimeout(0.3)
        probe.send(b"")
        with pytest.raises(TimeoutError):
            probe.recv(1)


def test_what_is_of_the_link_ends_at_the_router(fabric: Fabric, workers: Workers, ping: Ping) -> None:
    """The router answers NDP by its link-local address on every link; another guest is out of reach by its own."""
    a, b = workers
    link_local = next(
        info["local"]
        for info in b.namespace.show("-6 address show dev eth0")[0]["addr_info"]
        if info["scope"] == "link"
    )
    for namespace in (a.namespace, b.namespace, fabric.client_in, fabric.client_out):
        assert resolved(namespace, IPV6_GATEWAY)
    assert not resolved(a.namespace, link_local)
    assert ping(a.namespace, b.ipv6_address)
    assert fabric.source_check_drops() == {}


def test_only_nodad_makes_an_address_usable_at_once(fabric: Fabric, workers: Workers) -> None:
    """A hot-plugged link detects duplicates for a second or more; the VPC takes no part in it, nor counts it."""
    a = workers[0]
    fabric.plug(ENI, MAC, [FLOATING], a.namespace, "ens6")
    a.namespace.ip("link set ens6 up", f"address add {FLOATING}/128 dev ens6")
    with pytest.raises(OSError, match="Cannot assign"):
        a.namespace.listen(FLOATING, 80)
    assert fabric.source_check_drops() == {}
    a.namespace.ip("link set ens6 down", "link set ens6 up")
    started = time.monotonic()
    a.namespace.ip(f"address add {FLOATING}/128 dev ens6 nodad")
    assert delivered(fabric.client_in, CLIENT_IN_IPV6, a.namespace, FLOATING)
    assert time.monotonic() - started < 0.5


def test_address_follows_its_eni(fabric: Fabric, workers: Workers, ping: Ping) -> None:
    """By the router at once, from port to port; to nowhere when taken off, unplugged, or without its worker's power."""
    a, b = workers
    for worker, eni_id, mac in ((a, "eni-1", MAC), (b, "eni-2", "02:00:00:00:00:65")):
        fabric.plug(eni_id, mac, [], worker.namespace, "ens6")
        hold(worker, "ens6")
    moves: tuple[Callable[[], None], ...] = (
        lambda: fabric.assign("eni-1", FLOATING),
        lambda: fabric.assign("eni-2", FLOATING),
        lambda: fabric.unassign("eni-2", FLOATING),
        lambda: fabric.assign("eni-2", FLOATING),
        b.power_off,
        lambda: fabric.assign("eni-1", FLOATING),
        lambda: fabric.unplug("eni-1"),
    )
    reached = []
    for move in moves:
        move()
        before = received(a), received(b)
        answered = ping(fabric.client_out, FLOATING, timeout=0.3)
        assert answered is ((received(a), received(b)) != before)
        reached.append(answered)
    assert reached == [True, True, False, True, False, True, False]


def received(worker: Worker) -> int:
    """Echo requests that the worker's kernel has got so far."""
    counters = worker.namespace.run(["cat", "/proc/net/snmp6"]).splitlines()
    return next(int(line.split()[1]) for line in counters if line.startswith("Icmp6InEchos "))


def test_policy_decides_what_client_address_a_backend_sees(
    fabric: Fabric, workers: Workers, backends: Ipv6Backends, fetch: Fetch
) -> None:
    """Local keeps the client's; Cluster masquerades with an address of the worker, towards local and remote pods."""
    a = workers[0]
    expected: list[tuple[tuple[tuple[str, int], str], TrafficPolicy, str]] = [
        (backends.local, "Local", CLIENT_IN_IPV6),
        (backends.local, "Cluster", a.ipv6_address),
        (backends.remote, "Cluster", a.ipv6_address),
    ]
    for (endpoint, name), policy, seen in expected:
        a.expose(NODE_PORT, [endpoint], policy)
        assert fetch(fabric.client_in, a.ipv6_address, NODE_PORT).text == f"{name} {seen}"


def test_each_family_is_served_by_its_own_endpoints(
    fabric: Fabric, workers: Workers, backends: Ipv6Backends, fetch: Fetch
) -> None:
    """A family without any refuses; with policy Local and none on the worker it drops."""
    a = workers[0]
    over_ipv4 = (a.pod_addresses[0], BACKEND_PORT), (a.address, NODE_PORT)
    a.expose(NODE_PORT, [over_ipv4[0], backends.remote[0]], "Cluster")
    assert fetch(fabric.client_in, *over_ipv4[1]).text.startswith("worker-a/pod-0")
    assert fetch(fabric.client_in, a.ipv6_address, NODE_PORT).text.startswith("worker-b/pod-0")
    a.expose(NODE_PORT, [over_ipv4[0]], "Cluster")
    assert fetch(fabric.client_in, a.ipv6_address, NODE_PORT).error == "ConnectionRefusedError"
    a.expose(NODE_PORT, [over_ipv4[0], backends.remote[0]], "Local")
    assert fetch(fabric.client_in, a.ipv6_address, NODE_PORT, timeout=0.3).error == "TimeoutError"


def test_pods_keep_their_address(fabric: Fabric, workers: Workers, backends: Ipv6Backends, fetch: Fetch) -> None:
    """Inside and outside: the CNI translates no IPv6."""
    a, _ = workers
    pod = Namespace("worker-a-pod-0")
    assert fetch(pod, *backends.remote[0]).text == f"worker-b/pod-0 {a.pod_ipv6_addresses[0]}"
    assert delivered(pod, a.pod_ipv6_addresses[0], fabric.client_out, CLIENT_OUT_IPV6)
    assert fabric.source_check_drops() == {}
