"""
Deciders where the address moves between standing ENIs: one observer told in words, and several on a small model EC2.

A ``Mover`` is an Observer whose words for EC2's answer name the instance whose standing ENI has the address.  Movers on
a ``Plane`` decide by their real code against the least of EC2: which standing ENI has the address, where a claim that
was accepted takes its time, and Describes lag.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address

from floatingip.core import health as probing
from floatingip.core import timing
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.decision.evidence import REACHED_TAG
from floatingip.core.ec2 import OWNER_TAG, STANDING_TAG, Attachment, AttachmentStatus, Eni, Owner
from floatingip.core.model import Allocation, Carry, Target
from floatingip.core.peer import Peer, Sight, Word, WordState
from floatingip.core.plumbing import Extent, PlumbingReport, PlumbingState
from floatingip.core.probe import ProbeOutcome, ProbeResult
from floatingip.core.settings import Settings
from floatingip.core.writes import Assign, Tag, Unassign, Write
from tests.core.deciders import ADDRESS, NAME, REACHED, ZONE, Observer, instance

IPV6, ELASTIC = IPv6Address("2001:db8:0:1::100"), Allocation("eipalloc-0123abcd")
PRIVATE = IPv4Address("10.0.0.50")
"""The secondary address that the Elastic IP is associated with."""

SETTINGS = Settings((ADDRESS, IPV6, ELASTIC), carry=Carry.ADDRESS, fall=5)


def standing(
    instance_id: str,
    target: Target | None = None,
    *,
    status: AttachmentStatus | None = AttachmentStatus.ATTACHED,
    name: str = NAME,
    reached: str = REACHED,
) -> Eni:
    """The standing ENI of i-x, eni-x, attached by at-x; it has the target, if there is one; no status: it is free."""
    end = instance_id.removeprefix("i-")
    bound = Attachment(f"at-{end}", instance_id, 1, status) if status is not None else None
    return Eni(
        f"eni-{end}",
        f"02:00:00:00:01:{ord(end[0]):02x}",
        IPv4Address(f"10.0.0.{ord(end[0])}"),
        "subnet-1",
        ZONE,
        bound,
        {OWNER_TAG: name, STANDING_TAG: instance_id, **({REACHED_TAG: reached} if reached else {})},
        secondary=tuple({ADDRESS: (ADDRESS,), ELASTIC: (PRIVATE,)}.get(target, ())) if target else (),
        ipv6s=(target,) if isinstance(target, IPv6Address) else (),
        elastic={PRIVATE: target.id} if isinstance(target, Allocation) else {},
    )


@dataclass
class Mover(Observer):
    """The observer of ``me``, whose standing ENI is there.

    EC2's answers are ``ec2:i-x/STATUS/STATE``: the standing ENI of i-x has the address; ``free`` as its status is that
    of one without an attachment; ``ec2:absent``: no ENI has the address.
    """

    settings: Settings = SETTINGS
    target: Target = ADDRESS

    def __post_init__(self) -> None:
        self.view = replace(self.view, target=self.target, mine=standing(self.me))

    def _owner(self, now: float, text: str, moves: str, name: str) -> Owner:
        if text == "absent":
            return Owner(now, None)
        holder, *rest = text.split("/")
        shown = rest[0] if rest and rest[0] else "attached"
        status = None if shown == "free" else AttachmentStatus(shown)
        instances = {holder: instance(holder, rest[1])} if len(rest) > 1 else {}
        return Owner(now, standing(holder, self.target, status=status, name=name), instances)


STEP = 0.1
"""Seconds between two looks at the plane."""

LACKED_FOR = 3.0
"""Seconds that IMDS must lack the address until the agent's three questions have found that."""


