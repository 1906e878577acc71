"""
Connections between two namespaces: this process's own, and `holder` behind a veth, with a service of the test's.

And what pings have in common with them; what is of pings alone is in test_probe.py.
"""

import math
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

import pytest

from floatingip.core.model import Address
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.edges import clock
from floatingip.edges.probes.icmp import IcmpProber
from floatingip.edges.probes.tcp import HttpProber, TcpProber
from lab.network.netns import Namespace
from tests.lab.probed_service import Service
from tests.lab.probing import (
    ANSWERED,
    FAILED_HERE,
    HOLDER,
    LOST,
    PORT,
    SILENCE,
    Prober,
    all_of,
    families,
    outcomes,
    probe,
)
from tests.waiting import collect

CLOSED = 8081

REJECT = "table inet refusal { chain packets { type filter hook %s priority 0; tcp dport 8080 reject; }; }"
"""Tells of the refusal by ICMP, as kube-proxy does for a Service without endpoints."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def http(address: Address = HOLDER, timeout: float = 1.0) -> Callable[[], HttpProber]:
    return lambda: HttpProber(address, PORT, "/healthz?full=1", timeout)


def tcp(address: Address = HOLDER, port: int = PORT, timeout: float = 1.0) -> Callable[[], TcpProber]:
    return lambda: TcpProber(address, port, timeout)


def icmp(address: Address = HOLDER, timeout: float = 1.0) -> Callable[[], IcmpProber]:
    return lambda: IcmpProber(address, timeout)


Make = Callable[..., Callable[[], Prober]]
both = pytest.mark.parametrize("make", [http, tcp], ids=["HTTP", "TCP"])
each = pytest.mark.parametrize("make", [http, tcp, icmp], ids=["HTTP", "TCP", "ICMP"])


@families
@each
def test_an_answer_is_known_as_soon_as_it_comes(
    near: Namespace, holder: Namespace, address: Address, make: Make
) -> None:
    """Long before the timeout."""
    with closing(Service(holder, [OK], asks=make is http)):
        outcome, _, seconds = probe(near, make(address, timeout=5))
    assert outcome is ANSWERED
    assert seconds < 2  # of which IPv6 may spend one on a neighbour discovery that is lost while the link comes up


@families
def test_the_request_is_one_that_any_server_understands(near: Namespace, holder: Namespace, address: Address) -> None:
    """HTTP/1.1 with the address as its host, an IPv6 one in brackets, and no connection to be kept."""
    with closing(Service(holder, [OK], asks=True)) as service:
        probe(near, http(address))
        ((request, _),) = service.wait_for(1)
    first, *headers = request.decode().removesuffix("\r\n\r\n").split("\r\n")
    assert first == "GET /healthz?full=1 HTTP/1.1"
    assert f"Host: {'10.9.0.2' if address == HOLDER else '[2001:db8:9::2]'}:8080" in headers
    assert "Connection: close" in headers


@pytest.mark.parametrize(
    ("answer", "outcome", "detail"),
    [
        (OK, ANSWERED, "HTTP status 200"),
        (b"HTTP/1.0 204 No Content\r\n\r\n", ANSWERED, "HTTP status 204"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://10.9.0.2:8081/\r\n\r\n", ANSWERED, "HTTP status 302"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200\r\n\r\n", ANSWERED, "HTTP status 200"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 503 Sorry\r\n\r\n", LOST, "HTTP status 503"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", LOST, "HTTP status 404"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", LOST, "HTTP status 503"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", LOST, "ended without an answer"),
        (b"HTTP/1.1 20", LOST, "ended without an answer"),
        (b"", LOST, "ended without an answer"),
    ],
)
def test_the_status_decides_and_nothing_is_followed(
    near: Namespace, holder: Namespace, answer: bytes, outcome: ProbeOutcome, detail: str
) -> None:
    """2xx and 3xx are answers, as for the kubelet; anything else is lost, and says why."""
    with closing(Service(holder, [answer], asks=True)) as service:
        assert probe(near, http())[:2] == (outcome, detail)
        assert len(service.wait_for(1)) == 1


@both
def test_a_probe_never_resets_a_connection(near: Namespace, holder: Namespace, make: Make) -> None:
    """What the service says, at once or later, long or short, is read to its end, so it has nothing to complain of."""
    long_answer = OK + b"x" * 30_000

    def run() -> None:
        with closing(make()()) as prober:
            for _ in range(5):
                prober.send()
                assert all_of(prober, 1)[0].outcome is ANSWERED
            collect(prober, clock.now() + 0.2)

    with closing(Service(holder, [long_answer], asks=make is http)) as service:
        near.call(run)
        assert [end for _, end in service.wait_for(5)] == ["closed"] * 5


def test_an_endless_answer_is_cut_off(near: Namespace, holder: Namespace) -> None:
    """A download behind the path does not become this node's load; its status counts."""
    endless = OK + b"x" * 50_000_000

    def run() -> float:
        with closing(HttpProber(HOLDER, PORT, "/", 3)) as prober:
            prober.send()
            assert all_of(prober, 1)[0].outcome is ANSWERED
            began = time.process_time()
            collect(prober, clock.now() + 0.2)
            return time.process_time() - began

    with closing(Service(holder, [endless], asks=True)) as service:
        near.call(run)
        ((_, end),) = service.wait_for(1)
    assert end in ("ConnectionResetError", "BrokenPipeError")


