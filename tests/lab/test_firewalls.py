"""Which chains of others the doctor says to drop what they do not know: as nft lists what people load."""

import shutil

import pytest

from floatingip.edges.kernel import chains
from tests.lab.plumbed import MARKS, Node
from tests.lab.test_node_chains import OUR_BITS, listed

EDGE = {
    # Rules of the chain `in`, and what is said of it; None where it drops only what it matches.
    "ct state established accept; jump rest": "input",
    "ct state established accept; goto rest": "input",
    "jump through": "input",
    "jump aside; counter drop": "input",
    "jump aside; accept": None,
    "jump some": None,
    "goto some": None,
    "accept; drop": None,
    "return; drop": None,
    "drop; accept": "input",
    "ct state new drop": "input",
    "ct state { invalid, new } log drop": "input",
    "ct state new,invalid drop": "input",
    "ct state invalid drop": None,
    "ct state != { established, related } drop": "input",
    "ct state new accept; drop": None,
    'iifname != "eth0" drop': "input, but for what comes in by eth0",
    'iifname "eth0" accept; iifname != { "lo", "wt0" } drop': "input, but for what comes in by lo, wt0",
    "iif != lo reject": "input, but for what comes in by lo",
    'iifname != "eth0" jump rest': "input, but for what comes in by eth0",
    'iifname != "eth0" tcp dport 22 drop': None,
    "iifname != @known drop": None,
    'iifname "eth0" drop': None,
    "limit rate 5/second drop": None,
    "meta mark set 0x1 drop": "input",
    "": None,
}
CHAINS = """table inet edge {
    set known { type ifname; elements = { "eth0" }; }
    chain rest { log prefix "no: " drop; }
    chain through { tcp dport 22 accept; jump rest; }
    chain aside { return; drop; }
    chain some { tcp dport 22 drop; }
    chain in { type filter hook input priority 0; %s; }
}
"""


@pytest.mark.parametrize("rules", EDGE)
def test_a_chain_is_followed_to_where_it_ends(node: Node, rules: str) -> None:
    """Through its jumps, for what is new and comes by an interface that nobody has named."""
    said = EDGE[rules]
    named = () if said is None else (f"nft's chain inet edge in ({said})",)
    ruleset = listed(node, CHAINS % rules)
    assert node.namespace.call(lambda: chains.that_drop(ruleset)) == named


def test_a_policy_holds_unless_something_decides_before(node: Node) -> None:
    """On whatever hook, the link's own ones too."""
    script = """
        table inet a { chain closed { type filter hook forward priority 300; policy drop; tcp dport 22 accept; }; }
        table inet b { chain every { accept; }; chain open { type filter hook forward priority 0; policy drop; }; }
        add rule inet b open jump every;
        table netdev c { chain out { type filter hook egress device ens6 priority 0; policy drop; }; }
    """
    assert chains.that_drop(listed(node, script)) == (
        "nft's chain inet a closed (forward)",
        "nft's chain netdev c out (egress)",
    )


def by_iptables(node: Node, *commands: str) -> list[object]:
    """What nft lists of rules of iptables."""
    for command in commands:
        node.namespace.run(["iptables-nft", *command.split()])
    return listed(node, "")


@pytest.mark.skipif(shutil.which("iptables-nft") is None, reason="there is no iptables-nft")
def test_firewalls_of_iptables_are_named_where_they_are_nfts(node: Node) -> None:
    """As RHEL's, Oracle's and Docker's: the last rule, or the policy."""
    ruleset = by_iptables(
        node,
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A INPUT -m limit --limit 5/min -j REJECT",
        "-A INPUT -p icmp -j ACCEPT",
        "-A INPUT -j MARK --set-xmark 0x4000/0x4000",
        "-A INPUT -j REJECT --reject-with icmp-host-prohibited",
        "-N DOCKER",
        "-A FORWARD -j DOCKER",
        "-A DOCKER -m addrtype --dst-type LOCAL -j DROP",
        "-P OUTPUT DROP",
    )
    assert chains.that_drop(ruleset) == ("nft's chain ip filter INPUT (input)", "nft's chain ip filter OUTPUT (output)")


OURS_BY_NAME = "table ip %s { chain c { type filter hook prerouting priority 0; meta mark set 0; }; }"


def test_a_table_of_our_name_but_of_another_family_is_not_ours(node: Node) -> None:
    """Ours are of the family inet."""
    assert chains.on_bits(listed(node, OURS_BY_NAME % MARKS), OUR_BITS, {MARKS}) == (
        f"nft's chain ip {MARKS} c (which sets the whole mark: have it set its own bits only, by a mask)",
    )


@pytest.mark.parametrize("flags", ["dormant", ["dormant"], ["owner", "dormant"]])
def test_a_table_that_is_switched_off_does_nothing(node: Node, flags: object) -> None:
    """As nft newer than 1.0.6 lists it."""
    ruleset = listed(node, CHAINS % "meta mark set 1 drop")
    assert (chains.that_drop(ruleset), chains.on_bits(ruleset, OUR_BITS, {MARKS})) != ((), ())
    for entry in ruleset:
        assert isinstance(entry, dict)
        if entry.get("table", {}).get("name") == "edge":
            entry["table"]["flags"] = flags
    assert (chains.that_drop(ruleset), chains.on_bits(ruleset, OUR_BITS, {MARKS})) == ((), ())
