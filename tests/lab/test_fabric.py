"""The lab's VPC does not flatter: it checks sources, keeps silent, answers ARP itself, and fails as hardware fails."""

import socket
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from lab.network.fabric import (
    BARE_MTU,
    CLIENT_IN_ADDRESS,
    CLIENT_IN_IPV6,
    CLIENT_OUT_ADDRESS,
    CLIENT_OUT_IPV6,
    EC2_ADDRESS,
    EVERYTHING,
    GATEWAY,
    IPV6_GATEWAY,
    MTU,
    VPC_CIDR,
    Fabric,
)
from lab.network.netns import Namespace
from lab.network.tables import ROUTER_MAC
from lab.network.worker import Worker
from tests.lab.conftest import Answer

Workers = tuple[Worker, Worker]
Fetch = Callable[..., Answer]
Ping = Callable[..., bool]

ENI = "eni-floating"
MAC = "02:00:00:00:00:64"
FLOATING = "10.0.0.100"
UNOWNED, UNOWNED_IPV6 = "10.0.0.77", "2001:db8:0:1::77"
PUBLIC = "203.0.113.100"


def carrier(worker: Worker, ifname: str = "eth0") -> bool:
    return "LOWER_UP" in worker.namespace.show(f"link show dev {ifname}")[0]["flags"]


def neighbour(namespace: Namespace, address: str) -> str | None:
    """The MAC that a namespace has learned for `address`."""
    return next((entry.get("lladdr") for entry in namespace.show("neigh show") if entry["dst"] == address), None)


def delivered(sender: Namespace, source: str, receiver: Namespace, address: str) -> bool:
    """Does a datagram sent with this source arrive?  One way only, unlike a ping."""
    with (
        receiver.listen(address, 9000, socket.SOCK_DGRAM) as inbox,
        sender.listen(source, 0, socket.SOCK_DGRAM) as outbox,
    ):
        inbox.settimeout(0.3)
        outbox.sendto(b"", (address, 9000))
        try:
            _, (seen, *_) = inbox.recvfrom(1)
        except TimeoutError:
            return False
        return bool(seen == source)


def resolved(namespace: Namespace, address: str) -> bool:
    """Does anybody answer for `address` at NDP on eth0, when asked anew?"""
    namespace.ip6("neigh flush dev eth0")
    with namespace.listen("::", 0, socket.SOCK_DGRAM) as asker:
        scope = namespace.call(lambda: socket.if_nametoindex("eth0"))
        asker.sendto(b"", (address, 9, 0, scope))
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        if any("lladdr" in entry for entry in namespace.show(f"-6 neigh show to {address} dev eth0")):
            return True
    return False


def hold(worker: Worker, ifname: str, address: str = FLOATING) -> None:
    """Use a hot-plugged link for `address`, as far as ICMP and the node's own sockets need it."""
    worker.namespace.sysctl({f"ipv4/conf/{ifname}/rp_filter": 2})
    worker.namespace.ip(
        f"link set {ifname} up",
        f"address add {address}/32 dev {ifname}",
        f"route add {GATEWAY} dev {ifname} scope link table 100",
        f"route add default via {GATEWAY} dev {ifname} table 100",
        f"rule add priority 900 from {address} lookup 100",
    )


@pytest.mark.parametrize(
    "address",
    [
        *(UNOWNED, "10.0.200.1", "198.51.100.77", "203.0.113.1"),
        *(UNOWNED_IPV6, "2001:db8:0:2::1", "2001:db8:ffff::77", "2001:db8:eeee::1"),
    ],
)
def test_what_nobody_owns_times_out(fabric: Fabric, fetch: Fetch, address: str) -> None:
    """No error comes back, at once or later: neither inside of the subnet nor of the VPC nor outside."""
    answer = fetch(fabric.client_in, address, 80, timeout=0.6)
    assert answer.error == "TimeoutError"
    assert answer.seconds > 0.55


