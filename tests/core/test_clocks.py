"""Nodes whose clocks differ, and one whose clock is set: how long ago something was is told by one clock."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from floatingip.core.clocks import CLOCKS_DIFFER
from floatingip.core.health import HealthState
from floatingip.core.model import Carry
from floatingip.core.overview import overview
from floatingip.core.page import render
from floatingip.core.report import Report
from floatingip.core.snapshot import PeerSnapshot
from floatingip.core.status import of
from floatingip.core.table import lines
from floatingip.core.word import Status
from tests.core import agents, nodes
from tests.core.snapshots import NOW, TARGET, WALL, WATCHED, C, holder, standby

HOUR = 3600.0
AHEAD = pytest.mark.parametrize(("ahead", "said"), [(HOUR, "1 h ahead of"), (-HOUR, "1 h behind")])


def told(ahead: float) -> Report:
    """By a standby with this clock: the address has been down, and that node without a slot, for so many seconds."""
    lacking = replace(WATCHED, health=HealthState.DOWN, not_ready="no slot", moves=())
    since = {"down_since_wall": WALL - 192.0 + ahead, "unready_since_wall": WALL - 60.0 + ahead}
    return of(standby(replace(lacking, **since), wall=WALL + ahead), NOW)  # type: ignore[arg-type]  # fields of it


@AHEAD
def test_what_a_node_has_seen_by_its_own_clock_is_told_by_ours(ahead: float, said: str) -> None:
    """And that the two differ, with what to do."""
    shown = "\n".join(lines(overview(WALL, "prod", (TARGET,), (of(holder(), NOW), told(ahead)))))
    assert "3 min 12 s ago" in shown
    assert "NO: no slot (for 1 min)" in shown
    assert f"its clock is {said} this one's: `floatingip doctor` on both nodes" in shown


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
@pytest.mark.parametrize(("carry", "by_its_clock"), [("eni", False), ("address", True)])
def test_since_when_its_holder_has_it_is_by_the_clock_that_told(
    carry: str, ahead: float, *, by_its_clock: bool
) -> None:
    """EC2's own, but for an address that moves between standing ENIs: of that a node knows what it has seen."""
    seen = replace(WATCHED, since_wall=WALL - 600.0 + (ahead if by_its_clock else 0.0))
    report = of(standby(seen, wall=WALL + ahead, carry=carry), NOW)
    [address] = overview(WALL, "prod", (TARGET,), (report,)).addresses
    assert address.since == WALL - 600.0


def test_a_report_that_took_its_time_is_of_no_other_clock() -> None:
    """What is told stays as it is."""
    report = told(CLOCKS_DIFFER - 1.0)
    shown = overview(WALL, "prod", (TARGET,), (of(holder(), NOW), report))
    assert [each.clock_ahead for each in shown.observers] == [0.0, 0.0]
    assert shown.addresses[0].wrong_since == report.addresses[0].down_since


@AHEAD
def test_on_the_page_a_report_is_as_old_as_it_is_here(ahead: float, said: str) -> None:
    """By when it came: a peer whose clock is behind has not been without an answer of EC2 for as long."""
    report = replace(of(standby(wall=WALL + ahead, answered_at=NOW), NOW - 7.0), instance=C)
    peer = PeerSnapshot(
        C, IPv4Address("10.0.0.12"), NOW, False, Status("prod", C, sees_up=("a1",)), report, reported_at=NOW - 7.0
    )
    page = render(standby(peers=(peer,)), NOW)
    assert "7 s ago" in page
    assert f"its clock is {said} this one&#x27;s" in page


def test_a_clock_that_is_set_makes_nothing_last_for_years() -> None:
    """As after a boot, at which it had none."""
    node = agents.Node(carry=Carry.ADDRESS)
    began = node.now
    node.told.add(node.agent.handle([], node.now, 0.0))
    node.handle(after=5.0)
    [address] = node.published.addresses
    assert address.unready_since_wall == pytest.approx(nodes.WALL + began)


def test_nor_does_it_make_a_holder_have_the_address_for_years(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where EC2 does not tell since when."""
    node = agents.Node()
    with monkeypatch.context() as unset:
        unset.setattr(agents, "WALL", -nodes.WALL)
        node.looked(nodes.OTHER)
    began = node.now
    node.handle(after=5.0)
    [address] = node.published.addresses
    assert address.since_wall == pytest.approx(nodes.WALL + began)
