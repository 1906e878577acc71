"""Read the manifests of this repository, as far as the lab runs them: reading.py knows each kind of object."""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from lab.kubernetes.small import reading
from lab.kubernetes.small.fields import Fields, ManifestError
from lab.kubernetes.small.objects import (
    ConfigMap,
    ConfigMapKey,
    Container,
    Deployment,
    DisruptionBudget,
    Manifest,
    RoleBinding,
    Rule,
    Service,
)

__all__ = ["Manifest", "load", "parse", "substitute"]

_PRIORITY_CLASSES = {"", "system-cluster-critical", "system-node-critical"}
"""The priority classes that every cluster has, and "" for none."""

_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """
    Replace `$NAME` and `${NAME}` as `envsubst` without arguments does.

    An unknown variable becomes the empty string; everything else after a `$` (such as `${A:-b}`) stays as it is.
    """
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], ""), text)


def load(path: Path, variables: Mapping[str, str]) -> Manifest:
    """Do what `envsubst < path | kubectl apply -f -` does, up to the API server.  Raises ManifestError, OSError."""
    return parse(substitute(path.read_text(encoding="utf-8"), variables))


def parse(text: str) -> Manifest:
    """Parse a manifest of one or more documents, already substituted.  Raises ManifestError."""
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise ManifestError(f"not YAML: {error}") from error
    accounts: set[str] = set()
    config_maps: dict[str, ConfigMap] = {}
    deployments: dict[str, Deployment] = {}
    services: dict[str, Service] = {}
    roles: dict[str, tuple[Rule, ...]] = {}
    bindings: dict[str, RoleBinding] = {}
    budgets: dict[str, DisruptionBudget] = {}
    priorities: set[str] = set()
    for number, document in enumerate(documents):
        with Fields(document, f"[{number}]") as fields:
            version, kind = fields.text("apiVersion"), fields.text("kind")
            fields.path = kind
            match version, kind:
                case "v1", "ServiceAccount":
                    accounts.add(reading.metadata(fields)[0])
                case "v1", "ConfigMap":
                    config_map = ConfigMap(reading.metadata(fields)[0], fields.strings("data"))
                    config_maps[config_map.name] = config_map
                case "apps/v1", "Deployment":
                    deployment = reading.deployment(fields)
                    deployments[deployment.name] = deployment
                case "v1", "Service":
                    service = reading.service(fields)
                    services[service.name] = service
                case "rbac.authorization.k8s.io/v1", "Role":
                    roles[reading.metadata(fields)[0]] = tuple(reading.rule(rule) for rule in fields.children("rules"))
                case "rbac.authorization.k8s.io/v1", "RoleBinding":
                    binding = reading.role_binding(fields)
                    bindings[binding.name] = binding
                case "policy/v1", "PodDisruptionBudget":
                    budget = reading.budget(fields)
                    budgets[budget.name] = budget
                case "scheduling.k8s.io/v1", "PriorityClass":
                    priorities.add(reading.priority_class(fields))
                case _:
                    raise ManifestError(f"[{number}].kind: {version} {kind} is not known to the lab")
    manifest = Manifest(
        service_accounts=frozenset(accounts),
        config_maps=config_maps,
        deployments=deployments,
        services=services,
        roles=roles,
        role_bindings=bindings,
        budgets=budgets,
        priority_classes=frozenset(priorities),
    )
    _check_references(manifest)
    return manifest


def _check_references(manifest: Manifest) -> None:
    """Raise ManifestError for a reference to a missing object or key: in a real cluster such a pod would fail, or wait
    for ever.
    """
    for deployment in manifest.deployments.values():
        pod = deployment.pod
        if pod.account not in manifest.service_accounts | {"default"}:
            raise ManifestError(f"Deployment {deployment.name}: there is no ServiceAccount {pod.account}")
        if pod.priority_class not in manifest.priority_classes | _PRIORITY_CLASSES:
            raise ManifestError(f"Deployment {deployment.name}: there is no PriorityClass {pod.priority_class}")
        for container in pod.init_containers + pod.containers:
            _check_config_maps(f"Deployment {deployment.name}, container {container.name}", container, manifest)
    for binding in manifest.role_bindings.values():
        if binding.role not in manifest.roles:
            raise ManifestError(f"RoleBinding {binding.name}: there is no Role {binding.role}")
        for account in binding.accounts:
            if account not in manifest.service_accounts:
                raise ManifestError(f"RoleBinding {binding.name}: there is no ServiceAccount {account}")


def _check_config_maps(where: str, container: Container, manifest: Manifest) -> None:
    config_maps = manifest.config_maps
    wanted = [(value.name, value.key) for value in container.env.values() if isinstance(value, ConfigMapKey)]
    for mount in container.mounts:
        if mount.config_map not in config_maps:
            raise ManifestError(f"{where}: there is no ConfigMap {mount.config_map}")
        wanted += [(mount.config_map, key) for key in (mount.files or {}).values()]
    for name, key in wanted:
        if name not in config_maps or key not in config_maps[name].data:
            raise ManifestError(f"{where}: there is no key {key} in a ConfigMap {name}")
