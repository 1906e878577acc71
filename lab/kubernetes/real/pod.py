"""A pod of the real Kubernetes, read from its API object."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pod:
    """A pod as the API server last showed it."""

    object: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    @property
    def app(self) -> str:
        """The pod's label `app`."""
        return str(self.object["metadata"].get("labels", {}).get("app", ""))

    @property
    def node(self) -> str | None:
        """The node where it is, or is going to be."""
        found: str | None = self.object["spec"].get("nodeName")
        return found

    @property
    def is_ending(self) -> bool:
        """Has it been deleted?"""
        return "deletionTimestamp" in self.object["metadata"]

    @property
    def is_ready(self) -> bool:
        """Running, with every container ready."""
        return not self.is_ending and self.condition("Ready") == "True"

    @property
    def has_ended(self) -> bool:
        """Whether its containers have ended for good."""
        return self.object["status"].get("phase") in {"Succeeded", "Failed"}

    @property
    def phase(self) -> str:
        """What `kubectl get pods` shows, or nearly so."""
        if self.is_ending:
            return "Terminating"
        for status in self._statuses("initContainerStatuses", "containerStatuses"):
            waiting = status.get("state", {}).get("waiting", {}).get("reason")
            if waiting not in {None, "PodInitializing", "ContainerCreating"}:
                return str(waiting)
        if self.node and self.condition("Initialized") == "False":
            return "Init"
        return str(self.object["status"].get("phase", "Pending"))

    def condition(self, kind: str) -> str:
        """The status of the condition `kind`; empty if the pod has none."""
        conditions = self.object["status"].get("conditions", [])
        return next((str(one["status"]) for one in conditions if one["type"] == kind), "")

    def container_id(self, container: str) -> str | None:
        """The runtime's name for a container that runs."""
        for status in self._statuses("containerStatuses", "initContainerStatuses"):
            if status["name"] == container and "running" in status.get("state", {}):
                return str(status["containerID"]).removeprefix("containerd://")
        return None

    def ends(self) -> dict[str, tuple[str, int]]:
        """The containers that have ended: the runtime's name -> (name in the pod, exit code)."""
        found = {}
        for status in self._statuses("initContainerStatuses", "containerStatuses"):
            for state in ("state", "lastState"):
                if ended := status.get(state, {}).get("terminated"):
                    found[str(ended.get("containerID"))] = (str(status["name"]), int(ended["exitCode"]))
        return found

    def _statuses(self, *kinds: str) -> list[Mapping[str, Any]]:
        return [status for kind in kinds for status in self.object["status"].get(kind, [])]
