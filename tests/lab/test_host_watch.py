"""What the keeper sees of changes in the kernel, what it mends, and what it announces to the neighbours."""

import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from floatingip.agent.effects import Announce, Keep, Wanted
from floatingip.core import timing
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport
from floatingip.edges.kernel import changes
from floatingip.edges.kernel.host import KernelHost
from floatingip.runtime.keeping import HostKeeper
from tests.lab.plumbed import BOTH, IPV4, SOUND, Node, settle
from tests.waiting import until


@BOTH
def test_an_announcement_names_the_mac_on_the_wire(node: Node, ears: socket.socket, plumbing: Plumbing) -> None:
    """A gratuitous ARP to everybody, or an unsolicited neighbour advertisement to all nodes; one for each call."""
    node.plumb(plumbing)
    announcements(ears, plumbing)
    for _ in range(3):
        node.announce(plumbing)
    assert announcements(ears, plumbing) == 3


def test_the_packet_socket_for_announcements_stays_open(node: Node) -> None:
    """To close one takes the kernel 10 ms, which the plumbing of other addresses would wait for."""
    node.plumb()
    assert packet_sockets(node) == set()
    node.announce()
    there = packet_sockets(node)
    assert len(there) == 1
    node.announce()
    assert packet_sockets(node) == there
    node.host.close()
    assert packet_sockets(node) == set()


@BOTH
def test_what_cannot_be_announced_is_passed_over(node: Node, plumbing: Plumbing) -> None:
    """Nothing is raised without the link, nor when it is down and bare."""
    node.announce(plumbing)
    node.unplug()
    node.announce(plumbing)


