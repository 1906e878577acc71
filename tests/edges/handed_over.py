"""Two workers in the model EC2, of which a handover is asked: by what command, and what happens meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from floatingip.commands.console import Console
from floatingip.commands.deployment import Deployment
from floatingip.commands.handing_over import carry_out
from floatingip.commands.handover import check, plan
from floatingip.commands.orders import Handover
from floatingip.core.decision import order
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.order import ANYBODY, Order
from floatingip.core.ec2 import OWNER_TAG, STANDING_TAG, Attachment, Eni
from floatingip.core.model import Carry
from floatingip.core.word import Held, Status
from floatingip.edges import clock
from tests.edges.observers import ASKER, Start
from tests.fakes.cloud import FakeCloud
from tests.fakes.ec2 import Delays, FakeEc2

NAME, ADDRESS = "cluster", IPv4Address("127.0.0.100")
PORT = 1
"""Nobody listens there on the workers' addresses."""

WALL = 1_764_000_000.0


def interrupt() -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


@dataclass
class Vpc:
    """Two workers with their standing ENIs; the first one has the address.

    ``then``: what happens at a time while a handover is waited for; ``said``: what that told, ``awaited``: what it told
    that it waits for; ``port`` is the observers', ``me`` the instance that it is asked for on, and ``address`` its.  To
    carry an ENI, the address has one of its own instead.
    """

    carry: Carry = Carry.ADDRESS

    ec2: FakeEc2 = field(default_factory=lambda: FakeEc2(Delays(assign=1.2)))
    then: dict[float, Callable[[], None]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    awaited: list[str] = field(default_factory=list)
    port: int = PORT
    me: str = ""
    address: IPv4Address | None = None

    def __post_init__(self) -> None:
        self.subnet = self.ec2.add_subnet("127.0.0.0/24")
        self.cloud = FakeCloud(self.ec2)
        self.workers = [self.ec2.add_instance(f"127.0.0.{last}", self.subnet) for last in (11, 12)]
        if self.carry is Carry.ADDRESS:
            self.enis = [self._standing(worker) for worker in self.workers]
            self.cloud.assign(self.enis[0], ADDRESS, reassign=False)
        else:
            self.enis = [self.cloud.create_eni(ADDRESS, self.subnet, {OWNER_TAG: NAME}, "one").id]
            self.cloud.attach_eni(self.enis[0], self.workers[0], frozenset())
        self.ec2.advance(10.0)

    def _standing(self, worker: str) -> str:
        made = self.cloud.create_eni(None, self.subnet, {OWNER_TAG: NAME, STANDING_TAG: worker}, worker)
        self.cloud.attach_eni(made.id, worker, frozenset())
        return made.id

    def plan(self, to: str = ANYBODY) -> tuple[Handover, ...]:
        """What would be handed over."""
        return plan(self.ours, (ADDRESS,), to)

    @property
    def ours(self) -> Deployment:
        """What the command has found out."""
        return Deployment(self.cloud, NAME, "vpc-1", self.carry, self.port, self.me, self.address, self._wall)

    def _wall(self) -> float:
        return WALL + self.ec2.now

    @property
    def console(self) -> Console:
        """Whoever waits for a command, in EC2's own time."""
        return Console(self.said.append, self.awaited.append, lambda: self.ec2.now, self._sleep)

    def carry_out(self, to: str = ANYBODY) -> None:
        """Hand over, in EC2's own time."""
        carry_out(self.ours, self.plan(to), self.console)

    def check(self, to: str = ANYBODY) -> str:
        """Whether somebody would obey."""
        return check(self.ours, self.plan(to), self.console, say=self.said.append)

    def _sleep(self, seconds: float) -> None:
        self.ec2.advance(self.ec2.now + seconds)
        for at in [at for at in self.then if at <= self.ec2.now]:
            self.then.pop(at)()

    def move(self) -> None:
        """The second worker takes over, as far as EC2 is concerned."""
        if self.carry is Carry.ADDRESS:
            self.cloud.assign(self.enis[1], ADDRESS, reassign=True)
            return
        self.cloud.detach_eni(self.attachment().id, force=False)
        self.ec2.advance(self.ec2.now + 5.0)
        self.cloud.attach_eni(self.enis[0], self.workers[1], frozenset())

    def holder(self) -> Eni:
        """The ENI that has the address."""
        (eni,) = self.cloud.find_occupants(frozenset({ADDRESS}))
        return eni

    def attachment(self) -> Attachment:
        """By which it is on its node."""
        found = self.holder().attachment
        assert found is not None
        return found

    def order(self) -> Order | None:
        """What stands in the first holder's tag."""
        eni = self.ec2.state.enis[self.enis[0]]
        assert eni.attachment is not None
        tag = eni.tags.get(way_to(self.carry).of_one(order.TAG, ADDRESS), "")
        return order.parse(tag, eni.attachment.id, WALL + self.ec2.now)


class Observed:
    """Observers on both workers, which say what they hold."""

    def __init__(self, vpc: Vpc, start: Start) -> None:
        self._vpc = vpc
        self.observers = [
            start(f"127.0.0.{last}", Status(NAME, worker)) for last, worker in zip((11, 12), vpc.workers, strict=True)
        ]
        first, second = self.observers
        first.meet(**{vpc.workers[1].removeprefix("i-"): second.address})
        assert first.roster.is_peer(vpc.workers[1], second.address, clock.now())
        self.hold(0)

    def know(self, instance_id: str) -> None:
        """EC2 has shown them this instance, by whose address the tests ask."""
        for observer in self.observers:
            observer.meet(**{instance_id.removeprefix("i-"): ASKER})

    def hold(self, index: int) -> None:
        """Say for this one that it has the address, for the other that it has not."""
        for other, observer in enumerate(self.observers):
            holds = {str(ADDRESS): Held("a1")} if other == index else {}
            observer.status = replace(observer.status, holds=holds)

    def obey(self) -> None:
        """The second one takes over."""
        self._vpc.move()
        self.hold(1)
