"""The host's plumbing on a real kernel: one namespace with a primary link and an ENI, both plain veth pairs."""

import threading
from dataclasses import replace
from ipaddress import ip_address

import pytest

from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport
from floatingip.edges.kernel.host import KernelHost
from tests.lab.plumbed import BOTH, IPV4, IPV6, MARKS, NO_LINK, SOUND, UNSOUND, Node, ip, rules_of_ours


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
    assert rules_of_ours(node, plumbing) == {900: (str(plumbing.address), None, "1064"), 901: ("all", "0x40", "1064")}
    assert [rule["fwmask"] for rule in node.rules(plumbing) if rule["priority"] == 901] == ["0x40"]
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
    assert not report.is_here
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
    assert rules_of_ours(node, plumbing) == {900: (str(plumbing.address), None, "1064"), 901: ("all", "0x40", "1064")}
    report = node.plumb(plumbing, Extent.AHEAD)
    assert (report.state, report.removed) == (SOUND, ("address",))
    assert node.everything() == ahead


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


@BOTH
@pytest.mark.parametrize(
    ("found", "damage", "repaired"),
    [
        (Extent.ALL, "route flush table 1064", "route"),
        (Extent.ALL, "rule del priority 900", "rule"),
        (Extent.AHEAD, "rule del priority 901", "rule"),
    ],
)
def test_what_an_observer_has_left_is_mended(
    node: Node, plumbing: Plumbing, found: Extent, damage: str, repaired: str
) -> None:
    """After its restart, before EC2 has told whose the link is: it is known by the routes, or the address' rule."""
    node.plumb(plumbing, found)
    before = node.everything()
    ip(node, plumbing, damage)
    assert node.plumb(plumbing, Extent.AS_LEFT) == PlumbingReport(SOUND, (repaired,), extent=found)
    assert node.everything() == before


@BOTH
def test_a_link_that_no_observer_has_plumbed_is_left_alone(node: Node, plumbing: Plumbing) -> None:
    """It may be somebody else's, who has the address by DHCP, and an MTU of their own."""
    node.namespace.ip("link set ens6 up mtu 1400", f"address add {plumbing.address} dev ens6")
    # As another address of ours has left it, before FLOATING_IP was changed.
    ip(node, plumbing, "rule add fwmark 0x40/0x40 priority 901 table 1064 proto 102")
    before = node.everything(), node.namespace.show("link show ens6")
    assert node.plumb(plumbing, Extent.AS_LEFT) == PlumbingReport(NO_LINK, extent=Extent.NOTHING)
    assert (node.everything(), node.namespace.show("link show ens6")) == before


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


DAMAGE: dict[str, tuple[str, tuple[str, ...]]] = {
    "a changed MTU": ("ip link set ens6 mtu 1500", ("mtu",)),
    "a removed address, routes with it": ("ip address del 10.0.0.100/32 dev ens6", ("address", "route")),
    "a flushed table": ("ip route flush table 1064", ("route",)),
    "a removed default route": ("ip route del default table 1064", ("route",)),
    "a default route by another link": (
        "ip route replace default via 10.0.0.1 dev eth0 table 1064 proto 102",
        ("route",),
    ),
    "one route more": ("ip route add 10.0.0.7 dev eth0 table 1064 proto 102", ("route",)),
    "routes deleted one by one": ("ip route del default table 1064; ip route del 10.0.0.1 table 1064", ("route",)),
    "a removed rule": ("ip rule del priority 900", ("rule",)),
    "a removed mark rule": ("ip rule del priority 901", ("rule",)),
    "flushed rules": (
        "ip rule flush; ip rule add priority 32766 lookup main; ip rule add priority 32767 lookup default",
        ("rule",),
    ),
    "the rule of a version before, which held for what pods send": (
        "ip rule del priority 900; ip rule add from 10.0.0.100 priority 900 table 1064 proto 102",
        ("rule",),
    ),
    "a rule of an address before": ("ip rule add from 10.0.0.99 priority 900 table 1064 proto 102", ("rule",)),
    "strict rp_filter": ("echo 1 > /proc/sys/net/ipv4/conf/ens6/rp_filter", ("rp_filter",)),
    "a flushed ruleset": ("nft flush ruleset", ("marks",)),
    "a flushed chain": (f"nft flush chain inet {MARKS} output", ("marks",)),
    "a foreign rule in our chain": (f"nft insert rule inet {MARKS} prerouting accept", ("marks",)),
    "a sleeping table": (f"nft 'add table inet {MARKS} {{ flags dormant; }}'", ("marks",)),
    "a link flap": ("ip link set ens6 down; ip link set ens6 up", ("route",)),
    "a link without ARP": ("ip link set ens6 arp off", ("link-up",)),
    "a link taken down": ("ip link set ens6 down", ("link-up", "route")),
}


