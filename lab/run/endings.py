"""How EC2 ends the holder's instance, with or without a notice, and how long its pods take to end."""

import time
from enum import StrEnum

from lab.kubernetes.cluster import Kind
from lab.run.blow import blow, until
from lab.run.machine import Machine
from lab.run.region import Region
from lab.run.scenario import Nemesis

RETURNS_WITHIN = 120.0
"""Seconds that a machine may take until it is back with its pods."""

RUNS_WITHIN = 40.0
"""Seconds that a pod may take until it runs."""

SLOW = 10.0
"""Seconds; what ends faster does so by itself."""

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
    EC2 ends the instance, whose kubelet shuts down gracefully and whose slowest pod takes so many seconds.

    returns: wait until it is back with its pods; one that was stopped is started.
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
    """A pod that a real kubelet waits for."""
    name = f"slow-{len(region.history.events())}"
    region.cluster.apply(SLOW_POD.format(name=name, node=machine.name, seconds=f"{seconds:g}"))

    def runs() -> bool:
        return any(pod.name == name and pod.is_ready for pod in region.cluster.pods("slow"))

    until(runs, RUNS_WITHIN, f"{name} does not run")


def after_notice(notice: Nemesis, seconds: float) -> Nemesis:
    """The end is announced, and comes so many seconds later; the real one lets two minutes pass, or an hour."""

    def strike(region: Region, machine: Machine) -> None:
        notice(region, machine)
        time.sleep(seconds)
        end(End.TERMINATE, 1.0)(region, machine)

    return strike


def _state(region: Region, machine: Machine) -> str:
    found = region.administrator.describe_instances(InstanceIds=[machine.instance.instance_id])
    return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])