@families
def test_a_refusal_is_the_holder_s_at_once(near: Namespace, holder: Namespace, address: Address) -> None:
    """A closed port is LOST, and need not be waited for."""
    outcome, detail, seconds = probe(near, tcp(address, CLOSED, timeout=5))
    assert (outcome, detail) == (LOST, "Connection refused")
    assert seconds < 2


def test_a_reset_instead_of_an_answer_is_lost(near: Namespace, holder: Namespace) -> None:
    """A proxy without a backend may do that; the probe says so."""

    def reset() -> None:
        connection, _ = listener.accept()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    with holder.listen("0.0.0.0", PORT) as listener:
        threading.Thread(target=reset, daemon=True).start()
        assert probe(near, http())[:2] == (LOST, "Connection reset by peer")


@families
@pytest.mark.parametrize(("make", "said"), [(tcp, "no connection"), (icmp, "no answer")], ids=["TCP", "ICMP"])
def test_silence_is_lost_exactly_at_the_timeout(
    near: Namespace, holder: Namespace, address: Address, make: Make, said: str
) -> None:
    """Not sooner and not much later."""
    holder.nft(SILENCE)
    outcome, detail, seconds = probe(near, make(address, timeout=0.2))
    assert (outcome, detail) == (LOST, said)
    assert 0.2 <= seconds < 0.7


def test_no_answer_is_lost_exactly_at_the_timeout(near: Namespace, holder: Namespace) -> None:
    """A service that takes connections and says nothing, as one in a deadlock, is told from one that takes none."""
    with holder.listen("0.0.0.0", PORT):
        outcome, detail, seconds = probe(near, http(timeout=0.2))
        assert (outcome, detail) == (LOST, "no answer")
        assert 0.2 <= seconds < 0.7
        assert probe(near, tcp(timeout=0.2))[0] is ANSWERED


@each
def test_overlapping_probes_each_get_their_own_result_in_the_order_of_sending(
    near: Namespace, holder: Namespace, make: Make
) -> None:
    """A lost probe takes no later answered one with it, and the answered one is not told before it."""

    def run() -> list[ProbeResult]:
        with closing(make(timeout=0.4)()) as prober:
            prober.send()
            all_of(prober, 1)  # so that the neighbour is found
            holder.nft(SILENCE)
            prober.send()
            holder.nft("flush ruleset")
            prober.send()
            assert collect(prober, clock.now() + 0.1) == []
            return all_of(prober, 2)

    with closing(Service(holder, [OK], asks=make is http)):
        first, second = near.call(run)
    assert (first.outcome, second.outcome) == (LOST, ANSWERED)
    assert first.sent_at < second.sent_at
    assert second.known_at < first.known_at


