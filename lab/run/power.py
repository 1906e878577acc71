"""Machines lose power, end and start: by their button, by EC2, or because somebody pulls the plug."""

import threading
import time
from collections.abc import Callable

from lab.ec2 import Ec2, Guest
from lab.kubernetes.cluster import Cluster, Kind
from lab.kubernetes.small.kubelet import SHUTDOWN_HEARD
from lab.network.fabric import Fabric
from lab.run.backends import Backends
from lab.run.machine import Machine

SHUTDOWN_TAKES = 1.0
"""Seconds that the operating system of an instance needs to end, once nothing delays it."""

BACKENDS_GONE = 0.3
"""Seconds from the end of a node's pods until no NodePort leads to them any more."""

BOOT_TAKES = 8.0
"""Seconds from the power button until the kubelet runs; a real worker takes half a minute."""


class Power:
    """
    What takes a machine's power, and gives it back; the buttons answer at once, and the machine ends or starts by
    itself.

    The region sets `cluster` once that exists.  `metadata` gives a machine that has booted its IMDS anew.
    boot_takes: seconds from the power button until a kubelet runs; can be changed at any time.
    """

    cluster: Cluster

    def __init__(
        self, fabric: Fabric, ec2: Ec2, backends: Backends, metadata: Callable[[Machine], None], kubernetes: Kind
    ) -> None:
        self.boot_takes = BOOT_TAKES
        self._fabric = fabric
        self._ec2 = ec2
        self._backends = backends
        self._metadata = metadata
        self._kubernetes = kubernetes
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def off(self, machine: Machine) -> None:
        """The plug is pulled: no processes, no links, no carrier."""
        machine.guest = Guest.OFF
        # Nobody is told that the processes end, and they do not see the links go.
        self.cluster.freeze_node(machine.name)
        self._fabric.cut(self._fabric.plugged(machine.worker.namespace))
        self.cluster.kill_node(machine.name)
        machine.worker.power_off()

    def on(self, machine: Machine) -> None:
        """The power is back after `off`; returns when the kubelet runs."""
        machine.ending = True
        self._boot(machine)

    def press_off(self, machine: Machine) -> float:
        """Press the button of a machine that runs; return for how many seconds its pods delay its end."""
        self._later(self._shut, machine)
        return machine.graceful or 0.0

    def press_on(self, machine: Machine) -> None:
        """Press the button of a machine that is off."""
        self._later(self._boot, machine)

    def reboot(self, machine: Machine) -> None:
        """The machine ends as by `press_off`, and starts again; EC2's state does not show it."""

        def both(machine: Machine) -> None:
            self._shut(machine)
            self._boot(machine)

        self._later(both, machine)

    def give_up(self) -> None:
        """No machine waits for its end or its start any longer."""
        self._closing.set()

    def close(self) -> None:
        """Wait until no machine ends or starts any more."""
        for thread in self._threads:
            thread.join()

    def _later(self, act: Callable[[Machine], None], machine: Machine) -> None:
        machine.ending = True
        thread = threading.Thread(target=act, args=(machine,), name=f"{machine.name}/power", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _shut(self, machine: Machine) -> None:
        """End the pods first, if the kubelet shuts down gracefully, then network and kernel."""
        ends = time.monotonic() + (machine.graceful or 0.0)
        if machine.graceful is not None or self._kubernetes is Kind.REAL:
            leaving = threading.Timer(SHUTDOWN_HEARD + BACKENDS_GONE, self._backends.stop, (machine,))
            leaving.start()
            self.cluster.shut_node_down(machine.name)
            leaving.join()
        if self._closing.wait(max(0.0, ends - time.monotonic()) + SHUTDOWN_TAKES):
            return
        self.off(machine)

    def _boot(self, machine: Machine) -> None:
        """Boot: all is as after the first boot, except that the links of the ENIs that EC2 has attached are bare."""
        if self._closing.wait(self.boot_takes):
            return
        machine.imds.stop()
        machine.worker.boot()
        self._metadata(machine)
        machine.guest = Guest.RUNNING
        self._ec2.booted(machine.instance.instance_id)
        self._backends.start(machine)
        self.cluster.boot_node(machine.name)
        machine.serves = True
        self._backends.publish()
        machine.ending = False
