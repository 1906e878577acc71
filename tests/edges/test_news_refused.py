"""Why the API server does not take news, or show the history: in its own words, but where a Role is missing."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from floatingip.core.errors import KubernetesError
from floatingip.edges.kubernetes.board import PodsBoard
from tests.edges.api_server import Service, serving

USER = 'User "system:serviceaccount:default:floating-ip" cannot get resource "configmaps" in API group ""'
WEBHOOK = 'failed calling webhook "policies.example.com": connection refused'
ENDING = "unable to create new content in namespace default because it is being terminated"


@pytest.fixture(name="service")
def _service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path, "") as service:
        yield service


def refusal(service: Service, status: int, body: str) -> KubernetesError:
    """What becomes of such an answer."""
    service.status, service.body = status, body
    with pytest.raises(KubernetesError) as caught:
        PodsBoard(service.api_server(), "node").moves()
    return caught.value


def said(message: object) -> str:
    return json.dumps({"kind": "Status", "message": message})


@pytest.mark.parametrize("message", [f'configmaps "floating-ip-history" is forbidden: {USER}', "", None, 7])
def test_a_refusal_for_want_of_the_role_names_it(service: Service, message: object) -> None:
    """Also where the API server says nothing."""
    told = refusal(service, 403, said(message))
    assert str(told).endswith("for the history; apply the Role floating-ip-news of the current floating-ip.yaml")
    assert told.refused


@pytest.mark.parametrize(
    ("status", "message", "refused"),
    [
        (403, f"configmaps is forbidden: {ENDING}", True),
        (422, "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: no", True),
        (400, 'admission webhook "policies.example.com" denied the request: no', True),
        (500, f"Internal error occurred: {WEBHOOK}", False),
    ],
)
def test_any_other_refusal_is_told_in_the_api_server_s_words(
    service: Service, status: int, message: str, *, refused: bool
) -> None:
    """No Role helps then."""
    told = refusal(service, status, said(message))
    assert message in str(told)
    assert "Role" not in str(told)
    assert told.refused is refused


def test_its_words_are_short_and_command_no_terminal(service: Service) -> None:
    """A policy's message may be of any length, and have any characters."""
    told = str(refusal(service, 422, said("\x1b[2J\n" + "no " * 1000)))
    assert "\x1b" not in told
    assert "\n" not in told
    assert len(told) < 300


@pytest.mark.parametrize("body", ["", "<html>", "[1]", '"no"'])
def test_what_is_none_of_its_words_is_not_told(service: Service, body: str) -> None:
    """Something on the way to it may have answered."""
    assert str(refusal(service, 502, body)) == "502 from the API server for the history"


@pytest.mark.parametrize("body", ["", "[1]", "{}", '{"data": {}}', said("no"), '{"kind": "ConfigMap", "data": []}'])
def test_what_is_no_config_map_is_no_history(service: Service, body: str) -> None:
    """It ends no observer: what came before the API server may have answered."""
    assert str(refusal(service, 200, body)) == "what came for the history is no ConfigMap"