@pytest.mark.parametrize("address", [UNOWNED, UNOWNED_IPV6])
def test_outside_client_gets_no_error_for_what_nobody_owns(fabric: Fabric, fetch: Fetch, address: str) -> None:
    """The router is as silent towards the outside; four seconds are beyond the kernel's own neighbour timeout."""
    assert fetch(fabric.client_out, address, 80, timeout=4).error == "TimeoutError"


def test_closed_port_of_a_living_worker_is_refused_at_once(fabric: Fabric, workers: Workers, fetch: Fetch) -> None:
    """Silence is for what nobody owns: a guest's own errors pass."""
    answer = fetch(fabric.client_in, workers[0].address, 9)
    assert answer.error == "ConnectionRefusedError"
    assert answer.seconds < 0.5


def test_the_vpc_itself_sends_no_errors(fabric: Fabric) -> None:
    """A port of its own that nobody listens at would, for one, be reported as unreachable."""
    with fabric.client_in.listen(CLIENT_IN_ADDRESS, 0, socket.SOCK_DGRAM) as probe:
        probe.connect((EC2_ADDRESS, 9))
        probe.settimeout(0.3)
        probe.send(b"")
        with pytest.raises(TimeoutError):
            probe.recv(1)


@pytest.mark.parametrize(
    ("unowned", "spelt"), [(UNOWNED, UNOWNED), (UNOWNED_IPV6, "2001:0DB8:0000:0001:0:0:0:0077")], ids=["IPv4", "IPv6"]
)
def test_foreign_source_is_dropped_and_counted(fabric: Fabric, workers: Workers, unowned: str, spelt: str) -> None:
    """What a guest sends with an address that is not its ENI's arrives nowhere, and the drop says who and what."""
    a, b = workers
    own, there = (each.ipv6_address if ":" in unowned else each.address for each in workers)
    a.namespace.ip(f"address add {unowned}/{ip_address(unowned).max_prefixlen} dev lo")
    assert delivered(a.namespace, own, b.namespace, there)
    assert fabric.source_check_drops() == {}
    for count in (1, 2):
        assert not delivered(a.namespace, unowned, b.namespace, there)
        assert fabric.source_check_drops() == {(a.eni_id, unowned): count}
    fabric.assign(a.eni_id, spelt)
    assert delivered(a.namespace, unowned, b.namespace, there)
    fabric.unassign(a.eni_id, unowned)
    assert not delivered(a.namespace, unowned, b.namespace, there)


def test_outside_client_is_not_an_eni_and_passes(fabric: Fabric, workers: Workers, ping: Ping) -> None:
    """The source check is of ENIs; the router forwards what comes from elsewhere."""
    assert ping(fabric.client_out, workers[0].address)
    assert fabric.source_check_drops() == {}


def test_the_vpc_answers_arp_and_never_the_guest(fabric: Fabric, workers: Workers, ping: Ping) -> None:
    """With the MAC of the ENI that owns the address, though all of a node's links know it; for the gateway its own."""
    a = workers[0]
    fabric.plug(ENI, MAC, [FLOATING], a.namespace, "ens6")
    hold(a, "ens6")
    for address in (a.address, a.pod_addresses[0], FLOATING, CLIENT_OUT_ADDRESS):
        ping(fabric.client_in, address, timeout=0.3)
    learned = [neighbour(fabric.client_in, address) for address in (a.address, a.pod_addresses[0], FLOATING, GATEWAY)]
    assert learned == [a.mac, a.mac, MAC, ROUTER_MAC]


