"""Which chains of others the doctor says to take connections out of conntrack, without which there is no mark."""

import pytest

from floatingip.edges.kernel import chains
from tests.lab.plumbed import Node
from tests.lab.test_node_chains import CHAIN, NAMED, listed

RULES = {
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


@pytest.mark.parametrize("rule", RULES)
def test_what_takes_our_connections_out_of_conntrack_is_named(node: Node, rule: str) -> None:
    """All of them, or those by our link; not those of others, as of node-local DNS, nor one zone for both ways."""
    ruleset = listed(node, CHAIN % rule)
    assert node.namespace.call(lambda: chains.untracked(ruleset, ["ens6"])) == RULES[rule]


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
