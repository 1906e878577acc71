"""What the doctor reads out of chains that others have put into nft, as nft itself lists them."""

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
