"""The host's plumbing on a real kernel: one namespace with a primary link and an ENI, both plain veth pairs."""

import contextlib
import errno
import gc
import os
import re
import shutil
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from queue import SimpleQueue

import pytest

from floatingip.agent.effects import Wanted
from floatingip.core import timing
from floatingip.core.errors import HostError
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport, PlumbingState
from floatingip.edges.kernel import changes, marks, netlink
from floatingip.edges.kernel.host import KernelHost
from floatingip.edges.kernel.mark_table import table_name
from floatingip.edges.kernel.netlink import Netlink
from floatingip.runtime.keeping import HostKeeper
from lab.network.netns import Namespace

SOUND, UNSOUND, NO_LINK = PlumbingState.SOUND, PlumbingState.UNSOUND, PlumbingState.NO_LINK

IPV4 = Plumbing(
    address=ip_address("10.0.0.100"),
    mac="02:00:00:00:00:64",
    gateway=ip_address("10.0.0.1"),
    primary_mac="02:00:00:00:00:0a",
    table=1064,
    priority=900,
    mark=0x40,
    mark_mask=0x40,
)
IPV6 = replace(IPV4, address=ip_address("2001:db8:0:1::64"), gateway=ip_address("fe80:ec2::1"))
MARKS = table_name(IPV4.address)
BOTH = pytest.mark.parametrize("plumbing", [IPV4, IPV6], ids=["IPv4", "IPv6"])


