"""Where a pod may run, and which may be evicted: pure functions of what is in the books."""

from collections.abc import Collection, Mapping

from lab.kubernetes.cluster import EvictionRefused
from lab.kubernetes.small.objects import Manifest
from lab.kubernetes.small.pods import Node, Pod


def place(pod: Pod, nodes: Collection[Node], pods: Collection[Pod]) -> Node | None:
    """The node where the pod fits, with the fewest pods; None if it fits on none."""

    def mates(node: Node) -> list[Pod]:
        # A terminating pod still counts: its processes are still there.
        return [other for other in pods if other.node == node.name and not other.gone.is_set()]

    def fits(node: Node) -> bool:
        exclusive = pod.deployment.pod.exclusive
        return (
            not node.cordoned
            and not node.tainted
            and not node.ending
            and node.ready
            and not node.dead.is_set()
            and pod.deployment.pod.node_selector.items() <= node.labels.items()
            and not (
                exclusive is not None
                and any(exclusive.items() <= other.deployment.labels.items() for other in mates(node))
            )
        )

    return min(filter(fits, nodes), key=lambda node: len(mates(node)), default=None)


def living(deployment: str, pods: Collection[Pod]) -> list[Pod]:
    """The pods of a Deployment that nobody has deleted, oldest first."""
    return [pod for pod in pods if pod.deployment.name == deployment and not pod.stopping.is_set()]


def check_budgets(pod: Pod, manifest: Manifest, replicas: Mapping[str, int], pods: Collection[Pod]) -> None:
    """Raise EvictionRefused if a budget needs the pod."""
    for budget in manifest.budgets.values():
        if not pod.is_ready and not budget.protects_unready:
            continue
        if budget.selector.items() <= pod.deployment.labels.items():
            selected = [one for one in manifest.deployments.values() if budget.selector.items() <= one.labels.items()]
            healthy = sum(mate.is_ready for one in selected for mate in living(one.name, pods))
            desired = budget.desired(sum(replicas[one.name] for one in selected))
            if healthy - pod.is_ready < desired:
                raise EvictionRefused(f"{pod.name}: {budget.name} needs {desired} healthy pods, there are {healthy}")
