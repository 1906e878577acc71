"""
The AWS CLI, as far as docs/install.md uses it, for where the real one is not installed.

Services, operations, options and their types are those of botocore's models, which the real one takes them from, too.
It is as strict: an option that the operation does not have, or a value of the wrong form, is refused.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import jmespath  # type: ignore[import-untyped]  # without types
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError, WaiterError
from botocore.model import ListShape, MapShape, Shape, StructureShape

from tests.guide.desk import Call, Refused

Object = dict[str, Any]
USAGE, CONFIGURATION, FAILED, WAITED = 252, 253, 254, 255
"""Exit codes of the AWS CLI's."""
_GLOBAL = ("query", "output", "region")
_ONE_MORE = re.compile(r",([^,=\]}]*)(?=[,\]}]|$)")
"""A word of a list without brackets: no `=` follows it."""


def aws(call: Call) -> str:
    """Do what the command line says, at the endpoint of the environment.  Raises Refused."""
    match call.words:
        case [service, "wait", waiter, *rest]:
            return _wait(call, service, waiter, rest)
        case [service, operation, *rest]:
            return _operate(call, service, operation, rest)
    raise Refused(f"no service and operation: {call.words}", USAGE)


def _operate(call: Call, service: str, operation: str, words: list[str]) -> str:
    client = _client_for(call, service)
    options = dict(_options(words))
    shown = {name: _one(name, options.pop(name)) for name in _GLOBAL if name in options}
    if (custom := _CUSTOM.get((service, operation))) is not None:
        return custom(call, client, options)
    result = _perform(client, operation, _simplified(operation, options))
    return _print(result, shown)


def _perform(client: Any, operation: str, options: dict[str, list[str]]) -> Object:
    methods = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
    if operation not in methods:
        raise Refused(f"argument operation: Invalid choice: {operation}", USAGE)
    model = client.meta.service_model.operation_model(methods[operation])
    try:
        result: Object = getattr(client, xform_name(methods[operation]))(**_parameters(model.input_shape, options))
    except ClientError as error:
        raise Refused(str(error), FAILED) from error
    except BotoCoreError as error:
        raise Refused(str(error), USAGE) from error
    result.pop("ResponseMetadata", None)
    return result


def _wait(call: Call, service: str, waiter: str, words: list[str]) -> str:
    client = _client_for(call, service)
    if waiter.replace("-", "_") not in client.waiter_names:
        raise Refused(f"argument waiter: Invalid choice: {waiter}", USAGE)
    found = client.get_waiter(waiter.replace("-", "_"))
    model = client.meta.service_model.operation_model(found.config.operation)
    try:
        found.wait(**_parameters(model.input_shape, dict(_options(words))), WaiterConfig={"Delay": 0, "MaxAttempts": 3})
    except WaiterError as error:
        raise Refused(str(error), WAITED) from error
    return ""


def _client_for(call: Call, service: str) -> Any:
    variables = call.environment
    region = variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION")
    if not region:
        raise Refused("You must specify a region.", CONFIGURATION)
    if service not in boto3.session.Session().get_available_services():
        raise Refused(f"argument command: Invalid choice: {service}", USAGE)
    keys = variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
    return _client(service, region, variables["AWS_ENDPOINT_URL"], *keys)


