"""Probes between two namespaces: this process's own, and `holder` behind a veth, whose silence the tests arrange."""

import math
import select
import socket
import struct
import sys
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from floatingip.core.model import Address
from floatingip.core.probe import ProbeResult
from floatingip.edges.probes import icmp
from floatingip.edges.probes.icmp import IcmpProber
from lab.network.netns import Namespace
from tests.lab.probing import ANSWERED, FAILED_HERE, HOLDER, LOST, SILENCE, families, outcomes
from tests.waiting import collect

NEAR = ip_address("10.9.0.1")

OLD_FLOWS = """table inet old_flows { chain in {
    type filter hook input priority 0; ct state established accept; icmpv6 type != echo-request accept;
    meta l4proto { icmp, icmpv6 } drop; }; }"""
"""In the holder: what came before goes on, and nothing new comes in."""

FIREWALL = "table inet firewall { chain out { type filter hook output priority 0; meta l4proto icmp drop; }; }"
"""On this side: echo requests cannot be sent."""


def in_near(near: Namespace, steps: list[str], address: Address, timeout: float) -> list[ProbeResult]:
    """Run `send` and `collect` steps of one prober inside, and give all results."""

    def run() -> list[ProbeResult]:
        prober = IcmpProber(address, timeout)
        results: list[ProbeResult] = []
        for step in steps:
            if step == "send":
                prober.send()
            else:
                results += collect(prober, time.monotonic() + float(step))
        prober.close()
        return results

    return near.call(run)


@families
def test_what_only_lets_old_flows_pass_is_seen(near: Namespace, holder: Namespace, address: Address) -> None:
    """A firewall that begins now, or a full conntrack table: a client that comes now would not be let in either."""
    assert outcomes(in_near(near, ["send", "2"], address, timeout=2)) == [ANSWERED]

    holder.nft("table inet flows { chain in { type filter hook input priority 0; ct state established accept; }; }")

    def run() -> list[ProbeResult]:
        prober = IcmpProber(address, timeout=1.0)  # enough for a busy machine
        results: list[ProbeResult] = []
        for rules in ("", OLD_FLOWS):
            holder.nft(rules)
            prober.send()
            results += collect(prober, time.monotonic() + 2)
        prober.close()
        return results

    assert outcomes(near.call(run)) == [ANSWERED, LOST]


def test_replies_that_are_not_this_probe_s_neither_answer_it_nor_cut_its_wait(
    near: Namespace, holder: Namespace
) -> None:
    """A late reply, one with another identifier, what a pod that has not seen the request makes up, be it a reply or an
    unreachable, and an empty unreachable leave the next probe waiting.
    """
    holder.sysctl({"ipv4/icmp_echo_ignore_all": 1})
    ears = holder.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
    ears.settimeout(1)

    def request() -> tuple[int, int, bytes]:
        """The identifier, the sequence and the content of the next request."""
        while True:
            packet = ears.recv(2048)
            kind, _, _, identifier, sequence = struct.unpack_from("!BBHHH", packet, 20)
            if kind == 8:
                return identifier, sequence, packet[28:]

    def say(kind: int, words: bytes) -> None:
        total = sum(struct.unpack(f"!{len(words) // 2}H", words)) + (kind << 8)
        while total > 0xFFFF:
            total = (total & 0xFFFF) + (total >> 16)
        ears.sendto(struct.pack("!BxH", kind, 0xFFFF & ~total) + words, (str(NEAR), 0))

    def reply(identifier: int, sequence: int, content: bytes) -> None:
        say(0, struct.pack("!HH", identifier, sequence) + content)

    def unreachable(identifier: int, sequence: int, content: bytes) -> None:
        header = struct.pack("!B8xBxx4s4s", 0x45, 1, NEAR.packed, HOLDER.packed)
        say(3, bytes(4) + header + struct.pack("!BxxxHH", 8, identifier, sequence) + content)

    def run() -> list[ProbeResult]:
        prober = IcmpProber(HOLDER, timeout=0.2)
        prober.send()
        results = collect(prober, time.monotonic() + 1)
        identifier, first, content = request()
        prober.send()
        own, second, _ = request()
        reply(identifier, first, content)
        reply(own ^ 1, second, content)
        made_up = bytes(len(content))
        reply(own, second, made_up)
        unreachable(own, second, made_up)
        ears.sendto(bytes([3, *[0] * 7]), (str(NEAR), 0))
        results += collect(prober, time.monotonic() + 1)
        for answer in (reply, unreachable):
            prober.send()
            answer(*request())
            results += collect(prober, time.monotonic() + 1)
        prober.close()
        return results

    with ears:
        results = near.call(run)
    assert outcomes(results) == [LOST, LOST, ANSWERED, LOST]
    assert results[1].known_at - results[1].sent_at >= 0.2
    assert results[3].detail == "unreachable (code 0), says 10.9.0.2"


