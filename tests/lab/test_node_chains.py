"""
What the doctor reads out of chains that others have put into nft, as nft itself lists them.

Those that change our bits of marks; that drop what they do not know; that take connections out of conntrack, without
which there is no mark; and that want the way back to lead by the same link.
"""

import pytest

from floatingip.core.errors import HostError
from floatingip.edges.kernel import chains, nft
from floatingip.edges.kernel.inspection import KernelInspection
from tests.lab.plumbed import MARKS, Node

OUR_BITS = 0x70

WHOLE = " (which sets the whole mark: have it set its own bits only, by a mask)"


CHAIN = "table inet edge { chain aside { drop; }; chain pre { type filter hook prerouting priority -300; %s; }; }"
"""Somebody's, with one rule of which the doctor may tell."""

NAMED = ("nft's chain inet edge pre",)
"""How it names that."""


def listed(node: Node, script: str) -> list[object]:
    """All that nft lists once somebody else has loaded this, beside our own table."""
    node.plumb()
    node.namespace.nft(script)
    return node.namespace.call(lambda: KernelInspection().ruleset())


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("meta mark set meta mark or 0x4000", None),
        ("meta mark set meta mark xor 0x4000", None),
        ("meta mark set meta mark and 0xffffbfff", None),
        ("meta mark set meta mark or 0x10", ""),
        ("ct mark set ct mark or 0x10", ""),
        ("meta mark set meta mark and 0xffffffef", ""),
        ("meta mark set 0x4000", WHOLE),
        ("ct mark set 0x80", WHOLE),
        ("meta mark set ct mark", WHOLE),
        ("meta mark set ct mark and 0x80", WHOLE),
        ("meta mark set numgen inc mod 2", WHOLE),
    ],
)
def test_chains_of_others_that_change_our_bits_are_named(node: Node, statement: str, said: str | None) -> None:
    """Who sets a mark without a mask takes our bits away, though the number that he sets has none of them."""
    script = f"table inet other {{ chain c {{ type filter hook prerouting priority 0; {statement}; }}; }}"
    named = () if said is None else (f"nft's chain inet other c{said}",)
    assert chains.on_bits(listed(node, script), OUR_BITS, {MARKS}) == named


def test_our_marks_for_an_address_that_is_none_of_ours_are_named(node: Node) -> None:
    """Two deployments on one node take each other's rules and routes away, and both say that they have mended them."""
    stray = " (of another deployment on this node, or left by former settings)"
    assert chains.on_bits(listed(node, ""), OUR_BITS, {"floatingip_0a000065"}) == (
        f"nft's chain inet {MARKS} output{stray}",
        f"nft's chain inet {MARKS} prerouting{stray}",
    )


FIREWALLD = """table inet firewalld {
    chain zones { iifname "eth0" accept; }
    chain filter_INPUT {
        type filter hook input priority filter + 10; policy accept;
        ct state { established, related } accept
        jump zones
        ct state invalid drop
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        log prefix "dropped: " counter drop
    }
    chain filter_OUTPUT { type filter hook output priority filter + 10; policy accept; oifname "lo" accept; }
}
"""
UFW = """table ip filter {
    chain INPUT { type filter hook input priority filter; policy drop; ct state established accept; }
    chain FORWARD { type filter hook forward priority filter; policy accept; iifname "docker0" drop; }
    chain unused { drop; }
}
"""


def test_firewalls_that_drop_what_they_do_not_know_are_named(node: Node) -> None:
    """Be it by a policy, as ufw, or by the last rule, as firewalld; no chain that drops only what it matches."""
    assert chains.that_drop(listed(node, FIREWALLD + UFW)) == (
        "nft's chain inet firewalld filter_INPUT (input)",
        "nft's chain inet firewalld filter_FORWARD (forward)",
        "nft's chain ip filter INPUT (input)",
    )