def test_arp_for_what_nobody_owns_gets_no_answer(fabric: Fabric, workers: Workers, ping: Ping) -> None:
    """Not before somebody owns it; then at once."""
    assert not ping(fabric.client_in, UNOWNED, timeout=0.3)
    assert neighbour(fabric.client_in, UNOWNED) is None
    fabric.assign(workers[0].eni_id, UNOWNED)
    workers[0].namespace.ip(f"address add {UNOWNED}/32 dev eth0")
    fabric.client_in.ip("neigh flush dev eth0")
    assert ping(fabric.client_in, UNOWNED, timeout=0.5)
    assert neighbour(fabric.client_in, UNOWNED) == workers[0].mac


def test_an_eni_that_has_lost_an_address_no_longer_gets_its_packets(
    fabric: Fabric, workers: Workers, ping: Ping
) -> None:
    """What comes by the router follows the ENI that owns the address, not the guest that still has it configured."""
    a, b = workers
    for worker, eni_id, mac in ((a, "eni-1", MAC), (b, "eni-2", "02:00:00:00:00:65")):
        fabric.plug(eni_id, mac, [], worker.namespace, "ens6")
        hold(worker, "ens6")
    assert not ping(fabric.client_out, FLOATING, timeout=0.3)
    fabric.assign("eni-1", FLOATING)
    assert ping(fabric.client_out, FLOATING)
    fabric.assign("eni-2", FLOATING)
    b.namespace.ip("link set ens6 down")
    assert not ping(fabric.client_out, FLOATING, timeout=0.3)
    b.namespace.ip("link set ens6 up", f"route add {GATEWAY} dev ens6 scope link table 100")
    b.namespace.ip(f"route add default via {GATEWAY} dev ens6 table 100")
    assert ping(fabric.client_out, FLOATING)
    fabric.unassign("eni-1", FLOATING)
    assert ping(fabric.client_out, FLOATING)
    fabric.unassign("eni-2", FLOATING)
    fabric.unassign("eni-2", FLOATING)
    assert not ping(fabric.client_out, FLOATING, timeout=0.3)


def test_hot_plug_is_down_and_bare(fabric: Fabric, workers: Workers) -> None:
    """As on Amazon Linux 2023: right MAC, no address, not up, and not the primary's MTU."""
    a = workers[0]
    fabric.plug(ENI, MAC, [FLOATING], a.namespace, "ens6")
    link = a.namespace.show("address show dev ens6")[0]
    assert link["address"] == MAC
    assert link["addr_info"] == []
    assert "UP" not in link["flags"]
    assert (link["mtu"], a.namespace.show("link show dev eth0")[0]["mtu"]) == (BARE_MTU, MTU)


def test_jumbo_frames_pass_only_with_the_primarys_mtu(fabric: Fabric, workers: Workers, ping: Ping) -> None:
    """A link left at its bare MTU loses large packets, without a word: copying the MTU is visible."""
    a = workers[0]
    fabric.plug(ENI, MAC, [FLOATING], a.namespace, "ens6")
    hold(a, "ens6")
    assert ping(fabric.client_in, FLOATING)
    assert not ping(fabric.client_in, FLOATING, timeout=0.3, payload=4000)
    a.namespace.ip(f"link set ens6 mtu {MTU}")
    assert ping(fabric.client_in, FLOATING, payload=4000)


def test_an_eni_is_plugged_in_at_one_place_only(fabric: Fabric, workers: Workers) -> None:
    """Plugging it in twice is a mistake of the caller; unplugging it twice is not."""
    a, b = workers
    fabric.plug(ENI, MAC, [FLOATING], a.namespace, "ens6")
    with pytest.raises(ValueError, match="worker-a already"):
        fabric.plug(ENI, MAC, [FLOATING], b.namespace, "ens6")
    fabric.unplug(ENI)
    fabric.unplug(ENI)
    assert a.link_of(MAC) is None
    fabric.plug(ENI, MAC, [FLOATING], b.namespace, "ens6")
    hold(b, "ens6")


