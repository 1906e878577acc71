"""
What follows for this node from what Kubernetes says of the observer's own pod.

Pure: each answer of the API server is folded into a :class:`PodMemory`, and the other functions read that.

- A pod that is deleted, by hand or in a rollout, is replaced, most likely on this node.  It ends, and nothing moves.
- A pod that is disrupted (the condition `DisruptionTarget`) is on a node that is emptied: drained, tainted, or gone.
  The exception: if the control plane has written the node off before it evicts the pod by a taint of its own, it only
  does not reach the node's kubelet.  Once it reaches the kubelet, which ends this pod, the next pod comes here.
- A node that shuts down ends its pods while the API server shows *nothing* of it: kubelet writes its reason,
  `TerminationByKubelet`, only once all containers have ended (mergePodStatus in kubelet's status manager).  So the sign
  is SIGTERM although nobody has deleted the pod.  A failed liveness probe looks the same; then this observer hung.
- When the control plane does not hear of a node's kubelet, or its Node object is deleted, it writes the node off.  It
  sets the pods' condition `Ready` to False, but not `ContainersReady` (MarkPodsNotReady in its node controller), or
  deletes the pods without waiting for anybody.  kube-proxy sends nothing more to such a node, or drops what comes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from floatingip.core import timing
from floatingip.core.node import OwnPod

SIGNS = 2
"""Answers in a row that must say the same before it is believed, or logged."""

BY_SCHEDULER = "PreemptionByScheduler"
"""The one disruption that says nothing of the node: a pod of higher priority takes this one's place on it."""

BY_TAINT = "DeletionByTaintManager"
"""The disruption by a taint: one that somebody set, or the control plane's own for a node that it does not reach."""


@dataclass(frozen=True, slots=True)
class PodMemory:
    """What is known of the pod from the answers so far.

    ``latest`` is the last answer, ``known`` the last one that told of the pod.  ``witness_at`` is when the last
    question was asked by which the API server was reached.  ``exists``: the API server has shown the pod at least once.

    Three fields count answers in a row: ``against`` those that write this node off; ``unexplained`` those asked since
    SIGTERM that know of no deletion; ``failures`` those that told nothing of the pod.  ``problem`` is why nothing is
    known of the pod, once that has lasted; empty otherwise.  ``unreached``: the pod was evicted because the control
    plane did not reach its node.  ``stop_at`` is when SIGTERM came, None before.
    """

    latest: OwnPod | None = None
    known: OwnPod | None = None
    witness_at: float | None = None
    exists: bool = False
    against: int = 0
    unexplained: int = 0
    failures: int = 0
    problem: str = ""
    unreached: bool = False
    stop_at: float | None = None


def learn(memory: PodMemory, pod: OwnPod) -> PodMemory:
    """The memory with one more answer."""
    if pod.gone and not memory.exists:
        pod = replace(pod, gone=False, problem="404: there is no such pod; are POD_NAME and POD_NAMESPACE this pod's?")
    if pod.refused and memory.known is not None and memory.known.gone:
        # A pod that is gone does not come back, and ten seconds later the API server no longer accepts its token.
        pod = replace(memory.known, asked_at=pod.asked_at)
    memory = replace(memory, latest=pod, witness_at=pod.asked_at if pod.reached else memory.witness_at)
    if pod.problem:
        failures = memory.failures + 1
        return replace(memory, failures=failures, problem=pod.problem if failures >= SIGNS else memory.problem)
    is_unexplained = _since_the_end(memory, pod.asked_at) and not (pod.deleted or pod.gone)
    return replace(
        memory,
        known=pod,
        exists=True,
        against=memory.against + 1 if _is_against(pod) else 0,
        # Once there are enough, the count stays even if somebody deletes the pod later: its node shuts down anyway.
        unexplained=memory.unexplained + 1 if is_unexplained or memory.unexplained >= SIGNS else 0,
        failures=0,
        problem="",
        unreached=memory.unreached or (pod.disruption == BY_TAINT and _was_unreached(memory, pod)),
    )


def _was_unreached(memory: PodMemory, pod: OwnPod) -> bool:
    """Whether the control plane did not reach this node before it evicted the pod.

    It did not if it has written the node off; or if the API server told nothing here for as long as that takes: then
    kubelet may have been reached first, and have called the pod Ready again.
    """
    known = memory.known
    return _is_against(pod) or (known is not None and pod.asked_at - known.asked_at >= timing.EVICTED_AFTER)


def _is_against(pod: OwnPod) -> bool:
    """By this answer Kubernetes has written the node off."""
    return pod.gone or (pod.ready is False and pod.containers_ready is not False)


def is_suspect(memory: PodMemory) -> bool:
    """An answer has written this node off, but not yet as many in a row as count: one more will tell."""
    return 0 < memory.against < SIGNS


def ready_at(memory: PodMemory) -> float | None:
    """When the API server was asked for its last answer on the pod, if that calls it Ready; otherwise None."""
    pod = memory.known
    return pod.asked_at if pod is not None and pod.ready and not (pod.deleted or pod.gone) else None


def told_at(memory: PodMemory) -> float:
    """When the API server was asked for its last answer that told of the pod; minus infinity if it never told."""
    return memory.known.asked_at if memory.known is not None else -inf


def written_off(memory: PodMemory, now: float, ready_since: float | None) -> str:
    """A sentence that Kubernetes has given this node up although it is well; empty if it has not.

    ``ready_since`` is since when the observer has called itself ready, None while it does not.
    """
    pod = memory.known
    if pod is None or memory.against < SIGNS or now - pod.asked_at > timing.POD_FRESH:
        return ""
    if pod.gone:
        return "Kubernetes has written this node off: it has this observer's pod no more"
    if ready_since is None or now - ready_since <= timing.POD_READY_FOR:
        return ""
    return "Kubernetes has written this node off: to it this observer's pod is not Ready"


def leaving(memory: PodMemory) -> str:
    """Why this pod's node is about to end; empty if nothing says so."""
    pod = memory.known
    if pod is None or memory.unreached:
        return ""
    if pod.disruption not in ("", BY_SCHEDULER) and (pod.deleted or memory.stop_at is not None):
        return f"the pod is evicted ({pod.disruption})"
    if memory.unexplained >= SIGNS:
        return "the node is shutting down (SIGTERM, though nobody deleted the pod)"
    return ""


def is_replaced(memory: PodMemory) -> bool:
    """An answer since SIGTERM shows that it came because somebody deleted this pod, and not because its node ends."""
    pod = memory.known
    return pod is not None and _since_the_end(memory, pod.asked_at) and pod.deleted and not leaving(memory)


def has_answered(memory: PodMemory) -> bool:
    """The API server has answered a question asked since SIGTERM: what it does not tell yet it may tell soon."""
    return memory.witness_at is not None and _since_the_end(memory, memory.witness_at)


def is_refused(memory: PodMemory) -> bool:
    """The API server, asked since SIGTERM, refuses to tell this pod of itself."""
    pod = memory.latest
    return pod is not None and _since_the_end(memory, pod.asked_at) and pod.refused


def _since_the_end(memory: PodMemory, asked_at: float) -> bool:
    """SIGTERM had come by then."""
    return memory.stop_at is not None and asked_at >= memory.stop_at
