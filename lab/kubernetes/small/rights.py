"""The rights that a container must ask for: exactly those that pod.py gives it."""

from lab.kubernetes.small.objects import Deployment


def check_rights(deployment: Deployment) -> None:
    """Raise ValueError for what pod.py does not do: a pod network, another user, a writable root, more rights."""
    if not deployment.pod.host_network:
        raise ValueError(f"{deployment.name}: the lab only runs pods with hostNetwork")
    for container in deployment.pod.init_containers + deployment.pod.containers:
        rights = container.security
        if not (
            rights.user == 0 and rights.drop == ("ALL",) and rights.read_only_root and not rights.privilege_escalation
        ):
            raise ValueError(
                f"{deployment.name}, {container.name}: the lab runs every container as user 0, with all capabilities "
                "dropped but those added, a read-only root and no privilege escalation: ask for the same"
            )