class Node:
    """A worker reduced to its links; `plumb` and the others run `host` in a thread inside, as the agent would."""

    def __init__(self, namespace: Namespace, host: KernelHost) -> None:
        self.namespace = namespace
        self.host = host

    def plumb(self, plumbing: Plumbing = IPV4, extent: Extent = Extent.ALL) -> PlumbingReport:
        return self.namespace.call(lambda: self.host.plumb(plumbing, extent))

    def unplumb(self, plumbing: Plumbing = IPV4) -> tuple[str, ...]:
        return self.namespace.call(lambda: self.host.unplumb(plumbing))

    def plug(self, name: str = "ens6") -> None:
        """The ENI appears as EC2 shows it: down and bare; the other end stays in the fabric's place."""
        self.namespace.ip(
            f"link add {name} address {IPV4.mac} type veth peer name far-{name}",
            f"link set far-{name} up",
        )

    def unplug(self, name: str = "ens6") -> None:
        self.namespace.ip(f"link del {name}")

    def table(self, plumbing: Plumbing) -> list[dict[str, object]]:
        """The routes of the plumbing's own table."""
        return self.namespace.show(f"-{plumbing.address.version} route show table {plumbing.table}")

    def nft(self) -> str:
        return self.namespace.run(["nft", "list", "ruleset"])

    def everything(self) -> tuple[object, ...]:
        """All that this module may change, and its neighbourhood."""
        shown = ("rule show", "-6 rule show", "-4 route show table all")
        return *(self.namespace.show(what) for what in shown), self.routes6(), self.addresses(), self.nft()

    def routes6(self) -> list[dict[str, object]]:
        """Without the kernel's own for link-local and multicast, which come some time after a link is up."""
        routes = self.namespace.show("-6 route show table all")
        return [route for route in routes if route.get("protocol") != "kernel"]

    def addresses(self) -> list[tuple[object, ...]]:
        """Without the link-local ones, which come some time after a link is up."""
        return [
            (link["ifname"], info["local"], info["prefixlen"])
            for link in self.namespace.show("address show")
            for info in link["addr_info"]
            if info["scope"] == "global"
        ]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node with its primary link, and an ENI that was just plugged in; on a busy machine nft may take a while."""
    monkeypatch.setattr(marks, "PATIENCE", 5.0)
    namespace = Namespace("node")
    namespace.create()
    # Duplicate detection would let IPv6 addresses and routes come a second late, in the midst of a test.
    namespace.sysctl({"ipv6/conf/all/accept_dad": 0, "ipv6/conf/default/accept_dad": 0})
    namespace.sysctl({"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1})
    namespace.ip(
        f"link add eth0 address {IPV4.primary_mac} mtu 9001 type veth peer name far-eth0",
        "link set far-eth0 up",
        "link set eth0 up",
        "address add 10.0.0.10/24 dev eth0",
        "route add default via 10.0.0.1",
    )
    host = KernelHost()
    node = Node(namespace, host)
    node.plug()
    yield node
    host.close()
    namespace.delete()


@BOTH
def test_a_bare_link_gets_all_of_the_plumbing(node: Node, plumbing: Plumbing) -> None:
    """What `ip` and `nft` show afterwards is what the return path needs, and the report names it."""
    version = plumbing.address.version
    report = node.plumb(plumbing)
    parts = ("link-up", "mtu", "address", *(("rp_filter",) if version == 4 else ()), "route", "rule", "marks")
    assert report == PlumbingReport(SOUND, parts)

    (link,) = node.namespace.show("link show ens6")
    assert "UP" in link["flags"]
    assert link["mtu"] == 9001
    assert ("ens6", str(plumbing.address), plumbing.address.max_prefixlen) in node.addresses()
    routes = node.namespace.show(f"-{version} route show table 1064")
    assert {(route["dst"], route.get("gateway"), route["dev"], route["protocol"]) for route in routes} == {
        (str(plumbing.gateway), None, "ens6", "102"),
        ("default", str(plumbing.gateway), "ens6", "102"),
    }
    rules = {rule["priority"]: rule for rule in node.namespace.show(f"-{version} rule show")}
    assert (rules[900]["src"], rules[900]["table"]) == (str(plumbing.address), "1064")
    assert (rules[901]["src"], rules[901]["fwmark"], rules[901]["fwmask"], rules[901]["table"]) == (
        "all", "0x40", "0x40", "1064",
    )  # fmt: skip
    if version == 4:
        assert node.namespace.run(["cat", "/proc/sys/net/ipv4/conf/ens6/rp_filter"]).strip() == "2"
    family = "ip" if version == 4 else "ip6"
    assert [line.strip() for line in node.nft().splitlines() if "mark set" in line] == [
        f'iif "ens6" {family} daddr {plumbing.address} ct direction original ct mark set ct mark | 0x00000040',
        *["ct direction reply ct mark & 0x00000040 == 0x00000040 meta mark set meta mark | 0x00000040"] * 2,
    ]


@BOTH
def test_ahead_of_the_address_a_link_gets_all_but_it_and_its_rule(node: Node, plumbing: Plumbing) -> None:
    """A node that had either would hear its own loopback when it probes, and see the address UP for ever."""
    report = node.plumb(plumbing, Extent.AHEAD)
    rp_filter = ("rp_filter",) if plumbing.address.version == 4 else ()
    assert report == PlumbingReport(
        SOUND, ("link-up", "mtu", *rp_filter, "route", "rule", "marks"), extent=Extent.AHEAD
    )
    assert not report.carries
    ahead = node.everything()
    assert str(plumbing.address) not in str(node.addresses())
    assert rules_of_ours(node, plumbing) == {901: ("all", "0x40", "1064")}
    assert node.plumb(plumbing, Extent.AHEAD) == PlumbingReport(SOUND, extent=Extent.AHEAD)
    assert node.everything() == ahead


@BOTH
def test_the_address_brings_itself_and_its_rule_and_takes_them_away_again(node: Node, plumbing: Plumbing) -> None:
    """Nothing else differs between a holder and a standby, so nothing else can fail when it matters."""
    node.plumb(plumbing, Extent.AHEAD)
    ahead, kept = node.everything(), (node.table(plumbing), node.nft())
    assert node.plumb(plumbing) == PlumbingReport(SOUND, ("address", "rule"))
    assert (node.table(plumbing), node.nft()) == kept
    assert ("ens6", str(plumbing.address), plumbing.address.max_prefixlen) in node.addresses()
    assert rules_of_ours(node, plumbing) == {
        900: (str(plumbing.address), None, "1064"),
        901: ("all", "0x40", "1064"),
    }
    report = node.plumb(plumbing, Extent.AHEAD)
    assert (report.state, report.removed) == (SOUND, ("address",))
    assert node.everything() == ahead


def rules_of_ours(node: Node, plumbing: Plumbing) -> dict[int, tuple[str, str | None, str]]:
    """Source, mark and table of the rules at our priorities."""
    rules = node.namespace.show(f"-{plumbing.address.version} rule show")
    return {r["priority"]: (r["src"], r.get("fwmark"), r["table"]) for r in rules if r["priority"] in (900, 901)}


@BOTH
@pytest.mark.parametrize("found", [Extent.AHEAD, Extent.ALL])
def test_an_address_is_left_as_it_is_found(node: Node, plumbing: Plumbing, found: Extent) -> None:
    """While nobody knows whose it is, it is neither added nor removed, and the rest is repaired to go with it."""
    node.plumb(plumbing, found)
    before = node.everything()
    assert node.plumb(plumbing, Extent.AS_FOUND) == PlumbingReport(SOUND, extent=found)
    node.namespace.nft("flush ruleset")
    node.namespace.run(["ip", f"-{plumbing.address.version}", "rule", "del", "priority", "901"])
    assert node.plumb(plumbing, Extent.AS_FOUND) == PlumbingReport(SOUND, ("rule", "marks"), extent=found)
    assert node.everything() == before


def test_what_somebody_adds_ahead_is_taken_away(node: Node) -> None:
    """The address, or a rule of our protocol, on a node that is not the holder."""
    node.plumb(IPV4, Extent.AHEAD)
    before = node.everything()
    node.namespace.ip(
        "address add 10.0.0.100/32 dev ens6", "rule add from 10.0.0.100 priority 900 table 1064 proto 102"
    )
    report = node.plumb(IPV4, Extent.AHEAD)
    assert (report.state, report.removed) == (SOUND, ("address",))
    assert "rule" in report.repaired
    assert node.everything() == before


@BOTH
def test_unplumb_removes_what_was_put_there_ahead(node: Node, plumbing: Plumbing) -> None:
    """All of it, and it says that there was no address."""
    node.namespace.ip("link set ens6 up mtu 9001")
    before = node.everything()
    node.plumb(plumbing, Extent.AHEAD)
    assert node.unplumb(plumbing) == ("marks", "rule", "route")
    assert node.everything() == before


@BOTH
def test_an_announcement_names_the_mac_on_the_wire(node: Node, ears: socket.socket, plumbing: Plumbing) -> None:
    """A gratuitous ARP to everybody, or an unsolicited neighbour advertisement to all nodes; one for each call."""
    node.plumb(plumbing)
    announcements(ears, plumbing)
    for _ in range(3):
        node.namespace.call(lambda: node.host.announce(plumbing))
    assert announcements(ears, plumbing) == 3


@BOTH
def test_what_cannot_be_announced_is_passed_over(node: Node, plumbing: Plumbing) -> None:
    """Nothing is raised without the link, nor when it is down and bare."""
    node.namespace.call(lambda: node.host.announce(plumbing))
    node.unplug()
    node.namespace.call(lambda: node.host.announce(plumbing))


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
        keeper.want(plumbing.address, Wanted(plumbing, Extent.AHEAD))
        assert not reports.get(timeout=10).carries
        time.sleep(2 * timing.ANNOUNCE_EVERY)
        keeper.announce(plumbing.address)
        time.sleep(2 * timing.ANNOUNCE_EVERY)
        assert announcements(ears, plumbing) == 0
        keeper.want(plumbing.address, Wanted(plumbing, Extent.ALL))
        while not reports.get(timeout=10).carries:
            continue
        heard, quiet_since = 0, time.monotonic()
        deadline = quiet_since + 10
        while time.monotonic() < quiet_since + 1.0:
            assert time.monotonic() < deadline, "it never ends"
            new = announcements(ears, plumbing)
            heard, quiet_since = heard + new, time.monotonic() if new else quiet_since
        assert heard >= 3
        keeper.announce(plumbing.address)
        time.sleep(2 * timing.ANNOUNCE_EVERY)
        assert announcements(ears, plumbing) > 0, "a move that found the address there is announced too"
    finally:
        keeper.end(within=5)


def test_an_address_that_comes_in_a_busy_moment_is_announced_at_once(node: Node, ears: socket.socket) -> None:
    """Something else changed a moment before it came, as on a node where pods come and go; then nothing does."""
    reports: SimpleQueue[PlumbingReport] = SimpleQueue()
    keeper = HostKeeper(KernelHost(), lambda _, report: reports.put(report))
    keeper.want(IPV4.address, Wanted(IPV4, Extent.AHEAD))
    node.namespace.call(keeper.start)
    try:
        reports.get(timeout=10)
        keeper.want(IPV4.address, Wanted(IPV4, Extent.ALL))
        deadline = time.monotonic() + timing.HOST_CHECK / 2
        while not announcements(ears, IPV4):
            assert time.monotonic() < deadline
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


@BOTH
def test_what_is_sound_is_left_alone(node: Node, plumbing: Plumbing) -> None:
    """A second look repairs nothing and changes nothing, not even the handles of nft."""
    node.plumb(plumbing)
    before = node.everything(), node.namespace.run(["nft", "--handle", "list", "ruleset"])
    assert node.plumb(plumbing) == PlumbingReport(SOUND)
    assert (node.everything(), node.namespace.run(["nft", "--handle", "list", "ruleset"])) == before


def test_two_addresses_on_one_node_keep_out_of_each_other_s_way(node: Node) -> None:
    """IPv4 and IPv6 of the same ENI are plumbed side by side; taking one away leaves the other sound."""
    assert node.plumb(IPV4).state is SOUND
    assert node.plumb(IPV6).state is SOUND
    assert node.plumb(IPV4) == PlumbingReport(SOUND)
    node.unplumb(IPV4)
    assert node.plumb(IPV6) == PlumbingReport(SOUND)


@pytest.mark.parametrize("leaving", [0, 1, 2])
def test_addresses_of_one_link_come_and_go_one_by_one(node: Node, leaving: int) -> None:
    """A standing ENI has several: whichever goes, the others are left without a fault, also ahead of an address."""
    each = [
        replace(plumbing, table=1064 + index, priority=900 + 2 * index, mark=0x10 * (index + 1), mark_mask=0x70)
        for index, plumbing in enumerate([IPV4, replace(IPV4, address=ip_address("10.0.0.101")), IPV6])
    ]
    for plumbing in each:
        assert node.plumb(plumbing, Extent.AHEAD).state is SOUND
    for plumbing in each:
        assert node.plumb(plumbing) == PlumbingReport(SOUND, ("address", "rule"))
    gone = each.pop(leaving)
    assert node.plumb(gone, Extent.AHEAD).state is SOUND
    for plumbing in each:
        assert node.plumb(plumbing) == PlumbingReport(SOUND)
    node.unplumb(gone)
    for plumbing in each:
        assert node.plumb(plumbing) == PlumbingReport(SOUND)


DAMAGE: list[tuple[str, str, tuple[str, ...]]] = [
    ("ip link set ens6 mtu 1500", "a changed MTU", ("mtu",)),
    ("ip address del 10.0.0.100/32 dev ens6", "a removed address, routes with it", ("address", "route")),
    ("ip route flush table 1064", "a flushed table", ("route",)),
    ("ip route del default table 1064", "a removed default route", ("route",)),
    (
        "ip route replace default via 10.0.0.1 dev eth0 table 1064 proto 102",
        "a default route by another link",
        ("route",),
    ),
    ("ip route add 10.0.0.7 dev eth0 table 1064 proto 102", "one route more", ("route",)),
    ("ip route del default table 1064; ip route del 10.0.0.1 table 1064", "routes deleted one by one", ("route",)),
    ("ip rule del priority 900", "a removed rule", ("rule",)),
    ("ip rule del priority 901", "a removed mark rule", ("rule",)),
    (
        "ip rule flush; ip rule add priority 32766 lookup main; ip rule add priority 32767 lookup default",
        "flushed rules",
        ("rule",),
    ),
    ("ip rule add from 10.0.0.99 priority 900 table 1064 proto 102", "a rule of an address before", ("rule",)),
    ("echo 1 > /proc/sys/net/ipv4/conf/ens6/rp_filter", "strict rp_filter", ("rp_filter",)),
    ("nft flush ruleset", "a flushed ruleset", ("marks",)),
    (f"nft flush chain inet {MARKS} output", "a flushed chain", ("marks",)),
    (f"nft insert rule inet {MARKS} prerouting accept", "a foreign rule in our chain", ("marks",)),
    (f"nft 'add table inet {MARKS} {{ flags dormant; }}'", "a sleeping table", ("marks",)),
    ("ip link set ens6 down; ip link set ens6 up", "a link flap", ("route",)),
    ("ip link set ens6 down", "a link taken down", ("link-up", "route")),
]


@pytest.mark.parametrize(("command", "repaired"), [(c, r) for c, _, r in DAMAGE], ids=[what for _, what, _ in DAMAGE])
def test_damage_is_noticed_and_repaired(node: Node, command: str, repaired: tuple[str, ...]) -> None:
    """Whatever is taken away or added is named in the report, and afterwards all is as it was."""
    node.plumb()
    before = node.everything()
    node.namespace.run(["sh", "-e", "-c", command])
    assert node.plumb() == PlumbingReport(SOUND, repaired)
    assert node.everything() == before


@BOTH
def test_rules_that_other_settings_have_left_are_taken_away(node: Node, plumbing: Plumbing) -> None:
    """They would come before those of now; what another address has stays."""
    other = {4: ip_address("10.0.0.101"), 6: ip_address("2001:db8:0:1::65")}[plumbing.address.version]
    beside = replace(plumbing, address=other, table=1065, priority=902, mark=0x20, mark_mask=0x20)
    for each in (beside, plumbing):
        assert node.plumb(each).state is SOUND
    now = replace(plumbing, table=1070, priority=950)
    assert node.plumb(now).state is SOUND
    rules = node.namespace.show(f"-{plumbing.address.version} rule show")
    found = {(rule["priority"], rule["table"]) for rule in rules if rule.get("protocol") == "102"}
    assert found == {(902, "1065"), (903, "1065"), (950, "1070"), (951, "1070")}
    assert node.plumb(beside) == node.plumb(now) == PlumbingReport(SOUND)


@BOTH
@pytest.mark.parametrize("extent", [Extent.AHEAD, Extent.ALL])
@pytest.mark.parametrize(("table", "priority"), [(1070, 900), (1070, 950), (1064, 950)])
def test_what_other_settings_have_left_is_taken_away(
    node: Node, plumbing: Plumbing, extent: Extent, table: int, priority: int
) -> None:
    """Rules and routes, also ahead of the address; what another address has on the same link stays."""
    other = {4: ip_address("10.0.0.101"), 6: ip_address("2001:db8:0:1::65")}[plumbing.address.version]
    beside = replace(plumbing, address=other, table=1065, priority=902, mark=0x20, mark_mask=0x20)
    now = replace(plumbing, table=table, priority=priority)
    for each in (beside, now):
        node.plumb(each, extent)
    as_it_should_be = node.everything()
    node.unplumb(now)
    node.plumb(plumbing, extent)
    node.host = KernelHost()
    assert node.plumb(now, extent).state is SOUND
    assert node.everything() == as_it_should_be
    assert node.plumb(beside, extent) == node.plumb(now, extent) == PlumbingReport(SOUND, extent=extent)
    node.plumb(plumbing, extent)
    node.unplumb(now)
    assert node.table(plumbing) == node.table(now) == []


@pytest.mark.parametrize("name", ["enp0s6", "77"])
def test_a_renamed_link_stays_sound(node: Node, name: str) -> None:
    """udev renames a link right after the hot plug, also while it is up: nothing of ours goes by the name, which may
    look like an index.
    """
    node.plumb()
    node.namespace.ip(f"link set ens6 name {name}")
    assert node.plumb() == PlumbingReport(SOUND)
    assert f'iif "{name}"' in node.nft()


def test_an_address_that_waits_for_duplicate_detection_is_replaced(node: Node) -> None:
    """Somebody else has added it: until then, and for ever once a duplicate was found, the kernel does not use it."""
    node.namespace.sysctl({"ipv6/conf/ens6/accept_dad": 1})
    node.plumb(IPV6)
    node.namespace.ip(f"address del {IPV6.address}/128 dev ens6", f"address add {IPV6.address}/128 dev ens6")
    assert "tentative" in node.namespace.run(["ip", "-6", "address", "show", "dev", "ens6", "to", str(IPV6.address)])
    report = node.plumb(IPV6)
    assert (report.state, report.repaired) == (SOUND, ("address",))
    assert "tentative" not in node.namespace.run(["ip", "-6", "address", "show", "to", str(IPV6.address)])


def test_a_link_plugged_in_again_is_plumbed_anew(node: Node) -> None:
    """Its index is another one, so the marks are replaced; the rules had stayed."""
    node.plumb()
    node.unplug()
    assert node.plumb() == PlumbingReport(NO_LINK)
    node.namespace.ip("link add taker type veth peer name far-taker")  # so that the index is not the old one
    node.plug("ens7")
    report = node.plumb()
    assert report == PlumbingReport(SOUND, ("link-up", "mtu", "address", "rp_filter", "route", "marks"))
    assert 'iif "ens7"' in node.nft()


def ip(node: Node, plumbing: Plumbing, command: str) -> None:
    """Somebody else's `ip`, in the address' family."""
    (node.namespace.ip if plumbing.address.version == 4 else node.namespace.ip6)(command)


@BOTH
@pytest.mark.parametrize("table", [77, 1064])
def test_a_rule_of_somebody_else_at_our_priority_stays_and_is_named(node: Node, plumbing: Plumbing, table: int) -> None:
    """Only what has our protocol number is ours, wherever it leads; the address is carried all the same."""
    other = str(plumbing.address - 1)
    ip(node, plumbing, f"rule add from {other} priority 900 table {table}")
    report = node.plumb(plumbing)
    assert report.state is SOUND
    assert report.problem == "rule: there is a rule of others at priority 900 or 901; set `priority` to free ones"
    node.unplumb(plumbing)
    rules = node.namespace.show(f"-{plumbing.address.version} rule show")
    assert [rule["src"] for rule in rules if rule["priority"] == 900] == [other]


@BOTH
def test_a_rule_of_somebody_else_that_says_the_same_is_as_good_as_ours(node: Node, plumbing: Plumbing) -> None:
    """The kernel would not take a second one; it is not removed with ours either."""
    ip(node, plumbing, f"rule add from {plumbing.address} priority 900 table 1064 proto static")
    report = node.plumb(plumbing)
    assert (report.state, report.problem) == (SOUND, "")
    assert node.unplumb(plumbing) == ("marks", "rule", "route", "address")
    assert list(rules_of_ours(node, plumbing)) == [900]


@BOTH
@pytest.mark.parametrize("extent", [Extent.AHEAD, Extent.ALL])
def test_a_table_with_routes_of_others_is_refused_by_name(node: Node, plumbing: Plumbing, extent: Extent) -> None:
    """Neither a route nor a rule is touched, before and after, nor by removing what is ours; then it goes on."""
    version = plumbing.address.version
    ip(node, plumbing, "route add default dev eth0 table 1064 proto static")
    before = node.table(plumbing), node.namespace.show(f"-{version} rule show")
    report = node.plumb(plumbing, extent)
    assert (report.state, report.problem) == (
        UNSOUND,
        "route: table 1064 has routes of others (default proto static); set `table` to a free one",
    )
    assert (node.table(plumbing), node.namespace.show(f"-{version} rule show")) == before
    node.unplumb(plumbing)
    assert (node.table(plumbing), node.namespace.show(f"-{version} rule show")) == before
    with pytest.raises(HostError, match=r"^table 1064 has routes of others"):
        node.namespace.call(lambda: node.host.route_probes(plumbing))
    node.namespace.call(lambda: node.host.unroute_probes(plumbing))
    ip(node, plumbing, "route del default table 1064")
    assert node.plumb(plumbing, extent).state is SOUND


@BOTH
def test_a_route_that_somebody_adds_to_our_table_is_named_and_outlives_ours(node: Node, plumbing: Plumbing) -> None:
    """Replies would go by it."""
    other = str(plumbing.address + 1)
    node.plumb(plumbing)
    ip(node, plumbing, f"route add {other} dev eth0 table 1064 proto dhcp")
    prefix = plumbing.address.max_prefixlen
    problem = f"route: table 1064 has routes of others ({other}/{prefix} proto dhcp); set `table` to a free one"
    report = node.plumb(plumbing)
    assert (report.state, report.problem, report.repaired) == (UNSOUND, problem, ())
    assert node.unplumb(plumbing) == ("marks", "rule", "route", "address")
    assert [route["dst"] for route in node.table(plumbing)] == [other]


def test_of_two_links_with_the_mac_the_older_is_meant(node: Node) -> None:
    """VLANs and bridges borrow the MAC of the link below them, which was there before."""
    node.plug("younger")
    node.plumb()
    assert ("ens6", "10.0.0.100", 32) in node.addresses()


def test_an_index_is_not_believed_when_its_mac_is_another(node: Node) -> None:
    """Indexes are remembered, and the kernel may give them to other links."""
    node.plumb()
    node.namespace.ip("link set ens6 address 02:00:00:00:00:65")
    assert node.plumb() == PlumbingReport(NO_LINK)


def kube_proxy(node: Node, plumbing: Plumbing, *served: str) -> None:
    """kube-proxy in nftables mode serves NodePorts at these addresses."""
    family, kind = ("ip", "ipv4_addr") if plumbing.address.version == 4 else ("ip6", "ipv6_addr")
    elements = f"elements = {{ {', '.join(served)} }};" if served else ""
    table = f"table {family} kube-proxy"
    named = f"{table} {{\n set nodeport-ips {{\n type {kind}; {elements}\n }}\n}}\n"
    node.namespace.nft(f"add {table}\ndelete {table}\n{named}")


@BOTH
def test_a_kube_proxy_that_serves_no_node_ports_at_the_address_is_named_with_the_remedy(
    node: Node, plumbing: Plumbing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In nftables mode it serves them at the primary address only; the address is carried all the same."""
    monkeypatch.setattr(marks, "NODE_PORTS_BELIEVED_FOR", 0.0)
    elsewhere = "10.0.0.10" if plumbing.address.version == 4 else "2001:db8:0:1::a"
    everywhere = "0.0.0.0/0" if plumbing.address.version == 4 else "::/0"
    kube_proxy(node, plumbing, elsewhere)
    report = node.plumb(plumbing)
    assert (report.state, report.problem) == (SOUND, "")
    assert report.kept_off == (
        f"kube-proxy (nftables mode) serves NodePorts at {elsewhere}, not at {plumbing.address};"
        f" set its nodePortAddresses to [{everywhere}]"
    )
    kube_proxy(node, plumbing)
    woken = threading.Event()
    node.namespace.call(lambda: node.host.watch(woken.set))
    assert node.plumb(plumbing).kept_off
    assert woken.wait(5.0), "the answer is news"
    assert "at no address, not at" in node.plumb(plumbing).kept_off


