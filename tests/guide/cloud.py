"""
The cloud that the guide is walked in, by HTTP: the lab's EC2, with STS, IAM and ECR as moto has them.

What neither knows is here: clusters, node groups and add-ons of EKS, Outposts, and zones that want an opt-in.
"""

import json
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

import requests
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server

from lab.ec2 import PROFILES, Ec2, NoDevices
from lab.ec2.server import BORDER_GROUP, COIP_POOL, REGION, SUBNET_IPV6_CIDR, ZONE

ZONES = ("us-west-2a", "us-west-2b")
LOCAL_ZONE = ZONE
OUTPOST_ARN = f"arn:aws:outposts:{REGION}:111122223333:outpost/op-0123456789abcdef0"
_OPTED_IN_AFTER = 3
"""Which question after the call, that it takes some time after, finds the account opted in."""

Object = dict[str, Any]
Value = TypeVar("Value")


@dataclass
class EksCluster:
    """
    `groups` are the labels of each managed node group, `addons` each one's configuration, empty for none; `oidc` says
    whether there is an OIDC provider.
    """

    groups: dict[str, dict[str, str]] = field(default_factory=dict)
    addons: dict[str, str] = field(default_factory=dict)
    oidc: bool = False


class _Failed(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Cloud:
    """
    Serves at `url` from the moment it is made until `close`.

    clusters: those of EKS, by name.  opted_in: the groups of zones that the account has opted in to.
    """

    def __init__(self) -> None:
        self.ec2 = Ec2(PROFILES["instant"], NoDevices(), lambda _event: None, seed=1)
        self.clusters: dict[str, EksCluster] = {}
        self.opted_in: set[str] = set()
        self._opting = 0
        self.subnets = {
            LOCAL_ZONE: self.ec2.subnet_id,
            ZONES[0]: self.ec2.add_subnet("10.0.2.0/24", ZONES[0], ipv6_cidr=_next_ipv6(2)),
            ZONES[1]: self.ec2.add_subnet("10.0.1.0/24", ZONES[1], ipv6_cidr=_next_ipv6(1)),
            OUTPOST_ARN: self.ec2.add_subnet("10.0.3.0/24", ZONES[0], outpost_arn=OUTPOST_ARN),
        }
        self._session = requests.Session()
        self._session.trust_env = False
        # Only the lab's own endpoint knows EC2; the account's other services are in the same process of moto's.
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.ec2.stop()

    def _serve(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        path, authorization = environ["PATH_INFO"], environ.get("HTTP_AUTHORIZATION", "")
        found = re.search(r"/([a-z0-9-]+)/aws4_request", authorization)
        service = found[1] if found else ""
        if service in ("eks", "outposts"):
            try:
                document = self._rest(environ["REQUEST_METHOD"], path, json.loads(body or b"{}"))
                status, headers = "200 OK", []
            except _Failed as failed:
                document = {"message": str(failed)}
                status, headers = f"{failed.status} Refused", [("x-amzn-errortype", failed.code)]
            start(status, [("Content-Type", "application/json"), *headers])
            return [json.dumps(document).encode()]
        parameters = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        own = self._queries.get(parameters.get("Action", "")) if service == "ec2" else None
        if own is not None:
            action = parameters["Action"]
            try:
                status, answer = "200 OK", f"<{action}Response>{own(self, parameters)}</{action}Response>"
            except _Failed as failed:
                error = f"<Error><Code>{failed.code}</Code><Message>{failed}</Message></Error>"
                status, answer = f"{failed.status} Refused", f"<Response><Errors>{error}</Errors></Response>"
            start(status, [("Content-Type", "text/xml")])
            return [answer.encode()]
        return self._forward(environ, start, body)

    def _forward(self, environ: WSGIEnvironment, start: StartResponse, body: bytes) -> Iterable[bytes]:
        headers = {name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
        headers.pop("HOST")
        headers["Content-Type"] = environ.get("CONTENT_TYPE", "")
        url = self.ec2.endpoint_url + environ["PATH_INFO"]
        answer = self._session.request(environ["REQUEST_METHOD"], url, data=body, headers=headers, timeout=30)
        start(f"{answer.status_code} {answer.reason}", [("Content-Type", answer.headers.get("Content-Type", ""))])
        return [answer.content]

    # EC2's that moto does not know.

    def _opt_in(self, parameters: dict[str, str]) -> str:
        if parameters["GroupName"] != BORDER_GROUP or parameters["OptInStatus"] != "opted-in":
            raise _Failed(400, "InvalidParameterValue", f"there is no {parameters}")
        self._opting = _OPTED_IN_AFTER
        return "<return>true</return>"

    def _zones(self, parameters: dict[str, str]) -> str:
        """DescribeAvailabilityZones, for one zone; AllAvailabilityZones shows those without an opt-in, too."""
        name = parameters["ZoneName.1"]
        group, status = (BORDER_GROUP, "not-opted-in") if name == LOCAL_ZONE else (REGION, "opt-in-not-required")
        if group == BORDER_GROUP and self._opting:
            self._opting -= 1
            if not self._opting:
                self.opted_in.add(group)
        if group in self.opted_in:
            status = "opted-in"
        if status == "not-opted-in" and parameters.get("AllAvailabilityZones") != "true":
            return "<availabilityZoneInfo/>"
        zone = f"<zoneName>{name}</zoneName><networkBorderGroup>{group}</networkBorderGroup>"
        return f"<availabilityZoneInfo><item>{zone}<optInStatus>{status}</optInStatus></item></availabilityZoneInfo>"

    def _pools(self, _parameters: dict[str, str]) -> str:
        return f"<coipPoolSet><item><poolId>{COIP_POOL}</poolId></item></coipPoolSet>"

    _queries: ClassVar[dict[str, Callable[["Cloud", dict[str, str]], str]]] = {
        "ModifyAvailabilityZoneGroup": _opt_in,
        "DescribeAvailabilityZones": _zones,
        "DescribeCoipPools": _pools,
    }

    # EKS and Outposts.

    def _rest(self, method: str, path: str, document: Object) -> Object:
        if (method, path) == ("GET", "/outposts"):
            return {"Outposts": [{"OutpostArn": OUTPOST_ARN, "AvailabilityZone": ZONES[0]}]}
        match [method, *path.strip("/").split("/")]:
            case ["GET", "clusters", name]:
                return {"cluster": self._cluster(name, self._found(name))}
            case ["GET", "clusters", name, "node-groups", group]:
                labels = _entry(self._found(name).groups, group)
                return {"nodegroup": {"nodegroupName": group, "status": "ACTIVE", "labels": labels}}
            case ["POST", "clusters", name, "node-groups", group, "update-config"]:
                labels = _entry(self._found(name).groups, group)
                changes = document["labels"]
                labels.update(changes.get("addOrUpdateLabels", {}))
                for label in changes.get("removeLabels", []):
                    labels.pop(label)
                return {"update": {"id": "1", "status": "InProgress"}}
            case ["GET", "clusters", name, "addons"]:
                return {"addons": list(self._found(name).addons)}
            case ["POST", "clusters", name, "addons"]:
                addons, addon = self._found(name).addons, document["addonName"]
                if addon in addons:
                    raise _Failed(409, "ResourceInUseException", f"Addon {addon} already exists")
                addons[addon] = document.get("configurationValues", "")
                return {"addon": _addon(addons, addon)}
            case ["GET", "clusters", name, "addons", addon]:
                return {"addon": _addon(self._found(name).addons, addon)}
            case ["POST", "clusters", name, "addons", addon, "update"]:
                _addon(self._found(name).addons, addon)
                values = document["configurationValues"]
                if not isinstance(json.loads(values), dict):
                    raise _Failed(400, "InvalidParameterException", f"no configuration: {values}")
                self._found(name).addons[addon] = values
                return {"update": {"id": "2", "status": "InProgress"}}
            case ["DELETE", "clusters", name, "addons", addon]:
                found = _addon(self._found(name).addons, addon)
                del self._found(name).addons[addon]
                return {"addon": found}
        raise _Failed(400, "InvalidRequestException", f"{method} {path} is not known here")

    def _found(self, name: str) -> EksCluster:
        return _entry(self.clusters, name)

    def _cluster(self, name: str, _cluster: EksCluster) -> Object:
        return {
            "name": name,
            "arn": f"arn:aws:eks:{REGION}:{self.ec2.account}:cluster/{name}",
            "status": "ACTIVE",
            "endpoint": "https://127.0.0.1",
            "certificateAuthority": {"data": ""},
            "resourcesVpcConfig": {"vpcId": self.ec2.vpc_id},
        }


class _Quiet(MotoRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def _next_ipv6(index: int) -> str:
    """The subnet's IPv6 block so many after the lab's own."""
    first, _, rest = SUBNET_IPV6_CIDR.rpartition(":1::")
    return f"{first}:{1 + index}::{rest}"


def _entry(entries: dict[str, Value], name: str) -> Value:
    if name not in entries:
        raise _Failed(404, "ResourceNotFoundException", f"there is no {name}")
    return entries[name]


def _addon(addons: dict[str, str], name: str) -> Object:
    values = _entry(addons, name)
    return {"addonName": name, "status": "ACTIVE", **({"configurationValues": values} if values else {})}