@pytest.mark.parametrize(("command", "repaired"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_noticed_and_repaired(node: Node, command: str, repaired: tuple[str, ...]) -> None:
    """Whatever is taken away or added is named in the report, and afterwards all is as it was."""
    node.plumb()
    before = node.everything()
    node.namespace.run(["sh", "-e", "-c", command])
    assert node.plumb() == PlumbingReport(SOUND, repaired)
    assert node.everything() == before


@BOTH
@pytest.mark.parametrize(
    ("command", "repaired"),
    [
        ("route del local {address} table local", ("address",)),
        ("route flush table local dev ens6", ("address",)),
        ("route flush table all dev ens6", ("address", "route")),
    ],
)
def test_the_kernels_own_route_of_the_address_is_there_again(
    node: Node, plumbing: Plumbing, command: str, repaired: tuple[str, ...]
) -> None:
    """Without it nothing that comes for the address is taken in, though the link has it."""
    node.plumb(plumbing)
    before, local = node.everything(), local_route(node, plumbing)
    ip(node, plumbing, command.format(address=plumbing.address))
    assert not local_route(node, plumbing)
    assert node.plumb(plumbing) == PlumbingReport(SOUND, repaired)
    assert node.plumb(plumbing) == PlumbingReport(SOUND)
    assert (node.everything()[3:], local_route(node, plumbing)) == (before[3:], local)
    node.unplumb(plumbing)
    assert not local_route(node, plumbing)


def local_route(node: Node, plumbing: Plumbing) -> list[dict[str, object]]:
    """By which the node takes in what comes for the address."""
    return node.namespace.show(f"-{plumbing.address.version} route show table local {plumbing.address}")


def beside(plumbing: Plumbing) -> Plumbing:
    """That of another address of the same family, on the same link."""
    other = {4: ip_address("10.0.0.101"), 6: ip_address("2001:db8:0:1::65")}[plumbing.address.version]
    return replace(plumbing, address=other, table=1065, priority=902, mark=0x20, mark_mask=0x20)


@BOTH
@pytest.mark.parametrize("extent", [Extent.AHEAD, Extent.ALL])
@pytest.mark.parametrize(("table", "priority"), [(1070, 900), (1070, 950), (1064, 950)])
def test_what_other_settings_have_left_is_taken_away(
    node: Node, plumbing: Plumbing, extent: Extent, table: int, priority: int
) -> None:
    """Rules, which would come before those of now, and routes, also ahead of the address; what others have stays."""
    other = beside(plumbing)
    now = replace(plumbing, table=table, priority=priority)
    for each in (other, now):
        node.plumb(each, extent)
    as_it_should_be = node.everything()
    node.unplumb(now)
    node.plumb(plumbing, extent)
    node.host = KernelHost()
    assert node.plumb(now, extent).state is SOUND
    assert node.everything() == as_it_should_be
    assert node.plumb(other, extent) == node.plumb(now, extent) == PlumbingReport(SOUND, extent=extent)
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


def test_a_carrier_that_comes_soon_after_the_link_is_up_is_waited_for(node: Node) -> None:
    """A takeover would be told as an error otherwise."""
    node.namespace.ip("link set far-ens6 down")
    late = threading.Timer(0.3, lambda: node.namespace.ip("link set far-ens6 up"))
    late.start()
    report = node.plumb()
    late.join()
    assert (report.state, report.problem) == (SOUND, "")


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
