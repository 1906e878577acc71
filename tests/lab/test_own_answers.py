"""Probes that this node itself would answer: they are no sign of the holder's life."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from ipaddress import ip_address
from pathlib import Path

import pytest

from floatingip.core.model import Address
from floatingip.edges.probes.tcp import TcpProber
from lab.network.netns import Namespace
from tests.lab.probing import ANSWERED, FAILED_HERE, LOST, SILENCE, ZONE, families, is_own, outcomes, probe
from tests.lab.test_probe import in_near
from tests.lab.test_reach import probe as reach
from tests.waiting import until

TRANSPARENT = {4: (socket.IPPROTO_IP, socket.IP_TRANSPARENT), 6: (socket.IPPROTO_IPV6, 75)}
"""By IP version: IP_TRANSPARENT (linux/in.h) and IPV6_TRANSPARENT (linux/in6.h), for whom a TPROXY rule leads."""

NAT = "table {family} nat {{ chain out {{ type nat hook output priority -100; {family} daddr {to} dnat to {own}; }}; }}"


@families
def test_an_answer_that_nat_has_led_to_this_node_is_none(near: Namespace, holder: Namespace, address: Address) -> None:
    """As who wants the address to be reached from every node makes it: it would be UP for ever, whoever has died.  Here
    NAT cannot be kept off.
    """
    assert outcomes(in_near(near, ["send", "2"], address, timeout=2)) == [ANSWERED]
    family, own = ("ip", "10.9.0.1") if address.version == 4 else ("ip6", "2001:db8:9::1")
    near.nft(ZONE)
    near.nft(NAT.format(family=family, to=address, own=own))
    holder.ip("link set in down")
    (result,) = in_near(near, ["send", "2"], address, timeout=2)
    assert (result.outcome, result.detail) == (FAILED_HERE, "this node has answered itself")


@families
def test_the_node_s_own_address_answers_nobody(near: Namespace, holder: Namespace, address: Address) -> None:
    """As in the moment in which the address has come to this node, before its kernel has told of it."""
    near.ip(f"address add {address}/{address.max_prefixlen} dev out" + (" nodad" if address.version == 6 else ""))
    until(lambda: is_own(near, address))
    assert outcomes(in_near(near, ["send", "2"], address, timeout=2)) == [FAILED_HERE]


TCP_ONLY = {
    "DNAT": """table {family} nat {{ chain out {{ type nat hook output priority -100;
        {family} daddr {to} meta l4proto tcp dnat to {own}; }}; }}""",
    "REDIRECT": """table {family} nat {{ chain out {{ type nat hook output priority -100;
        {family} daddr {to} tcp dport {{ 9807, 8080 }} redirect; }}; }}""",
    "TPROXY": """table {family} proxy {{
        chain out {{ type route hook output priority mangle; {family} daddr {to} meta l4proto tcp meta mark set 7; }};
        chain in {{ type filter hook prerouting priority mangle;
            {family} daddr {to} meta l4proto tcp tproxy to :9999 meta mark set 7; }}; }}""",
    "reset": """table {family} firewall {{ chain out {{ type filter hook output priority 0;
        {family} daddr {to} meta l4proto tcp reject with tcp reset; }}; }}""",
}
"""Rules of others on the node that probes: what it sends by TCP to the address is answered by itself."""

leading_here = pytest.mark.parametrize(
    ("rules", "listens"), [(rules, name in ("DNAT", "TPROXY")) for name, rules in TCP_ONLY.items()], ids=TCP_ONLY
)


@pytest.fixture(name="lead")
def _lead(near: Namespace, holder: Namespace, address: Address) -> Iterator[Callable[[str, bool], None]]:
    """`lead(rules, listens)`: such rules come, and this node itself listens wherever they lead."""
    family, own = ("ip", "10.9.0.1") if address.version == 4 else ("ip6", "2001:db8:9::1")
    anywhere = "0.0.0.0" if address.version == 4 else "::"

    def lead(rules: str, listens: bool) -> None:
        (near.ip if address.version == 4 else near.ip6)("rule add fwmark 7 lookup 7")
        near.ip(f"route add local {address} dev lo table 7")
        near.nft(ZONE)
        near.nft(rules.format(family=family, to=address, own=own))
        for port in (9807, 8080, 9999) if listens else ():
            ends.enter_context(near.listen(anywhere, port)).setsockopt(*TRANSPARENT[address.version], 1)

    with ExitStack() as ends:
        yield lead


@leading_here
@families
def test_a_connection_that_is_led_to_this_node_does_not_show_that_the_address_lives(
    near: Namespace, holder: Namespace, lead: Callable[[str, bool], None], rules: str, listens: bool, address: Address
) -> None:
    """Whoever has died, it would be UP by TCP for ever, and this node would tell all others so."""
    lead(rules, listens)
    holder.nft(SILENCE)

    assert outcomes(reach(near, address)) == [LOST] * 3


@leading_here
@families
def test_a_check_of_a_node_port_that_is_led_to_this_node_says_nothing_of_the_holder(
    near: Namespace, holder: Namespace, lead: Callable[[str, bool], None], rules: str, listens: bool, address: Address
) -> None:
    """Neither that it serves nor that it does not: it may well."""
    lead(rules, listens)
    told = probe(near, lambda: TcpProber(address, 8080, 0.3))
    assert told[:2] == (FAILED_HERE, "this node has answered itself")


@families
def test_a_node_port_of_this_node_is_checked_at_its_own_address(
    near: Namespace, holder: Namespace, address: Address
) -> None:
    """That one is answered by this node itself, and should be."""
    own = "10.9.0.1" if address.version == 4 else "2001:db8:9::1"
    with closing(near.listen(own, 8080)):
        assert probe(near, lambda: TcpProber(ip_address(own), 8080, 1.0))[0] is ANSWERED


@families
def test_a_kernel_without_memory_for_filters_has_nobody_taken_for_silent(
    near: Namespace, holder: Namespace, address: Address
) -> None:
    """As on a node where others' programs have used it up."""
    if not near.call(Path("/proc/sys/net/core/optmem_max").exists):
        pytest.skip("this kernel has one limit for all namespaces")
    near.sysctl({"core/optmem_max": 0})
    assert outcomes(in_near(near, ["send", "2"], address, timeout=2)) == [ANSWERED]
    with closing(holder.listen(str(address), 8080)):
        assert probe(near, lambda: TcpProber(address, 8080, 2.0))[0] is ANSWERED