@dataclass
class Carrier:
    """A worker on the plane, with its observer.

    ``alive``: has power.  ``sound``: can carry the address.  ``has``: its kernel has the address.  ``told``: what the
    others heard of it last.  Until then it does not reach EC2 (``cut_off_until``), nor the other observers nor the
    address (``alone_until``).
    """

    observer: Mover
    alive: bool = True
    sound: bool = True
    has: bool = False
    cut_off_until: float = float("-inf")
    alone_until: float = float("-inf")
    found: bool = False
    was_shown: bool = False
    carried_since: float | None = None
    shown_by_imds: bool | None = None
    lacked_since: float | None = None
    told: Peer = Peer("", float("-inf"))  # noqa: RUF009  # it is frozen
    probed_at: float = float("-inf")
    probes: list[tuple[float, bool]] = field(default_factory=list)
    decision: Decision = field(default_factory=lambda: Decision(State.START, Reason.EC2_SILENT, Rule.R9, 0.0))

    @property
    def id(self) -> str:
        """Its instance id."""
        return self.observer.me

    def restart(self) -> None:
        """A new process, that remembers nothing, on a kernel that stays as it is."""
        self.observer = Mover(me=self.id, target=self.observer.target)
        self.decision = Decision(State.START, Reason.EC2_SILENT, Rule.R9, 0.0, extent=Extent.AS_FOUND)
        self.carried_since = self.shown_by_imds = self.lacked_since = None
        self.probes.clear()


@dataclass(frozen=True)
class Move:
    """A claim that EC2 accepted: when, for whom, and who would have had the address otherwise."""

    at: float
    to: str
    source: str


