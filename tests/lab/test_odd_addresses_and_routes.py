"""Addresses and routes of others in forms of which there are several at a time: none of them is overlooked."""

import re
import subprocess
import time

import pytest

from floatingip.core.plumbing import Extent, Plumbing, PlumbingReport
from floatingip.edges.kernel.host import KernelHost
from floatingip.edges.kernel.netlink import Netlink
from tests.lab.plumbed import BOTH, IPV4, SOUND, UNSOUND, Node, ip

SECOND = "address add 10.0.0.100 peer 10.0.0.101 dev ens6"


def test_an_address_that_is_on_the_link_twice_goes_as_a_whole(node: Node) -> None:
    """Beside ours, another end: what is left of it would keep the address here, for this node's own packets too."""
    before = node.addresses()
    node.plumb()
    node.namespace.ip(SECOND)
    node.unplumb()
    assert node.addresses() == before
    node.plumb()
    node.namespace.ip(SECOND)
    assert "address" in node.plumb(IPV4, Extent.AHEAD).removed
    assert node.addresses() == before


@pytest.fixture
def connected(node: Node) -> None:
    """IPv6 has a default route, too."""
    node.namespace.ip("address add 2001:db8:0:1::10/64 dev eth0", "route add default via fe80:ec2::1 dev eth0 onlink")


WAYS = "nexthop via {gateway} dev eth0 onlink nexthop via {gateway} dev ens6 onlink"
SEVERAL = {
    "default": "this node's own traffic leaves by ens6; remove the default route of others by it",
    "{vpc}": "this node's own traffic to .* leaves by ens6; remove that route of others",
}


@BOTH
@pytest.mark.usefixtures("connected")
@pytest.mark.parametrize("destination", SEVERAL)
def test_a_route_of_others_that_leads_by_our_link_too_is_named(
    node: Node, plumbing: Plumbing, destination: str
) -> None:
    """Of several ways each packet takes another one: the one that is asked about may be lucky, half of them are not."""
    node.plumb(plumbing)
    vpc = "10.0.0.0/16" if plumbing.address.version == 4 else "2001:db8::/56"
    ip(node, plumbing, f"route replace {destination.format(vpc=vpc)} {WAYS.format(gateway=plumbing.gateway)}")
    report = node.plumb(plumbing)
    assert report.state is UNSOUND
    assert re.match(f"path: {SEVERAL[destination]}", report.problem), report.problem


def test_an_own_address_of_this_node_on_our_link_is_no_way_out(node: Node) -> None:
    """As a network manager gives it, here the last one of its subnet; the better metric is the primary link's."""
    node.plumb()
    node.namespace.ip("address add 10.0.7.254/24 dev ens6 metric 1000", "route add 10.0.7.0/24 dev eth0")
    assert node.plumb() == PlumbingReport(SOUND)


class Killed(BaseException):
    """The observer is killed: nothing of it goes on."""


class Mortal(Netlink):
    """The kernel's rtnetlink, before whose next change but so many the observer is killed."""

    def __init__(self, changes: int) -> None:
        super().__init__()
        self.changes = changes

    def change(self, kind: int, content: bytes, flags: int = 0) -> None:
        if not self.changes:
            raise Killed
        self.changes -= 1
        super().change(kind, content, flags)


def killed(node: Node, changes: int, plumbing: Plumbing, extent: Extent) -> bool:
    """Whether an observer that does this is killed before it has ended; the next one is there."""
    node.host._netlink = Mortal(changes)
    try:
        node.unplumb(plumbing) if extent is Extent.NOTHING else node.plumb(plumbing, extent)
        return False
    except Killed:
        return True
    finally:
        while node.host._marks._works:
            time.sleep(0.005)
        node.host.close()
        node.host = KernelHost()


@BOTH
@pytest.mark.parametrize("extent", [Extent.ALL, Extent.AHEAD, Extent.NOTHING])
def test_whenever_an_observer_is_killed_the_next_one_mends_or_removes_what_is_left(
    node: Node, plumbing: Plumbing, extent: Extent
) -> None:
    """Between any two changes of the kernel, while it puts everything there, or takes it away."""
    bare = node.everything()
    node.plumb(plumbing)
    whole = node.everything()
    node.unplumb(plumbing)
    for is_mended in (True, False):
        changes, was_killed = 0, True
        while was_killed:
            if extent is not Extent.ALL:
                node.plumb(plumbing)
            was_killed = killed(node, changes, plumbing, extent)
            if is_mended:
                assert node.plumb(plumbing).state is SOUND
                assert node.everything() == whole
            node.unplumb(plumbing)
            assert node.everything() == bare
            changes += 1
        assert changes > 2


@BOTH
def test_an_address_that_somebody_has_lent_is_kept_for_good_and_never_missing(node: Node, plumbing: Plumbing) -> None:
    """As of a DHCP client, which may never renew it: the kernel would take it away, and in the meantime it works."""
    node.plumb(plumbing, Extent.AHEAD)
    node.namespace.ip(f"address add {plumbing.address} dev ens6 valid_lft 100 preferred_lft 50")
    with node.namespace.popen(["ip", "monitor", "address"], stdout=subprocess.PIPE) as monitor:
        try:
            time.sleep(0.2)
            repaired, then = node.plumb(plumbing).repaired, node.plumb(plumbing)
            time.sleep(0.2)
        finally:
            monitor.terminate()
        told = monitor.communicate()[0]
    assert (repaired, then) == (("address", "rule"), PlumbingReport(SOUND))
    assert str(plumbing.address) in told
    assert "Deleted" not in told
    (link,) = node.namespace.show(f"address show dev ens6 to {plumbing.address}")
    assert [each["valid_life_time"] for each in link["addr_info"] if each] == [0xFFFFFFFF]
    node.unplumb(plumbing)
    assert not any(str(plumbing.address) in map(str, each) for each in node.addresses())
