"""What the doctor reads out of a node's kernel: links, rules, and iptables' own tables."""

import os
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from floatingip.core.errors import HostError
from floatingip.core.plumbing import Plumbing
from floatingip.edges.kernel import chains, inspection, nft
from floatingip.edges.kernel.inspection import KernelInspection
from tests.lab.plumbed import BOTH, IPV4, Node, ip

OUR_BITS = 0x70


def test_the_link_is_the_one_that_the_observer_means(node: Node) -> None:
    """Not an older bridge with its MAC; a link that is not there is none."""
    node.unplug()
    node.namespace.ip(f"link add br0 address {IPV4.mac} type bridge")
    node.plug()
    node.namespace.ip("link set ens6 master br0")
    link = node.namespace.call(lambda: KernelInspection().link(IPV4.mac))
    assert link is not None
    assert link.name == "ens6"
    assert node.namespace.call(lambda: KernelInspection().link("02:00:00:00:00:99")) is None


@pytest.mark.parametrize(
    ("selector", "said"),
    [
        ("fwmark 0x10/0x10", "0x10"),
        ("not fwmark 0xca6c", "0x70"),
        ("fwmark 0/0x40", "0x40"),
        ("fwmark 0x80/0x80", None),
        ("from 10.0.0.9", None),
    ],
)
def test_rules_of_others_that_look_at_our_bits_are_named(node: Node, selector: str, said: str | None) -> None:
    """Also those for packets without them; ours are not."""
    node.plumb()
    node.namespace.ip(f"rule add priority 700 {selector} lookup main")
    named = [] if said is None else [f"a rule at priority 700 looks at {said}"]
    assert node.namespace.call(lambda: list(KernelInspection().rules_on(OUR_BITS))) == named


@pytest.mark.skipif(shutil.which("iptables-legacy") is None, reason="there is no iptables-legacy")
def test_iptables_own_tables_are_named_once_they_have_rules(node: Node) -> None:
    """nft lists none of them; one that somebody has only looked at has chains, and no rule."""

    def legacy() -> tuple[str, ...]:
        return node.namespace.call(lambda: KernelInspection().legacy())

    assert legacy() == ()
    node.namespace.run(["iptables-legacy", "-L"])
    node.namespace.run(["iptables-legacy", "-t", "nat", "-L"])
    node.namespace.run(["ip6tables-legacy", "-t", "mangle", "-L"])
    assert legacy() == ()
    node.namespace.run(["iptables-legacy", "-A", "INPUT", "-s", "203.0.113.7", "-j", "DROP"])
    node.namespace.run(["ip6tables-legacy", "-t", "mangle", "-N", "ours"])
    assert legacy() == ("iptables filter", "ip6tables mangle")
    assert node.nft() == ""


@BOTH
def test_what_former_settings_have_left_is_named(node: Node, plumbing: Plumbing) -> None:
    """An observer takes away what is about its own address; of another address nobody knows any more."""

    def strays(at: Plumbing) -> set[str]:
        tables, priorities = range(at.table, at.table + 1), range(at.priority, at.priority + 2)
        return node.namespace.call(lambda: set(KernelInspection().strays(tables, priorities, {at.address})))

    node.plumb(plumbing)
    gateway, whole = plumbing.gateway, plumbing.address.max_prefixlen
    ip(node, plumbing, f"route add {plumbing.address} via {gateway} dev eth0 onlink proto 102")
    ip(node, plumbing, f"route add default via {gateway} dev eth0 onlink table 77")
    assert strays(plumbing) == set()
    present = replace(plumbing, address=plumbing.address + 1, table=plumbing.table + 1, priority=plumbing.priority + 2)
    assert strays(present) == {
        "a rule at priority 900 to table 1064",
        "a rule at priority 901 to table 1064",
        "a route to default in table 1064",
        f"a route to {gateway}/{whole} in table 1064",
        f"a route to {plumbing.address}/{whole} in table 254",
    }


def test_how_full_conntrack_is_is_told(node: Node) -> None:
    """Of this namespace: each flow of a connection that passes it counts."""
    node.plumb()  # with the marks the kernel begins to follow connections
    before, most = node.namespace.call(inspection.conntrack)
    with node.namespace.listen("127.0.0.1", 9, socket.SOCK_DGRAM) as asked:
        asked.sendto(b"", ("127.0.0.1", 9))
    assert before < node.namespace.call(inspection.conntrack)[0] <= most