@BOTH
def test_a_kube_proxy_that_serves_the_address_or_all_is_no_problem(node: Node, plumbing: Plumbing) -> None:
    """It has no such set where it serves all addresses, nor in its other modes; a standby's may lack the address."""
    assert node.plumb(plumbing).kept_off == ""
    kube_proxy(node, plumbing, str(plumbing.address))
    node.host = KernelHost()
    assert node.plumb(plumbing).kept_off == ""
    kube_proxy(node, plumbing, "10.0.0.10" if plumbing.address.version == 4 else "2001:db8:0:1::a")
    node.host = KernelHost()
    assert node.plumb(plumbing, Extent.AHEAD).kept_off == ""


def test_a_missing_nft_is_said_and_the_rest_is_plumbed(node: Node) -> None:
    """The node's own sockets can answer then, though no NodePort can."""
    node.host = KernelHost(nft="no-such-nft")
    report = node.plumb()
    assert report.state is UNSOUND
    assert report.repaired == ("link-up", "mtu", "address", "rp_filter", "route", "rule")
    assert report.problem == "marks: no-such-nft: command not found; the image must contain nftables"
    assert node.unplumb() == ("rule", "route", "address")
    node.host.close()


def test_a_refusal_of_the_kernel_is_one_line(node: Node) -> None:
    """The report names the part and the kernel's reason; nothing is raised, and what can be done is done."""
    node.namespace.sysctl({"ipv6/conf/ens6/disable_ipv6": 1})
    report = node.plumb(IPV6)
    assert (report.state, report.problem) == (
        UNSOUND,
        "address: net.ipv6.conf.ens6.disable_ipv6 is 1; set it and net.ipv6.conf.default.disable_ipv6 to 0",
    )
    assert {"link-up", "mtu", "rule", "marks"} <= set(report.repaired)


