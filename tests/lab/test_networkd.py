"""
systemd-networkd itself, on a node that carries addresses: when it starts it takes away what it did not put there.

By default that is every rule of others, whatever it is told of links, and every address and route of others on the
links that it configures: those of a standby's probes on the primary one, and all of ours where it takes our link, too.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

from floatingip.agent.effects import Keep, Wanted
from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport
from floatingip.edges.kernel.host import KernelHost
from floatingip.runtime.keeping import HostKeeper
from tests.lab.plumbed import BOTH, Node, rules_of_ours
from tests.waiting import until

NETWORKD = Path("/usr/lib/systemd/systemd-networkd")
PRIMARY = """[Match]
Name=eth0
[Network]
Address=10.0.0.10/24
Gateway=10.0.0.1
Address=2001:db8:0:1::10/64
IPv6AcceptRA=no
"""
OURS = {
    "as its own": "[Match]\nName=ens6\n[Network]\nDHCP=yes\nIPv6AcceptRA=no\n",
    "left alone": "[Match]\nName=ens6\n[Link]\nUnmanaged=yes\n",
}
"""What it is told of our link."""

pytestmark = pytest.mark.skipif(not NETWORKD.exists(), reason="there is no systemd-networkd")


@pytest.fixture(name="start")
def _start(node: Node) -> Iterator[Callable[[str], None]]:
    """`start(ours)`: it starts in the node, with what it is told of our link."""
    run = Path("/run")
    started: list[subprocess.Popen[str]] = []

    def start(ours: str) -> None:
        for folder in (
            "systemd/network",
            "systemd/netif/links",
            "systemd/netif/leases",
            "systemd/netif/lldp",
            "udev/data",
        ):
            (run / folder).mkdir(parents=True, exist_ok=True)
        (run / "systemd/network/10-primary.network").write_text(PRIMARY)
        (run / "systemd/network/20-ours.network").write_text(ours)
        for link in node.namespace.show("link show"):
            # As udev leaves it: what udev has not seen yet is not configured.
            (run / f"udev/data/n{link['ifindex']}").write_text("I:1\nV:1\n")
        # Its user may not exist in the sandbox, where it would become that.
        for name, entry in (("passwd", "systemd-network:x:0:0::/:/bin/false"), ("group", "systemd-network:x:0:")):
            (run / name).write_text(f"root:x:0:{'0::/:/bin/sh' if name == 'passwd' else ''}\n{entry}\n")
        mounts = "mount -t sysfs none /sys; for f in passwd group; do mount --bind /run/$f /etc/$f; done"
        command = ["unshare", "--mount", "sh", "-ec", f"{mounts}; exec {NETWORKD}"]
        started.append(node.namespace.popen(command, stderr=subprocess.PIPE))

    yield start
    for process in started:
        process.terminate()
        process.communicate()


@BOTH
@pytest.mark.parametrize("ours", OURS.values(), ids=OURS)
def test_what_networkd_takes_away_when_it_starts_is_there_again(
    node: Node, start: Callable[[str], None], plumbing: Plumbing, ours: str
) -> None:
    """A holder's address, routes and rules, and the route of the probes of another address."""
    node.namespace.ip("address add 2001:db8:0:1::10/64 dev eth0", "route add default via fe80:ec2::1 dev eth0 onlink")
    probed = replace(
        plumbing, address=plumbing.address + 1, mac="02:00:00:00:00:99", table=1065, priority=910, mark=0x10
    )
    reports: SimpleQueue[tuple[object, PlumbingReport]] = SimpleQueue()
    keeper = HostKeeper(KernelHost(), lambda target, report: reports.put((target, report)))
    keeper.take_up(Keep(plumbing.address, Wanted(plumbing, Extent.ALL)))
    keeper.take_up(Keep(probed.address, Wanted(probed, Extent.ALL)))
    node.namespace.call(keeper.start)
    try:
        until(lambda: is_carried(node, plumbing, probed))
        said(reports)
        start(ours)
        lost = {"rule", "route", "address"} if ours is OURS["as its own"] else {"rule"}
        mended = set[str]()

        def is_mended() -> bool:
            mended.update(said(reports))
            return lost <= mended

        until(is_mended)
        until(lambda: is_carried(node, plumbing, probed))
    finally:
        keeper.end(within=5)


def said(reports: SimpleQueue[tuple[object, PlumbingReport]]) -> set[str]:
    """What was mended meanwhile."""
    mended = set[str]()
    with suppress(Empty):
        while True:
            mended.update(reports.get(block=False)[1].repaired)
    return mended


def is_carried(node: Node, plumbing: Plumbing, probed: Plumbing) -> bool:
    """By what the kernel shows: all that makes the one address work, and the other one's route."""
    family = f"-{plumbing.address.version}"
    rules = rules_of_ours(node, plumbing)
    return (
        any(local == str(plumbing.address) for name, local, _ in node.addresses() if name == "ens6")
        and set(rules) == {900, 901}
        and bool(node.table(plumbing))
        and any(
            route["dst"] == str(probed.address) and route["dev"] == "eth0"
            for route in node.namespace.show(f"{family} route show proto 102")
        )
    )