def test_a_link_on_top_of_ours_is_named(node: Node) -> None:
    """A macvlan may take in all that comes by it; not the other end of a cable, nor what is on another link."""
    node.plumb()
    node.namespace.ip("link add link eth0 name elsewhere type macvlan mode bridge")

    def others() -> list[str]:
        kernel = KernelInspection()
        link = kernel.link(IPV4.mac)
        assert link is not None
        return list(kernel.of_others(link.index, {IPV4.address}))

    assert node.namespace.call(others) == []
    node.namespace.ip("link add link ens6 name pod0 type macvlan mode passthru")
    assert node.namespace.call(others) == ["the link pod0 on top of it"]


def test_a_kernel_without_a_family_has_nothing_of_it(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many have no IPv6 by ipv6.disable=1; here it is one that no kernel has any more, and is answered alike."""
    decnet = 12
    node.plumb()
    node.namespace.ip("rule add fwmark 0x40/0x40 table 77", "address add 10.0.0.77/32 dev ens6")

    def found() -> tuple[list[str], ...]:
        kernel = KernelInspection()
        link = kernel.link(IPV4.mac)
        assert link is not None
        return (
            list(kernel.of_others(link.index, {IPV4.address})),
            list(kernel.rules_on(OUR_BITS)),
            list(kernel.strays((), (), ())),
        )

    with_both = node.namespace.call(found)
    monkeypatch.setattr(inspection, "_FAMILIES", (socket.AF_INET, decnet))
    assert node.namespace.call(found) == with_both


@pytest.mark.parametrize(
    ("bound", "for_the_short", "for_none"),
    [("NFT_BYTES", 8000, 600), ("NFT_MEMORY", 5 << 20, 2 << 20)],
    ids=["its output", "its memory"],
)
def test_where_a_ruleset_is_too_long_its_short_tables_are_read(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bound: str, for_the_short: int, for_none: int
) -> None:
    """As with kube-proxy in nftables mode and thousands of Services, beside which a firewall is to be seen.  What nft
    takes for them would have the kernel end the observer, too.
    """
    node.plumb()
    # It is bound once it runs, and with a busy machine these few rules would be listed before.
    slow = tmp_path / "nft"
    slow.write_text(f'#!/bin/sh\nsleep 0.2\nexec {shutil.which("nft")} "$@"\n')
    slow.chmod(0o755)
    services = ", ".join(f"172.20.{number >> 8}.{number & 255}" for number in range(10_000))
    node.namespace.nft(f"table ip kube-proxy {{ set s {{ type ipv4_addr; elements = {{ {services} }}; }}; }}")
    node.namespace.nft("table inet edge { chain in { type filter hook input priority 0; policy drop; }; }")

    def readable() -> tuple[list[object], tuple[str, ...]]:
        return node.namespace.call(lambda: KernelInspection().readable())

    assert readable()[1] == ()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(nft, bound, for_the_short)
    ruleset, unread = readable()
    assert unread == ("nft's table ip kube-proxy",)
    assert chains.that_drop(ruleset) == ("nft's chain inet edge in (input)",)
    monkeypatch.setattr(nft, bound, for_none)
    node.namespace.nft("delete table inet edge")
    with pytest.raises(HostError, match="nft lists more than"):
        readable()


def test_pods_whose_marked_replies_the_source_check_drops_are_named(node: Node) -> None:
    """It looks where the mark leads: with WireGuard's setting, a strict link, and no rule that leads to pods first."""

    def filtered() -> tuple[str, ...]:
        return node.namespace.call(lambda: KernelInspection().filtered(IPV4.mark))

    for pod in ("pod1", "pod2"):
        node.namespace.ip(
            f"link add {pod} type veth peer name far-{pod}", f"link set {pod} up", f"link set far-{pod} up"
        )
    node.namespace.ip("route add 10.0.0.71 dev pod1", "route add 10.0.0.72 dev pod2")
    node.namespace.sysctl({"ipv4/conf/pod1/rp_filter": 1})
    node.plumb()
    assert filtered() == ()
    node.namespace.sysctl({"ipv4/conf/all/src_valid_mark": 1})
    assert filtered() == ("pod1",)
    node.namespace.ip("rule add priority 512 to 10.0.0.71 lookup main")
    assert filtered() == (), "as the VPC CNI has one for each pod"