def test_a_link_without_carrier_is_not_sound(node: Node) -> None:
    """Nothing arrives over it, whatever else is configured."""
    node.namespace.ip("link set far-ens6 down")
    report = node.plumb()
    assert (report.state, report.problem) == (UNSOUND, "carrier: link ens6 has none")
    node.namespace.ip("link set far-ens6 up")
    assert node.plumb() == PlumbingReport(SOUND)


@BOTH
def test_unplumb_leaves_no_trace(node: Node, plumbing: Plumbing) -> None:
    """Everything is as before, except that the link is still up; a second time there is nothing to do."""
    node.namespace.ip("link set ens6 up mtu 9001")
    node.namespace.nft("table inet somebody { chain c { type filter hook prerouting priority 0; }; }")
    before = node.everything()
    node.plumb(plumbing)
    assert node.everything() != before
    assert node.unplumb(plumbing) == ("marks", "rule", "route", "address")
    assert node.everything() == before
    assert node.unplumb(plumbing) == ()


@BOTH
def test_unplumb_needs_no_link(node: Node, plumbing: Plumbing) -> None:
    """When the ENI is gone the kernel has taken routes and address along; rules and marks are left for us."""
    node.unplug()
    before = node.everything()
    node.plug()
    node.plumb(plumbing)
    node.unplug()
    assert node.unplumb(plumbing) == ("marks", "rule")
    assert node.everything() == before


