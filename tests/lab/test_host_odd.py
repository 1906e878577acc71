"""The plumbing where nft hangs or fails, and where the kernel answers oddly: it is said, or unknown."""

import contextlib
import errno
import gc
import os
import shutil
import signal
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from itertools import product
from pathlib import Path

import pytest

from floatingip.core.errors import HostError
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.edges.kernel import marks, netlink
from floatingip.edges.kernel.host import KernelHost
from floatingip.edges.kernel.netlink import Netlink
from tests.lab.plumbed import IPV4, MARKS, NO_LINK, SOUND, UNSOUND, Node, settle
from tests.waiting import until


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


PLUMBINGS = int(os.environ.get("PLUMBINGS", "4000"))
"""How many are tried: PLUMBINGS=16000 takes half a minute."""


def test_thousands_of_plumbings_leave_nothing_in_memory(node: Node) -> None:
    """Neither looks nor repairs, nor the events that they cause: a node has one every few seconds, for months."""

    def plumb(times: int) -> None:
        for number in range(times):
            node.host.plumb(IPV4, Extent.AHEAD if number % 50 == 0 else Extent.ALL)

    node.watch(lambda: None)
    node.namespace.call(lambda: plumb(1000))
    before = resident()
    node.namespace.call(lambda: plumb(PLUMBINGS))
    assert resident() - before < PLUMBINGS * 62, "a megabyte for 16,000"


ITSELF = f'exec {shutil.which("nft")} "$@"'
SCRIPTS: list[tuple[str, str, str]] = [
    ("hangs", "sleep 1000", "nft: no answer within 0.2 s"),
    ("hangs-and-ignores-sigterm", "trap '' TERM; while :; do sleep 1; done", "nft: no answer within 0.2 s"),
    ("leaves-a-child-with-its-output", "sleep 1000 & exit 0", "nft: no answer within 0.2 s"),
    ("closes-its-output-and-stays", "exec >&- 2>&-; sleep 1000", "nft: no answer within 0.2 s"),
    ("dies-by-a-signal", "kill -9 $$", "nft: ended by signal 9"),
    ("fails", "echo no such luck >&2; exit 1", "nft: no such luck"),
    ("fails-without-a-word", "exit 3", "nft: exit code 3"),
    ("complains-without-end", "yes complaint >&2", "still not as they should be, though nft reported no error"),
]
SHAPES = {
    "prints-without-end": "yes",
    "nothing": "true",
    "no-json": "echo '{'",
    "a-list": "echo '[]'",
    "null": "echo null",
    "a-number": "echo 1",
    "another-key": """echo '{"iptables": []}'""",
    "null-for-entries": """echo '{"nftables": null}'""",
    "a-string-for-entries": """echo '{"nftables": "table"}'""",
    "entries-that-are-none": """echo '{"nftables": [1, null, "x", [], {}]}'""",
    "things-that-are-none": """echo '{"nftables": [{"table": 1}, {"rule": null}, {"rule": []}]}'""",
    "no-list-of-expressions": """echo '{"nftables": [{"rule": {"expr": 1}}, {"rule": {"expr": {"match": 1}}}]}'""",
    "odd-expressions": """echo '{"nftables": [{"rule": {"expr": [1, {"match": null}, {"match": {"op": "=="}}]}}]}'""",
    "an-odd-link": r"""echo '{"nftables": [{"rule": {"expr": [{"match": {"left": {"meta": {"key": "iif"}},
                    "right": "\u00b2\u0000"}}]}}]}'""",
    "deep": "head -c 200000 /dev/zero | tr '\\0' '['",
    "a-long-number": "head -c 200000 /dev/zero | tr '\\0' '1'",
    "no-text": "head -c 1000 /dev/zero | tr '\\0' '\\377'",
}
SCRIPTS += [
    (what, script, "still not as they should be, though nft reported no error") for what, script in SHAPES.items()
]