@dataclass
class Plane:
    """The least of EC2: which instance's standing ENI has the address, and who is to have it soon.

    ``takes``: seconds from an accepted claim until the address has moved; ``lag``: seconds that a Describe may be old
    at most, anew for each; ``chance`` decides that, and who comes first.  ``refuses_until``: no write is accepted
    before; ``throttles_until``: every second call is refused.  ``doubled`` is how long two have carried it at most.
    """

    carriers: list[Carrier]
    target: Target = ADDRESS
    takes: float = 1.2
    lag: float = 0.0
    chance: random.Random = field(default_factory=random.Random)
    now: float = 0.0
    owner: str = ""
    heir: str = ""
    due: float | None = None
    past: list[tuple[float, str]] = field(default_factory=lambda: [(float("-inf"), "")])
    moves: list[Move] = field(default_factory=list)
    records: dict[str, str] = field(default_factory=dict)
    reached: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    refuses_until: float = float("-inf")
    throttles_until: float = float("-inf")
    doubled: float = 0.0
    alone_since: float = 0.0

    def run(self, seconds: float) -> None:
        """Let time pass: every living observer sees and decides at each step, in any order."""
        end = self.now + seconds
        while self.now < end:
            self.now += STEP
            self._settle()
            for carrier in self.chance.sample(self.carriers, len(self.carriers)):
                if carrier.alive:
                    self._step(carrier)
            if sum(carrier.alive and carrier.has for carrier in self.carriers) < 2:
                self.alone_since = self.now
            self.doubled = max(self.doubled, self.now - self.alone_since)

    def until(self, condition: Callable[[], bool], within: float) -> float:
        """Let time pass until that is so, and tell how long it took; it is a failure if it is not in time."""
        began = self.now
        while not condition():
            assert self.now < began + within, f"not within {within} s: {[str(c.decision) for c in self.carriers]}"
            self.run(STEP)
        return self.now - began

    def carrier(self, instance_id: str) -> Carrier:
        """The worker."""
        return next(carrier for carrier in self.carriers if carrier.id == instance_id)

    @property
    def serving(self) -> str:
        """The instance at which the address answers, or nothing."""
        return self.owner if self.owner and self._answers() else ""

    @property
    def at_peace(self) -> bool:
        """Somebody holds it, and all others see it answer."""
        living = [carrier for carrier in self.carriers if carrier.alive]
        reasons = {carrier.id: carrier.decision.reason for carrier in living}
        return bool(self.serving) and all(
            reason is (Reason.HELD_HERE if instance_id == self.serving else Reason.ANSWERS)
            for instance_id, reason in reasons.items()
        )

    def _answers(self) -> bool:
        holder = self.carrier(self.owner)
        return holder.alive and holder.sound and holder.has

    def _settle(self) -> None:
        if self.due is not None and self.now >= self.due:
            self.owner, self.due = self.heir, None
            self.past.append((self.now, self.owner))

    def _describe(self) -> Eni | None:
        seen_at = self.now - self.chance.uniform(0.0, self.lag)
        owner = [owner for since, owner in self.past if since <= seen_at][-1]
        return standing(owner, self.target, reached=self.reached.get(owner, "")) if owner else None

    def _step(self, carrier: Carrier) -> None:
        view = carrier.observer.view
        is_alone = self.now < carrier.alone_until
        if self.now - carrier.told.heard_at >= self.chance.uniform(0.0, timing.ASK_EVERY) and not is_alone:
            carrier.told = self._told(carrier)
        changes: dict[str, object] = {}
        shown_eni = view.owner.eni if view.owner is not None else None
        if self.now >= carrier.decision.look_at and self._reaches_ec2(carrier):
            self.calls += 1
            shown_eni = self._describe()
            ids = {carrier.id, *([shown_eni.standing_for] if shown_eni is not None else [])}
            changes["owner"] = Owner(self.now, shown_eni, {id_: instance(id_) for id_ in ids})
            changes["records"] = dict(self.records)
        bound = shown_eni.attachment if shown_eni is not None else None
        changes["plumbing"] = self._plumb(carrier)
        changes |= self._metadata(carrier)
        if not is_alone:
            changes["peers"] = tuple(peer.told for peer in self.carriers if peer is not carrier)
        changes["word"] = self._word(carrier, bound)
        health = view.health if bound is not None and view.health.attachment_id == bound.id else probing.Health()
        health = probing.under(health, bound.id if bound is not None else "")
        changes["health"] = self._probe(carrier, health)
        carrier.decision = carrier.observer.see(self.now, "api:silent" if is_alone else "api:answers", **changes)
        write = carrier.decision.write
        if write is not None:
            accepted = self.now >= self.refuses_until and self._reaches_ec2(carrier) and self._write(carrier, write)
            retry_at = {} if accepted else {type(write): self.now + 2.0}
            carrier.observer.view = replace(
                carrier.observer.view, accepted=write if accepted else None, retry_at=retry_at
            )

    def _reaches_ec2(self, carrier: Carrier) -> bool:
        is_throttled = self.now < self.throttles_until and self.chance.random() < 0.5
        return self.now >= carrier.cut_off_until and not is_throttled

    def _plumb(self, carrier: Carrier) -> PlumbingReport:
        """The kernel is as was decided last."""
        extent = carrier.decision.extent
        if extent is Extent.AS_FOUND:
            extent = Extent.ALL if carrier.has else Extent.AHEAD
        if extent is not Extent.ALL:
            carrier.carried_since = None
        elif carrier.carried_since is None:
            carrier.carried_since, carrier.found, carrier.was_shown = self.now, carrier.has, False
        carrier.has = extent is Extent.ALL
        return PlumbingReport(PlumbingState.SOUND if carrier.sound else PlumbingState.UNSOUND, extent=extent)

    def _metadata(self, carrier: Carrier) -> dict[str, object]:
        """What IMDS shows, as the agent remembers it: what it has shown, or was found, is lost."""
        if not carrier.has:
            carrier.shown_by_imds, carrier.lacked_since = None, None
        elif self.owner == carrier.id:
            carrier.shown_by_imds, carrier.was_shown, carrier.lacked_since = True, True, None
        else:
            carrier.shown_by_imds = False
            carrier.lacked_since = self.now if carrier.lacked_since is None else carrier.lacked_since
        since = carrier.lacked_since
        lost_at = None
        if since is not None and self.now - since >= LACKED_FOR:
            lost_at = self.now if carrier.was_shown else since if carrier.found else None
        return {
            "carried_since": carrier.carried_since,
            "shown_by_imds": carrier.shown_by_imds,
            "lost_by_imds_at": lost_at,
        }

    def _sees_up(self, carrier: Carrier) -> tuple[str, ...]:
        health = carrier.observer.view.health
        is_up = health.state is probing.HealthState.UP
        return (way_to(Carry.ADDRESS).of_one(health.attachment_id, self.target),) if is_up else ()

    def _told(self, carrier: Carrier) -> Peer:
        decision, target = carrier.decision, str(self.target)
        holds = {target: decision.attachment_id} if decision.state is State.HOLDER else {}
        claiming = (target,) if decision.reason is Reason.ASSIGNING else ()
        return Peer(carrier.id, self.now, self._sees_up(carrier), holds=holds, claiming=claiming, asked_at=self.now)

    def _word(self, carrier: Carrier, bound: Attachment | None) -> Word:
        before = carrier.observer.view.word
        if bound is None or bound.instance_id == carrier.id:
            return Word(since=self.now)
        holder = self.carrier(bound.instance_id)
        state = WordState.SOUND
        if not holder.alive or self.now < max(carrier.alone_until, holder.alone_until):
            state = WordState.SILENT
        elif holder.decision.state is not State.HOLDER:
            state = WordState.OTHER
        elif holder.decision.leaving:
            state = WordState.LEAVING
        elif holder.decision.reason is not Reason.HELD_HERE:
            state = WordState.UNSOUND
        return Word(state, before.since if state is before.state else self.now, Sight.SEEN, holder.decision.leaving)

    def _probe(self, carrier: Carrier, health: probing.Health) -> probing.Health:
        """Send what is due, unless the node itself has the address, and take what has become known."""
        settings = carrier.observer.settings
        if carrier.has or not health.attachment_id:
            carrier.probes.clear()
            return health
        while carrier.probes and (carrier.probes[0][1] or self.now - carrier.probes[0][0] >= settings.probe_timeout):
            sent_at, answered = carrier.probes.pop(0)
            result = ProbeResult(sent_at, self.now, ProbeOutcome.ANSWERED if answered else ProbeOutcome.LOST)
            timeout = settings.probe_timeout
            health = probing.observe(health, result, rise=settings.rise, fall=settings.fall, timeout=timeout)
        pause = settings.probe_fast_interval if health.in_doubt else settings.probe_interval
        if self.now - carrier.probed_at >= pause:
            carrier.probed_at = self.now
            is_cut = self.now < max(
                [carrier.alone_until, *(c.alone_until for c in self.carriers if c.id == self.owner)]
            )
            carrier.probes.append((self.now, bool(self.serving) and not is_cut))
        return health

    def _write(self, carrier: Carrier, write: Write) -> bool:
        """Whether EC2 accepts it."""
        self.calls += 1
        rivals = {self.owner, self.heir} - {"", carrier.id}
        match write:
            case Assign(eni_id, address, reassign):
                assert eni_id == standing(carrier.id).id, "nobody writes for another's ENI"
                if rivals and not (reassign and isinstance(address, IPv4Address)):
                    return False
                if self.heir != carrier.id:
                    self.moves.append(Move(self.now, carrier.id, self.heir))
                    self.heir, self.due = carrier.id, self.now + self.takes
            case Unassign(eni_id):
                if eni_id != f"eni-{self.heir.removeprefix('i-')}":
                    return False
                self.heir, self.due = "", self.now + self.takes / 2
            case Tag(eni_id, key, value) if key == REACHED_TAG:
                self.reached[f"i-{eni_id.removeprefix('eni-')}"] = value
            case Tag(eni_id, _, value):
                self.records[eni_id] = value
            case _:
                raise AssertionError(f"{carrier.id} has no reason for {write}")
        return True


def plane(*names: str, seed: int = 0, **how: object) -> Plane:
    """Workers by these instance ids, whose observers begin at slightly different moments; nobody has the address."""
    chance = random.Random(seed)
    target: Target = how.get("target", ADDRESS)  # type: ignore[assignment]  # the test names fields of Plane
    carriers = [Carrier(Mover(me=name, target=target)) for name in names]
    for carrier in carriers:
        carrier.decision = replace(carrier.decision, look_at=chance.uniform(0.0, 1.0))
    return Plane(carriers, chance=chance, **how)  # type: ignore[arg-type]  # as above