def test_unplugged_address_leads_nowhere(fabric: Fabric, workers: Workers, ping: Ping) -> None:
    """With the ENI its addresses go, and come back where it is plugged in next."""
    a, b = workers
    fabric.plug(ENI, MAC, [FLOATING], a.namespace, "ens6")
    hold(a, "ens6")
    assert ping(fabric.client_in, FLOATING)
    fabric.unplug(ENI)
    assert not ping(fabric.client_in, FLOATING, timeout=0.3)
    fabric.plug(ENI, MAC, [FLOATING], b.namespace, "ens6")
    hold(b, "ens6")
    assert ping(fabric.client_in, FLOATING)


def test_hung_worker_answers_nothing_and_keeps_its_carrier(
    fabric: Fabric, workers: Workers, ping: Ping, fetch: Fetch
) -> None:
    """Neither ping nor NDP nor TCP handshake, from clients or to EC2; and everything is as before afterwards."""
    a, client = workers[0], fabric.client_in
    a.start_backend(port=80)
    ec2 = fabric.vpc.listen(EC2_ADDRESS, 4566)
    try:
        assert ping(client, a.address)
        assert ping(client, a.ipv6_address)
        assert ping(a.namespace, EC2_ADDRESS)
        fabric.silence([a.eni_id])
        assert not ping(client, a.address, timeout=0.3)
        assert not ping(client, a.ipv6_address, timeout=0.3)
        assert not resolved(a.namespace, IPV6_GATEWAY)
        assert fetch(client, a.address, 80, timeout=0.3).error == "TimeoutError"
        assert fetch(a.namespace, EC2_ADDRESS, 4566, timeout=0.3).error == "TimeoutError"
        assert not delivered(client, CLIENT_IN_ADDRESS, a.namespace, a.address)
        assert not delivered(a.namespace, a.address, client, CLIENT_IN_ADDRESS)
        assert carrier(a)
        fabric.unsilence([a.eni_id, "eni-gone"])
        assert ping(client, a.address)
        assert ping(client, a.ipv6_address)
        assert ping(a.namespace, EC2_ADDRESS)
    finally:
        ec2.close()


def test_power_cut_loses_the_carrier_and_times_out(fabric: Fabric, workers: Workers, ping: Ping, fetch: Fetch) -> None:
    """The links are gone; connections to the addresses time out instead of failing at once."""
    a = workers[0]
    a.start_backend(port=80)
    fabric.plug(ENI, MAC, [FLOATING], a.namespace, "ens6")
    assert carrier(a)
    a.power_off()
    assert [link["ifname"] for link in a.namespace.show("link show") if link["ifname"][:3] in {"eth", "ens"}] == []
    for address in (a.address, FLOATING):
        assert fetch(fabric.client_in, address, 80, timeout=0.4).error == "TimeoutError"
    a.power_off()


def test_eni_of_a_dead_worker_is_plugged_in_elsewhere(fabric: Fabric, workers: Workers, ping: Ping) -> None:
    """After a power cut the ENI is still plugged in, as EC2 says, until it is detached."""
    a, b = workers
    fabric.plug(ENI, MAC, [FLOATING], a.namespace, "ens6")
    a.power_off()
    assert ENI in fabric.plugged(a.namespace)
    with pytest.raises(ValueError, match="already"):
        fabric.plug(ENI, MAC, [FLOATING], b.namespace, "ens6")
    fabric.unplug(ENI)
    fabric.plug(ENI, MAC, [FLOATING], b.namespace, "ens6")
    hold(b, "ens6")
    assert ping(fabric.client_in, FLOATING)


def test_address_moves_away_from_a_dead_worker(fabric: Fabric, workers: Workers, ping: Ping) -> None:
    """An address is reassigned from an ENI whose links are gone to a living one."""
    a, b = workers
    fabric.plug("eni-1", MAC, [FLOATING], a.namespace, "ens6")
    fabric.plug("eni-2", "02:00:00:00:00:65", [], b.namespace, "ens6")
    hold(b, "ens6")
    a.power_off()
    fabric.assign("eni-2", FLOATING)
    assert ping(fabric.client_in, FLOATING)


