"""
The manifests before the API servers of all versions that EKS supports: `make test-kubernetes-versions`.

An API server with etcd, and nothing else, tells everything about a manifest: what it does not know, what it warns of,
and what it makes of it.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from floatingip.core import history
from floatingip.core.errors import KubernetesError
from floatingip.core.move import Move, Result
from floatingip.core.news import News, Remark, Role
from floatingip.edges.kubernetes.api_server import ApiServer
from floatingip.edges.kubernetes.board import LABEL, PodsBoard
from lab.kubernetes import build
from lab.kubernetes.build import FAMILIES, OTHER_VERSIONS, Family
from lab.kubernetes.cluster import API_ADDRESS, API_PORT
from lab.kubernetes.real.plane import ControlPlane
from lab.network.netns import Namespace
from tests.packaging.substitution import envsubst
from tests.packaging.test_manifests import VARIABLES

ROOT = Path(__file__).parents[2]
MANIFESTS = ("floating-ip.yaml", "sample-service.yaml")

KUBERNETES = [*(family for family in FAMILIES if family.name == "kubernetes"), *OTHER_VERSIONS]


@pytest.fixture(params=KUBERNETES, ids=lambda family: family.version, scope="module")
def plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The API server of one version, which has seen no manifest yet."""
    family: Family = request.param
    folder = tmp_path_factory.mktemp(family.name)
    built = build.binaries((*FAMILIES, family))
    binaries = folder / "binaries"
    binaries.mkdir()
    for place in ("registry", "etcd", *family.binaries):
        (binaries / Path(place).name).symlink_to(built / place)
    namespace = Namespace("versions")
    namespace.create()
    plane = ControlPlane(namespace, binaries, folder / "plane", folder)
    try:
        plane.serve()
        assert f"Server Version: {family.version}" in plane.kubectl("version").stdout
        yield plane
    finally:
        plane.stop()
        namespace.delete()


def manifest(name: str) -> str:
    """`envsubst < name`."""
    return envsubst((ROOT / name).read_text(encoding="utf-8"), VARIABLES)


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_taken_without_a_warning_and_means_what_it_says(plane: ControlPlane, name: str) -> None:
    """As a dry run, and applied; nothing in it is unknown, deprecated, or other than what the API server keeps."""
    text = manifest(name)
    for arguments in (("--dry-run=server",), ()):
        done = plane.kubectl("apply", "--validate=strict", *arguments, "-f", "-", stdin=text)
        assert (done.returncode, done.stderr) == (0, "")
    compared = plane.kubectl("diff", "-f", "-", stdin=text)
    assert (compared.returncode, compared.stdout, compared.stderr) == (0, "", "")


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_was_applied_can_be_applied_by_the_server(plane: ControlPlane, name: str) -> None:
    """Without a conflict: what `kubectl apply` has written belongs to another manager, but is the same."""
    text = manifest(name)
    assert plane.kubectl("apply", "-f", "-", stdin=text).returncode == 0
    done = plane.kubectl("apply", "--server-side", "-f", "-", stdin=text)
    assert (done.returncode, done.stderr) == (0, "")


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "an-observer", "labels": {"app": "floating-ip"}},
    "spec": {"serviceAccountName": "floating-ip", "containers": [{"name": "observer", "image": "floatingip:0"}]},
}
MOVE = Move(
    "0a1b2c",
    1_764_324_896.25,
    1_764_324_900.25,
    "10.0.0.100",
    "R3",
    "it is silent",
    "i-a",
    "i-b",
    Result.MOVED,
    {"duration": 4.0},
)
REMARK = Remark("0a1b2c", 1_764_324_900.25, True, "Moved", "Move", "m" * 2000)
NEWS: tuple[News, ...] = (Role.HOLDER, REMARK, MOVE, Role.STANDBY, REMARK)