def test_probes_go_by_the_gateway(node: Node) -> None:
    """On a standby the next hop to the floating address is the router, not the address itself, until that is undone."""
    before = node.everything()
    for _ in range(2):
        node.namespace.call(lambda: node.host.route_probes(IPV4))
        (route,) = node.namespace.show("route get 10.0.0.100")
        assert (route["gateway"], route["dev"]) == ("10.0.0.1", "eth0")
    for _ in range(2):
        node.namespace.call(lambda: node.host.unroute_probes(IPV4))
        assert node.everything() == before


def test_probes_go_by_the_primary_link_s_own_gateway_in_another_subnet(node: Node) -> None:
    """The gateway of the ENI's subnet cannot be reached from a primary link in another one."""
    node.namespace.call(lambda: node.host.route_probes(replace(IPV4, gateway=ip_address("10.0.7.1"))))
    (route,) = node.namespace.show("route get 10.0.0.100")
    assert route["gateway"] == "10.0.0.1"


def test_the_probe_route_replaces_another_one_of_ours(node: Node) -> None:
    """Such as a leftover by another link."""
    node.namespace.ip("link set ens6 up", "route add 10.0.0.100 dev ens6 proto 102")
    node.namespace.call(lambda: node.host.route_probes(IPV4))
    (route,) = node.namespace.show("route get 10.0.0.100")
    assert (route["gateway"], route["dev"]) == ("10.0.0.1", "eth0")


@BOTH
@pytest.mark.parametrize("metric", ["", "metric 7"])
def test_a_route_of_others_to_the_address_stays_and_is_named(node: Node, plumbing: Plumbing, metric: str) -> None:
    """It is neither replaced nor, by and by, removed."""
    address, version = plumbing.address, plumbing.address.version
    node.namespace.ip("link set ens6 up")
    ip(node, plumbing, f"route add {address} dev ens6 proto static {metric}")
    before = node.namespace.show(f"-{version} route show {address}")
    said = f"the main table has a route of others to {address} ({address}/{address.max_prefixlen} proto static)"
    with pytest.raises(HostError, match=re.escape(f"{said}; remove that route")):
        node.namespace.call(lambda: node.host.route_probes(plumbing))
    node.namespace.call(lambda: node.host.unroute_probes(plumbing))
    assert node.namespace.show(f"-{version} route show {address}") == before
    assert before


