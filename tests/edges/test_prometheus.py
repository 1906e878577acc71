"""Metrics, as Prometheus reads them: of the present, of what was counted, and of nothing else."""

import ast
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from floatingip.core import status
from floatingip.core.health import HealthState
from floatingip.core.lack import Lack
from floatingip.core.snapshot import AddressSnapshot, PeerSnapshot, Snapshot
from floatingip.core.word import Status
from floatingip.edges.ec2 import cloud
from floatingip.edges.prometheus import ACTIONS, Metrics, handle
from floatingip.edges.tally import Tally
from floatingip.runtime.status_server import CONNECTIONS_EACH, StatusServer
from tests.edges.ec2_stub import Endpoint, every_call
from tests.edges.observers import HOLDER, PATIENCE
from tests.edges.test_status_server import many
from tests.waiting import until

pytest_plugins = ["tests.edges.ec2_fixtures"]

ADDRESS = "10.0.0.100"
STANDBY = AddressSnapshot(ADDRESS, is_holder=False, health=HealthState.UP)
NOW, WALL = 1000.0, 1_764_000_000.0


def published(*addresses: AddressSnapshot) -> Snapshot:
    """What the deciding thread has to say."""
    return Snapshot(NOW, Status("lab", "i-a"), addresses)


def peer(instance_id: str, heard_at: float | None) -> PeerSnapshot:
    """Another observer, by when it answered last."""
    return PeerSnapshot(instance_id, IPv4Address("10.0.0.11"), heard_at)


def text(snapshot: Snapshot, tally: Tally | None = None) -> str:
    """What is answered to a scrape."""
    return Metrics(tally or Tally(), "1.2.3", lambda: NOW, lambda: WALL).text(snapshot)


