"""Probes that this node itself would answer: they are no sign of the holder's life."""

from floatingip.core.model import Address
from lab.network.netns import Namespace
from tests.lab.probing import ANSWERED, FAILED_HERE, families, is_own, outcomes
from tests.lab.test_probe import in_near
from tests.waiting import until

NAT = "table {family} nat {{ chain out {{ type nat hook output priority -100; {family} daddr {to} dnat to {own}; }}; }}"


@families
def test_an_answer_that_nat_has_led_to_this_node_is_none(near: Namespace, holder: Namespace, address: Address) -> None:
    """As who wants the address to be reached from every node makes it: it would be UP for ever, whoever has died."""
    assert outcomes(in_near(near, ["send", "2"], address, timeout=2)) == [ANSWERED]
    family, own = ("ip", "10.9.0.1") if address.version == 4 else ("ip6", "2001:db8:9::1")
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
