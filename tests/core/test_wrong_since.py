"""Since when something is wrong: the first that one asks at night, told by the status of all observers together."""

from dataclasses import replace

import pytest

from floatingip.agent.effects import Probing
from floatingip.agent.events import Probed
from floatingip.core.health import HealthState
from floatingip.core.overview import overview
from floatingip.core.page import render
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.report import Report
from floatingip.core.snapshot import AddressSnapshot
from floatingip.core.status import of, parse, to_json
from floatingip.core.table import lines
from floatingip.core.wording import clock
from tests.core import agents, nodes
from tests.core.snapshots import NOW, TARGET, WALL, WATCHED, C, holder, standby

FALLEN = replace(WATCHED, health=HealthState.DOWN, round_trip=None, down_since_wall=WALL - 192.0)


def text(*reports: Report) -> str:
    """What `floatingip status` says."""
    return "\n".join(lines(overview(WALL, "prod", (TARGET,), reports)))


def test_it_is_down_since_the_last_one_lost_it() -> None:
    """An observer that lost it earlier was cut off by itself then."""
    cut_off = replace(of(standby(replace(FALLEN, down_since_wall=WALL - 4000.0)), NOW), instance=C)
    said = text(of(holder(), NOW), of(standby(FALLEN), NOW), cut_off)
    assert f"  since       {clock(WALL - 192.0)}, 3 min 12 s ago" in said.splitlines()


@pytest.mark.parametrize("seen", [WATCHED, replace(FALLEN, down_since_wall=None)], ids=["answers", "never answered"])
def test_a_holder_is_unwell_since_it_knows(seen: AddressSnapshot) -> None:
    """Though the address answers, or nobody saw it stop, as it came there unserved."""
    held = holder()
    ill = replace(held.addresses[0], not_ready="nft is missing", unready_since_wall=WALL - 60.0)
    said = text(of(replace(held, addresses=(ill,)), NOW), of(standby(seen), NOW))
    assert f"  since       {clock(WALL - 60.0)}, 1 min ago" in said.splitlines()


def test_a_standby_lacks_something_for_so_long() -> None:
    """In its row, and on the page."""
    lacking = standby(replace(WATCHED, not_ready="no slot", unready_since_wall=WALL - 7200.0))
    said = text(of(holder(), NOW), of(lacking, NOW))
    assert "NO: no slot (for 2 h)" in said
    assert "since" not in [line.split()[0] for line in said.splitlines() if line.startswith("  ")]
    assert "no slot (for 2 h)" in render(lacking, NOW)


def test_all_is_well_since_nothing() -> None:
    """No line says so."""
    said = text(of(holder(), NOW), of(standby(), NOW))
    assert "  since " not in said
    assert "(for " not in said


def test_an_older_observer_does_not_tell_it() -> None:
    """During a rolling update its report is one all the same."""
    told = to_json(of(standby(FALLEN), NOW))
    without = told.replace('"down_since"', '"other"').replace('"unready_since"', '"another"')
    report = parse(without.encode())
    assert report is not None
    assert report.addresses[0].down_since is None
    assert parse(told.encode()) == of(standby(FALLEN), NOW)


def probe(node: agents.Node, outcome: ProbeOutcome, number: int) -> float:
    """So many, ten a second; when the first was sent."""
    began = node.now
    for _ in range(number):
        result = ProbeResult(node.now, node.now + 0.001, outcome)
        node.handle(Probed(Probing(str(nodes.ADDRESS), nodes.ADDRESS, 0.25, 0.1), result), after=0.1)
    return nodes.WALL + began


def test_an_observer_tells_when_the_first_probe_was_lost() -> None:
    """Not when there were enough of them; and nothing any more once it answers again."""
    node = agents.Node()
    node.looked(nodes.OTHER)
    probe(node, ProbeOutcome.LOST, 20)
    assert node.published.addresses[0].down_since_wall is None, "it never answered"
    probe(node, ProbeOutcome.ANSWERED, 3)
    lost_at = probe(node, ProbeOutcome.LOST, 20)
    assert node.published.addresses[0].down_since_wall == pytest.approx(lost_at, abs=0.01)
    probe(node, ProbeOutcome.ANSWERED, 3)
    assert node.published.addresses[0].down_since_wall is None


def test_an_observer_tells_since_when_it_lacks_something() -> None:
    """From its start on, where it began without an answer of EC2; another reason begins no other time."""
    node = agents.Node()
    node.handle()
    began = nodes.WALL + node.now
    node.handle(after=5.0)
    [address] = node.published.addresses
    assert (address.unready_since_wall, bool(address.not_ready)) == (began, True)
    node.looked(nodes.OTHER)
    node.handle(after=2.0)
    [address] = node.published.addresses
    assert address.unready_since_wall == (began if address.not_ready else None)
