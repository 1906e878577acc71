"""The host's plumbing on a real kernel: one namespace with a primary link and an ENI, both plain veth pairs."""

import re
import threading
from dataclasses import replace
from ipaddress import ip_address

import pytest

from floatingip.core.errors import HostError
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport
from floatingip.edges.kernel import marks
from floatingip.edges.kernel.host import KernelHost
from tests.lab.plumbed import BOTH, IPV4, IPV6, MARKS, NO_LINK, SOUND, UNSOUND, Node, ip


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
    assert rules_of_ours(node, plumbing) == {
        900: (str(plumbing.address), None, "1064"),
        901: ("all", "0x40", "1064"),
    }
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
    ours = (rule for rule in node.rules(plumbing) if rule["priority"] in (900, 901))
    return {rule["priority"]: (rule["src"], rule.get("fwmark"), rule["table"]) for rule in ours}


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
    "routes deleted one by one": (
        "ip route del default table 1064; ip route del 10.0.0.1 table 1064",
        ("route",),
    ),
    "a removed rule": ("ip rule del priority 900", ("rule",)),
    "a removed mark rule": ("ip rule del priority 901", ("rule",)),
    "flushed rules": (
        "ip rule flush; ip rule add priority 32766 lookup main; ip rule add priority 32767 lookup default",
        ("rule",),
    ),
    "a rule of an address before": ("ip rule add from 10.0.0.99 priority 900 table 1064 proto 102", ("rule",)),
    "strict rp_filter": ("echo 1 > /proc/sys/net/ipv4/conf/ens6/rp_filter", ("rp_filter",)),
    "a flushed ruleset": ("nft flush ruleset", ("marks",)),
    "a flushed chain": (f"nft flush chain inet {MARKS} output", ("marks",)),
    "a foreign rule in our chain": (f"nft insert rule inet {MARKS} prerouting accept", ("marks",)),
    "a sleeping table": (f"nft 'add table inet {MARKS} {{ flags dormant; }}'", ("marks",)),
    "a link flap": ("ip link set ens6 down; ip link set ens6 up", ("route",)),
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


def beside(plumbing: Plumbing) -> Plumbing:
    """That of another address of the same family, on the same link."""
    other = {4: ip_address("10.0.0.101"), 6: ip_address("2001:db8:0:1::65")}[plumbing.address.version]
    return replace(plumbing, address=other, table=1065, priority=902, mark=0x20, mark_mask=0x20)


@BOTH
def test_rules_that_other_settings_have_left_are_taken_away(node: Node, plumbing: Plumbing) -> None:
    """They would come before those of now; what another address has stays."""
    other = beside(plumbing)
    for each in (other, plumbing):
        assert node.plumb(each).state is SOUND
    now = replace(plumbing, table=1070, priority=950)
    assert node.plumb(now).state is SOUND
    found = {(rule["priority"], rule["table"]) for rule in node.rules(plumbing) if rule.get("protocol") == "102"}
    assert found == {(902, "1065"), (903, "1065"), (950, "1070"), (951, "1070")}
    assert node.plumb(other) == node.plumb(now) == PlumbingReport(SOUND)


@BOTH
@pytest.mark.parametrize("extent", [Extent.AHEAD, Extent.ALL])
@pytest.mark.parametrize(("table", "priority"), [(1070, 900), (1070, 950), (1064, 950)])
def test_what_other_settings_have_left_is_taken_away(
    node: Node, plumbing: Plumbing, extent: Extent, table: int, priority: int
) -> None:
    """Rules and routes, also ahead of the address; what another address has on the same link stays."""
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
    assert [rule["src"] for rule in node.rules(plumbing) if rule["priority"] == 900] == [other]


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
    ip(node, plumbing, "route add default dev eth0 table 1064 proto static")
    before = node.table(plumbing), node.rules(plumbing)
    report = node.plumb(plumbing, extent)
    assert (report.state, report.problem) == (
        UNSOUND,
        "route: table 1064 has routes of others (default proto static); set `table` to a free one",
    )
    assert (node.table(plumbing), node.rules(plumbing)) == before
    node.unplumb(plumbing)
    assert (node.table(plumbing), node.rules(plumbing)) == before
    with pytest.raises(HostError, match=r"^table 1064 has routes of others"):
        node.route_probes(plumbing)
    node.unroute_probes(plumbing)
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
    node.watch(woken.set)
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
        node.route_probes()
        assert node.route_to("10.0.0.100") == ("10.0.0.1", "eth0")
    for _ in range(2):
        node.unroute_probes()
        assert node.everything() == before


def test_probes_go_by_the_primary_link_s_own_gateway_in_another_subnet(node: Node) -> None:
    """The gateway of the ENI's subnet cannot be reached from a primary link in another one."""
    node.route_probes(replace(IPV4, gateway=ip_address("10.0.7.1")))
    (route,) = node.namespace.show("route get 10.0.0.100")
    assert route["gateway"] == "10.0.0.1"


def test_the_probe_route_replaces_another_one_of_ours(node: Node) -> None:
    """Such as a leftover by another link."""
    node.namespace.ip("link set ens6 up", "route add 10.0.0.100 dev ens6 proto 102")
    node.route_probes()
    assert node.route_to("10.0.0.100") == ("10.0.0.1", "eth0")


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
        node.route_probes(plumbing)
    node.unroute_probes(plumbing)
    assert node.namespace.show(f"-{version} route show {address}") == before
    assert before


def test_the_holder_does_not_route_its_own_address_away(node: Node) -> None:
    """An address of this node needs no route."""
    node.plumb()
    before = node.everything()
    node.route_probes()
    assert node.everything() == before


@BOTH
def test_a_standby_that_is_plumbed_ahead_probes_by_its_primary_link(node: Node, plumbing: Plumbing) -> None:
    """What it sends to the address leaves by the gateway and eth0, though a second link stands ready for it."""
    node.namespace.ip("address add 2001:db8:0:1::10/128 dev eth0", "route add default via fe80:ec2::1 dev eth0 onlink")
    node.plumb(plumbing, Extent.AHEAD)
    node.route_probes(plumbing)
    (route,) = node.namespace.show(f"route get {plumbing.address}")
    gateway = "10.0.0.1" if plumbing.address.version == 4 else "fe80:ec2::1"
    assert (route["gateway"], route["dev"]) == (gateway, "eth0")


def test_without_a_primary_link_probes_cannot_be_routed(node: Node) -> None:
    """Said in an error of one line, which names the MAC."""
    elsewhere = replace(IPV4, primary_mac="02:00:00:00:00:99")
    with pytest.raises(HostError, match=r"^no link has the primary MAC 02:00:00:00:00:99$"):
        node.route_probes(elsewhere)
    assert node.plumb(elsewhere).problem == "mtu: no link has the primary MAC 02:00:00:00:00:99"