@pytest.mark.parametrize(
    ("blocked", "reaches_ec2", "reaches_peer", "reaches_outside"),
    [
        pytest.param(EC2_ADDRESS, False, True, True, id="from EC2 only"),
        pytest.param(VPC_CIDR, True, False, True, id="from the peers only"),
        pytest.param(EVERYTHING, False, False, False, id="from all"),
    ],
)
def test_partition_cuts_off_from_whom_it_says(
    fabric: Fabric,
    workers: Workers,
    ping: Ping,
    *,
    blocked: str,
    reaches_ec2: bool,
    reaches_peer: bool,
    reaches_outside: bool,
) -> None:
    """In both directions and families; the router is still a neighbour, with NDP as with ARP; and all is undone."""
    a, b = workers
    fabric.block(a.eni_id, [blocked])
    assert ping(a.namespace, EC2_ADDRESS, timeout=0.3) is reaches_ec2
    for here, there in ((a.address, b.address), (a.ipv6_address, b.ipv6_address)):
        assert delivered(a.namespace, here, b.namespace, there) is reaches_peer
        assert delivered(b.namespace, there, a.namespace, here) is reaches_peer
    assert ping(a.namespace, CLIENT_OUT_IPV6, timeout=0.3) is reaches_outside
    assert resolved(a.namespace, IPV6_GATEWAY)
    assert ping(b.namespace, EC2_ADDRESS)
    fabric.unblock(a.eni_id)
    for address in (EC2_ADDRESS, b.ipv6_address, CLIENT_OUT_IPV6):
        assert ping(a.namespace, address)
    assert ping(b.namespace, a.address)


def test_security_group_without_icmp_leaves_the_rest_alone(
    fabric: Fabric, workers: Workers, ping: Ping, fetch: Fetch
) -> None:
    """Pings to the address are lost; its own pings, its TCP and its NDP are not."""
    a, b = workers
    a.start_backend(port=80)
    for address, peer, client in (
        (a.address, b.address, CLIENT_IN_ADDRESS),
        (a.ipv6_address, b.ipv6_address, CLIENT_IN_IPV6),
    ):
        fabric.close_icmp(address)
        assert not ping(fabric.client_in, address, timeout=0.3)
        assert ping(a.namespace, peer)
        assert fetch(fabric.client_in, address, 80).text == f"worker-a/host {client}"
        fabric.open_icmp(address)
        assert ping(fabric.client_in, address)


def test_lost_packets_are_the_guests_and_spare_a_port(
    fabric: Fabric, workers: Workers, ping: Ping, fetch: Fetch
) -> None:
    """All of them at a hundred percent, but those from and to the port; and none afterwards."""
    a, b = workers
    a.start_backend(port=80)
    fabric.lose(100, [80])
    assert not ping(b.namespace, a.address, timeout=0.3)
    assert fetch(fabric.client_in, a.address, 80).text == f"worker-a/host {CLIENT_IN_ADDRESS}"
    fabric.lose(0)
    assert ping(b.namespace, a.address)


@pytest.mark.usefixtures("in_sandbox")
def test_teardown_leaves_nothing_behind() -> None:
    """No namespace, no thread; and the same lab can be built again."""
    for _ in range(2):
        with Fabric() as fabric:
            worker = Worker("worker-a", 0, fabric)
            worker.start()
            worker.start_backend(0)
            process = worker.popen(["sleep", "60"])
            worker.hot_plug(ENI, MAC, [FLOATING], 1)
            fabric.silence([ENI])
            worker.close()
            assert process.returncode is not None
            assert fabric.plugged(worker.namespace) == []
        assert list(Path("/run/netns").iterdir()) == []
        assert {thread.name for thread in threading.enumerate() if thread.name.startswith(("worker", "in-"))} == set()
