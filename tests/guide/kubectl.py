"""
The commands of kubectl's that docs/install.md has, with the options that it takes for them.

What the page promises something of has to show something: to drain a node that the address is not on would not.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.guide.cloud import Object
from tests.guide.cluster import Cluster, Node
from tests.guide.desk import Call, Refused, given, parse

PODS = "app=floating-ip"
_DEPLOYMENTS = ("floating-ip", "sample-service")


@dataclass
class Kubectl:
    """Works on one cluster."""

    cluster: Cluster

    def __call__(self, call: Call) -> str:
        """Do what the command line says.  Raises Refused."""
        kubeconfig = Path(call.environment["HOME"], ".kube", "config")
        known = yaml.safe_load(kubeconfig.read_text()) if kubeconfig.exists() else {"current-context": ""}
        if self.cluster.name not in known["current-context"]:
            raise Refused("The connection to the server localhost:8080 was refused")
        verb, *rest = call.words
        method = getattr(self, f"_{verb}", None)
        if method is None:
            raise Refused(f'unknown command "{verb}" for "kubectl"')
        answer: str = method(rest, call)
        return answer

    def _get(self, words: list[str], _call: Call) -> str:
        [kind], options = parse(words, takes=["--selector", "--output", "--label-columns"], positional=1)
        if kind == "nodes":
            nodes = sorted(self.cluster.nodes.values(), key=lambda node: node.name)
            found = [node.as_object() for node in nodes if _fits(node, options)]
        elif kind == "pods" and options.get("--selector") == PODS:
            self.cluster.holder()
            found = []
        else:
            raise Refused(f"the server doesn't have a resource type {kind}, or not such ones: {options}")
        form, _, template = options.get("--output", "wide").partition("=")
        if form == "jsonpath":
            return jsonpath(template, {"items": found})
        if form != "wide":
            raise Refused(f"unable to match a printer suitable for the output format {form}")
        return ""

    def _apply(self, words: list[str], call: Call) -> str:
        _, options = parse(words, needs=["-f"])
        objects = list(_objects(given(options["-f"], call)))
        for key, document in objects:
            self.cluster.objects[key] = document
        if ("Deployment", "floating-ip") in dict(objects):
            self.cluster.start_pods()
        return "".join(f"{kind.lower()}/{name} configured\n" for (kind, name), _ in objects)

    def _delete(self, words: list[str], call: Call) -> str:
        if words[0] == "pod":
            _, options = parse(words, needs=["--selector", "--field-selector"], positional=1)
            self._need_holder(options["--field-selector"].removeprefix("spec.nodeName="))
            return "" if options["--selector"] == PODS else self._none(options)
        _, options = parse(words, needs=["-f"])
        for key, _ in _objects(given(options["-f"], call)):
            if self.cluster.objects.pop(key, None) is None:
                raise Refused(f"Error from server (NotFound): {key} not found")
        return ""

    def _rollout(self, words: list[str], _call: Call) -> str:
        [status, what], _ = parse(words, takes=["--timeout"], positional=2)
        if status != "status":
            raise Refused(f"unknown command {status}")
        self._deployment(what.removeprefix("deployment/"))
        self.cluster.start_pods()
        return "successfully rolled out\n"

    def _scale(self, words: list[str], _call: Call) -> str:
        [kind, name], options = parse(words, needs=["--replicas"], positional=2)
        self._deployment(name if kind == "deployment" else "")["spec"]["replicas"] = int(options["--replicas"])
        return ""

    def _wait(self, words: list[str], _call: Call) -> str:
        _, options = parse(words, needs=["--for", "--selector"], takes=["--timeout"], positional=1)
        replicas = self._deployment("floating-ip")["spec"]["replicas"]
        if replicas or (options["--for"], options["--selector"]) != ("delete", PODS):
            raise Refused(f"timed out waiting for the condition: {replicas} pods")
        return ""

    def _set(self, words: list[str], _call: Call) -> str:
        [_, what, *images], _ = parse(words, positional=len(words))
        pod = self._deployment(what.removeprefix("deployment/"))["spec"]["template"]["spec"]
        containers = {container["name"]: container for container in pod["initContainers"] + pod["containers"]}
        for container, _, image in (pair.partition("=") for pair in images):
            if container not in containers:
                raise Refused(f'error: unable to find container named "{container}"')
            containers[container]["image"] = image
        self.cluster.start_pods()
        return ""

    def _logs(self, words: list[str], _call: Call) -> str:
        flags = ["--prefix", "--ignore-errors"]
        _, options = parse(words, needs=["--selector", "--container"], takes=["--tail"], flags=flags)
        self._container(options["--container"])
        return "" if options["--selector"] == PODS else self._none(options)

    def _exec(self, words: list[str], call: Call) -> str:
        at = words.index("--")
        [what], options = parse(words[:at], needs=["--container"], flags=["--stdin", "--tty"], positional=1)
        self._deployment(what.removeprefix("deployment/"))
        self._container(options["--container"])
        if words[at + 1 :] != ["/opt/floatingip/.venv/bin/python", "-m", "floatingip", "handover"]:
            raise Refused(f"not done here: {words[at + 1 :]}")
        self.cluster.move()
        return ""

    def _cordon(self, words: list[str], _call: Call) -> str:
        [name], _ = parse(words, positional=1)
        self._need_holder(name).cordoned = True
        return ""

    def _uncordon(self, words: list[str], _call: Call) -> str:
        [name], _ = parse(words, positional=1)
        node = self.cluster.nodes.get(name)
        if node is None or not node.cordoned:
            raise Refused(f"node {name!r} is not cordoned")
        node.cordoned = False
        return ""

    def _drain(self, words: list[str], _call: Call) -> str:
        [name], options = parse(words, flags=["--ignore-daemonsets", "--delete-emptydir-data"], positional=1)
        if len(options) != 2:
            raise Refused("cannot delete DaemonSet-managed Pods, or Pods with local storage")
        self._need_holder(name).cordoned = True
        self.cluster.move()
        return ""

    def _need_holder(self, name: str) -> Node:
        holder = self.cluster.holder()
        if name != holder.name:
            raise Refused(f"the address is on {holder.name}, and not on {name!r}: nothing of it would be seen")
        return holder

    def _deployment(self, name: str) -> Object:
        if ("Deployment", name) not in self.cluster.objects:
            raise Refused(f'Error from server (NotFound): deployments.apps "{name}" not found')
        return self.cluster.objects["Deployment", name]

    def _container(self, name: str) -> None:
        containers = self._deployment("floating-ip")["spec"]["template"]["spec"]["containers"]
        if name not in [container["name"] for container in containers]:
            raise Refused(f"container {name} is not valid for the pod")

    def _none(self, options: dict[str, str]) -> str:
        raise Refused(f"No resources found: {options}")


def _objects(text: str) -> Iterator[tuple[tuple[str, str], Object]]:
    """The objects of a manifest.  Raises Refused for one without a name, and for a text that has none."""
    documents = [document for document in yaml.safe_load_all(text) if document]
    if not documents:
        raise Refused("error: no objects passed to apply")
    for document in documents:
        yield (document["kind"], document["metadata"]["name"]), document


def _fits(node: Node, options: dict[str, str]) -> bool:
    selector = options.get("--selector", "")
    wanted = dict(pair.split("=", 1) for pair in selector.split(",") if pair)
    return wanted.items() <= node.labels.items()


def jsonpath(template: str, document: Object) -> str:
    """
    What a template prints: fields, indices, a range and texts ("JSONPath Support", Kubernetes' documentation).

    Raises Refused for something else, and for what is not there.
    """
    ranged = re.fullmatch(r"\{range ([^}]*)\[\*\]\}(.*)\{end\}", template, flags=re.DOTALL)
    if ranged:
        return "".join(jsonpath(ranged[2], each) for each in _at(ranged[1], document))

    def value(found: re.Match[str]) -> str:
        return str(json.loads(found[1]) if found[1].startswith('"') else _at(found[1], document))

    return re.sub(r"\{([^}]*)\}", value, template)


def _at(path: str, document: Object) -> Any:
    if not re.fullmatch(r"(\.\w+|\[\d+\])+", path):
        raise Refused(f"error parsing jsonpath {path}")
    found: Any = document
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        try:
            found = found[name] if name else found[int(index)]
        except (KeyError, IndexError) as error:
            raise Refused(f"error executing jsonpath: {path} is not found") from error
    return found
