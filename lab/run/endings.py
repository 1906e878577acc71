"""How EC2 ends the holder's instance, with or without a notice, and how long its pods take to end."""

import time
from enum import StrEnum

from lab.kubernetes.cluster import Kind
from lab.run.blow import blow, until
from lab.run.machine import Machine
from lab.run.region import Region
from lab.run.scenario import Nemesis

RETURNS_WITHIN = 120.0
"""Seconds within which a machine must be back with its pods."""

RUNS_WITHIN = 40.0
"""Seconds within which a pod must run."""

SLOW = 10.0
"""Seconds: only for an end that takes longer a slow pod is added on the real Kubernetes; up to this long, the machine
itself waits (power.py).
"""

SLOW_POD = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels:
    app: slow
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: {seconds}
  containers:
    - name: netexec
      image: registry.k8s.io/e2e-test-images/agnhost:2.53
      args: ["netexec", "--http-port=8081", "--udp-port=-1", "--delay-shutdown={seconds}"]
"""


class End(StrEnum):
    """How EC2 ends an instance, or lets it end itself."""

    TERMINATE = "terminate"
    STOP = "stop"
    REBOOT = "reboot"


def end(how: End, seconds: float, *, returns: bool = False) -> Nemesis:
    """
    EC2 ends the instance; its kubelet shuts down gracefully, and its slowest pod takes so many seconds to end.

    returns: wait until the instance is back with its pods; if it was stopped, it is started.
    """

    def strike(region: Region, machine: Machine) -> None:
        machine.graceful = seconds
        if region.kubernetes is Kind.REAL and seconds > SLOW:
            _add_slow_pod(region, machine, seconds)
        ids = [machine.instance.instance_id]
        blow(region, machine)
        match how:
            case End.TERMINATE:
                region.administrator.terminate_instances(InstanceIds=ids)
            case End.STOP:
                region.administrator.stop_instances(InstanceIds=ids)
            case End.REBOOT:
                region.administrator.reboot_instances(InstanceIds=ids)
        if returns:
            if how is End.STOP:
                until(lambda: _state(region, machine) == "stopped", RETURNS_WITHIN, f"{machine.name} is not stopped")
                region.administrator.start_instances(InstanceIds=ids)
            until(lambda: not machine.ending, RETURNS_WITHIN, f"{machine.name} is not back")
            region.cluster.wait_ready(RETURNS_WITHIN)

    return strike


def _add_slow_pod(region: Region, machine: Machine, seconds: float) -> None:
    """Add a pod that takes so many seconds to end, for which a real kubelet waits."""
    name = f"slow-{len(region.history.events())}"
    region.cluster.apply(SLOW_POD.format(name=name, node=machine.name, seconds=f"{seconds:g}"))

    def runs() -> bool:
        return any(pod.name == name and pod.is_ready for pod in region.cluster.pods("slow"))

    until(runs, RUNS_WITHIN, f"{name} does not run")


def after_notice(notice: Nemesis, seconds: float) -> Nemesis:
    """The end is announced, and comes so many seconds later; the real EC2 gives two minutes' notice, or an hour's."""

    def strike(region: Region, machine: Machine) -> None:
        notice(region, machine)
        time.sleep(seconds)
        end(End.TERMINATE, 1.0)(region, machine)

    return strike


def _state(region: Region, machine: Machine) -> str:
    found = region.administrator.describe_instances(InstanceIds=[machine.instance.instance_id])
    return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])
