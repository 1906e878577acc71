"""The machines as EC2 sees them (lab.ec2.Devices): what EC2 attaches appears in a worker, and EC2 can press its power
button.
"""

from collections.abc import Sequence

from lab.ec2 import Guest
from lab.network.fabric import Fabric
from lab.run.machine import Machines
from lab.run.power import Power


class Hardware:
    """
    What EC2 does to machines, and gets to see of them.

    The region sets `power` once that exists, before EC2 ends anything.
    associated: the Elastic IPs that are associated with a private address.
    """

    power: Power

    def __init__(self, fabric: Fabric, machines: Machines) -> None:
        self._fabric = fabric
        self._machines = machines
        self.associated: set[str] = set()

    def plug(self, eni_id: str, mac: str, addresses: Sequence[str], instance_id: str, device_index: int) -> None:
        """A device appears in the worker; a worker without power does not notice it."""
        machine = self._machines.by_instance(instance_id)
        if machine.guest is not Guest.OFF:
            machine.worker.hot_plug(eni_id, mac, addresses, device_index)

    def unplug(self, eni_id: str) -> None:
        """A device goes."""
        self._fabric.unplug(eni_id)

    def assign(self, eni_id: str, address: str) -> None:
        """A private address leads to this device."""
        self._fabric.assign(eni_id, address)

    def unassign(self, eni_id: str, address: str) -> None:
        """A private address no longer leads to this device."""
        self._fabric.unassign(eni_id, address)

    def associate(self, public: str, private: str) -> None:
        """An Elastic IP leads to this private address."""
        self._fabric.associate(public, private)
        self.associated.add(public)

    def disassociate(self, public: str) -> None:
        """An Elastic IP no longer leads anywhere."""
        self._fabric.disassociate(public)
        self.associated.discard(public)

    def shut_down(self, instance_id: str) -> float:
        """Press the power button; return for how many seconds the machine's pods delay its end."""
        return self.power.press_off(self._machines.by_instance(instance_id))

    def boot(self, instance_id: str) -> None:
        """Press the power button of a machine that is off."""
        self.power.press_on(self._machines.by_instance(instance_id))

    def reboot(self, instance_id: str) -> None:
        """The machine ends as by `shut_down`, and starts again; EC2's state does not show it."""
        self.power.reboot(self._machines.by_instance(instance_id))

    def guest(self, instance_id: str) -> Guest:
        """The state of the machine, as EC2 gets to see it."""
        return self._machines.by_instance(instance_id).guest
