"""One floating address on this node: what is known of it over time, what is decided, and asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from floatingip.agent import obstacles
from floatingip.agent.answers import Answers
from floatingip.agent.backoff import Chance
from floatingip.agent.effects import Making, Probing, Wanted
from floatingip.agent.events import Wrote
from floatingip.agent.moves import Moves
from floatingip.agent.outbox import Outbox
from floatingip.agent.shared import Shared
from floatingip.agent.shown_by_imds import ShownByImds
from floatingip.agent.standing import Standing
from floatingip.agent.telling import Telling
from floatingip.agent.writing import Writing
from floatingip.core import timing
from floatingip.core.decision import ration, served
from floatingip.core.decision.carry import way_to
from floatingip.core.decision.decide import decide
from floatingip.core.decision.decision import Decision, Reason, Rule, State
from floatingip.core.decision.room import Room
from floatingip.core.decision.view import Memory, View, attachment_of
from floatingip.core.errors import CloudError
from floatingip.core.figures import AddressFigures, Lack
from floatingip.core.health import Health, HealthState
from floatingip.core.model import (
    ALLOCATION_TAG,
    Address,
    Allocation,
    AllocationFacts,
    Attachment,
    Eni,
    Extent,
    Interface,
    Owner,
    Peer,
    Plumbing,
    PlumbingReport,
    PlumbingState,
    ProbeResult,
    Subnet,
    Target,
    Word,
)
from floatingip.core.settings import Settings, mark_values
from floatingip.core.timing import LOOK_IN_PEACE, LOOK_UNWITNESSED
from floatingip.core.word import Answer, Held, word_on
from floatingip.core.writes import Assign, Associate, Attach, Detach, Unassign, Write

CALM = frozenset({Reason.ANSWERS, Reason.PING_BLOCKED, Reason.HELD_HERE, Reason.NOT_SERVED_HERE})
"""Reasons for which EC2 need not be asked at a certain time."""

ROUTER_V6 = IPv6Address("fe80:ec2::1")
"""The VPC router, on every link."""


class FloatingAddress:
    """The ``index``-th of the settings' targets, on this node; ``text`` is how the settings call it."""

    def __init__(
        self,
        target: Target,
        index: int,
        settings: Settings,
        shared: Shared,
        out: Outbox,
        *,
        now: float,
        chance: Chance,
    ) -> None:
        self.target, self.text = target, str(target)
        self._index = index
        self._mark = mark_values(settings.mark)[index]
        self._settings = settings
        self._shared = shared
        self._way = way_to(shared.carry)
        self._writing = Writing(self.text, out, shared.is_full, chance)

        self.now = now
        self._chance = chance
        self.memory = Memory()
        self.decision = Decision(State.START, Reason.EC2_SILENT, Rule.R9, look_at=self.now)
        self.view: View | None = None
        self.owner: Owner | None = None
        self.report: PlumbingReport | None = None
        self.answers = Answers(self.text, settings, now)
        self.word = Word()
        self.records: Mapping[str, str] = {}
        self.allocation: AllocationFacts | None = None
        self.allocation_known = False
        self._interface: Interface | None = None
        self._telling = Telling(self.text, out)
        self.moves = Moves(
            self.text,
            shared.me.instance_id,
            out,
            lambda attachment_id: self._way.of_one(attachment_id, target),
            shared.node_of,
        )
        self._word_of = ""
        self._imds = ShownByImds()
        self._jitter = 0.0
        self._blind = ""
        self._began_at = now

    def configure(self, settings: Settings) -> None:
        """Decide by these settings from now on, which differ only in what may change at any moment."""
        self._settings = settings
        self.answers.configure(settings)

    @property
    def health(self) -> Health:
        """Whether the address answers this node."""
        return self.answers.health

    @property
    def final(self) -> CloudError | None:
        """What EC2 refused, and waiting does not mend."""
        return self._writing.final

    def fail(self, error: CloudError) -> None:
        """EC2 refused what all addresses need."""
        self._writing.final = error

    # What is known.

    def attachment(self) -> Attachment | None:
        """The ENI's present attachment, as far as EC2 told."""
        return attachment_of(self.owner) if self.owner is not None else None

    def holder(self) -> str:
        """The instance that EC2 showed last as the holder, or nothing."""
        attachment = self.attachment()
        return attachment.instance_id if attachment is not None else ""

    def address(self) -> Address | None:
        """What a node carries and others probe: for an Elastic IP its ENI's private address, never the allocation."""
        if not isinstance(self.target, Allocation):
            return self.target
        return self.owner.eni.address_of(self.target) if self.owner is not None and self.owner.eni is not None else None

    def is_known(self) -> bool:
        """All that an obstacle depends on has been told by EC2."""
        is_told = not isinstance(self.target, Allocation) or self.allocation_known
        return self.owner is not None and self._shared.subnets is not None and is_told

    def is_here(self) -> bool:
        """The link with the ENI's MAC is on this node, and the address with it."""
        return self.report is not None and self.report.carries

    def has_device(self) -> bool | None:
        """The link by which this node would carry the address is there; None while nobody has looked."""
        if self.report is None or self.report.extent is Extent.NOTHING:
            return None
        return self.report.state is not PlumbingState.NO_LINK

    def is_plumbed_ahead(self) -> bool:
        """All that can be there before the address is there."""
        return self.report is not None and self.report.state is PlumbingState.SOUND

    def burdens(self) -> bool:
        """The ENI is on this node, or about to be."""
        claimed = isinstance(self._writing.accepted, Attach | Assign | Associate) and self._asked_before_write()
        is_promised = self.decision.reason is Reason.ASSIGNING
        claiming = claimed or is_promised or (self._writing.writing and self.decision.state is State.CLAIMING)
        return claiming or self.holder() == self._shared.me.instance_id

    def _asked_before_write(self) -> bool:
        return self.owner is None or self.owner.asked_at <= self._writing.wrote_at

    def is_calm(self) -> bool:
        """It is held and answers, as far as this node can tell, and nothing is under way."""
        return self.decision.reason in CALM and not self.health.in_doubt

    def is_moving_here(self) -> bool:
        """A move to this node has begun, and not come to its end."""
        return self.moves.is_under_way

    def is_judging(self) -> bool:
        """The holder's instance matters too: the address does not answer, or nobody here could tell, or its observer is
        quiet.
        """
        troubled = self.health.in_doubt or self.word.is_quiet or self.memory.dead_answers > 0
        return self.decision.state in (State.DOUBT, State.STANDBY) and (troubled or bool(self._blind))

    def blind(self) -> str:
        """Why this node cannot tell whether the address answers, though it should, or nothing."""
        if self.report is None or self.is_here():
            return ""
        if self.report.blind:
            return self.report.blind
        return self.answers.unsent(self.now)

    def subnet(self) -> Subnet | None:
        """Where the ENI is, or would be created: for an Elastic IP in this node's own subnet."""
        subnets = self._shared.subnets or ()
        if self.owner is not None and self.owner.eni is not None:
            return next((s for s in subnets if s.id == self.owner.eni.subnet_id), None)
        if isinstance(self.target, Allocation):
            return next((s for s in subnets if s.id == self._shared.me.subnet_id), None)
        return next((s for s in subnets if s.network_of(self.target) is not None), None)

    def obstacle(self) -> str:
        """Why this node could not carry the address at all, or not now, or nothing."""
        shared, me = self._shared, self._shared.me
        if shared.subnets is None:
            return "its subnet is not known yet"
        if impossible := self.impossible():
            return impossible
        if self.holder() == me.instance_id:
            return ""
        if self._way.needed.intersection(shared.denied):
            return self._denial()
        promised = ""
        if self.owner is not None and self.owner.eni is None and self.allocation and self.allocation.eni_id:
            promised = f"EC2 is about to show {self.target} on {self.allocation.eni_id}"
        standing = self.standing()
        room = Room(
            me.instance_id,
            free_slots=shared.free_slots(),
            is_full=self.now < shared.full_until,
            standing=standing.eni if standing is not None else None,
            problem=standing.problem if standing is not None else "its standing ENI is not known yet",
            promised=promised,
        )
        return self._way.obstacle(room)

    def standing(self) -> Standing | None:
        """The standing ENI of this node in the address' subnet, as far as it is there."""
        subnet = self.subnet()
        return self._shared.standings.get(subnet.id) if subnet is not None else None

    def impossible(self) -> str:
        """What waiting does not change: why the address can never be on this node, or nothing."""
        eni = self.owner.eni if self.owner is not None else None
        if isinstance(self.target, Allocation) and not (eni is not None and self.target.id in eni.elastic.values()):
            if not self.allocation_known:
                return f"{self.target} is not known yet"
            if unusable := obstacles.unusable(self.target, self.allocation, eni, self._shared):
                return unusable
        return obstacles.misplaced(self.target, self.subnet(), self._shared)

    def plumbing(self) -> Plumbing | None:
        """What this node would need to carry the address, as far as that is known."""
        settings, subnet, address = self._settings, self.subnet(), self.address()
        if address is None:
            return None
        eni, network = self._bound_eni(), subnet.network_of(address) if subnet is not None else None
        if self.owner is None and self._interface is not None:
            mac, network = self._interface.mac, self._interface.network
        elif eni is not None:
            mac = eni.mac
        else:
            return None
        if network is None:
            return None
        return Plumbing(
            address=address,
            mac=mac,
            # The VPC router has the subnet's first address behind its own, and one link-local address for IPv6.
            gateway=network[1] if isinstance(address, IPv4Address) else ROUTER_V6,
            primary_mac=self._shared.me.mac,
            table=settings.table + self._index,
            priority=settings.priority + 2 * self._index,
            mark=self._mark,
            mark_mask=settings.mark,
        )

    def own_eni(self) -> Eni | None:
        """The ENI by which this node would carry the address: this address' own, or the node's."""
        standing = self.standing()
        return self._way.own(self.owner, standing.eni if standing is not None else None)

    def _bound_eni(self) -> Eni | None:
        """The ENI by which this node carries the address, or did: also while it is being detached."""
        standing = self.standing()
        return self._way.own(self.owner, standing.bound if standing is not None else None)

    def mac_at_risk(self) -> str:
        """The MAC of the interface on which the address is here, but could be taken away silently; or nothing."""
        if not self._way.vanishes_silently or not self.is_here():
            return ""
        if self.owner is None and self._interface is not None:
            return self._interface.mac
        eni = self._bound_eni()
        return eni.mac if eni is not None else ""

    # News.

    def wrote(self, wrote: Wrote, now: float) -> None:
        """A write was made, or was not."""
        self._writing.wrote(wrote, now)

    def looked(self, owner: Owner, now: float, records: Mapping[str, str] | None = None) -> None:
        """EC2 answered; ``records`` are the ration's tags for this target on the standing ENIs."""
        held_by, self.owner = self.holder(), owner
        if self.holder() != held_by and self._shared.me.instance_id in (self.holder(), held_by):
            self._shared.slots_change(now)
        self.records = records or {}
        self._jitter = self._chance(0.0, timing.PEACE_JITTER)
        attachment = self.attachment()
        self.moves.shown(attachment, now)
        attachment_id = attachment.id if attachment is not None else ""
        self.answers.are_under(attachment_id, now)
        self.answers.probe(self.address())

    def hear(self, answer: Answer | None, now: float) -> None:
        """The holder's observer was asked; ``answer`` is the last that came of it."""
        attachment, holder = self.attachment(), self._shared.instances.get(self.holder())
        unreachable = holder is not None and holder.address is None
        word = word_on(answer, self._shared.name, self.text, attachment, unreachable=unreachable)
        judged = attachment.id if attachment is not None else ""
        same = word.state is self.word.state and word.ending is self.word.ending and judged == self._word_of
        self.word = replace(word, since=self.word.since if same else now)
        self._word_of = judged

    def found_allocation(self, facts: AllocationFacts | None) -> None:
        """EC2 told of the Elastic IP, or that there is none such."""
        self.allocation, self.allocation_known = facts, True

    def expect_at(self, interface: Interface) -> None:
        """IMDS shows the address on a link of this node: where it can be found while EC2 has not answered yet."""
        if self.owner is None:
            self._interface = interface

    def found_interface(self, interface: Interface) -> None:
        """IMDS shows the address on a link of this node: enough to plumb it while EC2 cannot be asked (R9)."""
        self._interface = interface
        self._imds.found()

    def found_addresses(self, mac: str, addresses: frozenset[Address], asked_at: float) -> bool:
        """IMDS says what the interface with this MAC has; return whether that is news."""
        address = self.address()
        return address is not None and mac == self.mac_at_risk() and self._imds.told(address in addresses, asked_at)

    def reconciled(self, report: PlumbingReport, now: float) -> None:
        """The kernel was looked after."""
        if report.carries and not self.is_here():
            # IMDS shows later what EC2 has just given to this node, but not what was on the link before this process,
            # or what only IMDS told of.
            self._imds.carried(now, at_once=self.owner is None or "address" not in report.repaired)
        elif not report.carries:
            self._imds.dropped()
        self._telling.reconciled(report, self.moves.loss, now)
        self.report = report
        if self.is_here():
            self.moves.attached(now)

    def probings(self) -> frozenset[Probing]:
        """What is to be probed for this address."""
        return self.answers.probings()

    def probed(self, probing: Probing, result: ProbeResult) -> bool:
        """A probe was answered, or was not; return whether that is news."""
        return self.answers.probed(probing, result)

    # Deciding and acting.

    def step(self, peers: tuple[Peer, ...], burden: int, *, now: float, wall: float) -> None:
        """Decide once, tell, act."""
        self.now = now
        self._follow_sight()
        before = self.decision
        view = self.view = self._view(peers, burden, wall)
        self.memory, self.decision = decide(self.memory, view, self._settings)
        if self.decision.state is State.HOLDER and self.is_here():
            # It does not probe any more: what was lost before the address came says nothing of now.
            self.answers.begin_anew()
        self._telling.decided(before, self.decision, self.not_ready(), self.moves.loss, now, wall)
        if self.report is not None:
            self._telling.kernel(self.report, now)
        self.moves.follow(self.decision, self.holder(), now, wall)
        self._telling.astray(sorted(served.astray(view, self.holder())), self.holder(), self.answers.address, now)
        self.answers.check(self._shared.node_ports)
        # Not before it is known that they would leave this node: one that hears itself sees the address UP for ever.
        self.answers.on = self.report is not None and not self.is_here() and not self.report.blind
        if self.decision.write is not None:
            self._begin_write(self.decision, self.decision.write)

    def _follow_sight(self) -> None:
        """What was seen before this node went blind is no evidence of later: neither for it nor for its peers."""
        before, self._blind = self._blind, self.blind()
        if self._blind and not before:
            self.answers.forget(self.now)
        self._telling.blind(self._blind, self.now)
        if before and not self._blind and not self.is_here():
            self._telling.sees_again(self.answers.address)

    def look_due(self) -> float:
        """When EC2 should be asked next."""
        look_at, owner = self.decision.look_at, self.owner
        if owner is not None and self.lacks_witness():
            return min(look_at, owner.asked_at + LOOK_UNWITNESSED)
        in_peace = owner is not None and look_at >= owner.asked_at + LOOK_IN_PEACE
        return look_at + (self._jitter if in_peace and self.decision.reason in CALM else 0.0)

    def lacks_witness(self) -> bool:
        """It is here, and could be taken away silently, and IMDS does not tell: EC2 alone could (R10)."""
        return bool(self.mac_at_risk()) and self._imds.is_silent(self.now)

    def wanted(self) -> Wanted | None:
        """What the kernel should be like for this address."""
        plumbing = self.plumbing()
        return Wanted(plumbing, self.decision.extent) if plumbing is not None else None

    def _view(self, peers: tuple[Peer, ...], burden: int, wall: float) -> View:
        standing = self.standing()
        return View(
            now=self.now,
            wall=wall,
            target=self.target,
            me=self._shared.me.instance_id,
            name=self._shared.name,
            owner=self.owner,
            health=self.health,
            word=self.word,
            peers=peers,
            plumbing=self.report,
            obstacle=self.obstacle(),
            leaving=self._shared.leaving,
            services=dict(self.answers.services),
            served=self._shared.served,
            groups=self._shared.groups_of(self.own_eni()),
            burden=burden,
            writing=self._writing.writing,
            wrote_at=self._writing.wrote_at,
            accepted=self._writing.accepted,
            retry_at=self._writing.retry_at,
            taken_at=self._writing.taken_at,
            taken=self._writing.taken,
            mixed=self._shared.mixed,
            witness_at=self._shared.witness_at,
            ready_at=self._shared.ready_at,
            mine=standing.eni if standing is not None else None,
            records=self.records,
            carried_since=self._imds.carried_since,
            shown_by_imds=self._imds.shown,
            lost_by_imds_at=self._imds.lost_at,
        )

    def _begin_write(self, decision: Decision, write: Write) -> None:
        takes = isinstance(write, Attach | Detach | Assign | Unassign)
        if takes and decision.rule not in ("R13", "R14"):
            self.moves.begin(decision, self.attachment(), self.health.first_lost_at, self.now)
        # An ENI of an address of its own has no token: EC2 itself sees to it that there is no second one with it.
        is_allocation = isinstance(self.target, Allocation)
        token = self._shared.token(self.text, self.memory.token.generation) if is_allocation else ""
        making = Making(self.target, self.subnet(), self._tags(), token, self._shared.taken(self._settings))
        about = {"failover": self.moves.failover} if takes else {}
        self._writing.begin(write, making, self.now, **about)

    def _tags(self) -> Mapping[str, str]:
        tags = self._shared.tags(self.text)
        return tags | ({ALLOCATION_TAG: self.target.id} if isinstance(self.target, Allocation) else {})

    # Telling.

    def figures(self) -> AddressFigures:
        """What there is of it to count."""
        eni = self.owner.eni if self.owner is not None else None
        moves = eni.tags.get(self._way.of_one(ration.TAG, self.target), "") if eni is not None else ""
        return AddressFigures(
            state=self.decision.state,
            lack=self._lacks()[0],
            asked_at=self.owner.asked_at if self.owner is not None else self._began_at,
            records=(moves, *self.records.values()),
        )

    def held(self) -> Held | None:
        """How this node holds the address; None when it does not."""
        if self.decision.state is not State.HOLDER:
            return None
        leaving = self.decision.leaving
        return Held(
            self.decision.attachment_id, self._problem_here(), leaving, bool(leaving) and self._shared.written_off
        )

    def _problem_here(self) -> str:
        """As the holder: why the address is not carried, or nothing."""
        return "" if self.decision.reason is Reason.HELD_HERE else self.decision.sentence

    def sees_up(self) -> str:
        """Under what this node's probes are answered, or nothing."""
        if self.health.state is not HealthState.UP:
            return ""
        return self._way.of_one(self.health.attachment_id, self.target)

    def served(self, now: float) -> Mapping[int, bool]:
        """The NodePorts that this node has just seen answer at the address."""
        return self.answers.served(now)

    def not_ready(self) -> str:
        """Why this node could neither serve the address nor take it over, or nothing."""
        return self._lacks()[1]

    def _lacks(self) -> tuple[str, str]:
        """The same, by its name, and in words."""
        decision, shared = self.decision, self._shared
        reason = decision.reason.name
        if decision.reason is Reason.EC2_SILENT and shared.unanswered:
            return reason, f"{decision.sentence}: {shared.unanswered}"
        if decision.state in (State.START, State.REFUSED) or decision.reason is Reason.UNREACHED:
            return reason, decision.sentence
        kept_off = self.report.kept_off if self.report is not None and shared.wants_node_ports else ""
        if decision.state is State.HOLDER:
            found = ((reason, self._problem_here()), (Lack.KEPT_OFF, kept_off))
            return next((lack for lack in found if lack[1]), ("", ""))
        if obstacle := self.obstacle() if self.view is None else self.view.obstacle:
            return self._kind(obstacle), obstacle
        denial = self._denial() if shared.denied else ""
        lacks = ((Lack.BLIND, self._blind), (Lack.UNSOUND, self._unsound()), (Lack.DENIED, denial))
        return next((lack for lack in lacks if lack[1]), ("", ""))

    def _kind(self, obstacle: str) -> Lack:
        """What keeps this node from carrying the address, by its name."""
        if self._shared.subnets is None:
            return Lack.SUBNET_UNKNOWN
        if obstacle == self.impossible():
            return Lack.IMPOSSIBLE
        return Lack.DENIED if self._shared.denied and obstacle == self._denial() else Lack.NO_ROOM

    def _unsound(self) -> str:
        """Why this node would not carry the address if it got it now, or nothing."""
        if self.report is not None and self.report.state is PlumbingState.UNSOUND:
            return f"this node could not carry the address: {self.report.problem}"
        before = self.memory.unsound_here
        return (
            f"this node held the address, but did not carry it: {before}; mend that, and restart it" if before else ""
        )

    def _denial(self) -> str:
        return f"IAM denies {', '.join(self._shared.denied)}; allow it to this pod's role"