def shown(plane: ControlPlane, *what: str) -> Any:
    """What the administrator gets."""
    done = plane.kubectl("get", *what, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def board(plane: ControlPlane, tmp_path: Path) -> PodsBoard:
    """What a pod of the deployment puts its news on, with the token of its account."""
    for text in (manifest("floating-ip.yaml"), json.dumps(POD)):
        assert plane.kubectl("apply", "-f", "-", stdin=text).returncode == 0
    (tmp_path / "token").write_text(plane.kubectl("create", "token", "floating-ip").stdout)
    (tmp_path / "ca.crt").write_text(plane.authority.certificate)
    environment = {
        "KUBERNETES_SERVICE_HOST": API_ADDRESS,
        "KUBERNETES_SERVICE_PORT": str(API_PORT),
        "POD_NAMESPACE": "default",
        "POD_NAME": "an-observer",
        "POD_UID": shown(plane, "pod", "an-observer")["metadata"]["uid"],
    }
    return PodsBoard(ApiServer(environment, tmp_path), "node-b")


def put_up(board: PodsBoard, news: News) -> None:
    """As from a node of the cluster; again, while a busy API server does not answer in time."""
    for _ in range(10):
        with contextlib.suppress(_Unanswered):
            Namespace("versions").call(lambda: _try(board, news))
            return
    raise AssertionError("the API server does not answer")


class _Unanswered(Exception):
    """It may be told again."""


def _try(board: PodsBoard, news: News) -> None:
    try:
        board.put_up(news)
    except KubernetesError as error:
        if not error.refused:
            raise _Unanswered from error
        raise


def test_what_an_observer_tells_is_taken_and_left_alone(plane: ControlPlane, board: PodsBoard) -> None:
    """As its Role allows it; `kubectl diff` is empty afterwards, and another apply, of either kind, changes nothing."""
    for news in NEWS:
        put_up(board, news)
    assert shown(plane, "pod", "an-observer")["metadata"]["labels"] == {"app": "floating-ip", LABEL: "standby"}
    events = [e for e in shown(plane, "events.v1.events.k8s.io")["items"] if e["regarding"]["name"] == "an-observer"]
    assert [(event["reason"], len(event["note"])) for event in events] == [("Moved", 1024)]
    assert "floatingip/observer" in plane.kubectl("describe", "pod", "an-observer").stdout
    kept = shown(plane, "configmap", history.NAME)["data"]
    [move] = history.read(kept)
    assert (move.id, move.to_node) == (MOVE.id, "node-b")
    text = manifest("floating-ip.yaml")
    for how in ((), ("--server-side", "--force-conflicts")):
        compared = plane.kubectl("diff", "-f", "-", stdin=text)
        assert (compared.returncode, compared.stdout) == (0, "")
        assert plane.kubectl("apply", *how, "-f", "-", stdin=text).returncode == 0
        assert shown(plane, "configmap", history.NAME)["data"] == kept


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("patch", "pods"),
        ("update", "pods"),
        ("get", "configmaps"),
        ("patch", "configmap/floating-ip"),
        ("delete", f"configmap/{history.NAME}"),
        ("list", "events.events.k8s.io"),
        ("patch", "events.events.k8s.io"),
        ("get", "secrets"),
    ],
)
def test_nothing_else_is_allowed(plane: ControlPlane, verb: str, resource: str) -> None:
    """Least of all what a pod runs."""
    account = "--as=system:serviceaccount:default:floating-ip"
    assert plane.kubectl("auth", "can-i", verb, resource, account).stdout.strip() == "no"


def test_without_its_role_nothing_is_taken(plane: ControlPlane, board: PodsBoard) -> None:
    """And it is said what is missing."""
    assert plane.kubectl("delete", "role,rolebinding", "floating-ip-news").returncode == 0
    for news in NEWS:
        with pytest.raises(KubernetesError, match="apply the Role floating-ip-news") as refused:
            put_up(board, news)
        assert refused.value.refused
