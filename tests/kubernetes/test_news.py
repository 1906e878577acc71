"""What observers tell people in Kubernetes, on both: the label, Events, and the history."""

from collections.abc import Mapping
from typing import Any

from floatingip.core import history
from floatingip.core.move import Move, Result
from floatingip.core.news import Role
from floatingip.edges.kubernetes.board import LABEL
from lab.run import nemesis
from lab.run.region import Region
from tests.waiting import until


def roles(region: Region) -> Mapping[str | None, str]:
    """What the pods' labels say, by node."""
    objects = {pod.node: region.cluster.pod_object(pod.name) for pod in region.cluster.pods()}
    return {node: it["metadata"]["labels"].get(LABEL, "") for node, it in objects.items()}


def moves(region: Region) -> tuple[Move, ...]:
    return history.read(region.cluster.config_map(history.NAME))


def events(region: Region, node: str) -> list[Mapping[str, Any]]:
    """Those that the observer on this node has made about its pod."""
    made = region.cluster.pod_events(region.cluster.pod_on(node).name)
    return [event for event in made if event["reportingController"] == "floatingip/observer"]


def test_the_labels_say_who_has_it(region: Region) -> None:
    """From the first moment on; nothing that selects pods sees them."""
    holder, standby = region.holder().name, region.standbys()[0].name
    until(lambda: roles(region) == {holder: Role.HOLDER, standby: Role.STANDBY})
    labels = region.cluster.pod_object(region.cluster.pod_on(holder).name)["metadata"]["labels"]
    assert labels["app"] == "floating-ip"


def test_the_first_placement_is_in_the_history(region: Region) -> None:
    """`attach` made it, and was given the time to write it."""
    move = moves(region)[0]
    assert (move.rule, move.source, move.result) == ("R1", "", Result.MOVED)
    assert move.to_node in region.machines


def test_a_failover_is_told_in_all_three_places(region: Region) -> None:
    """By who took over; the label of the dead one's pod is of the past."""
    holder, standby = region.holder(), region.standbys()[0]
    before = len(moves(region))
    nemesis.cut_power(region, holder)
    until(lambda: len(moves(region)) > before)
    move = moves(region)[-1]
    assert (move.rule, move.source_node, move.to_node) == ("R3", holder.name, standby.name)
    until(lambda: roles(region)[standby.name] == Role.HOLDER)
    assert roles(region)[holder.name] == Role.HOLDER
    until(lambda: events(region, standby.name))
    [event] = [event for event in events(region, standby.name) if "by R3" in event["note"]]
    assert (event["type"], event["reason"], event["action"]) == ("Warning", "Moved", "Move")
    pod = region.cluster.pod_object(region.cluster.pod_on(standby.name).name)
    assert event["regarding"]["uid"] == pod["metadata"]["uid"]
