"""Questions to another node's observer that this node itself would answer: they are no sign of that one's life."""

import http.server
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from floatingip.commands.doctor import trying
from floatingip.core import word
from floatingip.core.ec2 import Instance, InstanceState
from floatingip.core.groups import Worker
from floatingip.core.model import Address
from floatingip.runtime import peers
from lab.network.netns import Namespace
from tests.lab.probing import ZONE, families, serving

PORT = 9807
OWN = {4: ip_address("10.9.0.1"), 6: ip_address("2001:db8:9::1")}
REJECT = "table inet others { chain out { type filter hook output priority 0; tcp dport 9807 reject; }; }"
"""As kube-proxy in nftables mode rejects what goes to a Service without endpoints (its chain service-endpoints-check),
whose `externalIPs` anybody may choose who may make Services.
"""

LEADING_HERE = {
    "NAT": "type nat hook output priority -100; tcp dport 9807 redirect;",
    "reset": "type filter hook output priority 0; tcp dport 9807 reject with tcp reset;",
}


class _Observer(http.server.BaseHTTPRequestHandler):
    """Answers whatever is asked as it does to strangers."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(word.to_stranger(ready=True).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def _observer(near: Namespace, holder: Namespace, address: Address) -> Iterator[None]:
    """The asking node has an observer; the other one has none, and drops what comes."""
    holder.nft("table inet power { chain cut { type filter hook input priority 0; meta l4proto tcp drop; }; }")
    with serving(near, address.version, PORT, _Observer):
        yield


@families
@pytest.mark.parametrize("rules", LEADING_HERE.values(), ids=LEADING_HERE)
def test_a_question_that_is_led_to_this_node_is_not_answered(near: Namespace, rules: str, address: Address) -> None:
    """A holder would say that its address reaches who doubts it (R4); and a dead one would be heard, or be taken for a
    node whose observer is just being restarted (R3).
    """
    near.nft(ZONE)
    near.nft(f"table inet others {{ chain out {{ {rules} }}; }}")
    assert not near.call(lambda: peers.reaches(address, PORT, OWN[address.version]))
    answer = near.call(peers.Contact(address, PORT, "i-a").ask)
    assert (answer.status, answer.refused) == (None, False)
    there = Worker(Instance("i-b", InstanceState.RUNNING, address, "", frozenset()), frozenset())
    assert near.call(lambda: trying.meet(there, lambda at: peers.Contact(at, PORT, "i-a"), holds=False)).led_here
    assert near.call(lambda: trying.reach(address, str(address), "i-b", peers.Contact(address, PORT))).led_here


@families
def test_what_this_node_itself_rejects_is_no_refusal_of_the_other_one(
    near: Namespace, holder: Namespace, address: Address
) -> None:
    """A dead holder would be taken for a node that lives, and whose observer is just being restarted (R3)."""
    near.nft(REJECT)
    answer = near.call(peers.Contact(address, PORT, "i-a").ask)
    assert (answer.status, answer.refused) == (None, False)
    assert not near.call(lambda: peers.reaches(address, PORT, OWN[address.version]))
    assert "Connection refused, says" in near.call(peers.Contact(address, PORT, "i-a").not_ready)
    there = Worker(Instance("i-b", InstanceState.RUNNING, address, "", frozenset()), frozenset())
    assert near.call(lambda: trying.meet(there, lambda at: peers.Contact(at, PORT, "i-a"), holds=False)).led_here
    assert near.call(lambda: trying.reach(address, str(address), "i-b", peers.Contact(address, PORT))).led_here


@families
@pytest.mark.parametrize("how", ["reject", "reject with tcp reset"])
def test_what_the_other_node_rejects_is_its_own_refusal(
    near: Namespace, holder: Namespace, address: Address, how: str
) -> None:
    """It lives, and no observer answers there: by a reset, as where nobody listens, or by a firewall's message."""
    holder.nft(f"flush chain inet power cut\nadd rule inet power cut tcp dport 9807 {how}")
    assert near.call(peers.Contact(address, PORT, "i-a").ask).refused
    there = Worker(Instance("i-b", InstanceState.RUNNING, address, "", frozenset()), frozenset())
    assert not near.call(lambda: trying.meet(there, lambda at: peers.Contact(at, PORT, "i-a"), holds=False)).led_here


@families
def test_who_doubts_an_ipv6_address_is_reached_where_its_node_refuses(
    near: Namespace, holder: Namespace, address: Address
) -> None:
    """In a cluster of IPv4 no observer listens there by IPv6.  By IPv4 one does, or it is about to end."""
    assert not near.call(lambda: peers.reaches(address, PORT, OWN[address.version])), "nothing comes back"
    holder.nft("delete table inet power")
    assert near.call(lambda: peers.reaches(address, PORT, OWN[address.version])) is (address.version == 6)


@families
def test_this_node_s_own_observer_answers_at_its_own_address(near: Namespace, address: Address) -> None:
    """As a command on this node asks it."""
    assert near.call(lambda: peers.reaches(OWN[address.version], PORT, OWN[address.version]))


@families
def test_who_is_on_no_instance_hears_observers_by_a_tunnel(near: Namespace, address: Address) -> None:
    """Some, such as sshuttle, lead all that is for the VPC to a process on the person's machine, which has it answered
    there.  `release` must hear an observer that still runs, and `handover` one that could take over.
    """
    near.nft(ZONE)
    near.nft(f"table inet tunnel {{ chain out {{ {LEADING_HERE['NAT']} }}; }}")
    assert near.call(peers.Contact(address, PORT, "").not_ready) == ""
    assert near.call(peers.Contact(address, PORT, "i-a").not_ready)
    assert near.call(peers.Contact(address, PORT, "").ask).status == word.RESERVED
    no_report = peers.NoReport("what it answers is no report")
    assert near.call(lambda: peers.Contact(address, PORT).report(1.0)) == no_report
    assert near.call(lambda: peers.Contact(address, PORT, "i-a").report(1.0)) != no_report