@pytest.fixture
def nft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Make an nft that does what a script says; the pauses around it are short."""
    monkeypatch.setattr(marks, "PATIENCE", 0.5)
    monkeypatch.setattr("floatingip.edges.kernel.nft.NFT_SECONDS", 0.2)
    monkeypatch.setattr(marks, "ASKED_AGAIN_AFTER", 0.05)

    def make(script: str) -> str:
        command = tmp_path / "nft"
        new = tmp_path / "new"
        new.write_text(f"#!/bin/sh\n{script}\n")
        new.chmod(0o755)
        new.rename(command)
        return str(command)

    return make


@pytest.mark.parametrize(("script", "problem"), [(s, p) for _, s, p in SCRIPTS], ids=[what for what, _, _ in SCRIPTS])
def test_whatever_nft_does_the_rest_is_plumbed_and_it_is_said(
    node: Node, nft: Callable[[str], str], script: str, problem: str
) -> None:
    """It is a problem, never an exception, nor sound; as soon as nft is itself again the marks follow."""
    node.host = KernelHost(nft(script))
    report = node.plumb()
    assert report.state is not SOUND
    assert report.repaired == ("link-up", "mtu", "address", "rp_filter", "route", "rule")
    until(lambda: node.plumb().problem == f"marks: {problem}", 10)
    nft(ITSELF)
    until(lambda: node.plumb().state is SOUND, 10)
    assert "mark set" in node.nft()


@pytest.mark.parametrize("script", ["sleep 1000", "kill -9 $$", "exit 1"])
def test_marks_that_were_read_hold_while_nft_is_silent_and_nothing_touches_them(
    node: Node, nft: Callable[[str], str], script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder must not be relieved since nft is slow; that it is silent for long is said."""
    monkeypatch.setattr(marks, "BELIEVED_FOR", 0.0)
    node.host = KernelHost(nft(ITSELF))
    touched = threading.Event()
    node.watch(touched.set)
    node.plumb()
    settle(touched)
    assert node.plumb().state is SOUND
    nft(script)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        assert node.plumb() == PlumbingReport(SOUND)
    monkeypatch.setattr(marks, "UNKNOWN_FOR", 0.5)
    report = node.plumb()
    assert report.state is SOUND
    assert report.problem.startswith("marks: nft: ")
    assert report.problem.endswith("; nothing has touched them since")


def test_marks_that_were_touched_are_uncertain_while_nft_is_silent_and_missing_after_a_while(
    node: Node, nft: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows: neither that they are there, nor, as in kube-proxy's long syncs, that they are not."""
    touched = threading.Event()
    node.host = KernelHost(nft(ITSELF))
    node.watch(touched.set)
    node.plumb()
    settle(touched)
    assert node.plumb().state is SOUND
    nft("sleep 1000")
    node.namespace.nft("table inet somebody { }")
    assert touched.wait(1)
    assert node.plumb().state is SOUND, "it was another table"
    settle(touched)
    node.namespace.nft(f"flush table inet {MARKS}")
    assert touched.wait(1)
    assert node.plumb().state is PlumbingState.UNCERTAIN
    monkeypatch.setattr(marks, "UNKNOWN_FOR", 0.5)
    time.sleep(0.6)
    assert node.plumb().state is UNSOUND
    nft(ITSELF)
    until(lambda: node.plumb().state is SOUND, 10)
    assert "mark set" in node.nft()


def test_no_more_than_three_nfts_that_cannot_be_killed_are_left_behind(
    node: Node, nft: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel keeps those that wait for another one's transaction; nobody waits for them."""
    started = Path(nft("true")).with_name("started")
    node.host = KernelHost(nft(f"echo >> {started}; sleep 1000"))
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _: killed.append(group))
    try:
        until(lambda: "3 of them were killed" in node.plumb().problem, 10)
        time.sleep(0.5)
        began = time.monotonic()
        for _ in range(20):
            node.plumb()
        assert time.monotonic() - began < 5
        assert len(started.read_text()) == 3
    finally:
        monkeypatch.undo()
        for group in killed:
            os.killpg(group, signal.SIGKILL)


def test_one_hanging_nft_delays_no_address(
    node: Node, nft: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it twice."""
    monkeypatch.setattr("floatingip.edges.kernel.nft.NFT_SECONDS", 5.0)
    node.host = KernelHost(nft("sleep 1000"))
    node.plumb()
    began = time.monotonic()
    for last in range(1, 21):
        others = replace(IPV4, address=ip_address(f"10.0.0.{last + 100}"), table=1100 + last, priority=1000 + 2 * last)
        assert node.plumb(others).is_here
    assert time.monotonic() - began < 20 * marks.PATIENCE / 2


ALL_LINKS = 18  # RTM_GETLINK


class OddKernel(Netlink):
    """The kernel's rtnetlink, whose answers are spoilt on their way."""

    def __init__(self, spoil: Callable[[bytes], bytes | Exception]) -> None:
        super().__init__()
        self.spoil = spoil

    def _receive(self) -> bytes:
        said = self.spoil(super()._receive())
        if isinstance(said, Exception):
            raise said
        return said


def without_attributes(said: bytes) -> bytes:
    """Each message of a dump with its head only."""
    kept = b""
    while said:
        (length,) = struct.unpack_from("=I", said)
        head = {16: 32, 20: 24, 24: 28, 32: 28}.get(struct.unpack_from("=H", said, 4)[0], length)
        kept += struct.pack("=I", head) + said[4:head]
        said = said[(length + 3) & ~3 :]
    return kept


def interrupted(said: bytes) -> bytes:
    """A dump during which something has changed."""
    return said[:6] + b"\x12\x00" + said[8:]


ODD: dict[str, tuple[Callable[[bytes], bytes | Exception], str]] = {
    "no-answer": (lambda said: TimeoutError(), "netlink: no answer within 0.2 s"),
    "overrun": (lambda said: OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)), "No buffer space available"),
    "interrupted-for-ever": (interrupted, "the kernel interrupted 5 dumps in a row"),
    "cut-off": (lambda said: said[:50], "cannot be read"),
    "too-long": (lambda said: b"\xff" * 4 + said[4:], "cannot be read"),
    "nothing": (lambda said: b"\x10\x00\x00\x00" + b"\0" * 12, "netlink: no answer within 0.2 s"),
    "attributes-that-are-none": (lambda said: said[:32] + b"\x02\x00" + said[34:], "cannot be read"),
}


