"""The machines as EC2 sees them: where ENIs appear and vanish, and what the power button does."""

from collections.abc import Sequence
from typing import Protocol

from lab.ec2.profiles import Guest


class Devices(Protocol):
    """
    What EC2 does to machines.

    Called under EC2's lock: an implementation must be quick, and must not wait for another thread that asks EC2.
    The primary ENI of an instance is never plugged or unplugged, it comes and goes with the machine.
    """

    def plug(self, eni_id: str, mac: str, addresses: Sequence[str], instance_id: str, device_index: int) -> None:
        """
        Make the ENI's device appear in the guest.

        addresses: its private addresses, the primary one first, and then its IPv6 addresses; those that it gets later
        come by `assign`.
        """

    def unplug(self, eni_id: str) -> None:
        """Take the device away, whatever state the guest is in."""

    def assign(self, eni_id: str, address: str) -> None:
        """Route the private address to this ENI, whose device a guest has, and to no other ENI."""

    def unassign(self, eni_id: str, address: str) -> None:
        """Stop routing the private address to this ENI, whose device a guest has."""

    def associate(self, public: str, private: str) -> None:
        """Route the Elastic IP `public` to `private`, and no longer to where it led before."""

    def disassociate(self, public: str) -> None:
        """Route the Elastic IP nowhere."""

    def shut_down(self, instance_id: str) -> float:
        """
        Press the power button: the instance is being terminated or stopped.  Must return at once; the guest ends by
        itself.  Returns for how many seconds the guest delays its end, beyond the usual moment.
        """

    def boot(self, instance_id: str) -> None:
        """Press the power button of an instance that is off.  Must return at once."""

    def reboot(self, instance_id: str) -> None:
        """Let the guest end and start again, as by Ctrl-Alt-Del.  Must return at once."""

    def guest(self, instance_id: str) -> Guest:
        """How the guest answers a hot unplug at this moment."""


class NoDevices:
    """Machines that are always well, and have no devices that anybody sees."""

    def plug(self, eni_id: str, mac: str, addresses: Sequence[str], instance_id: str, device_index: int) -> None:
        """Nothing to do."""

    def unplug(self, eni_id: str) -> None:
        """Nothing to do."""

    def assign(self, eni_id: str, address: str) -> None:
        """Nothing to do."""

    def unassign(self, eni_id: str, address: str) -> None:
        """Nothing to do."""

    def associate(self, public: str, private: str) -> None:
        """Nothing to do."""

    def disassociate(self, public: str) -> None:
        """Nothing to do."""

    def shut_down(self, instance_id: str) -> float:  # noqa: ARG002  # the protocol names it
        """No guest delays its end."""
        return 0.0

    def boot(self, instance_id: str) -> None:
        """Nothing to do."""

    def reboot(self, instance_id: str) -> None:
        """Nothing to do."""

    def guest(self, instance_id: str) -> Guest:  # noqa: ARG002  # the protocol names it
        """Every guest runs."""
        return Guest.RUNNING
