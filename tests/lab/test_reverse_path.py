"""Which chains of others the doctor says to drop what comes by our link: reverse path filters of nft and iptables."""

import pytest

from floatingip.edges.kernel import chains
from tests.lab.plumbed import Node
from tests.lab.test_node_chains import CHAIN, NAMED, listed

FIREWALLD = """table inet firewalld {
    chain filter_PREROUTING {
        type filter hook prerouting priority 10; policy accept;
        icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
        meta nfproto ipv6 fib saddr . mark . iif oif missing drop
    }
}
"""
RULES = {
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


@pytest.mark.parametrize("rule", RULES)
def test_what_is_dropped_for_its_way_back_is_named(node: Node, rule: str) -> None:
    """The way back of what comes by our link is the primary one; a loose filter, or one for other packets, is none."""
    ruleset = listed(node, CHAIN % rule)
    assert chains.by_reverse_path(ruleset, (4,)) == RULES[rule]


@pytest.mark.parametrize(
    ("versions", "named"), [((4,), ()), ((4, 6), ("nft's chain inet firewalld filter_PREROUTING",))]
)
def test_firewalld_filters_ipv6_only(node: Node, versions: tuple[int, ...], named: tuple[str, ...]) -> None:
    """As it does unless somebody sets IPv6_rpfilter."""
    assert chains.by_reverse_path(listed(node, FIREWALLD), versions) == named


def test_iptables_filter_is_named(node: Node) -> None:
    """Of its own table's IP version."""
    node.namespace.run(["sh", "-c", "ip6tables-nft -t raw -A PREROUTING -m rpfilter --validmark --invert -j DROP"])
    ruleset = listed(node, "")
    assert [chains.by_reverse_path(ruleset, (version,)) for version in (4, 6)] == [
        (),
        ("nft's chain ip6 raw PREROUTING",),
    ]
