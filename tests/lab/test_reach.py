"""Probes by ICMP and TCP between two namespaces: this process's own, and `holder` behind a veth."""

import time

from floatingip.core.health import Health, counted, observe
from floatingip.core.model import Address
from floatingip.core.probe import ProbeResult
from floatingip.edges.probes.icmp import IcmpProber
from floatingip.edges.probes.reach import ReachProber
from floatingip.edges.probes.tcp import KnockProber
from lab.network.netns import Namespace
from tests.lab.probing import ANSWERED, FAILED_HERE, HOLDER, LOST, SILENCE, families, outcomes
from tests.waiting import collect

PORT = 9807

NO_PING = "icmp type echo-request drop; icmpv6 type echo-request drop;"
NO_OBSERVERS = "tcp dport 9807 drop;"


def close(holder: Namespace, *what: str) -> None:
    """Let the holder's address not answer this any more, as a security group does."""
    rules = " ".join(what)
    holder.nft(f"table inet group {{ chain in {{ type filter hook input priority 0; {rules} }}; }}")


def probe(near: Namespace, address: Address, times: int = 3) -> list[ProbeResult]:
    """What comes of so many probes, one after the other."""

    def run() -> list[ProbeResult]:
        prober = ReachProber(IcmpProber(address, 0.3), KnockProber(address, PORT, 0.3))
        results: list[ProbeResult] = []
        for _ in range(times):
            prober.send()
            results += collect(prober, time.monotonic() + 2)
        return results

    return near.call(run)


@families
def test_an_address_that_hears_no_pings_answers_by_refusing_a_connection(
    near: Namespace, holder: Namespace, address: Address
) -> None:
    """By each kind of address, though nobody listens at the port."""
    close(holder, NO_PING)
    results = [(result.outcome, result.by_tcp) for result in probe(near, address)]
    assert results == [(LOST, False), (ANSWERED, True), (ANSWERED, True)]


@families
def test_an_address_that_hears_neither_is_lost(near: Namespace, holder: Namespace, address: Address) -> None:
    """As one whose node has no power."""
    close(holder, NO_PING, NO_OBSERVERS)
    assert outcomes(probe(near, address)) == [LOST] * 3


def test_a_refusal_that_another_one_gives_is_no_answer(near: Namespace, holder: Namespace) -> None:
    """An ICMP message says that the address could not be reached, whoever sends it."""
    close(holder, NO_PING, "tcp dport 9807 reject;")
    assert outcomes(probe(near, HOLDER)) == [LOST] * 3


def test_a_connection_that_this_node_may_not_make_convicts_nobody(near: Namespace, holder: Namespace) -> None:
    """A firewall of this node's own that rejects says nothing of the address."""
    close(holder, NO_PING)
    near.nft("table inet own { chain out { type filter hook output priority 0; tcp dport 9807 reject; }; }")
    assert outcomes(probe(near, HOLDER)) == [LOST, FAILED_HERE, FAILED_HERE]


@families
def test_silence_after_pings_that_were_answered_is_a_loss_though_this_node_rejects_the_connection(
    near: Namespace, holder: Namespace, address: Address
) -> None:
    """As kube-proxy does in its nftables mode for a Service without endpoints that has the address among its
    `externalIPs`: nobody would ever find the holder dead.
    """
    near.nft("table inet own { chain out { type filter hook output priority 0; tcp dport 9807 reject; }; }")

    def run() -> list[ProbeResult]:
        prober, health = ReachProber(IcmpProber(address, 0.3), KnockProber(address, PORT, 0.3)), Health()
        results: list[ProbeResult] = []
        for rules in ("", SILENCE, "", ""):
            holder.nft(rules)
            prober.send()
            for result in collect(prober, time.monotonic() + 2):
                results.append(counted(health, result))
                health = observe(health, results[-1], rise=2, fall=5, timeout=0.3)
        return results

    assert outcomes(near.call(run)) == [ANSWERED, LOST, LOST, LOST]
