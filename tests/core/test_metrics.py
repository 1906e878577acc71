"""What an operator asks of the metrics at night: is it paused, does a NodePort answer, is EC2 slow, is a clock wrong,
and does somebody flood the port?
"""

from dataclasses import replace
from http import HTTPStatus
from ipaddress import IPv4Address

from floatingip.core import status
from floatingip.core.health import HealthState
from floatingip.core.word import Status
from floatingip.edges.tally import Tally
from floatingip.runtime.status_server import CONNECTIONS_EACH, StatusServer
from tests.core.ec2_stub import Endpoint, every_call
from tests.core.observers import HOLDER, PATIENCE
from tests.core.test_prometheus import ADDRESS, NOW, STANDBY, WALL, published, samples
from tests.core.test_status_server import many
from tests.waiting import until

pytest_plugins = ["tests.core.ec2_fixtures"]


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
