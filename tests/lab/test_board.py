"""What an observer's news become in Kubernetes: over a socket, by the manifest's Roles, in the small API server."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from floatingip import cli
from floatingip.core import history
from floatingip.core.errors import KubernetesError
from floatingip.core.move import Move, Result
from floatingip.core.news import News, Remark, Role
from floatingip.core.settings import shown
from floatingip.edges.kubernetes import api_server
from floatingip.edges.kubernetes.api_server import ApiServer as Asked
from floatingip.edges.kubernetes.board import LABEL, PodsBoard
from lab.kubernetes.small.apiserver import ApiServer
from lab.kubernetes.small.cluster import Cluster
from lab.kubernetes.small.objects import Manifest
from lab.kubernetes.small.resources import NAMESPACE
from tests.lab.small_kubernetes import NAME, floating_ip, without_workers

MOVE = Move(
    "0a1b2c",
    1_764_324_896.0,
    1_764_324_900.25,
    "10.0.0.100",
    "R3",
    "the address stopped answering, and i-a is silent",
    "i-a",
    "i-b",
    Result.MOVED,
    {"duration": 4.25, "detect": 1.25},
)
REMARK = Remark("0a1b2c", 1_764_324_900.25, True, "Moved", "Move", "10.0.0.100 moved")


@pytest.fixture
def manifest() -> Manifest:
    return floating_ip()


@dataclass
class Place:
    """A cluster without workers, and its API server on loopback; each pod has files of its own."""

    cluster: Cluster
    api: ApiServer
    directory: Path

    def environment(self, pod: int = 0) -> dict[str, str]:
        it = self.cluster.pods()[pod]
        own = {"POD_NAME": it.name, "POD_UID": it.uid, "POD_NAMESPACE": NAMESPACE, "NODE_NAME": f"node-{pod}"}
        return self.api.environment | own

    def board(self, pod: int = 0, **changes: str) -> PodsBoard:
        """What one of the pods puts its news on."""
        for name, text in self.api.mounted(NAME).items():
            (self.directory / name).write_text(text)
        return PodsBoard(Asked(self.environment(pod) | changes, self.directory), f"node-{pod}")

    def labels(self) -> list[str]:
        objects = [self.cluster.pod_object(pod.name) for pod in self.cluster.pods()]
        return [it["metadata"]["labels"].get(LABEL, "") for it in objects]

    def kept(self) -> list[str]:
        return sorted(self.cluster.config_map(history.NAME))


@pytest.fixture
def place(tmp_path: Path, manifest: Manifest) -> Iterator[Place]:
    """With the manifest applied."""
    with without_workers(manifest, tmp_path) as (cluster, _, api):
        yield Place(cluster, api, tmp_path)


def test_a_pod_labels_itself_and_no_other(place: Place) -> None:
    """Its other labels, by which it is selected, stay."""
    place.board(0).put_up(Role.HOLDER)
    assert place.labels() == [Role.HOLDER, ""]
    place.board(1).put_up(Role.HOLDER)
    place.board(0).put_up(Role.STANDBY)
    assert place.labels() == [Role.STANDBY, Role.HOLDER]
    assert all(pod.as_object(NAMESPACE)["metadata"]["labels"]["app"] == NAME for pod in place.cluster.pods())


def test_an_event_is_about_the_pod_and_made_once(place: Place) -> None:
    """By its very uid, as `kubectl describe pod` looks for it; another observer's is another one."""
    for _ in range(2):
        place.board(0).put_up(REMARK)
    place.board(1).put_up(REMARK)
    pods = place.cluster.pods()
    [event], [_] = (place.cluster.pod_events(pod.name) for pod in pods)
    assert (event["regarding"]["kind"], event["regarding"]["uid"]) == ("Pod", pods[0].uid)
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "Moved", "10.0.0.100 moved")
    assert (event["eventTime"], event["reportingController"]) == ("2025-11-28T10:15:00.250000Z", "floatingip/observer")
    place.board(0).put_up(replace(REMARK, key="another", is_warning=False))
    assert [event["type"] for event in place.cluster.pod_events(pods[0].name)] == ["Warning", "Normal"]


def test_a_text_that_is_too_long_is_cut(place: Place) -> None:
    """Where a character ends."""
    place.board().put_up(replace(REMARK, note="a" + "…" * 1000))
    [event] = place.cluster.pod_events(place.cluster.pods()[0].name)
    assert event["note"] == "a" + "…" * 341


def test_moves_are_kept_with_the_names_of_nodes(place: Place) -> None:
    """Which each observer knows of itself, and of others by what they wrote."""
    place.board(1).put_up(MOVE)
    back = replace(MOVE, id="3d", ended_at=MOVE.ended_at + 1, source="i-b", to="i-a")
    place.board(0).put_up(back)
    assert place.kept() == ["20251128T101500.250Z-0a1b2c", "20251128T101501.250Z-3d"]
    first, second = place.board().moves()
    assert (first.source_node, first.to_node) == ("node-0", "node-1")
    assert (second.source_node, second.to_node) == ("node-1", "node-0")
    written = json.loads(place.cluster.config_map(history.NAME)["20251128T101501.250Z-3d"])
    assert written["when"] == "2025-11-28T10:15:01Z"
    assert (written["from"]["node"], written["to"]["node"]) == ("node-1", "node-0")


