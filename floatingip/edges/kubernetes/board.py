"""
Put news where people look in Kubernetes: the pod's label, Events about it, and the history of moves in a ConfigMap.

All of it may be written twice: a label is a state, and each Event and each move has a name of its own.  So a request
that got no answer is simply sent again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote

from floatingip.core import history
from floatingip.core.bounded_json import as_object, as_text, read_json
from floatingip.core.errors import KubernetesError
from floatingip.core.move import Move
from floatingip.core.news import News, Remark, Role
from floatingip.core.settings import shown
from floatingip.edges.http_client import Response
from floatingip.edges.kubernetes.api_server import DEEPEST, LONGEST, REFUSED_TOKEN, RENEW, ApiServer, Unanswered, Unset
from floatingip.edges.utc import utc

LABEL = "floatingip/role"
"""The pod's label that shows its node's role."""

NOTE_BYTES = 1024
"""Bytes of an Event's text, at most, that Kubernetes accepts."""

_MANAGER = "fieldManager=floatingip"
_HISTORY = f"configmaps/{history.NAME}"
_ROLE = "apply the Role floating-ip-news of the current floating-ip.yaml"
_CONFIG_MAP = f"apply the ConfigMap {history.NAME} of the current floating-ip.yaml"
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)
"""Statuses after which the same request may succeed later."""

_LACKS_ROLE = re.compile(r'User "[^"]*" cannot [a-z]+ ')
"""In what the API server says of a request that no Role allows (its responsewriters package); a webhook, a policy or a
quota that refuses it says something else.
"""


class PodsBoard:
    """`ports.Board` by the API server, for the pod that the environment names."""

    def __init__(self, api_server: ApiServer, node: str) -> None:
        """``node`` is the name of the pod's node, empty if it is not known."""
        self._api_server = api_server
        self._node = node

    def put_up(self, news: News) -> None:
        """See `ports.Board`."""
        try:
            match news:
                case Role():
                    self._label(news)
                case Remark():
                    self._publish(news)
                case Move():
                    self._record(news)
        except Unanswered as error:
            raise KubernetesError(str(error), refused=isinstance(error, Unset)) from error

    def moves(self) -> tuple[Move, ...]:
        """The history, the oldest first.  Raises ``KubernetesError``."""
        try:
            return history.read(self._kept())
        except Unanswered as error:
            raise KubernetesError(str(error), refused=isinstance(error, Unset)) from error

    def _label(self, role: Role) -> None:
        # By the subresource `status`, which cannot change what a pod runs, so that the Role need not allow more.
        pod = quote(self._api_server.variable("POD_NAME"), safe="")
        document = {"metadata": {"labels": {LABEL: role.value}}}
        _expect(self._api_server.send("PATCH", f"pods/{pod}/status?{_MANAGER}", document), "this pod's label")

    def _publish(self, remark: Remark) -> None:
        variable = self._api_server.variable
        namespace, pod, uid = variable("POD_NAMESPACE"), variable("POD_NAME"), variable("POD_UID")
        digest = hashlib.sha256(f"{uid}\0{remark.key}".encode()).hexdigest()[:16]
        document = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{pod}.{digest}", "namespace": namespace},
            "eventTime": utc(remark.at, "microseconds"),
            "type": "Warning" if remark.is_warning else "Normal",
            "reason": remark.reason,
            "action": remark.action,
            "note": remark.note.encode()[:NOTE_BYTES].decode(errors="ignore"),
            "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod, "uid": uid},
            "reportingController": "floatingip/observer",
            "reportingInstance": pod[:128],
        }
        answer = self._api_server.send("POST", f"events?{_MANAGER}", document, group="events.k8s.io/v1")
        # An Event of this name that exists already says the same.
        if answer.status != HTTPStatus.CONFLICT:
            _expect(answer, "an Event")

    def _record(self, move: Move) -> None:
        kept = self._kept()
        nodes = {each.to: each.to_node for each in history.read(kept)}
        move = history.named(move, nodes | {move.to: self._node})
        name = history.key(move, utc(move.ended_at, "milliseconds").translate({ord("-"): None, ord(":"): None}))
        value = history.entry(move, utc(move.ended_at))
        data: dict[str, str | None] = {name: value, **dict.fromkeys(history.surplus(kept, name, value))}
        # Each key has only one writer, and all observers that remove the oldest entries remove the same ones.  So this
        # needs no lock, and no second try after a conflict.
        answer = self._api_server.send("PATCH", f"{_HISTORY}?{_MANAGER}", {"data": data})
        _expect(answer, "the history", missing=_CONFIG_MAP)

    def _kept(self) -> Mapping[str, object]:
        """The ConfigMap's data.  Raises ``Unanswered`` or ``KubernetesError``."""
        answer = self._api_server.get(_HISTORY, seconds=LONGEST)
        _expect(answer, "the history", missing=_CONFIG_MAP)
        try:
            document = as_object(read_json(answer.body, depth=DEEPEST))
        except ValueError:
            document = {}
        data = document.get("data")
        if document.get("kind") == "ConfigMap" and (data is None or isinstance(data, dict)):
            return data or {}
        raise KubernetesError("what came for the history is no ConfigMap")


def _expect(answer: Response, what: str, *, missing: str = "") -> None:
    """Raise ``KubernetesError`` unless the API server did what it was asked; ``missing`` is what to do about a 404."""
    status = answer.status
    if status in (HTTPStatus.OK, HTTPStatus.CREATED):
        return
    said, why = f"{status} from the API server for {what}", _why(answer)
    match status:
        case HTTPStatus.UNAUTHORIZED:
            raise KubernetesError(f"{said}: {REFUSED_TOKEN}", RENEW, refused=True)
        case HTTPStatus.FORBIDDEN if not why or _LACKS_ROLE.search(why):
            raise KubernetesError(said, _ROLE, refused=True)
        case HTTPStatus.NOT_FOUND:
            raise KubernetesError(said, missing, refused=True)
    is_refusal = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _PASSING
    raise KubernetesError(f"{said}: {shown(why)}" if why else said, refused=is_refusal)


def _why(answer: Response) -> str:
    """What the API server says of its refusal, in its own words; empty where it says nothing."""
    try:
        return as_text(as_object(read_json(answer.body, depth=DEEPEST)).get("message", ""))
    except ValueError:
        return ""