def test_the_holder_does_not_route_its_own_address_away(node: Node) -> None:
    """An address of this node needs no route."""
    node.plumb()
    before = node.everything()
    node.namespace.call(lambda: node.host.route_probes(IPV4))
    assert node.everything() == before


@BOTH
def test_a_standby_that_is_plumbed_ahead_probes_by_its_primary_link(node: Node, plumbing: Plumbing) -> None:
    """What it sends to the address leaves by the gateway and eth0, though a second link stands ready for it."""
    node.namespace.ip("address add 2001:db8:0:1::10/128 dev eth0", "route add default via fe80:ec2::1 dev eth0 onlink")
    node.plumb(plumbing, Extent.AHEAD)
    node.namespace.call(lambda: node.host.route_probes(plumbing))
    (route,) = node.namespace.show(f"route get {plumbing.address}")
    gateway = "10.0.0.1" if plumbing.address.version == 4 else "fe80:ec2::1"
    assert (route["gateway"], route["dev"]) == (gateway, "eth0")


def test_without_a_primary_link_probes_cannot_be_routed(node: Node) -> None:
    """Said in an error of one line, which names the MAC."""
    elsewhere = replace(IPV4, primary_mac="02:00:00:00:00:99")
    with pytest.raises(HostError, match=r"^no link has the primary MAC 02:00:00:00:00:99$"):
        node.namespace.call(lambda: node.host.route_probes(elsewhere))
    assert node.plumb(elsewhere).problem == "mtu: no link has the primary MAC 02:00:00:00:00:99"


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


PLUMBINGS = int(os.environ.get("PLUMBINGS", "4000"))
"""How many are tried: PLUMBINGS=16000 takes half a minute."""


def test_thousands_of_plumbings_leave_nothing_in_memory(node: Node) -> None:
    """Neither looks nor repairs, nor the events that they cause: a node has one every few seconds, for months."""

    def plumb(times: int) -> None:
        for number in range(times):
            node.host.plumb(IPV4, Extent.AHEAD if number % 50 == 0 else Extent.ALL)

    node.namespace.call(lambda: node.host.watch(lambda: None))
    node.namespace.call(lambda: plumb(1000))
    before = resident()
    node.namespace.call(lambda: plumb(PLUMBINGS))
    assert resident() - before < PLUMBINGS * 62, "a megabyte for 16,000"


ITSELF = f'exec {shutil.which("nft")} "$@"'
SCRIPTS: list[tuple[str, str, str]] = [
    ("hangs", "sleep 1000", "nft: no answer within 0.2 s"),
    ("hangs-and-ignores-sigterm", "trap '' TERM; while :; do sleep 1; done", "nft: no answer within 0.2 s"),
    ("leaves-a-child-with-its-output", "sleep 1000 & exit 0", "nft: no answer within 0.2 s"),
    ("closes-its-output-and-stays", "exec >&- 2>&-; sleep 1000", "nft: no answer within 0.2 s"),
    ("dies-by-a-signal", "kill -9 $$", "nft: ended by signal 9"),
    ("fails", "echo no such luck >&2; exit 1", "nft: no such luck"),
    ("fails-without-a-word", "exit 3", "nft: exit code 3"),
    ("complains-without-end", "yes complaint >&2", "still not as they should be, though nft reported no error"),
]
SHAPES = {
    "prints-without-end": "yes",
    "nothing": "true",
    "no-json": "echo '{'",
    "a-list": "echo '[]'",
    "null": "echo null",
    "a-number": "echo 1",
    "another-key": """echo '{"iptables": []}'""",
    "null-for-entries": """echo '{"nftables": null}'""",
    "a-string-for-entries": """echo '{"nftables": "table"}'""",
    "entries-that-are-none": """echo '{"nftables": [1, null, "x", [], {}]}'""",
    "things-that-are-none": """echo '{"nftables": [{"table": 1}, {"rule": null}, {"rule": []}]}'""",
    "no-list-of-expressions": """echo '{"nftables": [{"rule": {"expr": 1}}, {"rule": {"expr": {"match": 1}}}]}'""",
    "odd-expressions": """echo '{"nftables": [{"rule": {"expr": [1, {"match": null}, {"match": {"op": "=="}}]}}]}'""",
    "an-odd-link": r"""echo '{"nftables": [{"rule": {"expr": [{"match": {"left": {"meta": {"key": "iif"}},
                    "right": "\u00b2\u0000"}}]}}]}'""",
    "deep": "head -c 200000 /dev/zero | tr '\\0' '['",
    "a-long-number": "head -c 200000 /dev/zero | tr '\\0' '1'",
    "no-text": "head -c 1000 /dev/zero | tr '\\0' '\\377'",
}
SCRIPTS += [
    (what, script, "still not as they should be, though nft reported no error") for what, script in SHAPES.items()
]


@pytest.fixture
def nft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Make an nft that does what a script says; the pauses around it are short."""
    monkeypatch.setattr(marks, "PATIENCE", 0.5)
    monkeypatch.setattr("floatingip.edges.kernel.nft.NFT_SECONDS", 0.2)
    monkeypatch.setattr(marks, "ASKED_AGAIN_AFTER", 0.05)

    def make(script: str) -> str:
        command = tmp_path / "nft"
        new = tmp_path / "new"
        new.write_text(f"#!/bin/sh\n{script}\n")
        new.chmod(0o755)
        new.rename(command)
        return str(command)

    return make


@pytest.mark.parametrize(("script", "problem"), [(s, p) for _, s, p in SCRIPTS], ids=[what for what, _, _ in SCRIPTS])
def test_whatever_nft_does_the_rest_is_plumbed_and_it_is_said(
    node: Node, nft: Callable[[str], str], script: str, problem: str
) -> None:
    """It is a problem, never an exception, nor sound; as soon as nft is itself again the marks follow."""
    node.host = KernelHost(nft(script))
    report = node.plumb()
    assert report.state is not SOUND
    assert report.repaired == ("link-up", "mtu", "address", "rp_filter", "route", "rule")
    deadline = time.monotonic() + 10
    while report.problem != f"marks: {problem}":
        assert time.monotonic() < deadline, report
        report = node.plumb()
    nft(ITSELF)
    while (report := node.plumb()).state is not SOUND:
        assert time.monotonic() < deadline, report
    assert "mark set" in node.nft()


@pytest.mark.parametrize("script", ["sleep 1000", "kill -9 $$", "exit 1"])
def test_marks_that_were_read_hold_while_nft_is_silent_and_nothing_touches_them(
    node: Node, nft: Callable[[str], str], script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder must not be relieved since nft is slow; that it is silent for long is said."""
    monkeypatch.setattr(marks, "BELIEVED_FOR", 0.0)
    node.host = KernelHost(nft(ITSELF))
    touched = threading.Event()
    node.namespace.call(lambda: node.host.watch(touched.set))
    node.plumb()
    settle(touched)
    assert node.plumb().state is SOUND
    nft(script)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        assert node.plumb() == PlumbingReport(SOUND)
    monkeypatch.setattr(marks, "UNKNOWN_FOR", 0.5)
    report = node.plumb()
    assert report.state is SOUND
    assert report.problem.startswith("marks: nft: ")
    assert report.problem.endswith("; nothing has touched them since")


