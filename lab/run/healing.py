"""
Between two misfortunes: undo whatever was done to a region, and wait until all is well.

What makes the next failover wait for its turn is forgotten: the ration's record of moves in EC2 (R12), which five
minutes of peace would clear, and the back-off of containers that were killed, which ten minutes would.
"""

import time
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from floatingip.core.decision import ration
from lab.ec2 import Guest
from lab.history import Event
from lab.kubernetes.cluster import OBSERVERS, Pod
from lab.network.netns import CommandFailed
from lab.run import nemesis
from lab.run.machine import Machine
from lab.run.region import Region

WELL_WITHIN = 150.0
"""Seconds after healing until all must be well: a pod of a node that was written off, and all of its rules besides."""

SERVED_FOR = 1.5
"""Seconds without a failed attempt after which the address is served."""

ANSWERS_WITHIN = 1.2
"""Seconds until an attempt has surely failed: a client waits for one second."""

KILLED = frozenset({"exited", "unhealthy"})
"""The ends of containers for which a kubelet backs off."""


class Watch:
    """
    The present state by the history: whether clients are served, and in which state each observer sees the address.

    One observer knows the address, once it sees it answer; what it knew before it ended does not count.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self._asked: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        self._failed_at = 0.0
        self._reasons: dict[str, str] = {}
        self.last_killed_at = 0.0
        self.killed: set[str] = set()
        region.history.subscribe(self._take)

    def _take(self, event: Event) -> None:
        match event["source"], event["event"]:
            case "client", "attempt":
                latest = self._answered if event["ok"] else self._asked
                latest[event["client"]] = max(event["started"], latest.get(event["client"], 0.0))
                if not event["ok"]:
                    self._failed_at = max(self._failed_at, event["started"])
            case "agent", "log" if event["fields"].get("event") == "decision":
                self._reasons[event["node"]] = event["fields"].get("reason", "")
            case "kubelet", "exit":
                self._reasons.pop(event["node"], None)
                if event["reason"] in KILLED:
                    self.last_killed_at = event["t"]
                    self.killed.add(event["pod"])

    def is_served(self) -> bool:
        """Whether every client has been served for a while."""
        now = time.time()
        fresh = all(now - self._answered.get(name, 0.0) < ANSWERS_WITHIN for name in self._region.clients.names)
        return fresh and now - self._failed_at > SERVED_FOR + ANSWERS_WITHIN

    def is_watched(self) -> bool:
        """Whether a node has the address, and all other observers see it answer."""
        try:
            holder = self._region.holder()
        except LookupError:
            return False
        if self._region.attachments()[-1]["status"] != "attached":
            return False
        others = self._region.machines.keys() - {holder.name}
        return all(self._reasons.get(name) == "ANSWERS" for name in others)

    def is_well(self) -> bool:
        """Whether clients are served, the address is watched, and every pod is ready."""
        pods = living(self._region)
        ready = sum(pod.is_ready for pod in pods)
        return ready == len(pods) == len(self._region.machines) and self.is_served() and self.is_watched()


def living(region: Region) -> list[Pod]:
    """The observers' pods, without those that ended with their node's shutdown, which stay listed."""
    return [pod for pod in region.cluster.pods() if pod.phase != "Succeeded"]


class Healer:
    """Undoes what misfortunes do.  Create it when all is well: what EC2 refuses then, it refuses after healing."""

    def __init__(self, region: Region, watch: Watch) -> None:
        self._region = region
        self._watch = watch
        self._kept = region.ec2.faults.begun()

    def heal(self) -> None:
        """Undo all; return once machines that were off run again.  Raises CommandFailed, ClientError."""
        region = self._region
        region.ec2.faults.clear(but=self._kept)
        region.ec2.let_detaches_end()
        region.fabric.lose(0)
        region.fabric.carry_announcements = True
        for floating in region.floating:
            with suppress(CommandFailed):  # most rounds do not close it
                region.fabric.open_icmp(region.carried(floating))
        with ThreadPoolExecutor(len(region.machines)) as pool:
            for done in [pool.submit(self._mend, machine) for machine in region.machines.values()]:
                done.result()
        region.backends.serve_from(*region.machines.values())
        region.cluster.scale(OBSERVERS, len(region.machines))
        self._restart(self._watch.killed)
        self._watch.killed.clear()
        self._forget_moves()

    def _mend(self, machine: Machine) -> None:
        region = self._region
        enis = region.fabric.plugged(machine.worker.namespace)
        region.fabric.unsilence(enis)
        for eni in enis:
            region.fabric.unblock(eni)
        machine.imds.trouble = None
        machine.imds.notices.clear()
        machine.graceful = None
        if machine.guest is Guest.HUNG:
            nemesis.thaw_kernel(region, machine)
        if machine.guest is Guest.OFF and not machine.ending:
            region.power.on(machine)
        region.cluster.untaint(machine.name)
        region.cluster.uncordon(machine.name)

    def _restart(self, killed: Set[str]) -> None:
        """A new pod has no back-off."""
        for pod in sorted(killed & {pod.name for pod in self._region.cluster.pods() if not pod.is_ending}):
            with suppress(LookupError):
                self._region.cluster.delete_pod(pod)

    def _forget_moves(self) -> None:
        administrator = self._region.administrator
        for interface in administrator.describe_network_interfaces()["NetworkInterfaces"]:
            keys = [tag["Key"] for tag in interface.get("TagSet", []) if tag["Key"].startswith(ration.TAG)]
            if keys:
                administrator.delete_tags(
                    Resources=[interface["NetworkInterfaceId"]], Tags=[{"Key": key} for key in keys]
                )

    def wait(self, within: float = WELL_WITHIN) -> None:
        """Wait until all is well.  Raises TimeoutError, which says what is not."""
        deadline = time.monotonic() + within
        while not self._watch.is_well():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{within:g} s after the healing {self._what_ails()}")
            time.sleep(0.1)

    def _what_ails(self) -> str:
        pods = living(self._region)
        ready = ", ".join(f"{pod.node}: {pod.phase}" for pod in pods if not pod.is_ready)
        if ready or len(pods) != len(self._region.machines):
            return f"{len(pods)} pods are there, and not ready: {ready or 'none'}"
        if not self._watch.is_served():
            return "the address is not served"
        return "not every standby sees the address answer"