def test_two_who_write_at_the_same_time_lose_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has read what there was before the other one wrote."""
    one, other = place.board(0), place.board(1)
    read = PodsBoard._kept

    def kept(board: PodsBoard) -> object:
        found = read(board)
        if board is one:
            other.put_up(replace(MOVE, id="2b"))
        return found

    monkeypatch.setattr(PodsBoard, "_kept", kept)
    one.put_up(MOVE)
    assert {move.id for move in place.board().moves()} == {MOVE.id, "2b"}


def test_only_so_many_are_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last ones; the same one twice is one."""
    monkeypatch.setattr(history, "MOVES_AT_MOST", 3)
    board = place.board()
    for second in (0, 1, 1, 2, 3, 4):
        board.put_up(replace(MOVE, id=str(second), ended_at=MOVE.ended_at + second))
    assert [move.id for move in board.moves()] == ["2", "3", "4"]


def test_applying_the_manifest_again_leaves_the_history_alone(place: Place, manifest: Manifest) -> None:
    """And the settings' ConfigMap is none of what could be changed."""
    place.board().put_up(MOVE)
    place.cluster.apply(manifest)
    assert len(place.board().moves()) == 1


@pytest.mark.parametrize("news", [Role.HOLDER, MOVE, REMARK], ids=["role", "move", "remark"])
def test_without_the_role_it_is_refused_with_the_remedy(place: Place, manifest: Manifest, news: News) -> None:
    """Either of the two may be missing."""
    board = place.board()
    for without in ({"role_bindings": {NAME: manifest.role_bindings[NAME]}}, {"roles": {NAME: manifest.roles[NAME]}}):
        place.cluster.apply(replace(manifest, **without))
        said = r"403 from the API server for .*; apply the Role floating-ip-news"
        with pytest.raises(KubernetesError, match=said) as it:
            board.put_up(news)
        assert it.value.refused
    place.cluster.apply(manifest)
    board.put_up(news)


WEBHOOK = 'admission webhook "policy.example.com" denied the request: no data without a label\u001b[2J'
POLICY = "events is forbidden: ValidatingAdmissionPolicy 'a' with binding 'b' denied request: no Events here"


@pytest.mark.parametrize("status", [HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY])
@pytest.mark.parametrize("why", [WEBHOOK, POLICY])
@pytest.mark.parametrize("news", [Role.HOLDER, MOVE, REMARK], ids=["role", "move", "remark"])
def test_what_a_webhook_or_a_policy_refuses_is_told_in_its_words(
    place: Place, monkeypatch: pytest.MonkeyPatch, news: News, why: str, status: HTTPStatus
) -> None:
    """A Role would not help; a webhook answers by whatever status it likes."""
    answer = place.api.answer

    def refuse(method: str, *asked: Any) -> tuple[HTTPStatus, dict[str, Any]]:
        return answer(method, *asked) if method == "GET" else (status, {"kind": "Status", "message": why})

    monkeypatch.setattr(place.api, "answer", refuse)
    with pytest.raises(KubernetesError) as it:
        place.board().put_up(news)
    assert re.fullmatch(rf"{status.value} from the API server for .*: {re.escape(shown(why))}", str(it.value))
    assert it.value.refused


def test_a_history_that_is_not_there_is_named(place: Place, manifest: Manifest) -> None:
    """It is not made by the observers: the Role could not name it then."""
    maps = {name: it for name, it in manifest.config_maps.items() if name != history.NAME}
    place.cluster.apply(replace(manifest, config_maps=maps))
    with pytest.raises(KubernetesError, match=r"404 .*; apply the ConfigMap floating-ip-history") as it:
        place.board().put_up(MOVE)
    assert it.value.refused


def test_a_pod_that_is_gone_has_no_label(place: Place) -> None:
    """Then there is nobody to tell."""
    with pytest.raises(KubernetesError, match="404 from the API server for this pod's label") as it:
        place.board(POD_NAME="another").put_up(Role.HOLDER)
    assert it.value.refused


def test_an_api_server_that_does_not_answer_may_do_so_later(place: Place) -> None:
    """Unlike one that there is none of, and a variable that an old manifest lacks."""
    board = place.board()
    place.api.down = True
    with pytest.raises(KubernetesError, match="nothing from the API server") as silent:
        board.put_up(MOVE)
    assert not silent.value.refused
    incomplete = PodsBoard(Asked({}, place.directory), "")
    with pytest.raises(KubernetesError, match="KUBERNETES_SERVICE_HOST is not set") as unset:
        incomplete.put_up(MOVE)
    assert unset.value.refused


@pytest.fixture
def told(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """What `kubectl exec` finds in a pod; two moves were made."""
    board = place.board(1)
    for news in (MOVE, replace(MOVE, id="2b", ended_at=MOVE.ended_at + 86400, address="10.0.0.101")):
        board.put_up(news)
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Asked.__init__, "__defaults__", (place.directory,))
    return place


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ([], ["0a1b2c", "2b"]),
        (["--address", "10.0.0.101"], ["2b"]),
        (["--since", "2025-11-29"], ["2b"]),
        (["--since", "2025-11-30"], []),
    ],
)
def test_the_history_is_told(
    told: Place, capsys: pytest.CaptureFixture[str], arguments: list[str], ids: list[str]
) -> None:
    """As a table, with the newest last, and as JSON: all of it, of one address, since some time."""
    assert told.kept()
    assert cli.main(["history", *arguments]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(ids)
    assert cli.main(["history", "--json", *arguments]) == 0
    assert [move["id"] for move in json.loads(capsys.readouterr().out)] == ids


def test_a_history_that_cannot_be_told_is_one_line(told: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """And an exit code of its own."""
    told.api.down = True
    assert cli.main(["history"]) == KubernetesError.exit_code == 9
    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert said.err.startswith("floatingip history: nothing from the API server")
    assert str(api_server.SERVICE_ACCOUNT) not in said.err