def test_marks_that_were_touched_are_uncertain_while_nft_is_silent_and_missing_after_a_while(
    node: Node, nft: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows: neither that they are there, nor, as in kube-proxy's long syncs, that they are not."""
    touched = threading.Event()
    node.host = KernelHost(nft(ITSELF))
    node.namespace.call(lambda: node.host.watch(touched.set))
    node.plumb()
    settle(touched)
    assert node.plumb().state is SOUND
    nft("sleep 1000")
    node.namespace.nft("table inet somebody { }")
    assert touched.wait(1)
    assert node.plumb().state is SOUND, "it was another table"
    settle(touched)
    node.namespace.nft(f"flush table inet {MARKS}")
    assert touched.wait(1)
    assert node.plumb().state is PlumbingState.UNCERTAIN
    monkeypatch.setattr(marks, "UNKNOWN_FOR", 0.5)
    time.sleep(0.6)
    assert node.plumb().state is UNSOUND
    nft(ITSELF)
    deadline = time.monotonic() + 10
    while (report := node.plumb()).state is not SOUND:
        assert time.monotonic() < deadline, report
    assert "mark set" in node.nft()


def test_no_more_than_three_nfts_that_cannot_be_killed_are_left_behind(
    node: Node, nft: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel keeps those that wait for another one's transaction; nobody waits for them."""
    started = Path(nft("true")).with_name("started")
    node.host = KernelHost(nft(f"echo >> {started}; sleep 1000"))
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _: killed.append(group))
    try:
        deadline = time.monotonic() + 10
        while "3 of them were killed" not in node.plumb().problem:
            assert time.monotonic() < deadline
        time.sleep(0.5)
        began = time.monotonic()
        for _ in range(20):
            node.plumb()
        assert time.monotonic() - began < 5
        assert len(started.read_text()) == 3
    finally:
        monkeypatch.undo()
        for group in killed:
            os.killpg(group, signal.SIGKILL)


def test_one_hanging_nft_delays_no_address(
    node: Node, nft: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it twice."""
    monkeypatch.setattr("floatingip.edges.kernel.nft.NFT_SECONDS", 5.0)
    node.host = KernelHost(nft("sleep 1000"))
    node.plumb()
    began = time.monotonic()
    for last in range(1, 21):
        others = replace(IPV4, address=ip_address(f"10.0.0.{last + 100}"), table=1100 + last, priority=1000 + 2 * last)
        assert node.plumb(others).carries
    assert time.monotonic() - began < 20 * marks.PATIENCE / 2


ALL_LINKS = 18  # RTM_GETLINK


class OddKernel(Netlink):
    """The kernel's rtnetlink, whose answers are spoilt on their way."""

    def __init__(self, spoil: Callable[[bytes], bytes | Exception]) -> None:
        super().__init__()
        self.spoil = spoil

    def _receive(self) -> bytes:
        said = self.spoil(super()._receive())
        if isinstance(said, Exception):
            raise said
        return said


def without_attributes(said: bytes) -> bytes:
    """Each message of a dump with its head only."""
    kept = b""
    while said:
        (length,) = struct.unpack_from("=I", said)
        head = {16: 32, 20: 24, 24: 28, 32: 28}.get(struct.unpack_from("=H", said, 4)[0], length)
        kept += struct.pack("=I", head) + said[4:head]
        said = said[(length + 3) & ~3 :]
    return kept


def interrupted(said: bytes) -> bytes:
    """A dump during which something has changed."""
    return said[:6] + b"\x12\x00" + said[8:]


ODD: list[tuple[str, Callable[[bytes], bytes | Exception], str]] = [
    ("no-answer", lambda said: TimeoutError(), "netlink: no answer within 0.2 s"),
    ("overrun", lambda said: OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)), "No buffer space available"),
    ("interrupted-for-ever", interrupted, "the kernel interrupted 5 dumps in a row"),
    ("cut-off", lambda said: said[:50], "cannot be read"),
    ("too-long", lambda said: b"\xff" * 4 + said[4:], "cannot be read"),
    ("nothing", lambda said: b"\x10\x00\x00\x00" + b"\0" * 12, "netlink: no answer within 0.2 s"),
    ("attributes-that-are-none", lambda said: said[:32] + b"\x02\x00" + said[34:], "cannot be read"),
]


