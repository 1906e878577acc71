"""The small Kubernetes' node lifecycle controller, a hundred times too fast; tests/kubernetes has its own times."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from lab.kubernetes.small.lifecycle import NOT_READY_AFTER, Lifecycle
from tests.waiting import until

PACE = 100.0


@dataclass(eq=False)
class Node:
    """A node, and what was said of it."""

    name: str
    speaks: bool = True
    judged: list[bool] = field(default_factory=list)
    overdue: list[float] = field(default_factory=list)


@dataclass
class World:
    """Two nodes and an API server."""

    first: Node = field(default_factory=lambda: Node("first"))
    second: Node = field(default_factory=lambda: Node("second"))
    reached: bool = True
    serves: bool = True


@pytest.fixture
def world() -> Iterator[World]:
    """Watched by the controller."""
    world = World()

    def judged(node: Node, /, *, ready: bool) -> None:
        node.judged.append(ready)

    controller = Lifecycle(
        nodes=lambda: (world.first, world.second),
        reaches=lambda node: world.reached or node is world.second,
        serves=lambda: world.serves,
        judged=judged,
        overdue=lambda node, seconds: node.overdue.append(seconds),
        pace=PACE,
    )
    yield world
    controller.stop()


def test_a_silent_kubelet_s_node_is_not_ready_and_its_pods_become_overdue(world: World) -> None:
    """The other node is none the wiser."""
    world.first.speaks = False
    until(lambda: world.first.judged == [False])
    until(lambda: max(world.first.overdue, default=0.0) >= NOT_READY_AFTER)
    assert world.second.judged == world.second.overdue == []


def test_a_node_that_speaks_again_is_ready(world: World) -> None:
    """Its pods are not overdue any more."""
    world.first.speaks = False
    until(lambda: world.first.judged == [False])
    world.first.speaks = True
    until(lambda: world.first.judged == [False, True])
    said = len(world.first.overdue)
    threading.Event().wait(NOT_READY_AFTER / PACE)
    assert len(world.first.overdue) == said


def test_a_node_that_cannot_reach_the_api_server_is_not_ready(world: World) -> None:
    """Whatever its kubelet does."""
    world.reached = False
    until(lambda: world.first.judged == [False])
    assert world.second.judged == []


def test_nothing_is_concluded_while_there_is_no_api_server(world: World) -> None:
    """Nobody could have been heard; nor when it is back, until somebody could."""
    world.serves = False
    threading.Event().wait(3 * NOT_READY_AFTER / PACE)
    world.serves = True
    threading.Event().wait(NOT_READY_AFTER / PACE)
    assert world.first.judged == world.second.judged == []
