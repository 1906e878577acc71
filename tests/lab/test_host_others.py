"""What others have in the way of the plumbing: it stays, and is named."""

import subprocess
import threading

import pytest

from floatingip.core.errors import HostError
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport
from floatingip.edges.kernel import marks
from floatingip.edges.kernel.host import KernelHost
from tests.lab.plumbed import BOTH, MARKS, SOUND, UNSOUND, Node, ip, rules_of_ours
from tests.waiting import until


def kube_proxy(node: Node, plumbing: Plumbing, *served: str) -> None:
    """kube-proxy in nftables mode serves NodePorts at these addresses."""
    family, kind = ("ip", "ipv4_addr") if plumbing.address.version == 4 else ("ip6", "ipv6_addr")
    elements = f"elements = {{ {', '.join(served)} }};" if served else ""
    table = f"table {family} kube-proxy"
    named = f"{table} {{\n set nodeport-ips {{\n type {kind}; {elements}\n }}\n}}\n"
    node.namespace.nft(f"add {table}\ndelete {table}\n{named}")


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
    ip(node, plumbing, f"rule add from {plumbing.address} iif lo priority 900 table 1064 proto static")
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


def test_a_table_of_our_name_that_another_process_owns_is_named(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel lets nobody else change it, and takes it away with that process; then it is ours again."""
    monkeypatch.setattr(marks, "ASKED_AGAIN_AFTER", 0.0)
    node.plumb()
    with node.namespace.popen(["nft", "-i"], stdin=subprocess.PIPE) as owner:
        assert owner.stdin is not None
        owner.stdin.write(f"delete table inet {MARKS}\nadd table inet {MARKS} {{ flags owner; }}\n")
        owner.stdin.flush()
        until(lambda: "flags owner" in node.nft(), 5)
        report = node.plumb()
        said = f"marks: another process owns the table inet {MARKS}; end that one"
        assert (report.state, report.problem) == (UNSOUND, said)
    until(lambda: node.plumb() == PlumbingReport(SOUND), 5)