def samples(snapshot: Snapshot, tally: Tally | None = None) -> Mapping[tuple[str, ...], float]:
    """What Prometheus reads: values by name and labels' values."""
    return {
        (sample.name.removeprefix("floatingip_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text(snapshot, tally))
        for sample in family.samples
    }


def test_each_address_has_its_own_metrics() -> None:
    """One that is sick does not hide among the others."""
    shown = samples(
        published(
            AddressSnapshot(ADDRESS, is_holder=True, health=HealthState.INIT),
            AddressSnapshot("eipalloc-1", is_holder=False, health=HealthState.UP),
            AddressSnapshot("10.0.0.101", is_holder=False, health=HealthState.DOWN, not_ready="no free ENI slot"),
        )
    )
    for name, values in {"holder": (1, 0, 0), "up": (-1, 1, 0), "ready": (1, 1, 0)}.items():
        assert tuple(shown[name, address] for address in (ADDRESS, "eipalloc-1", "10.0.0.101")) == values


def test_the_metrics_follow_the_present() -> None:
    """A former holder is none any more, an alarm ends, and so does the series of what is no more."""
    metrics = Metrics(Tally(), "1.2.3", lambda: NOW)
    ill = AddressSnapshot(
        ADDRESS, is_holder=True, health=HealthState.INIT, not_ready="nft is missing", lack="UNSOUND_HERE"
    )
    before = replace(
        published(ill),
        are_others_short=True,
        is_imds_well=False,
        denied=frozenset({"ec2:CreateTags"}),
        peers=(peer("i-b", 0.0),),
    )
    assert 'floatingip_not_ready{address="10.0.0.100",reason="UNSOUND_HERE"} 1.0' in metrics.text(before)
    after = metrics.text(published(STANDBY))
    shown = set(after.splitlines())
    assert {f"floatingip_{said}" for said in ("survivors_short 0.0", "imds_up 1.0", "peers 0.0")} <= shown
    assert {
        f'floatingip_{name}{{address="{ADDRESS}"}} {value}' for name, value in (("holder", 0.0), ("up", 1.0))
    } <= shown
    assert not any(gone in after for gone in ("not_ready{", "denied{", "word_age_seconds{"))


def test_what_a_hanging_thread_has_published_counts_no_more() -> None:
    """Nobody would take over from a holder that cannot, nor be woken: what was known when it stopped is of the past."""
    blocked = replace(STANDBY, reason="PROBE_BLOCKED", node_ports={30080: HealthState.UP})
    shown = samples(replace(published(blocked), alive_at=NOW - 11.0))
    assert (shown["up", ADDRESS], shown["ready", ADDRESS], shown["not_ready", ADDRESS, "STALLED"]) == (-1, 0, 1)
    # Else a holder that has died would be called one that serves, whose NodePort answers.
    assert (shown["probe_blocked", ADDRESS], [key for key in shown if key[0] == "node_port_up"]) == (0, [])


def test_one_state_is_true() -> None:
    """Of all that there are: each has its series from the start."""
    shown = samples(published(replace(STANDBY, state="doubt")))
    states = {labels[2]: value for labels, value in shown.items() if labels[0] == "state"}
    assert (states.pop("doubt"), set(states.values()), len(states)) == (1, {0}, 6)


def test_ages_are_of_the_scrape() -> None:
    """Not of the snapshot: what stands still grows old."""
    asked = replace(STANDBY, asked_at=NOW - 70.0, rationed_until_wall=WALL + 40.0)
    unasked = replace(STANDBY, target="eipalloc-1", rationed_until_wall=WALL - 40.0)
    peers = (peer("i-b", NOW - 0.5), peer("i-c", NOW - 100.0), peer("i-d", None))
    shown = samples(replace(published(asked, unasked), began_at=NOW - 5.0, peers=peers))
    assert (shown["ec2_answer_age_seconds", "eipalloc-1"], shown["ration_wait_seconds", "eipalloc-1"]) == (5.0, 0.0)
    assert (shown["ec2_answer_age_seconds", ADDRESS], shown["ration_wait_seconds", ADDRESS]) == (70.0, 40.0)
    assert (shown["peers",], shown["peer_word_age_seconds", handle("i-c")]) == (1, 100.0)


def test_what_was_counted_is_told() -> None:
    """By what it was about; a move's rules are there before the first one."""
    tally = Tally()
    tally.probed(ADDRESS, "answered", 0.0004)
    tally.probed(ADDRESS, "answered", 5.0)
    tally.probed(ADDRESS, "lost", None)
    tally.moved(ADDRESS, "R3", "moved")
    tally.moved(ADDRESS, "R6", "lost-race")
    tally.came(ADDRESS, WALL, {"duration": 3.75, "detect": 1.25, "attach": 2.5})
    tally.called("CreateTags", "ok", 0.1)
    tally.repaired("marks")
    shown = samples(published(STANDBY), tally)
    assert [shown["probes_total", ADDRESS, outcome] for outcome in ("answered", "lost", "failed-here")] == [2, 1, 0]
    buckets = [shown["probe_round_trip_seconds_bucket", ADDRESS, le] for le in ("0.00025", "0.0005", "1.0", "+Inf")]
    assert buckets == [0, 1, 1, 2]
    assert shown["moves_total", ADDRESS, "moved", "R2"] == 0
    assert shown["moves_total", ADDRESS, "moved", "R3"] == shown["moves_total", ADDRESS, "lost-race", "R6"] == 1
    assert shown["last_move_timestamp_seconds", ADDRESS] == WALL
    assert (shown["move_phase_seconds_sum", "detect"], shown["move_duration_seconds_sum",]) == (1.25, 3.75)
    assert (shown["ec2_calls_total", "CreateTags", "ok"], shown["repairs_total", "marks"]) == (1, 1)
    assert shown["build_info", "1.2.3"] == 1
    assert shown["process_open_fds",] > 0


def test_what_was_read_does_not_change_any_more() -> None:
    """Whatever is counted while it is told."""
    tally = Tally()
    tally.probed(ADDRESS, "answered", 0.0004)
    read = tally.read()
    tally.probed(ADDRESS, "answered", 0.0004)
    assert (read.probes[ADDRESS, "answered"], sum(read.round_trips[ADDRESS].counts)) == (1, 1)


@pytest.mark.parametrize("name", ["i-0123456789abcdef0", "192.0.2.10", "hostile"])
def test_a_stranger_learns_nothing_of_other_nodes(name: str) -> None:
    """Nor may anybody choose a label, who answers in EC2's place for example."""
    denied = frozenset({f"{name}:{name}", f"ec2:{name}"})
    told = text(Snapshot(0.0, Status("lab", name), (STANDBY,), denied=denied, peers=(peer(name, 0.0),)))
    assert name not in told
    assert f'peer="{handle(name)}"' in told
    assert told.count("floatingip_denied{") == told.count('action="other"') == 1


def test_the_actions_that_are_told_are_those_that_ec2_is_asked_for() -> None:
    """By the source: each is named where the call is made."""
    names = ast.walk(ast.parse(Path(cloud.__file__).read_text(encoding="utf-8")))
    actions = {
        str(node.args[0].value)
        for node in names
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("ask", "write", "pages", "all_pages")
        and isinstance(node.args[0], ast.Constant)
    }
    assert actions == ACTIONS


def test_reasons_are_told_by_names_alone() -> None:
    """Those in words may name anything."""
    assert all(lack == lack.name for lack in Lack)


# What an operator asks at night: is it paused, does a NodePort answer, is EC2 slow, is a clock wrong, is it flooded?


def test_a_pause_is_told_while_it_lasts() -> None:
    """By the seconds that are left of it: who has forgotten it must hear of it."""
    paused = replace(STANDBY, paused_until_wall=WALL + 90.0)
    over = replace(STANDBY, target="eipalloc-1", paused_until_wall=WALL - 90.0)
    shown = samples(published(paused, over))
    assert (shown["pause_wait_seconds", ADDRESS], shown["pause_wait_seconds", "eipalloc-1"]) == (90.0, 0.0)


def test_a_node_port_is_up_or_down_or_not_known() -> None:
    """What is not known yet has no series: nobody is down for not having been asked."""
    states = {30007: HealthState.UP, 30008: HealthState.DOWN, 30009: HealthState.INIT}
    shown = samples(published(replace(STANDBY, node_ports=states)))
    ports = {labels[2]: value for labels, value in shown.items() if labels[0] == "node_port_up"}
    assert ports == {"30007": 1.0, "30008": 0.0}


def test_no_node_has_no_slots_for_not_having_asked() -> None:
    """Before EC2 has answered, 0 is what peers had better go by, but nothing that is known."""
    young = replace(published(STANDBY), status=Status("lab", "i-a", free_slots=0))
    assert ("free_slots",) not in samples(young)
    assert status.of(young, NOW).free_slots is None
    asked = replace(young, answered_at=NOW)
    assert samples(asked)["free_slots",] == status.of(asked, NOW).free_slots == 0


def test_the_clock_is_told() -> None:
    """Prometheus knows when it asked."""
    assert samples(published(STANDBY))["clock_seconds",] == WALL


@every_call
def test_how_long_ec2_took_is_told_whatever_it_answered(endpoint: Endpoint, action: str) -> None:
    """By the action, since writes take longer; one call, one duration."""
    endpoint.refuses(action, "UnauthorizedOperation")
    endpoint.error_of(action)
    shown = samples(published(STANDBY), endpoint.tally)
    assert shown["ec2_call_seconds_count", action] == 1
    assert 0.0 < shown["ec2_call_seconds_sum", action] < PATIENCE


def test_connections_that_are_turned_away_are_counted(port: int) -> None:
    """Somebody floods the port: nobody else would tell."""
    counted = Tally()
    server = StatusServer(
        IPv4Address(HOLDER),
        port,
        lambda _target, _source: (HTTPStatus.OK, "ok"),
        lambda _: False,
        refused=counted.refused,
    )
    server.start()
    try:
        with many(port, CONNECTIONS_EACH + 5):
            until(lambda: counted.read().refused == 5)
    finally:
        server.stop()
    assert samples(published(STANDBY), counted)["refused_connections_total",] == 5