@BOTH
def test_an_address_is_announced_to_the_neighbours_when_it_comes(
    node: Node, ears: socket.socket, plumbing: Plumbing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not ahead of it; then several times, since EC2 leads it here a moment later; after some seconds no more."""
    monkeypatch.setattr(timing, "ANNOUNCED_FOR", 1.0)
    reports: SimpleQueue[PlumbingReport] = SimpleQueue()
    keeper = HostKeeper(KernelHost(), lambda _, report: reports.put(report))
    node.namespace.call(keeper.start)
    try:
        keeper.take_up(Keep(plumbing.address, Wanted(plumbing, Extent.AHEAD)))
        assert not reports.get(timeout=10).is_here
        time.sleep(2 * timing.ANNOUNCE_EVERY)
        keeper.take_up(Announce(plumbing.address))
        time.sleep(2 * timing.ANNOUNCE_EVERY)
        assert announcements(ears, plumbing) == 0
        keeper.take_up(Keep(plumbing.address, Wanted(plumbing, Extent.ALL)))
        while not reports.get(timeout=10).is_here:
            continue
        heard, quiet_since = 0, time.monotonic()
        deadline = quiet_since + 10
        while time.monotonic() < quiet_since + 1.0:
            assert time.monotonic() < deadline, "it never ends"
            new = announcements(ears, plumbing)
            heard, quiet_since = heard + new, time.monotonic() if new else quiet_since
        assert heard >= 3
        keeper.take_up(Announce(plumbing.address))
        time.sleep(2 * timing.ANNOUNCE_EVERY)
        assert announcements(ears, plumbing) > 0, "a move that found the address there is announced too"
    finally:
        keeper.end(within=5)


def test_an_address_that_comes_in_a_busy_moment_is_announced_at_once(node: Node, ears: socket.socket) -> None:
    """Something else changed a moment before it came, as on a node where pods come and go; then nothing does."""
    reports: SimpleQueue[PlumbingReport] = SimpleQueue()
    keeper = HostKeeper(KernelHost(), lambda _, report: reports.put(report))
    keeper.take_up(Keep(IPV4.address, Wanted(IPV4, Extent.AHEAD)))
    node.namespace.call(keeper.start)
    try:
        reports.get(timeout=10)
        keeper.take_up(Keep(IPV4.address, Wanted(IPV4, Extent.ALL)))
        until(lambda: announcements(ears, IPV4), timing.HOST_CHECK / 2)
    finally:
        keeper.end(within=5)


@pytest.fixture
def ears(node: Node) -> Iterator[socket.socket]:
    """All that the ENI sends, at the other end of its cable."""
    every_protocol = 0x0003
    made = node.namespace.call(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(every_protocol)))
    with made:
        made.bind(("far-ens6", every_protocol))
        made.settimeout(0.05)
        yield made


def packet_sockets(node: Node) -> set[str]:
    """The inodes of the packet sockets in the node's namespace."""
    _, *lines = node.namespace.run(["cat", "/proc/net/packet"]).splitlines()
    return {line.split()[-1] for line in lines}


def announcements(ears: socket.socket, plumbing: Plumbing) -> int:
    """How many of the frames that wait tell everybody which MAC the address has."""
    address, mac = plumbing.address.packed, bytes.fromhex(plumbing.mac.replace(":", ""))
    count = 0
    while True:
        try:
            frame = ears.recv(2048)
        except TimeoutError:
            return count
        if plumbing.address.version == 4:
            count += frame[12:14] == b"\x08\x06" and frame[22:32] == mac + address and frame[38:42] == address
        else:
            said = frame[54:]  # behind Ethernet's and IPv6's heads
            count += frame[12:14] == b"\x86\xdd" and said[:1] == b"\x88" and said[8:32] == address + b"\x02\x01" + mac


CHANGES = {
    "a link": "ip link add new type veth peer name far-new",
    "an MTU": "ip link set ens6 mtu 1400",
    "a name": "ip link set ens6 name enp0s6",
    "an address": "ip address add 10.0.0.77/32 dev eth0",
    "an address's life": "ip address change 10.0.0.10/24 dev eth0 valid_lft 99 preferred_lft 99",
    "an IPv6 address": "ip -6 address add 2001:db8::7/128 dev eth0",
    "an IPv6 address's life": "ip -6 address change fe80::ff:fe00:a/64 dev eth0 valid_lft 99 preferred_lft 99",
    "a route": "ip route add 10.7.0.0/16 via 10.0.0.1",
    "an IPv6 route": "ip -6 route add 2001:db8:7::/48 dev eth0",
    "a rule": "ip rule add priority 1800 table 8",
    "an IPv6 rule": "ip -6 rule add priority 1800 table 8",
    "rp_filter": "echo 1 > /proc/sys/net/ipv4/conf/ens6/rp_filter",
    "nft": "nft add table inet somebody",
}


@pytest.mark.parametrize("command", CHANGES.values(), ids=CHANGES)
def test_watch_wakes_at_every_kind_of_change(node: Node, command: str) -> None:
    """Within a second, in a thread of its own, and not again when nothing happens."""
    woken = threading.Event()
    node.watch(woken.set)
    settle(woken)
    node.namespace.run(["sh", "-e", "-c", command])
    assert woken.wait(1)


def test_watch_goes_on_after_an_overrun(node: Node) -> None:
    """More events than the socket holds, while nobody reads, are one more reason to look, and not the end."""
    asleep, woken = threading.Event(), threading.Event()

    def wake() -> None:
        woken.set()
        asleep.wait()

    node.watch(wake)
    node.namespace.ip("link set lo down")
    assert woken.wait(1)
    node.namespace.ip(*(f"route {what} 10.7.0.0/16 via 10.0.0.1" for what in ["add", "del"] * 2000))
    asleep.set()
    settle(woken)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.1, "it spins"
    node.namespace.ip("link set lo up")
    assert woken.wait(1)


def test_watch_goes_on_when_its_sockets_fail(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are opened anew, as soon as there are any, and what may have been missed meanwhile is a reason to look."""
    monkeypatch.setattr(changes, "WATCH_AGAIN", 0.05)
    heard: list[socket.socket] = []
    listen, woken = changes.listen, threading.Event()
    refusals = [False, True, True, False]

    def listen_and_tell() -> tuple[socket.socket, socket.socket]:
        if refusals.pop(0):
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
        heard.extend(sockets := listen())
        return sockets

    monkeypatch.setattr(changes, "listen", listen_and_tell)
    node.watch(woken.set)
    settle(woken)
    replacement = socket.socket()
    os.dup2(replacement.fileno(), heard[0].fileno())  # whose reads fail
    node.namespace.ip("link set lo down")
    assert woken.wait(2)
    settle(woken)
    node.namespace.ip("link set lo up")
    assert woken.wait(2)
    assert len(heard) == 4
    replacement.close()


def test_a_storm_of_events_costs_a_share_of_the_time_and_a_claim_does_not_wait(node: Node) -> None:
    """Somebody's routing daemon, or an attack: it must starve neither the node nor the address."""
    reports: SimpleQueue[PlumbingReport] = SimpleQueue()
    keeper = HostKeeper(node.host, lambda _, report: reports.put(report))
    plumb, looks = node.host.plumb, 0

    def count(plumbing: Plumbing, extent: Extent = Extent.ALL) -> PlumbingReport:
        nonlocal looks
        looks += 1
        time.sleep(0.08)  # as with many addresses
        return plumb(plumbing, extent)

    node.host.plumb = count  # type: ignore[method-assign]  # counted, and done
    keeper.take_up(Keep(IPV4.address, Wanted(IPV4, Extent.AHEAD)))
    node.namespace.call(keeper.start)
    storm = "while :; do ip route add 10.7.0.0/16 via 10.0.0.1; ip route del 10.7.0.0/16; done"
    with node.namespace.popen(["sh", "-c", storm]) as attacker:
        try:
            time.sleep(3)
            looks = 0
            time.sleep(2)
            assert 1 <= looks <= 8
            began = time.monotonic()
            for extent in (Extent.ALL, Extent.AHEAD, Extent.ALL, Extent.AHEAD):
                keeper.take_up(Keep(IPV4.address, Wanted(IPV4, extent)))
                while reports.get(timeout=5).extent is not extent:
                    continue
            assert time.monotonic() - began < 2
        finally:
            attacker.kill()
            keeper.end(within=5)


@BOTH
@pytest.mark.parametrize("extent", [Extent.NOTHING, Extent.AHEAD])
def test_a_standby_gets_back_at_once_whatever_somebody_flushes(node: Node, plumbing: Plumbing, extent: Extent) -> None:
    """The probes' route, with and without an ENI that stands ready; and what is there ahead."""
    keeper = HostKeeper(node.host, lambda *_: None)
    keeper.take_up(Keep(plumbing.address, Wanted(plumbing, extent)))
    node.namespace.call(keeper.start)
    ip, deadline = f"ip -{plumbing.address.version}", time.monotonic() + timing.HOST_CHECK / 2

    def is_routed() -> bool:
        return bool(node.namespace.show(f"-{plumbing.address.version} route show {plumbing.address}"))

    try:
        for damage in (f"{ip} route flush proto 102", f"{ip} route del {plumbing.address}"):
            until(is_routed, deadline - time.monotonic())
            time.sleep(0.3)
            node.namespace.run(["sh", "-c", damage])
        until(is_routed, deadline - time.monotonic())
        if extent is Extent.AHEAD:
            ahead = node.everything()
            for damage in ("nft flush ruleset", f"{ip} rule del priority 901", f"{ip} route flush table 1064"):
                node.namespace.run(["sh", "-c", damage])
                until(lambda: node.everything() == ahead, deadline - time.monotonic())
    finally:
        keeper.end(within=5)


RESTRICTED = """
import time
from floatingip.edges.kernel.host import KernelHost
from tests.lab.plumbed import IPV4
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["CapEff"], 16), status["NoNewPrivs"].strip())
host = KernelHost()
print(host.plumb(IPV4))
host.watch(lambda: None)
host.route_probes(IPV4)
print(host.unplumb(IPV4))
"""


def test_two_capabilities_and_a_read_only_proc_are_enough(node: Node) -> None:
    """As in the pod: NET_ADMIN and NET_RAW only, no_new_privs, /proc/sys read-only."""
    script = (
        "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys"
        " && ! echo 1 2>/dev/null > /proc/sys/net/ipv4/conf/ens6/rp_filter"
        ' && exec setpriv --no-new-privs --inh-caps -all --bounding-set -all,+net_admin,+net_raw "$@"'
    )
    printed = node.namespace.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c", RESTRICTED]
    ).splitlines()
    assert printed == [
        f"{1 << 12 | 1 << 13} 1",
        str(PlumbingReport(SOUND, ("link-up", "mtu", "address", "rp_filter", "route", "rule", "marks"))),
        "('marks', 'rule', 'route', 'address')",
    ]