@pytest.mark.parametrize(("spoil", "problem"), ODD.values(), ids=ODD)
def test_whatever_netlink_answers_is_a_report_or_an_error_of_one_line(
    node: Node, spoil: Callable[[bytes], bytes | Exception], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is raised, or the thread would end; and afterwards it goes on."""
    monkeypatch.setattr(netlink, "ANSWER_WITHIN", 0.2 if problem.endswith("0.2 s") else 5.0)
    odd = node.host._netlink = OddKernel(spoil)
    report = node.plumb()
    assert report.state is UNSOUND
    assert problem in report.problem
    assert "\n" not in report.problem
    for act in (node.host.unplumb, node.host.route_probes, node.host.unroute_probes):
        with contextlib.suppress(HostError):
            node.namespace.call(partial(act, IPV4))
    node.announce()
    with pytest.raises(OSError, match=r"."):
        node.namespace.call(lambda: odd.dump(ALL_LINKS, bytes(16), 16))
    odd.spoil = lambda said: said
    assert node.plumb().state is SOUND


def test_a_kernel_that_does_not_answer_makes_uncertain_what_was_complete(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a while, and nothing that was found missing: nobody moves an address since a driver keeps rtnetlink busy."""
    monkeypatch.setattr(netlink, "ANSWER_WITHIN", 0.2)
    odd = node.host._netlink = OddKernel(lambda said: TimeoutError())
    assert node.plumb().state is UNSOUND, "it was never complete"
    odd.spoil = lambda said: said
    assert node.plumb().state is SOUND
    odd.spoil = lambda said: TimeoutError()
    report = node.plumb()
    assert report.state is PlumbingState.UNCERTAIN
    assert report.problem == "link: netlink: no answer within 0.2 s"
    assert node.plumb(replace(IPV4, table=1065)).state is UNSOUND, "another one was complete"
    odd.spoil = lambda said: said
    for extent, wanted in product((Extent.AHEAD, Extent.ALL), (Extent.AS_FOUND, Extent.AS_LEFT)):
        node.plumb(IPV4, extent)
        odd.spoil = lambda said: TimeoutError()
        report = node.plumb(IPV4, wanted)
        assert (report.state, report.extent) == (PlumbingState.UNCERTAIN, extent), "as it was found last"
        odd.spoil = lambda said: said
    node.plumb()
    monkeypatch.setattr("floatingip.edges.kernel.host.UNKNOWN_FOR", 0.0)
    odd.spoil = lambda said: TimeoutError()
    assert node.plumb().state is PlumbingState.UNCERTAIN
    assert node.plumb().state is UNSOUND, "that was long enough"


def test_messages_without_attributes_are_of_others(node: Node) -> None:
    """A link without a MAC, a route without a link, a rule without a priority: nothing is read into them."""
    odd = node.host._netlink = OddKernel(without_attributes)
    assert node.plumb() == PlumbingReport(NO_LINK)
    assert node.unplumb() == ()
    odd.spoil = lambda said: said
    assert node.plumb().state is SOUND


def test_odd_routes_and_rules_of_others_are_passed_over(node: Node) -> None:
    """Several next hops, no next hop, a next hop of the other family, and all that a rule can select by."""
    node.plumb()
    node.namespace.ip(
        "route add 10.0.9.0/24 nexthop via 10.0.0.1 weight 1 nexthop via 10.0.0.2 weight 2",
        "route add blackhole 10.0.8.0/24",
        "route add 10.0.7.0/24 via inet6 fe80::1 dev eth0",
        "rule add priority 1800 from 10.0.0.9 to 10.0.1.0/24 tos 0x10 iif lo ipproto tcp dport 80 lookup 8",
        "rule add priority 1803 lookup main suppress_prefixlength 0",
        "rule add priority 1801 uidrange 0-0 prohibit",
        "rule add priority 1802 goto 32766",
        "address add 10.0.0.77 peer 10.0.0.101 dev eth0",
    )
    assert node.plumb() == PlumbingReport(SOUND)
    node.unplumb()
    node.route_probes()
    (route,) = node.namespace.show("route show 10.0.0.100")
    assert (route["gateway"], route["protocol"]) == ("10.0.0.1", "102")
