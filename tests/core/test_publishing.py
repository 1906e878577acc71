"""When an agent publishes what others may know: what machines go by at once, the rest with the next tick."""

from collections.abc import Iterable

from floatingip.agent.effects import Effect, Probing, Publish
from floatingip.agent.events import Noticed, Probed
from floatingip.core import timing
from floatingip.core.node import Notice
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.snapshot import Snapshot
from tests.core.agents import Node
from tests.core.nodes import ADDRESS, OTHER


def snapshots(effects: Iterable[Effect]) -> list[Snapshot]:
    """Those that are published."""
    return [effect.snapshot for effect in effects if isinstance(effect, Publish)]


def probed(node: Node, outcome: ProbeOutcome) -> list[Snapshot]:
    """A probe comes to this, a moment later; what is published because of it."""
    result = ProbeResult(node.now + 0.005, node.now + 0.01, outcome)
    return snapshots(node.handle(Probed(Probing(str(ADDRESS), ADDRESS, 1.0, 0.1), result), after=0.01))


def watching() -> Node:
    """One that sees the address answer elsewhere, and has just had a tick."""
    node = Node()
    node.looked(OTHER)
    for _ in range(3):
        probed(node, ProbeOutcome.ANSWERED)
    node.handle(after=timing.CALM_TICK)
    return node


def test_what_machines_go_by_is_published_at_once() -> None:
    """A word that differs decides what others do: it waits for no tick."""
    node = watching()
    assert not node.published.status.leaving
    (published,) = snapshots(node.handle(Noticed(Notice("spot", "is to be interrupted"), 0.0), after=0.01))
    assert published.status.leaving


def test_one_more_lost_probe_is_published_with_the_next_tick() -> None:
    """Each is judged, ten times a second, but only people look at how many there were."""
    node = watching()
    assert len(probed(node, ProbeOutcome.LOST)) == 1, "that it is in doubt"
    assert [probed(node, ProbeOutcome.LOST) for _ in range(5)] == [[]] * 5
    (published,) = snapshots(node.handle(after=timing.TICK))
    (address,) = published.addresses
    assert sum(span.lost for span in address.probes) == 6