@pytest.mark.parametrize(("spoil", "problem"), [(s, p) for _, s, p in ODD], ids=[what for what, _, _ in ODD])
def test_whatever_netlink_answers_is_a_report_or_an_error_of_one_line(
    node: Node, spoil: Callable[[bytes], bytes | Exception], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is raised, or the thread would end; and afterwards it goes on."""
    monkeypatch.setattr(netlink, "ANSWER_WITHIN", 0.2 if problem.endswith("0.2 s") else 5.0)
    odd = node.host._netlink = OddKernel(spoil)
    report = node.plumb()
    assert report.state is UNSOUND
    assert problem in report.problem
    assert "\n" not in report.problem
    for act in (node.host.unplumb, node.host.route_probes, node.host.unroute_probes):
        with contextlib.suppress(HostError):
            node.namespace.call(partial(act, IPV4))
    node.namespace.call(lambda: node.host.announce(IPV4))
    with pytest.raises(OSError, match=r"."):
        node.namespace.call(lambda: odd.dump(ALL_LINKS, bytes(16), 16))
    odd.spoil = lambda said: said
    assert node.plumb().state is SOUND


def test_a_kernel_that_does_not_answer_makes_uncertain_what_was_complete(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a while, and nothing that was found missing: nobody moves an address since a driver keeps rtnetlink busy."""
    monkeypatch.setattr(netlink, "ANSWER_WITHIN", 0.2)
    odd = node.host._netlink = OddKernel(lambda said: TimeoutError())
    assert node.plumb().state is UNSOUND, "it was never complete"
    odd.spoil = lambda said: said
    assert node.plumb().state is SOUND
    odd.spoil = lambda said: TimeoutError()
    report = node.plumb()
    assert report.state is PlumbingState.UNCERTAIN
    assert report.problem == "link: netlink: no answer within 0.2 s"
    assert node.plumb(replace(IPV4, table=1065)).state is UNSOUND, "another one was complete"
    odd.spoil = lambda said: said
    for extent in (Extent.AHEAD, Extent.ALL):
        node.plumb(IPV4, extent)
        odd.spoil = lambda said: TimeoutError()
        report = node.plumb(IPV4, Extent.AS_FOUND)
        assert (report.state, report.extent) == (PlumbingState.UNCERTAIN, extent), "as it was found last"
        odd.spoil = lambda said: said
    odd.spoil = lambda said: said
    node.plumb()
    monkeypatch.setattr("floatingip.edges.kernel.host.UNKNOWN_FOR", 0.0)
    odd.spoil = lambda said: TimeoutError()
    assert node.plumb().state is PlumbingState.UNCERTAIN
    assert node.plumb().state is UNSOUND, "that was long enough"


def test_messages_without_attributes_are_of_others(node: Node) -> None:
    """A link without a MAC, a route without a link, a rule without a priority: nothing is read into them."""
    odd = node.host._netlink = OddKernel(without_attributes)
    assert node.plumb() == PlumbingReport(NO_LINK)
    assert node.unplumb() == ()
    odd.spoil = lambda said: said
    assert node.plumb().state is SOUND


def test_odd_routes_and_rules_of_others_are_passed_over(node: Node) -> None:
    """Several next hops, no next hop, a next hop of the other family, and all that a rule can select by."""
    node.plumb()
    node.namespace.ip(
        "route add 10.0.9.0/24 nexthop via 10.0.0.1 weight 1 nexthop via 10.0.0.2 weight 2",
        "route add blackhole 10.0.8.0/24",
        "route add 10.0.7.0/24 via inet6 fe80::1 dev eth0",
        "rule add priority 1800 from 10.0.0.9 to 10.0.1.0/24 tos 0x10 iif lo ipproto tcp dport 80 lookup 8",
        "rule add priority 1803 lookup main suppress_prefixlength 0",
        "rule add priority 1801 uidrange 0-0 prohibit",
        "rule add priority 1802 goto 32766",
        "address add 10.0.0.77 peer 10.0.0.101 dev eth0",
    )
    assert node.plumb() == PlumbingReport(SOUND)
    node.unplumb()
    node.namespace.call(lambda: node.host.route_probes(IPV4))
    (route,) = node.namespace.show("route show 10.0.0.100")
    assert (route["gateway"], route["protocol"]) == ("10.0.0.1", "102")


CHANGES: list[tuple[str, str]] = [
    ("ip link add new type veth peer name far-new", "a link"),
    ("ip link set ens6 mtu 1400", "an MTU"),
    ("ip link set ens6 name enp0s6", "a name"),
    ("ip address add 10.0.0.77/32 dev eth0", "an address"),
    ("ip address change 10.0.0.10/24 dev eth0 valid_lft 99 preferred_lft 99", "an address's life"),
    ("ip -6 address add 2001:db8::7/128 dev eth0", "an IPv6 address"),
    ("ip -6 address change fe80::ff:fe00:a/64 dev eth0 valid_lft 99 preferred_lft 99", "an IPv6 address's life"),
    ("ip route add 10.7.0.0/16 via 10.0.0.1", "a route"),
    ("ip -6 route add 2001:db8:7::/48 dev eth0", "an IPv6 route"),
    ("ip rule add priority 1800 table 8", "a rule"),
    ("ip -6 rule add priority 1800 table 8", "an IPv6 rule"),
    ("echo 1 > /proc/sys/net/ipv4/conf/ens6/rp_filter", "rp_filter"),
    ("nft add table inet somebody", "nft"),
]


@pytest.mark.parametrize("command", [command for command, _ in CHANGES], ids=[what for _, what in CHANGES])
def test_watch_wakes_at_every_kind_of_change(node: Node, command: str) -> None:
    """Within a second, in a thread of its own, and not again when nothing happens."""
    woken = threading.Event()
    node.namespace.call(lambda: node.host.watch(woken.set))
    settle(woken)
    node.namespace.run(["sh", "-e", "-c", command])
    assert woken.wait(1)


def test_watch_goes_on_after_an_overrun(node: Node) -> None:
    """More events than the socket holds, while nobody reads, are one more reason to look, and not the end."""
    asleep, woken = threading.Event(), threading.Event()

    def wake() -> None:
        woken.set()
        asleep.wait()

    node.namespace.call(lambda: node.host.watch(wake))
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
    node.namespace.call(lambda: node.host.watch(woken.set))
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
    keeper.want(IPV4.address, Wanted(IPV4, Extent.AHEAD))
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
                keeper.want(IPV4.address, Wanted(IPV4, extent))
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
    keeper.want(plumbing.address, Wanted(plumbing, extent))
    node.namespace.call(keeper.start)
    version, deadline = plumbing.address.version, time.monotonic() + timing.HOST_CHECK / 2
    try:
        for damage in (f"ip -{version} route flush proto 102", f"ip -{version} route del {plumbing.address}"):
            while not node.namespace.show(f"-{version} route show {plumbing.address}"):
                assert time.monotonic() < deadline
            time.sleep(0.3)
            node.namespace.run(["sh", "-c", damage])
        while not node.namespace.show(f"-{version} route show {plumbing.address}"):
            assert time.monotonic() < deadline
        if extent is Extent.AHEAD:
            ahead = node.everything()
            for damage in (
                "nft flush ruleset",
                f"ip -{version} rule del priority 901",
                f"ip -{version} route flush table 1064",
            ):
                node.namespace.run(["sh", "-c", damage])
                while node.everything() != ahead:
                    assert time.monotonic() < deadline, damage
    finally:
        keeper.end(within=5)


def settle(woken: threading.Event) -> None:
    """Wait until nothing has happened for 0.1 s: links that have just come up still get addresses and routes."""
    while woken.is_set() or woken.wait(0.1):
        woken.clear()


RESTRICTED = """
import time
from floatingip.edges.kernel.host import KernelHost
from tests.lab.test_host import IPV4
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
