"""How instances end, stop and start, and what becomes of their ENIs."""

import copy

from moto.core.utils import utcnow
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import Instance, InstanceState, StateReason

from lab.ec2.account import Account
from lab.ec2.attachments import Attachments
from lab.ec2.interfaces import Interfaces


class Instances:
    """The instances of one account.  All of it runs under the endpoint's lock."""

    def __init__(self, account: Account, attachments: Attachments, interfaces: Interfaces) -> None:
        self._account = account
        self._attachments = attachments
        self._interfaces = interfaces

    def terminate(self, instance: Instance) -> InstanceState:
        """Begin to terminate the instance; returns the state that it had."""
        before = copy.copy(instance._state)
        if instance.state in {"shutting-down", "terminated"}:
            return before
        held_up = self._shut_down(instance, "shutting-down", 32)
        self._account.after(held_up + self._account.profile.release, lambda: self._release(instance))
        self._account.after(held_up + self._account.profile.shutdown, lambda: self._terminated(instance))
        return before

    def stop(self, instance: Instance) -> InstanceState:
        """Begin to stop the instance, which keeps its ENIs; returns the state that it had."""
        before = copy.copy(instance._state)
        if instance.state not in {"running", "pending"}:
            return before
        held_up = self._shut_down(instance, "stopping", 64)
        self._account.after(held_up + self._account.profile.shutdown, lambda: self._turn(instance, "stopped", 80))
        return before

    def start(self, instance: Instance) -> InstanceState:
        """Begin to start a stopped instance; returns the state that it had."""
        before = copy.copy(instance._state)
        if instance.state not in {"stopped", "running"}:
            raise EC2ClientError(
                "IncorrectInstanceState",
                f"The instance '{instance.id}' is not in a state from which it can be started.",
            )
        if instance.state == "stopped":
            self._turn(instance, "pending", 0)
            self._account.devices.boot(instance.id)
            self._account.after(self._account.profile.start, lambda: self._turn(instance, "running", 16))
        return before

    def _shut_down(self, instance: Instance, state: str, code: int) -> float:
        """Shut down as the user asked; returns what Devices.shut_down returns."""
        self._turn(instance, state, code)
        instance._reason = f"User initiated ({utcnow():%Y-%m-%d %H:%M:%S} GMT)"
        instance.state_reason = StateReason(
            "Client.UserInitiatedShutdown: User initiated shutdown", "Client.UserInitiatedShutdown"
        )
        return self._account.devices.shut_down(instance.id)

    def _turn(self, instance: Instance, state: str, code: int) -> None:
        if instance.state != "terminated":
            instance._state.name, instance._state.code = state, code

    def _release(self, instance: Instance) -> None:
        for index, eni in list(instance.nics.items()):
            doomed = bool(eni.delete_on_termination)
            if index == 0:  # stays in instance.nics: moto asks it for the instance's own address
                doomed = True
            else:
                self._attachments.end(eni, str(eni.attachment_id))
            if doomed:
                self._interfaces.remove(eni)
        self._attachments.note(instance)

    def _terminated(self, instance: Instance) -> None:
        instance.teardown_defaults()
        self._turn(instance, "terminated", 48)
