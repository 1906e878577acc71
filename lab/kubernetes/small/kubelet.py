"""
The kubelets of the small Kubernetes: each runs the pods that are placed on its node, and ends them; it hangs or dies.

A node that was killed keeps its pods in the books, as the API server does for the first minutes.
"""

import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lab.kubernetes.small.containers import Containers
from lab.kubernetes.small.pods import BY_KUBELET, Books, Node, Pod
from lab.kubernetes.small.processes import send, with_descendants

SHUTDOWN_HEARD = 0.2
"""Seconds from the announcement of a shutdown until the kubelet sends SIGTERM (seen with kubelet 1.36)."""


class Kubelets:
    """All kubelets.  `nodes` are by name; `changed` is called when a pod has ended."""

    def __init__(
        self, nodes: Mapping[str, Node], books: Books, containers: Containers, changed: Callable[[], None]
    ) -> None:
        self._nodes = nodes
        self._books = books
        self._containers = containers
        self._changed = changed

    # A pod.

    def run(self, pod: Pod, node: Node) -> None:
        """Begin the life of a pod, in its own thread."""
        threading.Thread(target=self._run, args=(pod, node), name=pod.name, daemon=True).start()

    def end(self, pod: Pod, grace: float) -> None:
        """Begin to end a pod (idempotent)."""
        with self._books.lock:
            if pod.stopping.is_set():
                return
            pod.stopping.set()
            if pod.disruption != BY_KUBELET:
                pod.deletion = time.time() + grace
            self._books.enter(pod, "Terminating")
        if pod.node is None or self._nodes[pod.node].dead.is_set():
            self.forget(pod)
        else:
            node = self._nodes[pod.node]
            threading.Thread(target=self._kill, args=(pod, node, grace), name=f"{pod.name}/end", daemon=True).start()

    def forget(self, pod: Pod) -> None:
        """The pod has ended: remove it from the books.  If its node's shutdown has ended it, it stays there as
        Succeeded.
        """
        with self._books.lock:
            if pod.deletion is None and pod.disruption == BY_KUBELET:
                self._books.enter(pod, "Succeeded")
            elif self._books.pods.pop(pod.name, None):
                self._books.enter(pod, "Gone")
            pod.gone.set()
        self._changed()

    def kill_container(self, pod: str, container: str) -> None:
        """SIGKILL to a container's process.  Raises LookupError if it does not run."""
        with self._books.lock:
            self._books.process(pod, container).kill()

    def container_process(self, pod: str, container: str) -> int:
        """The id of a container's first process: the only child of its warden.  Raises LookupError if there is none."""
        warden = self._books.process(pod, container).pid
        try:
            return int(Path(f"/proc/{warden}/task/{warden}/children").read_text(encoding="utf-8").split()[0])
        except (OSError, IndexError) as error:
            raise LookupError(f"{container} of {pod} does not run") from error

    # A node.

    def shut_node_down(self, name: str) -> None:
        """
        The machine is about to shut down: its kubelet makes the node NotReady at once, and then ends the pods, though
        they are not deleted.  Returns when all have ended, at the latest after their grace period.
        """
        node = self._nodes[name]
        node.ending = True
        if node.dead.wait(SHUTDOWN_HEARD):
            return
        with self._books.lock:
            on_it = [pod for pod in self._books.pods.values() if pod.node == name]
        pods = [pod for pod in on_it if not pod.stopping.is_set()]
        for pod in pods:
            pod.disruption = BY_KUBELET
            self.end(pod, pod.deployment.pod.grace)
        for pod in pods:
            pod.gone.wait(pod.deployment.pod.grace)

    def kill_node(self, name: str) -> None:
        """All processes of the node end at once, its kubelet too: no SIGTERM, no restart, no replacement."""
        node = self._nodes[name]
        with self._books.lock:
            node.dead.set()
            for process in self._processes(name):
                send(process, signal.SIGKILL)
        node.awake.set()

    def freeze_node(self, name: str) -> None:
        """Stop every process of the node's pods (SIGSTOP), and its kubelet."""
        node = self._nodes[name]
        node.awake.clear()
        with self._books.lock:
            stopped: set[int] = set()
            # A process can fork until it is stopped itself: repeat until no new one is found.
            while fresh := self._processes(name) - stopped:
                for process in fresh:
                    send(process, signal.SIGSTOP)
                stopped |= fresh

    def thaw_node(self, name: str) -> None:
        """Let a frozen node go on."""
        with self._books.lock:
            for process in self._processes(name):
                send(process, signal.SIGCONT)
        self._nodes[name].awake.set()

    def _run(self, pod: Pod, node: Node) -> None:
        self._containers.run(pod, node)
        if not node.dead.is_set():
            self.forget(pod)

    def _kill(self, pod: Pod, node: Node, grace: float) -> None:
        """The kubelet ends a pod: SIGTERM as soon as it can, and SIGKILL after the grace period."""
        node.awake.wait()
        with self._books.lock:
            for process in pod.running.values():
                process.terminate()
        if not pod.gone.wait(grace):
            with self._books.lock:
                for process in pod.running.values():
                    process.kill()
            if pod.node and self._nodes[pod.node].dead.is_set():
                self.forget(pod)

    def _processes(self, node: str) -> set[int]:
        roots = {
            process.pid
            for pod in self._books.pods.values()
            if pod.node == node
            for process in pod.running.values()
            if process.poll() is None
        }
        return with_descendants(roots)
