"""One worker of a fleet: an instance, its devices, and what can happen to it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from math import inf
from typing import TYPE_CHECKING

from floatingip.core.ec2 import Eni
from floatingip.core.model import Address
from floatingip.core.node import Identity, Notice, OwnPod
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import REGION, ZONE
from tests.sim.layout import Layout
from tests.sim.observer import Observer

if TYPE_CHECKING:
    from tests.sim.fleet import Fleet

GROUP = "sg-1"
TAGS = {"kubernetes.io/cluster/cluster": "owned"}

LIVING = OwnPod(0.0, answered=True, ready=True, containers_ready=True)
"""A pod that is well."""

UNKNOWN = OwnPod(0.0, answered=True, problem="500 for default/floating-ip: etcdserver: request timed out")
"""The answer of an API server that fails."""


class Worker:
    """
    An instance; ``devices`` by MAC; ``plumbed``: which of them carries each address.

    ``is_on``: it has power; ``is_hung``: nothing runs, for now.  ``is_mute``: its floating addresses reach nobody, and
    nobody reaches them; ``drops_pings``: it does not answer pings, and all else is well.

    ``problem``: why the kernel does not do as it is told; ``answers_unsound``: whether floating addresses answer
    nevertheless; ``blind``: why no probe would leave.  Both texts are empty if all is well.

    ``hides_devices``: new devices do not appear, for now; otherwise they do after ``device_takes`` seconds (None: as in
    the fleet's profile).  ``serves``: NodePorts answer there; at a floating address, from ``syncs_after`` seconds after
    it has come.

    ``pod``: what the API server says of its observer's pod, None if the API server does not answer;
    ``api_server_fails``: it answers with an error; ``pod_before``: the past state of the pod that it shows instead.
    ``notice``: what IMDS announces; ``imds_lacks``: the addresses that IMDS never shows; ``is_imds_silent``: IMDS does
    not answer; ``imds_lag``: how many seconds old the addresses are that it shows.  ``wall_ahead``: how many seconds
    its wall clock is fast.  ``cloud``: EC2 as reached from here; ``ec2_takes``: by the name of a job, the shortest and
    the longest time that EC2 takes for it, if not as in the fleet's profile; ``ec2_takes_for_each_call``: the same for
    each single call of a job.

    ``heir``: the worker that has got its address, since its instance is gone.
    """

    def __init__(self, fleet: Fleet, name: str, address: str, instance_type: str, instance_id: str = "") -> None:
        self.fleet = fleet
        self.name = name
        self.address, self.source = IPv4Address(address), address
        ipv6 = f"2001:db8:0:1::{int(self.address) % 256:x}"
        self.ipv6 = IPv6Address(ipv6)
        self.id = fleet.ec2.add_instance(
            address, fleet.subnet, ipv6=ipv6, instance_type=instance_type, tags=TAGS, instance_id=instance_id
        )
        self.cloud = FakeCloud(fleet.ec2, (GROUP,))
        self.ec2_takes: dict[str, tuple[float, float]] = {}
        self.ec2_takes_for_each_call: dict[str, tuple[float, float]] = {}
        self.is_on = True
        self.is_hung = self.is_mute = self.drops_pings = False
        self.problem = self.blind = ""
        self.answers_unsound = False
        self.imds_lacks: frozenset[Address] = frozenset()
        self.is_imds_silent = False
        self.imds_lag = self.wall_ahead = 0.0
        self.hides_devices, self.serves = False, True
        self.device_takes: float | None = None
        self.syncs_after = 0.0
        self.came_at: dict[Address, float] = {}
        self.devices: set[str] = set()
        self.plumbed: dict[Address, str] = {}
        self.pod: OwnPod | None = LIVING
        self.api_server_fails = False
        self.pod_before: OwnPod | None = None
        self.notice: Notice | None = None
        self.observer: Observer | None = None
        self.heir: Worker | None = None

    @property
    def told_pod(self) -> OwnPod | None:
        """What the API server answers this worker's observer; None for no answer."""
        if self.pod is None or self.api_server_fails:
            return None if self.pod is None else UNKNOWN
        return self.shown_pod

    @property
    def shown_pod(self) -> OwnPod | None:
        """The pod as the API server knows it, if need be as it was before; None while that does not answer.

        It is the only one to tell of a deletion: SIGTERM without one is the node's end.
        """
        return self.pod if self.pod is None or self.pod_before is None else self.pod_before

    @property
    def at_its_address(self) -> Worker:
        """The worker that answers at its primary address."""
        return self if self.heir is None else self.heir.at_its_address

    def enis(self, lag: float = 0.0) -> list[Eni]:
        """The ENIs that EC2 has attached here, or had ``lag`` seconds ago."""
        fleet = self.fleet
        layout = Layout(fleet.ec2.as_of(fleet.now - lag).enis) if lag else fleet.layout()
        return layout.attached.get(self.id, [])

    def identity(self) -> Identity:
        """Its identity, as IMDS tells it."""
        (primary,) = (eni for eni in self.enis() if eni.address == self.address)
        subnet = self.fleet.subnet.id
        return Identity(self.id, REGION, ZONE, "vpc-1", subnet, primary.mac, self.address, (GROUP,))

    def carries(self, address: Address) -> bool:
        """Whether it answers at this address, which it must have by EC2."""
        macs = {eni.mac for eni in self.enis() if eni.occupies(address)}
        answers = self.plumbed.get(address) in macs or (self.answers_unsound and bool(self.problem and macs))
        return self.runs and not self.is_mute and answers

    def serves_at(self, address: Address) -> bool:
        """Whether NodePorts answer at this address, its own or a floating one."""
        is_synced = address == self.address or self.fleet.now - self.came_at.get(address, -inf) >= self.syncs_after
        return self.serves and is_synced

    @property
    def waits_long(self) -> bool:
        """Whether EC2 is slow to answer its calls, or has still to answer earlier ones."""
        return bool(self.ec2_takes_for_each_call) or (self.observer is not None and bool(self.observer.waiting))

    @property
    def runs(self) -> bool:
        """Whether its kernel runs."""
        return self.is_on and not self.is_hung

    def plug(self, mac: str) -> None:
        """A device appears."""
        if self.is_on and not self.hides_devices:
            self.devices.add(mac)
            self._changed()

    def show_devices(self) -> None:
        """Let the devices appear that were hidden so far."""
        self.hides_devices = False
        for eni in self.enis():
            if eni.attachment is not None and eni.attachment.status != "attaching":
                self.plug(eni.mac)

    def unplug(self, mac: str) -> None:
        """A device vanishes, with all that was configured on it."""
        self.devices.discard(mac)
        self.plumbed = {address: on for address, on in self.plumbed.items() if on != mac}
        self._changed()

    def _changed(self) -> None:
        if self.observer is not None:
            self.observer.see_to_kernel()

    # What can happen to it.

    def start(self, *, observes: bool = True) -> Observer:
        """Start an observer in a new pod; or ``attach``, if it is not to observe."""
        self.pod, self.pod_before = LIVING, None
        self.observer = Observer(self, observes=observes)
        self.fleet.tell(self.name, "an observer starts" if observes else "attach starts")
        self.observer.start()
        return self.observer

    def attach(self) -> Observer:
        """Start the init container."""
        return self.start(observes=False)

    def delete(self, disruption: str = "") -> None:
        """Somebody deletes the pod, or evicts it (``disruption`` says why): SIGTERM follows."""
        self.pod = replace(LIVING, deleted=True, disruption=disruption)
        if self.observer is not None:
            self.observer.stop()

    def pause(self) -> None:
        """SIGSTOP: the observer does nothing, for now; the kernel goes on."""
        if self.observer is not None:
            self.observer.is_paused = True

    def resume(self) -> None:
        """SIGCONT: the observer goes on, first with what came meanwhile."""
        if self.observer is not None and not self.is_hung:
            self.observer.resume()

    def hang(self) -> None:
        """The machine stands still, and gives up no device."""
        self.fleet.tell(self.name, "hangs")
        self.is_hung = True
        self.fleet.ec2.hang(self.id)
        self.pause()

    def thaw(self) -> None:
        """The machine goes on."""
        self.fleet.tell(self.name, "goes on")
        self.is_hung = False
        self.fleet.ec2.thaw(self.id)
        self.resume()
        self._changed()

    def cut_off(self) -> None:
        """The worker reaches neither EC2 nor other workers, and they do not reach it; it still reaches IMDS."""
        self.fleet.tell(self.name, "is cut off")
        self.cloud.reachable = False
        self.fleet.cut |= {frozenset({self.name, other.name}) for other in self.fleet.workers if other is not self}

    def break_kernel(self, problem: str, *, answers: bool) -> None:
        """Nothing can be configured any more, and what was configured is gone, unless floating addresses answer all the
        same.
        """
        self.problem, self.answers_unsound = problem, answers
        if not answers:
            self.plumbed = {}
        self._changed()

    def mend_kernel(self) -> None:
        """The kernel does as it is told again."""
        self.problem, self.answers_unsound = "", False
        self._changed()

    def turn_blind(self, why: str) -> None:
        """From now on no probe of a floating address would leave; an empty ``why`` ends that."""
        self.blind = why
        self._changed()

    def kill(self) -> None:
        """SIGKILL: the observer ends; what it has configured stays."""
        if self.observer is not None:
            self.fleet.tell(self.name, "the observer is killed")
            self._end_observer()

    def cut_power(self) -> None:
        """The machine is off, though EC2 calls the instance running."""
        self.fleet.tell(self.name, "loses power")
        self.is_on = False
        self._end_observer()

    def boot(self) -> None:
        """The machine has power again, with the devices that EC2 has attached, nothing configured, and no observer."""
        self.fleet.tell(self.name, "boots")
        self.is_on, self.is_hung = True, False
        self.fleet.ec2.thaw(self.id)
        self.devices, self.plumbed = {eni.mac for eni in self.enis()}, {}

    @property
    def is_ended(self) -> bool:
        """Whether EC2 has terminated or stopped the instance, or is about to."""
        return self.fleet.ec2.state.instances[self.id].state.announces_death

    def terminate(self, grace: float) -> None:
        """EC2 terminates the instance.  With ``grace``, its observer gets SIGTERM, and the machine is off that many
        seconds later.
        """
        self.fleet.tell(self.name, f"is terminated, with {grace:g} s for its end")
        self.fleet.ec2.terminate(self.id)
        self._shut_down(grace)

    def stop(self, grace: float) -> None:
        """EC2 stops the instance, as in `terminate`; its interfaces stay attached, and it may be started again."""
        self.fleet.tell(self.name, f"is stopped, with {grace:g} s for its end")
        self.fleet.ec2.stop(self.id)
        self._shut_down(grace)

    def _shut_down(self, grace: float) -> None:
        if grace and self.observer is not None:
            self.observer.stop()
        self.fleet.after(grace, self.cut_power)

    def _end_observer(self) -> None:
        if self.observer is not None:
            self.observer.is_alive, self.observer = False, None