def test_a_ruleset_that_is_too_long_to_be_read_is_not_taken_for_an_empty_one(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor does not know then what is in it."""
    monkeypatch.setattr(nft, "NFT_BYTES", 1000)
    with pytest.raises(HostError, match="nft lists more than 0 MiB"):
        listed(node, FIREWALLD)


UNTRACKED = {
    "notrack": NAMED,
    "counter meta l4proto tcp notrack": NAMED,
    "meta nfproto ipv4 ct state new notrack": NAMED,
    'iifname { "ens6", "other" } notrack': NAMED,
    "iif ens6 ct zone set 5": NAMED,
    'iifname "ens*" ct zone set 5': NAMED,
    "tcp dport 53 notrack": (),
    "meta l4proto udp notrack": (),
    'iifname "eth0" notrack': (),
    "ip daddr 169.254.20.10 notrack": (),
    "ct zone set 5": (),
}


@pytest.mark.parametrize("rule", UNTRACKED)
def test_what_takes_our_connections_out_of_conntrack_is_named(node: Node, rule: str) -> None:
    """All of them, or those by our link; not those of others, as of node-local DNS, nor one zone for both ways."""
    ruleset = listed(node, CHAIN % rule)
    assert node.namespace.call(lambda: chains.untracked(ruleset, ["ens6"])) == UNTRACKED[rule]


IPTABLES = {
    "-j NOTRACK": ("nft's chain ip raw PREROUTING (unless its CT only adds a helper)",),
    "-i ens6 -j CT --zone 5": ("nft's chain ip raw PREROUTING (unless its CT only adds a helper)",),
    "-d 169.254.20.10/32 -p udp --dport 53 -j NOTRACK": (),
    "-m mark --mark 0x200/0xf00 -j CT --notrack": (),
    "-p tcp --dport 21 -j CT --helper ftp": (),
}


@pytest.mark.parametrize("rule", IPTABLES)
def test_iptables_rules_are_named_with_what_nft_does_not_tell_of_them(node: Node, rule: str) -> None:
    """It lists that they have the target CT, but not what that does."""
    node.namespace.run(["sh", "-c", f"iptables-nft -t raw -A PREROUTING {rule}"])
    ruleset = listed(node, "")
    assert node.namespace.call(lambda: chains.untracked(ruleset, ["ens6"])) == IPTABLES[rule]


FIREWALLDS_FILTER = """table inet firewalld {
    chain filter_PREROUTING {
        type filter hook prerouting priority 10; policy accept;
        icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
        meta nfproto ipv6 fib saddr . mark . iif oif missing drop
    }
}
"""
BY_REVERSE_PATH = {
    "fib saddr . iif oif missing drop": NAMED,
    "fib saddr . iif oif 0 counter drop": NAMED,
    "ct state new fib saddr . mark . iif oif missing log reject": NAMED,
    'iifname != "lo" fib saddr . iif oif missing jump aside': NAMED,
    "fib saddr . iif oif missing accept": (),
    "fib saddr . iif oif exists drop": (),
    "fib saddr oif missing drop": (),
    "meta mark & 0x40000 == 0x40000 fib saddr . iif oif missing drop": (),
    'iifname "eth0" fib saddr . iif oif missing drop': (),
    "fib daddr . iif type local drop": (),
}


@pytest.mark.parametrize("rule", BY_REVERSE_PATH)
def test_what_is_dropped_for_its_way_back_is_named(node: Node, rule: str) -> None:
    """The way back of what comes by our link is the primary one; a loose filter, or one for other packets, is none."""
    ruleset = listed(node, CHAIN % rule)
    assert chains.by_reverse_path(ruleset, (4,)) == BY_REVERSE_PATH[rule]


@pytest.mark.parametrize(
    ("versions", "named"), [((4,), ()), ((4, 6), ("nft's chain inet firewalld filter_PREROUTING",))]
)
def test_firewalld_filters_ipv6_only(node: Node, versions: tuple[int, ...], named: tuple[str, ...]) -> None:
    """As it does unless somebody sets IPv6_rpfilter."""
    assert chains.by_reverse_path(listed(node, FIREWALLDS_FILTER), versions) == named


def test_iptables_filter_is_named(node: Node) -> None:
    """Of its own table's IP version."""
    node.namespace.run(["sh", "-c", "ip6tables-nft -t raw -A PREROUTING -m rpfilter --validmark --invert -j DROP"])
    ruleset = listed(node, "")
    assert [chains.by_reverse_path(ruleset, (version,)) for version in (4, 6)] == [
        (),
        ("nft's chain ip6 raw PREROUTING",),
    ]