@cache
def _client(service: str, region: str, endpoint: str, key: str, secret: str) -> Any:
    """To load a service's model takes its time."""
    return boto3.client(
        service,  # type: ignore[call-overload]  # any of them
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


def _options(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each option with its values: all words up to the next one."""
    at = 0
    while at < len(words):
        if not words[at].startswith("--"):
            raise Refused(f"Unknown options: {words[at]}", USAGE)
        end = at + 1
        while end < len(words) and not words[end].startswith("--"):
            end += 1
        yield words[at][2:], words[at + 1 : end]
        at = end


def _one(name: str, values: list[str]) -> str:
    if len(values) != 1:
        raise Refused(f"argument --{name}: expected one argument, not {values}", USAGE)
    return values[0]


def _parameters(shape: StructureShape | None, options: dict[str, list[str]]) -> Object:
    """What botocore is given for the options.  Raises Refused for one that there is not."""
    members = {xform_name(name, "-"): (name, member) for name, member in shape.members.items()} if shape else {}
    parameters: Object = {}
    for option, values in options.items():
        negated = option.removeprefix("no-")
        if option not in members and negated not in members:
            raise Refused(f"Unknown options: --{option}", USAGE)
        name, member = members.get(option) or members[negated]
        if member.type_name == "boolean":
            if values:
                raise Refused(f"Unknown options: {values}", USAGE)
            parameters[name] = option in members
        elif isinstance(member, ListShape):
            if not values:
                raise Refused(f"argument --{option}: expected at least one argument", USAGE)
            parameters[name] = _listed(member, values)
        else:
            parameters[name] = _value(member, _one(option, values))
    return parameters


def _listed(shape: ListShape, values: list[str]) -> list[Any]:
    if values[0].startswith("["):
        found: list[Any] = json.loads(_one(shape.name, values))
        return found
    return [_value(shape.member, value) for value in values]


def _value(shape: Shape, text: str) -> Any:
    """A value by its type: JSON, the shorthand for structures, or as it stands."""
    if isinstance(shape, StructureShape | MapShape):
        return json.loads(text) if text.startswith("{") else Shorthand(text).read(shape)
    return int(text) if shape.type_name in ("integer", "long") else text


class Shorthand:
    """The short form of structures ("Using shorthand syntax", AWS CLI User Guide): `a=b,c=[d,e],f={g=h},i=j,k`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self, shape: Shape) -> Any:
        """All of it.  Raises Refused."""
        found = self._pairs(shape, "")
        if self._at < len(self._text):
            raise self._wrong()
        return found

    def _pairs(self, shape: Shape, end: str) -> Object:
        found: Object = {}
        while True:
            key = self._word("=,]}")
            if not self._take("="):
                raise self._wrong()
            if isinstance(shape, MapShape):
                member = shape.value
            elif isinstance(shape, StructureShape) and key in shape.members:
                member = shape.members[key]
            else:
                raise Refused(f"Unknown parameter in {self._text}: {key}", USAGE)
            found[key] = self._of(member)
            if self._text[self._at : self._at + 1] in ("", end):
                return found
            if not self._take(","):
                raise self._wrong()

    def _of(self, shape: Shape) -> Any:
        if isinstance(shape, ListShape):
            if self._take("["):
                values = [self._of(shape.member)]
                while self._take(","):
                    values.append(self._of(shape.member))
                if not self._take("]"):
                    raise self._wrong()
                return values
            values = [self._word(",]}")]
            while more := _ONE_MORE.match(self._text, self._at):
                values.append(more[1])
                self._at = more.end()
            return values
        if self._take("{"):
            found = self._pairs(shape, "}")
            if not self._take("}"):
                raise self._wrong()
            return found
        return self._word(",]}")

    def _word(self, ends: str) -> str:
        begin = self._at
        while self._at < len(self._text) and self._text[self._at] not in ends:
            self._at += 1
        return self._text[begin : self._at]

    def _take(self, character: str) -> bool:
        if not self._text.startswith(character, self._at):
            return False
        self._at += 1
        return True

    def _wrong(self) -> Refused:
        return Refused(f"Error parsing parameter: {self._text}, at {self._at}", USAGE)


def _print(result: Object, shown: dict[str, str]) -> str:
    found = jmespath.search(shown["query"], result) if "query" in shown else result
    if shown.get("output", "json") == "json":
        return json.dumps(found, indent=4, default=str) + "\n" if found or "query" in shown else ""
    if shown["output"] != "text" or isinstance(found, dict):
        raise Refused(f"only what is no structure can be shown as text here: {found}", USAGE)
    return ("\t".join(map(str, found)) if isinstance(found, list) else str(found)) + "\n"


# What the AWS CLI has beyond the models.


def _simplified(operation: str, options: dict[str, list[str]]) -> dict[str, list[str]]:
    """`--protocol`, `--port`, `--cidr` and `--source-group` stand for one entry of `--ip-permissions`."""
    if operation not in ("authorize-security-group-ingress", "revoke-security-group-ingress"):
        return options
    short = {
        name: _one(name, options.pop(name)) for name in ("protocol", "port", "cidr", "source-group") if name in options
    }
    if not short:
        return options
    first, _, last = short["port"].rpartition("-") if short["port"] != "-1" else ("", "", "-1")
    entry: Object = {"IpProtocol": short["protocol"], "FromPort": int(first or last), "ToPort": int(last)}
    if "cidr" in short:
        entry["IpRanges"] = [{"CidrIp": short["cidr"]}]
    if "source-group" in short:
        entry["UserIdGroupPairs"] = [{"GroupId": short["source-group"]}]
    return {**options, "ip-permissions": [json.dumps([entry])]}


def _update_kubeconfig(call: Call, client: Any, options: dict[str, list[str]]) -> str:
    [(name, values)] = options.items()
    if name != "name":
        raise Refused(f"Unknown options: --{name}", USAGE)
    cluster = _perform(client, "describe-cluster", {"name": values})["cluster"]
    kubeconfig = Path(call.environment["HOME"], ".kube", "config")
    kubeconfig.parent.mkdir(exist_ok=True)
    kubeconfig.write_text(json.dumps({"current-context": cluster["arn"]}), encoding="utf-8")
    return f"Added new context {cluster['arn']} to {kubeconfig}\n"


def _get_login_password(_call: Call, client: Any, options: dict[str, list[str]]) -> str:
    [given] = _perform(client, "get-authorization-token", options)["authorizationData"]
    return base64.b64decode(given["authorizationToken"]).decode().partition(":")[2] + "\n"


_CUSTOM: dict[tuple[str, str], Callable[[Call, Any, dict[str, list[str]]], str]] = {
    ("eks", "update-kubeconfig"): _update_kubeconfig,
    ("ecr", "get-login-password"): _get_login_password,
}