def test_what_cannot_be_sent_fails_here_at_once_and_the_next_may_pass(near: Namespace, holder: Namespace) -> None:
    """No route, and an own firewall, are told with the kernel's reason; afterwards the same prober works."""

    def run() -> list[ProbeResult]:
        prober = IcmpProber(HOLDER, timeout=0.5)
        results: list[ProbeResult] = []

        def probe() -> None:
            prober.send()
            results.extend(collect(prober, time.monotonic() + 1))

        near.ip("route del 10.9.0.0/24 dev out")
        probe()
        near.ip("route add 10.9.0.0/24 dev out")
        near.nft(FIREWALL)
        probe()
        near.nft("flush ruleset")
        probe()
        prober.close()
        return results

    results = near.call(run)
    assert outcomes(results) == [FAILED_HERE, FAILED_HERE, ANSWERED]
    assert [result.detail for result in results] == ["Network is unreachable", "Operation not permitted", ""]
    assert all(result.known_at - result.sent_at < 0.1 for result in results)


def test_without_the_capability_each_probe_fails_here(near: Namespace) -> None:
    """A container without CAP_NET_RAW gets a result that says so, not an exception."""
    code = (
        "from ipaddress import ip_address; from floatingip.edges.probes.icmp import IcmpProber\n"
        "prober = IcmpProber(ip_address('127.0.0.1')); prober.send()\n"
        "print([(r.outcome.value, r.detail) for r in prober.collect()])"
    )
    without = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw"]
    assert near.run([*without, sys.executable, "-c", code]).strip() == "[('failed-here', 'Operation not permitted')]"


@families
def test_a_prober_is_not_woken_by_what_answers_another_one(
    near: Namespace, holder: Namespace, address: Address
) -> None:
    """A raw socket gets a copy of every ICMP packet of the node, so fifty probers would wake for each reply."""

    def run() -> list[bool]:
        one, other = IcmpProber(address, timeout=2), IcmpProber(address, timeout=2)
        for prober in (one, other):
            prober.send()
            assert outcomes(collect(prober, time.monotonic() + 2)) == [ANSWERED]
        one.send()
        time.sleep(0.1)
        waiting = [bool(select.select([prober._socket.sock], [], [], 0)[0]) for prober in (one, other)]  # type: ignore[union-attr]  # they are open
        one.close()
        other.close()
        return waiting

    assert near.call(run) == [True, False]


def test_a_flood_of_icmp_neither_holds_a_prober_nor_convicts_anybody(
    near: Namespace, holder: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a kernel has no memory for filters: an answer may wait behind it, or have found no room."""
    if not near.call(Path("/proc/sys/net/core/optmem_max").exists):
        pytest.skip("this kernel has one limit for all namespaces")
    near.sysctl({"core/optmem_max": 0})
    monkeypatch.setattr(icmp, "READ_AT_ONCE", 3)
    holder.nft(SILENCE)
    echo = struct.pack("!BBHHH", 8, 0, 0xF7FE, 0, 1)  # to which this node's own kernel replies

    def run() -> list[ProbeResult]:
        prober = IcmpProber(HOLDER, timeout=0.1)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as flood:
            results: list[ProbeResult] = []
            for number in (3, 0):
                prober.send()
                time.sleep(0.2)
                for _ in range(number):
                    flood.sendto(echo, ("127.0.0.1", 0))
                results += prober.collect()
                prober.collect()  # what was left
        prober.close()
        return results

    flooded, lost = near.call(run)
    assert (flooded.outcome, flooded.detail) == (FAILED_HERE, "more ICMP comes to this node than it can read")
    assert lost.outcome is LOST


def test_only_a_probe_under_way_is_waited_for(near: Namespace, holder: Namespace) -> None:
    """Until it is over at the latest; so a loop around many probers neither spins nor misses one's end."""
    holder.nft(SILENCE)

    def run() -> list[float]:
        prober, due_at = IcmpProber(HOLDER, timeout=0.2), list[float]()
        before = time.monotonic()
        for step in (lambda: None, prober.send, prober.send, lambda: time.sleep(0.3), prober.collect):
            step()
            due_at.append(prober.due_at() - before)
        prober.close()
        return due_at

    idle, first, second, late, after = near.call(run)
    assert idle == after == math.inf
    assert first == second == late
    assert 0.2 <= first < 0.3