@each
def test_a_stall_of_this_process_loses_no_probe(near: Namespace, holder: Namespace, make: Make) -> None:
    """Replies that wait in the socket count, though they are read long after the timeout, and so do connections that
    came to stand meanwhile, which are asked only then; what is silent is lost all the same.
    """

    def run() -> list[ProbeResult]:
        with closing(make(timeout=1)()) as prober:
            for _ in range(3):
                prober.send()
            holder.nft(SILENCE)
            prober.send()
            time.sleep(1.5)
            holder.nft("flush ruleset")
            return all_of(prober, 4)

    with closing(Service(holder, [OK], asks=make is http, seconds=0.02)):
        assert outcomes(near.call(run)) == [ANSWERED, ANSWERED, ANSWERED, LOST]


def test_a_refusal_by_icmp_is_told_with_its_sender(near: Namespace, holder: Namespace) -> None:
    """A Service without endpoints is refused by the holder; what this node's own firewall refuses is no word of it."""
    holder.nft(REJECT % "input")
    assert probe(near, tcp())[:2] == (LOST, "Connection refused, says 10.9.0.2")
    near.nft(REJECT % "output")
    assert probe(near, tcp())[:2] == (FAILED_HERE, "this node has answered itself: Connection refused")


@pytest.mark.parametrize(
    ("make", "beyond", "told"),
    [
        (tcp, "10.8.0.1", "No route to host, says 10.9.0.2"),
        (tcp, "2001:db8:8::1", "Network is unreachable, says 2001:db8:9::2"),
        (icmp, "10.8.0.1", "unreachable (code 1), says 10.9.0.2"),
        (icmp, "2001:db8:8::1", "unreachable (code 0), says 2001:db8:9::2"),
    ],
)
def test_an_unreachable_from_elsewhere_is_lost_at_once(
    near: Namespace, holder: Namespace, make: Make, beyond: str, told: str
) -> None:
    """What a router says of the holder is about the holder, and need not be waited for."""
    near.ip(f"route add {beyond} via {told.rpartition(' ')[2]}")
    holder.sysctl({"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1})
    holder.ip(f"route add unreachable {beyond}")
    outcome, detail, seconds = probe(near, make(ip_address(beyond), timeout=5))
    assert (outcome, detail) == (LOST, told)
    assert seconds < 2


@pytest.mark.parametrize(
    ("make", "nobody", "told"),
    [
        (tcp, "10.9.0.77", "this node has answered itself: No route to host"),
        (tcp, "2001:db8:9::77", "this node has answered itself: No route to host"),
        (icmp, "10.9.0.77", "unreachable (code 1), says 10.9.0.1"),
        (icmp, "2001:db8:9::77", "unreachable (code 3), says 2001:db8:9::1"),
    ],
)
def test_a_next_hop_that_does_not_exist_is_this_node_s_own_failure(
    near: Namespace, holder: Namespace, make: Make, nobody: str, told: str
) -> None:
    """When this node's kernel gives up on the neighbour it says so to itself, which is no word about the holder."""
    near.sysctl({f"{family}/neigh/out/retrans_time_ms": 50 for family in ("ipv4", "ipv6")})
    assert probe(near, make(ip_address(nobody), timeout=3))[:2] == (FAILED_HERE, told)


def test_a_connection_that_stands_outlives_a_passing_refusal(near: Namespace, holder: Namespace) -> None:
    """As TCP has it: the request is repeated, and answered once it gets through; until then the prober sleeps."""

    def run() -> tuple[list[ProbeResult], float]:
        with closing(http(timeout=3)()) as prober:
            prober.send()
            near.nft(REJECT % "output")
            began = time.process_time()
            assert collect(prober, clock.now() + 0.5) == []
            busy = time.process_time() - began
            near.nft("flush ruleset")
            return all_of(prober, 1), busy

    with closing(Service(holder, [OK], asks=True)):
        (result,), busy = near.call(run)
    assert result.outcome is ANSWERED
    assert busy < 0.1


def test_a_prober_sleeps_while_it_waits(near: Namespace, holder: Namespace) -> None:
    """Neither a connection under way, nor one that stands, nor an error that waits in the socket keeps it busy."""
    near.ip("route add 10.8.0.1 via 10.9.0.2")
    holder.sysctl({"ipv4/ip_forward": 1})
    holder.ip("route add unreachable 10.8.0.1")

    def run() -> float:
        silent, deaf, beyond = http()(), tcp(ip_address("10.9.0.77"))(), tcp(ip_address("10.8.0.1"))()
        began = time.process_time()
        for prober in (silent, deaf, beyond):
            with closing(prober):
                prober.send()
                collect(prober, clock.now() + 0.5)
                collect(prober, clock.now() + 0.2)
        return time.process_time() - began

    with holder.listen("0.0.0.0", PORT):
        assert near.call(run) < 0.1


def test_what_cannot_be_tried_fails_here_at_once_and_the_next_may_pass(near: Namespace, holder: Namespace) -> None:
    """No route, and no free port, are told with the kernel's reason; afterwards the same prober works."""

    def run() -> list[ProbeResult]:
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40000")
        with closing(tcp()()) as prober:
            near.ip("route del 10.9.0.0/24 dev out")
            prober.send()
            near.ip("route add 10.9.0.0/24 dev out")
            prober.send()
            prober.send()
            return all_of(prober, 3)

    with closing(Service(holder, [OK], asks=False)):
        results = near.call(run)
    assert [(result.outcome, result.detail) for result in results] == [
        (FAILED_HERE, "Network is unreachable"),
        (ANSWERED, ""),
        (FAILED_HERE, "Cannot assign requested address"),
    ]
    assert results[0].known_at - results[0].sent_at < 0.5


def test_a_refusal_by_this_very_node_is_lost(near: Namespace) -> None:
    """It is the asked service that is missing, here too."""
    assert probe(near, tcp(ip_address("127.0.0.1")))[:2] == (LOST, "Connection refused")


def test_close_forgets_what_is_under_way(near: Namespace, holder: Namespace) -> None:
    """And its connections are gone; the prober can be used again."""

    def run() -> list[ProbeResult]:
        with closing(tcp()()) as prober:
            prober.send()
            prober.close()
            assert collect(prober, clock.now() + 0.05) == []
            prober.send()
            return all_of(prober, 1)

    with closing(Service(holder, [OK], asks=False)) as service:
        (result,) = near.call(run)
        service.wait_for(2)
    assert result.outcome is ANSWERED


def test_only_a_probe_under_way_is_waited_for(near: Namespace, holder: Namespace) -> None:
    """Until it is over at the latest, or at once when it is known already; so a loop neither spins nor misses one."""
    holder.nft(SILENCE)

    def run() -> list[tuple[float, int]]:
        prober, seen = TcpProber(HOLDER, PORT, timeout=0.2), list[tuple[float, int]]()
        before = clock.now()
        for step in (lambda: None, prober.send, lambda: collect(prober, before + 1)):
            step()
            seen.append((prober.due_at() - before, len(prober.files())))
        near.ip("route add unreachable 10.9.0.2")
        prober.send()
        seen.append((prober.due_at() - clock.now(), len(prober.files())))
        near.ip("route del unreachable 10.9.0.2")
        prober.close()
        return seen

    idle, waiting, after, failed = near.call(run)
    assert idle == after == (math.inf, 0)
    assert 0.2 <= waiting[0] < 0.3
    assert waiting[1] == 1
    assert failed[0] <= 0
    assert failed[1] == 0


@pytest.mark.parametrize("path", ["", "healthz", "/a b", "/\r\nX: y", "/ä"])
def test_what_is_no_path_is_refused(path: str) -> None:
    """It could say anything to the service."""
    with pytest.raises(ValueError, match="no path of a URL"):
        HttpProber(HOLDER, PORT, path, 1.0)
