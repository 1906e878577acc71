"""Which bits of marks rules of iptables change, where they are nft's: nft does not list them, the kernel tells."""

import shutil
import struct
from collections.abc import Callable

import pytest

from floatingip.edges.kernel import chains
from floatingip.edges.kernel.extensions import markings
from floatingip.edges.kernel.inspection import KernelInspection
from floatingip.edges.kernel.netlink import NETFILTER, Message, Netlink, attribute
from tests.lab.plumbed import Node

OUR_BITS = 0x70

THE_CNIS = (
    # amazon-vpc-cni-k8s, pkg/networkutils/network.go
    '-A PREROUTING -i eth0 -m comment --comment "AWS, primary ENI" -m addrtype --dst-type LOCAL --limit-iface-in'
    " -j CONNMARK --set-xmark 0x80/0x80",
    '-A PREROUTING -i eni+ -m comment --comment "AWS, primary ENI" -j CONNMARK --restore-mark --mask 0x80',
)
KUBE_PROXYS = ("-A PREROUTING -j MARK --or-mark 0x4000", "-A PREROUTING -j MARK --xor-mark 0x4000")
"""kubernetes, pkg/proxy/iptables/proxier.go"""

WHOLE = " (which sets the whole mark: have it set its own bits only, by a mask)"


@pytest.mark.skipif(shutil.which("iptables-nft") is None, reason="there is no iptables-nft")
@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (THE_CNIS, None),
        (KUBE_PROXYS, None),
        (("-A PREROUTING -j MARK --set-mark 0x1",), WHOLE),
        (("-A PREROUTING -j MARK --set-xmark 0x10/0x10",), ""),
        (("-A PREROUTING -j MARK --and-mark 0xffffffef",), ""),
        (("-A PREROUTING -i eth0 -j CONNMARK --set-mark 0x80",), WHOLE),
        (("-A PREROUTING -j CONNMARK --save-mark",), WHOLE),
        (("-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xf0 --ctmask 0x80",), ""),
        (("-A PREROUTING -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80",), None),
        (("-A PREROUTING -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x8 --left-shift-mark 1",), ""),
        (("-A PREROUTING -j CONNMARK --save-mark --nfmask 0x100 --ctmask 0x80 --right-shift-mark 1",), None),
        (("-A PREROUTING -p icmp -j ACCEPT", "-A PREROUTING -j TOS --set-tos 0x10"), None),
    ],
)
@pytest.mark.parametrize("command", ["iptables-nft", "ip6tables-nft"])
def test_rules_of_iptables_that_change_our_bits_are_named(
    node: Node, command: str, rules: tuple[str, ...], said: str | None
) -> None:
    """Whatever they match; those of the VPC CNI and kube-proxy, which every node has, keep to their own."""
    node.plumb()
    for rule in rules:
        node.namespace.run(["sh", "-c", f"{command} -t mangle {rule}"])
    family = "ip" if command == "iptables-nft" else "ip6"
    named = () if said is None else (f"nft's chain {family} mangle PREROUTING{said}",)
    found = node.namespace.call(lambda: KernelInspection().markings())
    assert chains.by_iptables(found, OUR_BITS) == named


def test_a_target_that_is_too_short_is_not_read_as_none() -> None:
    """A MARK of another layout: what it does is not known."""
    data = attribute(1, b"MARK\0") + attribute(2, b"\0\0\0\2") + attribute(3, b"\1")
    expression = attribute(1, b"target\0") + attribute(2, data)

    class Kernel(Netlink):
        def dump(
            self, kind: int, content: bytes, head: int, wanted: Callable[[Message], object] = bool
        ) -> list[Message]:
            told = Message(b"\2\0\0\0", {1: b"mangle\0", 2: b"c\0", 4: attribute(1, expression)})
            return [told] if wanted(told) else []

    with pytest.raises(struct.error):
        list(markings(Kernel(NETFILTER)))
