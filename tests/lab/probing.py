"""What the tests of probes share: the addresses, outcomes, what comes of one prober's probes, and who answers."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from ipaddress import ip_address

import pytest

from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.edges.probes.icmp import IcmpProber
from floatingip.edges.probes.tcp import TcpProber
from lab.network.netns import Namespace
from tests.waiting import collect

Prober = IcmpProber | TcpProber

ADDRESSES = [ip_address("10.9.0.2"), ip_address("2001:db8:9::2")]
HOLDER = ADDRESSES[0]
families = pytest.mark.parametrize("address", ADDRESSES, ids=["IPv4", "IPv6"])

PORT = 8080
SILENCE = f"""table inet silence {{ chain in {{
    type filter hook input priority 0; meta l4proto {{ icmp, icmpv6 }} drop; tcp dport {PORT} drop; }}; }}"""
"""In the holder: neither an echo request nor the service's port gets an answer.  (For IPv6 neighbour discovery goes
with them, after a first answer.)
"""

ZONE = """table inet zone {
    chain out { type filter hook output priority raw; ct zone set 7; };
    chain in { type filter hook prerouting priority raw; ct zone set 7; }; }"""
"""On the node that probes: others have a conntrack zone of their own, where NAT cannot be kept off (straight.py)."""

ANSWERED, LOST, FAILED_HERE = ProbeOutcome.ANSWERED, ProbeOutcome.LOST, ProbeOutcome.FAILED_HERE


def is_own(namespace: Namespace, address: object) -> bool:
    """Whether the kernel takes in what is for the address: of IPv6 it does some time after `ip address add` has ended,
    on a busy machine a tenth of a second; until then it looks for a neighbour who has it, and listens to none.
    """
    (route,) = namespace.show(f"route get {address}")
    return route.get("type") == "local"


def outcomes(results: list[ProbeResult]) -> list[ProbeOutcome]:
    return [result.outcome for result in results]


def all_of(prober: Prober, count: int) -> list[ProbeResult]:
    """The next `count` results."""
    results: list[ProbeResult] = []
    end = time.monotonic() + 5
    while len(results) < count:
        assert time.monotonic() < end, results
        results += collect(prober, end)
    return results


def probe(near: Namespace, make: Callable[[], Prober]) -> tuple[ProbeOutcome, str, float]:
    """What comes of one probe: outcome, detail, and the seconds it took."""

    def run() -> ProbeResult:
        with closing(make()) as prober:
            prober.send()
            (result,) = all_of(prober, 1)
            return result

    result = near.call(run)
    return result.outcome, result.detail, result.known_at - result.sent_at


@contextmanager
def serving(
    namespace: Namespace, version: int, port: int, handler: type[http.server.BaseHTTPRequestHandler]
) -> Iterator[None]:
    """Serve by HTTP there, by that version of IP, meanwhile."""
    server = http.server.HTTPServer(("", port), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = namespace.listen("0.0.0.0" if version == 4 else "::", port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()
