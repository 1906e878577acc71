"""Observers on loopback, made of the real parts but for the thread that decides: what one says is set by the test."""

import queue
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from floatingip.core.ec2 import Instance, InstanceState
from floatingip.core.health import HealthState
from floatingip.core.model import Address
from floatingip.core.snapshot import AddressSnapshot, Snapshot
from floatingip.core.word import Held, Status
from floatingip.edges import clock
from floatingip.runtime.desk import Desk
from floatingip.runtime.roster import Roster
from floatingip.runtime.sight import Sights
from floatingip.runtime.status_server import StatusServer

FLOATING, OTHER_FLOATING = IPv4Address("127.0.0.2"), IPv4Address("127.0.0.5")
TARGET, OTHER_TARGET = "10.0.0.100", "10.0.0.101"
HOLDER, ASKER, THIRD, STRANGER = "127.0.0.11", "127.0.0.1", "127.0.0.4", "127.0.0.66"
"""The asker's is the one from which Linux asks others on loopback."""

SOUND = Status("cluster", "i-a", holds={TARGET: Held("a1")})
UNSOUND = replace(SOUND, holds={TARGET: Held("a1", "nft is missing")})
OURS = {"kubernetes.io/cluster/lab": "owned"}
PATIENCE = 5.0
"""Seconds until something that should happen at once counts as not happening."""


def instance(
    instance_id: str, address: str | None, state: InstanceState = InstanceState.RUNNING, tags: Mapping[str, str] = OURS
) -> Instance:
    """One as EC2 shows it."""
    shown = IPv4Address(address) if address is not None else None
    return Instance(instance_id, state, shown, "us-west-2a", frozenset((0,)), tags)


def instances(**addresses: str | None) -> dict[str, Instance]:
    """Those of our cluster, by the ends of their ids: ``b="127.0.0.3"`` is i-b."""
    return {f"i-{name}": instance(f"i-{name}", address) for name, address in addresses.items()}


def free_port() -> int:
    """A port that is free on every loopback address, as nearly as one can know."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])


@dataclass
class Observer:
    """An observer's server at an address, to which EC2 has shown the ``peers``; ``looks`` counts what it passes on."""

    address: str
    port: int
    status: Status = SOUND
    peers: Mapping[str, Address] = field(default_factory=dict)
    sources: Mapping[str, Address] = field(default_factory=lambda: {TARGET: FLOATING, OTHER_TARGET: OTHER_FLOATING})
    stalled_for: float = 0.0
    hangs: str = ""
    not_ready: str = ""
    note: str = ""
    wall: float = 0.0
    looks: int = 0
    gathered: int = 0

    def __post_init__(self) -> None:
        self.claims: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.roster = Roster(self.status.instance_id, lambda: self.claims.put(None))
        self.meet(**{peer.removeprefix("i-"): str(address) for peer, address in self.peers.items()})
        self.desk = Desk(
            IPv4Address(self.address),
            self._publish,
            self._gather,
            self._look,
            self.roster,
            Sights(self.port).of,
            hangs=lambda _now: self.hangs,
        )
        self.server = StatusServer(IPv4Address(self.address), self.port, self.desk.answer, self.desk.knows)
        self.server.start()

    def meet(self, ipv6: Address | None = None, /, **addresses: str) -> None:
        """EC2 shows these instances when it is asked about them, long ago; each with this ``ipv6``."""
        known = {each: replace(shown, ipv6=ipv6) for each, shown in instances(**addresses).items()}
        self.roster.follow(known, 0.0)
        asked = self.roster.question(0.0)
        mine = {self.status.instance_id: instance(self.status.instance_id, self.address)}
        self.roster.answered(asked, 1e9, {**mine, **known})

    def _look(self) -> None:
        self.looks += 1

    def _publish(self) -> Snapshot:
        shown = {TARGET: "", **self.sources}
        addresses = tuple(
            AddressSnapshot(
                target,
                is_holder=target in self.status.holds,
                health=HealthState.INIT,
                source=self.sources.get(target),
                not_ready=self.not_ready if target == TARGET else "",
            )
            for target in shown
        )
        return Snapshot(clock.now() - self.stalled_for, self.status, addresses, note=self.note, wall=self.wall)

    def _gather(self, snapshot: Snapshot) -> str:
        self.gathered += 1
        return f"floatingip_holder {self.gathered}.0\n"


Start = Callable[..., Observer]
